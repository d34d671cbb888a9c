//! A store that an older release wrote is opened by this one: its rows, users, settings and ended jobs are there, and
//! its unfinished job goes on.
//!
//! `tests/fixtures/` has a store for each version of the format. The script that made it runs in this suite as well,
//! so that what is expected of the old one is what a new one answers. It has twins with one changed byte: what they
//! answer is right, or says that something is wrong. A new version of the format gets a new store:
//!
//! ```text
//! CAIRN_FIXTURE=tests/fixtures/store-2.tar.gz cargo test --release --test old_store
//! ```
#![expect(clippy::panic, reason = "a suite fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cairn_engine::rocksdb::{self, DB};
use cairn_engine::{Batch, ClaimKind, Engine, Epoch, Family, Options, OwnerId, SpanFamily, Sync};
use cairn_sql::{Database, DatabaseOptions, SqlError, doctor};
use cairn_tests::session::say;
use cairn_tests::{Random, Server, lineitems, write_file};

/// Rows of the import that is not finished.
const IMPORTED: u64 = 3000;

/// Makes everything that a store can hold, and leaves an import paused behind a sorted run.
async fn fill(server: &Server) {
    write_file(&server.external().join("few.csv"), "1,one,1.50,2026-01-01 00:00:00+00\n");
    lineitems(&server.external().join("many.csv"), IMPORTED, false);
    let root = server.root().await;
    for sql in [
        "SET CLUSTER SETTING jobs.retention_time = '876000h'",
        "CREATE USER max",
        "CREATE USER anna",
        "GRANT admin TO anna",
        "CREATE DATABASE other",
        "CREATE SCHEMA other.inner",
        "CREATE TABLE other.inner.deep (a INT8, b TEXT)",
        "INSERT INTO other.inner.deep VALUES (1, 'without a key'), (2, NULL)",
        "CREATE TABLE types (k INT8 PRIMARY KEY, i INT4, s INT2, f FLOAT8, b BOOL, t TEXT, \
         d DATE, at TIMESTAMPTZ, n DECIMAL(20,4))",
        "INSERT INTO types VALUES \
         (1, -7, 3, 1.5, true, 'zebra \u{1F993}', '1999-12-31', '2026-01-02 03:04:05.678901+00', 12345.6789), \
         (-9223372036854775808, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
        "CREATE TABLE done (k INT8 PRIMARY KEY, v TEXT NOT NULL, d DECIMAL(10,2), at TIMESTAMPTZ)",
        "IMPORT INTO done CSV DATA ('nodelocal://1/few.csv')",
        "UPDATE done SET v = 'changed' WHERE k = 1",
        "CREATE TABLE gone (k INT8 PRIMARY KEY)",
        "INSERT INTO gone VALUES (1)",
        "DROP TABLE gone",
        "CREATE TABLE waits (k INT8 PRIMARY KEY, v TEXT NOT NULL, d DECIMAL(10,2), at TIMESTAMPTZ)",
        "CREATE TABLE undone (k INT8 PRIMARY KEY, v TEXT NOT NULL, d DECIMAL(10,2), at TIMESTAMPTZ)",
        "SET CLUSTER SETTING jobs.debug.pausepoints = 'import.after_run'",
    ] {
        root.run(sql).await;
    }
    let paused = "SELECT count(*) FROM [SHOW JOBS] WHERE status = 'paused'";
    let import = |table: &str| {
        format!("IMPORT INTO {table} CSV DATA ('nodelocal://1/many.csv') WITH skip = '1', detached")
    };
    root.run(&import("undone")).await;
    root.until(paused, "1").await;
    root.run("CANCEL JOBS (SELECT job_id FROM [SHOW JOBS] WHERE status = 'paused')").await;
    root.until("SELECT count(*) FROM [SHOW JOBS] WHERE status = 'canceled'", "1").await;
    root.run(&import("waits")).await;
    root.until(paused, "1").await;
    root.run("SET CLUSTER SETTING jobs.debug.pausepoints = ''").await;
    root.until("SELECT count(*) FROM cairn.tombstones", "0").await;
}

/// What is in a store that was filled, and that it goes on.
async fn check(server: &Server) {
    let root = server.root().await;
    let rows = |sql: &'static str| {
        let root = &root;
        async move { root.rows(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")) }
    };
    assert_eq!(
        rows("SELECT * FROM types ORDER BY k DESC").await,
        [
            [
                "1",
                "-7",
                "3",
                "1.5",
                "t",
                "zebra \u{1F993}",
                "1999-12-31",
                "2026-01-02 03:04:05.678901+00",
                "12345.6789"
            ],
            [
                "-9223372036854775808",
                "NULL",
                "NULL",
                "NULL",
                "NULL",
                "NULL",
                "NULL",
                "NULL",
                "NULL"
            ],
        ]
    );
    assert_eq!(
        rows("SELECT a, b FROM other.inner.deep ORDER BY a").await,
        [["1", "without a key"], ["2", "NULL"]]
    );
    assert_eq!(
        rows("SELECT k, v, d FROM done").await,
        [["1", "changed", "1.50"]],
        "an import and an update of its row"
    );
    root.refused("42P01", "SELECT * FROM gone").await;
    assert_eq!(root.one("SHOW CLUSTER SETTING jobs.retention_time").await, "876000h");
    server.connect("max").await.expect("a user").refused("42501", "CANCEL JOB 1").await;
    server.connect("anna").await.expect("an admin").refused("42704", "CANCEL JOB 1").await;
    // SHOW JOBS leaves out what ended more than twelve hours ago, and an old store's jobs did.
    let states = "SELECT status, count(*) FROM crdb_internal.jobs GROUP BY status ORDER BY status";
    assert_eq!(rows(states).await, [["canceled", "1"], ["paused", "1"], ["succeeded", "1"]]);

    assert_eq!(root.one("SELECT count(*) FROM waits").await, "0");
    root.run("RESUME JOBS (SELECT job_id FROM [SHOW JOBS] WHERE status = 'paused')").await;
    root.until("SELECT count(*) FROM crdb_internal.jobs WHERE status = 'succeeded'", "2").await;
    let sum = (IMPORTED * (IMPORTED + 1) / 2).to_string();
    let found = rows("SELECT count(*), sum(k) FROM waits").await;
    assert_eq!(found, [[IMPORTED.to_string(), sum]]);
    root.run("INSERT INTO other.inner.deep VALUES (3, 'new')").await;
    assert_eq!(root.one("SELECT count(*) FROM other.inner.deep").await, "3");
    root.run("DROP TABLE done").await;
    root.until("SELECT count(*) FROM cairn.tombstones", "0").await;
}

fn tar(arguments: &[&str]) {
    let output = Command::new("tar").args(arguments).output().expect("`tar` can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_holds_is_there_after_a_restart() {
    let mut server = Server::start().await;
    fill(&server).await;
    assert!(server.terminate().await.success());
    if let Some(archive) = std::env::var_os("CAIRN_FIXTURE") {
        let store = server.store();
        let store = store.to_str().expect("a UTF-8 path");
        let archive = archive.into_string().expect("a UTF-8 path");
        // RocksDB's own notes are no part of a store.
        tar(&["-C", store, "--exclude=LOG*", "-czf", &archive, "."]);
    }
    server.restart().await;
    check(&server).await;
    server.assert_healthy().await;
}

/// Unpacks the store of the first format.
fn unpack(store: &Path) {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/store-1.tar.gz");
    let (archive, store) = (archive.to_str().expect("UTF-8"), store.to_str().expect("UTF-8"));
    tar(&["-C", store, "-xzf", archive]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_the_first_format_is_opened_and_goes_on() {
    let server = Server::start_on_store(unpack).await;
    check(&server).await;
    server.assert_healthy().await;
}

/// Twins for each kind of file.
const TWINS: usize = 8;

/// Whether a file of this path is of a kind.
type Kind = fn(&str) -> bool;

/// Longest time for a twin; only a hang reaches it.
const HANGS: Duration = Duration::from_secs(60);

/// Queries, and what they answer once the paused import has ended well.
const ANSWERS: [(&str, &str); 5] = [
    ("SELECT k, i, t, n FROM types WHERE k = 1", "1,-7,zebra \u{1F993},12345.6789"),
    ("SELECT a, b FROM other.inner.deep ORDER BY a", "1,without a key;2,NULL"),
    ("SELECT k, v, d FROM done", "1,changed,1.50"),
    ("SELECT count(*), sum(k) FROM waits", "3000,4501500"),
    ("SELECT count(*) FROM crdb_internal.jobs WHERE status = 'succeeded'", "2"),
];

/// What queries answer instead when a job did not succeed: no rows of the paused import, one job less.
const WITHOUT_JOB: [&str; 2] = ["0,NULL", "1"];

/// Opens a store, resumes what is paused, waits for its end, and asks. A part of it that is refused says why.
async fn ask(store: &Path) -> Result<Vec<Result<String, SqlError>>, SqlError> {
    let db = Database::open(DatabaseOptions::small(store))?;
    let session = db.session("root", "defaultdb")?;
    let resume = "RESUME JOBS (SELECT job_id FROM [SHOW JOBS] WHERE status = 'paused')";
    if say(&session, resume).await.is_ok() {
        for job in db.jobs().list().await.unwrap_or_default() {
            let _ = db.jobs().wait(job.id).await;
        }
    }
    let mut answers = Vec::new();
    for (sql, _) in ANSWERS {
        let said = say(&session, sql).await;
        answers.push(
            said.map(|said| {
                said.rows.iter().map(|row| row.join(",")).collect::<Vec<_>>().join(";")
            }),
        );
    }
    drop(session);
    db.shutdown().await;
    Ok(answers)
}

fn files(folder: &Path, is_kind: &dyn Fn(&str) -> bool, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"))
    {
        let path = entry.path();
        if path.is_dir() {
            files(&path, is_kind, found);
        } else if is_kind(&path.to_string_lossy()) && entry.metadata().is_ok_and(|of| of.len() > 0)
        {
            found.push(path);
        }
    }
}

/// Gives a store the mark that releases since write beside RocksDB's log: all of it was synced. What follows damage of a log
/// without one is taken for never written.
fn mark_log(store: &Path) {
    let data = store.join("data");
    let options = rocksdb::Options::default();
    let families = DB::list_cf(&options, &data).expect("a store has families");
    let db = DB::open_cf_for_read_only(&options, &data, families, false).expect("a whole store");
    let (synced, first_log) = (db.latest_sequence_number(), 0_u64);
    let numbers = [synced.to_be_bytes(), first_log.to_be_bytes()].concat();
    let checksum = crc32fast::hash(&numbers).to_be_bytes();
    std::fs::write(store.join("log-mark"), [numbers.as_slice(), &checksum].concat())
        .expect("a mark");
}

/// What became of damaged twins.
#[derive(Default)]
struct Twins {
    /// Stores that were not opened.
    refused: usize,
    /// Answers that said what is wrong.
    noticed: usize,
    /// Right answers.
    harmless: usize,
}

impl Twins {
    /// Asks a twin. `is_allowed` tells which answers may come that are not those of the undamaged store.
    async fn ask(&mut self, name: &str, store: &Path, is_allowed: impl Fn(&str) -> bool) {
        let asked = tokio::time::timeout(HANGS, ask(store)).await;
        let answers = match asked.unwrap_or_else(|_| panic!("{name}: it hangs")) {
            Ok(answers) => answers,
            Err(error) => {
                assert!(!error.message.is_empty(), "{name}");
                self.refused += 1;
                return;
            }
        };
        for (answer, (sql, right)) in answers.iter().zip(ANSWERS) {
            match answer {
                Ok(said) if said == right => self.harmless += 1,
                Ok(said) => assert!(is_allowed(said), "{name}: {sql}: {said}, not {right}"),
                Err(error) => {
                    assert_ne!(error.code, "XX000", "{name}: {sql}: {error:?}");
                    self.noticed += 1;
                }
            }
        }
    }

    fn assert_told(&self) {
        let Self { refused, noticed, harmless } = self;
        assert!(
            refused + noticed > 0 && *harmless > 0,
            "damage is noticed, and what it does not touch is there: {refused} refused; of the answers of others \
             {harmless} right, {noticed} refused"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_twin_of_an_old_store_answers_what_is_right_or_says_what_is_wrong() {
    let mut random = Random::new(11);
    let mut twins = Twins::default();
    let kinds: [(&str, Kind); 4] = [
        ("sorted file", |path| path.ends_with(".sst") && !path.contains("/staging/")),
        ("sorted run", |path| path.contains("/staging/")),
        ("MANIFEST", |path| path.contains("/MANIFEST-")),
        ("log", |path| path.ends_with(".log")),
    ];
    for twin in 0..TWINS * kinds.len() {
        let (kind, is_kind) = kinds[twin % kinds.len()];
        let folder = tempfile::tempdir().expect("a folder");
        unpack(folder.path());
        mark_log(folder.path());
        let mut found = Vec::new();
        files(folder.path(), &is_kind, &mut found);
        assert!(!found.is_empty(), "there is a {kind}");
        found.sort();
        let file = random.pick(&found);
        let mut bytes = std::fs::read(file).expect("a file");
        let at = random.index(bytes.len());
        bytes[at] ^= 1 << random.below(8);
        std::fs::write(file, bytes).expect("a file");
        let name = format!("twin {twin}: byte {at} of {}", file.display());
        if let Err(error) = doctor(folder.path()) {
            assert!(!error.message.is_empty(), "{name}");
        }
        // A job whose run is damaged fails, and leaves nothing.
        let is_allowed = |said: &str| kind == "sorted run" && WITHOUT_JOB.contains(&said);
        twins.ask(&name, folder.path(), is_allowed).await;
    }
    twins.assert_told();
}

/// Records of each family that are damaged in each way.
const RECORDS: usize = 4;

/// A key and a value.
type Record = (Box<[u8]>, Box<[u8]>);

/// Opens the files of a store as RocksDB alone does.
fn raw(store: &Path) -> DB {
    let data = store.join("data");
    let families = DB::list_cf(&rocksdb::Options::default(), &data).expect("a store has families");
    DB::open_cf(&rocksdb::Options::default(), &data, families).expect("a store can be opened")
}

/// The records of a family.
fn records(store: &Path, family: Family) -> Vec<Record> {
    let db = raw(store);
    let handle = db.cf_handle(family.name()).expect("a family of every store");
    let all = db.iterator_cf(&handle, rocksdb::IteratorMode::Start);
    all.collect::<Result<_, _>>().expect("an undamaged store")
}

/// Puts a value where RocksDB finds nothing wrong with it.
fn put(store: &Path, family: Family, key: &[u8], value: &[u8]) {
    let db = raw(store);
    let handle = db.cf_handle(family.name()).expect("a family of every store");
    db.put_cf(&handle, key, value).expect("a store can be written to");
}

/// The old store, with tombstones too, which are always worked off in one that ended well. The same ones each time.
fn unpack_and_condemn(store: &Path) {
    unpack(store);
    let options = Options { reclaim_paused: true, ..Options::small(store) };
    let engine = Engine::open(options).expect("an undamaged store");
    let owner = OwnerId::from_raw(1);
    let mut batch = Batch::new();
    for _ in 0..2 {
        let claimed = engine.claim(owner, Epoch::from_raw(1), ClaimKind::Span(SpanFamily::Bulk));
        claimed.expect("a claim can be written");
    }
    engine.condemn(&mut batch, owner, "a test", 1).expect("claims can be read");
    engine.commit(batch, Sync::Yes).expect("tombstones can be written");
    engine.shutdown();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_an_old_store_that_is_damaged_behind_the_checksums_of_rocksdb_is_named() {
    let mut random = Random::new(12);
    let (mut twins, mut found_by_doctor) = (Twins::default(), 0);
    for family in Family::ALL.into_iter().filter(|family| family.is_sealed()) {
        let whole = tempfile::tempdir().expect("a folder");
        unpack_and_condemn(whole.path());
        let records = records(whole.path(), family);
        assert!(!records.is_empty(), "there is a record in {family}");
        for twin in 0..2 * RECORDS.min(records.len()) {
            let (key, value) = random.pick(&records);
            let (damage, value) = if twin % 2 == 0 {
                let mut value = value.clone();
                let at = random.index(value.len());
                value[at] ^= 1 << random.below(8);
                (format!("byte {at}"), value)
            } else {
                let other = random.pick(&records);
                ("the value of another".to_owned(), other.1.clone())
            };
            if records.iter().any(|record| record.0 == *key && record.1 == value) {
                continue;
            }
            let name = format!("{family}, key {key:x?}: {damage}");
            let folder = tempfile::tempdir().expect("a folder");
            unpack_and_condemn(folder.path());
            put(folder.path(), family, key, &value);
            match doctor(folder.path()) {
                Ok(found) => {
                    assert!(!found.is_empty(), "{name}: the doctor sees nothing");
                    found_by_doctor += 1;
                }
                Err(error) => assert!(!error.message.is_empty(), "{name}"),
            }
            // A job with a damaged record is not run, and a table that nobody imported into is empty.
            let is_allowed = |said: &str| family != Family::Catalog && WITHOUT_JOB.contains(&said);
            twins.ask(&name, folder.path(), is_allowed).await;
        }
    }
    twins.assert_told();
    assert!(found_by_doctor > twins.refused, "{found_by_doctor} found by the doctor");
}
