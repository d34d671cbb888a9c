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
//! count is seen and waited for; if not, the thread sees that the gate is shut. `closing_model_test.rs` runs this code
//! under `shuttle`, and the other order, in which it finds who closes too late.
//!
//! The wait has an end ([`LOOKS`]): a process that shall go goes, even if it has to abort for it.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use rocksdb::DB;

use crate::ffi;

/// How often the end of a process looks whether everybody is through.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// So often it looks at most: half a minute, far longer than a database takes that does nothing any more.
const LOOKS: usize = 30_000;

/// Of all databases in this process.
static GATE: Gate<Words> = Gate::new(Words::new());

/// Who is within a gate, and whether it is shut: atomic words in production, `shuttle`'s in the model.
pub(crate) trait Watch {
    /// One more is within.
    fn count(&self);
    /// One less is.
    fn discount(&self);
    /// How many are.
    fn within(&self) -> usize;
    /// Marks it as shut.
    fn mark_shut(&self);
    /// Whether it is marked.
    fn is_shut(&self) -> bool;
    /// Lets the others go on for a moment.
    fn wait(&self);
}

struct Words {
    within: AtomicUsize,
    is_shut: AtomicBool,
}

impl Words {
    const fn new() -> Self {
        Self { within: AtomicUsize::new(0), is_shut: AtomicBool::new(false) }
    }
}

impl Watch for Words {
    fn count(&self) {
        self.within.fetch_add(1, Ordering::SeqCst);
    }

    fn discount(&self) {
        self.within.fetch_sub(1, Ordering::SeqCst);
    }

    fn within(&self) -> usize {
        self.within.load(Ordering::SeqCst)
    }

    fn mark_shut(&self) {
        self.is_shut.store(true, Ordering::SeqCst);
    }

    fn is_shut(&self) -> bool {
        self.is_shut.load(Ordering::SeqCst)
    }

    fn wait(&self) {
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What shares pass through when they are given up, until the process ends. Within it are threads that may be closing a database.
pub(crate) struct Gate<W: Watch>(W);

impl<W: Watch> Gate<W> {
    /// One that is open.
    pub(crate) const fn new(watch: W) -> Self {
        Self(watch)
    }

    /// Whether it is open. If so, [`Gate::leave`] has to follow.
    pub(crate) fn enter(&self) -> bool {
        self.0.count();
        let is_open = !self.0.is_shut();
        if !is_open {
            self.leave();
        }
        is_open
    }

    pub(crate) fn leave(&self) {
        self.0.discount();
    }

    /// Lets nobody in any more, and waits for those within, for so many looks. Answers whether nobody is.
    pub(crate) fn shut(&self, looks: usize) -> bool {
        self.0.mark_shut();
        for _ in 0..looks {
            if self.0.within() == 0 {
                return true;
            }
            self.0.wait();
        }
        self.0.within() == 0
    }
}

extern "C" fn shut() {
    GATE.shut(LOOKS);
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
        let gate = Gate::new(Words::new());
        assert!(gate.enter());
        std::thread::scope(|scope| {
            let (sender, ended) = mpsc::channel();
            let gate = &gate;
            scope.spawn(move || {
                sender.send(gate.shut(LOOKS)).unwrap();
            });
            while !gate.0.is_shut() {
                std::thread::yield_now();
            }
            assert!(!gate.enter(), "it is shut");
            assert!(ended.recv_timeout(Duration::from_millis(50)).is_err(), "somebody is within");
            gate.leave();
            assert!(ended.recv_timeout(Duration::from_secs(10)).unwrap());
        });
        assert_eq!(gate.0.within(), 0);
    }

    #[test]
    fn a_close_that_does_not_end_is_not_waited_for_without_end() {
        let gate = Gate::new(Words::new());
        assert!(gate.enter());
        assert!(!gate.shut(3), "somebody is within");
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
            while !GATE.0.is_shut() {
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
