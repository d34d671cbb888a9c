//! INSERT, UPDATE, DELETE, and reading by key.

use super::Fresh;
use std::sync::Arc;

#[tokio::test]
async fn rows_are_inserted_updated_and_deleted() {
    let fresh = Fresh::new();
    let root = fresh.root();
    let tags = root
        .tags(&[
            "CREATE TABLE t (k INT8 PRIMARY KEY, v TEXT NOT NULL DEFAULT 'new', n DECIMAL(10,2), b BOOL, f FLOAT8, day DATE)",
            "INSERT INTO t VALUES (1, 'a', 1.5, true, 0.25, '2026-01-31'), (2, 'b', NULL, false, NULL, NULL)",
            "INSERT INTO t (n, k) VALUES (7, 3)",
            "INSERT INTO t (k, v) SELECT k + 10, v || v FROM t",
            "UPDATE t SET n = coalesce(n, 0) + 1, v = DEFAULT WHERE k IN (1, 12)",
            "DELETE FROM t WHERE k = 2 OR k > 12",
        ])
        .await;
    assert_eq!(
        tags,
        ["CREATE TABLE", "INSERT 0 2", "INSERT 0 1", "INSERT 0 3", "UPDATE 2", "DELETE 2"]
    );
    assert_eq!(
        root.rows("SELECT k, v, n, b, f, day FROM t ORDER BY k").await,
        [
            ["1", "new", "2.50", "true", "0.25", "2026-01-31"],
            ["3", "new", "7.00", "NULL", "NULL", "NULL"],
            ["11", "aa", "NULL", "NULL", "NULL", "NULL"],
            ["12", "new", "1.00", "NULL", "NULL", "NULL"],
        ]
    );
}

#[tokio::test]
async fn a_duplicate_key_and_a_missing_value_are_refused_and_nothing_is_written() {
    let fresh = Fresh::new();
    let root = fresh.root();
    root.run("CREATE TABLE t (a INT8, b TEXT, v TEXT NOT NULL, PRIMARY KEY (a, b DESC))").await;
    root.run("INSERT INTO t VALUES (1, 'x', 'v')").await;
    let error = root.error("INSERT INTO t VALUES (2, 'y', 'v'), (1, 'x', 'w')").await;
    assert_eq!(error.code, "23505");
    assert_eq!(error.detail.as_deref(), Some("Key (a, b)=(1, x) already exists."));
    assert_eq!(root.code("INSERT INTO t VALUES (3, 'z', 'v'), (3, 'z', 'v')").await, "23505");
    assert_eq!(root.code("INSERT INTO t (a, b) VALUES (4, 'z')").await, "23502");
    assert_eq!(root.code("UPDATE t SET v = NULL").await, "23502");
    assert_eq!(root.code("INSERT INTO t (a, nope) VALUES (4, 'z')").await, "42703");
    assert_eq!(root.code("INSERT INTO nope VALUES (4)").await, "42P01");
    assert_eq!(root.value("SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn keys_can_move_and_swap_places() {
    let fresh = Fresh::new();
    let root = fresh.root();
    root.run("CREATE TABLE t (k INT8 PRIMARY KEY, v TEXT)").await;
    root.run("INSERT INTO t VALUES (1, 'one'), (2, 'two')").await;
    root.run("UPDATE t SET k = 3 - k").await;
    assert_eq!(root.rows("SELECT * FROM t ORDER BY k").await, [["1", "two"], ["2", "one"]]);
    assert_eq!(root.code("UPDATE t SET k = 1").await, "23505");
    root.run("UPDATE t SET k = k + 10 WHERE v = 'two'").await;
    assert_eq!(root.value("SELECT v FROM t WHERE k = 11").await, "two");
}

#[tokio::test]
async fn a_table_without_a_key_keeps_equal_rows_apart() {
    let fresh = Fresh::new();
    let root = fresh.root();
    root.run("CREATE TABLE t (v TEXT)").await;
    root.run("INSERT INTO t VALUES ('a'), ('a')").await;
    root.run("INSERT INTO t VALUES ('a'), ('b')").await;
    assert_eq!(root.run("UPDATE t SET v = 'c' WHERE v = 'b'").await.tag, "UPDATE 1");
    assert_eq!(
        root.rows("SELECT v, count(*) FROM t GROUP BY v ORDER BY v").await,
        [["a", "3"], ["c", "1"]]
    );
    assert_eq!(root.run("DELETE FROM t WHERE v = 'a'").await.tag, "DELETE 3");
}

#[tokio::test]
async fn look_ups_and_ranges_by_key_read_only_what_they_need() {
    let fresh = Fresh::new();
    let root = fresh.root();
    root.run("CREATE TABLE t (a INT8, b TEXT, v INT8, PRIMARY KEY (a, b))").await;
    root.run(
        "INSERT INTO t SELECT x / 10, 'k' || (x % 10), x FROM generate_series(0, 999) AS g(x)",
    )
    .await;
    let plan = |rows: Vec<Vec<String>>| rows.concat().join("\n");
    let point = plan(root.rows("EXPLAIN SELECT v FROM t WHERE a = 5 AND b = 'k3'").await);
    assert!(point.contains("keys=1") && point.contains("ranges=0"), "{point}");
    assert_eq!(root.value("SELECT v FROM t WHERE a = 5 AND b = 'k3'").await, "53");
    let list = plan(root.rows("EXPLAIN SELECT v FROM t WHERE a IN (1, 2) AND b = 'k0'").await);
    assert!(list.contains("keys=2"), "{list}");
    for (filter, count) in [
        ("a = 7", "10"),
        ("a >= 98", "20"),
        ("a > 98", "10"),
        ("a BETWEEN 3 AND 4", "20"),
        ("a < 1", "10"),
        ("a = 3 AND b > 'k4'", "5"),
        ("a = 3 AND b <= 'k4'", "5"),
        ("a = 1 OR a = 2 OR a = 90", "30"),
        ("a IN (1, 1000)", "10"),
        ("a = 1 AND a = 2", "0"),
        ("a <> 1", "990"),
        ("a IS NOT DISTINCT FROM 1", "10"),
        ("a = NULL", "0"),
        ("v = 5", "1"),
        ("b = 'k1'", "100"),
    ] {
        let sql = format!("SELECT count(*) FROM t WHERE {filter}");
        assert_eq!(root.value(&sql).await, count, "{filter}");
    }
}

#[tokio::test]
async fn a_large_table_is_read_in_several_partitions_and_each_row_once() {
    let fresh = Fresh::new();
    let root = fresh.root();
    root.run("CREATE TABLE t (k INT8 PRIMARY KEY, v TEXT)").await;
    let text = ["random()"; 12].join(", ");
    for from in (0..60_000).step_by(10_000) {
        let (first, last) = (from + 1, from + 10_000);
        let series = format!("generate_series({first}, {last}) AS g(x)");
        root.run(&format!("INSERT INTO t SELECT x, concat({text}) FROM {series}")).await;
    }
    let mut plan = String::new();
    for _ in 0..100 {
        plan = root.rows("EXPLAIN SELECT k, v FROM t").await.concat().join("\n");
        if plan.contains("partitions=2") {
            break;
        }
        // Memory is written to files in the background.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(plan.contains("partitions=2"), "{plan}");
    assert_eq!(
        root.rows("SELECT count(*), sum(k), min(k), max(k), count(v) FROM t").await,
        [["60000", "1800030000", "1", "60000", "60000"]]
    );
    assert_eq!(root.value("SELECT count(*) FROM t WHERE k > 59990 OR k <= 10").await, "20");
    assert_eq!(root.rows("SELECT k FROM t ORDER BY k DESC LIMIT 2").await, [["60000"], ["59999"]]);
}

#[tokio::test]
async fn a_subquery_may_read_the_table_that_is_changed() {
    let fresh = Fresh::new();
    let root = fresh.root();
    root.run("CREATE TABLE t (k INT8 PRIMARY KEY)").await;
    root.run("INSERT INTO t VALUES (1), (2), (3)").await;
    root.run("UPDATE t AS x SET k = x.k + 10 WHERE x.k IN (SELECT * FROM t WHERE k > 1)").await;
    root.run("DELETE FROM t WHERE t.k = (SELECT max(k) FROM t)").await;
    assert_eq!(root.rows("SELECT k FROM t ORDER BY k").await, [["1"], ["12"]]);
    assert_eq!(root.code("UPDATE t SET k = 1 RETURNING k").await, "0A000");
    assert_eq!(root.code("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING").await, "0A000");
    assert_eq!(root.code("DELETE FROM cairn.jobs").await, "42809");
}

#[tokio::test(flavor = "multi_thread")]
async fn increments_from_many_sessions_all_count() {
    let fresh = Arc::new(Fresh::new());
    let root = fresh.root();
    root.run("CREATE TABLE t (k INT8 PRIMARY KEY, n INT8)").await;
    root.run("INSERT INTO t VALUES (1, 0)").await;
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let fresh = Arc::clone(&fresh);
            tokio::spawn(async move {
                let client = fresh.root();
                client.run("SET synchronous_commit = off").await;
                let mut done = 0;
                while done < 10 {
                    match client.try_run("UPDATE t SET n = n + 1 WHERE k = 1").await {
                        Ok(_) => done += 1,
                        Err(error) => assert_eq!(error.code, "40001", "{error}"),
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(root.value("SELECT n FROM t").await, "40");
}
