//! The disk under the files that are ours and not RocksDB's: sorted runs, links to dropped files, the ballast, and the
//! folders of staged files.
//!
//! Whatever makes, fills, links, cuts, syncs or removes one of them does so through [`Disk`], so that a test can let each
//! such operation fail, or lose what was not synced: contents and names. So does listing where a name that is not found
//! is taken for gone. Reading does not, nor asking for lengths, links and free space: nothing is lost by that, and what is
//! read carries checksums. RocksDB's own files, staged ones too, have RocksDB's own seam; what queries spill needs none, nor does the
//! mark of RocksDB's log (`log/mark.rs`), any part of which may be lost.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::error::{EngineError, Result, io_error};

#[cfg(any(test, feature = "testkit"))]
pub(crate) mod forgetful;

/// Zeros that are written at a time where the file system allocates nothing without being written to.
const ZEROS: usize = 1 << 20;

/// What is asked of the disk for files of our own. All calls block.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Makes a file to be written from its beginning, in place of what may be there. What is written is safe from a loss of
    /// power after [`DiskFile::sync`], and the name after [`Disk::sync_folder`].
    ///
    /// # Errors
    /// Those of the operating system, as for all calls.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file a second name, on the same file system.
    ///
    /// # Errors
    /// As [`Disk::create`]; `AlreadyExists` if there is such a name.
    fn link(&self, file: &Path, name: &Path) -> io::Result<()>;

    /// Shortens a file to `bytes`, safe from a loss of power. Its blocks are free then, unless somebody has it open.
    ///
    /// # Errors
    /// As [`Disk::create`].
    fn cut(&self, file: &Path, bytes: u64) -> io::Result<()>;

    /// Removes a name of a file, and the file with its last name.
    ///
    /// # Errors
    /// As [`Disk::create`]; `NotFound` if there is no such name.
    fn remove_file(&self, file: &Path) -> io::Result<()>;

    /// Makes a folder in one that exists.
    ///
    /// # Errors
    /// As [`Disk::create`]; `AlreadyExists` if there is such a name.
    fn make_folder(&self, folder: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    ///
    /// # Errors
    /// As [`Disk::create`]; `NotFound` if there is none, `DirectoryNotEmpty` if something is in it.
    fn remove_folder(&self, folder: &Path) -> io::Result<()>;

    /// What is in a folder, in no order.
    ///
    /// # Errors
    /// As [`Disk::create`]; `NotFound` if there is none.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// Makes the names in a folder, and that others are gone, safe from a loss of power: syncing a file does that for what
    /// is in it, not for its name.
    ///
    /// # Errors
    /// As [`Disk::create`].
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// A file that is written from its beginning.
pub trait DiskFile: Write + fmt::Debug + Send {
    /// Gives a new file so many bytes, with blocks of its own.
    ///
    /// # Errors
    /// Those of the operating system.
    fn allocate(&mut self, bytes: u64) -> io::Result<()>;

    /// Makes what was written safe from a loss of power.
    ///
    /// # Errors
    /// Those of the operating system. What was not synced before may be lost then, even if a later call succeeds.
    fn sync(&mut self) -> io::Result<()>;
}

/// The disk of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        File::create(path).map(|file| Box::new(file) as Box<dyn DiskFile>)
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        std::fs::hard_link(file, name)
    }

    fn cut(&self, file: &Path, bytes: u64) -> io::Result<()> {
        let file = File::options().write(true).open(file)?;
        file.set_len(bytes)?;
        file.sync_data()
    }

    fn remove_file(&self, file: &Path) -> io::Result<()> {
        std::fs::remove_file(file)
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir(folder)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        std::fs::remove_dir(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

impl DiskFile for File {
    fn allocate(&mut self, bytes: u64) -> io::Result<()> {
        match fallocate(&*self, FallocateFlags::empty(), 0, bytes) {
            Err(error) if must_be_written(error) => {}
            done => return done.map_err(io::Error::from),
        }
        let zeros = vec![0; ZEROS];
        let mut left = bytes;
        while left > 0 {
            let part = zeros.len().min(usize::try_from(left).unwrap_or(zeros.len()));
            self.write_all(&zeros[..part])?;
            left -= part as u64;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Whether the file system does not know how to allocate. If it has no space, writing would take the last of it.
fn must_be_written(error: Errno) -> bool {
    matches!(error, Errno::OPNOTSUPP | Errno::NOSYS)
}

/// Free bytes on the file system that holds `path`.
pub(crate) fn free_bytes(path: &Path) -> Result<u64> {
    let stat =
        rustix::fs::statvfs(path).map_err(|error| io_error("measure", path, error.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Makes the names in a folder safe from a loss of power.
pub(crate) fn sync_folder(disk: &dyn Disk, folder: &Path) -> Result<()> {
    disk.sync_folder(folder).map_err(|source| io_error("sync", folder, source))
}

/// Makes a folder with all that it lies in; one that exists is fine.
pub(crate) fn make_folders(disk: &dyn Disk, folder: &Path) -> Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let above = within(folder);
    if above != folder {
        make_folders(disk, above)?;
    }
    match disk.make_folder(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        made => made.map_err(|source| io_error("create", folder, source)),
    }
}

/// Makes a folder with all that it lies in, safe from a loss of power.
pub(crate) fn make_durable_folder(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let existed = folder.exists();
    let above = folder.ancestors().skip(1);
    let missing: Vec<&Path> = above.take_while(|part| !part.exists()).collect();
    make_folders(disk, folder)?;
    // The folder itself also if it was there: the process that made it may have died before it was synced. Who may
    // not read what it lies in has not made it.
    match sync_folder(disk, within(folder)) {
        Err(EngineError::Io { source, .. })
            if existed && source.kind() == ErrorKind::PermissionDenied => {}
        synced => synced?,
    }
    missing.into_iter().try_for_each(|made| sync_folder(disk, within(made)))
}

/// Removes a file, a link (and not what it leads to), or a folder with all that is in it; what does not exist is fine.
pub(crate) fn remove_all(disk: &dyn Disk, path: &Path) -> Result<()> {
    let removed = if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        empty_folder(disk, path)?;
        disk.remove_folder(path)
    } else {
        disk.remove_file(path)
    };
    gone(removed).map_err(|source| io_error("remove", path, source))
}

/// Removes all that is in a folder; one that does not exist is fine.
pub(crate) fn empty_folder(disk: &dyn Disk, folder: &Path) -> Result<()> {
    list(disk, folder)?.iter().try_for_each(|path| remove_all(disk, path))
}

/// What is in a folder; nothing if it does not exist.
pub(crate) fn list(disk: &dyn Disk, folder: &Path) -> Result<Vec<PathBuf>> {
    match disk.list(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        found => found.map_err(|source| io_error("read", folder, source)),
    }
}

/// Takes a removal of what was not there for one.
pub(crate) fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The folder that a path lies in; the working directory for a relative path of one part.
pub(crate) fn within(path: &Path) -> &Path {
    path.parent().filter(|within| !within.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_link_leads_to_is_not_removed_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        make_folders(&SystemDisk, &path("store/inner")).unwrap();
        make_folders(&SystemDisk, &path("outside")).unwrap();
        std::fs::write(path("outside/kept"), b"kept").unwrap();
        std::fs::write(path("store/inner/gone"), b"gone").unwrap();
        for link in ["store/link", "store/inner/link"] {
            std::os::unix::fs::symlink(path("outside"), path(link)).unwrap();
        }
        for name in ["store/link", "store/inner/gone", "store", "store"] {
            remove_all(&SystemDisk, &path(name)).unwrap();
            assert!(!path(name).exists());
        }
        assert_eq!(list(&SystemDisk, &path("outside")).unwrap(), [path("outside/kept")]);
    }

    #[test]
    fn what_there_is_no_space_for_is_not_written() {
        for error in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG, Errno::IO] {
            assert!(!must_be_written(error), "{error}");
        }
        assert!(must_be_written(Errno::OPNOTSUPP) && must_be_written(Errno::NOSYS));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        let mut file = SystemDisk.create(&path).unwrap();
        assert!(file.allocate(1 << 60).is_err());
        assert_eq!(path.metadata().unwrap().len(), 0);
    }

    #[test]
    fn a_folder_that_was_made_and_not_synced_is_synced_when_it_is_opened() {
        for made_durable in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let disk = forgetful::ForgetfulDisk::default();
            let store = folder.path().join("store");
            // Whoever made it died before it was synced.
            make_folders(&disk, &store).unwrap();
            if made_durable {
                make_durable_folder(&disk, &store).unwrap();
            }
            disk.off();
            disk.on(forgetful::Lost::Everything).unwrap();
            assert_eq!(store.exists(), made_durable);
        }
    }

    #[test]
    fn a_folder_is_made_with_all_that_it_lies_in_and_again_is_fine() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        for _ in 0..2 {
            make_durable_folder(&SystemDisk, &deep).unwrap();
            assert!(deep.is_dir());
        }
        make_folders(&SystemDisk, Path::new("")).unwrap();
        std::fs::write(folder.path().join("file"), b"").unwrap();
        assert!(make_folders(&SystemDisk, &folder.path().join("file")).is_err());
        assert!(make_folders(&SystemDisk, &folder.path().join("file/below")).is_err());
    }
}
