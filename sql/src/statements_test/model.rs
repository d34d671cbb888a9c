//! The whole stack against a map: random statements on a few tables, with restarts and with deaths at random durable
//! steps, and a plain model of what must be there.
//!
//! Strategy: a list of operations (CREATE, DROP, TRUNCATE, INSERT, UPDATE, DELETE, IMPORT to its end, IMPORT that is
//! cancelled, restart, death at the nth durable step from now), which proptest makes shorter when it fails.
//!
//! Invariants: a statement answers what the model answers, rows or SQLSTATE; after a death the database is as before
//! the statement that was under way, or as after it, wholly; in the end no job is unfinished, no tombstone is left, and
//! the doctor finds nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cairn_jobs::{JobId, State};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{Client, Said};
use crate::database::{Database, DatabaseOptions};
use crate::error::SqlError;

/// Longest time for anything that has to happen; only a hang reaches it.
const HANGS: Duration = Duration::from_secs(30);

/// The rows of each table that exists.
type Tables = BTreeMap<u8, BTreeMap<i64, String>>;

#[derive(Clone, Debug)]
enum Op {
    Create(u8),
    Drop(u8),
    Truncate(u8),
    Insert(u8, i64, u8),
    Update(u8, i64, u8),
    Delete(u8, i64),
    /// So many rows.
    Import(u8, i64),
    ImportAndCancel(u8, i64),
    Restart,
    /// At the nth durable step from now.
    Die(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let (table, key, value) = (0..3_u8, 0..8_i64, 0..4_u8);
    prop_oneof![
        4 => table.clone().prop_map(Op::Create),
        1 => table.clone().prop_map(Op::Drop),
        1 => table.clone().prop_map(Op::Truncate),
        4 => (table.clone(), key.clone(), value.clone()).prop_map(|(t, k, v)| Op::Insert(t, k, v)),
        2 => (table.clone(), key.clone(), value).prop_map(|(t, k, v)| Op::Update(t, k, v)),
        2 => (table.clone(), key).prop_map(|(t, k)| Op::Delete(t, k)),
        3 => (table.clone(), 1..300_i64).prop_map(|(t, rows)| Op::Import(t, rows)),
        3 => (table, 1..300_i64).prop_map(|(t, rows)| Op::ImportAndCancel(t, rows)),
        1 => Just(Op::Restart),
        3 => (1..60_u32).prop_map(Op::Die),
    ]
}

/// The model: does it to the tables, and answers how many rows changed, or the SQLSTATE.
fn apply(tables: &mut Tables, op: &Op) -> Result<usize, &'static str> {
    let table = |tables: &mut Tables, t: u8| tables.contains_key(&t).then_some(()).ok_or("42P01");
    match *op {
        Op::Create(t) if tables.contains_key(&t) => return Err("42P07"),
        Op::Create(t) => {
            tables.insert(t, BTreeMap::new());
        }
        Op::Drop(t) => {
            table(tables, t)?;
            tables.remove(&t);
        }
        Op::Truncate(t) => {
            table(tables, t)?;
            tables.insert(t, BTreeMap::new());
        }
        Op::Insert(t, k, v) => {
            let rows = tables.get_mut(&t).ok_or("42P01")?;
            if rows.contains_key(&k) {
                return Err("23505");
            }
            rows.insert(k, format!("v{v}"));
            return Ok(1);
        }
        Op::Update(t, k, v) => {
            let rows = tables.get_mut(&t).ok_or("42P01")?;
            let Some(value) = rows.get_mut(&k) else { return Ok(0) };
            *value = format!("v{v}");
            return Ok(1);
        }
        Op::Delete(t, k) => {
            let rows = tables.get_mut(&t).ok_or("42P01")?;
            return Ok(usize::from(rows.remove(&k).is_some()));
        }
        Op::Import(t, count) | Op::ImportAndCancel(t, count) => {
            let rows = tables.get_mut(&t).ok_or("42P01")?;
            if !rows.is_empty() {
                return Err("55000");
            }
            rows.extend((0..count).map(|k| (k, format!("row {k}"))));
        }
        Op::Restart | Op::Die(_) => {}
    }
    Ok(0)
}

/// What became of an operation.
#[derive(Debug)]
enum Outcome {
    /// It answered; so many rows changed, where that is said.
    Done(Option<usize>),
    /// A job of it was cancelled: nothing changed.
    Canceled,
    Refused(SqlError),
}

/// A database that dies and is opened again.
struct Mortal {
    folder: TempDir,
    db: Database,
    client: Client,
}

impl Mortal {
    fn born() -> Self {
        let folder = TempDir::new().unwrap();
        let (db, client) = Self::open(&folder);
        Self { folder, db, client }
    }

    fn open(folder: &TempDir) -> (Database, Client) {
        let db = Database::open(DatabaseOptions::small(folder.path())).unwrap();
        let client = Client(db.session("root", "defaultdb").unwrap());
        (db, client)
    }

    async fn restart(self) -> Self {
        let Self { folder, db, client } = self;
        let stopped = tokio::time::timeout(HANGS, db.shutdown()).await;
        stopped.expect("a shutdown ends, also of the dead");
        drop((client, db));
        let (db, client) = Self::open(&folder);
        Self { folder, db, client }
    }

    /// Waits until no job is under way.
    async fn settle(&self) {
        let began = Instant::now();
        while self.db.jobs().list().await.unwrap().iter().any(|job| !job.state.is_terminal()) {
            assert!(began.elapsed() < HANGS, "{:?}", self.db.jobs().list().await);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn run(&self, op: &Op) -> Outcome {
        match self.try_run(op).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Refused(error),
        }
    }

    async fn try_run(&self, op: &Op) -> Result<Outcome, SqlError> {
        let sql = match *op {
            Op::Create(t) => format!("CREATE TABLE t{t} (k INT8 PRIMARY KEY, v TEXT)"),
            Op::Drop(t) => format!("DROP TABLE t{t}"),
            Op::Truncate(t) => format!("TRUNCATE TABLE t{t}"),
            Op::Insert(t, k, v) => format!("INSERT INTO t{t} VALUES ({k}, 'v{v}')"),
            Op::Update(t, k, v) => format!("UPDATE t{t} SET v = 'v{v}' WHERE k = {k}"),
            Op::Delete(t, k) => format!("DELETE FROM t{t} WHERE k = {k}"),
            Op::Import(t, rows) => self.import(t, rows),
            Op::ImportAndCancel(t, rows) => return self.import_and_cancel(t, rows).await,
            Op::Restart | Op::Die(_) => return Ok(Outcome::Done(None)),
        };
        let said = self.client.try_run(&sql).await?;
        Ok(Outcome::Done(changed(&said)))
    }

    /// Writes the file, in descending order if that is an odd number of rows, and answers the statement.
    fn import(&self, t: u8, rows: i64) -> String {
        let line = |k: i64| format!("{k},row {k}\n");
        let text: String = match rows % 2 {
            0 => (0..rows).map(line).collect(),
            _ => (0..rows).rev().map(line).collect(),
        };
        let name = format!("rows-{rows}.csv");
        std::fs::write(self.db.external_dir().join(&name), text).unwrap();
        format!("IMPORT INTO t{t} CSV DATA ('nodelocal://1/{name}')")
    }

    async fn import_and_cancel(&self, t: u8, rows: i64) -> Result<Outcome, SqlError> {
        let import = format!("{} WITH detached", self.import(t, rows));
        let said = self.client.try_run(&import).await?;
        let id: i64 = said.rows[0][0].parse().expect("the id of a job");
        match self.client.try_run(&format!("CANCEL JOB {id}")).await {
            Ok(_) => {}
            // It was faster.
            Err(error) if error.code == "55000" => {}
            Err(error) => return Err(error),
        }
        let job = self.db.jobs().wait(JobId::from_raw(id).unwrap()).await?;
        match job.state {
            State::Succeeded => Ok(Outcome::Done(None)),
            State::Canceled => Ok(Outcome::Canceled),
            other => panic!("job {id} ended as {other}: {:?}", job.error),
        }
    }

    /// All that is there.
    async fn tables(&self) -> Tables {
        let mut tables = Tables::new();
        for t in 0..3 {
            match self.client.try_run(&format!("SELECT k, v FROM t{t}")).await {
                Ok(said) => {
                    let row = |row: Vec<String>| (row[0].parse().unwrap(), row[1].clone());
                    tables.insert(t, said.rows.into_iter().map(row).collect());
                }
                Err(error) => assert_eq!(error.code, "42P01"),
            }
        }
        tables
    }

    /// Nothing is under way and nothing is left.
    async fn assert_clean(&self) {
        self.settle().await;
        let began = Instant::now();
        while self.client.rows("SELECT reason FROM cairn.tombstones").await
            != [] as [Vec<String>; 0]
        {
            let left = self.client.rows("SELECT * FROM cairn.tombstones").await;
            assert!(began.elapsed() < HANGS, "a tombstone is left: {left:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(crate::doctor::check(self.db.engine()).unwrap(), []);
    }
}

/// `UPDATE 3` changed three rows.
fn changed(said: &Said) -> Option<usize> {
    let is_dml = ["INSERT", "UPDATE", "DELETE"].iter().any(|word| said.tag.starts_with(word));
    is_dml.then(|| said.tag.rsplit(' ').next()?.parse().ok()).flatten()
}

/// Returns when the engine has died.
async fn death(db: &Database) {
    while !db.engine().crash().is_dead() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn check(ops: &[Op]) {
    let mut mortal = Mortal::born();
    let mut tables = Tables::new();
    for (number, op) in ops.iter().enumerate() {
        match op {
            Op::Restart => {
                mortal = mortal.restart().await;
                continue;
            }
            Op::Die(nth) => {
                mortal.db.engine().crash().arm_any(*nth);
                continue;
            }
            _ => {}
        }
        let mut after = tables.clone();
        let expected = apply(&mut after, op);
        let outcome = tokio::select! {
            biased;
            outcome = tokio::time::timeout(HANGS, mortal.run(op)) => {
                Some(outcome.unwrap_or_else(|_| panic!("{number}: {op:?} does not end")))
            }
            () = death(&mortal.db) => None,
        };
        let dead = mortal.db.engine().crash().is_dead();
        match (outcome, expected) {
            (Some(Outcome::Done(said)), Ok(rows)) => {
                assert!(said.is_none_or(|said| said == rows), "{number}: {op:?} changed {said:?}");
                tables = after;
            }
            (Some(Outcome::Canceled), Ok(_)) => {}
            (Some(Outcome::Refused(error)), Err(code)) if error.code == code => {}
            // It is not known; only a death may be the reason.
            (outcome, _) => {
                assert!(dead, "{number}: {op:?} {outcome:?}");
                mortal = mortal.restart().await;
                mortal.settle().await;
                let found = mortal.tables().await;
                assert!(
                    found == tables || found == after,
                    "{number}: {op:?} is in halfway: {found:?}, {tables:?}, {after:?}"
                );
                tables = found;
            }
        }
    }
    // In this order: what runs in the background may die, too.
    mortal.db.engine().crash().disarm();
    if mortal.db.engine().crash().is_dead() {
        mortal = mortal.restart().await;
    }
    assert_eq!(mortal.tables().await, tables);
    mortal.assert_clean().await;
    let mortal = mortal.restart().await;
    assert_eq!(mortal.tables().await, tables, "after a restart");
    mortal.assert_clean().await;
}

/// A few seconds of them; `CAIRN_CASES` for more.
fn cases() -> u32 {
    std::env::var("CAIRN_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(16)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_shrink_iters: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_statements_restarts_and_deaths_leave_what_a_map_holds(
        ops in proptest::collection::vec(op(), 1..30),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(check(&ops));
    }
}
