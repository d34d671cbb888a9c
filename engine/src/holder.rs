//! Who else holds a file: other hard links of an SST file, checkpoints on disk, and readers.
//!
//! A checkpoint of RocksDB is a folder of hard links. While it exists, dropping a file of the database
//! gives nothing back: the bytes belong to the checkpoint too. Checkpoints of jobs lie in
//! `<store>/checkpoints`; links outside of the store can only be counted, not named.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::open::Engine;

/// The folder of checkpoints in a store.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// How deep a checkpoint's files may lie below the store's folder.
const DEPTH_MAX: usize = 4;

/// A file that somebody else may have a link to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inode {
    device: u64,
    number: u64,
    pub(crate) links: u64,
    /// Bytes of the blocks that are allocated for it.
    pub(crate) bytes: u64,
}

impl Inode {
    /// The file behind a path; `None` if there is none.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        let (device, number) = (meta.dev(), meta.ino());
        Some(Self { device, number, links: meta.nlink(), bytes: meta.blocks() * 512 })
    }

    fn is(&self, meta: &std::fs::Metadata) -> bool {
        (meta.dev(), meta.ino()) == (self.device, self.number)
    }
}

/// The folder inside of the store, relative to it, that holds another link of the file; `except` are
/// folders not to look into. `None` if no link is found in the store.
pub(crate) fn find(store: &Path, inode: &Inode, except: &[&Path]) -> Option<PathBuf> {
    let mut folders = vec![(store.to_path_buf(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            let path = entry.path();
            if meta.is_dir() {
                if depth < DEPTH_MAX && !except.contains(&path.as_path()) {
                    folders.push((path, depth + 1));
                }
            } else if inode.is(&meta) {
                return folder.strip_prefix(store).map(Path::to_path_buf).ok();
            }
        }
    }
    None
}

/// Age of the oldest checkpoint on disk.
fn oldest_checkpoint(store: &Path) -> Option<Duration> {
    let entries = std::fs::read_dir(store.join(CHECKPOINTS)).ok()?;
    let made = entries.flatten().filter_map(|entry| entry.metadata().ok()?.modified().ok());
    made.min()?.elapsed().ok()
}

impl Engine {
    /// Age of the oldest reader that keeps files or keys from going: a view, a snapshot of the host, or a
    /// checkpoint on disk. `None` if there is none.
    #[must_use]
    pub fn oldest_reader(&self) -> Option<Duration> {
        self.oldest_reader_named().map(|(age, _)| age)
    }

    /// The same, and what it is.
    pub(crate) fn oldest_reader_named(&self) -> Option<(Duration, &'static str)> {
        let view = self.views().all().map(|readers| readers.oldest);
        let checkpoint = oldest_checkpoint(self.path());
        let readers = [
            (view, "a view"),
            (self.oldest_snapshot(), "a snapshot"),
            (checkpoint, "a checkpoint"),
        ];
        let ages = readers.into_iter().filter_map(|(age, what)| Some((age?, what)));
        ages.max_by_key(|(age, _)| *age)
    }

    /// Age of the oldest snapshot of the database.
    pub(crate) fn oldest_snapshot(&self) -> Option<Duration> {
        let time = self.db().property_int_value("rocksdb.oldest-snapshot-time");
        let seconds = time.ok().flatten().filter(|&seconds| seconds > 0)?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?.elapsed().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_link_is_found_by_the_folder_it_lies_in() {
        let store = tempfile::tempdir().unwrap();
        let path = |name: &str| store.path().join(name);
        for folder in ["data", "checkpoints/backup-7"] {
            std::fs::create_dir_all(path(folder)).unwrap();
        }
        std::fs::write(path("data/1.sst"), b"rows").unwrap();
        let alone = Inode::of(&path("data/1.sst")).unwrap();
        assert_eq!(alone.links, 1);
        let data = path("data");
        assert_eq!(find(store.path(), &alone, &[&data]), None);
        std::fs::hard_link(path("data/1.sst"), path("checkpoints/backup-7/1.sst")).unwrap();
        let held = Inode::of(&path("data/1.sst")).unwrap();
        assert_eq!(held.links, 2);
        let holder = find(store.path(), &held, &[&data]);
        assert_eq!(holder.as_deref(), Some(Path::new("checkpoints/backup-7")));
        assert!(oldest_checkpoint(store.path()).is_some());
        assert_eq!(Inode::of(&path("data/2.sst")), None);
    }
}
