//! How much of the disk a store uses, and for what.

use std::path::Path;

use crate::ballast::BALLAST;
use crate::disk::free_bytes;
use crate::error::{Result, io_error};
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
