//! One byte of one file of a closed store is changed: the store refuses to open, or a read says what is wrong, or
//! what it answers is right. Never a panic, never a row that was not written, never one that is not there any more.

use std::ops::Bound;
use std::path::{Path, PathBuf};

use super::*;
use crate::budget::Class;
use crate::id::SpanFamily;
use crate::record::{Claim, ClaimKind};
use crate::writer::{SpanWriter, StagedBatch};

const ROWS: u64 = 1500;

/// Of these, so many are in a sorted file and the rest in the log, whatever the machine's speed.
const FLUSHED: u64 = 1000;

/// Damages of each kind of file that are tried: each opens the store once.
const DAMAGES: u64 = 10;

fn value(k: u64) -> Vec<u8> {
    // Does not compress well, so that there are several files.
    (0..40_u64).map(|n| (k.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (n % 57)) as u8).collect()
}

/// A closed store with rows, some in files and some in the log.
fn store(path: &Path) -> SpanRef {
    let engine = Engine::open(Options::small(path)).unwrap();
    let span = SpanRef { id: engine.new_span_id().unwrap(), family: SpanFamily::Rows };
    for k in 0..ROWS {
        let mut batch = Batch::new();
        batch.put_row(span, &k.to_be_bytes(), &value(k));
        engine.commit(batch, Sync::No).unwrap();
        if k + 1 == FLUSHED {
            let family = handle(engine.db(), Family::Rows).unwrap();
            engine.db().flush_cf(&family).unwrap();
        }
    }
    engine.shutdown();
    span
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let mut all = Vec::new();
    files(from, &mut all);
    for file in all {
        let copy = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(&file, copy).unwrap();
    }
}

/// What a scan finds: how many rows, each of them checked, or that it says what is wrong.
fn scan(engine: &Engine, span: SpanRef) -> Result<u64> {
    let view = engine.view();
    let mut rows = view.scan(span, Bound::Unbounded, Bound::Unbounded, false)?;
    let mut count = 0_u64;
    while let Some((key, found)) = rows.next()? {
        assert_eq!(key, count.to_be_bytes(), "rows come in the order of their commits");
        assert_eq!(found, value(count), "row {count}");
        count += 1;
    }
    Ok(count)
}

#[test]
fn a_changed_byte_is_noticed_or_does_not_matter() {
    let (whole, span) = {
        let folder = tempfile::tempdir().unwrap();
        let span = store(&folder.path().join("store"));
        (folder, span)
    };
    let mut seed = 7_u64;
    let mut draw = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let (mut refused, mut noticed, mut harmless) = (0, 0, 0);
    // RocksDB's own notes (LOG) are read by nobody.
    let kinds = [".sst", ".log", "MANIFEST-", "CURRENT", "OPTIONS-", "IDENTITY", "log-mark"];
    let is_kind = |file: &Path, kind: &str| {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| name.starts_with(kind) || name.ends_with(kind))
    };
    for damage in 0..DAMAGES * kinds.len() as u64 {
        let kind = kinds[damage as usize % kinds.len()];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        copy(&whole.path().join("store"), &path);
        let mut all = Vec::new();
        files(&path, &mut all);
        all.sort();
        all.retain(|file| is_kind(file, kind));
        assert!(!all.is_empty(), "there is a file of the kind {kind}");
        let file = &all[draw(all.len() as u64) as usize];
        let mut bytes = std::fs::read(file).unwrap();
        let at = draw(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << draw(8);
        std::fs::write(file, bytes).unwrap();
        let name = format!("{damage}: byte {at} of {}", file.display());
        let engine = match Engine::open(Options::small(&path)) {
            Ok(engine) => engine,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                assert_ne!(kind, "OPTIONS-", "{name}: {error}");
                refused += 1;
                continue;
            }
        };
        match scan(&engine, span) {
            Ok(count) => {
                assert_eq!(count, ROWS, "{name}");
                harmless += 1;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                noticed += 1;
            }
        }
        for _ in 0..20 {
            let k = draw(ROWS);
            match engine.view().get_row(span, &k.to_be_bytes()) {
                Ok(Some(found)) => assert_eq!(found.as_ref(), value(k), "{name}: row {k}"),
                Ok(None) => panic!("{name}: row {k} is gone"),
                Err(_) => {}
            }
        }
        engine.shutdown();
    }
    assert!(refused > 0 && noticed > 0 && harmless > 0, "{refused} {noticed} {harmless}");
}

/// Rows of a staged batch.
fn staged(engine: &Engine, claim: &Claim) -> StagedBatch {
    let mut writer = SpanWriter::create(engine, claim, 0).unwrap();
    for k in 0..ROWS {
        writer.put(&k.to_be_bytes(), &value(k)).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn a_staged_file_with_a_changed_byte_does_not_get_in_or_does_not_matter() {
    const CASES: u64 = 60;
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(Options::small(folder.path())).unwrap();
    let (owner, epoch) = (OwnerId::from_raw(5), Epoch::from_raw(1));
    let mut random = 11_u64;
    let mut draw = |below: usize| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    let mut refused = 0;
    for case in 0..CASES {
        let claim = engine.claim(owner, epoch, ClaimKind::Span(SpanFamily::Bulk)).unwrap();
        let span = claim.span().unwrap();
        let batch = staged(&engine, &claim);
        let file = &batch.files[0];
        let mut bytes = std::fs::read(file).unwrap();
        let name = match case % 4 {
            0 => {
                bytes.truncate(draw(bytes.len()));
                format!("{case}: cut to {} bytes", bytes.len())
            }
            _ => {
                let at = draw(bytes.len());
                bytes[at] ^= 1 << draw(8);
                format!("{case}: byte {at} of {}", bytes.len())
            }
        };
        std::fs::write(file, bytes).unwrap();
        if engine.ingest(&claim, &batch, b"checkpoint", |_| {}).is_err() {
            refused += 1;
            let recovered = engine.recover_span(&claim).unwrap();
            assert_eq!((recovered.next_batch, recovered.rows), (0, 0), "{name}");
            assert_eq!(scan(&engine, span).unwrap(), 0, "{name}");
            let again = staged(&engine, &claim);
            engine.ingest(&claim, &again, b"checkpoint", |_| {}).unwrap();
        }
        assert_eq!(scan(&engine, span).unwrap(), ROWS, "{name}");
    }
    assert!(refused > CASES / 2, "{refused} of {CASES}");
    engine.shutdown();
}

#[test]
fn a_staged_file_is_read_back_at_the_expense_of_ingest() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(Options::small(folder.path())).unwrap();
    let (owner, epoch) = (OwnerId::from_raw(5), Epoch::from_raw(1));
    let claim = engine.claim(owner, epoch, ClaimKind::Span(SpanFamily::Bulk)).unwrap();
    let batch = staged(&engine, &claim);
    let bytes: u64 = batch.files.iter().map(|file| file.metadata().unwrap().len()).sum();
    engine.ingest(&claim, &batch, b"checkpoint", |_| {}).unwrap();
    assert_eq!(engine.governor().taken(Class::Ingest), bytes);
    engine.shutdown();
}

#[test]
fn a_store_that_meets_damage_when_it_merges_files_says_that_it_takes_no_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let span = {
        let engine = Engine::open(Options::small(&path)).unwrap();
        let family = handle(engine.db(), Family::Rows).unwrap();
        engine.db().set_options_cf(&family, &[("disable_auto_compactions", "true")]).unwrap();
        let span = SpanRef { id: engine.new_span_id().unwrap(), family: SpanFamily::Rows };
        for _ in 0..2 {
            for k in 0..100_u64 {
                let mut batch = Batch::new();
                batch.put_row(span, &k.to_be_bytes(), &value(k));
                engine.commit(batch, Sync::No).unwrap();
            }
            engine.db().flush_cf(&family).unwrap();
        }
        engine.shutdown();
        span
    };
    let mut all = Vec::new();
    files(&path, &mut all);
    for file in all.iter().filter(|file| file.extension().is_some_and(|ending| ending == "sst")) {
        let mut bytes = std::fs::read(file).unwrap();
        bytes[50] ^= 1;
        std::fs::write(file, bytes).unwrap();
    }
    // Files of level 0 are merged as soon as the store is open.
    let engine = Engine::open(Options::small(&path)).unwrap();
    let began = Instant::now();
    let refused = loop {
        let mut batch = Batch::new();
        batch.put_row(span, b"more", b"row");
        if let Err(error) = engine.commit(batch, Sync::Yes) {
            break error;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "the damage is not noticed");
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(matches!(refused, EngineError::Damaged(_)), "{refused}");
    let broken = engine.inner.broken.borrow().clone();
    assert!(broken.is_some_and(|broken| broken.damaged), "who waits for a job hears of it");
}
