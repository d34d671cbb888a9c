//! The power goes with every operation on files of our own, and every one of them fails: links to dropped files and their
//! removal, staging folders, the ballast and its cuts. In a power cut RocksDB's disk loses what was not synced at the same
//! moment.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::ballast::{BALLAST, Ballast};
use crate::disk::forgetful::{ForgetfulDisk, Lost};
use crate::error::Result;
use crate::ffi::FaultyDisk;
use crate::ingest::Recovered;

/// More than a step, so that it is cut before it is removed.
const BALLAST_BYTES: u64 = 20 << 20;

struct Store {
    folder: tempfile::TempDir,
    disk: ForgetfulDisk,
    database_disk: FaultyDisk,
}

impl Store {
    fn new() -> Self {
        let database_disk = FaultyDisk::that_loses();
        let disk = ForgetfulDisk::new(move || database_disk.off());
        Self { folder: tempfile::tempdir().unwrap(), disk, database_disk }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn open(&self) -> Result<Engine> {
        Engine::open(Options {
            disk: Arc::new(self.disk.clone()),
            database_disk: Some(self.database_disk),
            ..Options::small(self.path())
        })
    }

    /// The ballast: not the engine's own, which looks when it likes.
    fn ballast(&self) -> Ballast {
        Ballast::new(Arc::new(self.disk.clone()), self.path(), BALLAST_BYTES)
    }

    /// The power goes, if it has not, and comes back. Answers how much of our own was lost.
    fn cut(&self, engine: Option<Engine>, lost: Lost) -> usize {
        self.disk.off();
        if let Some(engine) = engine {
            engine.shutdown();
        }
        self.database_disk.on();
        self.disk.on(lost).unwrap()
    }

    /// Links of a checkpoint to all files that there are.
    fn hold(&self, engine: &Engine) {
        let held = self.path().join("checkpoints/held");
        std::fs::create_dir_all(&held).unwrap();
        for file in std::fs::read_dir(engine.data_path()).unwrap().map(|entry| entry.unwrap()) {
            if file.path().extension().is_some_and(|extension| extension == "sst") {
                // RocksDB may just remove it.
                let _ = std::fs::hard_link(file.path(), held.join(file.file_name()));
            }
        }
    }

    fn let_go(&self) {
        let _ = std::fs::remove_dir_all(self.path().join("checkpoints"));
    }
}

/// What a life has acknowledged.
#[derive(Default)]
struct Acknowledged {
    claim: Option<Claim>,
    rows: u64,
    condemning: bool,
    condemned: bool,
}

/// Rows of a batch.
const BATCH: u32 = 400;

fn stage_and_ingest(engine: &Engine, claim: &Claim, number: u32) -> Result<Recovered> {
    let mut writer = SpanWriter::create(engine, claim, number.into())?;
    for n in number * BATCH..(number + 1) * BATCH {
        writer.put(&user_key(n), &[7; 100])?;
    }
    engine.ingest(claim, &writer.finish()?, b"checkpoint", |_| {})
}

/// A job that ingests two batches, stages a third, recovers, and is cancelled while a checkpoint holds its files. Ends with the
/// first error.
fn live(store: &Store, engine: &Engine, so_far: &mut Acknowledged) -> Result<()> {
    let ballast = store.ballast();
    ballast.look(10 * BALLAST_BYTES);
    ballast.release();
    ballast.look(10 * BALLAST_BYTES);
    let claim = engine.claim(OWNER, EPOCH, ClaimKind::Span(SpanFamily::Bulk))?;
    so_far.claim = Some(claim);
    for number in 0..2 {
        so_far.rows = stage_and_ingest(engine, &claim, number)?.rows;
    }
    SpanWriter::create(engine, &claim, 2)?.finish()?;
    assert_eq!(engine.recover_span(&claim)?.rows, u64::from(2 * BATCH));
    store.hold(engine);
    let mut writer = SpanWriter::create(engine, &claim, 2)?;
    writer.put(&user_key(2 * BATCH), b"staged")?;
    writer.finish()?;
    let mut batch = Batch::new();
    let ids = engine.condemn(&mut batch, OWNER, "job canceled by user", 1)?;
    so_far.condemning = true;
    engine.commit(batch, Sync::Yes)?;
    so_far.condemned = true;
    engine.latch(OWNER, EPOCH).raise(EPOCH.next());
    engine.condemned(&ids);
    let until = |what: &str, reached: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !reached() && !store.disk.is_off() {
            assert!(Instant::now() < deadline, "{what}: {:?}", engine.reclaimer().status());
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    until("the checkpoint is waited for", &|| {
        let status = engine.reclaimer().status();
        let waits = |text: &str| text.contains("the checkpoint in");
        status.iter().all(|status| status.waiting_for.as_deref().is_some_and(waits))
    });
    store.let_go();
    until("it ends", &|| engine.reclaimer().status().is_empty());
    Ok(())
}

/// What must hold of a store that is in order again: what was acknowledged is there, and goes away in full.
fn check(store: &Store, engine: &Engine, so_far: &Acknowledged, neighbour: &Claim) {
    store.let_go();
    let ballast = store.ballast();
    ballast.look(10 * BALLAST_BYTES);
    assert!(ballast.check().is_ok());
    let held = std::fs::metadata(store.path().join(BALLAST)).unwrap();
    assert_eq!((held.len(), held.blocks() * 512 >= BALLAST_BYTES), (BALLAST_BYTES, true));
    if let Some(claim) = so_far.claim {
        let claims = engine.claims().unwrap();
        if so_far.condemned {
            assert!(!claims.contains(&claim), "a cancel that was acknowledged holds");
        } else if claims.contains(&claim) {
            let recovered = engine.recover_span(&claim).unwrap();
            let is_in = rows(engine, claim.span().unwrap()) as u64;
            assert_eq!(recovered.rows, is_in);
            assert!(is_in >= so_far.rows && is_in.is_multiple_of(u64::from(BATCH)), "{is_in} rows");
        } else {
            assert!(so_far.condemning, "a claim that was acknowledged holds");
        }
    }
    condemn(engine, OWNER);
    let left = engine.reclaimer().status();
    let left: Vec<SpanId> = left.iter().map(|status| status.tombstone.id).collect();
    wait_gone(engine, &left);
    if let Some(claim) = so_far.claim {
        assert_clean(engine, claim.id, &BTreeMap::new());
    }
    assert_eq!(rows(engine, neighbour.span().unwrap()), 500);
    for kind in [crate::claim::STAGING, crate::trash::TRASH] {
        let Ok(entries) = std::fs::read_dir(store.path().join(kind)) else { continue };
        let names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| *name != format!("{:016x}", neighbour.id.raw()))
            .collect();
        assert!(names.is_empty(), "{kind}: {names:?}");
    }
}

#[test]
fn the_power_may_go_with_every_operation_on_files_of_our_own() {
    let mut lost_in_all = 0;
    for nth in 1.. {
        let mut came = true;
        for lost in [Lost::Nothing, Lost::Everything, Lost::Part(nth)] {
            let store = Store::new();
            let engine = store.open().unwrap();
            let neighbour = ingested(&engine, OwnerId::from_raw(1), 1);
            let mut so_far = Acknowledged::default();
            store.disk.cut_power(nth);
            let lived = live(&store, &engine, &mut so_far);
            came = store.disk.is_off();
            assert!(came || lived.is_ok(), "operation {nth}: {lived:?}");
            lost_in_all += store.cut(Some(engine), lost);

            let engine = store.open().unwrap();
            check(&store, &engine, &so_far, &neighbour);
        }
        if !came {
            assert!(nth > 20, "{nth} operations");
            assert!(lost_in_all > 100, "{lost_in_all} were lost");
            return;
        }
    }
}

#[test]
fn every_operation_on_files_of_our_own_may_fail_once_and_for_a_while() {
    for nth in 1.. {
        let mut came = true;
        for (more, error) in [(0, std::io::ErrorKind::Other), (5, std::io::ErrorKind::StorageFull)]
        {
            let store = Store::new();
            let engine = store.open().unwrap();
            let neighbour = ingested(&engine, OwnerId::from_raw(1), 1);
            let mut so_far = Acknowledged::default();
            store.disk.fail(nth, more, error);
            let lived = live(&store, &engine, &mut so_far);
            if let Err(error) = &lived {
                let text = error.to_string();
                assert!(text.contains("a disk that fails"), "operation {nth}: {text}");
            }
            came = store.disk.heal();
            assert!(came || lived.is_ok(), "operation {nth}: {lived:?}");
            check(&store, &engine, &so_far, &neighbour);
        }
        if !came {
            assert!(nth > 20, "{nth} operations");
            return;
        }
    }
}

#[test]
fn a_tombstone_does_not_end_because_the_folder_of_its_links_cannot_be_read() {
    let store = Store::new();
    let engine = store.open().unwrap();
    let doomed = ingested(&engine, OWNER, 2);
    store.hold(&engine);
    let ids = condemn(&engine, OWNER);
    let deadline = Instant::now() + Duration::from_secs(30);
    let wait = |until: &dyn Fn() -> bool| {
        while !until() {
            assert!(Instant::now() < deadline, "{:?}", engine.reclaimer().status());
            engine.reclaimer().wake();
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    wait(&|| {
        let waits = |text: &str| text.contains("the checkpoint in");
        let status = engine.reclaimer().status();
        status.iter().any(|status| status.waiting_for.as_deref().is_some_and(waits))
    });
    let before = store.disk.operations();
    store.disk.fail(1, 2, std::io::ErrorKind::Other);
    wait(&|| store.disk.operations() > before + 3);
    assert_eq!(engine.reclaimer().status().len(), 1, "its files are not gone");
    store.let_go();
    wait_gone(&engine, &ids);
    assert_clean(&engine, doomed.id, &BTreeMap::new());
}

#[test]
fn a_store_opens_again_whatever_fails_or_the_power_goes_with_while_it_opens() {
    for nth in 1.. {
        let store = Store::new();
        store.disk.cut_power(nth);
        let engine = store.open().ok();
        let came = store.disk.is_off();
        assert_eq!(came, engine.is_none(), "operation {nth}");
        store.cut(engine, Lost::Everything);
        store.disk.fail(nth, 0, std::io::ErrorKind::Other);
        let engine = store.open().ok();
        assert!(engine.is_some() || store.disk.heal());
        drop(engine);
        store.disk.heal();
        let engine = store.open().unwrap();
        assert_eq!(engine.doctor(&BTreeMap::new()).unwrap(), []);
        if !came {
            assert!(nth > 3, "{nth} operations");
            return;
        }
    }
}
