//! The files of RocksDB's log: how many there may be, and whether they are whole ([`mark`]).
//!
//! A flush of a family begins a new file of the log. The old one stays until nothing of what is in it is in memory only, and
//! a family that is seldom written to has something in an old one for a long time, which keeps all later ones, too. RocksDB
//! bounds their bytes and not their number (`max_total_wal_size`), and the reclaimer flushes several times a second while
//! jobs are cancelled, after a few records each. So when it has done that often enough, all families are flushed; and each time while the
//! disk is nearly full, as rows that were removed are in the log still. Those that a host keeps beside ours are its own business.
//!
//! The families are flushed one after the other, and the power may go in between. Nothing comes apart by that: before RocksDB
//! counts a flush of one of several families as done, it syncs the closed files of the log, and a flush closes the file that
//! it is in. So of a batch that was not synced, what one family has in a sorted file the others have in the log.

pub(crate) mod mark;
mod scan;

use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::Result;
use crate::family::Family;
use crate::open::{Engine, handle};

/// After so many flushes of one family, all are flushed. There are about as many files of the log, at most.
const FLUSHES: u32 = 64;

/// Flushes of one family since all were flushed.
#[derive(Debug, Default)]
pub(crate) struct Flushes(AtomicU32);

impl Engine {
    /// Flushes a family; from time to time, and while space is short, all.
    pub(crate) fn flush(&self, family: Family) -> Result<()> {
        self.db().flush_cf(&handle(self.db(), family)?)?;
        let before = self.flushes().0.fetch_add(1, Ordering::Relaxed);
        let space_is_short = self.check_space().is_err() || self.governor().status().reclaim_first;
        if before + 1 < FLUSHES && !space_is_short {
            return Ok(());
        }
        self.flushes().0.store(0, Ordering::Relaxed);
        for family in Family::ALL {
            self.db().flush_cf(&handle(self.db(), family)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, Sync};
    use crate::envelope::kind;
    use crate::options::Options;

    fn log_files(engine: &Engine) -> usize {
        let files = std::fs::read_dir(engine.data_path()).unwrap();
        let paths = files.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|ends| ends == "log")).count()
    }

    #[test]
    fn flushes_of_a_family_leave_no_files_of_the_log_for_the_sake_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(Options::small(folder.path())).unwrap();
        let put = |family, kind| {
            let mut batch = Batch::new();
            batch.put_record(family, b"key", kind, b"body");
            engine.commit(batch, Sync::No).unwrap();
        };
        put(Family::History, kind::JOB_HISTORY);
        let mut most = 0;
        for _ in 0..3 * FLUSHES {
            put(Family::Claims, kind::CLAIM);
            engine.flush(Family::Claims).unwrap();
            most = most.max(log_files(&engine));
        }
        let limit = FLUSHES as usize;
        assert!((limit / 2..limit + 8).contains(&most), "{most} files of the log");
        engine.shutdown();
    }
}
