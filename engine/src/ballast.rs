//! The ballast: a file that holds some of the disk back, so that a full disk can be cleaned up without help.
//!
//! RocksDB takes nothing on a disk without space, not even the few bytes that cancel a job or drop a table, which is
//! what would make room. So a file of fixed size lies in the store from the beginning. When the disk is nearly full, or
//! a write has failed because it is, the file goes, and from then on only records are taken: what cancels, drops,
//! ends and reclaims. Rows, staged files and sorted runs are refused, or they would eat what was just released. Once there
//! is room for the file and as much again, it is made again and everything is taken.
//!
//! ```text
//!            free >= 2 x size                 free < size / 2, or a write found no space
//!   missing ------------------> held ------------------------------------------------> released
//!      |                          ^                 free >= 2 x size                      |  ^
//!      |                          '-------------------------------------------------------'  |
//!      '-------------------------------------------------------------------------------------'
//! ```
//!
//! Nothing about it is stored: the file is either there in full or made again. RocksDB goes on by itself after a full disk once
//! about two of its write buffers are free (`SstFileManagerImpl::ClearError`), which the usual size covers. The idea and
//! the name are CockroachDB's, whose operator removes the file by hand.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::Disk;
use crate::error::{EngineError, Result, io_error};
use crate::governor::Steps;
use crate::trash;

/// The file in the store's folder.
pub(crate) const BALLAST: &str = "ballast";

/// How things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There was no room for it yet.
    Missing,
    Held,
    /// It is gone, and rows are refused.
    Released,
}

impl State {
    /// What should be, with so many bytes free beside a ballast of `size` bytes, if it is there.
    fn next(self, size: u64, free: u64) -> Self {
        match self {
            _ if free < size / 2 => Self::Released,
            Self::Missing | Self::Released if free >= size.saturating_mul(2) => Self::Held,
            state => state,
        }
    }
}

/// The ballast of one store.
#[derive(Debug)]
pub(crate) struct Ballast {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// 0: there is none, and nothing is ever refused.
    size: u64,
    /// Guarded also while the file is made or removed.
    state: Mutex<State>,
    refusing: AtomicBool,
    /// That there is no room for it was said.
    said: AtomicBool,
    free: AtomicU64,
}

impl Ballast {
    /// The ballast of the store at `store`; 0 bytes for none. Touches nothing before the first look.
    pub(crate) fn new(disk: Arc<dyn Disk>, store: &Path, size: u64) -> Self {
        let path = store.join(BALLAST);
        let state = if is_whole(&path, size) { State::Held } else { State::Missing };
        Self {
            disk,
            path,
            size,
            state: Mutex::new(state),
            refusing: AtomicBool::new(false),
            said: AtomicBool::new(false),
            free: AtomicU64::new(u64::MAX),
        }
    }

    /// Nothing, or why what takes space is refused now.
    ///
    /// # Errors
    /// [`EngineError::NoSpace`]
    pub(crate) fn check(&self) -> Result<()> {
        if !self.refusing.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mib = |bytes: u64| bytes >> 20;
        Err(EngineError::NoSpace {
            message: format!(
                "the disk has {} MiB free; rows are taken again at {} MiB, and what cancels, drops or truncates is taken now",
                mib(self.free.load(Ordering::Relaxed)),
                mib(self.size.saturating_mul(2)),
            ),
        })
    }

    /// Whether what takes space is refused.
    pub(crate) fn is_released(&self) -> bool {
        self.refusing.load(Ordering::Relaxed)
    }

    /// Does what `free` bytes on the disk ask for.
    pub(crate) fn look(&self, free: u64) {
        if self.size == 0 {
            return;
        }
        self.free.store(free, Ordering::Relaxed);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let next = state.next(self.size, free);
        if next != *state {
            *state = self.change(*state, next);
        } else if next == State::Missing && !self.said.swap(true, Ordering::Relaxed) {
            let (free, needed) = (free >> 20, self.size >> 19);
            tracing::warn!(free, needed, "too few MiB are free for a ballast: none is made yet");
        }
    }

    /// Gives the space back now: a write found none.
    pub(crate) fn release(&self) {
        if self.size == 0 {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state != State::Released {
            self.free.store(0, Ordering::Relaxed);
            *state = self.change(*state, State::Released);
        }
    }

    /// Makes or removes the file; answers how things stand then.
    fn change(&self, from: State, to: State) -> State {
        match to {
            State::Released => {
                // First, so that nothing that asks from now on takes what is released.
                self.refusing.store(true, Ordering::Relaxed);
                let removed = self.remove();
                tracing::error!(
                    released = removed.is_ok(),
                    "the disk is full: only what makes room is taken now"
                );
                if let Err(error) = removed {
                    tracing::error!(%error, "the ballast could not be removed");
                }
                to
            }
            State::Held => match self.make() {
                Ok(()) => {
                    self.refusing.store(false, Ordering::Relaxed);
                    if from == State::Released {
                        tracing::info!("there is room again: rows are taken");
                    }
                    to
                }
                Err(error) => {
                    tracing::warn!(%error, "no ballast could be made");
                    from
                }
            },
            State::Missing => to,
        }
    }

    fn remove(&self) -> Result<()> {
        match self.path.try_exists() {
            Ok(false) => Ok(()),
            _ => trash::remove_file(
                &*self.disk,
                &self.path,
                Steps::Alone.bytes(),
                &mut { u64::MAX },
                &mut |_, _| Ok(()),
            )
            .map(drop),
        }
    }

    /// Makes the file, with blocks of its own; what was there is replaced. A part is not left.
    fn make(&self) -> Result<()> {
        let made = self.disk.create(&self.path).and_then(|mut file| {
            file.allocate(self.size)?;
            file.sync()
        });
        made.map_err(|source| {
            // What is left of it is replaced by the next attempt, and removed if the disk is full.
            let _ = self.disk.remove_file(&self.path);
            io_error("make", &self.path, source)
        })
    }
}

/// Whether the file is there with all its blocks.
fn is_whole(path: &Path, size: u64) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|meta| meta.len() == size && meta.blocks() * 512 >= size / 10 * 9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SystemDisk;

    const SIZE: u64 = 1 << 20;

    #[test]
    fn it_goes_when_the_disk_is_nearly_full_and_comes_back_when_there_is_room_for_it_and_as_much_again()
     {
        use State::{Held, Missing, Released};
        for (state, free, next) in [
            (Missing, 2 * SIZE - 1, Missing),
            (Missing, 2 * SIZE, Held),
            (Missing, SIZE / 2 - 1, Released),
            (Held, 10 * SIZE, Held),
            (Held, SIZE / 2, Held),
            (Held, SIZE / 2 - 1, Released),
            // What was just released is no room.
            (Released, SIZE + SIZE / 2, Released),
            (Released, 2 * SIZE - 1, Released),
            (Released, 2 * SIZE, Held),
        ] {
            assert_eq!(state.next(SIZE, free), next, "{state:?} with {free} free");
        }
    }

    #[test]
    fn what_takes_space_is_refused_from_its_release_until_it_is_held_again() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(Arc::new(SystemDisk), dir.path(), SIZE);
        let file = dir.path().join(BALLAST);
        assert!(!file.exists() && ballast.check().is_ok());
        ballast.look(10 * SIZE);
        assert!(is_whole(&file, SIZE) && ballast.check().is_ok());
        ballast.look(SIZE / 2 - 1);
        assert!(!file.exists() && ballast.is_released());
        let refused = ballast.check().unwrap_err();
        assert!(
            matches!(&refused, EngineError::NoSpace { message } if message.contains("2 MiB")),
            "{refused}"
        );
        ballast.look(2 * SIZE - 1);
        assert!(!file.exists() && ballast.is_released());
        ballast.look(2 * SIZE);
        assert!(is_whole(&file, SIZE) && ballast.check().is_ok());
        // A write that found no space knows better than the last look.
        ballast.release();
        ballast.release();
        assert!(!file.exists() && ballast.is_released());
    }

    #[test]
    fn what_a_crash_left_of_it_is_made_whole_and_a_whole_one_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(BALLAST);
        std::fs::write(&file, [0; 100]).unwrap();
        Ballast::new(Arc::new(SystemDisk), dir.path(), SIZE).look(2 * SIZE);
        assert!(is_whole(&file, SIZE));
        let made = std::fs::metadata(&file).unwrap().modified().unwrap();
        Ballast::new(Arc::new(SystemDisk), dir.path(), SIZE).look(2 * SIZE);
        assert_eq!(std::fs::metadata(&file).unwrap().modified().unwrap(), made);
        // A file with a length and no blocks holds nothing back.
        std::fs::remove_file(&file).unwrap();
        std::fs::File::create(&file).unwrap().set_len(SIZE).unwrap();
        assert!(!is_whole(&file, SIZE));
    }

    #[test]
    fn without_a_size_nothing_is_made_and_nothing_refused() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(Arc::new(SystemDisk), dir.path(), 0);
        ballast.look(0);
        ballast.release();
        assert!(ballast.check().is_ok() && !dir.path().join(BALLAST).exists());
    }
}
