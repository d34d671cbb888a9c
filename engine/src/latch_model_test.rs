//! A model of claim, ingest, publish and cancel around the real [`Latch`], run by `shuttle`.
//!
//! The store is three variables behind mutexes; the protocol is the one of `ARCHITECTURE.md`: every edge
//! of the job under its mutex, every write under the latch, reclaim after `raise`. Checked in each
//! explored schedule: a job is never both published and cancelled; once `canceled` is said nothing is in
//! the span and nothing arrives later; a published job has all its batches.

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

struct Job {
    /// The control record: state and epoch, changed under this mutex only.
    record: Mutex<(State, Epoch)>,
    latch: Latch<RwLock<Epoch>>,
    /// Batches in the span.
    span: Mutex<Vec<u32>>,
    /// Checks that break the protocol on purpose, to prove that the model would notice.
    checks_epoch: bool,
}

const BATCHES: u32 = 3;

fn worker(job: &Job) {
    let epoch = Epoch::from_raw(1);
    for batch in 0..BATCHES {
        let guard = job.latch.enter(epoch);
        if guard.is_err() && job.checks_epoch {
            return;
        }
        // The ingest call: not atomic with the comparison, but inside the latch.
        thread::yield_now();
        job.span.lock().unwrap().push(batch);
        drop(guard);
    }
    let mut record = job.record.lock().unwrap();
    if record.0 == State::Running && record.1 == epoch {
        record.0 = State::Succeeded;
    }
}

fn cancel(job: &Job) {
    let raised = {
        let mut record = job.record.lock().unwrap();
        if record.0 != State::Running {
            return;
        }
        *record = (State::CancelRequested, record.1.next());
        record.1
    };
    job.latch.raise(raised);
    // Reclaim, which does not wait for the worker: a worker may be unresponsive.
    job.span.lock().unwrap().clear();
    job.record.lock().unwrap().0 = State::Canceled;
}

fn run(cancels: usize, checks_epoch: bool) {
    let job = Arc::new(Job {
        record: Mutex::new((State::Running, Epoch::from_raw(1))),
        latch: Latch::new(OwnerId::from_raw(1), Epoch::from_raw(1)),
        span: Mutex::new(Vec::new()),
        checks_epoch,
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
    let (state, _) = *job.record.lock().unwrap();
    let span = job.span.lock().unwrap();
    match state {
        State::Canceled => assert!(span.is_empty(), "rows came back after `canceled`: {span:?}"),
        State::Succeeded => assert_eq!(span.len(), BATCHES as usize, "a published job is whole"),
        State::Running | State::CancelRequested => panic!("the job did not end: {state:?}"),
    }
}

#[test]
fn no_write_follows_a_cancel_and_a_published_job_is_whole() {
    shuttle::check_random(|| run(1, true), 20_000);
}

#[test]
fn two_cancels_at_once_are_one() {
    shuttle::check_random(|| run(2, true), 20_000);
}

#[test]
fn the_model_notices_a_writer_that_ignores_its_epoch() {
    let broken = std::panic::catch_unwind(|| shuttle::check_random(|| run(1, false), 20_000));
    assert!(broken.is_err(), "a writer past the fence went unnoticed");
}
