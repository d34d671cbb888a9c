//! Removing files of our own gently: staged SSTs, sorted runs, and dropped files that we keep a link to.
//!
//! RocksDB's files go through its file manager where there is one; these do not. Freeing the blocks of a
//! large file in one unlink stalls the disk, so a file is cut from its tail in small steps and unlinked when
//! little is left. Each step is synced: a journal would free the blocks of many at once otherwise. After it
//! its bytes and the time it took go to the caller, who waits. A
//! file with another hard link is only unlinked: its blocks stay, and cutting it would damage the
//! other's copy (a crash between the link and the unlink of an ingest leaves such a pair).
//!
//! # Own trash
//!
//! Two kinds of dropped files must not be left to RocksDB: those of a database that has no file manager of
//! ours, which it would unlink in one call, and those that a checkpoint on disk links to, whose end we
//! could not see. They are hard-linked into `<store>/trash/<id>/` before they are dropped, so that RocksDB's
//! unlink frees nothing, and are cut once ours is the only link: then no version, iterator or
//! checkpoint uses them. A third kind is linked when it was dropped already: what still has its name, because somebody
//! reads it, or makes a checkpoint that may link to it before RocksDB gives it up.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::claim::staging_name;
use crate::disk::{Disk, gone, list, make_folders};
use crate::error::{EngineError, Result, io_error};
use crate::governor::Steps;
use crate::id::SpanId;
use crate::open::Engine;

/// The folder of own trash in a store.
pub(crate) const TRASH: &str = "trash";

/// What is told of each step: the bytes it gave back and how long it took. May wait, or end the removal.
pub(crate) type AfterStep<'a> = dyn FnMut(u64, Duration) -> Result<()> + 'a;

/// The folder of dropped files of a tombstone.
pub(crate) fn folder(store: &Path, id: SpanId) -> PathBuf {
    store.join(TRASH).join(staging_name(id))
}

/// Keeps a link to a file that is going to be dropped. False where there are no hard links: the file
/// then goes in one step, as if there were no trash.
pub(crate) fn keep(disk: &dyn Disk, file: &Path, folder: &Path) -> Result<bool> {
    let Some(name) = file.file_name() else { return Ok(false) };
    make_folders(disk, folder)?;
    match disk.link(file, &folder.join(name)) {
        Ok(()) => Ok(true),
        // Kept by an earlier attempt.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(true),
        // Dropped meanwhile by RocksDB itself.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "cannot link; it will be deleted unpaced");
            Ok(false)
        }
    }
}

/// Keeps a link to a dropped file that still has its name, where that can be done: it goes without, too.
pub(crate) fn keep_dropped(disk: &dyn Disk, file: &Path, folder: &Path) {
    if let Some(name) = file.file_name()
        && make_folders(disk, folder).is_ok()
        && let Err(error) = disk.link(file, &folder.join(name))
    {
        tracing::debug!(file = %file.display(), %error, "a dropped file is not linked");
    }
}

/// Removes files of a folder in steps of at most `step_bytes` until `bytes_max` are given back, and the folder once it
/// is empty. Answers
/// whether it is gone; if not, or if `after_step` fails, the next call goes on. A folder that does not
/// exist is gone.
pub(crate) fn remove_folder(
    disk: &dyn Disk,
    dir: &Path,
    step_bytes: u64,
    mut bytes_max: u64,
    after_step: &mut AfterStep<'_>,
) -> Result<bool> {
    for path in list(disk, dir)? {
        if bytes_max == 0 || !remove_file(disk, &path, step_bytes, &mut bytes_max, after_step)? {
            return Ok(false);
        }
    }
    gone(disk.remove_folder(dir)).map_err(|source| io_error("remove", dir, source))?;
    Ok(true)
}

/// Removes a file in steps of at most `step_bytes` until `bytes_max`, which is counted down, are given back. Answers whether
/// it is gone.
pub(crate) fn remove_file(
    disk: &dyn Disk,
    path: &Path,
    step_bytes: u64,
    bytes_max: &mut u64,
    after_step: &mut AfterStep<'_>,
) -> Result<bool> {
    let meta =
        std::fs::symlink_metadata(path).map_err(|source| io_error("look at", path, source))?;
    let sole_link = meta.is_file() && meta.nlink() == 1;
    let mut left = meta.len();
    while sole_link && left > step_bytes {
        if *bytes_max == 0 {
            return Ok(false);
        }
        let began = Instant::now();
        left -= step_bytes;
        disk.cut(path, left).map_err(|source| io_error("cut", path, source))?;
        *bytes_max = bytes_max.saturating_sub(step_bytes);
        after_step(step_bytes, began.elapsed())?;
    }
    let began = Instant::now();
    disk.remove_file(path).map_err(|source| io_error("remove", path, source))?;
    if sole_link {
        *bytes_max = bytes_max.saturating_sub(left);
        after_step(left, began.elapsed())?;
    }
    Ok(true)
}

impl Engine {
    /// Removes a file that its job is done with (a sorted run that was merged, say) as gently as dropped files go. While reclaim is
    /// paused, too: the job goes on. A file that does not exist is removed.
    ///
    /// Crash points: `remove.before_cut`, `remove.after_cut`, around each 16 MiB.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] once `stop` answers true, which is asked after each step: what is left of the file has
    /// to be removed another time, and means nothing any more. An I/O error.
    pub fn remove_file(&self, file: &Path, stop: &dyn Fn() -> bool) -> Result<()> {
        let governor = self.governor();
        let _removing = governor.removing();
        let mut pace = |bytes, took| governor.pace(bytes, took, stop);
        while file.try_exists().map_err(|source| io_error("look at", file, source))? {
            // How large a step may be changes meanwhile.
            let (step_bytes, mut bytes_max) = (governor.steps().bytes(), Steps::Alone.bytes());
            self.crash().point("remove.before_cut")?;
            match remove_file(self.disk().as_ref(), file, step_bytes, &mut bytes_max, &mut pace) {
                // Who condemned it meanwhile removes it, too.
                Err(EngineError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                    break;
                }
                removed => drop(removed?),
            }
            self.crash().point("remove.after_cut")?;
        }
        if stop() { Err(EngineError::Stopped) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SystemDisk;

    const STEP: u64 = 8 << 20;

    #[test]
    fn a_folder_goes_in_small_steps_and_again_is_harmless() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("staged");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("a"), vec![1; 20 << 20]).unwrap();
        let mut steps = Vec::new();
        let gone = remove_folder(&SystemDisk, &folder, STEP, u64::MAX, &mut |bytes, _| {
            steps.push(bytes);
            Ok(())
        });
        assert!(gone.unwrap());
        assert_eq!(steps.iter().sum::<u64>(), 20 << 20);
        assert!(steps.iter().all(|&bytes| bytes <= STEP) && steps.len() == 3, "{steps:?}");
        assert!(remove_folder(&SystemDisk, &folder, STEP, 1, &mut |_, _| Ok(())).unwrap());
    }

    #[test]
    fn a_large_folder_goes_in_several_calls() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("staged");
        std::fs::create_dir(&folder).unwrap();
        for name in ["a", "b", "c"] {
            std::fs::write(folder.join(name), vec![1; 100]).unwrap();
        }
        let mut calls = 1;
        while !remove_folder(&SystemDisk, &folder, STEP, 150, &mut |_, _| Ok(())).unwrap() {
            calls += 1;
        }
        assert_eq!((calls, folder.exists()), (2, false));
    }

    #[test]
    fn a_large_file_goes_in_several_calls() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("run");
        std::fs::write(&file, vec![1; 50 << 20]).unwrap();
        let mut lengths = Vec::new();
        while !remove_file(&SystemDisk, &file, STEP, &mut (16 << 20), &mut |_, _| Ok(())).unwrap() {
            lengths.push(std::fs::metadata(&file).unwrap().len() >> 20);
        }
        assert_eq!(lengths, [34, 18]);
    }

    #[test]
    fn a_file_that_the_database_links_to_is_never_cut() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("staged");
        std::fs::create_dir(&folder).unwrap();
        let kept = dir.path().join("kept");
        std::fs::write(&kept, vec![7; 10 << 20]).unwrap();
        std::fs::hard_link(&kept, folder.join("linked")).unwrap();
        assert!(
            remove_folder(&SystemDisk, &folder, STEP, 1, &mut |_, _| panic!(
                "nothing is given back"
            ))
            .unwrap()
        );
        assert_eq!(std::fs::read(&kept).unwrap(), vec![7; 10 << 20]);
    }

    #[test]
    fn a_removal_that_was_stopped_goes_on_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("staged");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("a"), vec![1; 20 << 20]).unwrap();
        let mut steps = 0;
        let stopped = remove_folder(&SystemDisk, &folder, STEP, u64::MAX, &mut |_, _| {
            steps += 1;
            if steps > 1 { Err(EngineError::Stopped) } else { Ok(()) }
        });
        assert!(stopped.is_err());
        assert_eq!(std::fs::metadata(folder.join("a")).unwrap().len(), 4 << 20);
        assert!(remove_folder(&SystemDisk, &folder, STEP, u64::MAX, &mut |_, _| Ok(())).unwrap());
    }

    #[test]
    fn a_kept_file_outlives_its_first_name_and_is_kept_once() {
        let dir = tempfile::tempdir().unwrap();
        let (file, folder) = (dir.path().join("1.sst"), folder(dir.path(), SpanId::from_raw(7)));
        assert!(!keep(&SystemDisk, &file, &folder).unwrap(), "there is no such file");
        std::fs::write(&file, b"rows").unwrap();
        assert!(
            keep(&SystemDisk, &file, &folder).unwrap()
                && keep(&SystemDisk, &file, &folder).unwrap()
        );
        std::fs::remove_file(&file).unwrap();
        assert_eq!(list(&SystemDisk, &folder).unwrap(), [folder.join("1.sst")]);
        assert!(remove_folder(&SystemDisk, &folder, STEP, u64::MAX, &mut |_, _| Ok(())).unwrap());
        assert!(list(&SystemDisk, &folder).unwrap().is_empty());
    }
}
