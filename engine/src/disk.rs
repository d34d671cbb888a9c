//! The store's folder: how much of the disk it uses, and names in it that survive a loss of power.

use std::path::Path;

use crate::ballast::BALLAST;
use crate::error::{EngineError, Result, io_error};
use crate::open::Engine;
use crate::trash;

/// Bytes on disk, by what they are for. Sizes are lengths of files, not blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// SST files.
    pub sst_bytes: u64,
    /// Write-ahead log.
    pub wal_bytes: u64,
    /// Files of the database that are being given back.
    pub trash_bytes: u64,
    /// Staged files and sorted runs.
    pub staging_bytes: u64,
    /// The file that holds some of the disk back.
    pub ballast_bytes: u64,
    /// Everything else in the store's folder.
    pub other_bytes: u64,
    /// Free on the disk, for users that are not root.
    pub free_bytes: u64,
}

impl DiskUsage {
    /// All bytes of the store.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        let files = self.sst_bytes + self.wal_bytes + self.trash_bytes + self.staging_bytes;
        files + self.ballast_bytes + self.other_bytes
    }
}

impl Engine {
    /// Adds up the store's folder. Files that vanish meanwhile count as gone.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn disk_usage(&self) -> Result<DiskUsage> {
        let mut usage = DiskUsage { free_bytes: free_bytes(self.path())?, ..DiskUsage::default() };
        visit(self.path(), &mut |path, bytes| {
            let staged = path.starts_with(self.staging_root());
            let dropped = path.starts_with(self.path().join(trash::TRASH));
            let ends = |extension: &str| path.extension().is_some_and(|found| found == extension);
            let kind = match () {
                () if staged => &mut usage.staging_bytes,
                () if dropped || ends("trash") => &mut usage.trash_bytes,
                () if path == self.path().join(BALLAST) => &mut usage.ballast_bytes,
                () if ends("sst") => &mut usage.sst_bytes,
                () if ends("log") => &mut usage.wal_bytes,
                () => &mut usage.other_bytes,
            };
            *kind += bytes;
        })?;
        Ok(usage)
    }
}

/// Free bytes on the file system that holds `path`.
pub(crate) fn free_bytes(path: &Path) -> Result<u64> {
    let stat =
        rustix::fs::statvfs(path).map_err(|error| io_error("measure", path, error.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Makes the names in a folder safe from a loss of power: syncing a file does that for what is in it, not for its
/// name.
///
/// # Errors
/// The folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> Result<()> {
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| io_error("sync", folder, source))
}

/// Makes a folder with all that it lies in, safe from a loss of power.
pub(crate) fn make_folder(folder: &Path) -> Result<()> {
    let existed = folder.exists();
    let above = folder.ancestors().skip(1);
    let missing: Vec<&Path> = above.take_while(|part| !part.exists()).collect();
    std::fs::create_dir_all(folder).map_err(|source| io_error("create", folder, source))?;
    // The folder itself also if it was there: the process that made it may have died before it was synced. Who may
    // not read what it lies in has not made it.
    match sync_folder(within(folder)) {
        Err(EngineError::Io { source, .. })
            if existed && source.kind() == std::io::ErrorKind::PermissionDenied => {}
        synced => synced?,
    }
    missing.into_iter().try_for_each(|made| sync_folder(within(made)))
}

/// The folder that a path lies in; the working directory for a relative path of one part.
fn within(path: &Path) -> &Path {
    path.parent().filter(|within| !within.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn visit(dir: &Path, seen: &mut dyn FnMut(&Path, u64)) -> Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error("read", dir, error)),
    };
    for entry in entries.flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            visit(&entry.path(), seen)?;
        } else {
            seen(&entry.path(), meta.len());
        }
    }
    Ok(())
}
