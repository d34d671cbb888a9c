//! What tests of job kinds need: a clock that stands still, a store that can crash at any point and be
//! opened again, jobs that run up to a checkpoint, and a proof that nothing is left.
//!
//! All of it is inert until armed, and there are no global hooks: each [`TestJobs`] is on its own. The
//! functions panic when a promise is broken or when something does not happen within [`PATIENCE`].

#![expect(clippy::panic, reason = "panicking is how a test fails")]

mod conformance;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cairn_engine::blocking::Inline;
use cairn_engine::{Engine, EngineError, Options, SpanFamily, SpanId};
pub use cairn_engine::{ForgetfulDisk, Lost};

use crate::clock::{Clock, Sleep, UnixMillis};
use crate::control::ControlOptions;
use crate::id::JobId;
use crate::kind::{JobKind, NewJob};
use crate::list::JobView;
use crate::registry::{Jobs, JobsOptions};
use crate::state::State;
pub use conformance::{Conformed, Conforms, conformance, conformance_of};

/// How long to wait, by the wall clock, for what should happen at once.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A clock that only moves when it is told to. Those who wait are woken in the order of what they wait for.
#[derive(Debug)]
pub struct ManualClock(Arc<Mutex<Hands>>);

#[derive(Debug, Default)]
struct Hands {
    now: u64,
    /// By the moment, and of one moment in the order in which they came.
    sleepers: BTreeMap<(u64, u64), Waker>,
    /// Sleeps so far.
    count: u64,
}

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: UnixMillis) -> Self {
        Self(Arc::new(Mutex::new(Hands { now: now.raw(), ..Hands::default() })))
    }

    /// Moves the clock forward and wakes whoever slept until then.
    pub fn advance(&self, duration: Duration) {
        let woken = {
            let mut hands = hands(&self.0);
            hands.now = UnixMillis::from_raw(hands.now).plus(duration).raw();
            let later = hands.now.checked_add(1).map(|later| hands.sleepers.split_off(&(later, 0)));
            std::mem::replace(&mut hands.sleepers, later.unwrap_or_default())
        };
        woken.into_values().for_each(Waker::wake);
    }

    /// Moves the clock backwards, as operating systems do at times.
    pub fn step_back(&self, duration: Duration) {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let mut hands = hands(&self.0);
        hands.now = hands.now.saturating_sub(ms);
    }
}

fn hands(of: &Mutex<Hands>) -> MutexGuard<'_, Hands> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for ManualClock {
    /// The middle of 2025.
    fn default() -> Self {
        Self::at(UnixMillis::from_raw(1_751_328_000_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        UnixMillis::from_raw(hands(&self.0).now)
    }

    fn sleep_until(&self, moment: UnixMillis) -> Sleep {
        let mut own = hands(&self.0);
        own.count += 1;
        let place = (moment.raw(), own.count);
        Box::pin(Sleeper { hands: Arc::clone(&self.0), place })
    }
}

/// One wait for a moment.
struct Sleeper {
    hands: Arc<Mutex<Hands>>,
    place: (u64, u64),
}

impl Future for Sleeper {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut hands = hands(&self.hands);
        if hands.now >= self.place.0 {
            return Poll::Ready(());
        }
        hands.sleepers.insert(self.place, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        hands(&self.hands).sleepers.remove(&self.place);
    }
}

/// Waits for what should happen at once.
///
/// # Panics
/// After [`PATIENCE`], naming `what`.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}

type Register = Arc<dyn Fn(&Jobs) + Send + Sync>;

/// Jobs on a temporary store.
pub struct TestJobs {
    // Dropped in this order: the folder goes last.
    jobs: Option<Jobs>,
    engine: Option<Engine>,
    clock: Arc<ManualClock>,
    register: Register,
    seed: u64,
    /// Everything happens on this thread, and reclaim stands still.
    inline: Option<Inline>,
    disk: ForgetfulDisk,
    dir: tempfile::TempDir,
}

/// The seed of a test that does not choose one.
const SEED: u64 = 42;

impl std::fmt::Debug for TestJobs {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("TestJobs").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl TestJobs {
    /// An empty store. `register` registers the kinds, now and after each reopen.
    pub async fn new(register: impl Fn(&Jobs) + Send + Sync + 'static) -> Self {
        Self::new_in(tempfile::tempdir(), SEED, None, register).await
    }

    /// As [`TestJobs::new`], with a seed for all that is random in the jobs: the waits before retries.
    pub async fn seeded(seed: u64, register: impl Fn(&Jobs) + Send + Sync + 'static) -> Self {
        Self::new_in(tempfile::tempdir(), seed, None, register).await
    }

    /// As [`TestJobs::seeded`], and everything that is done for jobs is done on this thread, one thing after the other, in an
    /// order that is the same each time: state changes, retries, and what kinds do in their contexts, [`crate::Context::on_thread`] too. What a
    /// kind does with threads or a runtime of its own is its own business. Reclaim, which has a thread and waits for a
    /// disk, stands still (the setting `reclaim.paused`) but for [`TestJobs::assert_clean`] and [`TestJobs::reclaim`]. A job that blocks
    /// its thread blocks the test. Those who watch settings are woken in any order: nothing durable follows from it.
    ///
    /// # Panics
    /// In a runtime with more than one thread.
    pub async fn single_threaded(
        seed: u64,
        register: impl Fn(&Jobs) + Send + Sync + 'static,
    ) -> Self {
        let flavor = tokio::runtime::Handle::current().runtime_flavor();
        let one = tokio::runtime::RuntimeFlavor::CurrentThread;
        assert_eq!(flavor, one, "the order of events is chosen by a runtime of several threads");
        let inline = Some(Inline::here());
        let test = Self::new_in(tempfile::tempdir(), seed, inline, register).await;
        test.stop_reclaim(true);
        test
    }

    /// As [`TestJobs::new`], in memory where the system has a file system there (`/dev/shm`), else on disk: opens
    /// and closes in half of the time (`make bench-open`), and is otherwise the same. For many short tests, and for fuzz
    /// targets.
    pub async fn in_memory(register: impl Fn(&Jobs) + Send + Sync + 'static) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::new_in(dir, SEED, None, register).await
    }

    async fn new_in(
        dir: std::io::Result<tempfile::TempDir>,
        seed: u64,
        inline: Option<Inline>,
        register: impl Fn(&Jobs) + Send + Sync + 'static,
    ) -> Self {
        let mut test = Self {
            jobs: None,
            engine: None,
            clock: Arc::default(),
            register: Arc::new(register),
            seed,
            inline,
            disk: ForgetfulDisk::default(),
            dir: dir.expect("a temporary folder can be made"),
        };
        test.open().await;
        test
    }

    async fn open(&mut self) {
        let options =
            Options { reclaim_paused: self.inline.is_some(), ..Options::small(self.dir.path()) };
        let engine = soon("opening the store", open_with(options, &self.disk)).await;
        let options = JobsOptions { clock: self.clock.clone(), seed: self.seed };
        let jobs = Jobs::open(&engine, options).expect("the jobs can be opened");
        (self.register)(&jobs);
        jobs.start().expect("the test runs inside of tokio");
        (self.engine, self.jobs) = (Some(engine), Some(jobs));
    }

    /// The jobs. Keep no clone across a reopen: it would keep the store open.
    #[must_use]
    pub fn jobs(&self) -> &Jobs {
        self.jobs.as_ref().expect("the store is open")
    }

    /// The store. Keep no clone across a reopen.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("the store is open")
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// The disk under the files that jobs keep in their staging folders, and that the store makes itself: it fails when it is
    /// told to.
    #[must_use]
    pub fn disk(&self) -> &ForgetfulDisk {
        &self.disk
    }

    /// Uses other kinds from the next reopen on.
    pub fn register(&mut self, register: impl Fn(&Jobs) + Send + Sync + 'static) {
        self.register = Arc::new(register);
    }

    /// Shuts down in order, and opens again.
    pub async fn reopen(&mut self) {
        self.stop().await;
        self.open().await;
    }

    /// Shuts down in order, and removes the store. One that is dropped without it stops in the background.
    pub async fn close(mut self) {
        self.stop().await;
    }

    async fn stop(&mut self) {
        if let Some(jobs) = self.jobs.take() {
            soon("shutdown", jobs.shutdown()).await;
        }
        if let Some(engine) = self.engine.take() {
            engine.shutdown();
        }
    }

    /// Dies here and now, and opens again. What was not synced survives, as it does when a process is
    /// killed; memory is lost.
    pub async fn crash(&mut self) {
        let crash = self.engine().crash();
        crash.arm("testkit.crash", 1);
        assert!(crash.point("testkit.crash").is_err(), "an armed point fails");
        self.reopen().await;
    }

    /// Dies, and dies again as soon as the store is open.
    pub async fn crash_twice(&mut self) {
        self.crash().await;
        self.crash().await;
    }

    /// Loses the power here and now, and opens again: `lost` of what was done on [`TestJobs::disk`] and not synced is gone. What
    /// was written to the store is not, synced or not, which is the harder case: a checkpoint may be there that names a file
    /// that is not.
    pub async fn cut_power(&mut self, lost: Lost) {
        let crash = self.engine().crash();
        crash.arm("testkit.power", 1);
        assert!(crash.point("testkit.power").is_err(), "an armed point fails");
        // After that, or somebody could still write down that it is gone.
        self.disk.off();
        self.stop().await;
        self.disk.on(lost).expect("what is lost can be removed");
        self.open().await;
    }

    /// Arms a crash point (see [`crate::CRASH_POINTS`]): the store dies the `nth` time, from 1, that
    /// it is reached. [`TestJobs::reopen`] brings it back.
    pub fn crash_at(&self, point: &str, nth: u32) {
        self.engine().crash().arm(point, nth);
    }

    /// Waits until an armed point was reached.
    pub async fn until_dead(&self) {
        soon("the crash", async {
            while !self.engine().crash().is_dead() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    /// Lets jobs pause themselves at these points from now on; none for an empty text.
    pub fn pause_points(&self, points: &str) {
        let settings = self.jobs().settings();
        settings.set("jobs.debug.pausepoints", points).expect("the setting can be written");
    }

    /// Submits a job that pauses itself at a point, and waits for that. Answers its id, also if it
    /// ended before.
    pub async fn submit_to<K: JobKind>(&self, new: NewJob<K::Args>, point: &str) -> JobId {
        self.pause_points(point);
        let id = self.jobs().submit::<K>(new).await.expect("the job is accepted");
        self.wait(id).await;
        self.pause_points("");
        id
    }

    /// Submits a job, and cancels it when its `n`th checkpoint is there. Answers its id when it has ended, with its cleanup still
    /// under way, maybe.
    pub async fn cancel_at<K: JobKind>(&self, new: NewJob<K::Args>, n: u64) -> JobId {
        let id = self.submit_to::<K>(new, &format!("jobs.checkpoint.{n}")).await;
        let _ = self.jobs().cancel(&[id], ControlOptions::by("test")).await;
        let ended = self.jobs().wait_until(id, |view| view.state.is_terminal());
        soon("the end of the job", ended).await.expect("the job exists");
        id
    }

    /// Waits until the job has ended or is paused.
    pub async fn wait(&self, id: JobId) -> JobView {
        soon("the end or a pause of the job", self.jobs().wait(id)).await.expect("the job exists")
    }

    /// Waits for a state.
    pub async fn wait_for(&self, id: JobId, state: State) -> JobView {
        let jobs = self.jobs();
        let view = soon(state.as_str(), jobs.wait_until(id, |view| view.state == state)).await;
        let view = view.expect("the job exists");
        assert_eq!(view.state, state, "job {id} ended in another state: {view:?}");
        view
    }

    /// Lets a paused job run until its `n`th checkpoint is there, counted over its whole life, and
    /// leaves it paused. Answers false if it ended before.
    pub async fn run_to_checkpoint(&self, id: JobId, n: u64) -> bool {
        self.run_to(id, &format!("jobs.checkpoint.{n}")).await
    }

    /// Lets a paused job run up to a pause point, and leaves it paused. Answers false if it ended before.
    pub async fn run_to(&self, id: JobId, point: &str) -> bool {
        self.pause_points(point);
        let _ = self.jobs().resume(&[id], ControlOptions::by("test")).await;
        let view = self.wait(id).await;
        self.pause_points("");
        view.state == State::Paused
    }

    /// Proves that an ended job does not write any more: it has no claim, and for a moment in which no job
    /// is live and everything is given back, the store does not change.
    pub async fn assert_no_write_after_terminal(&self, id: JobId) {
        let engine = self.engine();
        let claims = engine.claims_of(id.owner()).expect("claims can be read");
        assert!(claims.is_empty(), "an ended job has claims: {claims:?}");
        let before = engine.view().sequence();
        tokio::time::sleep(QUIET).await;
        assert_eq!(engine.view().sequence(), before, "something was written after the end");
    }

    /// Waits until everything that is condemned is given back.
    pub async fn reclaim(&self) {
        if self.inline.is_some() {
            self.stop_reclaim(false);
        }
        let reclaimer = self.engine().reclaimer();
        let condemned: Vec<SpanId> =
            reclaimer.status().iter().map(|status| status.tombstone.id).collect();
        soon("reclaim", reclaimer.wait_gone(&condemned)).await;
        if self.inline.is_some() {
            self.stop_reclaim(true);
        }
    }

    fn stop_reclaim(&self, stop: bool) {
        let settings = self.jobs().settings();
        settings.set("reclaim.paused", &stop.to_string()).expect("the setting can be written");
        // The setting takes effect a moment later.
        self.engine().reclaimer().pause(stop);
    }

    /// Waits until everything is given back, and proves that nothing is left: no claim, no tombstone, no
    /// staged file, no key outside of the published spans, and no finding of the doctor. For a moment
    /// in which no job is live.
    pub async fn assert_clean(&self, published: &BTreeMap<SpanId, SpanFamily>) {
        self.reclaim().await;
        let engine = self.engine();
        let claims = engine.claims().expect("claims can be read");
        assert!(claims.is_empty(), "claims are left: {claims:?}");
        let tombstones = engine.tombstones().expect("tombstones can be read");
        assert!(tombstones.is_empty(), "tombstones are left: {tombstones:?}");
        let staged = files_below(&engine.path().join("staging"));
        assert!(staged.is_empty(), "staged files are left: {staged:?}");
        for family in [SpanFamily::Rows, SpanFamily::Bulk] {
            for span in engine.stored_spans(family).expect("the store can be read") {
                assert_eq!(published.get(&span), Some(&family), "span {span} has keys left");
            }
        }
        let findings = crate::doctor(engine, published).expect("the doctor can look");
        assert!(findings.is_empty(), "the doctor found {findings:?}");
    }
}

/// For how long nothing may be written after a job's end.
const QUIET: Duration = Duration::from_millis(10);

/// Opens a store as soon as nobody has it open any more.
#[cfg(test)]
pub(crate) async fn open_free(dir: &Path, disk: &ForgetfulDisk) -> Engine {
    open_with(Options::small(dir), disk).await
}

async fn open_with(options: Options, disk: &ForgetfulDisk) -> Engine {
    loop {
        let disk = Arc::new(disk.clone());
        match Engine::open(Options { disk, ..options.clone() }) {
            Ok(engine) => return engine,
            Err(EngineError::InUse(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(error) => panic!("the store cannot be opened: {error}"),
        }
    }
}

fn files_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}
