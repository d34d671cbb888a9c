//! A model of claim, ingest, publish and cancel around the real [`Latch`], run by `shuttle`.
//!
//! The store is some variables behind mutexes; the protocol is the one of `ARCHITECTURE.md`: every edge
//! of the job under its mutex, a claim too, every write under the latch, reclaim after `raise`; publishing raises
//! before it commits. A worker claims two spans, fills both and publishes the second; a thread that it has leaked writes
//! there for as long as it is let. Checked in each explored schedule: a job is never both published and
//! cancelled; once `canceled` is said nothing is in its spans, nothing is claimed, and nothing arrives later; a
//! published span has all its batches, and what it had when it was published; the other one is empty.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use shuttle::sync::{Arc, Mutex, RwLock, RwLockReadGuard};
use shuttle::thread;

use crate::id::{Epoch, OwnerId};
use crate::latch::{EpochLock, Latch};

impl EpochLock for RwLock<Epoch> {
    type Shared<'a> = RwLockReadGuard<'a, Epoch>;

    fn new(epoch: Epoch) -> Self {
        Self::new(epoch)
    }

    fn shared(&self) -> Self::Shared<'_> {
        self.read().unwrap()
    }

    fn exclusive(&self, change: impl FnOnce(&mut Epoch)) {
        change(&mut self.write().unwrap());
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    CancelRequested,
    Canceled,
    Succeeded,
}

/// A part of the protocol that is left out, to prove that the model would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    /// Writers do not look at the epoch.
    Epochs,
    /// Publishing raises the latch after its batch, as other changes do.
    RaiseBeforePublish,
}

struct Job {
    /// The control record: state and epoch, changed under this mutex only.
    record: Mutex<(State, Epoch)>,
    latch: Latch<RwLock<Epoch>>,
    /// The spans that are claimed, and those that have a tombstone.
    claims: Mutex<Vec<usize>>,
    condemned: Mutex<Vec<usize>>,
    /// Batches in each span.
    spans: [Mutex<Vec<u32>>; 2],
    /// Batches that the second one had when it was published.
    published: Mutex<Option<usize>>,
    turns: shuttle::sync::atomic::AtomicUsize,
    without: Without,
}

const BATCHES: u32 = 2;
const FIRST: Epoch = Epoch::from_raw(1);

impl Job {
    /// A write of the worker's epoch; false if it is refused.
    fn write(&self, what: impl FnOnce()) -> bool {
        let guard = self.latch.enter(FIRST);
        if guard.is_err() && self.without != Without::Epochs {
            return false;
        }
        // The call: not atomic with the comparison, but inside the latch. Anybody may have a turn here; nobody has to, as after
        // `yield_now`, or a cancel would always come before the end.
        self.turns.fetch_add(1, SeqCst);
        what();
        drop(guard);
        true
    }

    fn claim(&self, span: usize) -> bool {
        let record = self.record.lock().unwrap();
        *record == (State::Running, FIRST) && self.write(|| self.claims.lock().unwrap().push(span))
    }

    fn ingest(&self, span: usize, batch: u32) -> bool {
        self.write(|| self.spans[span].lock().unwrap().push(batch))
    }

    /// What a batch with tombstones does.
    fn condemn(&self) {
        let claims = std::mem::take(&mut *self.claims.lock().unwrap());
        self.condemned.lock().unwrap().extend(claims);
    }

    fn reclaim(&self) {
        for span in std::mem::take(&mut *self.condemned.lock().unwrap()) {
            self.spans[span].lock().unwrap().clear();
        }
    }
}

fn worker(job: &Arc<Job>) {
    for span in [0, 1] {
        if !job.claim(span) {
            return;
        }
        if span == 1 {
            let leaked = Arc::clone(job);
            thread::spawn(move || (100..102).all(|batch| leaked.ingest(1, batch)));
        }
        if !(0..BATCHES).all(|batch| job.ingest(span, batch)) {
            return;
        }
    }
    let mut record = job.record.lock().unwrap();
    if *record != (State::Running, FIRST) {
        return;
    }
    let next = FIRST.next();
    if job.without != Without::RaiseBeforePublish {
        job.latch.raise(next);
    }
    // One batch: the span becomes the catalog's, the other claim a tombstone, the job succeeded.
    job.claims.lock().unwrap().retain(|span| *span != 1);
    *job.published.lock().unwrap() = Some(job.spans[1].lock().unwrap().len());
    job.condemn();
    *record = (State::Succeeded, next);
    job.latch.raise(next);
    drop(record);
    job.reclaim();
}

fn cancel(job: &Job) {
    let mut record = job.record.lock().unwrap();
    if record.0 != State::Running {
        return;
    }
    // One batch.
    *record = (State::CancelRequested, record.1.next());
    job.condemn();
    job.latch.raise(record.1);
    drop(record);
    // Reclaim, which does not wait for the worker: a worker may be unresponsive.
    job.reclaim();
    // The batch that ends the job condemns once more.
    let mut record = job.record.lock().unwrap();
    job.condemn();
    record.0 = State::Canceled;
    drop(record);
    job.reclaim();
}

fn run(cancels: usize, without: Without, ends: &Ends) {
    let job = Arc::new(Job {
        record: Mutex::new((State::Running, FIRST)),
        latch: Latch::new(OwnerId::from_raw(1), FIRST),
        claims: Mutex::default(),
        condemned: Mutex::default(),
        spans: Default::default(),
        published: Mutex::new(None),
        turns: shuttle::sync::atomic::AtomicUsize::new(0),
        without,
    });
    let mut threads = Vec::new();
    for _ in 0..cancels {
        let job = Arc::clone(&job);
        threads.push(thread::spawn(move || cancel(&job)));
    }
    let work = Arc::clone(&job);
    threads.push(thread::spawn(move || worker(&work)));
    for thread in threads {
        thread.join().unwrap();
    }
    // A thread that the worker leaked may be under way still, and is fenced.
    thread::yield_now();
    let (state, _) = *job.record.lock().unwrap();
    let [first, second] = job.spans.each_ref().map(|span| span.lock().unwrap().clone());
    assert!(job.claims.lock().unwrap().is_empty(), "claims are left");
    assert!(first.is_empty(), "rows came back after their end: {first:?}");
    ends[usize::from(state == State::Succeeded)].fetch_add(1, Relaxed);
    match (state, *job.published.lock().unwrap()) {
        (State::Canceled, None) => {
            assert!(second.is_empty(), "rows came back after `canceled`: {second:?}");
        }
        (State::Succeeded, Some(published)) => {
            assert_eq!(second.len(), published, "a write landed in a published span");
            let own = second.iter().filter(|batch| **batch < BATCHES).count();
            assert_eq!(own, BATCHES as usize, "a published span is whole");
        }
        (state, published) => panic!("the job did not end, or twice: {state:?}, {published:?}"),
    }
}

/// Jobs that were cancelled, and that succeeded. Not a part of the model: counts over all schedules.
type Ends = [AtomicUsize; 2];

/// Schedules of each kind: at every step anybody, and one after the other with a few changes (by anybody, the longer of two
/// threads would hardly ever end first).
const SCHEDULES: usize = 20_000;
const CHANGES: usize = 4;

fn explore(cancels: usize, without: Without) {
    let ends = std::sync::Arc::<Ends>::default();
    for random in [true, false] {
        let ends = std::sync::Arc::clone(&ends);
        let model = move || run(cancels, without, &ends);
        if random {
            shuttle::check_random(model, SCHEDULES);
        } else {
            shuttle::check_pct(model, SCHEDULES, CHANGES);
        }
    }
    let ends = ends.each_ref().map(|end| end.load(Relaxed));
    assert!(ends.iter().all(|&end| end > SCHEDULES / 100), "canceled, succeeded: {ends:?}");
}

#[test]
fn no_write_follows_a_cancel_and_a_published_span_is_whole_and_stays_as_it_is() {
    explore(1, Without::Nothing);
}

#[test]
fn two_cancels_at_once_are_one() {
    explore(2, Without::Nothing);
}

fn is_noticed(without: Without) {
    let broken = std::panic::catch_unwind(|| explore(1, without));
    let text = broken.unwrap_err().downcast::<String>().unwrap();
    assert!(!text.starts_with("canceled, succeeded"), "without {without:?}: {text}");
}

#[test]
fn the_model_notices_a_writer_that_ignores_its_epoch() {
    is_noticed(Without::Epochs);
}

#[test]
fn the_model_notices_a_fence_that_closes_after_the_span_is_published() {
    is_noticed(Without::RaiseBeforePublish);
}
