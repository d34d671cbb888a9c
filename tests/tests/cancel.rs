//! Cancel, pause and crash of jobs that are really running, from other connections.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use cairn_tests::{Client, Refused, Server, lineitems};

const TABLE: &str =
    "CREATE TABLE big (k INT8 PRIMARY KEY, v TEXT NOT NULL, d DECIMAL(10,2), at TIMESTAMPTZ)";
const IMPORT: &str = "IMPORT INTO big CSV DATA ('nodelocal://1/big.csv') WITH skip = '1'";
const STATE: &str = "SELECT status FROM [SHOW JOBS]";

/// A server with an empty table and a file of so many rows for it.
async fn server_with(rows: u64, ascending: bool) -> (Server, Client) {
    let server = Server::start().await;
    std::fs::create_dir_all(server.external()).unwrap();
    lineitems(&server.external().join("big.csv"), rows, ascending);
    let root = server.root().await;
    root.run(TABLE).await;
    (server, root)
}

/// Nothing of the job is visible or left, and the same statement works afterwards.
async fn assert_gone(root: &Client) {
    assert_eq!(root.one("SELECT count(*) FROM big").await, "0");
    root.until("SELECT count(*) FROM cairn.tombstones", "0").await;
    assert_eq!(root.one("SELECT count(*) FROM cairn.jobs WHERE bytes_to_reclaim > 0").await, "0");
}

type Import = tokio::task::JoinHandle<Result<Vec<Vec<String>>, Refused>>;

/// Starts the import on a connection of its own and waits until it runs.
async fn start_import(server: &Server) -> (Import, String) {
    let importer = server.root().await;
    let import = tokio::spawn(async move { importer.rows(IMPORT).await });
    let root = server.root().await;
    root.until("SELECT count(*) FROM [SHOW JOBS] WHERE status = 'running'", "1").await;
    (import, root.one("SELECT job_id FROM [SHOW JOBS]").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_import_is_cancelled_from_another_session_and_its_client_hears_57014() {
    for ascending in [true, false] {
        let (server, root) = server_with(400_000, ascending).await;
        let (import, id) = start_import(&server).await;
        root.until(
            "SELECT count(*) FROM cairn.jobs WHERE bytes_written > 0 OR fraction > 0.2",
            "1",
        )
        .await;
        assert_eq!(root.run(&format!("CANCEL JOB {id}")).await, 1);
        let refused = import.await.unwrap().unwrap_err();
        assert_eq!(refused.code, "57014", "{refused}");
        root.until(STATE, "canceled").await;
        assert_gone(&root).await;
        assert_eq!(root.run(&format!("CANCEL JOB {id}")).await, 1, "a second cancel is no error");
        server.assert_healthy().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_import_is_paused_and_resumed_and_is_complete() {
    let (server, root) = server_with(300_000, true).await;
    let (import, id) = start_import(&server).await;
    root.run(&format!("PAUSE JOB {id} WITH WAIT")).await;
    root.until(STATE, "paused").await;
    let refused = import.await.unwrap().unwrap_err();
    assert_eq!(refused.code, "55000", "{refused}");
    assert!(refused.text.contains("RESUME"), "{refused}");
    assert_eq!(root.one("SELECT count(*) FROM big").await, "0");
    root.run(&format!("RESUME JOB {id}")).await;
    assert_eq!(
        root.one(&format!("SELECT status FROM [SHOW JOB WHEN COMPLETE {id}]")).await,
        "succeeded"
    );
    assert_eq!(root.one("SELECT count(*) FROM big").await, "300000");
    assert_eq!(root.one("SELECT sum(k) FROM big").await, "45000150000");
    server.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_survives_two_kills_and_ends_as_if_nothing_had_happened() {
    for ascending in [true, false] {
        let (mut server, root) = server_with(600_000, ascending).await;
        root.run(&format!("{IMPORT}, detached")).await;
        for fraction in ["0.2", "0.6"] {
            let moving = format!(
                "SELECT count(*) FROM cairn.jobs WHERE fraction > {fraction} OR status = 'succeeded'"
            );
            server.root().await.until(&moving, "1").await;
            server.kill_and_restart().await;
        }
        let root = server.root().await;
        root.until(STATE, "succeeded").await;
        assert_eq!(root.one("SELECT count(*) FROM big").await, "600000");
        assert_eq!(root.one("SELECT sum(k) FROM big").await, "180000300000");
        assert_eq!(root.one("SELECT count(DISTINCT v) FROM big").await, "600000");
        server.assert_healthy().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_is_cut_by_a_kill_ends_after_the_restart() {
    let (mut server, root) = server_with(400_000, true).await;
    let (_import, id) = start_import(&server).await;
    root.until("SELECT count(*) FROM cairn.jobs WHERE bytes_written > 0 OR fraction > 0.2", "1")
        .await;
    root.run(&format!("CANCEL JOB {id}")).await;
    server.kill_and_restart().await;
    let root = server.root().await;
    root.until(STATE, "canceled").await;
    assert_gone(&root).await;
    root.run(IMPORT).await;
    assert_eq!(root.one("SELECT count(*) FROM big").await, "400000");
    server.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_table_cancels_its_import_first() {
    let (server, root) = server_with(400_000, true).await;
    let (import, _id) = start_import(&server).await;
    root.run("DROP TABLE big").await;
    assert_eq!(import.await.unwrap().unwrap_err().code, "57014");
    root.until(STATE, "canceled").await;
    root.until("SELECT count(*) FROM cairn.tombstones", "0").await;
    server.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jobs_id_arrives_in_a_notice_while_the_import_still_runs() {
    let (server, root) = server_with(300_000, true).await;
    let mut importer = server.root().await;
    root.run("SET CLUSTER SETTING jobs.debug.pausepoints = 'import.after_ingest'").await;
    // The job pauses itself, so its statement cannot have ended before the notice is read.
    let (answer, notice) = importer.rows_and_notice(IMPORT, "job ").await;
    assert_eq!(answer.unwrap_err().code, "55000");
    assert!(notice.contains("CANCEL JOB"), "{notice}");
    root.run("CANCEL JOBS (SELECT job_id FROM [SHOW JOBS]) WITH WAIT").await;
    server.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_the_statement_ends_the_wait_and_not_the_job() {
    let (server, root) = server_with(300_000, true).await;
    let waiter = server.root().await;
    let token = waiter.driver().cancel_token();
    let wait = tokio::spawn(async move { waiter.rows(IMPORT).await });
    root.until("SELECT count(*) FROM [SHOW JOBS] WHERE status = 'running'", "1").await;
    token.cancel_query(tokio_postgres::NoTls).await.unwrap();
    let refused = wait.await.unwrap().unwrap_err();
    assert_eq!(refused.code, "57014", "{refused}");
    root.until(STATE, "succeeded").await;
    assert_eq!(root.one("SELECT count(*) FROM big").await, "300000");
    server.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_tell_what_is_to_be_given_back_and_what_has_been() {
    let (server, root) = server_with(100_000, true).await;
    root.run("SET CLUSTER SETTING reclaim.paused = true").await;
    root.run("SET CLUSTER SETTING jobs.debug.pausepoints = 'import.after_ingest'").await;
    let id = root.one(&format!("{IMPORT}, detached")).await;
    root.until(STATE, "paused").await;
    root.run(&format!("CANCEL JOB {id}")).await;
    root.until(STATE, "canceled").await;
    let spans: f64 = root.one("SELECT count(*) FROM cairn.tombstones").await.parse().unwrap();
    assert_eq!(server.metric("cairn_tombstones").await, Some(spans));
    assert!(server.metric("cairn_reclaim_left_bytes").await > Some(0.0));
    assert_eq!(server.metric("cairn_reclaim_passes_total").await, None, "nothing has gone");
    root.run("RESET CLUSTER SETTING reclaim.paused").await;
    root.run(&format!("CANCEL JOB {id} WITH WAIT = '30s'")).await;
    assert_eq!(server.metric("cairn_tombstones").await, Some(0.0));
    assert_eq!(server.metric("cairn_reclaim_left_bytes").await, Some(0.0));
    assert!(server.metric("cairn_reclaim_bytes_total").await > Some(0.0));
    assert!(server.metric("cairn_reclaim_passes_total").await >= Some(1.0));
    server.assert_healthy().await;
}
