//! The only unsafe module: calls that the `rocksdb` crate does not offer, behind safe faces.
//!
//! What is here, and why it cannot be had otherwise:
//! - [`FileManager`]: paced file deletion in steps of our size (C++ shim, `shim/cutting.h`);
//! - [`keep_files_in_doubt`]: a file system that removes no sorted file whose record may be read (shim);
//! - `FaultyDisk`, for tests: RocksDB's fault-injection file system (`shim/faults.cc`), and `cut_trash`, which counts how trash goes;
//! - [`lower_thread_priority`]: of one thread, not of the process (shim);
//! - [`partition_by_prefix`]: the fixed-prefix SST partitioner;
//! - [`uncache_dropped_files`] and [`rewrite_after_snapshots`]: options of a family;
//! - [`verify_file`]: the checksums of a file that is in no database (shim);
//! - [`write`]: the crate's call takes the batch, which has the sequence number afterwards;
//! - [`at_exit`]: the C library's;
//! - [`SstWriter`]: the crate's writer borrows itself for its whole life;
//! - [`compact_files`]: a manual compaction that can be cancelled and reports its error;
//! - [`OwnedSnapshot`] and [`OwnedIterator`]: snapshots and iterators that keep their database
//!   alive instead of borrowing it, so that they can cross threads.
//!
//! Rules kept by every function: handles are passed on while their owner is borrowed; every
//! error string is freed; nothing is destroyed twice. The C signatures come from the bindings
//! that were generated from the same RocksDB headers, so a changed signature does not compile, but for those that are in none of them (below).
#![expect(unsafe_code, reason = "the one module that is allowed to call RocksDB's C interface")]

use std::ffi::{CStr, CString, c_char, c_int, c_uchar, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use librocksdb_sys as sys;
use rocksdb::{AsColumnFamilyRef, AsRawPtr as _, DB, DBRawIteratorWithThreadMode, Options};
use rocksdb::{ReadOptions, SnapshotWithThreadMode, WriteBatch};

use crate::closing::SharedDb;
use crate::error::{EngineError, Result, storage_text};

#[repr(C)]
struct RawFileManager {
    _opaque: [u8; 0],
}

#[repr(C)]
struct RawRateLimiter {
    _opaque: [u8; 0],
}

// `db/c.cc` has these, and `rocksdb/c.h` does not name them, so there are no bindings.
unsafe extern "C" {
    fn rocksdb_abort_all_compactions(db: *mut sys::rocksdb_t);
    fn rocksdb_resume_all_compactions(db: *mut sys::rocksdb_t);
}

// The C library's, of every C program.
unsafe extern "C" {
    fn atexit(call: extern "C" fn()) -> c_int;
}

unsafe extern "C" {
    fn cairn_file_manager_new(ratio: f64, chunk: u64) -> *mut RawFileManager;
    fn cairn_options_set_file_manager(options: *mut c_void, manager: *mut RawFileManager);
    fn cairn_options_keep_files_in_doubt(options: *mut c_void) -> c_int;
    fn cairn_file_manager_set_pace(manager: *mut RawFileManager, rate: u64, step: u64, rest: u32);
    fn cairn_file_manager_trash_bytes(manager: *mut RawFileManager) -> u64;
    fn cairn_file_manager_free(manager: *mut RawFileManager, rate: u64);
    fn cairn_rate_limiter_new(rate: i64, period_micros: i64) -> *mut RawRateLimiter;
    fn cairn_options_set_rate_limiter(
        options: *mut c_void,
        limiter: *mut RawRateLimiter,
        delayed: u64,
    );
    fn cairn_rate_limiter_set(limiter: *mut RawRateLimiter, rate: i64);
    fn cairn_rate_limiter_free(limiter: *mut RawRateLimiter, rate: i64);
    fn cairn_lower_thread_priority(nice: c_int) -> c_int;
    fn cairn_verify_file(options: *const c_void, path: *const c_char) -> *mut c_char;
}

/// RocksDB's file manager: deleted files are renamed to trash and cut from the tail in steps.
#[derive(Debug)]
pub(crate) struct FileManager(NonNull<RawFileManager>);

// SAFETY: the C++ object guards its state with its own mutex.
unsafe impl Send for FileManager {}
// SAFETY: as above.
unsafe impl Sync for FileManager {}

/// Bytes per second for a database that outlives its engine while reclaim is paused.
const ORPHANED_RATE: u64 = 128 << 20;

impl FileManager {
    /// A manager that frees what is dropped in steps of at most `chunk_bytes`, once its pace is set.
    pub(crate) fn new(chunk_bytes: u64) -> Result<Self> {
        // RocksDB deletes at once, unpaced, what is more trash than this share of the files it knows; and it does not
        // know of ingested files before the next open. No finite share is enough: of nothing it is nothing.
        let share = f64::INFINITY;
        // SAFETY: no pointers go in; null is checked.
        let raw = unsafe { cairn_file_manager_new(share, chunk_bytes) };
        NonNull::new(raw)
            .map(Self)
            .ok_or_else(|| EngineError::Storage("could not make a file manager".to_owned()))
    }

    /// Makes databases opened with `options` delete their files through this manager.
    pub(crate) fn attach(&self, options: &mut Options) {
        // SAFETY: both objects are alive; the options keep a shared copy of their own.
        unsafe { cairn_options_set_file_manager(options.as_raw_ptr().cast(), self.0.as_ptr()) }
    }

    /// Changes the rate (0: nothing goes), the bytes of a step (above the chunk: the chunk), and how many times
    /// as long as a step took nothing is cut after it. The file being cut follows at its next step.
    pub(crate) fn set_pace(&self, bytes_per_second: u64, step_bytes: u64, rest: u32) {
        // SAFETY: the manager is alive while `self` is; what it changes are atomics on the C++ side.
        unsafe {
            cairn_file_manager_set_pace(self.0.as_ptr(), bytes_per_second, step_bytes, rest);
        }
    }

    /// Bytes in the trash that are not yet freed.
    pub(crate) fn trash_bytes(&self) -> u64 {
        // SAFETY: the manager is alive while `self` is; the counter is an atomic on the C++ side.
        unsafe { cairn_file_manager_trash_bytes(self.0.as_ptr()) }
    }
}

impl Drop for FileManager {
    fn drop(&mut self) {
        // SAFETY: made by `cairn_file_manager_new`, freed once, here.
        unsafe { cairn_file_manager_free(self.0.as_ptr(), ORPHANED_RATE) }
    }
}

/// The rate at which RocksDB's flushes and compactions write. As long as there is one, the process has a thread more for either.
#[derive(Debug)]
pub(crate) struct RateLimiter(NonNull<RawRateLimiter>);

// SAFETY: the C++ object guards its state with its own mutex.
unsafe impl Send for RateLimiter {}
// SAFETY: as above.
unsafe impl Sync for RateLimiter {}

/// What RocksDB may write in one go is a hundredth of a second's rate.
const RATE_PERIOD_MICROS: i64 = 10_000;

/// Bytes per second that are one byte in a period: of less RocksDB would write nothing, for ever.
const RATE_LEAST: i64 = 100;

/// Bytes per second that no disk writes, and whose product with the period is a number.
const RATE_UNLIMITED: i64 = 1 << 40;

/// Bytes per second that RocksDB takes from writers when it slows them down: what it has without a limiter.
const DELAYED_WRITE_RATE: u64 = 16 << 20;

impl RateLimiter {
    /// Without a limit.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: no pointers go in; null is checked.
        let raw = unsafe { cairn_rate_limiter_new(RATE_UNLIMITED, RATE_PERIOD_MICROS) };
        NonNull::new(raw)
            .map(Self)
            .ok_or_else(|| EngineError::Storage("could not make a rate limiter".to_owned()))
    }

    /// Makes databases opened with `options` flush and compact at this rate.
    pub(crate) fn attach(&self, options: &mut Options) {
        let limiter = self.0.as_ptr();
        // SAFETY: both objects are alive; the options keep a shared copy of their own.
        unsafe {
            let options = options.as_raw_ptr().cast();
            cairn_options_set_rate_limiter(options, limiter, DELAYED_WRITE_RATE);
        }
    }

    /// Bytes per second from now on; `None` for no limit. What waits follows within a hundredth of a second.
    pub(crate) fn set(&self, rate: Option<u64>) {
        let rate = rate.map_or(RATE_UNLIMITED, |rate| {
            i64::try_from(rate).unwrap_or(RATE_UNLIMITED).clamp(RATE_LEAST, RATE_UNLIMITED)
        });
        // SAFETY: the limiter is alive while `self` is; it has a mutex of its own.
        unsafe { cairn_rate_limiter_set(self.0.as_ptr(), rate) }
    }
}

impl Drop for RateLimiter {
    fn drop(&mut self) {
        // SAFETY: made by `cairn_rate_limiter_new`, freed once, here.
        unsafe { cairn_rate_limiter_free(self.0.as_ptr(), RATE_UNLIMITED) }
    }
}

/// Makes databases opened with `options` keep every sorted file of their folder from a failed write of the MANIFEST
/// until a new one is current: RocksDB's ingest removes the file that it linked when the record that adds it could not
/// be synced, though the record may be in the MANIFEST and be read at the next open, which would then fail.
/// Options with an environment of their own keep that instead; answers false then.
pub(crate) fn keep_files_in_doubt(options: &mut Options) -> bool {
    // SAFETY: the options are alive; the file system that they point to is never freed.
    unsafe { cairn_options_keep_files_in_doubt(options.as_raw_ptr().cast()) == 1 }
}

/// Has a function called when the process ends by `exit` or the end of `main`, before those that were registered earlier.
/// Answers false if it will not be.
pub(crate) fn at_exit(call: extern "C" fn()) -> bool {
    // SAFETY: a function without arguments that lives as long as the program.
    unsafe { atexit(call) == 0 }
}

/// How much lower than usual background threads stand in line for a processor: they still get about a
/// tenth of it when the foreground wants all, so what waits for their locks does not wait for ever.
const BACKGROUND_NICE: c_int = 10;

/// Lets everybody else go first when processors are short, for the calling thread and those that it
/// starts. There is no way back without privileges: for threads that do nothing else.
pub(crate) fn lower_thread_priority() {
    // SAFETY: a system call about the calling thread, without pointers.
    let answer = unsafe { cairn_lower_thread_priority(BACKGROUND_NICE) };
    if answer != 0 {
        // Where it is forbidden, everything works as before, only less gently.
        tracing::debug!("the priority of a background thread could not be lowered");
    }
}

/// Makes compactions cut their output files where the first `length` bytes of the key change.
pub(crate) fn partition_by_prefix(options: &mut Options, length: usize) {
    // SAFETY: the options copy the shared pointer; our handle is destroyed once, right after.
    unsafe {
        let factory = sys::rocksdb_sst_partitioner_fixed_prefix_factory_create(length);
        sys::rocksdb_options_set_sst_partitioner_factory(options.as_raw_ptr(), factory);
        sys::rocksdb_sst_partitioner_factory_destroy(factory);
    }
}

/// How hard RocksDB tries to take the blocks of a dropped file out of the block cache: as long as one in twenty is
/// still there. Its own proposal for a later default.
const UNCACHE_AGGRESSIVENESS: u32 = 300;

/// Takes the blocks of dropped files out of the block cache, instead of waiting until they are its oldest: those of
/// a cancelled job are read by nobody, and hold the place of blocks that the foreground would read.
pub(crate) fn uncache_dropped_files(options: &mut Options) {
    // SAFETY: the options are alive; a number goes in.
    unsafe {
        sys::rocksdb_options_set_uncache_aggressiveness(
            options.as_raw_ptr(),
            UNCACHE_AGGRESSIVENESS,
        );
    }
}

/// How old a file has to be before it is rewritten because a snapshot that its rows were kept for has closed.
pub(crate) fn rewrite_after_snapshots(options: &mut Options, seconds: u32) {
    // SAFETY: the options are alive; a number goes in.
    unsafe {
        sys::rocksdb_options_set_bottommost_file_compaction_delay(options.as_raw_ptr(), seconds);
    }
}

/// Turns RocksDB's error out-string into a typed error and frees it.
///
/// # Safety
/// `error` is null or a string that RocksDB allocated for the caller.
unsafe fn check(error: *mut c_char) -> Result<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: by the contract above it is a NUL-terminated string that we own.
    let text = unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned();
    // SAFETY: as above; not used again.
    unsafe { sys::rocksdb_free(error.cast()) };
    Err(storage_text(&text))
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| EngineError::Invalid(format!("path {} contains a zero byte", path.display())))
}

/// Staged files go to the disk as they are written. Otherwise the sync at their end writes tens of
/// megabytes at once: others on the disk queue behind it, and a cancel waits for it. Strictly: the
/// writer waits for what it began to write before it begins more.
const STAGED_BYTES_PER_SYNC: u64 = 1 << 20;

/// Builds one sorted SST file outside of the database.
#[derive(Debug)]
pub(crate) struct SstWriter(NonNull<sys::rocksdb_sstfilewriter_t>);

// SAFETY: the C++ writer has no thread affinity, and `&mut self` keeps calls apart.
unsafe impl Send for SstWriter {}

impl SstWriter {
    /// A writer with the table options of the family that will take the file in.
    pub(crate) fn new(options: &Options) -> Self {
        // SAFETY: the writer copies both option objects; the env options are destroyed once.
        let raw = unsafe {
            let env = sys::rocksdb_envoptions_create();
            sys::rocksdb_envoptions_set_bytes_per_sync(env, STAGED_BYTES_PER_SYNC);
            sys::rocksdb_envoptions_set_strict_bytes_per_sync(env, 1);
            let raw = sys::rocksdb_sstfilewriter_create(env, options.as_raw_ptr());
            sys::rocksdb_envoptions_destroy(env);
            raw
        };
        Self(NonNull::new(raw).expect("operator new throws instead of returning null"))
    }

    /// Starts the file at `path`.
    pub(crate) fn open(&mut self, path: &Path) -> Result<()> {
        let path = c_path(path)?;
        let mut error = std::ptr::null_mut();
        // SAFETY: the writer is alive; `path` outlives the call.
        unsafe {
            sys::rocksdb_sstfilewriter_open(self.0.as_ptr(), path.as_ptr(), &raw mut error);
            check(error)
        }
    }

    /// Appends a key above all earlier ones.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut error = std::ptr::null_mut();
        // SAFETY: the writer is alive; key and value are copied by the call.
        unsafe {
            sys::rocksdb_sstfilewriter_put(
                self.0.as_ptr(),
                key.as_ptr().cast(),
                key.len(),
                value.as_ptr().cast(),
                value.len(),
                &raw mut error,
            );
            check(error)
        }
    }

    /// Bytes written to the file so far.
    pub(crate) fn file_bytes(&self) -> u64 {
        let mut size = 0;
        // SAFETY: the writer is alive; `size` is a valid place.
        unsafe { sys::rocksdb_sstfilewriter_file_size(self.0.as_ptr(), &raw mut size) };
        size
    }

    /// Completes and syncs the file. It must hold at least one key.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let mut error = std::ptr::null_mut();
        // SAFETY: the writer is alive.
        unsafe {
            sys::rocksdb_sstfilewriter_finish(self.0.as_ptr(), &raw mut error);
            check(error)
        }
    }
}

impl Drop for SstWriter {
    fn drop(&mut self) {
        // SAFETY: made by `create`, destroyed once, here.
        unsafe { sys::rocksdb_sstfilewriter_destroy(self.0.as_ptr()) }
    }
}

/// Reads a finished file back and compares the checksum of every block. `options` are those it was written with.
///
/// # Errors
/// [`EngineError::Damaged`] if a block is not what was written; a storage error.
pub(crate) fn verify_file(options: &Options, path: &Path) -> Result<()> {
    let path = c_path(path)?;
    // SAFETY: options and path outlive the call; the string that comes back is ours.
    unsafe { check(cairn_verify_file(options.as_raw_ptr().cast(), path.as_ptr())) }
}

/// Ends [`compact_files`] from another thread, and lets none begin.
///
/// RocksDB looks at the flag of a compaction of named files only before it begins. What ends one that runs is
/// `AbortAllCompactions`, for all of the database: those that RocksDB had begun by itself would begin again when
/// the files of their family change next, by a flush for example, which may never come.
#[derive(Debug)]
pub(crate) struct CompactionStop {
    flag: NonNull<c_uchar>,
    /// The database in which a compaction runs.
    running: Mutex<Option<SharedDb>>,
}

// SAFETY: the flag is an atomic on the C++ side; the rest is safe to send by itself.
unsafe impl Send for CompactionStop {}
// SAFETY: as above.
unsafe impl Sync for CompactionStop {}

impl CompactionStop {
    /// A flag that is not set.
    pub(crate) fn new() -> Self {
        // SAFETY: no arguments; null is checked.
        let raw = unsafe { sys::rocksdb_compaction_options_canceled_create() };
        let flag = NonNull::new(raw).expect("operator new throws instead of returning null");
        Self { flag, running: Mutex::new(None) }
    }

    /// Sets the flag, or takes it back.
    pub(crate) fn set(&self, stop: bool) {
        // SAFETY: the flag is alive while `self` is.
        unsafe { sys::rocksdb_compaction_options_canceled_set(self.flag.as_ptr(), stop.into()) }
    }

    /// Ends the compaction that runs, if one does, and waits for that. It looks whether it shall end once in a thousand
    /// rows that it keeps: mostly some milliseconds, at worst as long as it takes. Set the flag before: a compaction that is
    /// about to begin looks at it, under the lock that this waits for, before it counts as running.
    /// Those of RocksDB's own begin again at once in these families; a database that is about to be closed needs none.
    pub(crate) fn end_running(&self, families: &[&str]) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(db) = running else { return };
        // SAFETY: the database outlives both calls.
        unsafe {
            rocksdb_abort_all_compactions(db.as_raw_ptr());
            rocksdb_resume_all_compactions(db.as_raw_ptr());
        }
        for name in families {
            let family = db.cf_handle(name);
            let looked = family.map_or(Ok(()), |family| look_for_compactions(&db, &family));
            if let Err(error) = looked {
                tracing::warn!(family = name, %error, "compactions wait for the next flush");
            }
        }
    }

    fn note_running(&self, db: Option<&SharedDb>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = db.cloned();
    }
}

impl Drop for CompactionStop {
    fn drop(&mut self) {
        // SAFETY: made by `create`, destroyed once, here; `compact_files` borrows it while it runs.
        unsafe { sys::rocksdb_compaction_options_canceled_destroy(self.flag.as_ptr()) }
    }
}

/// Applies a batch, and syncs the log if that is wanted. Answers the sequence number of its last change; `None` if it has none.
///
/// RocksDB writes the number of the first change into the batch when it has its place in the log
/// (`WriteBatchInternal::SetSequence`), also in one that goes there with others.
pub(crate) fn write(db: &DB, batch: &WriteBatch, sync: bool) -> Result<Option<u64>> {
    let data = batch.data();
    let mut error = std::ptr::null_mut();
    // SAFETY: the database outlives the call; options and the copy of the batch are destroyed once, after their last use;
    // the data of a batch belongs to it and is copied from before, eight bytes of it if there are as many.
    let (sequence, count) = unsafe {
        let options = sys::rocksdb_writeoptions_create();
        sys::rocksdb_writeoptions_set_sync(options, sync.into());
        let batch = sys::rocksdb_writebatch_create_from(data.as_ptr().cast(), data.len());
        sys::rocksdb_write(db.as_raw_ptr(), options, batch, &raw mut error);
        let mut length = 0;
        let data = sys::rocksdb_writebatch_data(batch, &raw mut length);
        let data = std::slice::from_raw_parts(data.cast::<u8>(), length);
        let sequence = data.first_chunk().copied().map_or(0, u64::from_le_bytes);
        let count = sys::rocksdb_writebatch_count(batch);
        sys::rocksdb_writebatch_destroy(batch);
        sys::rocksdb_writeoptions_destroy(options);
        check(error)?;
        (sequence, count)
    };
    let more = u64::try_from(count).ok().and_then(|count| count.checked_sub(1));
    Ok(more.map(|more| sequence.saturating_add(more)))
}

/// Compacts the named files (names as in the list of live files) into `output_level`.
///
/// # Errors
/// A file that is gone or already being compacted, a set `stop`, or a storage error. Nothing has
/// changed then.
pub(crate) fn compact_files(
    db: &SharedDb,
    family: &impl AsColumnFamilyRef,
    names: &[String],
    output_level: i32,
    stop: &CompactionStop,
) -> Result<()> {
    let names = names
        .iter()
        .map(|name| CString::new(name.as_str()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| EngineError::Invalid("a file name contains a zero byte".to_owned()))?;
    let pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let mut error = std::ptr::null_mut();
    stop.note_running(Some(db));
    // SAFETY: database, family, names and the flag outlive the call; the options are destroyed
    // once; null output names and job info mean that none are wanted (db/c.cc).
    let compacted = unsafe {
        let options = sys::rocksdb_compaction_options_create();
        sys::rocksdb_compaction_options_set_max_subcompactions(options, 1);
        sys::rocksdb_compaction_options_set_canceled(options, stop.flag.as_ptr());
        sys::rocksdb_compact_files_cf(
            db.as_raw_ptr(),
            family.inner(),
            options,
            pointers.as_ptr(),
            pointers.len(),
            output_level,
            -1,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            &raw mut error,
        );
        sys::rocksdb_compaction_options_destroy(options);
        check(error)
    };
    stop.note_running(None);
    compacted.map_err(|error| match error {
        // A named file is gone: an automatic compaction was faster.
        EngineError::Storage(text) if text.starts_with("Invalid argument") => {
            EngineError::Busy(text)
        }
        other => other,
    })
}

/// Lets RocksDB look whether a family needs a compaction, as it does by itself when the files of the family change, and not after one of its
/// own was ended.
///
/// It is told that a range may be worth it in which there is no key: it marks no file, and looks (db_impl_experimental.cc).
///
/// # Errors
/// A storage error.
fn look_for_compactions(db: &DB, family: &impl AsColumnFamilyRef) -> Result<()> {
    const NO_KEY: [u8; 32] = [0xff; 32];
    let (key, length) = (NO_KEY.as_ptr().cast(), NO_KEY.len());
    let mut error = std::ptr::null_mut();
    // SAFETY: database, family and key outlive the call.
    unsafe {
        sys::rocksdb_suggest_compact_range_cf(
            db.as_raw_ptr(),
            family.inner(),
            key,
            length,
            key,
            length,
            &raw mut error,
        );
        check(error)
    }
}

/// A snapshot that keeps its database alive.
pub(crate) struct OwnedSnapshot {
    // Dropped before the database it belongs to: fields are dropped in this order.
    snapshot: SnapshotWithThreadMode<'static, DB>,
    db: SharedDb,
}

impl OwnedSnapshot {
    /// The state of the database now.
    pub(crate) fn new(db: &SharedDb) -> Self {
        let snapshot = db.snapshot();
        // SAFETY: only the lifetime changes. The snapshot borrows the `DB` inside of the share, which
        // never moves and, held by this struct, outlives it (see the order of fields).
        let snapshot = unsafe {
            std::mem::transmute::<SnapshotWithThreadMode<'_, DB>, SnapshotWithThreadMode<'static, DB>>(
                snapshot,
            )
        };
        Self { snapshot, db: db.clone() }
    }

    /// The sequence number up to which the snapshot sees writes.
    pub(crate) fn sequence(&self) -> u64 {
        self.snapshot.sequence_number()
    }

    /// The value under `key` as of the snapshot.
    pub(crate) fn get(
        &self,
        family: &impl AsColumnFamilyRef,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>> {
        self.snapshot.get_cf(family, key).map_err(Into::into)
    }

    /// Read options bound to the snapshot.
    fn read_options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.snapshot);
        options
    }
}

/// An iterator that keeps its snapshot, and so its database, alive.
pub(crate) struct OwnedIterator {
    // Dropped before the snapshot it reads from: fields are dropped in this order.
    iterator: DBRawIteratorWithThreadMode<'static, DB>,
    _snapshot: Arc<OwnedSnapshot>,
}

impl OwnedIterator {
    /// An iterator over `[lower, upper)` of the family as of the snapshot, not yet positioned.
    pub(crate) fn new(
        snapshot: &Arc<OwnedSnapshot>,
        family: &impl AsColumnFamilyRef,
        lower: Vec<u8>,
        upper: Vec<u8>,
    ) -> Self {
        let mut options = snapshot.read_options();
        options.set_iterate_lower_bound(lower);
        options.set_iterate_upper_bound(upper);
        options.set_auto_readahead_size(true);
        let iterator = snapshot.db.raw_iterator_cf_opt(family, options);
        // SAFETY: only the lifetime changes. The iterator borrows the `DB` inside the `Arc` that
        // the snapshot holds, and this struct holds the snapshot longer than the iterator.
        let iterator = unsafe {
            std::mem::transmute::<
                DBRawIteratorWithThreadMode<'_, DB>,
                DBRawIteratorWithThreadMode<'static, DB>,
            >(iterator)
        };
        Self { iterator, _snapshot: Arc::clone(snapshot) }
    }

    /// The iterator itself.
    pub(crate) fn get(&mut self) -> &mut DBRawIteratorWithThreadMode<'static, DB> {
        &mut self.iterator
    }
}

#[cfg(test)]
#[repr(C)]
struct RawFaultyDisk {
    _opaque: [u8; 0],
}

#[cfg(test)]
unsafe extern "C" {
    fn cairn_faulty_disk_new(loses: c_int) -> *mut RawFaultyDisk;
    fn cairn_faulty_disk_attach(disk: *mut RawFaultyDisk, options: *mut c_void, manifest: u64);
    fn cairn_faulty_disk_fail_sync(disk: *mut RawFaultyDisk, nth: c_int) -> c_int;
    fn cairn_faulty_disk_unlinkable(disk: *mut RawFaultyDisk);
    fn cairn_faulty_disk_off(disk: *mut RawFaultyDisk);
    fn cairn_faulty_disk_on(disk: *mut RawFaultyDisk) -> c_int;
    fn cairn_cut_trash(path: *const c_char, chunk: u64, step: u64, found: *mut u64) -> c_int;
}

/// How a file of RocksDB's trash reached the disk.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cuts {
    pub(crate) cuts: u64,
    pub(crate) syncs: u64,
    /// The most that was cut between two syncs.
    pub(crate) unsynced_max: u64,
}

/// Removes a file whose name ends with `.trash` as RocksDB's file manager does, in chunks of so many bytes, through the file
/// system that cuts them in steps.
#[cfg(test)]
pub(crate) fn cut_trash(path: &Path, chunk_bytes: u64, step_bytes: u64) -> Cuts {
    let path = CString::new(path.as_os_str().as_bytes()).expect("a path has no zero");
    let mut found = [0; 3];
    // SAFETY: the path ends with a zero, and three numbers are written.
    let failed =
        unsafe { cairn_cut_trash(path.as_ptr(), chunk_bytes, step_bytes, found.as_mut_ptr()) };
    assert_eq!(failed, 0, "the file is removed");
    let [cuts, syncs, unsynced_max] = found;
    Cuts { cuts, syncs, unsynced_max }
}

/// A disk under RocksDB that loses what was not synced, and on which a sync fails, when a test says so. Never freed.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct FaultyDisk {
    raw: NonNull<RawFaultyDisk>,
    /// Bytes of a MANIFEST after which the next record begins a new one; 0 for RocksDB's own rule.
    manifest_bytes: u64,
}

#[cfg(test)]
// SAFETY: the C++ object guards its state with its own mutex.
unsafe impl Send for FaultyDisk {}
#[cfg(test)]
// SAFETY: as above.
unsafe impl Sync for FaultyDisk {}

#[cfg(test)]
impl FaultyDisk {
    /// One whose power can be cut.
    pub(crate) fn that_loses() -> Self {
        Self::new(1)
    }

    /// One that keeps what was written, synced or not, as an operating system does for a process that died.
    pub(crate) fn that_keeps() -> Self {
        Self::new(0)
    }

    /// The same disk, which has no hard links.
    pub(crate) fn that_cannot_link(self) -> Self {
        // SAFETY: the disk is never freed.
        unsafe { cairn_faulty_disk_unlinkable(self.raw.as_ptr()) };
        self
    }

    /// The same disk, for databases whose MANIFEST is begun anew with the record after so many bytes. RocksDB waits for a
    /// quarter more with the records of an ingest.
    pub(crate) fn that_rolls_at(self, manifest_bytes: u64) -> Self {
        Self { manifest_bytes, ..self }
    }

    fn new(loses: c_int) -> Self {
        // SAFETY: no pointers go in.
        let raw = unsafe { cairn_faulty_disk_new(loses) };
        let raw = NonNull::new(raw).expect("operator new throws instead of returning null");
        Self { raw, manifest_bytes: 0 }
    }

    /// Databases opened with `options` are on this disk.
    pub(crate) fn attach(self, options: &mut Options) {
        // SAFETY: the options are alive, the disk is never freed.
        unsafe {
            cairn_faulty_disk_attach(
                self.raw.as_ptr(),
                options.as_raw_ptr().cast(),
                self.manifest_bytes,
            );
        }
    }

    /// The nth sync of a MANIFEST or of a folder from now on fails, after what it was to make safe was written; 1 is
    /// the next, and none below. Answers whether the sync that was to fail before has come.
    pub(crate) fn fail_sync(self, nth: i32) -> bool {
        // SAFETY: the disk is never freed.
        let left = unsafe { cairn_faulty_disk_fail_sync(self.raw.as_ptr(), nth) };
        left <= 0
    }

    /// The power goes: nothing reaches the disk any more.
    pub(crate) fn off(self) {
        // SAFETY: the disk is never freed.
        unsafe { cairn_faulty_disk_off(self.raw.as_ptr()) }
    }

    /// The power comes back, once nothing has the database open: what was not synced is gone.
    pub(crate) fn on(self) {
        // SAFETY: the disk is never freed.
        assert_eq!(unsafe { cairn_faulty_disk_on(self.raw.as_ptr()) }, 0, "what was lost is lost");
    }
}

#[cfg(test)]
#[path = "ffi_test.rs"]
mod tests;
