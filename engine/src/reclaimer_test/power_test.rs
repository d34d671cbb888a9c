//! Power cuts and a MANIFEST that fails, by RocksDB's own fault-injection file system: what RocksDB did not sync is
//! really lost. Of the files that we make ourselves (staged files, kept links, their folders) names are lost: all that
//! came since the span was made, or all that went, or both, synced or not, which is more than a power cut may do.
//! `tests/tests/kill.rs` cuts the power of everything at random moments, on a disk of our own.

use std::path::{Path, PathBuf};

use super::trash_test::{RAW_KEYS, ingest_raw, raw, until};
use super::*;
use crate::envelope::kind;
use crate::error::Result;
use crate::ffi::FaultyDisk;
use crate::ingest::Recovered;

fn open_on(disk: FaultyDisk, folder: &tempfile::TempDir) -> Engine {
    Engine::open(Options { database_disk: Some(disk), ..Options::small(folder.path()) }).unwrap()
}

/// The power goes now, and comes back when nothing has the store open.
fn cut(disk: FaultyDisk, engine: Engine) {
    disk.off();
    engine.shutdown();
    drop(engine);
    disk.on();
}

/// Rows of each batch behind the first, which has 500.
const BATCH: u32 = 100;

/// Stages the next batch, of this number, and ingests it.
fn ingest_next(engine: &Engine, claim: &Claim, number: u32) -> Result<Recovered> {
    let mut writer = SpanWriter::create(engine, claim, number.into()).unwrap();
    let first = 500 + (number - 1) * BATCH;
    for n in first..first + BATCH {
        writer.put(&user_key(n), b"next").unwrap();
    }
    let staged = writer.finish().unwrap();
    engine.ingest(claim, &staged, b"next", |_| {})
}

/// So many batches are in behind the first, wholly, and what the span is said to hold is what it holds.
fn whole_batches(engine: &Engine, claim: &Claim) -> u32 {
    let recovered = engine.recover_span(claim).unwrap();
    let is_in = rows(engine, claim.span().unwrap()) as u32;
    assert_eq!((is_in - 500) % BATCH, 0, "{is_in} rows");
    let batches = (is_in - 500) / BATCH;
    assert_eq!((recovered.rows, recovered.next_batch), (is_in.into(), u64::from(batches) + 1));
    assert_eq!(engine.doctor(&BTreeMap::new()).unwrap(), []);
    batches
}

/// Ingests batches with the nth sync of the MANIFEST or its folder failing, for every n that comes, and ends the engine
/// by `end`. Answers how many syncs came, and at how many of them an ingest failed.
fn with_failing_syncs(disk: FaultyDisk, batches: u32, end: impl Fn(Engine)) -> (i32, u32) {
    let mut failed = 0;
    for nth in 1.. {
        let folder = tempfile::tempdir().unwrap();
        let engine = open_on(disk, &folder);
        let claim = ingested(&engine, OWNER, 1);
        disk.fail_sync(nth);
        let refused = (1..=batches).find_map(|number| {
            let error = ingest_next(&engine, &claim, number).err()?;
            Some((number, error.to_string()))
        });
        let came = disk.fail_sync(0);
        end(engine);

        let engine = open_on(disk, &folder);
        let is_in = whole_batches(&engine, &claim);
        match refused {
            None => assert_eq!(is_in, batches, "sync {nth}: all were acknowledged"),
            Some((number, error)) => {
                assert!(error.contains("a sync that fails"), "{error}");
                assert!((number - 1..=number).contains(&is_in), "sync {nth}: {is_in} of {number}");
                failed += 1;
            }
        }
        cancel(&engine, OWNER);
        assert_clean(&engine, claim.id, &BTreeMap::new());
        if !came {
            return (nth - 1, failed);
        }
    }
    (0, failed)
}

/// Batches after which a MANIFEST that may not grow was begun anew: with the synced intent of one of them.
const ROLLED: u32 = 5;

/// One ingest, and as many as it takes for a new MANIFEST.
fn with_failing_syncs_of_both(disk: FaultyDisk, end: impl Fn(Engine)) {
    let (one, failed) = with_failing_syncs(disk, 1, &end);
    assert!(failed > 1, "an ingest syncs the MANIFEST and its folder");
    let (all, _) = with_failing_syncs(disk.that_rolls_at(1), ROLLED, &end);
    assert!(all > one * ROLLED as i32, "{all} syncs: a new MANIFEST costs some more");
}

/// A database without an engine, with the six files that it had ingested before, on a disk.
fn raw_with_files(
    disk: FaultyDisk,
    folder: &std::path::Path,
) -> (rocksdb::DB, crate::Tuning, std::path::PathBuf) {
    let options = Options { database_disk: Some(disk), ..Options::small(folder) };
    let tuning = crate::Tuning::new(&options).unwrap();
    let data = folder.join("data");
    let db = raw(&tuning, &data);
    for file in 0..6 {
        ingest_raw(&db, &tuning, folder, (file, RAW_KEYS)).unwrap();
    }
    (db, tuning, data)
}

/// An ingest writes two records: numbers of files, then the files. When it is the second that begins a new MANIFEST,
/// that one is current before its folder is synced.
#[test]
fn an_ingest_that_begins_a_new_manifest_may_fail_at_every_sync() {
    let disk = FaultyDisk::that_keeps();
    let before = {
        let folder = tempfile::tempdir().unwrap();
        let (_db, _, data) = raw_with_files(disk.that_rolls_at(1 << 30), folder.path());
        let entries = std::fs::read_dir(data).unwrap().flatten();
        let of = |entry: std::fs::DirEntry| entry.metadata().unwrap().len();
        let is = |entry: &std::fs::DirEntry| {
            entry.file_name().to_string_lossy().starts_with("MANIFEST-")
        };
        entries.filter(is).map(of).max().unwrap()
    };
    // A quarter more than this is behind the first record of the seventh ingest.
    let disk = disk.that_rolls_at((before + 8) * 4 / 5);
    let mut syncs = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let (db, tuning, data) = raw_with_files(disk, folder.path());
        disk.fail_sync(syncs + 1);
        let ingested = ingest_raw(&db, &tuning, folder.path(), (6, RAW_KEYS));
        let came = disk.fail_sync(0);
        drop(db);

        let db = raw(&tuning, &data);
        let bulk = handle(&db, Family::Bulk).unwrap();
        let there = |file: u32| {
            let key = [file.to_be_bytes(), 0_u32.to_be_bytes()].concat();
            db.get_cf(&bulk, key).unwrap().is_some()
        };
        assert!((0..6).all(there), "what was acknowledged is there, sync {}", syncs + 1);
        assert!(ingested.is_err() || there(6), "sync {}", syncs + 1);
        if !came {
            break;
        }
        syncs += 1;
    }
    assert_eq!(syncs, 4, "of a record, of the link, of a new MANIFEST, and of its name");
}

#[test]
fn a_manifest_that_cannot_be_synced_loses_nothing_of_an_ingest() {
    with_failing_syncs_of_both(FaultyDisk::that_keeps(), |engine| engine.shutdown());
}

#[test]
fn a_manifest_that_cannot_be_synced_loses_nothing_even_if_the_power_goes_then() {
    let disk = FaultyDisk::that_loses();
    with_failing_syncs_of_both(disk, |engine| cut(disk, engine));
}

/// Names of our own in a store, shorter ones first, with what is in the files; `None` for a folder. A file that goes while
/// they are read, because the store lives, is gone.
fn own_names(store: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    fn visit(folder: &Path, found: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => Some(bytes),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(_) => None,
            };
            visit(&path, found);
            found.insert(path, bytes);
        }
    }
    let mut found = BTreeMap::new();
    for kind in [crate::claim::STAGING, crate::trash::TRASH] {
        visit(&store.join(kind), &mut found);
    }
    found
}

/// Which names of our own are lost.
#[derive(Clone, Copy, Debug)]
enum Lost {
    None,
    /// Those that came.
    New,
    /// That they went.
    Removals,
    Both,
}

const LOST: [Lost; 4] = [Lost::None, Lost::New, Lost::Removals, Lost::Both];

/// Makes names of our own what they were `before`. Answers how many that were.
fn lose(store: &Path, before: &BTreeMap<PathBuf, Option<Vec<u8>>>, lost: Lost) -> usize {
    let now = own_names(store);
    let mut count = 0;
    if matches!(lost, Lost::New | Lost::Both) {
        for (path, bytes) in now.iter().rev().filter(|(path, _)| !before.contains_key(*path)) {
            match bytes {
                None => std::fs::remove_dir(path).unwrap(),
                Some(_) => std::fs::remove_file(path).unwrap(),
            }
            count += 1;
        }
    }
    if matches!(lost, Lost::Removals | Lost::Both) {
        for (path, bytes) in before.iter().filter(|(path, _)| !now.contains_key(*path)) {
            match bytes {
                None => std::fs::create_dir(path).unwrap(),
                Some(bytes) => std::fs::write(path, bytes).unwrap(),
            }
            count += 1;
        }
    }
    count
}

#[test]
fn the_power_may_go_at_every_step_of_ingest() {
    let points =
        ["ingest.before_intent", "ingest.after_intent", "ingest.before_mark", "ingest.after_mark"];
    let mut lost_names = 0;
    for (point, lost) in points.into_iter().flat_map(|point| LOST.map(|lost| (point, lost))) {
        let (folder, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::that_loses());
        let engine = open_on(disk, &folder);
        let claim = ingested(&engine, OWNER, 1);
        let before = own_names(folder.path());
        engine.crash().arm(point, 1);
        ingest_next(&engine, &claim, 1).unwrap_err();
        cut(disk, engine);
        lost_names += lose(folder.path(), &before, lost);

        let engine = open_on(disk, &folder);
        let ingested = matches!(point, "ingest.before_mark" | "ingest.after_mark");
        assert_eq!(whole_batches(&engine, &claim), u32::from(ingested), "{point}, {lost:?}");
    }
    assert!(lost_names > 0, "staged files were lost");
}

#[test]
fn the_power_may_go_at_every_step_of_reclaim() {
    // These come when nobody else has a link to a kept file any more.
    let late = [
        "reclaim.before_cut",
        "reclaim.after_cut",
        "reclaim.before_finish",
        "reclaim.after_finish",
    ];
    let points: std::collections::BTreeSet<&str> = RECLAIM_POINTS.into_iter().chain(late).collect();
    let mut lost_names = [0; LOST.len()];
    for (point, lost) in points.into_iter().flat_map(|point| LOST.map(|lost| (point, lost))) {
        let (folder, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::that_loses());
        let engine = open_on(disk, &folder);
        let (neighbour, doomed) = doomed(&engine);
        // A checkpoint's links: files that are dropped then are kept by a link of our own.
        let checkpoint = folder.path().join("checkpoints/held");
        std::fs::create_dir_all(&checkpoint).unwrap();
        for file in std::fs::read_dir(engine.data_path()).unwrap().map(|entry| entry.unwrap()) {
            if file.path().extension().is_some_and(|extension| extension == "sst") {
                std::fs::hard_link(file.path(), checkpoint.join(file.file_name())).unwrap();
            }
        }
        let before = own_names(folder.path());
        let released = late.contains(&point);
        engine.crash().arm(point, 1);
        condemn(&engine, OWNER);
        if released {
            until("it waits for the checkpoint", || {
                own_names(folder.path()).keys().any(|path| in_trash(path))
            });
            std::fs::remove_dir_all(&checkpoint).unwrap();
        }
        wait_dead(&engine, point);
        cut(disk, engine);
        lost_names[lost as usize] += lose(folder.path(), &before, lost);

        let engine = open_on(disk, &folder);
        if !released {
            std::fs::remove_dir_all(&checkpoint).unwrap();
        }
        wait_gone(&engine, &[doomed.id]);
        assert_clean(&engine, doomed.id, &BTreeMap::new());
        assert_eq!(rows(&engine, neighbour.span().unwrap()), 500, "after {point}, {lost:?}");
    }
    let [_, new, removals, _] = lost_names;
    assert!(new > 0 && removals > 0, "kept links and removals of staged files were lost");
}

fn in_trash(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == crate::trash::TRASH)
}

#[test]
fn the_power_may_go_right_after_an_acknowledged_commit() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::that_loses());
    let span = {
        let engine = open_on(disk, &folder);
        let span = SpanRef { id: engine.new_span_id().unwrap(), family: SpanFamily::Rows };
        for (key, sync) in [(b"synced", Sync::Yes), (b"cached", Sync::No)] {
            let mut batch = Batch::new();
            batch.put_row(span, key, b"value");
            engine.commit(batch, sync).unwrap();
        }
        cut(disk, engine);
        span
    };
    let engine = open_on(disk, &folder);
    assert!(engine.get_row(span, b"synced").unwrap().is_some());
    assert!(engine.get_row(span, b"cached").unwrap().is_none(), "this disk forgets");
}

#[test]
fn a_flush_of_one_family_tears_no_batch_apart_when_the_power_goes_then() {
    let of_both = [(Family::Claims, kind::CLAIM), (Family::History, kind::JOB_HISTORY)];
    for flushed in [None, Some(Family::Claims), Some(Family::History)] {
        let (folder, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::that_loses());
        let engine = open_on(disk, &folder);
        let mut batch = Batch::new();
        of_both.iter().for_each(|(family, kind)| batch.put_record(*family, b"k", *kind, b"body"));
        engine.commit(batch, Sync::No).unwrap();
        if let Some(family) = flushed {
            engine.flush(family).unwrap();
        }
        cut(disk, engine);
        let engine = open_on(disk, &folder);
        let there =
            of_both.map(|(family, kind)| engine.get_record(family, b"k", kind).unwrap().is_some());
        assert_eq!(there, [flushed.is_some(); 2], "{flushed:?} was flushed");
    }
}

#[test]
fn a_disk_without_hard_links_takes_batches_as_copies_and_gives_all_of_them_back() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open_on(FaultyDisk::that_keeps().that_cannot_link(), &folder);
    let kept = ingested(&engine, OwnerId::from_raw(1), 2);
    let doomed = ingested(&engine, OWNER, 2);
    assert_eq!(rows(&engine, kept.span().unwrap()), 1000);
    let staged = |claim: &Claim| std::fs::read_dir(engine.staging_dir(claim.id)).unwrap().count();
    assert_eq!((staged(&kept), staged(&doomed)), (0, 0), "the originals are gone");
    cancel(&engine, OWNER);
    assert_clean(&engine, doomed.id, &BTreeMap::new());
    assert_eq!(rows(&engine, kept.span().unwrap()), 1000);
}
