//! The disk fails while a real server works: once at one of many places, by being full, slow, or short.
//!
//! Whatever fails, the server answers, with an error that says why. Once the fault is over it takes writes again, or
//! goes on refusing them with the reason and takes them after a restart; and what it acknowledged is there.
#![expect(clippy::print_stdout, reason = "seeds and figures, for people")]
#![expect(clippy::panic, reason = "a suite fails by panicking")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use cairn_tests::{Client, Effect, Random, Refused, Server, left_out, write_file};

/// How long writes may be refused after a fault before an operator would start the server again.
const PATIENCE: Duration = Duration::from_millis(500);

/// Longest time for anything that has to happen; only a hang reaches it.
const HANGS: Duration = Duration::from_secs(30);

/// With so much time for a kind of fault, no operation is left out.
const EVERY_ONE: Duration = Duration::from_secs(60);

/// Rows of the file that is imported.
const IMPORTED: usize = 400;

/// A server on a disk that fails, and what it acknowledged.
struct Patient {
    server: Server,
    client: Client,
    /// Keys that must be in `kept`.
    acknowledged: BTreeSet<u64>,
    /// Keys that may be in it.
    unknown: BTreeSet<u64>,
    next: u64,
    restarts: u32,
}

impl Patient {
    /// `None`, said loudly, where there cannot be such a disk.
    async fn admit() -> Option<Self> {
        Self::admit_with_ballast(0).await
    }

    async fn admit_with_ballast(mib: u32) -> Option<Self> {
        let mut server = match Server::start_on_disk_with_ballast(mib).await {
            Ok(server) => server,
            Err(reason) => {
                left_out("no disk failed", &reason);
                return None;
            }
        };
        let lines: String = (0..IMPORTED).map(|k| format!("{k},value {k}\n")).collect();
        write_file(&server.external().join("rows.csv"), &lines);
        server.disk().expect("it is on a disk").sync();
        let client = Client::connect(&server.url("root")).await.expect("the server is ready");
        client.run("CREATE TABLE kept (k INT8 PRIMARY KEY)").await;
        let (acknowledged, unknown) = (BTreeSet::new(), BTreeSet::new());
        Some(Self { server, client, acknowledged, unknown, next: 0, restarts: 0 })
    }

    /// Runs a statement, which may fail in a way that a failing disk explains.
    async fn try_run(&self, sql: &str) -> Result<u64, Refused> {
        let answer = tokio::time::timeout(HANGS, self.client.try_run(sql)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{sql}: no answer"));
        if let Err(refused) = &answer {
            let class = refused.code.get(..2).unwrap_or_default();
            // What the disk says, or that something is not there because of it.
            let explained =
                matches!(refused.code.as_str(), "53100" | "58030" | "42P01" | "55000" | "55006")
                    || (class == "57" && refused.text.contains("job canceled"));
            assert!(explained, "{sql}: {refused:?}");
        }
        answer
    }

    /// Inserts a row and remembers what is known of it.
    async fn insert(&mut self) -> bool {
        let k = self.next;
        self.next += 1;
        match self.try_run(&format!("INSERT INTO kept VALUES ({k})")).await {
            Ok(_) => self.acknowledged.insert(k),
            Err(_) => !self.unknown.insert(k),
        }
    }

    /// A little of everything: rows, a table, an import that ends, one that is cancelled, a drop.
    async fn work(&mut self, name: &str) {
        self.insert().await;
        let _ = self.try_run(&format!("CREATE TABLE {name} (k INT8 PRIMARY KEY, v TEXT)")).await;
        let import = format!("IMPORT INTO {name} CSV DATA ('nodelocal://1/rows.csv')");
        let _ = self.try_run(&import).await;
        self.insert().await;
        let _ = self.try_run(&format!("TRUNCATE TABLE {name}")).await;
        let _ = self.try_run(&format!("{import} WITH detached")).await;
        let cancel =
            "CANCEL JOBS (SELECT job_id FROM [SHOW JOBS] WHERE status IN ('pending', 'running'))";
        let _ = self.try_run(cancel).await;
        let _ = self.try_run(&format!("DROP TABLE {name}")).await;
        self.insert().await;
    }

    /// The fault is over: writes are taken again, if need be after a restart.
    async fn recovers(&mut self) {
        let began = Instant::now();
        while !self.insert().await {
            if began.elapsed() > PATIENCE {
                self.restart().await;
                assert!(self.insert().await, "a server that was started again takes writes");
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.verify().await;
    }

    async fn restart(&mut self) {
        let status = self.server.terminate().await;
        assert!(status.success(), "SIGTERM: {status}");
        if let Err(error) = self.server.try_restart().await {
            panic!("{error}; {}", self.log());
        }
        self.restarts += 1;
        let client = Client::connect(&self.server.url("root")).await;
        self.client = client.expect("the server is ready");
    }

    /// What was acknowledged is there, and nothing else than what was asked for.
    async fn verify(&mut self) {
        let rows = self.client.rows("SELECT k FROM kept").await.expect("reads work");
        let found: BTreeSet<u64> =
            rows.iter().flatten().map(|cell| cell.parse().expect("a key")).collect();
        let lost: Vec<_> = self.acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
        for k in found {
            let asked_for = self.acknowledged.contains(&k) || self.unknown.contains(&k);
            assert!(asked_for, "row {k} came from nowhere");
            self.acknowledged.insert(k);
        }
        // What is not there now will not come.
        self.unknown.clear();
    }

    /// Waits until a query for one value answers it.
    async fn reaches(&self, query: &str, value: &str) {
        let began = Instant::now();
        loop {
            let found = self.client.rows(query).await;
            if found.as_deref() == Ok(&[vec![value.to_owned()]]) {
                break;
            }
            assert!(began.elapsed() < HANGS, "{query}: {found:?}; {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Nothing is left of what failed, once the server was started again: RocksDB forgets a dropped file that could
    /// not be removed until then.
    async fn discharge(mut self) {
        self.restart().await;
        let began = Instant::now();
        loop {
            let jobs = "SELECT count(*) FROM [SHOW JOBS] WHERE finished IS NULL";
            let left = "SELECT count(*) FROM cairn.tombstones";
            let live = self.client.rows(jobs).await.expect("reads work");
            let tombstones = self.client.rows(left).await.expect("reads work");
            if live == [["0"]] && tombstones == [["0"]] {
                break;
            }
            if began.elapsed() > HANGS {
                let jobs = "SELECT * FROM [SHOW JOBS] WHERE finished IS NULL";
                let live = self.client.rows(jobs).await;
                let tombstones = self.client.rows("SELECT * FROM cairn.tombstones").await;
                panic!("left: {live:?}, {tombstones:?}; {}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.verify().await;
        assert!(self.server.terminate().await.success());
        let store = self.server.store();
        let store = store.to_str().expect("a UTF-8 path");
        let (code, out, err) = Server::cairn(&["doctor", "--store", store]).await;
        assert_eq!(code, 0, "{out}{err}");
        let log = self.log();
        let panicked = log.lines().find(|line| line.contains("panic"));
        assert_eq!(panicked, None);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.server.log()).expect("the log can be read")
    }
}

/// Seconds for one kind of fault.
fn limit() -> Duration {
    let seconds = std::env::var("CAIRN_FAULT_SECONDS").ok();
    Duration::from_secs(seconds.and_then(|text| text.parse().ok()).unwrap_or(8))
}

/// Lets the nth operation of a kind meet a fault, for n until none is reached, or as many of them as there is time for.
async fn fails_at_many(kinds: &str, effect: Effect) {
    let Some(mut patient) = Patient::admit().await else { return };
    let (began, mut n, mut tried, mut reached_all) = (Instant::now(), 0, 0, false);
    loop {
        patient.server.disk().expect("on a disk").fail(kinds, n, 1, effect);
        patient.work(&format!("t{tried}")).await;
        let left = patient.server.disk().expect("on a disk").well();
        patient.recovers().await;
        tried += 1;
        if left > 0 {
            reached_all = limit() >= EVERY_ONE;
            break;
        }
        // Every one if there is time for it.
        n += if limit() >= EVERY_ONE { 1 } else { 1 + n / 3 };
        if began.elapsed() > limit() {
            break;
        }
    }
    let all = if reached_all { "every operation" } else { "not all" };
    println!(
        "{kinds}, {effect}: {tried} faults, up to operation {n} ({all}), {} restarts",
        patient.restarts
    );
    patient.discharge().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_loses_nothing() {
    fails_at_many("write", Effect::Error).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_loses_nothing() {
    fails_at_many("sync", Effect::Error).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_made_or_removed_loses_nothing() {
    fails_at_many("entry", Effect::Error).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_fails_loses_nothing() {
    fails_at_many("read", Effect::Error).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_for_one_operation_loses_nothing() {
    fails_at_many("write,entry", Effect::Full).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_does_half_of_what_was_asked_for_is_gone_on_with() {
    fails_at_many("read,write", Effect::Short).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_takes_long_is_waited_for() {
    fails_at_many("write,sync,entry", Effect::Slow(300)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_answers_reads_and_can_be_cleaned_up() {
    let Some(mut patient) = Patient::admit().await else { return };
    patient.work("before").await;
    patient.server.disk().expect("on a disk").set_free(4 << 10);
    let mut refused = false;
    for round in 0..40 {
        refused |= !patient.insert().await;
        patient.work(&format!("full{round}")).await;
        patient.verify().await;
        if refused {
            break;
        }
    }
    assert!(refused, "the disk is full");
    let rows = patient.client.rows("SELECT free_bytes FROM cairn.governor").await;
    assert!(rows.is_ok(), "{rows:?}");
    patient.server.disk().expect("on a disk").set_roomy();
    patient.recovers().await;
    patient.discharge().await;
}

/// A table of more than `mib` MiB that do not get smaller when they are compressed.
async fn large_table(patient: &Patient, name: &str, mib: usize) {
    let mut random = Random::new(7);
    let mut lines = String::new();
    while lines.len() < mib << 20 {
        let words: Vec<String> = (0..8).map(|_| format!("{:016x}", random.number())).collect();
        let _ = writeln!(lines, "{},{}", lines.len(), words.concat());
    }
    let file = format!("{name}.csv");
    write_file(&patient.server.external().join(&file), &lines);
    patient.client.run(&format!("CREATE TABLE {name} (k INT8 PRIMARY KEY, v TEXT)")).await;
    patient.client.run(&format!("IMPORT INTO {name} CSV DATA ('nodelocal://1/{file}')")).await;
    std::fs::remove_file(patient.server.external().join(&file)).expect("the file was made");
}

/// As [`large_table`], of rows that were inserted.
async fn inserted_table(patient: &Patient, name: &str, mib: usize) {
    const ROW_BYTES: usize = 1 << 10;
    let mut random = Random::new(7);
    patient.client.run(&format!("CREATE TABLE {name} (k INT8 PRIMARY KEY, v TEXT)")).await;
    let rows = (1 << 20) / ROW_BYTES;
    for insert in 0..mib {
        let row = |n: usize| {
            let words = (0..ROW_BYTES / 16).map(|_| format!("{:016x}", random.number()));
            format!("({}, '{}')", insert * rows + n, words.collect::<String>())
        };
        let values: Vec<String> = (0..rows).map(row).collect();
        patient.client.run(&format!("INSERT INTO {name} VALUES {}", values.join(", "))).await;
    }
}

/// Bytes of a file; none if there is no such file.
fn length(file: &Path) -> Option<u64> {
    Some(std::fs::metadata(file).ok()?.len())
}

/// An import that was paused with its data staged. Answers its id.
async fn paused_import(patient: &Patient) -> String {
    patient.client.run("CREATE TABLE doomed (k INT8 PRIMARY KEY, v TEXT)").await;
    let point = "SET CLUSTER SETTING jobs.debug.pausepoints";
    patient.client.run(&format!("{point} = 'jobs.checkpoint.1'")).await;
    let import = "IMPORT INTO doomed CSV DATA ('nodelocal://1/rows.csv') WITH detached";
    let started = patient.client.rows(import).await.expect("there is room yet");
    let id = started.first().and_then(|row| row.first()).expect("the job's id").clone();
    patient.reaches(&format!("SELECT status FROM [SHOW JOB {id}]"), "paused").await;
    patient.client.run(&format!("{point} = ''")).await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_runs_full_can_be_cleaned_up_without_help() {
    const BALLAST_MIB: u32 = 16;
    let Some(mut patient) = Patient::admit_with_ballast(BALLAST_MIB).await else { return };
    let ballast = patient.server.store().join("ballast");
    patient.insert().await;
    large_table(&patient, "large", 3 * BALLAST_MIB as usize).await;
    let job = paused_import(&patient).await;
    patient.reaches("SELECT count(*) FROM cairn.tombstones", "0").await;
    assert_eq!(length(&ballast), Some(u64::from(BALLAST_MIB) << 20));
    // Below half of the ballast.
    patient.server.disk().expect("on a disk").set_free(u64::from(BALLAST_MIB) << 18);
    patient.reaches("SELECT rows_refused FROM cairn.governor", "t").await;
    while length(&ballast).is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!patient.insert().await, "rows are refused");
    let refused = patient.client.try_run("INSERT INTO kept VALUES (-1)").await;
    assert_eq!(refused.expect_err("rows are refused").code, "53100");
    patient.verify().await;
    // What makes room is taken.
    patient.client.run(&format!("CANCEL JOB {job}")).await;
    patient.reaches(&format!("SELECT status FROM [SHOW JOB {job}]"), "canceled").await;
    assert!(!patient.insert().await, "that was not much");
    patient.client.run("DROP TABLE large").await;
    patient.reaches("SELECT rows_refused FROM cairn.governor", "f").await;
    assert_eq!(length(&ballast), Some(u64::from(BALLAST_MIB) << 20));
    assert!(patient.insert().await, "there is room again");
    patient.server.disk().expect("on a disk").set_roomy();
    patient.discharge().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_inserted_make_room_on_a_disk_that_ran_full() {
    // More than two of RocksDB's write buffers, as it flushes what is in memory before that goes.
    const BALLAST_MIB: u32 = 160;
    let Some(mut patient) = Patient::admit_with_ballast(BALLAST_MIB).await else { return };
    patient.insert().await;
    // Some of them are in memory, others in a file of level 0 that has rows of several tables, and all of them in the log.
    inserted_table(&patient, "large", 96).await;
    let size = u64::from(BALLAST_MIB) << 20;
    let ballast = patient.server.store().join("ballast");
    let began = Instant::now();
    while length(&ballast) != Some(size) {
        assert!(began.elapsed() < HANGS, "no ballast");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let refused = Ok(vec![vec!["t".to_owned()]]);
    while patient.client.rows("SELECT rows_refused FROM cairn.governor").await != refused {
        assert!(began.elapsed() < HANGS, "rows are taken; {}", patient.log());
        // Again and again: files and logs of the store that go meanwhile make room.
        patient.server.disk().expect("on a disk").set_free(size / 2 - (1 << 20));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!patient.insert().await, "rows are refused");
    patient.client.run("DROP TABLE large").await;
    patient.reaches("SELECT count(*) FROM cairn.tombstones", "0").await;
    patient.reaches("SELECT rows_refused FROM cairn.governor", "f").await;
    assert!(patient.insert().await, "there is room again");
    patient.server.disk().expect("on a disk").set_roomy();
    patient.discharge().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_write_that_found_no_space_a_job_can_be_cancelled_though_nobody_made_room() {
    // RocksDB goes on by itself once so much is free as fits into its write buffers.
    const BALLAST_MIB: u32 = 300;
    let Some(mut patient) = Patient::admit_with_ballast(BALLAST_MIB).await else { return };
    let job = paused_import(&patient).await;
    patient.reaches("SELECT free_bytes > 0 FROM cairn.governor", "t").await;
    let ballast = patient.server.store().join("ballast");
    let began = Instant::now();
    while length(&ballast) != Some(u64::from(BALLAST_MIB) << 20) {
        assert!(began.elapsed() < HANGS, "no ballast");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    patient.server.disk().expect("on a disk").set_free(4 << 10);
    while patient.insert().await {
        assert!(began.elapsed() < HANGS, "the disk is full");
    }
    while length(&ballast).is_some() {
        assert!(began.elapsed() < HANGS, "the ballast is kept; {}", patient.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let began = Instant::now();
    while let Err(refused) = patient.try_run(&format!("CANCEL JOB {job}")).await {
        assert!(began.elapsed() < HANGS, "{refused:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    patient.reaches(&format!("SELECT status FROM [SHOW JOB {job}]"), "canceled").await;
    assert!(!patient.insert().await, "rows are refused until there is room");
    patient.server.disk().expect("on a disk").set_roomy();
    patient.reaches("SELECT rows_refused FROM cairn.governor", "f").await;
    assert!(patient.insert().await, "without a restart");
    patient.verify().await;
    patient.discharge().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_and_short_reads_change_nothing() {
    let Some(mut patient) = Patient::admit().await else { return };
    patient.server.disk().expect("on a disk").fail("read,write", 0, u64::MAX, Effect::Short);
    patient.work("short").await;
    patient.server.disk().expect("on a disk").fail(
        "read,write,sync,entry",
        0,
        u64::MAX,
        Effect::Slow(2),
    );
    patient.work("slow").await;
    patient.server.disk().expect("on a disk").well();
    assert_eq!(patient.acknowledged.len(), 6, "nothing failed");
    patient.discharge().await;
}
