//! A server process dies at every durable step of what it does, the steps of its start included; the one that is started on
//! its store dies again soon after; the third lives.
//!
//! `CAIRN_CRASH=any:n` aborts a process at its nth crash point. One client says one list of statements, in which every
//! kind of job, both roads of IMPORT, a cancel with all of its cleanup, TRUNCATE and DROP come. What is there after each
//! statement is known, so what is found in the end must be what was there after the last statement that was answered, or
//! after the one that was not. `CAIRN_CRASH_STRIDE=n` tries every nth step; one in four by default, others each time.
//! `CAIRN_KILL_SEED` chooses which, and where the second process dies; what threads do between steps is not chosen.
#![expect(clippy::panic, reason = "a suite fails by panicking")]

use std::time::{Duration, Instant};

use cairn_jobs::{Clock as _, SystemClock};
use cairn_tests::{Client, Random, Refused, Server, write_file};

/// Longest time for anything that has to happen; only a hang reaches it.
const HANGS: Duration = Duration::from_secs(60);

/// Rows of each file.
const ROWS: usize = 300;

/// Statements, and the rows of `kept`, `a`, `b` and `c` after each; `None` for a table that is not there.
type Counts = [Option<usize>; 4];

const TABLES: [&str; 4] = ["kept", "a", "b", "c"];

enum Said {
    /// A statement.
    Sql(&'static str),
    /// A question that is asked until it answers this.
    Until(&'static str, &'static str),
}

use Said::{Sql, Until};

const NONE: Counts = [None; 4];
const ALL: Option<usize> = Some(ROWS);

const STATEMENTS: &[(Said, Counts)] = &[
    (Sql("CREATE TABLE kept (k INT8 PRIMARY KEY)"), [Some(0), None, None, None]),
    (Sql("INSERT INTO kept VALUES (1), (2)"), [Some(2), None, None, None]),
    (Sql("CREATE TABLE a (k INT8 PRIMARY KEY, v TEXT)"), [Some(2), Some(0), None, None]),
    // In order of its key: straight into a span.
    (Sql("IMPORT INTO a CSV DATA ('nodelocal://1/up.csv')"), [Some(2), ALL, None, None]),
    (Sql("CREATE TABLE b (k INT8 PRIMARY KEY, v TEXT)"), [Some(2), ALL, Some(0), None]),
    // Out of order: sorted and merged.
    (Sql("IMPORT INTO b CSV DATA ('nodelocal://1/down.csv')"), [Some(2), ALL, ALL, None]),
    (Sql("CREATE TABLE c (k INT8 PRIMARY KEY, v TEXT)"), [Some(2), ALL, ALL, Some(0)]),
    (
        Sql("SET CLUSTER SETTING jobs.debug.pausepoints = 'import.before_publish'"),
        [Some(2), ALL, ALL, Some(0)],
    ),
    (
        Sql("IMPORT INTO c CSV DATA ('nodelocal://1/down.csv') WITH detached"),
        [Some(2), ALL, ALL, Some(0)],
    ),
    (
        Until("SELECT count(*) FROM [SHOW JOBS] WHERE status = 'paused'", "1"),
        [Some(2), ALL, ALL, Some(0)],
    ),
    (Sql("RESET CLUSTER SETTING jobs.debug.pausepoints"), [Some(2), ALL, ALL, Some(0)]),
    (
        Sql("CANCEL JOBS (SELECT job_id FROM [SHOW JOBS] WHERE status = 'paused') WITH WAIT"),
        [Some(2), ALL, ALL, Some(0)],
    ),
    (Sql("TRUNCATE TABLE a"), [Some(2), Some(0), ALL, Some(0)]),
    (Sql("DROP TABLE b"), [Some(2), Some(0), None, Some(0)]),
    (Until("SELECT count(*) FROM cairn.tombstones", "0"), [Some(2), Some(0), None, Some(0)]),
    (Sql("INSERT INTO kept VALUES (3)"), [Some(3), Some(0), None, Some(0)]),
];

/// What is there after so many statements.
fn after(statements: usize) -> Counts {
    statements.checked_sub(1).map_or(NONE, |last| STATEMENTS[last.min(STATEMENTS.len() - 1)].1)
}

/// Says the statements until the server dies. Answers how many were answered.
async fn say(url: &str) -> usize {
    let Ok(client) = Client::connect(url).await else { return 0 };
    for (number, (said, _)) in STATEMENTS.iter().enumerate() {
        let answer = match said {
            Sql(sql) => client.try_run(sql).await.map(|_| ()),
            Until(sql, wanted) => until(&client, sql, wanted).await,
        };
        match answer {
            Ok(()) => {}
            // The connection is gone.
            Err(refused) if refused.code == "08000" => return number,
            Err(refused) => panic!("statement {number}: {refused}"),
        }
    }
    STATEMENTS.len()
}

async fn until(client: &Client, sql: &str, wanted: &str) -> Result<(), Refused> {
    for _ in 0..6000 {
        let rows = client.rows(sql).await?;
        if rows.first().and_then(|row| row.first()).is_some_and(|cell| cell == wanted) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{sql} never answered {wanted}");
}

async fn counts(client: &Client) -> Counts {
    let mut counts = NONE;
    for (count, table) in counts.iter_mut().zip(TABLES) {
        *count = match client.rows(&format!("SELECT count(*) FROM {table}")).await {
            Ok(rows) => Some(rows[0][0].parse().expect("a number")),
            Err(refused) if refused.code == "42P01" => None,
            Err(refused) => panic!("{table}: {refused}"),
        };
    }
    counts
}

/// Dies at the nth step of the first life, at step `again` of the second, and must be well in the third. False if the first life
/// has no such step.
async fn dies_at(nth: u32, again: u32) -> bool {
    let fill = |store: &std::path::Path| {
        let external = store.join("extern");
        std::fs::create_dir(&external).expect("the store's folder is empty");
        let line = |k: usize| format!("{k},value {k}\n");
        write_file(&external.join("up.csv"), &(0..ROWS).map(line).collect::<String>());
        write_file(&external.join("down.csv"), &(0..ROWS).rev().map(line).collect::<String>());
    };
    let (mut server, ready) = Server::start_mortal_on_store(fill, &format!("any:{nth}")).await;
    let said = if ready { say(&server.url("root")).await } else { 0 };
    if said == STATEMENTS.len() {
        server.kill_and_restart().await;
        server.assert_healthy().await;
        return false;
    }
    let status = server.ended().await;
    assert!(!status.success(), "step {nth}: {status}");

    // Jobs go on by themselves, and what is condemned goes.
    if server.restart_mortal(&format!("any:{again}")).await {
        server.dies_or_is_killed(Duration::from_millis(50)).await;
    }

    let place = format!("step {nth}, then {again}, after {said} statements");
    if let Err(error) = server.try_restart().await {
        panic!("{place}: {error}");
    }
    let root = server.root().await;
    root.run("RESET CLUSTER SETTING jobs.debug.pausepoints").await;
    // The job that was to be cancelled may be paused, or be about to be; or it has not come so far, and ends.
    let live =
        "SELECT count(*) FROM [SHOW JOBS] WHERE status NOT IN ('succeeded', 'failed', 'canceled')";
    let began = Instant::now();
    while root.one(live).await != "0" {
        assert!(began.elapsed() < HANGS, "{place}: a job does not end");
        let paused = "SELECT job_id FROM [SHOW JOBS] WHERE status = 'paused'";
        root.run(&format!("CANCEL JOBS ({paused})")).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let failed = "SELECT count(*) FROM [SHOW JOBS] WHERE status = 'failed'";
    assert_eq!(root.one(failed).await, "0", "{place}");
    let mut found = counts(&root).await;
    let is_detached = |said: &Said| matches!(said, Sql(sql) if sql.contains("detached"));
    let detached = STATEMENTS.iter().position(|(said, _)| is_detached(said));
    if detached.is_some_and(|detached| said == detached || said == detached + 1) && found[3] == ALL
    {
        // It was not paused yet when its process died, and nobody had cancelled it.
        found[3] = Some(0);
    }
    let wanted = [after(said), after(said + 1)];
    assert!(wanted.contains(&found), "{place}: {found:?} instead of {wanted:?}");
    for (table, found) in TABLES.iter().zip(found) {
        if found.is_some() {
            root.run(&format!("DROP TABLE {table}")).await;
        }
    }
    root.until("SELECT count(*) FROM cairn.tombstones", "0").await;
    server.assert_healthy().await;
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_may_die_at_any_durable_step_and_the_next_one_soon_after() {
    let stride = std::env::var("CAIRN_CRASH_STRIDE").ok().and_then(|text| text.parse().ok());
    let stride: u32 = stride.filter(|&stride| stride > 0).unwrap_or(4);
    let seed = std::env::var("CAIRN_KILL_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| SystemClock.now().raw());
    let mut random = Random::new(seed);
    let mut nth = 1 + u32::try_from(random.below(u64::from(stride))).expect("it is small");
    let (first, mut lives) = (nth, 0);
    loop {
        let again = 1 + u32::try_from(random.below(12)).expect("it is small");
        if !dies_at(nth, again).await {
            break;
        }
        (nth, lives) = (nth + stride, lives + 1);
    }
    println!("{lives} deaths, at steps {first} to {nth}, every {stride}; seed {seed}");
    assert!(nth > 60, "there are more steps than {nth}");
}
