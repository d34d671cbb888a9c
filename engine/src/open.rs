//! Opening a store, and the one handle to it.
//!
//! [`Engine::open`] makes or opens a RocksDB with our families and our tuning, refuses a newer format,
//! sweeps staging folders that nobody claims, and starts the reclaimer. The handle is cheap to clone.
//! Call [`Engine::shutdown`] before opening the same store again in this process: it joins the
//! background thread, and the store's lock is free once all views are dropped too.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rocksdb::{BoundColumnFamily, DB, Options as RocksOptions, ReadOptions};
use tokio::sync::watch;

use crate::ballast::Ballast;
use crate::batch::{Batch, Sync};
use crate::claim::{STAGING, staging_id};
use crate::closing::SharedDb;
use crate::committer::Committer;
use crate::counter::Counter;
use crate::crash::CrashPlan;
use crate::disk::{Disk, list, make_durable_folder, remove_all};
use crate::envelope::{self, Kind, kind};
use crate::error::{Corruption, EngineError, Result, io_error};
use crate::family::Family;
use crate::governor::GovernorLimits;
use crate::id::{Epoch, OwnerId, SpanId, SpanRef};
use crate::key;
use crate::key_lock::KeyLocks;
use crate::latch::Latch;
use crate::latches::Latches;
use crate::latency::{Foreground, Operation, is_background};
use crate::log::Flushes;
use crate::log::mark::{self, LogMark};
use crate::options::Options;
use crate::pacer::Governor;
use crate::pacer::feedback::Feedback;
use crate::reclaimer::{ReclaimHandle, Shared};
use crate::record;
use crate::trash::TRASH;
use crate::tuning::Tuning;
use crate::view::{ReadView, Views, open_as};
use crate::write_set::WriteSet;

/// Version of the store format that this build writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

/// How long to wait for a handle of this process that is being closed.
const CLOSING: Duration = Duration::from_millis(250);

/// The key of the format record in `catalog`.
pub(crate) const FORMAT_KEY: &[u8] = b"\0format";

struct Inner {
    db: SharedDb,
    options: Options,
    bulk_options: RocksOptions,
    tuning: Tuning,
    crash: CrashPlan,
    governor: Governor,
    foreground: Arc<Foreground>,
    latches: Latches,
    views: Arc<Views>,
    key_locks: Arc<KeyLocks>,
    counter: Counter,
    reclaim: OnceLock<ReclaimHandle>,
    feedback: OnceLock<Feedback>,
    committer: Committer,
    ballast: Ballast,
    flushes: Flushes,
    log_mark: LogMark,
    /// Why the store takes no writes any more, once that is so.
    broken: watch::Sender<Option<Broken>>,
}

/// Why a store takes no writes any more.
#[derive(Clone, Debug, Default)]
struct Broken {
    /// Damage, or else an I/O error.
    damaged: bool,
    text: String,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(feedback) = self.feedback.get() {
            feedback.stop();
        }
        // A flush that is under way is waited for when the database closes.
        self.tuning.set_compaction_rate(None);
        if let Some(reclaim) = self.reclaim.get() {
            reclaim.stop();
        }
    }
}

/// A weak handle: background threads hold it so that they do not keep the store open.
#[derive(Clone)]
pub(crate) struct WeakEngine(std::sync::Weak<Inner>);

impl WeakEngine {
    pub(crate) fn upgrade(&self) -> Option<Engine> {
        self.0.upgrade().map(|inner| Engine { inner })
    }
}

/// An open store.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Engine").field("path", &self.inner.options.path).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the store, making it if needed.
    ///
    /// # Errors
    /// [`EngineError::NewerFormat`] for a store of a newer version; [`EngineError::InUse`] if another
    /// process has it open; [`EngineError::Damaged`] if RocksDB finds damage, or its log does not have what was synced; a
    /// storage error. The store is unchanged then.
    pub fn open(options: Options) -> Result<Self> {
        let data = options.path.join("data");
        if options.read_only {
            refuse_if_in_use(&data)?;
        } else {
            make_durable_folder(&*options.disk, &options.path)?;
        }
        let tuning = Tuning::new(&options)?;
        tuning.check_log(&data)?;
        let mut db_options = tuning.database_options();
        tuning.limit(&mut db_options);
        tuning.apply(&mut db_options);
        let began = Instant::now();
        let db = loop {
            let families = tuning.families();
            let opened = if options.read_only {
                DB::open_cf_descriptors_read_only(&db_options, &data, families, false)
            } else {
                DB::open_cf_descriptors(&db_options, &data, families)
            };
            match opened.map_err(EngineError::from) {
                Ok(db) => break Arc::new(db),
                // A handle that was dropped without a shutdown is closed a moment later, if a background
                // thread was just looking at the store.
                Err(EngineError::InUse(text))
                    if text.contains("current process") && began.elapsed() < CLOSING =>
                {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => return Err(error),
            }
        };
        Self::assemble(db, options, tuning)
    }

    /// Takes over a RocksDB that the host opened, in the best case with [`Tuning::apply`] and
    /// [`Tuning::families`]. Families that are missing are made. `options.path` is where staged files
    /// go: on the same file system as the database, because they are hard-linked.
    ///
    /// A database that was opened without [`Tuning::apply`] works: dropped files are linked into a trash folder
    /// of our own and cut there, but files that compactions drop are deleted unpaced: its own, and ours of files that others have
    /// rows in. Of its level 0 and compaction debt the governor knows those of our families, and RocksDB's default limits. One whose
    /// `bulk` family was made without our partitioner has files that spans share, which go by range
    /// deletion. Keep no share of `db` that a thread may give up while the process ends: RocksDB aborts then; ours are kept from
    /// that. Before the database is opened, [`Tuning::check_log`] tells whether its log is whole.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn adopt(db: Arc<DB>, options: Options, tuning: Tuning) -> Result<Self> {
        make_durable_folder(&*options.disk, &options.path)?;
        mark::check_opened(&options.path, db.latest_sequence_number())?;
        for family in Family::ALL {
            if db.cf_handle(family.name()).is_none() {
                db.create_cf(family.name(), &tuning.family_options(family))?;
            }
        }
        if !tuning.is_applied() {
            tracing::warn!(
                "the database was opened without our tuning: files that its compactions drop are deleted unpaced"
            );
        }
        Self::assemble(db, options, tuning)
    }

    fn assemble(db: Arc<DB>, options: Options, tuning: Tuning) -> Result<Self> {
        let log_mark = match options.read_only {
            true => LogMark::none(),
            false => LogMark::begin(&options.path, db.path())?,
        };
        let inner = Arc::new(Inner {
            db: SharedDb::new(db),
            bulk_options: tuning.family_options(Family::Bulk),
            tuning,
            crash: CrashPlan::from_env(),
            governor: Governor::new(GovernorLimits {
                rate_max: options.background_bytes_per_second,
                ..GovernorLimits::default()
            }),
            foreground: Arc::default(),
            latches: Latches::default(),
            views: Arc::default(),
            key_locks: Arc::default(),
            counter: Counter::default(),
            reclaim: OnceLock::new(),
            feedback: OnceLock::new(),
            committer: Committer::start()?,
            ballast: Ballast::new(Arc::clone(&options.disk), &options.path, options.ballast_bytes),
            flushes: Flushes::default(),
            log_mark,
            broken: watch::Sender::new(None),
            options,
        });
        let engine = Self { inner };
        if !engine.inner.options.read_only {
            // RocksDB syncs what is in its folder, not the name of the folder; and staged files are no safer
            // than the folder of their folders. This syncs the folder that both names are in.
            make_durable_folder(engine.disk().as_ref(), &engine.staging_root())?;
            engine.crash().point("open.after_folders")?;
        }
        engine.check_format()?;
        if !engine.inner.options.read_only {
            engine.sweep_folders()?;
        }
        let shared = Shared::new(&engine, engine.inner.options.reclaim_paused)?;
        let waker = shared.clone();
        engine.inner.views.on_change(Box::new(move || waker.view_closed()));
        let handle = if engine.inner.options.read_only {
            ReclaimHandle::idle(shared)
        } else {
            ReclaimHandle::start(shared, engine.weak())?
        };
        engine.inner.reclaim.get_or_init(|| handle);
        if !engine.inner.options.read_only {
            let feedback = Feedback::start(&engine)?;
            engine.inner.feedback.get_or_init(|| feedback);
        }
        Ok(engine)
    }

    /// The folder of the store.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.options.path
    }

    /// The folder that RocksDB keeps its files in.
    #[must_use]
    pub fn data_path(&self) -> &Path {
        self.inner.db.path()
    }

    /// Applies a batch atomically. Blocks.
    ///
    /// # Errors
    /// [`EngineError::NoSpace`] for a batch with rows while the disk is nearly full: nothing was applied. A storage error: the batch was applied fully or not at all, but may already be durable; reopen
    /// the store before relying on either. [`EngineError::Crashed`] in crash tests.
    pub fn commit(&self, batch: Batch, sync: Sync) -> Result<()> {
        // Records are no foreground work: most are written for jobs.
        let began = batch.has_rows().then(|| self.inner.foreground.begin()).flatten();
        let written = self.write(batch, sync);
        let operation = if sync == Sync::Yes { Operation::SyncedWrite } else { Operation::Write };
        self.inner.foreground.end(operation, began);
        written
    }

    fn write(&self, batch: Batch, sync: Sync) -> Result<()> {
        self.inner.crash.alive()?;
        if self.inner.options.read_only {
            return Err(EngineError::ReadOnly);
        }
        if batch.has_rows() {
            self.check_space()?;
        }
        let inner = Arc::clone(&self.inner);
        let written = self.at_usual_priority(move || {
            let last = batch.write(&inner.db, sync)?;
            if let Some(last) = last {
                inner.log_mark.note_written(last);
                if sync == Sync::Yes {
                    inner.log_mark.note_synced(last);
                }
            }
            Ok(())
        })?;
        match &written {
            Err(EngineError::Storage(text)) if text.starts_with("IO error") => {
                self.note_broken(false, text);
            }
            Err(EngineError::Damaged(text)) => self.note_broken(true, text),
            Err(EngineError::NoSpace { .. }) => self.inner.ballast.release(),
            _ => {}
        }
        written
    }

    /// Whether there is space for rows and files. If not, only records are taken: what cancels, drops, ends. What is about
    /// to take space asks; batches with rows, staged files and ingest do by themselves.
    ///
    /// # Errors
    /// [`EngineError::NoSpace`] while the disk is nearly full.
    pub fn check_space(&self) -> Result<()> {
        self.inner.ballast.check()
    }

    pub(crate) fn ballast(&self) -> &Ballast {
        &self.inner.ballast
    }

    /// RocksDB takes no batch any more after an I/O error of its log (a full disk is another matter: from that it
    /// recovers by itself), as what is durable can only be told by opening the store again; nor after it met damage
    /// when it merged files.
    fn note_broken(&self, damaged: bool, text: &str) {
        let first = self.inner.broken.send_if_modified(|broken| {
            let first = broken.is_none();
            broken.get_or_insert_with(|| Broken { damaged, text: text.to_owned() });
            first
        });
        if first {
            tracing::error!(error = text, "the store takes no writes until it is opened again");
        }
    }

    /// Waits until the store takes no writes any more, and answers why. What was committed before stays readable;
    /// opening the store again makes it take writes, until it meets damage again.
    /// [`EngineError::Damaged`] if that is why, else [`EngineError::Storage`].
    pub async fn until_broken(&self) -> EngineError {
        let mut broken = self.inner.broken.subscribe();
        let Broken { damaged, text } = match broken.wait_for(Option::is_some).await {
            Ok(broken) => broken.clone().unwrap_or_default(),
            // The sender lives as long as this handle.
            Err(_) => Broken::default(),
        };
        let text = format!("the store takes no writes until it is opened again: {text}");
        if damaged { EngineError::Damaged(text) } else { EngineError::Storage(text) }
    }

    /// Does something that others wait for: on a background thread, by a thread that is not kept waiting
    /// for a processor.
    pub(crate) fn at_usual_priority<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        if is_background() { self.inner.committer.run(work) } else { Ok(work()) }
    }

    /// Applies a batch of `owner` unless the owner has moved on to a later epoch.
    ///
    /// # Errors
    /// [`EngineError::Fenced`]: nothing was applied. Otherwise as [`Engine::commit`].
    pub fn commit_fenced(
        &self,
        owner: OwnerId,
        epoch: Epoch,
        batch: Batch,
        sync: Sync,
    ) -> Result<()> {
        let latch = self.latch(owner, epoch);
        let _guard = latch.enter(epoch)?;
        self.write(batch, sync)
    }

    /// The body of a sealed record.
    ///
    /// # Errors
    /// [`EngineError::Corruption`] if the record is damaged or of another kind; a storage error.
    pub fn get_record(&self, family: Family, key: &[u8], kind: Kind) -> Result<Option<Bytes>> {
        let sealed = self.inner.db.get_cf(&handle(&self.inner.db, family)?, key)?;
        sealed.map(|sealed| open_as(family, key, kind, &Bytes::from(sealed))).transpose()
    }

    /// All records whose key begins with `prefix`, in key order, each opened or damaged. For small
    /// families: everything is read at once.
    ///
    /// # Errors
    /// A storage error.
    #[expect(clippy::type_complexity, reason = "a list of keys, each with its record or damage")]
    pub fn records(
        &self,
        family: Family,
        prefix: &[u8],
    ) -> Result<Vec<(Bytes, Result<(Kind, Bytes), Corruption>)>> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(prefix);
        if let Some(upper) = key::prefix_end(prefix) {
            options.set_iterate_upper_bound(upper);
        }
        let handle = handle(&self.inner.db, family)?;
        let mut iterator = self.inner.db.raw_iterator_cf_opt(&handle, options);
        iterator.seek_to_first();
        let mut records = Vec::new();
        while let Some((key, value)) = iterator.key().zip(iterator.value()) {
            let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            let opened = envelope::open(family, &key, &value)
                .map(|(kind, body)| (kind, value.slice_ref(body)));
            records.push((key, opened));
            iterator.next();
        }
        iterator.status()?;
        Ok(records)
    }

    /// The latest row under a key-encoded primary key.
    ///
    /// # Errors
    /// A storage error.
    pub fn get_row(&self, span: SpanRef, user_key: &[u8]) -> Result<Option<Bytes>> {
        let began = self.inner.foreground.begin();
        let family = handle(&self.inner.db, span.family.into())?;
        let row = self.inner.db.get_cf(&family, key::row_key(span.id, user_key));
        self.inner.foreground.end(Operation::Read, began);
        Ok(row?.map(Bytes::from))
    }

    /// A view of the store as it is now.
    #[must_use]
    pub fn view(&self) -> ReadView {
        self.inner.views.open(&self.inner.db, &self.inner.foreground)
    }

    /// An empty set of row changes.
    #[must_use]
    pub fn write_set(&self) -> WriteSet {
        WriteSet::new(self.clone())
    }

    /// An id that was never handed out before. Blocks for a synced write once in 256 calls.
    ///
    /// # Errors
    /// A storage error.
    pub fn new_span_id(&self) -> Result<SpanId> {
        self.inner.counter.next(self)
    }

    /// The latch of an owner; one that does not exist yet is made at `epoch`, the owner's current
    /// one as stored.
    #[must_use]
    pub fn latch(&self, owner: OwnerId, epoch: Epoch) -> Arc<Latch> {
        self.inner.latches.of(owner, epoch)
    }

    /// Forgets the latch of an owner that has ended for good. No worker of it may run any more: a latch
    /// made anew would believe whatever epoch asks for it first.
    pub fn forget_latch(&self, owner: OwnerId) {
        self.inner.latches.forget(owner);
    }

    /// The budget that all background work shares.
    #[must_use]
    pub fn governor(&self) -> &Governor {
        &self.inner.governor
    }

    /// The disk under files of our own: for what a job keeps in its staging folder.
    #[must_use]
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.inner.options.disk
    }

    /// What is known of the foreground's latency. Reads and writes through this engine are measured by
    /// themselves; a host reports what it does beside it.
    #[must_use]
    pub fn foreground(&self) -> &Foreground {
        &self.inner.foreground
    }

    /// The reclaimer: wakes, pauses, tells what is left.
    ///
    /// # Panics
    /// Never: it is set before `open` returns.
    #[must_use]
    pub fn reclaimer(&self) -> &ReclaimHandle {
        self.inner.reclaim.get().expect("the reclaimer is started before `open` returns")
    }

    /// Hands condemned spans and folders to the reclaimer. Call it after the batch that condemned
    /// them is committed and, for a job's claims, after its latch is raised. Forgetting the call is
    /// harmless: the next open finds the tombstones.
    pub fn condemned(&self, ids: &[SpanId]) {
        let sequence = self.inner.db.latest_sequence_number();
        self.reclaimer().add(self, ids, sequence);
    }

    /// The plan of crash tests; inert until armed.
    #[must_use]
    pub fn crash(&self) -> &CrashPlan {
        &self.inner.crash
    }

    /// Bytes of the span's files, estimated from their indexes; keys in memory are not counted.
    #[must_use]
    pub fn span_bytes(&self, span: SpanRef) -> u64 {
        let Ok(family) = handle(&self.inner.db, span.family.into()) else { return 0 };
        let (lower, upper) = key::span_bounds(span.id);
        let range = rocksdb::Range::new(&lower, &upper);
        self.inner.db.get_approximate_sizes_cf(&family, &[range]).first().copied().unwrap_or(0)
    }

    /// At most `parts - 1` ascending user keys that cut the span into pieces of similar size, taken
    /// from the bounds of its files. Empty for a span with few files.
    #[must_use]
    pub fn split_points(&self, span: SpanRef, parts: usize) -> Vec<Bytes> {
        let mut starts: Vec<Bytes> = self
            .live_files(span.family.into())
            .unwrap_or_default()
            .into_iter()
            .filter_map(|file| match key::split_row_key(&file.first) {
                Some((id, user_key)) if id == span.id => Some(Bytes::copy_from_slice(user_key)),
                _ => None,
            })
            .collect();
        starts.sort_unstable();
        starts.dedup();
        let pieces = parts.min(starts.len());
        (1..pieces).filter_map(|part| starts.get(part * starts.len() / pieces).cloned()).collect()
    }

    /// Stops the background threads and waits for them. Work left over goes on at the next open.
    pub fn shutdown(&self) {
        if let Some(feedback) = self.inner.feedback.get() {
            feedback.stop();
        }
        self.tuning().set_compaction_rate(None);
        self.reclaimer().stop();
        self.inner.db.cancel_all_background_work(true);
        if !self.inner.options.read_only && !self.inner.crash.is_dead() {
            self.inner.log_mark.close(&self.inner.db);
        }
    }

    pub(crate) fn db(&self) -> &SharedDb {
        &self.inner.db
    }

    pub(crate) fn flushes(&self) -> &Flushes {
        &self.inner.flushes
    }

    pub(crate) fn bulk_options(&self) -> &RocksOptions {
        &self.inner.bulk_options
    }

    pub(crate) fn tuning(&self) -> &Tuning {
        &self.inner.tuning
    }

    pub(crate) fn views(&self) -> &Arc<Views> {
        &self.inner.views
    }

    pub(crate) fn key_locks(&self) -> &Arc<KeyLocks> {
        &self.inner.key_locks
    }

    pub(crate) fn weak(&self) -> WeakEngine {
        WeakEngine(Arc::downgrade(&self.inner))
    }

    /// Refuses a newer store; marks a new one.
    fn check_format(&self) -> Result<()> {
        let Some(body) = self.get_record(Family::Catalog, FORMAT_KEY, kind::FORMAT)? else {
            let mut batch = Batch::new();
            let version = FORMAT_VERSION.to_be_bytes();
            batch.put_record(Family::Catalog, FORMAT_KEY, kind::FORMAT, &version);
            self.crash().point("open.before_format")?;
            self.commit(batch, Sync::Yes)?;
            return self.crash().point("open.after_format");
        };
        let found = record::format_version(FORMAT_KEY, &body)?;
        if found > FORMAT_VERSION {
            return Err(EngineError::NewerFormat { found, supported: FORMAT_VERSION });
        }
        Ok(())
    }

    /// Removes folders that no claim and no tombstone names: what a crash left between a publishing batch
    /// and the removal of its empty folder.
    fn sweep_folders(&self) -> Result<()> {
        for name in self.orphan_folders()? {
            let dir = self.path().join(&name);
            tracing::info!(folder = name, "removing a folder that nobody claims");
            self.crash().point("open.before_sweep")?;
            remove_all(self.disk().as_ref(), &dir)?;
            self.crash().point("open.after_sweep")?;
        }
        Ok(())
    }

    /// Folders of staged and of dropped files that no claim and no tombstone names: `staging/0a`.
    pub(crate) fn orphan_folders(&self) -> Result<Vec<String>> {
        let mut owned: Vec<SpanId> = self.claims()?.iter().map(|claim| claim.id).collect();
        for tombstone in self.tombstones()? {
            owned.push(tombstone?.id);
        }
        let mut orphans = Vec::new();
        for kind in [STAGING, TRASH] {
            for path in list(self.disk().as_ref(), &self.path().join(kind))? {
                let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else {
                    continue;
                };
                if staging_id(&name).is_none_or(|id| !owned.contains(&id)) {
                    orphans.push(format!("{kind}/{name}"));
                }
            }
        }
        Ok(orphans)
    }
}

/// A read-only open takes no lock, so it looks at the lock of a writer first.
fn refuse_if_in_use(data: &Path) -> Result<()> {
    let path = data.join("LOCK");
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|source| io_error("open", &path, source))?;
    rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| EngineError::InUse(format!("{} is locked", path.display())))
}

/// The handle of a family.
pub(crate) fn handle(db: &DB, family: Family) -> Result<Arc<BoundColumnFamily<'_>>> {
    db.cf_handle(family.name())
        .ok_or_else(|| EngineError::Storage(format!("family {} is not open", family.name())))
}

#[cfg(test)]
#[path = "damage_test.rs"]
mod damage_test;
