//! Dropped files on their way off the disk: where each is, what it still takes, and who holds it.
//!
//! A file that was dropped from the database can be found in four places. Bytes are those of blocks that
//! are allocated, looked up each time, so what is reported as given back is really back.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::disk::list;
use crate::error::{Result, io_error};
use crate::holder::{self, Inode};
use crate::open::Engine;
use crate::trash;

/// Where a dropped file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// RocksDB's file manager cuts it.
    Trash,
    /// It has its name still: an iterator, a snapshot's view or a statement reads it.
    Reader,
    /// In our own trash, and ours is the only link.
    Own,
    /// In our own trash, and this folder of the store has a link too.
    Holder(PathBuf),
    /// In our own trash, with a link somewhere outside of the store.
    Stranger,
}

/// A dropped file that still takes space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) path: PathBuf,
    pub(super) place: Place,
    pub(super) bytes: u64,
}

impl Left {
    /// Whether this is the file that RocksDB calls `name`.
    pub(super) fn is(&self, name: &str) -> bool {
        self.path.file_name().is_some_and(|own| own == name.trim_start_matches('/'))
    }
}

/// What is left of dropped files.
#[derive(Clone, Debug, Default)]
pub(super) struct Dropped(pub(super) Vec<Left>);

impl Dropped {
    /// Looks for the files that had these names, and for those in our own trash folder, if there can be one.
    ///
    /// # Errors
    /// The folder cannot be read, or what is in it looked at: that must not be taken for gone.
    pub(super) fn look(
        engine: &Engine,
        names: &[PathBuf],
        own_folder: Option<&Path>,
    ) -> Result<Self> {
        let mut left = Vec::new();
        let own = own_folder.map(|folder| list(engine.disk().as_ref(), folder)).transpose()?;
        for path in own.unwrap_or_default() {
            if let Err(error) = path.symlink_metadata()
                && error.kind() != ErrorKind::NotFound
            {
                return Err(io_error("look at", &path, error));
            }
            let Some(inode) = Inode::of(&path) else { continue };
            let place = place_of_own(engine, &path, &inode);
            left.push(Left { path, place, bytes: inode.bytes });
        }
        for path in names {
            let kept = own_folder.zip(path.file_name()).map(|(folder, name)| folder.join(name));
            if kept.is_some_and(|kept| kept.exists()) {
                continue;
            }
            if let Some(inode) = Inode::of(path) {
                left.push(Left { path: path.clone(), place: Place::Reader, bytes: inode.bytes });
            } else if let Some(inode) = Inode::of(&trash_path(path)) {
                let path = path.clone();
                left.push(Left { path, place: Place::Trash, bytes: inode.bytes });
            }
        }
        Ok(Self(left))
    }

    /// Waits for others too, whose bytes are not counted.
    pub(super) fn add_uncounted(&mut self, others: Self) {
        self.0.extend(others.0.into_iter().map(|left| Left { bytes: 0, ..left }));
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|left| left.bytes).sum()
    }

    /// Bytes that somebody holds.
    pub(super) fn held_bytes(&self) -> u64 {
        let held = self.0.iter().filter(|left| !matches!(left.place, Place::Trash | Place::Own));
        held.map(|left| left.bytes).sum()
    }

    /// Files of our own trash that can be cut.
    pub(super) fn cuttable(&self) -> impl Iterator<Item = &Left> {
        self.0.iter().filter(|left| left.place == Place::Own)
    }

    /// Files of our own trash that nobody in the store has a link to: their bytes are not ours.
    pub(super) fn strange(&self) -> impl Iterator<Item = &Left> {
        self.0.iter().filter(|left| left.place == Place::Stranger)
    }

    /// Those that have their names in the folder of the database still, without the ones whose bytes are not counted.
    pub(super) fn named_in(&self, data: &Path) -> impl Iterator<Item = &Path> {
        let named = self.0.iter().filter(|left| left.place == Place::Reader && left.bytes > 0);
        named.map(|left| left.path.as_path()).filter(move |path| path.parent() == Some(data))
    }

    /// Whether a file still has its name.
    pub(super) fn read(&self) -> bool {
        self.0.iter().any(|left| left.place == Place::Reader)
    }

    /// Who is waited for, for people.
    pub(super) fn waiting_for(&self) -> String {
        let holder = self.0.iter().find_map(|left| match &left.place {
            Place::Holder(folder) => Some(folder),
            _ => None,
        });
        if let Some(folder) = holder {
            return format!("the checkpoint in {}", folder.display());
        }
        if self.read() {
            return "a reader that still has its files open".to_owned();
        }
        "the disk to free its blocks".to_owned()
    }
}

fn place_of_own(engine: &Engine, path: &Path, inode: &Inode) -> Place {
    if inode.links <= 1 {
        return Place::Own;
    }
    let name = path.file_name().unwrap_or_default();
    let in_data = engine.data_path().join(name);
    if in_data.exists() {
        return Place::Reader;
    }
    if trash_path(&in_data).exists() {
        return Place::Trash;
    }
    let own = engine.path().join(trash::TRASH);
    match holder::find(engine.path(), inode, &[engine.data_path(), &own]) {
        Some(folder) => Place::Holder(folder),
        // RocksDB has given it up since the first look.
        None if Inode::of(path).is_none_or(|inode| inode.links <= 1) => Place::Own,
        None => Place::Stranger,
    }
}

/// The name that RocksDB gives a file on its way out.
fn trash_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".trash");
    PathBuf::from(name)
}

/// Files that an earlier process dropped; RocksDB goes on cutting them after open. Whose they were is
/// not known any more.
pub(super) fn leftover(engine: &Engine) -> Result<Vec<PathBuf>> {
    let is_trash = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "trash");
    let files = list(engine.disk().as_ref(), engine.data_path())?.into_iter().filter(is_trash);
    Ok(files.map(|path| path.with_extension("")).collect())
}
