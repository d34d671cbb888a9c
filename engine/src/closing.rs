//! Closing RocksDB, and the end of the process.
//!
//! Whoever gives up the last share of a database closes it, and that may be a thread that nobody waits for: of a worker that was
//! given up, of a statement whose client has gone. When the process ends meanwhile (`exit`, the end of `main`), RocksDB's static objects are
//! destroyed beside it, and to close a database takes one of them, a mutex (`timer_mutex` in its
//! `db/periodic_task_scheduler.cc`): it aborts, and a process that had done everything right ends with SIGABRT.
//!
//! So the end of the process waits for shares that are being given up, and after it none is: what is open by then stays
//! open, and goes with the process, as in a crash. [`Gate::shut`] runs among the first when a process ends, before what was made before
//! a database was opened is destroyed.
//!
//! Why nothing is closed once [`Gate::shut`] has returned: a thread counts itself before it looks whether the gate is shut, and the
//! gate is shut before it looks at the count, all in one order (`SeqCst`). If the thread was first to do its first, the
//! count is seen and waited for; if not, the thread sees that the gate is shut.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use rocksdb::DB;

use crate::ffi;

/// How often the end of a process looks whether everybody is through.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Of all databases in this process.
static GATE: Gate = Gate::new();

/// What shares pass through when they are given up, until the process ends.
struct Gate {
    /// Threads that may be closing a database.
    within: AtomicUsize,
    is_shut: AtomicBool,
}

impl Gate {
    const fn new() -> Self {
        Self { within: AtomicUsize::new(0), is_shut: AtomicBool::new(false) }
    }

    /// Whether it is open. If so, [`Gate::leave`] has to follow.
    fn enter(&self) -> bool {
        self.within.fetch_add(1, Ordering::SeqCst);
        let is_open = !self.is_shut.load(Ordering::SeqCst);
        if !is_open {
            self.leave();
        }
        is_open
    }

    fn leave(&self) {
        self.within.fetch_sub(1, Ordering::SeqCst);
    }

    /// Lets nobody in any more, and waits for those within.
    fn shut(&self) {
        self.is_shut.store(true, Ordering::SeqCst);
        while self.within.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

extern "C" fn shut() {
    GATE.shut();
}

/// A share of an open database. The last one that is given up closes it, but not once the process ends.
#[derive(Debug)]
pub(crate) struct SharedDb {
    // Fields are dropped in this order, and after `drop` below.
    db: Arc<DB>,
    passage: Passage,
}

impl SharedDb {
    /// One of the shares of a database that is open.
    pub(crate) fn new(db: Arc<DB>) -> Self {
        static REGISTERED: Once = Once::new();
        // What is registered last runs first: RocksDB has made what it takes to be open.
        REGISTERED.call_once(|| {
            if !ffi::at_exit(shut) {
                tracing::warn!(
                    "the end of the process will not wait for a database that is being closed"
                );
            }
        });
        Self { db, passage: Passage(false) }
    }
}

impl Clone for SharedDb {
    fn clone(&self) -> Self {
        Self { db: Arc::clone(&self.db), passage: Passage(false) }
    }
}

impl Deref for SharedDb {
    type Target = DB;

    fn deref(&self) -> &DB {
        &self.db
    }
}

impl Drop for SharedDb {
    fn drop(&mut self) {
        self.passage = Passage(GATE.enter());
        if !self.passage.0 {
            // One share more, which nobody has: the others cannot be the last.
            let _nobodys = Arc::into_raw(Arc::clone(&self.db));
        }
    }
}

/// Whether the gate was entered, and has to be left when the share is gone.
#[derive(Debug)]
struct Passage(bool);

impl Drop for Passage {
    fn drop(&mut self) {
        if self.0 {
            GATE.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Engine, Options};
    use std::process::Command;
    use std::sync::mpsc;

    #[test]
    fn the_end_waits_for_those_within_and_lets_nobody_in_after() {
        let gate = Gate::new();
        assert!(gate.enter());
        std::thread::scope(|scope| {
            let (sender, ended) = mpsc::channel();
            let gate = &gate;
            scope.spawn(move || {
                gate.shut();
                sender.send(()).unwrap();
            });
            while !gate.is_shut.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            assert!(!gate.enter(), "it is shut");
            assert!(ended.recv_timeout(Duration::from_millis(50)).is_err(), "somebody is within");
            gate.leave();
            ended.recv_timeout(Duration::from_secs(10)).unwrap();
        });
        assert_eq!(gate.within.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_database_is_closed_with_its_last_share() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(Options::small(folder.path())).unwrap();
        let db = Arc::downgrade(&engine.db().db);
        let share = engine.db().clone();
        engine.shutdown();
        drop(engine);
        assert!(db.upgrade().is_some());
        drop(share);
        assert!(db.upgrade().is_none());
    }

    /// Set for a process that shall end while its database is being closed.
    const FOLDER: &str = "CAIRN_TEST_ENDS_WHILE_CLOSING";

    /// What [`the_end_of_a_process_waits_for_a_close`] starts; does nothing by itself.
    #[test]
    #[expect(clippy::exit, reason = "this is about how a process ends")]
    fn a_process_ends() {
        let Some(folder) = std::env::var_os(FOLDER).map(std::path::PathBuf::from) else { return };
        let engine = Engine::open(Options::small(&folder)).unwrap();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            assert!(GATE.enter());
            sender.send(()).unwrap();
            while !GATE.is_shut.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_millis(50));
            let db = Arc::downgrade(&engine.db().db);
            drop(engine);
            let is_kept = db.upgrade().is_some();
            std::fs::write(folder.join("seen"), if is_kept { "kept" } else { "closed" }).unwrap();
            GATE.leave();
        });
        receiver.recv().unwrap();
        std::process::exit(0);
    }

    #[test]
    fn the_end_of_a_process_waits_for_a_close() {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "closing::tests::a_process_ends", "--nocapture"])
            .env(FOLDER, folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {text}", output.status);
        let seen = std::fs::read_to_string(folder.path().join("seen"));
        assert_eq!(seen.as_deref().ok(), Some("kept"), "the process did not wait: {text}");
    }
}
