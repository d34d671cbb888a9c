//! Job statements: who may use them, what they wait for, what a waiting client hears.

use std::sync::Arc;

use super::{Client, Fresh};
use crate::parse::parse;

async fn table(client: &Client) {
    client
        .run(
            "CREATE TABLE t (k INT8 PRIMARY KEY, v TEXT NOT NULL, d DECIMAL(10,2), at TIMESTAMPTZ)",
        )
        .await;
}

const IMPORT: &str = "IMPORT INTO t CSV DATA ('nodelocal://1/t.csv') WITH skip = '1'";
const HOLD: &str = "SET CLUSTER SETTING jobs.debug.pausepoints = 'import.after_ingest'";
const LET_GO: &str = "SET CLUSTER SETTING jobs.debug.pausepoints = ''";

#[tokio::test]
async fn only_admins_control_jobs_even_when_there_are_none_and_users_see_their_own() {
    let fresh = Fresh::new();
    fresh.write_csv_files();
    let root = fresh.root();
    table(&root).await;
    root.run("CREATE USER max").await;
    let max = fresh.user("max");
    for text in ["CANCEL JOB 1", "PAUSE JOB 1", "RESUME JOBS (SELECT job_id FROM [SHOW JOBS])"] {
        assert_eq!(max.code(text).await, "42501");
    }
    root.run(IMPORT).await;
    assert_eq!(root.value("SELECT count(*) FROM crdb_internal.jobs").await, "1");
    assert_eq!(max.value("SELECT count(*) FROM crdb_internal.jobs").await, "0");
    assert!(max.rows("SHOW JOBS").await.is_empty());
    root.run("GRANT admin TO max").await;
    assert_eq!(max.rows("SHOW JOBS").await.len(), 1);
    assert_eq!(max.run("CANCEL JOBS (SELECT NULL::INT8)").await.tag, "CANCEL JOBS 0");
    root.run("REVOKE admin FROM max").await;
    assert_eq!(max.code("CANCEL JOBS (SELECT NULL::INT8)").await, "42501");
}

#[tokio::test]
async fn one_job_that_cannot_be_cancelled_keeps_all_others_as_they_are() {
    let fresh = Fresh::new();
    fresh.write_csv_files();
    let root = fresh.root();
    table(&root).await;
    root.run(IMPORT).await;
    root.run(
        "CREATE TABLE u (k INT8 PRIMARY KEY, v TEXT NOT NULL, d DECIMAL(10,2), at TIMESTAMPTZ)",
    )
    .await;
    root.run(HOLD).await;
    let id = root.value(&format!("{}, detached", IMPORT.replace("INTO t", "INTO u"))).await;
    root.until(&format!("SELECT status FROM [SHOW JOB {id}]"), "paused").await;
    let error = root.error("CANCEL JOBS (SELECT job_id FROM [SHOW JOBS])").await;
    assert_eq!(error.code, "55000");
    assert_eq!(root.value(&format!("SELECT status FROM [SHOW JOB {id}]")).await, "paused");
    root.run(LET_GO).await;
    assert_eq!(root.run(&format!("RESUME JOB {id}")).await.tag, "RESUME JOBS 1");
    let done = root.rows(&format!("SELECT status FROM [SHOW JOB WHEN COMPLETE {id}]")).await;
    assert_eq!(done, [["succeeded"]]);
    assert_eq!(root.value("SELECT count(*) FROM u").await, "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_client_hears_that_its_job_was_paused_or_cancelled() {
    let fresh = Arc::new(Fresh::new());
    fresh.write_csv_files();
    let root = fresh.root();
    table(&root).await;
    root.run(HOLD).await;
    let error = root.error(IMPORT).await;
    assert_eq!(error.code, "55000");
    assert!(error.hint.unwrap().contains("RESUME JOB"));
    let notice = root.0.take_notices().remove(0).message;
    assert!(
        notice.starts_with("job ") && notice.contains("started") && notice.contains("CANCEL JOB"),
        "{notice}"
    );
    let id = root.value("SELECT job_id FROM [SHOW JOBS]").await;
    let waiting = {
        let fresh = Arc::clone(&fresh);
        let id = id.clone();
        tokio::spawn(async move {
            fresh.root().rows(&format!("SELECT status FROM [SHOW JOB WHEN COMPLETE {id}]")).await
        })
    };
    root.run(&format!("CANCEL JOB {id} WITH WAIT")).await;
    assert_eq!(waiting.await.unwrap(), [["canceled"]]);
    assert_eq!(root.value("SELECT count(*) FROM t").await, "0");
    assert_eq!(root.value("SELECT count(*) FROM cairn.tombstones").await, "0");
}

#[tokio::test]
async fn ending_the_wait_says_that_the_job_goes_on() {
    let fresh = Fresh::new();
    fresh.write_csv_files();
    let root = fresh.root();
    table(&root).await;
    root.run(HOLD).await;
    let id = root.value(&format!("{IMPORT}, detached")).await;
    root.until(&format!("SELECT status FROM [SHOW JOB {id}]"), "paused").await;
    let parsed = parse(&format!("SHOW JOB WHEN COMPLETE {id}")).unwrap();
    let prepared = root.0.prepare(&parsed[0], &[]).await.unwrap();
    let cancel = root.0.cancel_handle();
    let wait = root.0.execute(&prepared, Vec::new());
    let (error, ()) = tokio::join!(wait, async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        cancel.cancel();
    });
    let error = error.unwrap_err();
    assert_eq!(error.code, "57014");
    assert!(error.detail.unwrap().contains(&id));
    assert_eq!(root.value(&format!("SELECT status FROM [SHOW JOB {id}]")).await, "paused");
    let error = root.error(&format!("PAUSE JOB {id}; SHOW JOB WHEN COMPLETE 42")).await;
    assert_eq!(error.code, "42704");
}

#[tokio::test]
async fn drop_and_truncate_cancel_the_jobs_of_a_table_first() {
    let fresh = Fresh::new();
    fresh.write_csv_files();
    let root = fresh.root();
    table(&root).await;
    root.run(HOLD).await;
    let id = root.value(&format!("{IMPORT}, detached")).await;
    root.until(&format!("SELECT status FROM [SHOW JOB {id}]"), "paused").await;
    root.run("TRUNCATE t").await;
    assert_eq!(root.value(&format!("SELECT status FROM [SHOW JOB {id}]")).await, "canceled");
    let id = root.value(&format!("{IMPORT}, detached")).await;
    root.until(&format!("SELECT status FROM [SHOW JOB {id}]"), "paused").await;
    root.run("DROP TABLE t").await;
    assert_eq!(root.value(&format!("SELECT status FROM [SHOW JOB {id}]")).await, "canceled");
    root.until("SELECT count(*) FROM cairn.tombstones", "0").await;
}

#[tokio::test]
async fn our_own_view_of_jobs_shows_progress_for_people() {
    let fresh = Fresh::new();
    fresh.write_csv_files();
    let root = fresh.root();
    table(&root).await;
    root.run(IMPORT).await;
    assert_eq!(
        root.rows(
            "SELECT kind, status, bar, fraction, stalled, bytes_to_reclaim, error FROM cairn.jobs"
        )
        .await,
        [["IMPORT", "succeeded", "██████████ 100%", "1.0", "false", "0", "NULL"]]
    );
}

/// An import that has ingested and was cancelled, with nothing of it given back yet.
async fn canceled_while_reclaim_is_paused(root: &Client) -> String {
    table(root).await;
    root.run("SET CLUSTER SETTING reclaim.paused = true").await;
    root.run(HOLD).await;
    let id = root.value(&format!("{IMPORT}, detached")).await;
    root.until(&format!("SELECT status FROM [SHOW JOB {id}]"), "paused").await;
    root.run(&format!("CANCEL JOB {id}")).await;
    root.until(&format!("SELECT status FROM [SHOW JOB {id}]"), "canceled").await;
    id
}

#[tokio::test]
async fn an_ended_job_says_what_it_still_gives_back_and_what_that_waits_for() {
    let fresh = Fresh::new();
    fresh.write_csv_files();
    let root = fresh.root();
    let id = canceled_while_reclaim_is_paused(&root).await;
    let waits = "SELECT count(*) FROM cairn.tombstones WHERE waiting_for LIKE 'reclaim.paused%' \
                 AND bytes_left > 0 AND bytes_freed = 0 AND NOT stalled";
    root.until(waits, "1").await;
    let status = root.value(&format!("SELECT running_status FROM [SHOW JOB {id}]")).await;
    assert!(status.starts_with("giving back ") && status.contains("reclaim.paused"), "{status}");
    root.until("SELECT reason FROM cairn.governor", "reclaim.paused").await;
    root.run("RESET CLUSTER SETTING reclaim.paused").await;
    root.run(&format!("CANCEL JOB {id} WITH WAIT = '30s'")).await;
    assert_eq!(root.value(&format!("SELECT running_status FROM [SHOW JOB {id}]")).await, "");
    assert_eq!(root.value("SELECT count(*) FROM cairn.tombstones").await, "0");
}

#[tokio::test]
async fn reclaim_that_is_paused_stays_paused_over_a_restart() {
    let fresh = Fresh::new();
    fresh.write_csv_files();
    let root = fresh.root();
    let id = canceled_while_reclaim_is_paused(&root).await;
    let left =
        "SELECT sum(bytes_left) FROM cairn.tombstones WHERE waiting_for LIKE 'reclaim.paused%'";
    root.until("SELECT count(*) > 0 FROM cairn.tombstones", "true").await;
    let before = root.value(left).await;
    drop(root);
    let fresh = fresh.restarted().await;
    let root = fresh.root();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(root.value(left).await, before, "something went before the setting was read");
    root.run("RESET CLUSTER SETTING reclaim.paused").await;
    root.run(&format!("CANCEL JOB {id} WITH WAIT = '30s'")).await;
    assert_eq!(root.value("SELECT count(*) FROM cairn.tombstones").await, "0");
}

#[tokio::test]
async fn the_governor_shows_its_rates_and_why() {
    let fresh = Fresh::new();
    let root = fresh.root();
    let shown = "SELECT deletion_rate, reason, free_bytes > 0, writes_held FROM cairn.governor";
    root.until("SELECT count(*) FROM cairn.governor WHERE free_bytes > 0", "1").await;
    let rows = root.rows(shown).await;
    assert_eq!(rows.len(), 1);
    assert!(rows[0][0].ends_with("B/s") && !rows[0][1].is_empty(), "{rows:?}");
    assert_eq!(&rows[0][2..], ["true", "false"], "{rows:?}");
    root.run("SET CLUSTER SETTING background.rate.max = '5MiB'").await;
    root.until("SELECT rate FROM cairn.governor", "5 MB/s").await;
    root.run("SET CLUSTER SETTING reclaim.free_space_floor = '1000TiB'").await;
    root.until("SELECT reclaim_first FROM cairn.governor", "true").await;
}

#[tokio::test]
async fn settings_of_the_governor_take_effect_while_it_runs() {
    let fresh = Fresh::new();
    let root = fresh.root();
    for (setting, value, seconds, target) in [
        ("sql.read_view.max_age", "'5s'", 5, 1.1),
        ("background.latency.target", "1.5", 5, 1.5),
        ("background.latency.target", "100", 5, f64::INFINITY),
    ] {
        root.run(&format!("SET CLUSTER SETTING {setting} = {value}")).await;
        let began = std::time::Instant::now();
        loop {
            let limits = fresh.db.engine().governor().limits();
            let found = (limits.reader_age_max.as_secs(), limits.latency_target);
            if found == (seconds, target) {
                break;
            }
            assert!(began.elapsed().as_secs() < 10, "{setting} = {value}: {limits:?}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_number_names_a_job_as_an_expression_does() {
    let fresh = Fresh::new();
    let root = fresh.root();
    for number in ["0", "7", "9223372036854775807", "9223372036854775808", "1.5", "-1"] {
        for verb in ["CANCEL", "PAUSE", "RESUME"] {
            let said = root.error(&format!("{verb} JOB {number}")).await;
            let planned = root.error(&format!("{verb} JOB (SELECT {number})")).await;
            assert_eq!((said.code, said.message), (planned.code, planned.message), "{number}");
        }
    }
}
