//! The page cache under the foreground's table, of which a part is always missing, so that some of the reads
//! have to go to the disk: a foreground that never does proves nothing.
//!
//! The table's files, one after the other, are cut into slices, and fifty times a second the next slice is
//! dropped, in windows of all kinds alike. Each window goes on where the last one stopped. Few large parts would
//! not do: after each the foreground falls behind for a moment, and its p99 is the length of that moment,
//! with an undo beside it or without.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::disk::drop_from_cache;

/// How often a slice is dropped, and which part of all bytes it is.
const STEP: Duration = Duration::from_millis(20);
const SLICES: u64 = 400;

/// Which files there are is asked once for so many slices: it holds RocksDB's lock.
const SLICES_PER_LOOK: u64 = 25;

/// The kernel drops whole pages only.
const PAGE: u64 = 4096;

/// After so long all of the table was dropped once, and the missing part is what it will be.
pub(super) const STEADY: Duration = STEP.saturating_mul(SLICES as u32);

/// Tells which files a table has now.
type Files = dyn Fn() -> Vec<PathBuf> + Send + Sync;

/// What the kernel has cached of the files of a table.
#[derive(Clone)]
pub(super) struct PageCache {
    files: Arc<Files>,
    /// The slice to drop next.
    next: Arc<AtomicU64>,
}

impl PageCache {
    /// Of the files that `files` tells.
    pub(super) fn of(files: impl Fn() -> Vec<PathBuf> + Send + Sync + 'static) -> Self {
        Self { files: Arc::new(files), next: Arc::default() }
    }

    /// Drops slices on a thread of its own, from `start` until `end` nanoseconds after it.
    pub(super) fn drop_until(&self, start: Instant, end: Arc<AtomicU64>) -> JoinHandle<()> {
        let Self { files, next } = self.clone();
        std::thread::spawn(move || {
            let mut sizes = Vec::new();
            for step in 0.. {
                if step % SLICES_PER_LOOK == 0 {
                    let with_size = |path: PathBuf| {
                        let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
                        (path, bytes)
                    };
                    sizes = files().into_iter().map(with_size).collect();
                }
                drop_slice(&sizes, next.fetch_add(1, Ordering::Relaxed) % SLICES);
                let due = STEP * (step + 1) as u32;
                std::thread::sleep(due.saturating_sub(start.elapsed()));
                if start.elapsed().as_nanos() >= u128::from(end.load(Ordering::Relaxed)) {
                    return;
                }
            }
        })
    }
}

/// Drops slice `number` of all files, laid end to end.
fn drop_slice(files: &[(PathBuf, u64)], number: u64) {
    let all: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    let bound = |number: u64| all * number / SLICES / PAGE * PAGE;
    let (from, to) = (bound(number), bound(number + 1));
    let mut begin = 0;
    for (path, bytes) in files {
        let (first, last) = (from.max(begin), to.min(begin + bytes));
        if first < last {
            // A page that two slices share is dropped with both.
            let offset = (first - begin) / PAGE * PAGE;
            drop_from_cache(path, offset, (last - begin).next_multiple_of(PAGE) - offset);
        }
        begin += bytes;
    }
}
