//! Parameters and results are known before a statement runs.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::{Client, Fresh};
use crate::parse::parse;
use crate::prepare::Prepared;

impl Client {
    async fn prepare(&self, sql: &str, declared: &[Option<DataType>]) -> Prepared {
        match self.0.prepare(&parse(sql).unwrap()[0], declared).await {
            Ok(prepared) => prepared,
            Err(error) => panic!("{sql}\n{}: {error}", error.code),
        }
    }

    async fn params(&self, sql: &str) -> Vec<DataType> {
        self.prepare(sql, &[]).await.params
    }
}

#[tokio::test]
async fn parameters_get_the_type_of_where_they_stand() {
    let fresh = Fresh::new();
    let root = fresh.root();
    root.run("CREATE TABLE t (k INT8 PRIMARY KEY, v TEXT, n INT4)").await;
    assert_eq!(root.params("SELECT v FROM t WHERE k = $1").await, [DataType::Int64]);
    assert_eq!(
        root.params("INSERT INTO t VALUES ($1, $2, $3)").await,
        [DataType::Int64, DataType::Utf8, DataType::Int32]
    );
    assert_eq!(
        root.params("UPDATE t SET v = $2 WHERE k = $1").await,
        [DataType::Int64, DataType::Utf8]
    );
    assert_eq!(root.params("DELETE FROM t WHERE k = $1").await, [DataType::Int64]);
    assert_eq!(root.params("SELECT $1").await, [DataType::Utf8]);
    assert_eq!(root.params("SELECT $1::INT8 + 1").await, [DataType::Int64]);
    assert_eq!(root.params("CANCEL JOB $1").await, [DataType::Int64]);
    assert_eq!(root.params("SHOW JOB $1").await, [DataType::Int64]);
    assert_eq!(
        root.params("IMPORT INTO t CSV DATA ($1) WITH skip = $2").await,
        [DataType::Utf8, DataType::Utf8]
    );
}

#[tokio::test]
async fn prepared_statements_run_with_values() {
    let fresh = Fresh::new();
    let root = fresh.root();
    root.run("CREATE TABLE t (k INT8 PRIMARY KEY, v TEXT)").await;
    let values = vec![ScalarValue::Int64(Some(5)), ScalarValue::Utf8(Some("five".into()))];
    let said = root.try_run_with("INSERT INTO t VALUES ($1, $2)", values.clone()).await.unwrap();
    assert_eq!(said.tag, "INSERT 0 1");
    let said = root.try_run_with("SELECT v, $2 FROM t WHERE k = $1", values.clone()).await.unwrap();
    assert_eq!(said.rows, [["five", "five"]]);
    let said = root.try_run_with("UPDATE t SET v = $2 || '!' WHERE k = $1", values).await.unwrap();
    assert_eq!(said.tag, "UPDATE 1");
    assert_eq!(root.value("SELECT v FROM t").await, "five!");
    // A client may declare another type than the column's; the value still finds the row.
    let declared = root.prepare("SELECT v FROM t WHERE k = $1", &[Some(DataType::Int16)]).await;
    assert_eq!(declared.params, [DataType::Int16]);
    let answer = root.0.execute(&declared, vec![ScalarValue::Int16(Some(5))]).await.unwrap();
    assert_eq!(super::collected(answer).await.unwrap().rows, [["five!"]]);
}

#[tokio::test]
async fn statements_of_our_own_are_described_without_running() {
    let fresh = Fresh::new();
    let root = fresh.root();
    root.run("CREATE TABLE t (k INT8 PRIMARY KEY)").await;
    let columns = |prepared: Prepared| -> Vec<(String, DataType)> {
        prepared
            .columns
            .unwrap()
            .into_iter()
            .map(|column| (column.name, column.data_type))
            .collect()
    };
    let jobs = columns(root.prepare("SHOW JOBS", &[]).await);
    assert_eq!(jobs.len(), 14);
    assert_eq!(jobs[0], ("job_id".to_owned(), DataType::Int64));
    assert_eq!(jobs[11], ("fraction_completed".to_owned(), DataType::Float64));
    let import = "SELECT job_id, rows FROM [IMPORT INTO t CSV DATA ('nodelocal://1/none.csv')]";
    let described = columns(root.prepare(import, &[]).await);
    assert_eq!(
        described,
        [("job_id".to_owned(), DataType::Int64), ("rows".to_owned(), DataType::Int64)]
    );
    assert!(root.rows("SHOW JOBS").await.is_empty(), "describing an import starts none");
    assert_eq!(root.prepare("CANCEL JOB 1", &[]).await.columns, None);
}
