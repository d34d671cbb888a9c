//! Power cuts and a MANIFEST that fails, by RocksDB's own fault-injection file system: what RocksDB did not sync is
//! really lost. Files that we write ourselves are safe here; `tests/tests/kill.rs` cuts the power of those as well,
//! on a disk of our own.

use super::*;
use crate::error::Result;
use crate::ffi::FaultyDisk;
use crate::ingest::Recovered;

fn open_on(disk: FaultyDisk, folder: &tempfile::TempDir) -> Engine {
    Engine::open(Options { disk: Some(disk), ..Options::small(folder.path()) }).unwrap()
}

/// The power goes now, and comes back when nothing has the store open.
fn cut(disk: FaultyDisk, engine: Engine) {
    disk.off();
    engine.shutdown();
    drop(engine);
    disk.on();
}

/// Stages rows 500 to 599 as the second batch and ingests it.
fn ingest_second(engine: &Engine, claim: &Claim) -> Result<Recovered> {
    let mut writer = SpanWriter::create(engine, claim, 1).unwrap();
    for n in 500..600 {
        writer.put(&user_key(n), b"second").unwrap();
    }
    let staged = writer.finish().unwrap();
    engine.ingest(claim, &staged, b"second", |_| {})
}

/// The second batch is in or not, and what the span is said to hold is what it holds.
fn assert_whole(engine: &Engine, claim: &Claim) -> usize {
    let recovered = engine.recover_span(claim).unwrap();
    let is_in = rows(engine, claim.span().unwrap());
    assert!(is_in == 600 || is_in == 500, "{is_in} rows");
    assert_eq!(recovered.rows, is_in as u64);
    assert_eq!(recovered.next_batch, if is_in == 600 { 2 } else { 1 });
    assert_eq!(engine.doctor(&BTreeMap::new()).unwrap(), []);
    is_in
}

/// Ingests with the nth sync of the MANIFEST or its folder failing, for n until none fails, and ends the engine by `end`. Answers how
/// many failed.
fn with_failing_syncs(disk: FaultyDisk, end: impl Fn(Engine)) -> i32 {
    for nth in 1.. {
        let folder = tempfile::tempdir().unwrap();
        let engine = open_on(disk, &folder);
        let claim = ingested(&engine, OWNER, 1);
        disk.fail_sync(nth);
        let ingested = ingest_second(&engine, &claim);
        disk.fail_sync(0);
        end(engine);

        let engine = open_on(disk, &folder);
        let is_in = assert_whole(&engine, &claim);
        cancel(&engine, OWNER);
        assert_clean(&engine, claim.id, &BTreeMap::new());
        match ingested {
            Err(error) => assert!(error.to_string().contains("a sync that fails"), "{error}"),
            Ok(_) => {
                assert_eq!(is_in, 600, "it was acknowledged");
                return nth - 1;
            }
        }
    }
    0
}

#[test]
fn a_manifest_that_cannot_be_synced_loses_nothing_of_an_ingest() {
    let disk = FaultyDisk::that_keeps();
    for disk in [disk, disk.that_rolls()] {
        let failed = with_failing_syncs(disk, |engine| engine.shutdown());
        assert!(failed > 1, "an ingest syncs the MANIFEST and its folder");
    }
}

#[test]
fn a_manifest_that_cannot_be_synced_loses_nothing_even_if_the_power_goes_then() {
    let disk = FaultyDisk::that_loses();
    for disk in [disk, disk.that_rolls()] {
        let failed = with_failing_syncs(disk, |engine| cut(disk, engine));
        assert!(failed > 1, "an ingest syncs the MANIFEST and its folder");
    }
}

#[test]
fn the_power_may_go_at_every_step_of_ingest() {
    for point in
        ["ingest.before_intent", "ingest.after_intent", "ingest.before_mark", "ingest.after_mark"]
    {
        let (folder, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::that_loses());
        let engine = open_on(disk, &folder);
        let claim = ingested(&engine, OWNER, 1);
        engine.crash().arm(point, 1);
        ingest_second(&engine, &claim).unwrap_err();
        cut(disk, engine);

        let engine = open_on(disk, &folder);
        let ingested = matches!(point, "ingest.before_mark" | "ingest.after_mark");
        assert_eq!(assert_whole(&engine, &claim), if ingested { 600 } else { 500 }, "{point}");
    }
}

#[test]
fn the_power_may_go_at_every_step_of_reclaim() {
    for point in RECLAIM_POINTS {
        let (folder, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::that_loses());
        let engine = open_on(disk, &folder);
        let (neighbour, doomed) = dies_at(&engine, point);
        cut(disk, engine);

        let engine = open_on(disk, &folder);
        wait_gone(&engine, &[doomed.id]);
        assert_clean(&engine, doomed.id, &BTreeMap::new());
        assert_eq!(rows(&engine, neighbour.span().unwrap()), 500, "after {point}");
    }
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
