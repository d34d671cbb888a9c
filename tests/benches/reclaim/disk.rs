//! The disk as seen from outside of the store: blocks of files, the page cache, what threads read and wrote.

use std::collections::HashSet;
use std::fs::File;
use std::num::NonZeroU64;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise, syncfs};

const BLOCK_BYTES: u64 = 512;

/// Bytes allocated for files: once for those that have several of these names, and nothing for those that are gone.
pub(super) fn blocks(paths: impl IntoIterator<Item = PathBuf>) -> u64 {
    let found = paths.into_iter().filter_map(|path| std::fs::symlink_metadata(path).ok());
    let mut counted = HashSet::new();
    let once = found.filter(|meta| counted.insert((meta.dev(), meta.ino())));
    once.map(|meta| meta.blocks() * BLOCK_BYTES).sum()
}

/// Bytes allocated for all files below a folder. Files that vanish meanwhile are gone.
pub(super) fn folder_blocks(folder: &Path) -> u64 {
    blocks(files_below(folder))
}

/// Every file below a folder; none if it is gone.
pub(super) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(_) => found.push(entry.path()),
                Err(_) => {}
            }
        }
    }
    found
}

/// The SST files of a folder, oldest name first.
pub(super) fn sst_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = files_below(folder);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sst"));
    files.sort();
    files
}

/// Lets the kernel forget what it has cached of some pages of a file. One that is gone needs it no more.
pub(super) fn drop_from_cache(path: &Path, offset: u64, bytes: u64) {
    if let Ok(file) = File::open(path) {
        let _ = fadvise(&file, offset, NonZeroU64::new(bytes), Advice::DontNeed);
    }
}

/// Writes out everything of the file system that holds `folder`, so that later measurements do not pay
/// for it.
pub(super) fn settle(folder: &Path) -> Result<(), String> {
    let file = File::open(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    syncfs(&file).map_err(|error| format!("syncfs {}: {error}", folder.display()))
}

/// Bytes that threads read and wrote, as the kernel counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Io {
    /// Read by calls, from the page cache or the disk.
    pub(super) read: u64,
    /// Read from the disk.
    pub(super) read_from_disk: u64,
    /// Made dirty in the page cache, and so to be written to the disk.
    pub(super) written: u64,
}

impl Io {
    /// Of this process, threads that have ended included. Zero where the kernel does not count.
    pub(super) fn of_process() -> Self {
        Self::read_from("/proc/self/io")
    }

    /// Of the calling thread.
    pub(super) fn of_thread() -> Self {
        Self::read_from("/proc/thread-self/io")
    }

    fn read_from(path: &str) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
        };
        Self {
            read: field("rchar:"),
            read_from_disk: field("read_bytes:"),
            written: field("write_bytes:"),
        }
    }

    /// What came on top of `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            read: self.read.saturating_sub(earlier.read),
            read_from_disk: self.read_from_disk.saturating_sub(earlier.read_from_disk),
            written: self.written.saturating_sub(earlier.written),
        }
    }

    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            read: self.read + other.read,
            read_from_disk: self.read_from_disk + other.read_from_disk,
            written: self.written + other.written,
        }
    }
}
