//! The folder of a store, looked at from outside.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What lies in it, leaving out the files to import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) files: u64,
    /// Blocks that are allocated.
    pub(crate) bytes: u64,
    /// RocksDB's tables, the part that holds rows.
    pub(crate) table_bytes: u64,
    /// RocksDB's manifests.
    pub(crate) manifest_bytes: u64,
    /// Files that jobs have not handed over, or left.
    pub(crate) staging_files: u64,
    /// Files that are on their way out.
    pub(crate) trash_files: u64,
}

impl Usage {
    /// Looks at a store; files that go away meanwhile are left out.
    pub(crate) fn of(store: &Path) -> Self {
        let mut usage = Self::default();
        let Ok(entries) = std::fs::read_dir(store) else { return usage };
        for entry in entries.flatten() {
            if entry.file_name() != "extern" {
                usage.add(
                    &entry.path(),
                    entry.file_name() == "staging",
                    entry.file_name() == "trash",
                );
            }
        }
        usage
    }

    fn add(&mut self, path: &Path, staging: bool, trash: bool) {
        let Ok(meta) = path.symlink_metadata() else { return };
        if meta.is_dir() {
            let Ok(entries) = std::fs::read_dir(path) else { return };
            entries.flatten().for_each(|entry| self.add(&entry.path(), staging, trash));
            return;
        }
        let bytes = meta.blocks() * 512;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        self.files += 1;
        self.bytes += bytes;
        if name.ends_with(".sst") {
            self.table_bytes += bytes;
        }
        if name.starts_with("MANIFEST-") {
            self.manifest_bytes += bytes;
        }
        self.staging_files += u64::from(staging);
        self.trash_files += u64::from(trash || name.ends_with(".trash"));
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, bytes, table_bytes, manifest_bytes, staging_files, trash_files } = self;
        write!(
            f,
            "{files} files, {bytes} bytes, {table_bytes} in tables, {manifest_bytes} in manifests, \
             {staging_files} staged files, {trash_files} files in trash"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::write_file;

    #[test]
    fn files_are_told_apart_by_name_and_place() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "data/1.sst",
            "data/MANIFEST-5",
            "data/2.sst.trash",
            "staging/7/1.sst",
            "extern/t.csv",
        ];
        for name in names {
            write_file(&folder.path().join(name), "some text");
        }
        let usage = Usage::of(folder.path());
        assert_eq!((usage.files, usage.staging_files, usage.trash_files), (4, 1, 1));
        assert!(usage.table_bytes > usage.manifest_bytes && usage.manifest_bytes > 0);
    }
}
