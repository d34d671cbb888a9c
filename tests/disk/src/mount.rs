//! The image as a file system that other processes see.
//!
//! Nothing is cached by the kernel (direct I/O, no lifetime of entries), so that what was written is in the image
//! when the call returns, and what a cut has taken is gone.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    TimeOrNow, WriteFlags,
};

use crate::faults::{Effect, Faults, On};
use crate::image::{Facts, Image, Ino, Lose, Refusal};

/// Room on a disk that nobody has given a size.
const CAPACITY: u64 = 64 << 30;

/// Block size of the statistics.
const BLOCK: u32 = 4096;

/// How long to wait for processes that were killed a moment ago and have files open.
const CLOSED: Duration = Duration::from_secs(5);

/// A mounted disk; unmounted when it is dropped.
pub(crate) struct Disk {
    shared: Arc<Mutex<Shared>>,
    // Dropped for what it does then.
    _session: BackgroundSession,
}

impl Drop for Disk {
    fn drop(&mut self) {
        let began = Instant::now();
        while self.shared().image.is_open() && began.elapsed() < CLOSED {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[derive(Debug)]
struct Shared {
    image: Image,
    faults: Faults,
    /// Operations so far.
    operations: u64,
}

impl Disk {
    /// Mounts an empty disk on an empty folder.
    ///
    /// # Errors
    /// Why that cannot be done here; a suite says so, and leaves out what needs it.
    pub(crate) fn mount(at: &Path) -> Result<Self, String> {
        let image = Image::new(CAPACITY);
        let shared = Shared { image, faults: Faults::default(), operations: 0 };
        let shared = Arc::new(Mutex::new(shared));
        let mut config = Config::default();
        config.mount_options =
            vec![MountOption::FSName("forgetful".to_owned()), MountOption::NoAtime];
        let cannot = |error| format!("cannot mount by FUSE at {}: {error}", at.display());
        let below = at.metadata().map_err(cannot)?;
        let tree = Tree {
            shared: Arc::clone(&shared),
            owner: (below.uid(), below.gid()),
            time: below.modified().map_err(cannot)?,
        };
        let session = fuser::spawn_mount(tree, at, &config).map_err(cannot)?;
        Ok(Self { shared, _session: session })
    }

    /// Makes everything on it safe.
    pub(crate) fn sync(&self) {
        self.shared().image.sync();
    }

    /// The power goes, and comes back. For a moment when no process has anything open on it.
    pub(crate) fn cut(&self, lose: Lose) {
        self.shared().image.cut(lose);
    }

    /// What goes wrong from now on.
    pub(crate) fn set_faults(&self, faults: Faults) {
        self.shared().faults = faults;
    }

    /// What is still to go wrong.
    pub(crate) fn faults(&self) -> Faults {
        self.shared().faults.clone()
    }

    /// From now on there is room for so many bytes more.
    pub(crate) fn set_free(&self, bytes: u64) {
        let mut shared = self.shared();
        let used = shared.image.capacity - shared.image.free();
        shared.image.capacity = used + bytes;
    }

    /// There is room again.
    pub(crate) fn set_roomy(&self) {
        self.shared().image.capacity = CAPACITY;
    }

    /// Operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.shared().operations
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the kernel asks.
struct Tree {
    shared: Arc<Mutex<Shared>>,
    /// User and group of everything: those of the folder below.
    owner: (u32, u32),
    /// The time of everything.
    time: SystemTime,
}

impl From<Refusal> for Errno {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Missing => Self::ENOENT,
            Refusal::Exists => Self::EEXIST,
            Refusal::NotFolder => Self::ENOTDIR,
            Refusal::IsFolder => Self::EISDIR,
            Refusal::NotEmpty => Self::ENOTEMPTY,
            Refusal::Full => Self::ENOSPC,
        }
    }
}

type Answer<T> = Result<T, Errno>;

impl Tree {
    /// Does something with the image, unless it is to fail.
    fn with<T>(
        &self,
        on: Option<On>,
        work: impl FnOnce(&mut Image) -> Result<T, Refusal>,
    ) -> Answer<T> {
        self.with_bytes(on, 0, |image, _| work(image))
    }

    /// The same with so many bytes, or half of them: `work` is told how many.
    fn with_bytes<T>(
        &self,
        on: Option<On>,
        bytes: usize,
        work: impl FnOnce(&mut Image, usize) -> Result<T, Refusal>,
    ) -> Answer<T> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.operations += 1;
        let mut bytes = bytes;
        match on.and_then(|on| shared.faults.meets(on)) {
            None => {}
            Some(Effect::Error) => return Err(Errno::EIO),
            Some(Effect::Full) => return Err(Errno::ENOSPC),
            // Nothing at all would be the end of the file.
            Some(Effect::Short) => bytes = bytes.div_ceil(2),
            Some(Effect::Slow(slow)) => {
                drop(shared);
                std::thread::sleep(slow);
                shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            }
        }
        Ok(work(&mut shared.image, bytes)?)
    }

    fn attributes(&self, facts: Facts) -> FileAttr {
        let kind = if facts.is_folder { FileType::Directory } else { FileType::RegularFile };
        FileAttr {
            ino: INodeNo(facts.ino),
            size: facts.bytes,
            blocks: facts.bytes.div_ceil(512),
            atime: self.time,
            mtime: self.time,
            ctime: self.time,
            crtime: self.time,
            kind,
            perm: if facts.is_folder { 0o755 } else { 0o644 },
            nlink: facts.links,
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: BLOCK,
            flags: 0,
        }
    }

    fn entry(&self, found: Answer<Facts>, reply: ReplyEntry) {
        match found {
            Ok(facts) => reply.entry(&Duration::ZERO, &self.attributes(facts), Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn attr(&self, found: Answer<Facts>, reply: ReplyAttr) {
        match found {
            Ok(facts) => reply.attr(&Duration::ZERO, &self.attributes(facts)),
            Err(error) => reply.error(error),
        }
    }
}

fn empty(done: Answer<()>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Tree {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.with(None, |image| {
            let ino = image.find(parent.0, name)?;
            image.facts(ino)
        });
        self.entry(found, reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let found = self.with(None, |image| image.facts(ino.0));
        self.attr(found, reply);
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let found = self.with(size.map(|_| On::Write), |image| {
            if let Some(size) = size {
                image.resize(ino.0, size)?;
            }
            image.facts(ino.0)
        });
        self.attr(found, reply);
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let made = self.with(Some(On::Entry), |image| {
            let ino = image.make(parent.0, name, true)?;
            image.facts(ino)
        });
        self.entry(made, reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.with(Some(On::Entry), |image| image.remove(parent.0, name, false)), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.with(Some(On::Entry), |image| image.remove(parent.0, name, true)), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let done = self.with(Some(On::Entry), |image| {
            image.rename((parent.0, name), (new_parent.0, new_name))
        });
        empty(done, reply);
    }

    fn link(
        &self,
        _: &Request,
        ino: INodeNo,
        new_parent: INodeNo,
        new_name: &OsStr,
        reply: ReplyEntry,
    ) {
        let made = self.with(Some(On::Entry), |image| {
            image.link(ino.0, new_parent.0, new_name)?;
            image.facts(ino.0)
        });
        self.entry(made, reply);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.with(None, |image| image.open(ino.0)) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let made = self.with(Some(On::Entry), |image| {
            let ino: Ino = image.make(parent.0, name, false)?;
            image.open(ino)?;
            image.facts(ino)
        });
        match made {
            Ok(facts) => reply.created(
                &Duration::ZERO,
                &self.attributes(facts),
                Generation(0),
                FileHandle(0),
                FopenFlags::FOPEN_DIRECT_IO,
            ),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let data = self.with_bytes(Some(On::Read), size as usize, |image, size| {
            image.read(ino.0, offset, size).map(<[u8]>::to_vec)
        });
        match data {
            Ok(data) => reply.data(&data),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.with_bytes(Some(On::Write), data.len(), |image, bytes| {
            let data = data.get(..bytes).unwrap_or(data);
            image.write(ino.0, offset, data).map(|()| data.len())
        });
        match written {
            // The kernel does not ask for more than 16 MiB at once.
            Ok(bytes) => reply.written(u32::try_from(bytes).unwrap_or(u32::MAX)),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let closed = self.with(None, |image| {
            image.close(ino.0);
            Ok(())
        });
        empty(closed, reply);
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(self.with(Some(On::Sync), |image| image.sync_file(ino.0)), reply);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let entries = self.with(None, |image| {
            let mut entries = Vec::new();
            for (name, ino) in image.entries(ino.0)? {
                entries.push((name, image.facts(ino)?));
            }
            Ok(entries)
        });
        match entries {
            Ok(entries) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                for (number, (name, facts)) in entries.into_iter().enumerate().skip(from) {
                    let kind = self.attributes(facts).kind;
                    if reply.add(INodeNo(facts.ino), number as u64 + 1, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(error) => reply.error(error),
        }
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(self.with(Some(On::Sync), |image| image.sync_folder(ino.0)), reply);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, free) =
            (shared.image.capacity / u64::from(BLOCK), shared.image.free() / u64::from(BLOCK));
        reply.statfs(all, free, free, 1 << 20, 1 << 20, BLOCK, 255, BLOCK);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn other_processes_see_a_disk_that_forgets_and_fails() {
        let folder = tempfile::tempdir().unwrap();
        let disk = match Disk::mount(folder.path()) {
            Ok(disk) => disk,
            Err(error) => {
                eprintln!("LEFT OUT: {error}");
                return;
            }
        };
        let path = folder.path().join("inside");
        fs::create_dir(&path).unwrap();
        let mut file = fs::File::create(path.join("a")).unwrap();
        file.write_all(b"first").unwrap();
        file.sync_all().unwrap();
        for each in [folder.path(), path.as_path()] {
            fs::File::open(each).unwrap().sync_all().unwrap();
        }
        file.write_all(b" second").unwrap();
        fs::hard_link(path.join("a"), path.join("b")).unwrap();
        assert_eq!(fs::read_to_string(path.join("b")).unwrap(), "first second");
        let names = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["a", "b"]);
        drop(file);
        disk.cut(Lose::All);
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "first");
        assert!(!path.join("b").exists());

        let failing = vec![On::Write];
        disk.set_faults(Faults { failing, after: 1, times: 1, effect: Effect::Error });
        let mut file = fs::File::create(path.join("c")).unwrap();
        file.write_all(b"goes").unwrap();
        assert!(file.write_all(b"fails").is_err());
        file.write_all(b" on").unwrap();
        assert_eq!(disk.faults().times, 0);
        disk.set_free(10);
        let full = file.write_all(&[0; 4096]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        disk.set_roomy();
        disk.set_faults(Faults {
            failing: vec![On::Read, On::Write],
            after: 0,
            times: 9,
            effect: Effect::Short,
        });
        file.write_all(b" in pieces").unwrap();
        assert_eq!(fs::read_to_string(path.join("c")).unwrap(), "goes on in pieces");
        drop(file);
        fs::remove_file(path.join("c")).unwrap();
        assert!(disk.operations() > 20);
    }
}
