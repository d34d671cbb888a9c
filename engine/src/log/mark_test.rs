//! A log in which anything changed is found out, if it was synced; one that was torn is not.

use std::path::{Path, PathBuf};

use super::*;
use crate::batch::{Batch, Sync};
use crate::family::Family;
use crate::id::{SpanFamily, SpanRef};
use crate::log::scan::BLOCK;
use crate::open::Engine;
use crate::options::Options;

/// Commits of a store, of which one takes several blocks of the log.
const COMMITS: u64 = 24;
const LARGE: u64 = 9;

fn value(commit: u64) -> Vec<u8> {
    let length = if commit == LARGE { 80_000 } else { 500 };
    (0..length).map(|n: u64| (n.wrapping_mul(commit + 0x9e37_79b9) >> 7) as u8).collect()
}

/// A store whose commits all are in one file of the log and that was left; those from `unsynced` on were not synced.
fn store(path: &Path, unsynced: u64) -> SpanRef {
    let mut options = Options::small(path);
    options.small = false;
    let engine = Engine::open(options).unwrap();
    let span = SpanRef { id: engine.new_span_id().unwrap(), family: SpanFamily::Rows };
    for commit in 0..COMMITS {
        let mut batch = Batch::new();
        batch.put_row(span, &commit.to_be_bytes(), &value(commit));
        engine.commit(batch, if commit < unsynced { Sync::Yes } else { Sync::No }).unwrap();
    }
    // Or the end of its life would sync the rest.
    engine.crash().arm_any(1);
    assert!(engine.crash().point("left").is_err());
    engine.shutdown();
    span
}

fn log_of(store: &Path) -> PathBuf {
    let logs = log_files(&store.join("data")).unwrap();
    logs.last().unwrap().1.clone()
}

fn verdict(log: &[u8], synced: u64) -> (Verdict, Option<u64>) {
    let mut scan = Scan::default();
    scan.read(Path::new("1.log"), log).unwrap();
    (scan.verdict(synced), scan.last)
}

fn rows(engine: &Engine, span: SpanRef) -> u64 {
    let found = (0..COMMITS).map(|commit| engine.get_row(span, &commit.to_be_bytes()).unwrap());
    let mut count = 0;
    for (commit, row) in found.enumerate() {
        let Some(row) = row else { continue };
        assert_eq!(row.as_ref(), value(commit as u64));
        assert_eq!(count, commit as u64, "of the commits a beginning is left");
        count += 1;
    }
    count
}

#[test]
fn a_mark_has_two_numbers_and_a_checksum() {
    let content = Content { synced: 0x0102_0304_0506, first_log: 12 };
    let bytes = content.encode();
    assert_eq!(bytes[..16], [0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0, 0, 12]);
    assert_eq!(bytes[16..], crc32fast::hash(&bytes[..16]).to_be_bytes());
    assert_eq!(Content::decode(&bytes), Some(content));
    for bit in 0..BYTES * 8 {
        let mut changed = bytes;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Content::decode(&changed), None, "bit {bit}");
    }
    for length in 0..BYTES {
        assert_eq!(Content::decode(&bytes[..length]), None, "{length} bytes");
    }
    assert_eq!(Content::decode(&[bytes.as_slice(), b"more"].concat()), None);
}

#[test]
fn whatever_changes_in_a_synced_log_is_found() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path(), COMMITS);
    let mark = read(folder.path()).unwrap().unwrap();
    let log = std::fs::read(log_of(folder.path())).unwrap();
    assert!(log.len() > 80_000, "there are batches of several blocks");
    assert_eq!(verdict(&log, mark.synced), (Verdict::Whole, Some(mark.synced)));
    for at in (0..log.len()).step_by(11) {
        let mut changed = log.clone();
        changed[at] ^= 1 << (at % 8);
        let (found, last) = verdict(&changed, mark.synced);
        match found {
            // The first batch is not there, so they might be in sorted files.
            Verdict::Flushed => assert_eq!(last, None, "byte {at}"),
            Verdict::Damaged(place) => assert!(place.offset <= at as u64, "byte {at}: {place:?}"),
            // At the end of a block there may be a few bytes that are not used.
            Verdict::Whole => assert!(at % BLOCK >= BLOCK - 6, "byte {at}"),
        }
    }
    for length in (0..log.len()).step_by(37) {
        let (found, last) = verdict(&log[..length], mark.synced);
        assert!(last < Some(mark.synced) && found != Verdict::Whole, "{length} bytes: {found:?}");
    }
    // A hole of zeros is what some file systems leave of blocks.
    for at in (0..log.len() - 4096).step_by(4096) {
        let mut changed = log.clone();
        changed[at..at + 4096].fill(0);
        assert_ne!(verdict(&changed, mark.synced).0, Verdict::Whole, "zeros from {at}");
    }
}

#[test]
fn what_was_not_synced_may_be_torn() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path(), COMMITS / 2);
    let mark = read(folder.path()).unwrap().unwrap();
    let log = std::fs::read(log_of(folder.path())).unwrap();
    // Where the last synced batch ends.
    let end =
        (0..=log.len()).find(|&length| verdict(&log[..length], mark.synced).0 == Verdict::Whole);
    let end = end.unwrap();
    assert!(end < log.len() - 5_000);
    for at in (end..log.len()).step_by(7) {
        let mut changed = log.clone();
        changed[at] ^= 1;
        assert_eq!(verdict(&changed, mark.synced).0, Verdict::Whole, "byte {at}");
        assert_eq!(verdict(&log[..at], mark.synced).0, Verdict::Whole, "{at} bytes");
    }
}

#[test]
fn a_store_whose_log_was_changed_is_not_opened_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let span = store(&path, COMMITS);
    let log = log_of(&path);
    let whole = std::fs::read(&log).unwrap();
    let middle = whole.len() / 2;
    let mut changed = whole.clone();
    changed[middle] ^= 1;
    // The very first batch, which alone does not tell that the rest was not flushed.
    let mut first = whole.clone();
    first[9] ^= 1;
    let cut = {
        let bad = |length: usize| {
            let mut scan = Scan::default();
            scan.read(&log, &whole[..length]).unwrap();
            scan.bad.is_some()
        };
        (middle..whole.len()).find(|&length| !bad(length)).unwrap()
    };
    let cases = [("changed", changed), ("first", first), ("cut", whole[..cut].to_vec())];
    for (case, bytes) in cases {
        std::fs::write(&log, &bytes).unwrap();
        for read_only in [false, true] {
            let options = Options { read_only, ..Options::small(&path) };
            let refused = Engine::open(options).map(|_| ()).unwrap_err();
            assert!(matches!(refused, EngineError::Damaged(_)), "{case}: {refused}");
            let text = refused.to_string();
            assert!(text.contains("log-mark") && text.contains("number"), "{case}: {text}");
        }
        assert_eq!(std::fs::read(&log).unwrap(), bytes, "{case}");
    }
    // Whoever wants what is left gets it, without a gap.
    std::fs::remove_file(path.join(LOG_MARK)).unwrap();
    let engine = Engine::open(Options::small(&path)).unwrap();
    assert!((1..COMMITS).contains(&rows(&engine, span)));
    engine.shutdown();
}

#[test]
fn a_log_that_is_gone_is_missed_and_one_that_was_flushed_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let span = store(&path, COMMITS);
    let log = log_of(&path);
    let aside = folder.path().join("aside");
    std::fs::rename(&log, &aside).unwrap();
    let refused = Engine::open(Options::small(&path)).map(|_| ()).unwrap_err();
    assert!(matches!(&refused, EngineError::Damaged(text) if text.contains("ends too early")));
    std::fs::rename(&aside, &log).unwrap();
    for _ in 0..3 {
        // The first of these flushes what was in the log; all of them leave an empty log and a mark.
        let engine = Engine::open(Options::small(&path)).unwrap();
        assert_eq!(rows(&engine, span), COMMITS);
        let mut batch = Batch::new();
        batch.put_row(span, b"one", b"more");
        engine.commit(batch, Sync::Yes).unwrap();
        engine.db().flush_cf(&engine.db().cf_handle("rows").unwrap()).unwrap();
        engine.shutdown();
        assert!(read(&path).unwrap().unwrap().synced > 0);
    }
}

#[test]
fn a_death_between_opening_the_database_and_marking_it_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let span = store(&path, COMMITS);
    let before = std::fs::read(path.join(LOG_MARK)).unwrap();
    let engine = Engine::open(Options::small(&path)).unwrap();
    engine.shutdown();
    drop(engine);
    // What was in the log is in sorted files, and the mark is still that of the life before.
    assert_ne!(std::fs::read(path.join(LOG_MARK)).unwrap(), before);
    std::fs::write(path.join(LOG_MARK), &before).unwrap();
    let engine = Engine::open(Options::small(&path)).unwrap();
    assert_eq!(rows(&engine, span), COMMITS);
    engine.shutdown();
}

#[test]
fn a_torn_log_of_an_earlier_life_that_came_back_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let span = store(&path, COMMITS / 2);
    let log = log_of(&path);
    let torn = std::fs::read(&log).unwrap();
    std::fs::write(&log, &torn[..torn.len() - 100]).unwrap();
    let engine = Engine::open(Options::small(&path)).unwrap();
    let left = rows(&engine, span);
    assert_eq!(left, COMMITS - 1, "what was not synced and is not torn is there");
    let mut batch = Batch::new();
    batch.put_row(span, &left.to_be_bytes(), &value(left));
    engine.commit(batch, Sync::Yes).unwrap();
    engine.shutdown();
    drop(engine);
    assert!(!log.exists(), "opening the store flushed it");
    std::fs::write(&log, &torn[..torn.len() - 100]).unwrap();
    let engine = Engine::open(Options::small(&path)).unwrap();
    assert_eq!(rows(&engine, span), COMMITS);
    engine.shutdown();
}

#[test]
fn commits_at_the_same_time_are_all_marked() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(Options::small(folder.path())).unwrap();
    let span = SpanRef { id: engine.new_span_id().unwrap(), family: SpanFamily::Rows };
    std::thread::scope(|scope| {
        for thread in 0..6_u64 {
            let (engine, store) = (&engine, folder.path());
            scope.spawn(move || {
                for n in 0..40_u64 {
                    let mut batch = Batch::new();
                    for part in 0..=n % 3 {
                        batch.put_row(
                            span,
                            &[thread, n, part].map(u64::to_be_bytes).concat(),
                            b"row",
                        );
                    }
                    let before = engine.db().latest_sequence_number();
                    engine.commit(batch, Sync::Yes).unwrap();
                    let mark = read(store).unwrap().unwrap();
                    assert!(mark.synced > before, "{mark:?} after {before}");
                }
            });
        }
    });
    let mark = read(folder.path()).unwrap().unwrap();
    assert_eq!(mark.synced, engine.db().latest_sequence_number());
    engine.shutdown();
}

#[test]
fn a_mark_that_is_damaged_or_gone_promises_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let span = store(&path, COMMITS);
    let mark = std::fs::read(path.join(LOG_MARK)).unwrap();
    for bytes in [Some(&mark[..7]), Some(b"something else of 20"), Some(b""), None] {
        match bytes {
            Some(bytes) => std::fs::write(path.join(LOG_MARK), bytes).unwrap(),
            None => std::fs::remove_file(path.join(LOG_MARK)).unwrap(),
        }
        let engine = Engine::open(Options::small(&path)).unwrap();
        assert_eq!(rows(&engine, span), COMMITS);
        engine.shutdown();
    }
}

#[test]
fn a_store_works_where_the_mark_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("000004.log"), b"").unwrap();
    let mark = LogMark::begin(&folder.path().join("missing"), &data).unwrap();
    assert!(mark.file.is_none() && mark.has_failed.load(Ordering::Relaxed));
    mark.note_synced(5);
    assert_eq!(mark.synced.load(Ordering::Relaxed), 0);
}

#[test]
fn the_end_of_a_life_syncs_what_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(Options::small(folder.path())).unwrap();
    let span = SpanRef { id: engine.new_span_id().unwrap(), family: SpanFamily::Rows };
    let synced = read(folder.path()).unwrap().unwrap().synced;
    for n in 0..3_u64 {
        let mut batch = Batch::new();
        batch.put_row(span, &n.to_be_bytes(), b"row");
        engine.commit(batch, Sync::No).unwrap();
    }
    assert_eq!(read(folder.path()).unwrap().unwrap().synced, synced);
    engine.shutdown();
    assert_eq!(read(folder.path()).unwrap().unwrap().synced, synced + 3);
}

#[test]
fn a_torn_log_of_this_life_that_came_back_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let engine = Engine::open(Options::small(&path)).unwrap();
    let span = SpanRef { id: engine.new_span_id().unwrap(), family: SpanFamily::Rows };
    let commit = |commit: u64| {
        let mut batch = Batch::new();
        batch.put_row(span, &commit.to_be_bytes(), &value(commit));
        engine.commit(batch, Sync::Yes).unwrap();
    };
    (0..COMMITS / 2).for_each(commit);
    let log = log_of(&path);
    let torn = std::fs::read(&log).unwrap();
    for family in Family::ALL {
        engine.db().flush_cf(&engine.db().cf_handle(family.name()).unwrap()).unwrap();
    }
    (COMMITS / 2..COMMITS).for_each(commit);
    assert!(!log.exists(), "all that was in it is in sorted files");
    engine.shutdown();
    drop(engine);
    // As after a loss of power: cut, in the middle of a batch, but the name is there again.
    std::fs::write(&log, &torn[..torn.len() - 100]).unwrap();
    let mark = read(&path).unwrap().unwrap();
    let files: Vec<PathBuf> =
        log_files(&path.join("data")).unwrap().into_iter().map(|(_, path)| path).collect();
    let verdict = Scan::of(&files).unwrap().verdict(mark.synced);
    assert!(matches!(verdict, Verdict::Damaged(_)), "the log alone does not tell: {verdict:?}");
    let engine = Engine::open(Options::small(&path)).unwrap();
    assert_eq!(rows(&engine, span), COMMITS);
    engine.shutdown();
}
