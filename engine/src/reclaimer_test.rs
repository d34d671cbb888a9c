//! Reclaim against a real store: both roads, neighbours, pins, and repetition after crashes.

mod own_disk_test;
mod power_test;
mod trash_test;
mod worst_test;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

use crate::batch::{Batch, Sync};
use crate::family::Family;
use crate::ffi::{self, CompactionStop};
use crate::id::{Epoch, OwnerId, SpanFamily, SpanId, SpanRef};
use crate::key;
use crate::open::{Engine, handle};
use crate::options::Options;
use crate::record::{Claim, ClaimKind};
use crate::writer::SpanWriter;

const OWNER: OwnerId = OwnerId::from_raw(77);
const EPOCH: Epoch = Epoch::from_raw(1);

/// Steps of reclaim where it may die.
const RECLAIM_POINTS: [&str; 12] = [
    "reclaim.before_staging",
    "reclaim.after_staging",
    "reclaim.before_files",
    "reclaim.after_links",
    "reclaim.after_files",
    "reclaim.before_range_deletion",
    "reclaim.after_range_deletion",
    "reclaim.after_flush",
    "reclaim.before_compaction",
    "reclaim.after_compaction",
    "reclaim.before_finish",
    "reclaim.after_finish",
];

fn open(folder: &tempfile::TempDir) -> Engine {
    Engine::open(Options::small(folder.path())).unwrap()
}

fn user_key(n: u32) -> [u8; 4] {
    n.to_be_bytes()
}

/// Claims a span and ingests `batches` batches of 500 rows each.
fn ingested(engine: &Engine, owner: OwnerId, batches: u32) -> Claim {
    let claim = engine.claim(owner, EPOCH, ClaimKind::Span(SpanFamily::Bulk)).unwrap();
    for number in 0..batches {
        let mut writer = SpanWriter::create(engine, &claim, u64::from(number)).unwrap();
        for n in 0..500 {
            writer.put(&user_key(number * 500 + n), &[7; 100]).unwrap();
        }
        let staged = writer.finish().unwrap();
        engine.ingest(&claim, &staged, b"checkpoint", |_| {}).unwrap();
    }
    claim
}

fn rows(engine: &Engine, span: SpanRef) -> usize {
    let view = engine.view();
    let mut scan = view.scan(span, Bound::Unbounded, Bound::Unbounded, false).unwrap();
    let mut rows = 0;
    while scan.next().unwrap().is_some() {
        rows += 1;
    }
    rows
}

/// Condemns all claims of the owner, as a cancel does, and waits until they are worked off.
fn cancel(engine: &Engine, owner: OwnerId) {
    let ids = condemn(engine, owner);
    wait_gone(engine, &ids);
}

fn condemn(engine: &Engine, owner: OwnerId) -> Vec<SpanId> {
    let mut batch = Batch::new();
    let ids = engine.condemn(&mut batch, owner, "job canceled by user", 1).unwrap();
    engine.commit(batch, Sync::Yes).unwrap();
    engine.latch(owner, EPOCH).raise(EPOCH.next());
    engine.condemned(&ids);
    ids
}

fn wait_gone(engine: &Engine, ids: &[SpanId]) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while engine.reclaimer().status().iter().any(|status| ids.contains(&status.tombstone.id)) {
        assert!(Instant::now() < deadline, "stuck: {:?}", engine.reclaimer().status());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Makes a span with rows in files and in memory and a batch that is only staged, beside a neighbour. Answers the
/// neighbour and that span.
fn doomed(engine: &Engine) -> (Claim, Claim) {
    let neighbour = ingested(engine, OwnerId::from_raw(1), 1);
    let doomed = ingested(engine, OWNER, 2);
    let mut batch = Batch::new();
    batch.put_row(doomed.span().unwrap(), b"in memory", b"value");
    engine.commit(batch, Sync::Yes).unwrap();
    let mut writer = SpanWriter::create(engine, &doomed, 2).unwrap();
    writer.put(&user_key(1000), b"staged").unwrap();
    writer.finish().unwrap();
    (neighbour, doomed)
}

/// Lets the engine die at a step of the reclaim of what [`doomed`] made.
fn die_at(engine: &Engine, point: &str) {
    engine.crash().arm(point, 1);
    condemn(engine, OWNER);
    wait_dead(engine, point);
}

fn wait_dead(engine: &Engine, point: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !engine.crash().is_dead() {
        assert!(Instant::now() < deadline, "{point} was never reached");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Nothing of the span is left, readable or hidden, and the doctor finds nothing.
fn assert_clean(engine: &Engine, id: SpanId, published: &BTreeMap<SpanId, SpanFamily>) {
    for family in [SpanFamily::Rows, SpanFamily::Bulk] {
        assert!(!engine.stored_spans(family).unwrap().contains(&id), "span {id} is still stored");
    }
    assert!(!engine.staging_dir(id).exists());
    assert_eq!(engine.doctor(published).unwrap(), []);
}

fn publish(engine: &Engine, owner: OwnerId, claims: &[Claim]) -> BTreeMap<SpanId, SpanFamily> {
    let mut batch = Batch::new();
    let keep: Vec<SpanId> = claims.iter().map(|claim| claim.id).collect();
    let rest = engine.release_claims(&mut batch, owner, &keep, 1).unwrap();
    engine.commit(batch, Sync::Yes).unwrap();
    engine.condemned(&rest);
    keep.into_iter().map(|id| (id, SpanFamily::Bulk)).collect()
}

#[test]
fn a_cancelled_span_goes_by_files_alone_and_its_neighbours_keep_every_row() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder);
    let before = ingested(&engine, OwnerId::from_raw(1), 3);
    let doomed = ingested(&engine, OWNER, 4);
    let after = ingested(&engine, OwnerId::from_raw(2), 3);
    assert_eq!((before.id.raw() + 1, doomed.id.raw() + 1), (doomed.id.raw(), after.id.raw()));
    assert_eq!(rows(&engine, doomed.span().unwrap()), 2000);

    cancel(&engine, OWNER);

    assert_eq!(rows(&engine, doomed.span().unwrap()), 0);
    assert_eq!(rows(&engine, before.span().unwrap()), 1500);
    assert_eq!(rows(&engine, after.span().unwrap()), 1500);
    assert_clean(&engine, doomed.id, &BTreeMap::new());
    let counts = engine.reclaimer().counts();
    assert!(counts.files_dropped >= 4, "{counts:?}");
    assert_eq!(
        (counts.range_deletions, counts.compactions),
        (0, 0),
        "the usual case needs neither"
    );
}

#[test]
fn keys_in_memory_and_in_level_0_go_by_range_deletion_and_compaction() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder);
    let neighbour = ingested(&engine, OwnerId::from_raw(1), 1);
    let doomed = ingested(&engine, OWNER, 2);
    let span = doomed.span().unwrap();
    let family = handle(engine.db(), Family::Bulk).unwrap();
    for flushed in [true, false] {
        let mut batch = Batch::new();
        for n in 0..50 {
            batch.put_row(span, &user_key(n), if flushed { b"flushed" } else { b"in memory" });
        }
        engine.commit(batch, Sync::No).unwrap();
        if flushed {
            engine.db().flush_cf(&family).unwrap();
        }
    }

    cancel(&engine, OWNER);

    assert_clean(&engine, doomed.id, &BTreeMap::new());
    assert_eq!(rows(&engine, neighbour.span().unwrap()), 500);
    let counts = engine.reclaimer().counts();
    assert!(counts.range_deletions >= 1 && counts.compactions >= 1, "{counts:?}");
}

/// A store without the partitioner, with one file at the last level that holds two spans.
fn straddled(folder: &tempfile::TempDir) -> (Engine, SpanRef, SpanRef) {
    let options =
        Options { partition: false, reclaim_paused: true, ..Options::small(folder.path()) };
    let engine = Engine::open(options).unwrap();
    let claim = engine.claim(OWNER, EPOCH, ClaimKind::Span(SpanFamily::Bulk)).unwrap();
    let other =
        engine.claim(OwnerId::from_raw(2), EPOCH, ClaimKind::Span(SpanFamily::Bulk)).unwrap();
    let (doomed, neighbour) = (claim.span().unwrap(), other.span().unwrap());
    let mut batch = Batch::new();
    for n in 0..100 {
        batch.put_row(doomed, &user_key(n), b"doomed");
        batch.put_row(neighbour, &user_key(n), b"neighbour");
    }
    engine.commit(batch, Sync::Yes).unwrap();
    let family = handle(engine.db(), Family::Bulk).unwrap();
    // The files must stay where the test puts them.
    engine.db().set_options_cf(&family, &[("disable_auto_compactions", "true")]).unwrap();
    engine.db().flush_cf(&family).unwrap();
    drop(family);
    compact(&engine, 0, 6);
    (engine, doomed, neighbour)
}

/// Compacts every file of one level of `bulk` into another.
fn compact(engine: &Engine, from: i32, to: i32) {
    let files = engine.live_files(Family::Bulk).unwrap();
    let names: Vec<String> =
        files.into_iter().filter(|file| file.level == from).map(|file| file.name).collect();
    let family = handle(engine.db(), Family::Bulk).unwrap();
    ffi::compact_files(engine.db(), &family, &names, to, &CompactionStop::new()).unwrap();
}

#[test]
fn a_file_shared_with_a_neighbour_loses_the_condemned_keys_only() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, doomed, neighbour) = straddled(&folder);
    let ids = condemn(&engine, OWNER);
    engine.reclaimer().pause(false);
    wait_gone(&engine, &ids);
    assert_clean(&engine, doomed.id, &BTreeMap::new());
    assert_eq!(rows(&engine, neighbour), 100);
}

#[test]
fn keys_that_come_back_when_a_file_goes_after_a_range_deletion_are_removed_again() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, doomed, neighbour) = straddled(&folder);
    // A range deletion that ends up in a file of its own, above the file with the keys.
    let mut batch = Batch::new();
    batch.delete_span(doomed);
    engine.commit(batch, Sync::Yes).unwrap();
    let family = handle(engine.db(), Family::Bulk).unwrap();
    engine.db().flush_cf(&family).unwrap();
    compact(&engine, 0, 5);
    assert_eq!(rows(&engine, doomed), 0, "the range deletion hides the keys");
    // The trap itself: dropping that file brings them back.
    let (lower, upper) = key::span_bounds(doomed.id);
    engine.db().delete_file_in_range_cf(&family, lower, upper).unwrap();
    assert_eq!(rows(&engine, doomed), 100, "without care, deleted keys come back");

    let mut batch = Batch::new();
    batch.delete_span(doomed);
    engine.commit(batch, Sync::Yes).unwrap();
    engine.db().flush_cf(&family).unwrap();
    compact(&engine, 0, 5);
    let ids = condemn(&engine, OWNER);
    engine.reclaimer().pause(false);
    wait_gone(&engine, &ids);
    assert_clean(&engine, doomed.id, &BTreeMap::new());
    assert_eq!(rows(&engine, neighbour), 100);
}

#[test]
fn files_under_compaction_do_not_save_a_span() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder);
    let doomed = ingested(&engine, OWNER, 12);
    let span = doomed.span().unwrap();
    std::thread::scope(|scope| {
        let compacting = engine.clone();
        scope.spawn(move || {
            let family = handle(compacting.db(), Family::Bulk).unwrap();
            for _ in 0..20 {
                let files = compacting.live_files(Family::Bulk).unwrap();
                let names: Vec<String> = files.into_iter().map(|file| file.name).collect();
                // Loses against reclaim at the end, which is what is tested.
                let _ =
                    ffi::compact_files(compacting.db(), &family, &names, 6, &CompactionStop::new());
            }
        });
        std::thread::sleep(Duration::from_millis(3));
        cancel(&engine, OWNER);
    });
    assert_eq!(rows(&engine, span), 0);
    assert_clean(&engine, doomed.id, &BTreeMap::new());
}

#[test]
fn a_published_span_stays_until_the_last_view_that_may_read_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder);
    let claim = ingested(&engine, OWNER, 2);
    let span = claim.span().unwrap();
    publish(&engine, OWNER, &[claim]);
    let reader = engine.view();
    let elsewhere = engine.view();
    elsewhere.pin_only(&[SpanId::from_raw(u64::MAX >> 16)]);

    let mut batch = Batch::new();
    engine.condemn_spans(&mut batch, &[span], "DROP TABLE t", OWNER, 1);
    engine.commit(batch, Sync::Yes).unwrap();
    engine.condemned(&[span.id]);
    let later = engine.view();

    let deadline = Instant::now() + Duration::from_secs(10);
    let waits = |engine: &Engine| engine.reclaimer().status()[0].waiting_for.is_some();
    while !waits(&engine) {
        assert!(Instant::now() < deadline, "reclaim never said that it waits");
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut scan = reader.scan(span, Bound::Unbounded, Bound::Unbounded, false).unwrap();
    drop(reader);
    let mut seen = 0;
    while scan.next().unwrap().is_some() {
        seen += 1;
    }
    assert_eq!(seen, 1000, "a scan keeps its view, and the view its span");
    drop(scan);
    wait_gone(&engine, &[span.id]);
    drop((elsewhere, later));
    assert_clean(&engine, span.id, &BTreeMap::new());
}

#[test]
fn scratch_folders_and_staged_files_go_with_their_claims() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder);
    let scratch = engine.claim(OWNER, EPOCH, ClaimKind::Scratch).unwrap();
    std::fs::write(engine.staging_dir(scratch.id).join("run"), vec![1; 3 << 20]).unwrap();
    let span = engine.claim(OWNER, EPOCH, ClaimKind::Span(SpanFamily::Bulk)).unwrap();
    let mut writer = SpanWriter::create(&engine, &span, 0).unwrap();
    writer.put(b"staged", b"but never ingested").unwrap();
    let staged = writer.finish().unwrap();
    assert_eq!(staged.rows(), 1);
    cancel(&engine, OWNER);
    assert_clean(&engine, scratch.id, &BTreeMap::new());
    assert_clean(&engine, span.id, &BTreeMap::new());
}

#[test]
fn a_writer_of_a_cancelled_job_leaves_nothing_even_if_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder);
    let claim = ingested(&engine, OWNER, 1);
    cancel(&engine, OWNER);
    let mut writer = SpanWriter::create(&engine, &claim, 1).unwrap();
    writer.put(b"too late", b"value").expect_err("its folder is gone, and is not made again");
    engine.claim(OWNER, EPOCH, ClaimKind::Scratch).expect_err("it may not claim either");
    engine.make_staging_dir(&claim).expect_err("nor make its folder again");
    assert_clean(&engine, claim.id, &BTreeMap::new());
}

#[test]
fn every_step_of_reclaim_may_crash_and_is_repeated_without_harm() {
    for point in RECLAIM_POINTS {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(&folder);
        let (neighbour, doomed) = doomed(&engine);
        die_at(&engine, point);
        engine.shutdown();
        drop(engine);

        // And again, at one of the first steps that come then, if any does.
        for nth in 1..=3 {
            let engine = open(&folder);
            engine.crash().arm_any(nth);
            let began = Instant::now();
            while !engine.crash().is_dead()
                && !engine.reclaimer().status().is_empty()
                && began.elapsed() < Duration::from_secs(30)
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            engine.shutdown();
        }

        let engine = open(&folder);
        wait_gone(&engine, &[doomed.id]);
        assert_clean(&engine, doomed.id, &BTreeMap::new());
        assert_eq!(rows(&engine, neighbour.span().unwrap()), 500, "after {point}");
    }
}

#[test]
fn every_step_of_ingest_may_crash_and_the_batch_is_in_exactly_once_or_not_at_all() {
    for point in
        ["ingest.before_intent", "ingest.after_intent", "ingest.before_mark", "ingest.after_mark"]
    {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(&folder);
        let claim = ingested(&engine, OWNER, 1);
        engine.crash().arm(point, 1);
        let mut writer = SpanWriter::create(&engine, &claim, 1).unwrap();
        for n in 500..600 {
            writer.put(&user_key(n), b"second").unwrap();
        }
        let staged = writer.finish().unwrap();
        engine.ingest(&claim, &staged, b"second", |_| {}).unwrap_err();
        engine.shutdown();
        drop(engine);

        let engine = open(&folder);
        let recovered = engine.recover_span(&claim).unwrap();
        assert_eq!(recovered, engine.recover_span(&claim).unwrap(), "settled once and for all");
        let is_in = rows(&engine, claim.span().unwrap());
        let ingested = matches!(point, "ingest.before_mark" | "ingest.after_mark");
        assert_eq!(is_in, if ingested { 600 } else { 500 }, "{point}");
        assert_eq!(recovered.rows, is_in as u64);
        assert_eq!(recovered.next_batch, if ingested { 2 } else { 1 });
        let checkpoint: &[u8] = if ingested { b"second" } else { b"checkpoint" };
        assert_eq!(recovered.checkpoint.as_deref(), Some(checkpoint));
        assert_eq!(engine.doctor(&BTreeMap::new()).unwrap(), []);
    }
}

#[test]
fn the_doctor_names_a_span_that_nobody_owns_and_one_that_two_own() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder);
    let claim = ingested(&engine, OWNER, 1);
    let twice = BTreeMap::from([(claim.id, SpanFamily::Bulk)]);
    assert_eq!(engine.doctor(&twice).unwrap().len(), 1);
    let orphan = SpanRef { id: engine.new_span_id().unwrap(), family: SpanFamily::Rows };
    let mut batch = Batch::new();
    batch.put_row(orphan, b"k", b"v");
    engine.commit(batch, Sync::Yes).unwrap();
    let findings = engine.doctor(&BTreeMap::new()).unwrap();
    assert_eq!(findings.len(), 1);
    assert!(findings[0].place.contains(&orphan.id.to_string()), "{findings:?}");
}

#[test]
fn a_store_of_a_newer_format_is_refused_with_both_versions() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder);
    let mut batch = Batch::new();
    let newer = (crate::FORMAT_VERSION + 1).to_be_bytes();
    let kind = crate::envelope::kind::FORMAT;
    batch.put_record(Family::Catalog, crate::open::FORMAT_KEY, kind, &newer);
    engine.commit(batch, Sync::Yes).unwrap();
    engine.shutdown();
    drop(engine);
    let error = Engine::open(Options::small(folder.path())).unwrap_err().to_string();
    assert!(error.contains('2') && error.contains('1'), "{error}");
}

#[test]
fn span_ids_are_never_used_twice_also_across_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for _ in 0..3 {
        let engine = open(&folder);
        for _ in 0..300 {
            let id = engine.new_span_id().unwrap().raw();
            assert!(id > last);
            last = id;
        }
        engine.shutdown();
    }
}

#[test]
fn a_database_that_the_host_opened_is_adopted_and_cleaned_as_well() {
    use std::sync::Arc;
    for tuned in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::small(folder.path().join("cairn"));
        let tuning = crate::Tuning::new(&options).unwrap();
        let mut host = rocksdb::Options::default();
        host.create_if_missing(true);
        host.create_missing_column_families(true);
        let path = folder.path().join("host");
        let db = if tuned {
            tuning.apply(&mut host);
            rocksdb::DB::open_cf_descriptors(&host, path, tuning.families()).unwrap()
        } else {
            rocksdb::DB::open(&host, path).unwrap()
        };
        db.put(b"of the host", b"kept").unwrap();
        let db = Arc::new(db);
        let engine = Engine::adopt(Arc::clone(&db), options, tuning).unwrap();
        let doomed = ingested(&engine, OWNER, 2);
        cancel(&engine, OWNER);
        assert_clean(&engine, doomed.id, &BTreeMap::new());
        assert_eq!(db.get(b"of the host").unwrap().as_deref(), Some(&b"kept"[..]));
    }
}

#[test]
fn a_database_with_an_environment_of_its_own_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let tuning = crate::Tuning::new(&Options::small(folder.path())).unwrap();
    let mut host = rocksdb::Options::default();
    host.create_if_missing(true);
    host.set_env(&rocksdb::Env::mem_env().unwrap());
    tuning.apply(&mut host);
    let data = folder.path().join("data");
    let db = rocksdb::DB::open(&host, &data).unwrap();
    db.put(b"key", b"value").unwrap();
    let there: Vec<_> = std::fs::read_dir(&data).into_iter().flatten().flatten().collect();
    assert!(there.is_empty(), "it is in memory, where its host wanted it: {there:?}");
}
