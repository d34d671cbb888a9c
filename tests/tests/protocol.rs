//! The wire as drivers use it: types known before execution, binary values, psql's own questions.

use std::process::Stdio;

use cairn_tests::{Server, lineitems, write_file};
use tokio_postgres::types::Type;

const TABLE: &str =
    "CREATE TABLE t (k INT8 PRIMARY KEY, v TEXT NOT NULL, d DECIMAL(10,2), at TIMESTAMPTZ)";

#[tokio::test(flavor = "multi_thread")]
async fn parameters_and_results_are_typed_before_a_statement_runs() {
    let server = Server::start().await;
    let root = server.root().await;
    root.run(TABLE).await;
    let insert = root.driver().prepare("INSERT INTO t (k, v) VALUES ($1, $2)").await.unwrap();
    assert_eq!(insert.params(), [Type::INT8, Type::TEXT]);
    for k in 1..=3i64 {
        assert_eq!(root.driver().execute(&insert, &[&k, &format!("row {k}")]).await.unwrap(), 1);
    }
    let select = root.driver().prepare("SELECT k, v, d, at FROM t WHERE k = $1").await.unwrap();
    assert_eq!(select.params(), [Type::INT8]);
    let types: Vec<Type> = select.columns().iter().map(|column| column.type_().clone()).collect();
    assert_eq!(types, [Type::INT8, Type::TEXT, Type::NUMERIC, Type::TIMESTAMPTZ]);
    let row = root.driver().query_one(&select, &[&2i64]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1)), (2, "row 2"));
    assert!(root.driver().query_opt(&select, &[&9i64]).await.unwrap().is_none());

    // Our own statements are described too, without being run.
    let show = root.driver().prepare("SELECT job_id, status FROM [SHOW JOBS]").await.unwrap();
    assert_eq!(show.columns()[0].type_(), &Type::INT8);
    assert!(root.driver().query(&show, &[]).await.unwrap().is_empty());
    let cancel = root.driver().prepare("CANCEL JOB $1").await.unwrap();
    assert_eq!(cancel.params(), [Type::INT8]);
    let refused = root.driver().execute(&cancel, &[&42i64]).await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "42704");
    server.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_runs_through_the_extended_protocol_and_inside_brackets() {
    let server = Server::start().await;
    std::fs::create_dir_all(server.external()).unwrap();
    lineitems(&server.external().join("t.csv"), 1000, true);
    let root = server.root().await;
    root.run(TABLE).await;
    let import = "SELECT job_id, status, rows FROM [IMPORT INTO t CSV DATA ('nodelocal://1/t.csv') WITH skip = '1']";
    let import = root.driver().prepare(import).await.unwrap();
    assert_eq!(root.one("SELECT count(*) FROM [SHOW JOBS]").await, "0", "describing runs nothing");
    let row = root.driver().query_one(&import, &[]).await.unwrap();
    assert_eq!((row.get::<_, &str>(1), row.get::<_, i64>(2)), ("succeeded", 1000));
    server.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_describes_lists_and_watches() {
    if std::process::Command::new("psql").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: psql is not installed (apt-get install postgresql-client)");
        return;
    }
    let server = Server::start().await;
    write_file(&server.external().join("t.csv"), "1,one,1.50,2026-01-01 00:00:00+00\n");
    let url = server.url("root");
    let psql = |script: &'static str| {
        let url = url.clone();
        async move {
            let output = tokio::process::Command::new("psql")
                .args([&url, "-X", "-v", "ON_ERROR_STOP=1", "-c", script])
                .output()
                .await
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{script}: {errors}");
            text + &errors
        }
    };
    psql(TABLE).await;
    let imported = psql("IMPORT INTO t CSV DATA ('nodelocal://1/t.csv')").await;
    assert!(imported.contains("succeeded") && imported.contains("NOTICE"), "{imported}");
    let list = psql("\\dt").await;
    assert!(list.contains("public") && list.contains(" t "), "{list}");
    let table = psql("\\d t").await;
    for part in ["bigint", "text", "numeric(10,2)", "timestamp with time zone", "not null"] {
        assert!(table.contains(part), "{part} is missing in\n{table}");
    }
    for script in ["\\l", "\\dn", "\\du", "\\d", "\\conninfo"] {
        psql(script).await;
    }
    let tag = psql("CANCEL JOBS (SELECT job_id FROM [SHOW JOBS] WHERE status = 'running')").await;
    assert_eq!(tag.trim(), "CANCEL JOBS 0");
    server.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_answers_with_its_exit_status() {
    let server = Server::start().await;
    let url = server.url("root");
    let (code, out, _) = Server::cairn(&["sql", "--url", &url, "-e", "SELECT 1 AS one"]).await;
    assert!(code == 0 && out.contains("one"), "{code} {out}");
    let (code, _, err) = Server::cairn(&["sql", "--url", &url, "-e", "SELECT x"]).await;
    assert!(code == 1 && err.contains("42703"), "{code} {err}");
    let nowhere = "postgresql://root@127.0.0.1:1/defaultdb";
    assert_eq!(Server::cairn(&["sql", "--url", nowhere, "-e", "SELECT 1"]).await.0, 2);
    let (code, out, _) = Server::cairn(&["jobs", "--url", &url, "list"]).await;
    assert_eq!(code, 0, "{out}");
    let store = server.store();
    let store = store.to_str().unwrap();
    assert_eq!(Server::cairn(&["doctor", "--store", store]).await.0, 2, "the store is in use");
    let (code, out, _) = Server::cairn(&["--help"]).await;
    assert!(code == 0 && out.contains("doctor") && out.contains("demo"), "{out}");
    server.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_is_refused_and_many_sessions_live_side_by_side() {
    let server = Server::start().await;
    assert_eq!(server.connect("nobody").await.unwrap_err().code, "28000");
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(server.root().await);
    }
    for client in &clients {
        assert_eq!(client.one("SELECT 1").await, "1");
    }
    server.assert_healthy().await;
}
