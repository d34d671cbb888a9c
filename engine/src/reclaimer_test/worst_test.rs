//! The worst cases of reclaim: files that others hold, snapshots, databases without our tuning, pauses.

use std::path::Path;
use std::sync::Arc;

use rocksdb::checkpoint::Checkpoint;

use super::*;
use crate::governor::GovernorLimits;
use crate::reclaimer::TombstoneStatus;
use crate::{Class, Tuning};

/// Waits until the first tombstone's status is as wanted.
fn until(
    engine: &Engine,
    what: &str,
    wanted: impl Fn(&TombstoneStatus) -> bool,
) -> TombstoneStatus {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let status = engine.reclaimer().status().into_iter().next();
        match status {
            Some(status) if wanted(&status) => return status,
            status => assert!(Instant::now() < deadline, "{what} never happened: {status:?}"),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until the engine has died at the point that was armed.
fn until_dead(engine: &Engine, point: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !engine.crash().is_dead() {
        assert!(Instant::now() < deadline, "{point} was never reached");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn waits_for<'a>(text: &'a str) -> impl Fn(&TombstoneStatus) -> bool + 'a {
    move |status| status.waiting_for.as_ref().is_some_and(|cause| cause.contains(text))
}

#[test]
fn bytes_that_a_checkpoint_holds_are_shown_as_held_until_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder);
    let doomed = ingested(&engine, OWNER, 3);
    let checkpoint = folder.path().join("checkpoints/backup-7");
    std::fs::create_dir_all(checkpoint.parent().unwrap()).unwrap();
    Checkpoint::new(engine.db()).unwrap().create_checkpoint(&checkpoint).unwrap();
    assert!(engine.oldest_reader().is_some());

    let ids = condemn(&engine, OWNER);
    let held = |status: &TombstoneStatus| {
        waits_for("checkpoints/backup-7")(status) && status.bytes_held == status.bytes_left
    };
    assert!(until(&engine, "the wait", held).bytes_held > 0);
    assert_eq!(rows(&engine, doomed.span().unwrap()), 0, "it is empty for everybody else");
    std::fs::remove_dir_all(&checkpoint).unwrap();
    wait_gone(&engine, &ids);
    assert_clean(&engine, doomed.id, &BTreeMap::new());
    assert!(!folder.path().join("trash").join(format!("{:016x}", doomed.id.raw())).exists());
}

#[test]
fn a_checkpoint_that_is_being_made_while_files_are_dropped_holds_them_too() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder);
    let doomed = ingested(&engine, OWNER, 3);
    // As a checkpoint does until it has linked to all files.
    engine.db().disable_file_deletions().unwrap();
    let live = engine.live_files(Family::Bulk).unwrap();
    let files: Vec<_> = live.iter().map(|file| engine.file_path(&file.name)).collect();
    let ids = condemn(&engine, OWNER);
    until(&engine, "the wait", waits_for("a reader"));
    let checkpoint = folder.path().join("checkpoints/backup-8");
    std::fs::create_dir_all(&checkpoint).unwrap();
    for file in &files {
        std::fs::hard_link(file, checkpoint.join(file.file_name().unwrap())).unwrap();
    }
    engine.db().enable_file_deletions().unwrap();
    let held = |status: &TombstoneStatus| {
        waits_for("checkpoints/backup-8")(status) && status.bytes_held == status.bytes_left
    };
    assert!(until(&engine, "the checkpoint", held).bytes_held > 0);
    assert!(!files.iter().any(|file| file.exists()), "RocksDB has given them up");
    std::fs::remove_dir_all(&checkpoint).unwrap();
    wait_gone(&engine, &ids);
    assert_clean(&engine, doomed.id, &BTreeMap::new());
}

#[test]
fn a_dropped_file_that_was_read_when_the_process_died_goes_after_the_restart() {
    for point in ["reclaim.before_keep", "reclaim.after_keep"] {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(&folder);
        let doomed = ingested(&engine, OWNER, 2);
        engine.db().disable_file_deletions().unwrap();
        engine.crash().arm(point, 1);
        condemn(&engine, OWNER);
        until_dead(&engine, point);
        engine.shutdown();
        drop(engine);
        let engine = open(&folder);
        wait_gone(&engine, &[doomed.id]);
        assert_clean(&engine, doomed.id, &BTreeMap::new());
        let trash = folder.path().join("trash");
        assert!(std::fs::read_dir(&trash).map_or(0, Iterator::count) == 0, "after {point}");
    }
}

#[test]
fn a_link_outside_of_the_store_is_nobodys_business() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir_in(folder.path().parent().unwrap()).unwrap();
    let engine = open(&folder);
    let doomed = ingested(&engine, OWNER, 1);
    let file = engine.live_files(Family::Bulk).unwrap().remove(0);
    let (from, to) = (engine.file_path(&file.name), outside.path().join("mine.sst"));
    std::fs::hard_link(&from, &to).unwrap();
    let before = std::fs::read(&to).unwrap();
    let mut events = engine.reclaimer().events();
    cancel(&engine, OWNER);
    assert_clean(&engine, doomed.id, &BTreeMap::new());
    assert_eq!(std::fs::read(&to).unwrap(), before, "not a byte of it is cut");
    let crate::ReclaimEvent::Finished { bytes, .. } = events.blocking_recv().unwrap() else {
        panic!("something else than its end");
    };
    assert_eq!(bytes, 0, "nothing was given back");
}

/// A host's database with our tuning, whose compactions write so many bytes a second.
fn slow_to_compact(folder: &Path, bytes_per_second: i64) -> Engine {
    let options = Options::small(folder.join("cairn"));
    let tuning = Tuning::new(&options).unwrap();
    let mut host = rocksdb::Options::default();
    host.create_if_missing(true);
    host.create_missing_column_families(true);
    host.set_ratelimiter(bytes_per_second, 10_000, 10);
    tuning.apply(&mut host);
    let path = folder.join("host");
    let db = rocksdb::DB::open_cf_descriptors(&host, path, tuning.families()).unwrap();
    Engine::adopt(Arc::new(db), options, tuning).unwrap()
}

#[test]
fn a_compaction_that_reads_its_files_is_waited_for_and_what_it_wrote_goes_too() {
    let folder = tempfile::tempdir().unwrap();
    let engine = slow_to_compact(folder.path(), 4_000);
    let doomed = ingested(&engine, OWNER, 3);
    let before = engine.live_files(Family::Bulk).unwrap();
    let sorted_files = || {
        let entries = std::fs::read_dir(engine.data_path()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "sst")).count()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let family = handle(engine.db(), Family::Bulk).unwrap();
            let names: Vec<String> = before.iter().map(|file| file.name.clone()).collect();
            ffi::compact_files(engine.db(), &family, &names, 6, &CompactionStop::new()).unwrap();
        });
        let deadline = Instant::now() + Duration::from_secs(30);
        // What it writes is a file that the database does not have yet.
        while sorted_files() <= before.len() {
            assert!(Instant::now() < deadline, "the compaction never began");
            std::thread::sleep(Duration::from_millis(1));
        }
        let ids = condemn(&engine, OWNER);
        until(&engine, "the wait", waits_for("a compaction that reads its files"));
        wait_gone(&engine, &ids);
    });
    assert_eq!(rows(&engine, doomed.span().unwrap()), 0);
    assert_clean(&engine, doomed.id, &BTreeMap::new());
}

#[test]
fn keys_that_a_snapshot_sees_are_waited_for_without_compacting_in_vain() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, doomed, neighbour) = straddled(&folder);
    let db = engine.db().clone();
    let snapshot = db.snapshot();
    let ids = condemn(&engine, OWNER);
    engine.reclaimer().pause(false);
    let status = until(&engine, "the wait", waits_for("snapshot"));
    assert_eq!((status.phase, status.range_deletions), ("compaction", 1));
    assert!(status.bytes_left > 0 && status.bytes_held == status.bytes_left, "{status:?}");
    let compactions = engine.reclaimer().counts().compactions;
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(engine.reclaimer().counts().compactions, compactions, "nothing is tried in vain");
    drop(snapshot);
    wait_gone(&engine, &ids);
    assert_clean(&engine, doomed.id, &BTreeMap::new());
    assert_eq!(rows(&engine, neighbour), 100);
}

/// A host's database without our tuning, adopted.
fn untuned(folder: &Path) -> Engine {
    let options = Options::small(folder.join("cairn"));
    let tuning = Tuning::new(&options).unwrap();
    let mut host = rocksdb::Options::default();
    host.create_if_missing(true);
    let path = folder.join("host");
    let families =
        rocksdb::DB::list_cf(&host, &path).unwrap_or_else(|_| vec!["default".to_owned()]);
    let descriptors = families.into_iter().map(|name| {
        let known = Family::ALL.into_iter().find(|family| family.name() == name);
        let options = known.map_or_else(rocksdb::Options::default, |f| tuning.family_options(f));
        rocksdb::ColumnFamilyDescriptor::new(name, options)
    });
    let db = rocksdb::DB::open_cf_descriptors(&host, path, descriptors).unwrap();
    Engine::adopt(Arc::new(db), options, tuning).unwrap()
}

#[test]
fn without_our_file_manager_files_are_kept_and_cut_by_ourselves_after_a_crash_too() {
    for point in
        ["reclaim.after_links", "reclaim.after_files", "reclaim.before_cut", "reclaim.after_cut"]
    {
        let folder = tempfile::tempdir().unwrap();
        let engine = untuned(folder.path());
        let neighbour = ingested(&engine, OwnerId::from_raw(1), 1);
        let doomed = ingested(&engine, OWNER, 3);
        engine.crash().arm(point, 1);
        condemn(&engine, OWNER);
        until_dead(&engine, point);
        engine.shutdown();
        drop(engine);

        let engine = untuned(folder.path());
        wait_gone(&engine, &[doomed.id]);
        assert_clean(&engine, doomed.id, &BTreeMap::new());
        assert_eq!(rows(&engine, neighbour.span().unwrap()), 500, "after {point}");
        assert_eq!(engine.disk_usage().unwrap().trash_bytes, 0);
    }
}

#[test]
fn freed_bytes_are_counted_as_they_leave_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let engine = untuned(folder.path());
    ingested(&engine, OWNER, 4);
    let files = engine.live_files(Family::Bulk).unwrap();
    let before: u64 = files.iter().map(|file| file.bytes).sum();
    assert!(before > 0);
    let mut events = engine.reclaimer().events();
    let ids = condemn(&engine, OWNER);
    wait_gone(&engine, &ids);
    let (id, owner, bytes) = loop {
        // A slow disk may have time for some progress.
        match events.blocking_recv().unwrap() {
            crate::ReclaimEvent::Progress(_) => {}
            crate::ReclaimEvent::Finished { id, owner, bytes, .. } => break (id, owner, bytes),
            event => panic!("{event:?}"),
        }
    };
    assert_eq!((id, owner), (ids[0], OWNER));
    assert!(bytes >= before, "{bytes} of {before} bytes of files");
    // The budget hears of it at the governor's next tick.
    let deadline = Instant::now() + Duration::from_secs(30);
    while engine.governor().taken(Class::Trash) < before {
        assert!(Instant::now() < deadline, "{} bytes", engine.governor().taken(Class::Trash));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_pause_is_named_as_the_cause_and_nothing_goes_until_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder);
    let doomed = ingested(&engine, OWNER, 2);
    engine.reclaimer().pause(true);
    let ids = condemn(&engine, OWNER);
    let status = until(&engine, "the pause", waits_for("reclaim.paused"));
    assert!(status.bytes_left > 0 && status.bytes_freed() == 0, "{status:?}");
    assert!(!engine.live_files(Family::Bulk).unwrap().is_empty());
    engine.reclaimer().pause(false);
    wait_gone(&engine, &ids);
    assert_clean(&engine, doomed.id, &BTreeMap::new());
}

#[test]
fn a_pause_ends_a_long_removal_in_the_middle_and_it_goes_on_there() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder);
    let scratch = engine.claim(OWNER, EPOCH, ClaimKind::Scratch).unwrap();
    std::fs::write(engine.staging_dir(scratch.id).join("run"), vec![1; 64 << 20]).unwrap();
    // Slow enough to be met in the middle.
    engine
        .governor()
        .set_limits(GovernorLimits { rate_max: 32 << 20, ..GovernorLimits::default() });
    let ids = condemn(&engine, OWNER);
    until(&engine, "the removal", |status| status.phase == "staging");
    engine.reclaimer().pause(true);
    let left = until(&engine, "the pause", waits_for("reclaim.paused")).bytes_left;
    assert!(left > 0);
    engine.governor().set_limits(GovernorLimits::default());
    engine.reclaimer().pause(false);
    wait_gone(&engine, &ids);
    assert_clean(&engine, scratch.id, &BTreeMap::new());
}

#[test]
fn a_disk_that_runs_full_lets_reclaim_go_first() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder);
    let limits = GovernorLimits {
        rate_max: 1 << 20,
        free_space_floor: u64::MAX,
        ..GovernorLimits::default()
    };
    engine.governor().set_limits(limits);
    let deadline = Instant::now() + Duration::from_secs(30);
    while !engine.governor().status().reclaim_first {
        assert!(Instant::now() < deadline, "{:?}", engine.governor().status());
        std::thread::sleep(Duration::from_millis(5));
    }
    for _ in 0..100 {
        engine.governor().take(Class::Compaction, 1 << 30, &|| false).unwrap();
    }
    assert!(engine.governor().status().deletion_rate > 1 << 30);
}

#[test]
fn asking_whether_a_span_is_empty_is_no_foreground_work_and_reading_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder);
    let span = ingested(&engine, OWNER, 1).span().unwrap();
    let other = engine.claim(OWNER, EPOCH, ClaimKind::Span(SpanFamily::Rows)).unwrap();
    let view = engine.view();
    // So that the governor looks ten times a second.
    engine.governor().take(Class::Sort, 1, &|| false).unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(300) {
        assert!(!view.is_empty(span).unwrap() && view.is_empty(other.span().unwrap()).unwrap());
        assert!(engine.governor().status().operations <= 0.0);
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while engine.governor().status().operations <= 0.0 {
        assert!(Instant::now() < deadline, "reading is not measured");
        view.get_row(span, &user_key(1)).unwrap();
    }
}

#[test]
fn background_work_is_limited_while_the_foreground_works_and_free_when_it_rests() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder);
    let claim = ingested(&engine, OWNER, 1);
    let span = claim.span().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        for n in 0..100 {
            engine.get_row(span, &user_key(n)).unwrap();
        }
        engine.governor().take(Class::Ingest, 1, &|| false).unwrap();
        let status = engine.governor().status();
        if status.rate > 0 && status.operations > 0.0 && status.background > 0.0 {
            assert!(!status.reason.is_empty() && status.deletion_rate > 0, "{status:?}");
            break;
        }
        assert!(Instant::now() < deadline, "{status:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    while engine.governor().status().rate > 0 {
        assert!(Instant::now() < deadline, "{:?}", engine.governor().status());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn rows_that_were_written_one_by_one_go_though_nothing_else_compacts_them() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(Options::new(folder.path())).unwrap();
    let family = handle(engine.db(), Family::Rows).unwrap();
    engine.db().set_options_cf(&family, &[("disable_auto_compactions", "true")]).unwrap();
    let claim = engine.claim(OWNER, EPOCH, ClaimKind::Span(SpanFamily::Rows)).unwrap();
    let span = claim.span().unwrap();
    for file in 0..3_u32 {
        let mut batch = Batch::new();
        for n in 0..1000 {
            batch.put_row(span, &user_key(file * 1000 + n), &[7; 200]);
        }
        engine.commit(batch, Sync::No).unwrap();
        if file < 2 {
            engine.db().flush_cf(&family).unwrap();
        }
    }
    cancel(&engine, OWNER);
    assert_clean(&engine, claim.id, &BTreeMap::new());
}

#[test]
fn files_go_though_a_lookup_was_under_way_when_they_were_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder);
    let neighbour = ingested(&engine, OwnerId::from_raw(1), 1).span().unwrap();
    for round in 0..20 {
        let owner = OwnerId::from_raw(100 + round);
        let doomed = ingested(&engine, owner, 2);
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut n = 0;
                    while !over.load(std::sync::atomic::Ordering::Relaxed) {
                        n = (n + 1) % 500;
                        engine.get_row(neighbour, &user_key(n)).unwrap();
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(5));
            condemn(&engine, owner);
            let span = doomed.span().unwrap();
            while engine.span_bytes(span) > 0 {
                std::thread::yield_now();
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        // Nobody reads or writes any more, and nothing is flushed or compacted.
        wait_gone(&engine, &[doomed.id]);
    }
}

/// Lets no compaction of leftovers begin until the limits are set anew.
fn without_budget(engine: &Engine) {
    engine.governor().set_limits(GovernorLimits { rate_max: 1, ..GovernorLimits::default() });
    let deadline = Instant::now() + Duration::from_secs(30);
    while engine.governor().status().rate != 1 {
        assert!(Instant::now() < deadline, "{:?}", engine.governor().status());
        std::thread::sleep(Duration::from_millis(5));
    }
    engine.governor().take(Class::Compaction, 1 << 20, &|| false).unwrap();
}

#[test]
fn files_that_a_compaction_has_replaced_are_waited_for_until_their_readers_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, doomed, neighbour) = straddled(&folder);
    without_budget(&engine);
    let ids = condemn(&engine, OWNER);
    engine.reclaimer().pause(false);
    let status = until(&engine, "the wait", waits_for("the background budget"));
    assert_eq!((status.phase, status.compactions), ("compaction", 0));
    assert!(status.bytes_left > 0 && status.bytes_freed() == 0, "{status:?}");

    // Older than the compaction and not than the range deletion.
    let view = engine.view();
    let unbounded = std::ops::Bound::Unbounded;
    let mut scan = view.scan(neighbour, unbounded, unbounded, false).unwrap();
    assert!(scan.next().unwrap().is_some());
    engine.governor().set_limits(GovernorLimits::default());
    let status = until(&engine, "the reader", waits_for("a reader"));
    assert_eq!((status.phase, status.compactions), ("trash", 1));
    assert!(status.bytes_left > 0 && status.bytes_held == status.bytes_left, "{status:?}");
    drop(scan);
    drop(view);
    wait_gone(&engine, &ids);
    assert_clean(&engine, doomed.id, &BTreeMap::new());
    assert_eq!(rows(&engine, neighbour), 100);
}

#[test]
fn a_pause_lets_go_of_the_budget_and_of_what_it_was_for() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, doomed, neighbour) = straddled(&folder);
    without_budget(&engine);
    let ids = condemn(&engine, OWNER);
    for _ in 0..3 {
        engine.reclaimer().pause(false);
        until(&engine, "the wait", waits_for("the background budget"));
        engine.reclaimer().pause(true);
        let status = until(&engine, "the pause", waits_for("reclaim.paused"));
        assert_eq!((status.compactions, status.eta()), (0, None));
    }
    engine.governor().set_limits(GovernorLimits::default());
    engine.reclaimer().pause(false);
    wait_gone(&engine, &ids);
    assert_clean(&engine, doomed.id, &BTreeMap::new());
    assert_eq!(rows(&engine, neighbour), 100);
}

/// A paused store with two spans of so many rows of a kilobyte each in one file of level 0.
fn in_level_0(folder: &tempfile::TempDir, rows: u32) -> (Engine, SpanRef, SpanRef) {
    let options = Options { reclaim_paused: true, ..Options::small(folder.path()) };
    let engine = Engine::open(options).unwrap();
    let family = handle(engine.db(), Family::Rows).unwrap();
    engine.db().set_options_cf(&family, &[("disable_auto_compactions", "true")]).unwrap();
    let claim = |owner| {
        let claim = engine.claim(owner, EPOCH, ClaimKind::Span(SpanFamily::Rows)).unwrap();
        claim.span().unwrap()
    };
    let (doomed, neighbour) = (claim(OWNER), claim(OwnerId::from_raw(2)));
    let mut batch = Batch::new();
    for n in 0..rows {
        // Does not compress.
        let value: Vec<u8> = (0..1000_u64)
            .map(|at| ((at + u64::from(n)).wrapping_mul(at * at) >> 5) as u8)
            .collect();
        batch.put_row(doomed, &user_key(n), &value);
        batch.put_row(neighbour, &user_key(n), &value);
    }
    engine.commit(batch, Sync::Yes).unwrap();
    engine.db().flush_cf(&family).unwrap();
    drop(family);
    (engine, doomed, neighbour)
}

#[test]
fn a_pause_ends_a_compaction_that_is_running() {
    // As long as it takes on this machine to meet one.
    for doublings in 0..6 {
        let folder = tempfile::tempdir().unwrap();
        let count = 5_000 << doublings;
        let (engine, doomed, neighbour) = in_level_0(&folder, count);
        let sorted_files = || {
            let entries = std::fs::read_dir(engine.data_path()).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.ends_with(".sst")).count()
        };
        let ids = condemn(&engine, OWNER);
        engine.reclaimer().pause(false);
        let deadline = Instant::now() + Duration::from_secs(30);
        // A file that the database does not have yet is what a compaction writes. (The file of the range deletion is
        // flushed first, and is the second.)
        let is_running = || {
            let live = engine.live_files(Family::Rows).unwrap().len();
            live > 1 && sorted_files() > engine.db().live_files().unwrap().len()
        };
        while !is_running() && !engine.reclaimer().status().is_empty() {
            assert!(Instant::now() < deadline, "{:?}", engine.reclaimer().status());
            std::thread::sleep(Duration::from_micros(200));
        }
        engine.reclaimer().pause(true);
        // Cut short or at its end, it leaves no file that the database does not have.
        while sorted_files() > engine.db().live_files().unwrap().len() {
            assert!(Instant::now() < deadline, "{:?}", engine.reclaimer().status());
            std::thread::sleep(Duration::from_millis(1));
        }
        let live = engine.live_files(Family::Rows).unwrap();
        let ended = live.len() > 1 && live.iter().all(|file| file.level == 0);
        if ended {
            let status = until(&engine, "the pause", waits_for("reclaim.paused"));
            assert_eq!((status.compactions, status.range_deletions), (0, 1), "{status:?}");
        }
        engine.reclaimer().pause(false);
        wait_gone(&engine, &ids);
        assert_clean(&engine, doomed.id, &BTreeMap::new());
        assert_eq!(rows(&engine, neighbour), count as usize);
        engine.shutdown();
        if ended {
            return;
        }
    }
    panic!("no compaction was met while it ran");
}
