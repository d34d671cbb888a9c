//! The registry: opens the jobs of a store, takes new ones, and answers for all of them.
//!
//! ```text
//! Jobs::open -> register kinds -> start -> submit, cancel, pause, resume, wait, list ... -> shutdown
//! ```
//!
//! Each unfinished job has one driver (a task, see `worker`), which waits for events and never polls.
//! Dropping the last handle stops all drivers as [`Jobs::shutdown`] does, without waiting for them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cairn_engine::blocking::{self, Op};
use cairn_engine::{
    Batch, Engine, Epoch, Finding, GovernorLimits, SpanFamily, SpanId, metrics as names,
};
use prost::Message as _;
use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::adopt;
use crate::clock::{Clock, SystemClock, UnixMillis};
use crate::context::run;
use crate::edge::SUBMIT;
use crate::error::{Failure, Result, Stop, code};
use crate::history::{self, HistoryEntry};
use crate::id::{IdSource, JobId};
use crate::job::Job;
use crate::kind::{Adapter, ErasedKind, JobKind, NewJob, unknown};
use crate::list::{JobView, Reclaim};
use crate::ownership::Ownership;
use crate::progress::Progress;
use crate::record::{Control, PayloadRecord};
use crate::retention::{self, FirstEnd};
use crate::settings::Settings;
use crate::slots::Slots;
use crate::state::Standing;
use crate::watch::{EVENTS_KEPT, JobEvent};
use crate::worker;

/// How to open the jobs of a store.
#[derive(Clone)]
pub struct JobsOptions {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Makes the back-off of this process differ from others; tests fix it.
    pub seed: u64,
}

impl JobsOptions {
    /// With this clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let seed = u64::from(std::process::id()) ^ clock.now().raw().rotate_left(32);
        Self { clock, seed }
    }
}

impl Default for JobsOptions {
    /// With the clock of the operating system.
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
    }
}

impl std::fmt::Debug for JobsOptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("JobsOptions").field("seed", &self.seed).finish_non_exhaustive()
    }
}

type Kinds = BTreeMap<&'static str, Arc<dyn ErasedKind>>;

#[derive(Default)]
struct Live {
    jobs: BTreeMap<JobId, Arc<Job>>,
    /// Subjects of exclusive jobs whose batch is not committed yet.
    reserved: HashMap<u64, JobId>,
}

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    pub(crate) seed: u64,
    pub(crate) ownership: Ownership,
    pub(crate) slots: Slots,
    pub(crate) events: broadcast::Sender<JobEvent>,
    /// A job ended.
    pub(crate) ended: Notify,
    pub(crate) first_end: FirstEnd,
    pub(crate) shutdown: CancellationToken,
    ids: IdSource,
    kinds: watch::Sender<Arc<Kinds>>,
    // Guards the map; held for moments only, never together with a job's mutex.
    live: Mutex<Live>,
    drivers: TaskTracker,
    runtime: OnceLock<Handle>,
}

/// The jobs of a store. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    pub(crate) inner: Arc<Inner>,
    _stop_when_dropped: Arc<DropGuard>,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Jobs").field("store", &self.inner.engine.path()).finish_non_exhaustive()
    }
}

impl Jobs {
    /// Reads the jobs of a store. Nothing runs before [`Jobs::start`]. Blocks.
    ///
    /// # Errors
    /// A storage error.
    pub fn open(engine: &Engine, options: JobsOptions) -> Result<Self> {
        let settings = Settings::open(engine)?;
        let found = adopt::find(engine)?;
        let shutdown = CancellationToken::new();
        let guard = shutdown.clone().drop_guard();
        let inner = Arc::new(Inner {
            engine: engine.clone(),
            clock: options.clock,
            seed: options.seed,
            ownership: Ownership,
            slots: Slots::new(usize_of(settings.get_int("jobs.concurrency"))),
            settings,
            events: broadcast::Sender::new(EVENTS_KEPT),
            ended: Notify::new(),
            first_end: FirstEnd::default(),
            shutdown,
            ids: IdSource::after(found.highest),
            kinds: watch::Sender::new(Arc::default()),
            live: Mutex::new(Live { jobs: found.live, reserved: HashMap::new() }),
            drivers: TaskTracker::new(),
            runtime: OnceLock::new(),
        });
        Ok(Self { inner, _stop_when_dropped: Arc::new(guard) })
    }

    /// Registers a kind. Usually before [`Jobs::start`]; jobs that wait for the kind go on at once.
    pub fn register<K: JobKind>(&self, kind: K) {
        let kind: Arc<dyn ErasedKind> = Arc::new(Adapter(Arc::new(kind)));
        self.inner.kinds.send_modify(|kinds| {
            let mut more = Kinds::clone(kinds);
            more.insert(kind.name(), Arc::clone(&kind));
            *kinds = Arc::new(more);
        });
    }

    /// Lets jobs run, the adopted ones first, on the tokio runtime of the caller. Calling it again
    /// changes nothing.
    ///
    /// # Errors
    /// A failure outside of a tokio runtime.
    pub fn start(&self) -> Result<()> {
        let Ok(handle) = Handle::try_current() else {
            let failure =
                Failure::new(code::INTERNAL, "jobs can only be started inside a tokio runtime");
            return Err(failure
                .with_hint("Call `Jobs::start` in async code, or enter a runtime.")
                .into());
        };
        if self.inner.runtime.set(handle.clone()).is_err() {
            return Ok(());
        }
        let jobs: Vec<Arc<Job>> = self.inner.live().jobs.values().cloned().collect();
        for job in jobs {
            self.inner.drive(job);
        }
        self.inner.drivers.spawn_on(retention::keep(Arc::clone(&self.inner)), &handle);
        self.inner.drivers.spawn_on(follow_settings(Arc::clone(&self.inner)), &handle);
        Ok(())
    }

    /// Accepts a job. When this returns, the job is durable, and it ends in exactly one terminal state.
    ///
    /// # Errors
    /// 55006 if it is exclusive and its subject is taken; a failure for a kind that is not registered; a
    /// storage error; [`crate::JobError::Stopped`] after shutdown. There is no such job then, except that a
    /// storage error may come after the batch was durable.
    pub async fn submit<K: JobKind>(&self, new: NewJob<K::Args>) -> Result<JobId> {
        let jobs = self.clone();
        run(Op::Control, move || {
            let mut batch = Batch::new();
            let submission = jobs.submit_in::<K>(&mut batch, new)?;
            jobs.inner.commit_step(SUBMIT, batch)?;
            Ok(submission.committed())
        })
        .await
    }

    /// Adds a job to a batch of the caller, so that it exists if and only if whatever else is in the
    /// batch does. Commit the batch with [`cairn_engine::Sync::Yes`] and then call
    /// [`Submission::committed`]: the job runs from there on. Does not block.
    ///
    /// # Errors
    /// As [`Jobs::submit`], storage errors aside: the batch is as it was.
    pub fn submit_in<K: JobKind>(
        &self,
        batch: &mut Batch,
        new: NewJob<K::Args>,
    ) -> Result<Submission> {
        let inner = &self.inner;
        if inner.shutdown.is_cancelled() {
            return Err(Stop::Shutdown.into());
        }
        let kind = inner.kind(K::NAME).ok_or_else(|| unknown(K::NAME))?;
        let now = inner.clock.now();
        let id = inner.ids.next(now);
        inner.reserve(id, &new)?;
        let policy = kind.policy();
        let mut control = Control {
            id,
            kind: K::NAME.to_owned(),
            standing: Standing::SUBMITTED,
            epoch: Epoch::from_raw(1),
            description: new.description,
            statement: new.statement,
            user: new.user,
            subject: new.subject,
            cancellable: policy.cancellable,
            has_undo: policy.has_undo,
            created: now,
            started: None,
            finished: None,
            modified: now,
            attempts: 0,
            retries: 0,
            next_run: None,
            message: String::new(),
            pause_point: String::new(),
            error: None,
            history_next: 0,
        };
        let user = control.user.clone();
        history::note(batch, &mut control, "submit", "", &user);
        control.put(batch);
        let args = new.args.encode_to_vec().into();
        PayloadRecord { version: K::VERSION, args }.put(batch, id);
        Ok(Submission { jobs: self.clone(), control })
    }

    /// All jobs in order of submission, live and ended. Reads no payload, and waits for no job.
    ///
    /// # Errors
    /// A storage error.
    pub async fn list(&self) -> Result<Vec<JobView>> {
        let inner = Arc::clone(&self.inner);
        run(Op::Read, move || inner.list()).await
    }

    /// As [`Jobs::list`], for threads that may block.
    ///
    /// # Errors
    /// A storage error.
    pub fn list_blocking(&self) -> Result<Vec<JobView>> {
        self.inner.list()
    }

    /// What happened to a job, oldest first; empty if there is no such job.
    ///
    /// # Errors
    /// A storage error or a damaged record.
    pub async fn history(&self, id: JobId) -> Result<Vec<HistoryEntry>> {
        let inner = Arc::clone(&self.inner);
        run(Op::Read, move || history::load(&inner.engine, id)).await
    }

    /// Unfinished jobs that work on a subject, in order of submission.
    #[must_use]
    pub fn live_on(&self, subject: u64) -> Vec<JobId> {
        let jobs: Vec<Arc<Job>> = self.inner.live().jobs.values().cloned().collect();
        let works_on = |job: &&Arc<Job>| {
            let control = job.shown();
            control.subject == Some(subject) && !control.standing.state.is_terminal()
        };
        jobs.iter().filter(works_on).map(|job| job.id).collect()
    }

    /// The settings of the store.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The clock that was handed in.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// The store.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// Checks engine and jobs: see [`crate::doctor`]. `published` are the spans that the catalog names.
    ///
    /// # Errors
    /// A storage error: the check could not be completed.
    pub async fn doctor(&self, published: BTreeMap<SpanId, SpanFamily>) -> Result<Vec<Finding>> {
        let inner = Arc::clone(&self.inner);
        run(Op::Doctor, move || crate::doctor(&inner.engine, &published)).await
    }

    /// Stops all jobs at their next look at the flag, writes what they kept, and waits for that.
    /// Their states stay: the next open goes on with them. A worker that does not stop is given up
    /// after 10 s. Calling it twice is harmless.
    pub async fn shutdown(&self) {
        self.inner.shutdown.cancel();
        self.inner.drivers.close();
        self.inner.drivers.wait().await;
    }
}

/// A job that was added to a batch of the caller. Dropped before [`Submission::committed`], nothing has
/// happened; if the batch was committed nevertheless, the next open finds the job.
#[must_use = "the job runs after `committed`"]
pub struct Submission {
    jobs: Jobs,
    control: Control,
}

impl std::fmt::Debug for Submission {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Submission").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl Submission {
    /// The id of the job.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.control.id
    }

    /// The batch is durable: the job runs from here on.
    pub fn committed(self) -> JobId {
        self.jobs.inner.accept(&self.control);
        self.control.id
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        self.jobs.inner.unreserve(&self.control);
    }
}

impl Inner {
    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An unfinished job.
    pub(crate) fn live_job(&self, id: JobId) -> Option<Arc<Job>> {
        self.live().jobs.get(&id).cloned()
    }

    /// A job has ended, at that moment.
    pub(crate) fn forget(&self, id: JobId, finished: UnixMillis) {
        self.live().jobs.remove(&id);
        self.first_end.note(finished);
        self.ended.notify_one();
    }

    pub(crate) fn kind(&self, name: &str) -> Option<Arc<dyn ErasedKind>> {
        self.kinds.borrow().get(name).cloned()
    }

    /// Ends when another kind was registered.
    pub(crate) fn kinds(&self) -> watch::Receiver<Arc<Kinds>> {
        self.kinds.subscribe()
    }

    fn reserve<A>(&self, id: JobId, new: &NewJob<A>) -> Result<()> {
        let Some(subject) = new.subject.filter(|_| new.exclusive) else { return Ok(()) };
        let mut live = self.live();
        let works_on = |job: &&Arc<Job>| {
            let control = job.shown();
            control.subject == Some(subject) && !control.standing.state.is_terminal()
        };
        let holder = live.reserved.get(&subject).copied();
        let holder = holder.or_else(|| live.jobs.values().find(works_on).map(|job| job.id));
        if let Some(holder) = holder {
            let message = format!("job {holder} is already working on the same object");
            let failure = Failure::new(code::OBJECT_IN_USE, message);
            return Err(failure.with_hint(format!("Wait for it, or CANCEL JOB {holder}.")).into());
        }
        live.reserved.insert(subject, id);
        Ok(())
    }

    fn unreserve(&self, control: &Control) {
        if let Some(subject) = control.subject {
            let mut live = self.live();
            if live.reserved.get(&subject) == Some(&control.id) {
                live.reserved.remove(&subject);
            }
        }
    }

    /// A submitted job becomes live.
    fn accept(self: &Arc<Self>, control: &Control) {
        metrics::counter!(names::JOBS_SUBMITTED_TOTAL, "kind" => control.kind.clone()).increment(1);
        drop(self.engine.latch(control.id.owner(), control.epoch));
        let event = JobEvent {
            id: control.id,
            kind: control.kind.clone(),
            state: control.standing.state,
            at: control.modified,
        };
        let view = JobView::of_stored(control, Progress::default(), &Reclaim::default());
        let job = Job::new(control.clone(), Progress::default(), view);
        // The reservation ends when the submission is dropped: the job holds its subject by now.
        self.live().jobs.insert(job.id, Arc::clone(&job));
        tracing::info!(parent: &job.span, description = control.description, "job submitted");
        // Without a listener there is nobody to tell.
        let _ = self.events.send(event);
        self.drive(job);
    }

    /// Gives a job its driver; before `start` it waits for that.
    fn drive(self: &Arc<Self>, job: Arc<Job>) {
        if let Some(runtime) = self.runtime.get() {
            let span = job.span.clone();
            let driver = worker::drive(Arc::clone(self), job).instrument(span);
            self.drivers.spawn_on(driver, runtime);
        }
    }
}

/// Lets changed settings take effect.
async fn follow_settings(inner: Arc<Inner>) {
    let mut changes = inner.settings.subscribe();
    loop {
        changes.borrow_and_update();
        inner.slots.resize(usize_of(inner.settings.get_int("jobs.concurrency")));
        inner.engine.governor().set_limits(GovernorLimits {
            rate_max: inner.settings.get_bytes("background.rate.max"),
            latency_target: latency_target(inner.settings.get_float("background.latency.target")),
            free_space_floor: inner.settings.get_bytes("reclaim.free_space_floor"),
            reader_age_max: inner.settings.get_duration("sql.read_view.max_age"),
        });
        let (engine, paused) = (inner.engine.clone(), inner.settings.get_bool("reclaim.paused"));
        // It may wait for a compaction. A panic of it was reported.
        let _ = blocking::run(Op::Control, move || engine.reclaimer().pause(paused)).await;
        tokio::select! {
            biased;
            () = inner.shutdown.cancelled() => return,
            _ = changes.changed() => {}
        }
    }
}

/// The most that can be set stands for no target.
fn latency_target(set: f64) -> f64 {
    if set < 100.0 { set } else { f64::INFINITY }
}

fn usize_of(int: u64) -> usize {
    usize::try_from(int).unwrap_or(usize::MAX)
}
