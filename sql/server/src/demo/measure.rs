//! What a store occupies on disk, seen from outside: by looking at its files, not by asking the server.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a [`StagingWatch`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);
const BLOCK_BYTES: u64 = 512;

/// Files and the bytes allocated for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// The data of a store, by where it is. Logs, manifests and the write-ahead log are not counted: they belong to no
/// table, and the foreground load writes them all the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Disk {
    /// Sorted files in use.
    pub(super) tables: Amount,
    /// Files that jobs prepare.
    pub(super) staging: Amount,
    /// Files on their way out.
    pub(super) trash: Amount,
}

impl Disk {
    /// Looks at a store. Files that vanish while it looks are counted as gone.
    pub(super) fn of(store: &Path) -> Disk {
        let mut disk = Disk::default();
        for (path, amount) in files(store) {
            let Ok(inside) = path.strip_prefix(store) else { continue };
            let place = if inside.starts_with("staging") {
                &mut disk.staging
            } else if inside.starts_with("trash")
                || inside.extension().is_some_and(|end| end == "trash")
            {
                &mut disk.trash
            } else if inside.extension().is_some_and(|end| end == "sst") {
                &mut disk.tables
            } else {
                continue;
            };
            place.files += 1;
            place.bytes += amount;
        }
        disk
    }

    /// All of it.
    pub(super) fn total_bytes(&self) -> u64 {
        self.tables.bytes + self.staging.bytes + self.trash.bytes
    }
}

/// Every file below a folder with its allocated bytes.
fn files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => found.push((entry.path(), metadata.blocks() * BLOCK_BYTES)),
                Err(_) => {}
            }
        }
    }
    found
}

/// Watches the staging folders of a store for growth.
pub(super) struct StagingWatch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Option<Instant>>,
}

impl StagingWatch {
    /// Starts looking.
    pub(super) fn start(store: &Path) -> StagingWatch {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, staging) = (Arc::clone(&stop), store.join("staging"));
        let thread = std::thread::spawn(move || {
            let mut last_growth = None;
            let mut before = length(&staging);
            while !ended.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK_EVERY);
                let now = length(&staging);
                if now > before {
                    last_growth = Some(Instant::now());
                }
                before = now;
            }
            last_growth
        });
        StagingWatch { stop, thread }
    }

    /// Stops looking and answers when a staged file last grew, if one did.
    pub(super) fn finish(self) -> Option<Instant> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().flatten()
    }
}

fn length(folder: &Path) -> u64 {
    files(folder)
        .iter()
        .filter_map(|(path, _)| std::fs::metadata(path).ok())
        .map(|metadata| metadata.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_where_they_belong() {
        let store = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = store.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, [1; 5000]).unwrap();
        };
        for name in [
            "000001.sst",
            "000002.sst",
            "000003.log",
            "LOG",
            "staging/0a/1.sst",
            "trash/7/1.sst",
            "4.sst.trash",
        ] {
            write(name);
        }
        let disk = Disk::of(store.path());
        assert_eq!((disk.tables.files, disk.staging.files, disk.trash.files), (2, 1, 2));
        assert!(disk.total_bytes() >= 25_000);
    }

    #[test]
    fn growth_of_a_staged_file_is_noticed() {
        let store = tempfile::tempdir().unwrap();
        std::fs::create_dir(store.path().join("staging")).unwrap();
        assert_eq!(StagingWatch::start(store.path()).finish(), None);
        let watch = StagingWatch::start(store.path());
        std::thread::sleep(Duration::from_millis(20));
        std::fs::write(store.path().join("staging/1.sst"), [1; 10]).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert!(watch.finish().is_some());
    }
}
