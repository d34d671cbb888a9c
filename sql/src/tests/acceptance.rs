//! The script, statement by statement.

use super::Fresh;

const COLUMNS: &str = "(k INT8 PRIMARY KEY, v TEXT NOT NULL, d DECIMAL(10,2), at TIMESTAMPTZ)";

#[tokio::test]
async fn an_import_is_queried_refused_paused_and_cancelled_as_the_script_says() {
    let fresh = Fresh::new();
    fresh.write_csv_files();
    let root = fresh.root();
    root.run(&format!("CREATE TABLE t {COLUMNS}")).await;
    let done = root
        .rows(
            "SELECT status, fraction_completed, rows \
             FROM [IMPORT INTO t CSV DATA ('nodelocal://1/t.csv') WITH skip = '1']",
        )
        .await;
    assert_eq!(done, [["succeeded", "1.0", "1000"]]);
    assert_eq!(root.value("SELECT count(*) FROM t WHERE k BETWEEN 100 AND 199").await, "100");
    let jobs = root.rows("SELECT job_type, user_name, status, error FROM [SHOW JOBS]").await;
    assert_eq!(jobs, [["IMPORT", "root", "succeeded", ""]]);
    let count = root
        .value(
            "WITH x AS (SHOW JOBS) SELECT count(*) FROM x \
             WHERE status = 'succeeded' AND finished >= created",
        )
        .await;
    assert_eq!(count, "1");

    let succeeded = "CANCEL JOBS (SELECT job_id FROM [SHOW JOBS] WHERE status = 'succeeded')";
    let error = root.error(succeeded).await;
    assert_eq!(error.code, "55000");
    assert!(error.message.contains("succeeded") && error.hint.is_some(), "{error}");
    assert_eq!(root.code("CANCEL JOB 42").await, "42704");
    assert_eq!(root.code("CANCEL JOBS (SELECT job_id, status FROM [SHOW JOBS])").await, "42601");
    assert_eq!(root.code("CANCEL JOBS (SELECT status FROM [SHOW JOBS])").await, "42804");

    root.run(&format!("CREATE TABLE u {COLUMNS}")).await;
    let error =
        root.error("IMPORT INTO u CSV DATA ('nodelocal://1/bad.csv') WITH skip = '1'").await;
    assert_eq!(error.code, "22P02");
    let line = error.to_string();
    for part in ["bad.csv", "line 7", "column k"] {
        assert!(line.contains(part), "{line}");
    }
    let error =
        root.error("IMPORT INTO u CSV DATA ('nodelocal://1/dup.csv') WITH skip = '1'").await;
    assert_eq!(error.code, "23505");
    assert!(error.to_string().contains("dup.csv"), "{error}");
    assert_eq!(root.value("SELECT count(*) FROM u").await, "0");
    root.until("SELECT count(*) FROM cairn.tombstones WHERE bytes_left > 0", "0").await;

    root.run("CREATE USER maxroach").await;
    let max = fresh.user("maxroach");
    assert_eq!(max.code("CANCEL JOBS (SELECT job_id FROM crdb_internal.jobs)").await, "42501");

    root.run("SET CLUSTER SETTING jobs.debug.pausepoints = 'import.after_ingest'").await;
    root.run("IMPORT INTO u CSV DATA ('nodelocal://1/t.csv') WITH skip = '1', detached").await;
    root.until("SELECT status FROM [SHOW JOBS] WHERE finished IS NULL", "paused").await;
    let said = root
        .run(
            "PAUSE JOBS (SELECT job_id FROM [SHOW JOBS] WHERE finished IS NULL) \
             WITH WAIT, REASON = 'lunch'",
        )
        .await;
    assert_eq!(said.tag, "PAUSE JOBS 1");
    let said = root
        .run("CANCEL JOBS (SELECT job_id FROM [SHOW JOBS] WHERE status = 'paused') WITH WAIT")
        .await;
    assert_eq!(said.tag, "CANCEL JOBS 1");
    assert_eq!(root.value("SELECT count(*) FROM cairn.tombstones").await, "0");
    let last = root
        .rows(
            "SELECT status, (SELECT count(*) FROM u) FROM [SHOW JOBS] \
             WHERE description LIKE 'IMPORT INTO%u%' ORDER BY created DESC LIMIT 1",
        )
        .await;
    assert_eq!(last, [["canceled", "0"]]);
    root.run("SET CLUSTER SETTING jobs.debug.pausepoints = ''").await;
}
