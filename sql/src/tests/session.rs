//! What belongs to a session: variables, transactions that are not there, notices, cancel.

use super::{Client, Fresh};
use crate::notice::Severity;
use crate::parse::parse;

#[tokio::test]
async fn variables_are_set_shown_and_reset() {
    let fresh = Fresh::new();
    let root = fresh.root();
    assert_eq!(root.run("SET application_name = 'x y'").await.tag, "SET");
    let shown = root.run("SHOW application_name").await;
    assert_eq!(
        (shown.names, shown.rows),
        (vec!["application_name".into()], vec![vec!["x y".into()]])
    );
    for text in
        ["SET extra_float_digits = 3", "SET client_encoding TO 'UTF8'", "SET TimeZone = 'UTC'"]
    {
        root.run(text).await;
    }
    assert_eq!(root.run("DISCARD ALL").await.tag, "DISCARD ALL");
    assert_eq!(root.value("SHOW application_name").await, "");
    assert_eq!(root.code("SET nonsense = 1").await, "42704");
    assert_eq!(root.code("SET client_encoding = 'LATIN1'").await, "22023");
}

#[tokio::test]
async fn begin_is_refused_with_a_hint_and_commit_outside_of_one_is_a_warning() {
    let fresh = Fresh::new();
    let root = fresh.root();
    let error = root.error("BEGIN").await;
    assert_eq!(error.code, "0A000");
    assert!(error.hint.is_some());
    assert_eq!(root.run("COMMIT").await.tag, "COMMIT");
    let notices = root.0.take_notices();
    assert_eq!(notices.len(), 1);
    assert_eq!((notices[0].severity, notices[0].code), (Severity::Warning, "25P01"));
}

#[tokio::test]
async fn an_unknown_user_and_an_unknown_database_are_told_apart() {
    let fresh = Fresh::new();
    assert_eq!(fresh.db.session("nobody", "defaultdb").unwrap_err().code, "28000");
    assert_eq!(fresh.db.session("root", "nowhere").unwrap_err().code, "3D000");
}

#[tokio::test]
async fn cluster_settings_are_for_admins_and_check_their_values() {
    let fresh = Fresh::new();
    let root = fresh.root();
    root.run("SET CLUSTER SETTING jobs.concurrency = 2").await;
    assert_eq!(root.value("SHOW CLUSTER SETTING jobs.concurrency").await, "2");
    root.run("RESET CLUSTER SETTING jobs.concurrency").await;
    assert_eq!(root.value("SHOW CLUSTER SETTING jobs.concurrency").await, "4");
    assert_eq!(root.code("SET CLUSTER SETTING jobs.concurrency = 'many'").await, "22023");
    assert_eq!(root.code("SHOW CLUSTER SETTING no.such").await, "42704");
    assert!(root.rows("SHOW ALL CLUSTER SETTINGS").await.len() > 5);
    root.run("CREATE USER max").await;
    assert_eq!(fresh.user("max").code("SET CLUSTER SETTING jobs.concurrency = 2").await, "42501");
}

#[tokio::test]
async fn a_query_is_cancelled_and_the_session_goes_on() {
    let fresh = Fresh::new();
    let root = fresh.root();
    let parsed =
        parse("SELECT count(*) FROM generate_series(1, 1000000000000) AS g(x) WHERE x % 7 = 3")
            .unwrap();
    let prepared = root.0.prepare(&parsed[0], &[]).await.unwrap();
    let answer = root.0.execute(&prepared, Vec::new()).await.unwrap();
    root.0.cancel_handle().cancel();
    let error = super::collected(answer).await.unwrap_err();
    assert_eq!(error.code, "57014");
    assert_eq!(root.value("SELECT 1").await, "1");
}

#[tokio::test]
async fn a_statement_timeout_ends_a_statement() {
    let fresh = Fresh::new();
    let root = fresh.root();
    root.run("SET statement_timeout = '50ms'").await;
    let error = root
        .error("SELECT count(*) FROM generate_series(1, 1000000000000) AS g(x) WHERE x % 7 = 3")
        .await;
    assert_eq!(error.code, "57014");
    assert!(error.message.contains("timeout"), "{error}");
}

#[tokio::test]
async fn unknown_things_have_their_codes() {
    let fresh = Fresh::new();
    let root = fresh.root();
    assert_eq!(root.code("SELECT * FROM nowhere").await, "42P01");
    assert_eq!(root.code("SELECT nothing").await, "42703");
    assert_eq!(root.code("SELECT no_such_function(1)").await, "42883");
    assert_eq!(root.code("SELEC 1").await, "42601");
    assert_eq!(root.code("SELECT 1/0").await, "22012");
    assert_eq!(root.code("SELECT 'x'::INT8").await, "22P02");
}

#[tokio::test]
async fn results_have_postgresqls_names_and_types() {
    let fresh = Fresh::new();
    let root = fresh.root();
    let said = root.run("SELECT 1, count(*), 'a' AS b, 2::INT8, current_user, 1.50").await;
    assert_eq!(said.names, ["?column?", "count", "b", "int8", "current_user", "?column?"]);
    assert_eq!(said.rows, [["1", "1", "a", "2", "root", "1.50"]]);
    assert_eq!(said.tag, "SELECT 1");
    assert!(root.value("SELECT version()").await.starts_with("PostgreSQL 15"));
}

impl Client {
    pub(super) async fn tags(&self, sql: &[&str]) -> Vec<String> {
        let mut tags = Vec::new();
        for sql in sql {
            tags.push(self.run(sql).await.tag);
        }
        tags
    }
}
