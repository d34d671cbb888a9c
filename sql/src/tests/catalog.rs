//! CREATE, DROP, TRUNCATE, SHOW, users and roles.

use super::Fresh;

#[tokio::test]
async fn databases_schemas_and_tables_are_made_listed_and_dropped() {
    let fresh = Fresh::new();
    let root = fresh.root();
    let tags = root
        .tags(&[
            "CREATE DATABASE shop",
            "CREATE DATABASE IF NOT EXISTS shop",
            "CREATE SCHEMA s",
            "CREATE TABLE s.t (k INT8 PRIMARY KEY, v STRING NOT NULL DEFAULT 'x')",
            "CREATE TABLE IF NOT EXISTS s.t (k INT8)",
        ])
        .await;
    assert_eq!(
        tags,
        ["CREATE DATABASE", "CREATE DATABASE", "CREATE SCHEMA", "CREATE TABLE", "CREATE TABLE"]
    );
    assert_eq!(root.code("CREATE DATABASE shop").await, "42P04");
    assert_eq!(root.code("CREATE SCHEMA s").await, "42P06");
    assert_eq!(root.code("CREATE TABLE s.t (k INT8)").await, "42P07");
    let names: Vec<String> =
        root.rows("SHOW DATABASES").await.into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(names, ["defaultdb", "shop"]);
    let tables = root.rows("SELECT schema_name, table_name FROM [SHOW TABLES]").await;
    assert_eq!(tables, [["s", "t"]]);
    assert_eq!(
        root.rows("SHOW COLUMNS FROM s.t").await,
        [["k", "INT8", "false", "NULL", "true"], ["v", "STRING", "false", "'x'", "false"]]
    );
    let create = root.value("SELECT create_statement FROM [SHOW CREATE TABLE s.t]").await;
    root.run("DROP TABLE s.t").await;
    root.run(&create).await;
    assert_eq!(root.value("SELECT create_statement FROM [SHOW CREATE TABLE s.t]").await, create);
    assert_eq!(root.code("DROP SCHEMA s").await, "2BP01");
    root.run("DROP SCHEMA s CASCADE").await;
    assert_eq!(root.code("SELECT * FROM s.t").await, "42P01");
    assert_eq!(root.code("DROP TABLE nope").await, "42P01");
    assert_eq!(root.run("DROP TABLE IF EXISTS nope").await.tag, "DROP TABLE");
    root.run("DROP DATABASE shop").await;
    assert_eq!(root.code("DROP DATABASE shop").await, "3D000");
}

#[tokio::test]
async fn truncate_empties_a_table_and_gives_its_space_back() {
    let fresh = Fresh::new();
    let root = fresh.root();
    root.run("CREATE TABLE t (k INT8 PRIMARY KEY)").await;
    root.run("INSERT INTO t SELECT x FROM generate_series(1, 1000) AS g(x)").await;
    assert_eq!(root.run("TRUNCATE TABLE t").await.tag, "TRUNCATE TABLE");
    assert_eq!(root.value("SELECT count(*) FROM t").await, "0");
    root.run("INSERT INTO t VALUES (1)").await;
    assert_eq!(root.value("SELECT count(*) FROM t").await, "1");
    root.until("SELECT count(*) FROM cairn.tombstones", "0").await;
}

#[tokio::test]
async fn a_table_definition_is_checked() {
    let fresh = Fresh::new();
    let root = fresh.root();
    for (text, code) in [
        ("CREATE TABLE t (a INT8, a TEXT)", "42701"),
        ("CREATE TABLE t (a INT8, PRIMARY KEY (b))", "42703"),
        ("CREATE TABLE t (a INT8 PRIMARY KEY, b INT8 PRIMARY KEY)", "42P16"),
        ("CREATE TABLE t (a NO_SUCH_TYPE)", "42704"),
        ("CREATE TABLE t (a INT8 DEFAULT 'x')", "22P02"),
        ("CREATE TABLE t (a INT8 UNIQUE)", "0A000"),
        ("CREATE TABLE t (a INT8 CHECK (a > 1))", "0A000"),
        ("CREATE TABLE t (a DECIMAL(50,2))", "22023"),
        ("CREATE TABLE nope.t (a INT8)", "3F000"),
        ("CREATE TABLE pg_catalog.t (a INT8)", "42501"),
    ] {
        let error = root.error(text).await;
        assert_eq!(error.code, code, "{text}: {error}");
    }
}

#[tokio::test]
async fn users_and_roles_come_and_go() {
    let fresh = Fresh::new();
    let root = fresh.root();
    assert_eq!(root.run("CREATE USER max").await.tag, "CREATE ROLE");
    assert_eq!(root.code("CREATE USER max").await, "42710");
    root.run("CREATE USER IF NOT EXISTS max").await;
    assert_eq!(root.run("GRANT admin TO max").await.tag, "GRANT ROLE");
    let users = root.rows("SELECT username, member_of FROM [SHOW USERS]").await;
    assert!(users.contains(&vec!["max".to_owned(), "admin".to_owned()]), "{users:?}");
    root.run("REVOKE admin FROM max").await;
    let max = fresh.user("max");
    assert_eq!(max.code("CREATE USER moritz").await, "42501");
    assert_eq!(root.run("DROP USER max").await.tag, "DROP ROLE");
    assert_eq!(root.code("DROP USER max").await, "42704");
    assert_eq!(fresh.db.session("max", "defaultdb").unwrap_err().code, "28000");
}
