//! Puts a job kind through what can happen to a job: pause, cancel, crash and loss of power at every checkpoint, and
//! death at every durable step, once and twice.
//!
//! A kind passes if each run ends as it should: what succeeded left exactly what an undisturbed run
//! leaves, and what was cancelled left nothing at all. When the power goes, what the kind wrote to files of its own by
//! [`Engine::disk`] and did not sync is lost.
//!
//! ```
//! use cairn_engine::Engine;
//! use cairn_jobs::testkit::{Conforms, conformance};
//! use cairn_jobs::{Context, JobKind, NewJob, Result};
//!
//! #[derive(Clone, PartialEq, prost::Message)]
//! struct Steps {
//!     #[prost(uint32, tag = "1")]
//!     number: u32,
//! }
//!
//! struct Climb;
//!
//! impl JobKind for Climb {
//!     const NAME: &'static str = "CLIMB";
//!     type Args = Steps;
//!     type Checkpoint = Steps;
//!
//!     async fn run(&self, cx: Context<Self>) -> Result<()> {
//!         for number in cx.checkpoint().number..cx.args().number {
//!             cx.save(&Steps { number: number + 1 }).await?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! impl Conforms for Climb {
//!     fn kind(_: &Engine) -> Self {
//!         Climb
//!     }
//!
//!     fn job(_: &Engine) -> NewJob<Steps> {
//!         NewJob::new(Steps { number: 2 }, "climb two steps")
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() {
//! let tried = conformance::<Climb>().await;
//! assert_eq!(tried.checkpoints, 2);
//! # }
//! ```

use std::collections::{BTreeMap, BTreeSet};

use cairn_engine::{Engine, SpanFamily, SpanId};

use super::{Lost, TestJobs};
use crate::control::ControlOptions;
use crate::id::JobId;
use crate::kind::{JobKind, NewJob};
use crate::list::JobView;
use crate::registry::Jobs;
use crate::state::State;

/// A job kind that can be tried.
pub trait Conforms: JobKind {
    /// The kind, as it is registered: called each time that the store is opened, before any job goes on. What it needs in
    /// the store beside its jobs (a catalog, a table, files to read) it makes here where it is missing.
    fn kind(engine: &Engine) -> Self;

    /// A small job that succeeds by itself, with a few checkpoints. Called once for each store.
    fn job(engine: &Engine) -> NewJob<Self::Args>;

    /// The spans that succeeded jobs have published. None by default.
    fn published(engine: &Engine) -> BTreeMap<SpanId, SpanFamily> {
        let _ = engine;
        BTreeMap::new()
    }

    /// What can be seen of the job's work: compared between runs. Nothing by default.
    fn observe(engine: &Engine) -> String {
        let _ = engine;
        String::new()
    }
}

/// What a kind was put through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conformed {
    /// Checkpoints of the job: at each it was paused, cancelled and crashed, and lost the power.
    pub checkpoints: u64,
    /// Durable steps at which it died on its way to success.
    pub crashes: u32,
    /// Durable steps at which it died while it was cancelled, at the first and at the last checkpoint.
    pub crashes_in_cancel: u32,
}

/// Tries a kind with its small job.
///
/// # Panics
/// When the kind does not keep a promise; the message says at which checkpoint or step.
pub async fn conformance<K: Conforms>() -> Conformed {
    conformance_of::<K>(K::job).await
}

/// Tries a kind with another job, made once for each store: for kinds whose jobs go several roads.
///
/// # Panics
/// As [`conformance`].
pub async fn conformance_of<K: Conforms>(job: fn(&Engine) -> NewJob<K::Args>) -> Conformed {
    let trial = Trial::<K>::undisturbed(job).await;
    for checkpoint in 1..=trial.checkpoints {
        trial.pauses_at(checkpoint).await;
        trial.cancels_at(checkpoint, false).await;
        trial.cancels_at(checkpoint, true).await;
        trial.crashes_at(checkpoint).await;
        for lost in [Lost::Everything, Lost::Part(checkpoint)] {
            trial.loses_power_at(checkpoint, lost).await;
        }
    }
    let mut crashes = 0;
    while trial.dies_at(crashes + 1).await {
        crashes += 1;
    }
    // At the first checkpoint little is claimed, at the last one all that ever is.
    let mut crashes_in_cancel = 0;
    for checkpoint in BTreeSet::from([1, trial.checkpoints]) {
        let mut nth = 1;
        while trial.checkpoints > 0 && trial.dies_in_cancel_at(checkpoint, nth).await {
            nth += 1;
        }
        crashes_in_cancel += nth - 1;
    }
    Conformed { checkpoints: trial.checkpoints, crashes, crashes_in_cancel }
}

struct Trial<K: Conforms> {
    job: fn(&Engine) -> NewJob<K::Args>,
    checkpoints: u64,
    /// What can be seen before, and after success.
    before: String,
    after: String,
}

fn by() -> ControlOptions {
    ControlOptions::by("conformance")
}

/// A new store, and the job that is to be tried there.
async fn fresh<K: Conforms>(job: fn(&Engine) -> NewJob<K::Args>) -> (TestJobs, NewJob<K::Args>) {
    let test = TestJobs::new(|jobs: &Jobs| jobs.register(K::kind(jobs.engine()))).await;
    let job = job(test.engine());
    (test, job)
}

/// Lets the armed store live its life until it ends by itself or dies. Answers whether it died.
async fn alive_or_dead(test: &TestJobs, life: impl Future<Output = ()>) -> bool {
    tokio::select! {
        () = life => test.engine().crash().is_dead(),
        () = test.until_dead() => true,
    }
}

impl<K: Conforms> Trial<K> {
    async fn undisturbed(job: fn(&Engine) -> NewJob<K::Args>) -> Self {
        let (test, submitted) = fresh::<K>(job).await;
        let before = K::observe(test.engine());
        let id = test.submit_to::<K>(submitted, "jobs.checkpoint.1").await;
        let mut checkpoints = 0;
        if test.wait(id).await.state == State::Paused {
            checkpoints = 1;
            while test.run_to_checkpoint(id, checkpoints + 1).await {
                checkpoints += 1;
            }
        }
        let trial = Self { job, checkpoints, before, after: K::observe(test.engine()) };
        trial.succeeded(&test, id, "an undisturbed run").await;
        trial
    }

    async fn succeeded(&self, test: &TestJobs, id: JobId, when: &str) {
        let view = test.wait(id).await;
        assert_eq!(view.state, State::Succeeded, "{when}: {view:?}");
        assert_eq!(K::observe(test.engine()), self.after, "{when}");
        test.assert_clean(&K::published(test.engine())).await;
        test.assert_no_write_after_terminal(id).await;
    }

    async fn canceled(&self, test: &TestJobs, id: JobId, when: &str) {
        let view: JobView = test.wait(id).await;
        assert_eq!(view.state, State::Canceled, "{when}: {view:?}");
        assert_eq!(K::observe(test.engine()), self.before, "{when}");
        test.assert_clean(&K::published(test.engine())).await;
        test.assert_no_write_after_terminal(id).await;
    }

    async fn paused_at(&self, checkpoint: u64) -> (TestJobs, JobId) {
        let (test, job) = fresh::<K>(self.job).await;
        let id = test.submit_to::<K>(job, &format!("jobs.checkpoint.{checkpoint}")).await;
        let state = test.wait(id).await.state;
        assert_eq!(state, State::Paused, "checkpoint {checkpoint} comes in every run");
        (test, id)
    }

    async fn pauses_at(&self, checkpoint: u64) {
        let (test, id) = self.paused_at(checkpoint).await;
        resume(&test, id).await;
        self.succeeded(&test, id, &format!("paused at checkpoint {checkpoint}")).await;
    }

    async fn cancels_at(&self, checkpoint: u64, crash: bool) {
        let (mut test, id) = self.paused_at(checkpoint).await;
        let _ = test.jobs().cancel(&[id], by()).await.expect("a cancel can be written");
        if crash {
            test.crash().await;
        }
        self.canceled(&test, id, &format!("cancelled at checkpoint {checkpoint}")).await;
    }

    async fn crashes_at(&self, checkpoint: u64) {
        let (mut test, id) = self.paused_at(checkpoint).await;
        test.crash_twice().await;
        let state = test.wait(id).await.state;
        assert_eq!(state, State::Paused, "a pause survives crashes at checkpoint {checkpoint}");
        resume(&test, id).await;
        self.succeeded(&test, id, &format!("crashed twice at checkpoint {checkpoint}")).await;
    }

    /// What the checkpoint names and its job did not sync is gone.
    async fn loses_power_at(&self, checkpoint: u64, lost: Lost) {
        let (mut test, id) = self.paused_at(checkpoint).await;
        test.cut_power(lost).await;
        resume(&test, id).await;
        let when = format!(
            "lost the power at checkpoint {checkpoint}, and of what was not synced {lost:?}"
        );
        self.succeeded(&test, id, &when).await;
    }

    /// Dies at the nth durable step, and soon after the restart again. False if there is no such step.
    async fn dies_at(&self, nth: u32) -> bool {
        let when = format!("died at durable step {nth}");
        let (mut test, job) = fresh::<K>(self.job).await;
        test.engine().crash().arm_any(nth);
        let mut accepted = false;
        let died = {
            let accepted = &mut accepted;
            let test = &test;
            alive_or_dead(test, async move {
                if let Ok(id) = test.jobs().submit::<K>(job).await {
                    *accepted = true;
                    let _ = test.jobs().wait(id).await;
                }
            })
            .await
        };
        reopen_dying_again(&mut test, nth).await;
        let jobs = test.jobs().list().await.expect("jobs can be listed");
        let Some(job) = jobs.first() else {
            assert!(!accepted, "{when}: an accepted job is lost");
            return died;
        };
        self.succeeded(&test, job.id, &when).await;
        died
    }

    /// Dies at the nth durable step after a cancel was asked for at a checkpoint, and soon after the restart again.
    async fn dies_in_cancel_at(&self, checkpoint: u64, nth: u32) -> bool {
        let when = format!("died at durable step {nth} of a cancel at checkpoint {checkpoint}");
        let (mut test, id) = self.paused_at(checkpoint).await;
        test.engine().crash().arm_any(nth);
        let mut accepted = false;
        let died = {
            let accepted = &mut accepted;
            let test = &test;
            alive_or_dead(test, async move {
                *accepted = test.jobs().cancel(&[id], by()).await.is_ok();
                let _ = test.jobs().wait_until(id, |view| view.state.is_terminal()).await;
                let _ = test.jobs().wait_reclaimed(id).await;
            })
            .await
        };
        reopen_dying_again(&mut test, nth).await;
        if !accepted {
            // It may be durable or not; asked for again, it has to be.
            let _ = test.jobs().cancel(&[id], by()).await.expect("a cancel can be written");
        }
        self.canceled(&test, id, &when).await;
        died
    }
}

/// Opens the store again, lets it die once more at one of its next few durable steps, if it comes so far,
/// and opens it for good.
async fn reopen_dying_again(test: &mut TestJobs, nth: u32) {
    test.reopen().await;
    test.engine().crash().arm_any(1 + nth % 3);
    let ids: Vec<JobId> = match test.jobs().list().await {
        Ok(jobs) => jobs.into_iter().map(|job| job.id).collect(),
        Err(_) => Vec::new(),
    };
    let again = &*test;
    alive_or_dead(again, async move {
        for id in ids {
            let _ = again.jobs().wait(id).await;
        }
    })
    .await;
    test.reopen().await;
}

async fn resume(test: &TestJobs, id: JobId) {
    let _ = test.jobs().resume(&[id], by()).await.expect("a resume can be written");
}
