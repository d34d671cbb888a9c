//! A disk that forgets: what was not synced is lost when the power goes, and an operation may fail.
//!
//! Everything is done at once on the real disk, where others see it too. What is not safe yet is written down with what
//! undoes it, and crossed out by the sync that makes it safe: of a file for its bytes, of a folder for the names in it.
//! When the power is back, any part of what is left may be undone, each entry by itself, because a disk writes in what order
//! it likes: a later name may be there without an earlier one, a file without its bytes, a removal may not have happened.
//!
//! This is what POSIX leaves open, and so more than a journaling file system does. In the end a disk writes everything: of
//! the names that came and went only the last [`REMEMBERED`] may be lost. Two things are not as there: a file that replaces
//! another is a new one from the beginning, so that the old one can be had back; and what is no file goes for good.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash as _, Hasher as _};
use std::io::{self, Write};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD, linkat};

use super::{Disk, DiskFile, SystemDisk, within};

/// Names that may be lost, of those that came and went. A removed file is kept open so long.
const REMEMBERED: usize = 256;

/// Which part of what was not synced is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// None, as when a process dies and the operating system does not.
    Nothing,
    /// All of it.
    Everything,
    /// A part that this number decides. Of the bytes of a file all may be lost, the later half, or none; or the later half
    /// is zeros.
    Part(u64),
}

impl Lost {
    /// A number below `of`, for the nth entry.
    fn choice(self, nth: usize, of: u64) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Everything => 1,
            Self::Part(seed) => {
                let mut hasher = DefaultHasher::new();
                (seed, nth, of).hash(&mut hasher);
                hasher.finish() % of
            }
        }
    }

    /// Loses bytes of a file behind the first `synced`. Answers whether there were any.
    fn take_bytes(self, nth: usize, path: &Path, synced: u64) -> io::Result<bool> {
        let Ok(file) = File::options().write(true).open(path) else { return Ok(false) };
        let bytes = file.metadata()?.len();
        if bytes <= synced {
            return Ok(false);
        }
        let half = synced + (bytes - synced) / 2;
        match self.choice(nth, 4) {
            0 => return Ok(false),
            1 => file.set_len(synced)?,
            2 => file.set_len(half)?,
            _ => {
                file.set_len(half)?;
                file.set_len(bytes)?;
            }
        }
        Ok(true)
    }
}

/// What undoes a change of a name that is not safe yet.
#[derive(Debug)]
enum Unsynced {
    /// It came: of a file, or of a folder with what is in it.
    Came(PathBuf),
    /// It went, and was of a file, which is kept open so that it can be had back. Of its bytes only the first may be safe.
    Went { path: PathBuf, file: File, synced: Option<u64> },
    /// It went, and was of a folder.
    FolderWent(PathBuf),
}

impl Unsynced {
    fn path(&self) -> &Path {
        match self {
            Self::Came(path) | Self::Went { path, .. } | Self::FolderWent(path) => path,
        }
    }

    /// Undoes it. What is in the way of that, because something else is lost or is not, stays as it is. Answers whether
    /// anything was lost.
    fn undo(&self, lost: Lost, nth: usize) -> io::Result<bool> {
        if lost.choice(nth, 2) == 0 {
            return Ok(false);
        }
        match self {
            Self::Came(path) if path.is_dir() => std::fs::remove_dir_all(path).map(|()| true),
            Self::Came(path) => Ok(std::fs::remove_file(path).is_ok()),
            Self::FolderWent(path) => Ok(std::fs::create_dir(path).is_ok()),
            Self::Went { path, file, synced } => {
                if path.exists() || !within(path).exists() {
                    return Ok(false);
                }
                // If it has another name, it is that file again and no copy.
                let open = format!("/proc/self/fd/{}", file.as_raw_fd());
                if linkat(CWD, open, CWD, path, AtFlags::SYMLINK_FOLLOW).is_err() {
                    let mut kept = file.try_clone()?;
                    io::Seek::rewind(&mut kept)?;
                    io::copy(&mut kept, &mut File::create(path)?)?;
                }
                if let Some(synced) = *synced {
                    lost.take_bytes(nth, path, synced)?;
                }
                Ok(true)
            }
        }
    }
}

/// What is known of the bytes of a file.
#[derive(Debug)]
struct Written {
    /// The number of the handle that writes it.
    handle: u64,
    /// Bytes that are safe.
    synced: u64,
    /// A sync has failed: what was written before it may be lost whatever later ones say.
    failed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The power goes with the operation of this number.
    PowerCut(u64),
    /// The operations from this number to that one fail.
    Error(u64, u64, io::ErrorKind),
}

#[derive(Debug, Default)]
struct State {
    operations: u64,
    fault: Option<Fault>,
    is_off: bool,
    /// In the order in which they changed.
    names: Vec<Unsynced>,
    /// Files that were made here and are there still.
    written: BTreeMap<PathBuf, Written>,
    handles: u64,
}

impl State {
    fn remember(&mut self, entry: Unsynced) {
        if self.names.len() == REMEMBERED {
            self.names.remove(0);
        }
        self.names.push(entry);
    }

    fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        if !path.symlink_metadata()?.is_file() {
            return SystemDisk.remove_file(path);
        }
        let file = File::open(path)?;
        SystemDisk.remove_file(path)?;
        let synced = self.written.remove(path).map(|written| written.synced);
        self.remember(Unsynced::Went { path: path.to_owned(), file, synced });
        Ok(())
    }

    /// The names in a folder are safe, and those below a folder that is gone from it do not matter any more.
    fn synced_folder(&mut self, folder: &Path) {
        let is_gone = |entry: &Unsynced| matches!(entry, Unsynced::FolderWent(_));
        let gone: Vec<(usize, PathBuf)> = self
            .names
            .iter()
            .enumerate()
            .filter(|(_, entry)| is_gone(entry) && within(entry.path()) == folder)
            .map(|(at, entry)| (at, entry.path().to_owned()))
            .collect();
        let mut at = 0;
        self.names.retain(|entry| {
            let before = at;
            at += 1;
            let below =
                |(at, path): &(usize, PathBuf)| before < *at && entry.path().starts_with(path);
            within(entry.path()) != folder && !gone.iter().any(below)
        });
    }

    /// What was written through a handle, if its file was not replaced or removed.
    fn written_by(&mut self, path: &Path, handle: u64) -> Option<&mut Written> {
        self.written.get_mut(path).filter(|written| written.handle == handle)
    }
}

type Hook = Box<dyn Fn() + Send + Sync>;

struct Inner {
    state: Mutex<State>,
    when_off: Hook,
}

/// A disk for tests, for [`Options::disk`](crate::Options::disk). Clones are the same disk.
#[derive(Clone)]
pub struct ForgetfulDisk(Arc<Inner>);

impl std::fmt::Debug for ForgetfulDisk {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.state().fmt(out)
    }
}

impl Default for ForgetfulDisk {
    fn default() -> Self {
        Self::new(|| ())
    }
}

impl ForgetfulDisk {
    /// A disk without faults. `when_off` is called when the power goes, before anybody hears of it: for a disk beside
    /// this one, that of the database say. It must not use this one.
    pub fn new(when_off: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { state: Mutex::default(), when_off: Box::new(when_off) }))
    }

    /// Operations that there were: each change, each sync, each listing.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Lets the power go with the `nth` operation from now on; 1 is the next. That one is not done, half done, or done and
    /// not safe, and it fails, as all others do from then on.
    pub fn cut_power(&self, nth: u64) {
        let mut state = self.state();
        state.fault = Some(Fault::PowerCut(state.operations + nth));
    }

    /// Lets the `nth` operation from now on and `more` of those after it fail, without doing anything.
    pub fn fail(&self, nth: u64, more: u64, error: io::ErrorKind) {
        let mut state = self.state();
        let first = state.operations + nth;
        state.fault = Some(Fault::Error(first, first.saturating_add(more), error));
    }

    /// Takes back what [`ForgetfulDisk::cut_power`] or [`ForgetfulDisk::fail`] asked for. Answers whether that
    /// operation has come.
    pub fn heal(&self) -> bool {
        let mut state = self.state();
        let Some(Fault::PowerCut(first) | Fault::Error(first, ..)) = state.fault.take() else {
            return false;
        };
        state.operations >= first
    }

    /// The power goes now, if it has not.
    pub fn off(&self) {
        let mut state = self.state();
        if !state.is_off {
            (self.0.when_off)();
            state.is_off = true;
        }
    }

    /// Whether the power is gone.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.state().is_off
    }

    /// The power comes back, once nobody uses the disk. Answers how much was lost.
    ///
    /// # Errors
    /// What is lost cannot be removed.
    pub fn on(&self, lost: Lost) -> io::Result<usize> {
        let mut state = self.state();
        state.is_off = false;
        state.fault = None;
        let names = std::mem::take(&mut state.names);
        let written = std::mem::take(&mut state.written);
        let mut count = 0;
        for (nth, (path, written)) in written.iter().enumerate() {
            count += usize::from(lost.take_bytes(names.len() + nth, path, written.synced)?);
        }
        let mut gone: Vec<&Path> = Vec::new();
        for (nth, entry) in names.iter().enumerate().rev() {
            // What was in a folder that is not had back is not, either: what is there by that name is another.
            if gone.iter().any(|folder| entry.path().starts_with(folder)) {
                continue;
            }
            let undone = entry.undo(lost, nth)?;
            count += usize::from(undone);
            if let (Unsynced::FolderWent(folder), false) = (entry, undone) {
                gone.push(folder);
            }
        }
        Ok(count)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something, unless it is to fail. `act` is told whether the power goes meanwhile.
    fn operation<T>(&self, act: impl FnOnce(&mut State, bool) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        if state.is_off {
            return Err(power_cut());
        }
        state.operations += 1;
        let now = state.operations;
        match state.fault {
            Some(Fault::PowerCut(at)) if at == now => {
                drop(act(&mut state, true));
                (self.0.when_off)();
                state.is_off = true;
                Err(power_cut())
            }
            Some(Fault::Error(first, last, error)) if (first..=last).contains(&now) => {
                Err(io::Error::new(error, "a disk that fails when a test says so"))
            }
            _ => act(&mut state, false),
        }
    }
}

fn power_cut() -> io::Error {
    io::Error::other("the power is gone")
}

impl Disk for ForgetfulDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.operation(|state, _| {
            if path.exists() {
                state.remove_file(path)?;
            }
            let file = File::create(path)?;
            state.remember(Unsynced::Came(path.to_owned()));
            state.handles += 1;
            let handle = state.handles;
            state.written.insert(path.to_owned(), Written { handle, synced: 0, failed: false });
            let (disk, path) = (self.clone(), path.to_owned());
            Ok(Box::new(ForgetfulFile { disk, path, handle, file }) as Box<dyn DiskFile>)
        })
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        self.operation(|state, _| {
            SystemDisk.link(file, name)?;
            state.remember(Unsynced::Came(name.to_owned()));
            Ok(())
        })
    }

    fn cut(&self, file: &Path, bytes: u64) -> io::Result<()> {
        // Safe when it returns. Half of it is nothing: what a file system cuts is gone or is not.
        self.operation(|_, half| if half { Ok(()) } else { SystemDisk.cut(file, bytes) })
    }

    fn remove_file(&self, file: &Path) -> io::Result<()> {
        self.operation(|state, _| state.remove_file(file))
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        self.operation(|state, _| {
            SystemDisk.make_folder(folder)?;
            state.remember(Unsynced::Came(folder.to_owned()));
            Ok(())
        })
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.operation(|state, _| {
            SystemDisk.remove_folder(folder)?;
            state.remember(Unsynced::FolderWent(folder.to_owned()));
            Ok(())
        })
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.operation(|_, _| SystemDisk.list(folder))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.operation(|state, half| {
            SystemDisk.sync_folder(folder)?;
            if !half {
                state.synced_folder(folder);
            }
            Ok(())
        })
    }
}

#[derive(Debug)]
struct ForgetfulFile {
    disk: ForgetfulDisk,
    path: PathBuf,
    handle: u64,
    file: File,
}

impl Write for ForgetfulFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = &mut self.file;
        self.disk.operation(|_, half| file.write(&bytes[..bytes.len() / (1 + usize::from(half))]))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for ForgetfulFile {
    fn allocate(&mut self, bytes: u64) -> io::Result<()> {
        let file = &mut self.file;
        self.disk
            .operation(|_, half| if half { file.set_len(bytes / 2) } else { file.allocate(bytes) })
    }

    fn sync(&mut self) -> io::Result<()> {
        let (file, path, handle) = (&mut self.file, &self.path, self.handle);
        let synced = self.disk.operation(|state, half| {
            let bytes = file.metadata()?.len();
            match state.written_by(path, handle) {
                Some(written) if !half && !written.failed => written.synced = bytes,
                _ => {}
            }
            Ok(())
        });
        if synced.is_err()
            && let Some(written) = self.disk.state().written_by(path, handle)
        {
            written.failed = true;
        }
        synced
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{read, write};
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn disk() -> (tempfile::TempDir, ForgetfulDisk) {
        (tempfile::tempdir().unwrap(), ForgetfulDisk::default())
    }

    fn made(disk: &ForgetfulDisk, path: &Path) -> Box<dyn DiskFile> {
        let mut file = disk.create(path).unwrap();
        file.write_all(b"synced").unwrap();
        file.sync().unwrap();
        file
    }

    #[test]
    fn a_file_is_lost_unless_its_folder_was_synced_and_its_bytes_unless_it_was() {
        let (folder, disk) = disk();
        let (kept, lost) = (folder.path().join("kept"), folder.path().join("lost"));
        let mut file = made(&disk, &kept);
        disk.sync_folder(folder.path()).unwrap();
        file.write_all(b"not synced").unwrap();
        made(&disk, &lost);
        assert_eq!(read(&kept).unwrap(), b"syncednot synced");
        disk.off();
        assert!(disk.create(&lost).is_err() && file.write_all(b"x").is_err());
        assert_eq!(disk.on(Lost::Everything).unwrap(), 2);
        assert_eq!(read(&kept).unwrap(), b"synced");
        assert!(!lost.exists());
        assert_eq!(disk.on(Lost::Everything).unwrap(), 0, "once");
    }

    #[test]
    fn a_file_that_was_replaced_is_the_old_one_again() {
        let (folder, disk) = disk();
        let path = folder.path().join("f");
        write(&path, b"old").unwrap();
        made(&disk, &path);
        assert_eq!(disk.on(Lost::Everything).unwrap(), 2);
        assert_eq!(read(&path).unwrap(), b"old");
    }

    #[test]
    fn bytes_that_were_not_synced_are_lost_with_the_removal_of_their_file() {
        let (folder, disk) = disk();
        let path = folder.path().join("f");
        let mut file = made(&disk, &path);
        disk.sync_folder(folder.path()).unwrap();
        file.write_all(b"not synced").unwrap();
        disk.remove_file(&path).unwrap();
        assert_eq!(disk.on(Lost::Everything).unwrap(), 1);
        assert_eq!(read(&path).unwrap(), b"synced");
    }

    #[test]
    fn after_a_sync_that_failed_no_other_makes_safe_what_was_written() {
        let (folder, disk) = disk();
        let path = folder.path().join("f");
        let mut file = made(&disk, &path);
        disk.sync_folder(folder.path()).unwrap();
        file.write_all(b"not synced").unwrap();
        disk.fail(1, 0, io::ErrorKind::Other);
        assert!(file.sync().is_err() && file.sync().is_ok());
        disk.on(Lost::Everything).unwrap();
        assert_eq!(read(&path).unwrap(), b"synced");
    }

    #[test]
    fn what_was_in_a_folder_that_went_for_good_does_not_come_back_into_another() {
        let (folder, disk) = disk();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        write(inner.join("f"), b"old").unwrap();
        disk.remove_file(&inner.join("f")).unwrap();
        disk.remove_folder(&inner).unwrap();
        disk.sync_folder(folder.path()).unwrap();
        disk.make_folder(&inner).unwrap();
        disk.sync_folder(folder.path()).unwrap();
        assert_eq!(disk.on(Lost::Everything).unwrap(), 0);
        assert_eq!(disk.list(&inner).unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn what_was_removed_comes_back_as_what_it_was() {
        let (folder, disk) = disk();
        let inner = folder.path().join("inner");
        let (one, two) = (inner.join("one"), folder.path().join("two"));
        std::fs::create_dir(&inner).unwrap();
        write(&one, b"linked").unwrap();
        std::fs::hard_link(&one, &two).unwrap();
        write(inner.join("alone"), b"alone").unwrap();
        let inode = std::fs::metadata(&two).unwrap().ino();
        disk.remove_file(&one).unwrap();
        disk.remove_file(&inner.join("alone")).unwrap();
        disk.remove_folder(&inner).unwrap();
        assert!(!inner.exists());
        assert_eq!(disk.on(Lost::Everything).unwrap(), 3);
        assert_eq!(std::fs::metadata(&one).unwrap().ino(), inode, "it is no copy");
        assert_eq!(read(inner.join("alone")).unwrap(), b"alone");
    }

    #[test]
    fn a_folder_is_lost_with_all_that_is_in_it_though_that_was_synced() {
        let (folder, disk) = disk();
        let inner = folder.path().join("inner");
        disk.make_folder(&inner).unwrap();
        made(&disk, &inner.join("f"));
        disk.sync_folder(&inner).unwrap();
        disk.on(Lost::Everything).unwrap();
        assert!(!inner.exists());
    }

    #[test]
    fn of_many_operations_each_may_be_lost_without_the_others() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..512 {
            let (folder, disk) = disk();
            for name in ["a", "b"] {
                let mut file = disk.create(&folder.path().join(name)).unwrap();
                file.write_all(b"12345678").unwrap();
            }
            disk.on(Lost::Part(seed)).unwrap();
            seen.insert(["a", "b"].map(|name| read(folder.path().join(name)).ok()));
        }
        // Gone, empty, whole, half, or half zeros: of each.
        let of_one: std::collections::BTreeSet<_> = seen.iter().map(|[one, _]| one).collect();
        assert_eq!(of_one.len(), 5, "{of_one:?}");
        assert!(seen.len() > 20, "{} of 25 were seen", seen.len());
    }

    #[test]
    fn the_operation_that_the_power_goes_with_is_half_done() {
        let (folder, disk) = disk();
        let path = folder.path().join("f");
        disk.cut_power(2);
        let mut file = disk.create(&path).unwrap();
        assert!(file.write_all(b"12345678").is_err() && disk.is_off());
        disk.on(Lost::Nothing).unwrap();
        assert_eq!(read(&path).unwrap(), b"1234");
    }

    #[test]
    fn so_many_operations_fail_as_were_asked_for_and_do_nothing() {
        let (folder, disk) = disk();
        let path = folder.path().join("f");
        disk.fail(2, 1, io::ErrorKind::StorageFull);
        disk.make_folder(&path).unwrap();
        for _ in 0..2 {
            let error = disk.remove_folder(&path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
        disk.remove_folder(&path).unwrap();
        assert_eq!((disk.heal(), disk.heal(), disk.operations()), (true, false, 4));
    }
}
