//! Random sequences of submit, checkpoint, pause, resume, cancel, crash and reopen, against a plain map.
//!
//! Strategy: each operation is applied to the jobs and to a map of what must be true of them. Invariants: an
//! acknowledged job exists; a terminal state never changes; a cancelled job is never published and a
//! succeeded one is whole; rows and checkpoints never go backwards; the run ends with every job in
//! a terminal state and nothing left.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::kinds::{clean, published, published_rows, setup};
use crate::record::CheckpointRecord;
use crate::testkit::TestJobs;
use crate::{CancelOutcome, ControlOptions, JobId, PauseOutcome, State};

#[derive(Clone, Debug)]
enum Op {
    /// A job that commits rows, or ingests batches, and publishes.
    Submit {
        bulk: bool,
        rows: u64,
        fails: bool,
    },
    /// Lets one job run to its nth checkpoint.
    RunTo(usize, u64),
    Pause(usize),
    Resume(usize),
    Cancel(usize),
    /// Dies at once.
    Crash,
    /// Dies at a point when it is reached next.
    CrashAt(usize),
    Reopen,
    Look,
}

fn op() -> impl Strategy<Value = Op> {
    let job = 0..4_usize;
    prop_oneof![
        3 => (any::<bool>(), 0..6_u64, prop::bool::weighted(0.2))
            .prop_map(|(bulk, rows, fails)| Op::Submit { bulk, rows, fails }),
        2 => (job.clone(), 1..8_u64).prop_map(|(job, n)| Op::RunTo(job, n)),
        2 => job.clone().prop_map(Op::Pause),
        2 => job.clone().prop_map(Op::Resume),
        2 => job.prop_map(Op::Cancel),
        1 => Just(Op::Crash),
        2 => (0..crate::CRASH_POINTS.len()).prop_map(Op::CrashAt),
        1 => Just(Op::Reopen),
        1 => Just(Op::Look),
    ]
}

/// What must be true of a job.
#[derive(Debug)]
struct Model {
    rows: u64,
    fails: bool,
    cancelled: bool,
    last: Option<State>,
    seen_rows: u64,
    seen_sequence: u64,
}

fn by() -> ControlOptions {
    ControlOptions::by("root")
}

struct Run {
    test: TestJobs,
    jobs: BTreeMap<JobId, Model>,
}

impl Run {
    fn pick(&self, number: usize) -> Option<JobId> {
        self.jobs.keys().nth(number % self.jobs.len().max(1)).copied()
    }

    fn is_dead(&self) -> bool {
        self.test.engine().crash().is_dead()
    }

    /// A dead store is opened again before anything else is asked of it.
    async fn revive(&mut self) {
        if self.is_dead() {
            self.test.reopen().await;
        }
    }

    async fn apply(&mut self, op: &Op) {
        self.revive().await;
        match op {
            Op::Submit { bulk, rows, fails } => self.submit(*bulk, *rows, *fails).await,
            Op::RunTo(job, n) => {
                if let Some(id) = self.pick(*job) {
                    let _ = self
                        .test
                        .jobs()
                        .settings()
                        .set("jobs.debug.pausepoints", &format!("jobs.checkpoint.{n}"));
                    let _ = self.test.jobs().resume(&[id], by()).await;
                    tokio::select! {
                        _ = self.test.jobs().wait(id) => {}
                        () = self.test.until_dead() => {}
                    }
                    let _ = self.test.jobs().settings().set("jobs.debug.pausepoints", "");
                }
            }
            Op::Pause(job) => {
                if let Some(id) = self.pick(*job) {
                    let outcome = self.test.jobs().pause(&[id], by()).await;
                    if let Ok(outcome) = outcome {
                        assert_ne!(outcome, [PauseOutcome::NotFound]);
                    }
                }
            }
            Op::Resume(job) => {
                if let Some(id) = self.pick(*job) {
                    let _ = self.test.jobs().resume(&[id], by()).await;
                }
            }
            Op::Cancel(job) => {
                if let Some(id) = self.pick(*job)
                    && let Ok(outcome) = self.test.jobs().cancel(&[id], by()).await
                {
                    let model = self.jobs.get_mut(&id).unwrap();
                    model.cancelled |= outcome == [CancelOutcome::Requested];
                    assert_ne!(outcome, [CancelOutcome::NotFound]);
                }
            }
            Op::Crash => self.test.crash().await,
            Op::CrashAt(point) => self.test.crash_at(crate::CRASH_POINTS[*point], 1),
            Op::Reopen => self.test.reopen().await,
            Op::Look => {}
        }
        self.revive().await;
        self.look().await;
    }

    async fn submit(&mut self, bulk: bool, rows: u64, fails: bool) {
        let words = match (bulk, fails) {
            (false, false) => format!("rows put:{rows} publish"),
            (false, true) => format!("rows put:{rows} fail"),
            (true, false) => format!("bulk scratch ingest:{rows} publish"),
            (true, true) => format!("bulk scratch ingest:{rows} fail"),
        };
        let rows = if bulk { rows * 10 } else { rows };
        let new = super::kinds::new(&words);
        let id = match self.test.jobs().submit::<super::kinds::Plain>(new).await {
            Ok(id) => id,
            Err(_) => {
                // Not acknowledged: it may exist or not.
                self.test.reopen().await;
                let listed = self.test.jobs().list().await.unwrap();
                match listed.iter().find(|view| !self.jobs.contains_key(&view.id)) {
                    Some(view) => view.id,
                    None => return,
                }
            }
        };
        let model =
            Model { rows, fails, cancelled: false, last: None, seen_rows: 0, seen_sequence: 0 };
        self.jobs.insert(id, model);
    }

    async fn look(&mut self) {
        let Ok(listed) = self.test.jobs().list().await else { return };
        let ids: Vec<JobId> = listed.iter().map(|view| view.id).collect();
        assert_eq!(ids, self.jobs.keys().copied().collect::<Vec<_>>());
        for view in listed {
            let model = self.jobs.get_mut(&view.id).unwrap();
            if let Some(last) = model.last.filter(|state| state.is_terminal()) {
                assert_eq!(view.state, last, "a terminal state changed");
            }
            assert!(view.rows >= model.seen_rows, "rows went backwards: {view:?}");
            let sequence = CheckpointRecord::load(self.test.engine(), view.id)
                .unwrap()
                .map_or(0, |record| record.sequence);
            assert!(sequence >= model.seen_sequence, "a checkpoint went backwards");
            (model.last, model.seen_rows, model.seen_sequence) =
                (Some(view.state), view.rows, sequence);
        }
    }

    /// Lets every job end, and checks how.
    async fn finish(mut self) {
        self.test.engine().crash().disarm();
        self.revive().await;
        let mut rows = Vec::new();
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in ids {
            let mut view = self.test.wait(id).await;
            while view.state == State::Paused {
                self.test.jobs().resume(&[id], by()).await.unwrap();
                view = self.test.wait(id).await;
            }
            let model = &self.jobs[&id];
            let expected = match (model.cancelled, model.fails) {
                (true, _) => State::Canceled,
                (false, true) => State::Failed,
                (false, false) => State::Succeeded,
            };
            // A cancel that was not acknowledged may have been durable.
            let unacknowledged = view.state == State::Canceled && !model.cancelled;
            assert!(view.state == expected || unacknowledged, "{view:?} but {model:?}");
            if view.state == State::Succeeded {
                rows.extend(0..model.rows);
            }
        }
        let mut found = published_rows(self.test.engine());
        found.sort_unstable();
        rows.sort_unstable();
        assert_eq!(found, rows, "published: {:?}", published(self.test.engine()));
        clean(&self.test).await;
    }
}

fn check(ops: &[Op]) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (test, _) = setup().await;
        let mut run = Run { test, jobs: BTreeMap::new() };
        for op in ops {
            run.apply(op).await;
        }
        run.finish().await;
    });
}

/// `CAIRN_CASES` for a longer search.
fn cases() -> u32 {
    std::env::var("CAIRN_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(40)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_shrink_iters: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_lives_match_a_plain_map(ops in prop::collection::vec(op(), 1..14)) {
        check(&ops);
    }
}

#[test]
fn a_submit_that_crashed_exists_or_does_not() {
    for point in 0..2 {
        let submit = Op::Submit { bulk: true, rows: 2, fails: false };
        check(&[Op::CrashAt(point), submit.clone(), Op::Look, submit, Op::Crash]);
    }
}
