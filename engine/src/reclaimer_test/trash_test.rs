//! What RocksDB has in its trash: files that were dropped go in steps, at the pace that is asked for, or stand still. Most of it
//! needs a database of ours and no engine.

use super::*;

/// A database of our families without an engine over it.
pub(super) fn raw(tuning: &crate::Tuning, data: &std::path::Path) -> rocksdb::DB {
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    tuning.apply(&mut options);
    rocksdb::DB::open_cf_descriptors(&options, data, tuning.families()).unwrap()
}

/// Keys of an ingested file, unless a test wants a longer one: 32 KiB of it.
pub(super) const RAW_KEYS: u32 = 2000;

/// Ingests a file of so many keys that begin with its number.
pub(super) fn ingest_raw(
    db: &rocksdb::DB,
    tuning: &crate::Tuning,
    folder: &std::path::Path,
    (file, keys): (u32, u32),
) -> crate::error::Result<()> {
    let path = folder.join("staged");
    let mut writer = ffi::SstWriter::new(&tuning.family_options(Family::Bulk));
    writer.open(&path)?;
    for n in 0..keys {
        let key = [file.to_be_bytes(), n.to_be_bytes()].concat();
        writer.put(&key, &n.wrapping_mul(0x9e37_79b9).to_be_bytes().repeat(8))?;
    }
    writer.finish()?;
    crate::ingest::move_in(db, &handle(db, Family::Bulk)?, &[path])
}

/// A database of our families with ingested files, and without an engine over it. Dropped in this order.
struct Raw {
    db: rocksdb::DB,
    tuning: crate::Tuning,
    data: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl Raw {
    fn with_files(files: u32) -> Self {
        Self::with_files_of(files, RAW_KEYS)
    }

    fn with_files_of(files: u32, keys: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tuning = crate::Tuning::new(&Options::small(folder.path())).unwrap();
        let data = folder.path().join("data");
        let db = raw(&tuning, &data);
        for file in 0..files {
            ingest_raw(&db, &tuning, folder.path(), (file, keys)).unwrap();
        }
        Self { db, tuning, data, _folder: folder }
    }

    fn drop_files(&self) {
        let bulk = handle(&self.db, Family::Bulk).unwrap();
        self.db.delete_file_in_range_cf(&bulk, [0_u8; 8], [0xff_u8; 8]).unwrap();
    }

    /// Files whose names end so, and their bytes.
    fn files(&self, ending: &str) -> (usize, u64) {
        let entries = std::fs::read_dir(&self.data).unwrap().flatten();
        let named = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(ending));
        let lengths: Vec<u64> =
            named.filter_map(|entry| Some(entry.metadata().ok()?.len())).collect();
        (lengths.len(), lengths.iter().sum())
    }

    /// Waits until there are no files but trash.
    fn until_dropped(&self) {
        until("the files are dropped", || self.files(".sst").0 == 0);
    }
}

pub(super) fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "not yet: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn ingested_files_are_cut_in_steps_and_never_deleted_at_once() {
    let raw = Raw::with_files(4);
    // So slow that only the first goes while the test looks.
    raw.tuning.set_deletion_pace(1 << 10, 64 << 10, 0);
    raw.drop_files();
    raw.until_dropped();
    assert!(raw.files(".sst.trash").0 >= 3, "all but what has gone meanwhile");
}

#[test]
fn a_dropped_file_goes_in_steps_of_the_size_that_is_asked_for_even_its_last_part() {
    const STEP: u64 = 4 << 10;
    const CHUNK: u64 = 64 << 10;
    let raw = Raw::with_files_of(1, 3 * RAW_KEYS);
    let (_, all) = raw.files(".sst");
    // The file manager cuts what is longer than its chunk, and removes the rest in one call.
    assert!((CHUNK + 6 * STEP..2 * CHUNK).contains(&all), "{all}");
    raw.tuning.set_deletion_pace(10 * STEP, STEP, 0);
    raw.drop_files();
    raw.until_dropped();
    let (began, mut lengths) = (Instant::now(), vec![all]);
    while lengths.last() != Some(&0) {
        assert!(began.elapsed() < Duration::from_secs(60), "{lengths:?}");
        let (_, left) = raw.files(".sst.trash");
        if lengths.last() != Some(&left) {
            lengths.push(left);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    // Who looks too rarely does not see all of them, but sees some in either part.
    let (first, last): (Vec<u64>, Vec<u64>) = lengths.iter().partition(|&&left| left > all - CHUNK);
    assert!(first.len() > 3 && last.len() > 3, "{lengths:?}");
}

#[test]
fn after_a_step_rocksdbs_trash_rests_for_as_many_times_its_length_as_is_asked_for() {
    const STEP: u64 = 1 << 10;
    let raw = Raw::with_files(1);
    let (_, all) = raw.files(".sst");
    // A step takes a microsecond at least, and this is most of a minute then; by the rate all would go at once.
    raw.tuning.set_deletion_pace(u64::MAX, STEP, 50_000_000);
    raw.drop_files();
    raw.until_dropped();
    std::thread::sleep(Duration::from_millis(500));
    let (_, left) = raw.files(".sst.trash");
    assert!(left > 0 && left >= all - STEP, "{left} of {all}: more than a step went");
    raw.tuning.set_deletion_pace(u64::MAX, STEP, 0);
    until("all has gone", || raw.files(".sst.trash").0 == 0);
}

#[test]
fn while_reclaim_is_paused_also_what_rocksdb_has_in_its_trash_stands_still() {
    const STEP: u64 = 1 << 10;
    let raw = Raw::with_files(2);
    let (_, all) = raw.files(".sst");
    raw.tuning.set_deletion_pace(100 * STEP, STEP, 0);
    raw.drop_files();
    raw.until_dropped();
    until("some of it has gone", || raw.files(".sst.trash").1 < all - STEP);
    raw.tuning.set_deletion_pace(0, STEP, 0);
    // The step that is under way.
    std::thread::sleep(Duration::from_millis(100));
    let before = raw.files(".sst.trash");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(raw.files(".sst.trash"), before, "20 steps' time");
    assert!(before.1 > 0, "not all had gone");
    raw.tuning.set_deletion_pace(1 << 30, STEP, 0);
    until("all has gone", || raw.files(".sst.trash").0 == 0);
}

#[test]
fn a_store_closes_at_once_though_a_dropped_file_goes_slowly_or_not_at_all() {
    // A step would take 17 minutes.
    for bytes_per_second in [0, 1] {
        let raw = Raw::with_files(1);
        raw.tuning.set_deletion_pace(bytes_per_second, 1 << 10, 0);
        raw.drop_files();
        raw.until_dropped();
        let began = Instant::now();
        drop(raw);
        assert!(began.elapsed() < Duration::from_secs(10), "{bytes_per_second} bytes a second");
    }
}

#[test]
fn a_database_that_outlives_its_engine_is_not_left_paused() {
    let Raw { db, tuning, data, _folder } = {
        let raw = Raw::with_files(1);
        raw.tuning.set_deletion_pace(0, 1 << 10, 0);
        raw.drop_files();
        raw.until_dropped();
        raw
    };
    let trash = || {
        let entries = std::fs::read_dir(&data).unwrap().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".trash")).count()
    };
    assert_eq!(trash(), 1);
    drop(tuning);
    until("its trash goes", || trash() == 0);
    drop(db);
}

#[test]
fn files_are_dropped_at_the_pace_of_who_works_now_though_the_governor_dozed() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder);
    let reader = ingested(&engine, OwnerId::from_raw(1), 1);
    let is_shared = || engine.governor().status().deletion_rate <= 256 << 20;
    // It dozes for a second. A machine that is too busy to do all this within it tries again.
    let noticed = (0..10_u64).any(|n| {
        let owner = OwnerId::from_raw(100 + n);
        let _doomed = ingested(&engine, owner, 1);
        engine.get_row(reader.span().unwrap(), &user_key(0)).unwrap();
        until("it knows of a foreground", is_shared);
        until("it has seen none for a second, and dozes", || !is_shared());
        let began = Instant::now();
        for n in 0..200 {
            engine.get_row(reader.span().unwrap(), &user_key(n)).unwrap();
        }
        condemn(&engine, owner);
        while began.elapsed() < Duration::from_millis(800) {
            if is_shared() {
                return began.elapsed() < Duration::from_millis(900);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    });
    assert!(noticed, "reclaim lets the governor look before it drops files");
    engine.shutdown();
}

#[test]
fn a_file_that_a_job_is_done_with_goes_in_steps_also_while_reclaim_is_paused() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { reclaim_paused: true, ..Options::small(folder.path()) };
    let engine = Engine::open(options).unwrap();
    let file = folder.path().join("a run");
    let length = 40 << 20;
    std::fs::write(&file, vec![1; length]).unwrap();
    let stopped = engine.remove_file(&file, &|| true).unwrap_err();
    assert!(matches!(stopped, crate::EngineError::Stopped), "{stopped}");
    let left = std::fs::metadata(&file).unwrap().len();
    assert!(left > 0 && left < length as u64, "a step, and then it was asked: {left}");
    engine.remove_file(&file, &|| false).unwrap();
    assert!(!file.exists());
    engine.remove_file(&file, &|| false).unwrap();
    let taken = || engine.governor().taken(crate::Class::Trash);
    until("the budget has heard of it", || taken() == length as u64);
}

#[test]
fn a_file_that_a_job_is_done_with_is_removed_after_a_death_in_the_middle_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a run");
    let length = 40 << 20;
    for (point, least, most) in
        [("remove.before_cut", length, length), ("remove.after_cut", 1, length - 1)]
    {
        std::fs::write(&file, vec![1; usize::try_from(length).unwrap()]).unwrap();
        let engine = Engine::open(Options::small(folder.path())).unwrap();
        engine.crash().arm(point, 1);
        let died = engine.remove_file(&file, &|| false).unwrap_err();
        assert!(matches!(died, crate::EngineError::Crashed { .. }), "{died}");
        let left = std::fs::metadata(&file).unwrap().len();
        assert!((least..=most).contains(&left), "{left} after {point}");
        engine.shutdown();
        drop(engine);
        let engine = Engine::open(Options::small(folder.path())).unwrap();
        engine.remove_file(&file, &|| false).unwrap();
        assert!(!file.exists());
        engine.shutdown();
    }
}
