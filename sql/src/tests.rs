//! Every family of statements against a database in this process.

mod acceptance;
mod catalog;
mod changes;
mod jobs;
mod prepared;
mod psql;
mod session;

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::Array as _;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::common::ScalarValue;
use futures::TryStreamExt as _;
use tempfile::TempDir;

use crate::database::{Database, DatabaseOptions};
use crate::error::SqlError;
use crate::parse::parse;
use crate::session::{Answer, Session};

/// A database in a folder of its own.
pub(crate) struct Fresh {
    pub(crate) db: Database,
    folder: Arc<TempDir>,
}

impl Fresh {
    pub(crate) fn new() -> Self {
        Self::open(Arc::new(TempDir::new().unwrap()))
    }

    fn open(folder: Arc<TempDir>) -> Self {
        let db = Database::open(DatabaseOptions::small(folder.path())).unwrap();
        Self { db, folder }
    }

    /// The same database after a restart; nobody may have a session any more.
    pub(crate) async fn restarted(self) -> Self {
        let folder = Arc::clone(&self.folder);
        self.db.shutdown().await;
        drop(self);
        Self::open(folder)
    }

    pub(crate) fn root(&self) -> Client {
        self.user("root")
    }

    pub(crate) fn user(&self, name: &str) -> Client {
        Client(self.db.session(name, "defaultdb").unwrap())
    }

    /// A file behind `nodelocal://`.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.external().join(name), text).unwrap();
    }

    pub(crate) fn external(&self) -> &Path {
        self.db.external_dir()
    }

    /// The acceptance script's files.
    pub(crate) fn write_csv_files(&self) {
        let row = |key: &str, number: u32| {
            format!("{key},v{number},{number}.25,2026-01-02 03:04:05+00\n")
        };
        let all = |key: fn(u32) -> String| {
            let rows = (1..=1000).map(|number| row(&key(number), number));
            "k,v,d,at\n".to_owned() + &rows.collect::<String>()
        };
        self.write("t.csv", &all(|number| number.to_string()));
        self.write("bad.csv", &all(|n| if n == 6 { "x6".to_owned() } else { n.to_string() }));
        self.write("dup.csv", &all(|n| if n == 700 { "5".to_owned() } else { n.to_string() }));
    }
}

/// Every test ends by asking the doctor.
impl Drop for Fresh {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let findings = crate::doctor::check(self.db.engine()).unwrap();
            assert!(findings.is_empty(), "{findings:?}");
        }
    }
}

/// What a statement answered, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) names: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) tag: String,
}

/// A session that speaks text.
pub(crate) struct Client(pub(crate) Session);

impl Client {
    pub(crate) async fn try_run(&self, sql: &str) -> Result<Said, SqlError> {
        self.try_run_with(sql, Vec::new()).await
    }

    pub(crate) async fn try_run_with(
        &self,
        sql: &str,
        params: Vec<ScalarValue>,
    ) -> Result<Said, SqlError> {
        let mut said = Said { names: Vec::new(), rows: Vec::new(), tag: String::new() };
        for parsed in parse(sql)? {
            let prepared = self.0.prepare(&parsed, &[]).await?;
            let answer = self.0.execute(&prepared, params.clone()).await?;
            said = collected(answer).await?;
            let described: Vec<String> =
                prepared.columns.iter().flatten().map(|column| column.name.clone()).collect();
            assert_eq!(described, said.names, "what was described arrives: {sql}");
        }
        Ok(said)
    }

    pub(crate) async fn run(&self, sql: &str) -> Said {
        match self.try_run(sql).await {
            Ok(said) => said,
            Err(error) => panic!("{sql}\n{}: {error}", error.code),
        }
    }

    pub(crate) async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        self.run(sql).await.rows
    }

    /// The one value of the one row.
    pub(crate) async fn value(&self, sql: &str) -> String {
        let rows = self.rows(sql).await;
        assert_eq!((rows.len(), rows.first().map(Vec::len)), (1, Some(1)), "{sql}: {rows:?}");
        rows[0][0].clone()
    }

    pub(crate) async fn error(&self, sql: &str) -> SqlError {
        match self.try_run(sql).await {
            Ok(said) => panic!("{sql}\nanswered {said:?}"),
            Err(error) => error,
        }
    }

    pub(crate) async fn code(&self, sql: &str) -> &'static str {
        self.error(sql).await.code
    }

    /// Asks until the one value is as expected.
    pub(crate) async fn until(&self, sql: &str, expect: &str) {
        let mut last = Vec::new();
        for _ in 0..1000 {
            last = self.rows(sql).await;
            if last == [[expect.to_owned()]] {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{sql}\nstill answers {last:?}, not {expect}");
    }
}

async fn collected(answer: Answer) -> Result<Said, SqlError> {
    match answer {
        Answer::Done { tag } => Ok(Said { names: Vec::new(), rows: Vec::new(), tag }),
        Answer::Rows { schema, stream, tag } => {
            let names = schema.fields().iter().map(|field| field.name().clone()).collect();
            let batches: Vec<_> = stream.try_collect().await?;
            let mut rows = Vec::new();
            for batch in &batches {
                for row in 0..batch.num_rows() {
                    let values = batch.columns().iter().map(|column| {
                        if column.is_null(row) {
                            return "NULL".to_owned();
                        }
                        array_value_to_string(column, row).unwrap()
                    });
                    rows.push(values.collect());
                }
            }
            let tag = tag(rows.len() as u64);
            Ok(Said { names, rows, tag })
        }
    }
}
