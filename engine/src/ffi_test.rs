use std::time::{Duration, Instant};

use super::*;

/// Four files in level 0, which is when RocksDB begins to compact them by itself. Each has every fourth key: rows that are kept are
/// what it counts before it looks whether it shall end.
fn fill_level_0(db: &DB, rows: u64) {
    for file in 0..4 {
        for row in 0..rows {
            let value: Vec<u8> = (0..128_u64)
                .flat_map(|at| ((at + row + file).wrapping_mul(at * row) >> 3).to_le_bytes())
                .collect();
            db.put((row * 4 + file).to_be_bytes(), value).unwrap();
        }
        db.flush().unwrap();
    }
}

#[test]
fn a_compaction_of_rocksdbs_own_that_was_ended_begins_again() {
    let number = |db: &DB, name: &str| db.property_int_value(name).unwrap().unwrap();
    let level_0 = |db: &DB| {
        let files = db.property_value("rocksdb.num-files-at-level0").unwrap().unwrap();
        files.parse::<u64>().unwrap()
    };
    // As long as it takes on this machine to meet one.
    for doublings in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options::default();
        options.create_if_missing(true);
        let db =
            SharedDb::new(Arc::new(DB::open_cf(&options, folder.path(), ["default"]).unwrap()));
        let stop = CompactionStop::new();
        stop.note_running(Some(&db));
        fill_level_0(&db, 4096 << doublings);
        let deadline = Instant::now() + Duration::from_secs(30);
        while number(&db, "rocksdb.num-running-compactions") == 0 && level_0(&db) >= 4 {
            assert!(Instant::now() < deadline, "RocksDB has not begun");
            std::thread::sleep(Duration::from_micros(100));
        }
        let families = ["default", "no such family"];
        stop.end_running(&[]);
        if level_0(&db) < 4 {
            continue;
        }
        stop.end_running(&families);
        while level_0(&db) >= 4 {
            assert!(Instant::now() < deadline, "it has not begun again");
            std::thread::sleep(Duration::from_millis(5));
        }
        return;
    }
    panic!("no compaction was met while it ran");
}

#[test]
fn trash_that_goes_in_small_steps_is_synced_every_four_mebibytes_of_it() {
    const MIB: u64 = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("000007.sst.trash");
    let cut = |step_bytes| {
        std::fs::File::create(&path).unwrap().set_len(40 * MIB).unwrap();
        let cuts = cut_trash(&path, 16 * MIB, step_bytes);
        assert!(!path.exists());
        cuts
    };
    // Two chunks, and of the last eight MiB all but a step, which goes with the name.
    assert_eq!(cut(MIB), Cuts { cuts: 39, syncs: 10, unsynced_max: 4 * MIB });
    assert_eq!(cut(MIB / 4), Cuts { cuts: 159, syncs: 10, unsynced_max: 4 * MIB });
    // A large step is one sync, and what is left is one step.
    assert_eq!(cut(16 * MIB), Cuts { cuts: 2, syncs: 2, unsynced_max: 16 * MIB });
}
