//! Removing files of our own gently: staged SSTs and sorted runs.
//!
//! RocksDB's files go through its file manager; these do not. Freeing the blocks of a large file in
//! one unlink stalls the disk, so a file is cut from its tail in small steps, each of which asks the
//! governor, and is unlinked when little is left. A file with another hard link is only unlinked:
//! its blocks stay, and cutting it would damage the database's copy (a crash between the link and the
//! unlink of an ingest leaves such a pair).

use std::fs::OpenOptions;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::error::{Result, io_error};

/// Bytes cut per step.
const STEP_BYTES: u64 = 8 << 20;

/// Removes a folder and the files in it. `before_step` is called with the bytes of each step and may
/// wait or end the removal with an error; what is left is removed by the next call. A folder that
/// does not exist is fine. Returns the bytes given back.
pub(crate) fn remove_folder(
    dir: &Path,
    before_step: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<u64> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(io_error("read", dir, error)),
    };
    let mut freed = 0;
    for entry in entries {
        let path = entry.map_err(|source| io_error("read", dir, source))?.path();
        freed += remove_file(&path, before_step)?;
    }
    match std::fs::remove_dir(dir) {
        Ok(()) => Ok(freed),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(freed),
        Err(error) => Err(io_error("remove", dir, error)),
    }
}

fn remove_file(path: &Path, before_step: &mut dyn FnMut(u64) -> Result<()>) -> Result<u64> {
    let meta =
        std::fs::symlink_metadata(path).map_err(|source| io_error("look at", path, source))?;
    let sole_link = meta.is_file() && meta.nlink() == 1;
    if sole_link && meta.len() > STEP_BYTES {
        let file = OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(|source| io_error("open", path, source))?;
        let mut left = meta.len();
        while left > STEP_BYTES {
            before_step(STEP_BYTES)?;
            left -= STEP_BYTES;
            file.set_len(left).map_err(|source| io_error("cut", path, source))?;
        }
    }
    before_step(meta.len().min(STEP_BYTES))?;
    std::fs::remove_file(path).map_err(|source| io_error("remove", path, source))?;
    Ok(if sole_link { meta.len() } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::EngineError;

    #[test]
    fn a_folder_goes_in_small_steps_and_again_is_harmless() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("staged");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("a"), vec![1; 20 << 20]).unwrap();
        let mut steps = Vec::new();
        let freed = remove_folder(&folder, &mut |bytes| {
            steps.push(bytes);
            Ok(())
        });
        assert_eq!(freed.unwrap(), 20 << 20);
        assert!(steps.iter().all(|&bytes| bytes <= STEP_BYTES) && steps.len() == 3, "{steps:?}");
        assert_eq!(remove_folder(&folder, &mut |_| Ok(())).unwrap(), 0);
    }

    #[test]
    fn a_file_that_the_database_links_to_is_never_cut() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("staged");
        std::fs::create_dir(&folder).unwrap();
        let kept = dir.path().join("kept");
        std::fs::write(&kept, vec![7; 10 << 20]).unwrap();
        std::fs::hard_link(&kept, folder.join("linked")).unwrap();
        assert_eq!(remove_folder(&folder, &mut |_| Ok(())).unwrap(), 0);
        assert_eq!(std::fs::read(&kept).unwrap(), vec![7; 10 << 20]);
    }

    #[test]
    fn a_removal_that_was_stopped_goes_on_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("staged");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("a"), vec![1; 20 << 20]).unwrap();
        let mut steps = 0;
        let stopped = remove_folder(&folder, &mut |_| {
            steps += 1;
            if steps > 1 { Err(EngineError::Stopped) } else { Ok(()) }
        });
        assert!(stopped.is_err());
        assert_eq!(remove_folder(&folder, &mut |_| Ok(())).unwrap(), 12 << 20);
    }
}
