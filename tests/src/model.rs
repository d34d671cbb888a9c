//! The whole stack against a map: statements on a few tables, with restarts and with deaths at durable steps, and a plain
//! model of what must be there.
//!
//! Strategy: a list of operations (CREATE, DROP, TRUNCATE, INSERT, UPDATE, DELETE, IMPORT to its end, IMPORT that is
//! cancelled, restart, death at the nth durable step from now), each made from three bytes: by proptest, which makes a
//! list shorter when it fails, or by libFuzzer.
//!
//! Invariants: a statement answers what the model answers, rows or SQLSTATE; after a death the database is as before
//! the statement that was under way, or as after it, wholly; in the end no job is unfinished, no tombstone is left, and
//! the doctor finds nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use cairn_jobs::{JobId, State};
use cairn_sql::{Database, DatabaseOptions, Session, SqlError, doctor};
use tempfile::TempDir;

use crate::session::{Said, say};

/// Longest time for anything that has to happen; only a hang reaches it.
const HANGS: Duration = Duration::from_secs(30);

/// Operations in a list at most.
pub const OPS_MAX: usize = 30;

/// The rows of each table that exists.
type Tables = BTreeMap<u8, BTreeMap<i64, String>>;

/// Something that is done to the database.
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

impl Op {
    /// Any three bytes are one: what it does, as often as here; to which table and key; how many, or which value.
    fn from_bytes([kind, place, number]: [u8; 3]) -> Self {
        let (table, key, value) = (place % 3, i64::from(place / 3 % 8), number % 4);
        let rows = 1 + (i64::from(place / 3) * 256 + i64::from(number)) % 299;
        match kind % 24 {
            0..4 => Self::Create(table),
            4 => Self::Drop(table),
            5 => Self::Truncate(table),
            6..10 => Self::Insert(table, key, value),
            10..12 => Self::Update(table, key, value),
            12..14 => Self::Delete(table, key),
            14..17 => Self::Import(table, rows),
            17..20 => Self::ImportAndCancel(table, rows),
            20 => Self::Restart,
            _ => Self::Die(1 + u32::from(number) % 59),
        }
    }
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
    session: Session,
}

impl Mortal {
    fn born(place: &Path) -> Self {
        Self::open(TempDir::new_in(place).expect("a folder can be made"))
    }

    fn open(folder: TempDir) -> Self {
        let db = Database::open(DatabaseOptions::small(folder.path())).expect("it opens");
        let session = db.session("root", "defaultdb").expect("root exists");
        Self { folder, db, session }
    }

    async fn close(self) -> TempDir {
        let Self { folder, db, session } = self;
        let stopped = tokio::time::timeout(HANGS, db.shutdown()).await;
        stopped.expect("a shutdown ends, also of the dead");
        drop((session, db));
        folder
    }

    async fn restart(self) -> Self {
        Self::open(self.close().await)
    }

    async fn say(&self, sql: &str) -> Result<Said, SqlError> {
        say(&self.session, sql).await
    }

    /// Waits until no job is under way.
    async fn settle(&self) {
        let began = Instant::now();
        while self
            .db
            .jobs()
            .list()
            .await
            .expect("jobs can be listed")
            .iter()
            .any(|job| !job.state.is_terminal())
        {
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
        let said = self.say(&sql).await?;
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
        std::fs::write(self.db.external_dir().join(&name), text).expect("a file can be written");
        format!("IMPORT INTO t{t} CSV DATA ('nodelocal://1/{name}')")
    }

    async fn import_and_cancel(&self, t: u8, rows: i64) -> Result<Outcome, SqlError> {
        let import = format!("{} WITH detached", self.import(t, rows));
        let said = self.say(&import).await?;
        let id: i64 = said.rows[0][0].parse().expect("the id of a job");
        match self.say(&format!("CANCEL JOB {id}")).await {
            Ok(_) => {}
            // It was faster.
            Err(error) if error.code == "55000" => {}
            Err(error) => return Err(error),
        }
        let job = self.db.jobs().wait(JobId::from_raw(id).expect("it is one")).await?;
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
            match self.say(&format!("SELECT k, v FROM t{t}")).await {
                Ok(said) => {
                    let row = |row: Vec<String>| (row[0].parse().expect("a key"), row[1].clone());
                    tables.insert(t, said.rows.into_iter().map(row).collect());
                }
                Err(error) => assert_eq!(error.code, "42P01"),
            }
        }
        tables
    }

    /// Waits until nothing is under way and nothing is left.
    async fn until_clean(&self) {
        self.settle().await;
        let began = Instant::now();
        loop {
            let left = self.say("SELECT * FROM cairn.tombstones").await.expect("they can be read");
            if left.rows.is_empty() {
                return;
            }
            assert!(began.elapsed() < HANGS, "a tombstone is left: {:?}", left.rows);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
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

/// Does what the bytes say, [`OPS_MAX`] operations at most, to a new store in the folder `place`.
///
/// # Panics
/// If an invariant does not hold.
pub async fn check(data: &[u8], place: &Path) {
    let (ops, _) = data.as_chunks();
    let ops: Vec<Op> = ops.iter().take(OPS_MAX).copied().map(Op::from_bytes).collect();
    let mut mortal = Mortal::born(place);
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
    mortal.until_clean().await;
    let mortal = mortal.restart().await;
    assert_eq!(mortal.tables().await, tables, "after a restart");
    mortal.until_clean().await;
    let folder = mortal.close().await;
    assert_eq!(doctor(folder.path()).expect("it can be checked"), []);
}
