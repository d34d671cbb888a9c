//! What happens on one thread from one seed happens again.

use std::sync::Arc;
use std::time::Duration;

use super::kinds::{Plain, Script, Undoing, clean, new};
use crate::testkit::TestJobs;
use crate::{ControlOptions, JobId, State};

const WORDS: [&str; 5] = [
    "bulk scratch ingest:2 publish",
    "rows put:3 retry:2 publish",
    "rows put:2 hold",
    "rows put:1 panic",
    "bulk ingest:1",
];

/// A few numbers from a seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

struct Run {
    test: TestJobs,
    numbers: Numbers,
    ids: Vec<JobId>,
    /// Every durable step so far, and what was done in between.
    seen: Vec<String>,
}

impl Run {
    async fn new(seed: u64) -> Self {
        let test = TestJobs::single_threaded(seed, |jobs| {
            jobs.register::<Plain>(Script(Arc::default()));
            jobs.register::<Undoing>(Script(Arc::default()));
        })
        .await;
        test.engine().crash().record();
        Self { test, numbers: Numbers(seed), ids: Vec::new(), seen: Vec::new() }
    }

    /// Keeps the steps of this life, which are forgotten with it.
    fn keep_steps(&mut self) {
        let steps = self.test.engine().crash().recorded();
        // Reclaim has a thread of its own, which tells of its end before its last point.
        self.seen.extend(steps.into_iter().filter(|step| !step.starts_with("reclaim.")));
        self.test.engine().crash().record();
    }

    async fn act(&mut self) {
        let number = self.numbers.below(10);
        let id = (!self.ids.is_empty()).then(|| self.ids[self.numbers.below(self.ids.len())]);
        self.keep_steps();
        self.seen.push(format!("act {number} {id:?}"));
        let by = ControlOptions::by("root");
        let jobs = self.test.jobs();
        match (number, id) {
            (0..3, _) | (_, None) => {
                let words = WORDS[self.numbers.below(WORDS.len())];
                let submitted = match self.numbers.below(2) {
                    0 => jobs.submit::<Plain>(new(words)).await,
                    _ => jobs.submit::<Undoing>(new(words)).await,
                };
                self.ids.push(submitted.unwrap());
            }
            (3, Some(id)) => drop(jobs.pause(&[id], by).await),
            (4, Some(id)) => drop(jobs.resume(&[id], by).await),
            (5, Some(id)) => drop(jobs.cancel(&[id], by).await),
            (6 | 7, _) => {
                let seconds = self.numbers.below(5);
                self.test.clock().advance(Duration::from_secs(seconds as u64));
            }
            (8, _) => {
                self.test.crash().await;
                self.test.engine().crash().record();
            }
            _ => self.test.reclaim().await,
        }
        self.turns(self.numbers_of_turns()).await;
    }

    fn numbers_of_turns(&self) -> usize {
        usize::try_from(self.numbers.0 >> 40).unwrap() % 40
    }

    /// Lets everybody who can go on do so, so many times.
    async fn turns(&self, turns: usize) {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    /// Ends all jobs, and answers what happened.
    async fn end(mut self) -> Vec<String> {
        let by = || ControlOptions::by("root");
        for id in self.ids.clone() {
            let _ = self.test.jobs().cancel(&[id], by()).await;
        }
        for id in self.ids.clone() {
            while !self.test.jobs().get(id).await.unwrap().unwrap().state.is_terminal() {
                self.test.clock().advance(Duration::from_secs(60));
                self.turns(10).await;
            }
        }
        self.keep_steps();
        for view in self.test.jobs().list().await.unwrap() {
            self.seen.push(format!("{} {} {} {}", view.id, view.state, view.attempts, view.rows));
            assert_ne!(view.state, State::RevertFailed);
        }
        clean(&self.test).await;
        self.seen
    }
}

async fn history(seed: u64) -> Vec<String> {
    let mut run = Run::new(seed).await;
    for _ in 0..30 {
        run.act().await;
    }
    run.end().await
}

#[tokio::test]
async fn the_same_seed_makes_the_same_steps_in_the_same_order_and_another_one_others() {
    let mut all = std::collections::BTreeSet::new();
    for seed in 1..=6 {
        let (first, second) = (history(seed).await, history(seed).await);
        assert!(first.len() > 60, "{first:?}");
        let differs = first.iter().zip(&second).position(|(first, second)| first != second);
        assert_eq!(first, second, "seed {seed}, at {differs:?}");
        all.insert(first);
    }
    assert_eq!(all.len(), 6);
}
