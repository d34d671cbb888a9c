use sqlparser::ast as sqlast;

use super::*;
use crate::ast::{
    ControlJobs, ImportOption, Jobs, Listing, Name, Position, RoleKind, ShowJobs, Text, Verb, Wait,
};
use crate::error::code;

fn one(sql: &str) -> Statement {
    let mut parsed = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    assert_eq!(parsed.len(), 1, "{sql}");
    parsed.remove(0).statement
}

/// The statement prints as `expected`, and what it prints is the same statement.
fn check(sql: &str, expected: &str) {
    let statement = one(sql);
    let printed = statement.to_string();
    assert_eq!(printed, expected, "{sql}");
    assert_eq!(one(&printed), statement, "{printed}");
}

fn error(sql: &str) -> SqlError {
    match parse(sql) {
        Err(error) => error,
        Ok(_) => panic!("{} is a statement", &sql[..sql.len().min(60)]),
    }
}

/// The statement is refused with 42601 at the `^` under it.
fn refused(sql: &str, marker: &str) -> SqlError {
    let error = error(sql);
    assert_eq!(error.code, code::SYNTAX_ERROR, "{sql}: {error:?}");
    assert_eq!(error.position, Some(marker.chars().count()), "{sql}: {error:?}");
    error
}

#[test]
fn job_statements_print_as_canonical_sql() {
    check("show jobs", "SHOW JOBS");
    check("SHOW AUTOMATIC JOBS", "SHOW AUTOMATIC JOBS");
    check("SHOW JOB 42", "SHOW JOB 42");
    check("show job $1", "SHOW JOB $1");
    check("SHOW JOBS select 1", "SHOW JOBS (SELECT 1)");
    check("SHOW JOBS (SELECT 1)", "SHOW JOBS (SELECT 1)");
    check("SHOW JOBS ((VALUES (1), (2)))", "SHOW JOBS (VALUES (1), (2))");
    check(
        "SHOW JOBS WITH x AS (SELECT 1) SELECT * FROM x",
        "SHOW JOBS (WITH x AS (SELECT 1) SELECT * FROM x)",
    );
    check("SHOW JOB WHEN COMPLETE 7", "SHOW JOB WHEN COMPLETE 7");
    check("SHOW JOBS WHEN COMPLETE 7", "SHOW JOB WHEN COMPLETE 7");
    check("SHOW JOBS WHEN COMPLETE (SELECT 7)", "SHOW JOBS WHEN COMPLETE (SELECT 7)");
    check("SHOW JOB WHEN COMPLETE SELECT 7", "SHOW JOBS WHEN COMPLETE (SELECT 7)");
    check("SHOW JOB WHEN COMPLETE (SELECT 7)", "SHOW JOB WHEN COMPLETE (SELECT 7)");
    check("cancel job 1 + 2", "CANCEL JOB 1 + 2");
    check(
        "CANCEL JOB (SELECT max(job_id) FROM [SHOW JOBS])",
        "CANCEL JOB (SELECT max(job_id) FROM [SHOW JOBS])",
    );
    check("PAUSE JOB '5'::INT8", "PAUSE JOB '5'::INT8");
    check("RESUME JOBS VALUES (1)", "RESUME JOBS (VALUES (1))");
    check(
        "CANCEL JOBS SELECT job_id FROM [SHOW JOBS] WHERE a[1] = 2 WITH REASON = 'it''s', WAIT",
        "CANCEL JOBS (SELECT job_id FROM [SHOW JOBS] WHERE a[1] = 2) WITH WAIT, REASON = 'it''s'",
    );
    check(
        "PAUSE JOBS (SELECT job_id FROM [SHOW JOBS] WHERE finished IS NULL) WITH WAIT = '30s', REASON = $2",
        "PAUSE JOBS (SELECT job_id FROM [SHOW JOBS] WHERE finished IS NULL) WITH WAIT = '30s', REASON = $2",
    );
    check("CANCEL JOBS TABLE t WITH WAIT", "CANCEL JOBS (SELECT * FROM t) WITH WAIT");
    check("SHOW JOBS (TABLE a.t)", "SHOW JOBS (SELECT * FROM a.t)");
    check("CANCEL JOB 1::INT8 WITH WAIT", "CANCEL JOB 1::INT8 WITH WAIT");
}

#[test]
fn job_statements_have_the_tree_the_executor_expects() {
    let Statement::ControlJobs(ControlJobs { verb, jobs: Jobs::One(query), wait, reason }) =
        one("CANCEL JOB 42 WITH WAIT = '1 min'")
    else {
        panic!("not a ControlJobs of one")
    };
    assert_eq!((verb, reason), (Verb::Cancel, None));
    assert_eq!(wait, Some(Wait::AtMost(Text::Literal("1 min".to_owned()))));
    assert_eq!(query.ast.to_string(), "SELECT 42");
    assert!(matches!(
        one("SHOW JOBS"),
        Statement::ShowJobs(ShowJobs { automatic: false, of: None, when_complete: false })
    ));
}

#[test]
fn options_in_any_order_and_once() {
    check("CANCEL JOB 1 WITH REASON = 'x', WAIT", "CANCEL JOB 1 WITH WAIT, REASON = 'x'");
    refused("CANCEL JOB 1 WITH WAIT, WAIT", "                        ^");
    refused("CANCEL JOB 1 WITH REASON", "                        ^");
    refused("CANCEL JOB 1 WITH REASON 'x'", "                         ^");
    let error = refused("CANCEL JOB 1 WITH FORCE", "                  ^");
    assert!(error.hint.unwrap().contains("WAIT"));
}

#[test]
fn statements_stand_for_tables_wherever_a_table_may_stand() {
    for sql in [
        "SELECT * FROM [SHOW JOBS]",
        "SELECT * FROM [SHOW JOBS] AS j",
        "SELECT j.job_id FROM t, [SHOW JOBS] AS j",
        "SELECT * FROM t JOIN [SHOW JOBS] AS j ON t.k = j.job_id AND a[1] = b[2]",
        "SELECT * FROM (SELECT * FROM [SHOW JOBS]) AS x",
        "SELECT * FROM ([SHOW JOBS] AS a JOIN [SHOW USERS] AS b ON true)",
        "SELECT (SELECT count(*) FROM [SHOW JOBS]), ARRAY[ARRAY[1], ARRAY[2]][1]",
        "SELECT * FROM [IMPORT INTO t CSV DATA ('nodelocal://1/t.csv') WITH skip = '1']",
        "SELECT * FROM [SELECT * FROM [SHOW DATABASES]]",
        "SELECT * FROM [SHOW JOBS (SELECT job_id FROM [SHOW AUTOMATIC JOBS])]",
        "DELETE FROM t USING [SHOW JOBS] AS j WHERE t.k = j.job_id",
        "UPDATE t SET v = 'x' FROM [SHOW JOBS] AS j WHERE t.k = j.job_id",
        "INSERT INTO t SELECT job_id FROM [SHOW JOBS]",
        "EXPLAIN SELECT * FROM [SHOW JOBS]",
        "SELECT * FROM [SHOW JOBS] UNION ALL SELECT * FROM [SHOW AUTOMATIC JOBS]",
        "SELECT * FROM [EXPLAIN SELECT 1]",
    ] {
        check(sql, sql);
    }
    check(
        "WITH x AS (SHOW JOBS), y AS (SELECT 1) SELECT count(*) FROM x, y",
        "WITH x AS (SELECT * FROM [SHOW JOBS]), y AS (SELECT 1) SELECT count(*) FROM x, y",
    );
    check(
        "WITH x (a) AS MATERIALIZED (SHOW USERS) SELECT a FROM x",
        "WITH x (a) AS MATERIALIZED (SELECT * FROM [SHOW USERS]) SELECT a FROM x",
    );
}

#[test]
fn sources_are_named_in_order_and_never_as_a_name_of_the_statement() {
    let Statement::Sql(sql) = one("SELECT * FROM [SHOW JOBS], \"[2]\", [SHOW USERS]") else {
        panic!("not SQL")
    };
    let names: Vec<&str> = sql.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["[1]", "[3]"]);
    assert_eq!(sql.ast.to_string(), "SELECT * FROM \"[1]\", \"[2]\", \"[3]\"");
    assert_eq!(*sql.sources[1].statement, Statement::ShowCatalog(Listing::Users));
    assert_eq!(sql.sources[1].at.0, 35);
}

#[test]
fn brackets_elsewhere_stay_what_they_are() {
    for sql in
        ["SELECT a[1]", "SELECT ARRAY[a, b][1]", "SELECT ARRAY[show, jobs]", "SELECT f(a[i], b[j])"]
    {
        let Statement::Sql(parsed) = one(sql) else { panic!("not SQL") };
        assert!(parsed.sources.is_empty(), "{sql}");
        check(sql, sql);
    }
}

#[test]
fn import_takes_any_format_and_any_option() {
    check(
        "import into a.B.\"C d\" (k, \"V\") csv data ('nodelocal://1/*.csv', $1) with skip='1', DETACHED, delimiter = e'\\t', nullif = ''",
        "IMPORT INTO a.b.\"C d\" (k, \"V\") CSV DATA ('nodelocal://1/*.csv', $1) WITH skip = '1', detached, delimiter = '\t', nullif = ''",
    );
    check("IMPORT INTO t PARQUET DATA ('x')", "IMPORT INTO t PARQUET DATA ('x')");
    check(
        "IMPORT INTO t CSV DATA ('x') WITH skip = 1",
        "IMPORT INTO t CSV DATA ('x') WITH skip = '1'",
    );
    let Statement::Import(import) = one("IMPORT INTO t CSV DATA ('x') WITH Skip = '1', detached")
    else {
        panic!("not an IMPORT")
    };
    assert_eq!(import.table, Name { parts: vec!["t".to_owned()], at: Position(0) });
    assert_eq!((import.table.at.0, import.options[1].at.0), (13, 47));
    let skip = Some(Text::Literal("1".to_owned()));
    let at = Position(0);
    assert_eq!(import.options[0], ImportOption { name: "skip".to_owned(), value: skip, at });
    refused("IMPORT INTO t CSV DATA ()", "                        ^");
    refused("IMPORT INTO t CSV DATA ('a' 'b')", "                            ^");
    refused("IMPORT t CSV DATA ('a')", "       ^");
    refused("IMPORT INTO t CSV ('a')", "                  ^");
}

#[test]
fn settings_and_variables() {
    check("set cluster setting Jobs.Concurrency = 8", "SET CLUSTER SETTING jobs.concurrency = '8'");
    check("SET CLUSTER SETTING a.b TO false", "SET CLUSTER SETTING a.b = 'false'");
    check("SET CLUSTER SETTING a.b = -1.5", "SET CLUSTER SETTING a.b = '-1.5'");
    check("SET CLUSTER SETTING a.b = $1", "SET CLUSTER SETTING a.b = $1");
    check("SET CLUSTER SETTING a.b = DEFAULT", "RESET CLUSTER SETTING a.b");
    check("RESET CLUSTER SETTING a.b", "RESET CLUSTER SETTING a.b");
    check("SHOW CLUSTER SETTING a.b", "SHOW CLUSTER SETTING a.b");
    for all in ["SHOW ALL CLUSTER SETTINGS", "SHOW CLUSTER SETTINGS", "SHOW CLUSTER SETTING ALL"] {
        check(all, "SHOW ALL CLUSTER SETTINGS");
    }
    check("SET DateStyle TO ISO, MDY", "SET datestyle = 'ISO, MDY'");
    check("SET SESSION a.b = 'c'", "SET a.b = 'c'");
    check("SET SESSION \"A b\" = 1", "SET \"a b\" = '1'");
    check("RESET SESSION \"a b\"", "RESET \"a b\"");
    check("SHOW SESSION \"a b\"", "SHOW \"a b\"");
    check("SET session = 1", "SET \"session\" = '1'");
    check("SET search_path TO \"$user\", public", "SET search_path = '\"$user\", public'");
    check("SET application_name = \"Foo\"", "SET application_name = 'Foo'");
    check("SET TIME ZONE 'UTC'", "SET timezone = 'UTC'");
    check("SET TIME ZONE -7", "SET timezone = '-7'");
    check("SET TIME ZONE INTERVAL '+00:00' HOUR TO MINUTE", "SET timezone = '+00:00'");
    check("SET TIME ZONE LOCAL", "RESET timezone");
    check("SET NAMES 'UTF8'", "SET client_encoding = 'UTF8'");
    check("SET extra_float_digits = 3", "SET extra_float_digits = '3'");
    check("SET x = DEFAULT", "RESET x");
    check("RESET x", "RESET x");
    check("RESET ALL", "RESET ALL");
    check("SHOW x.y", "SHOW x.y");
    check("SHOW ALL", "SHOW ALL");
    check("SHOW TIME ZONE", "SHOW timezone");
    check("SHOW TRANSACTION ISOLATION LEVEL", "SHOW transaction_isolation");
    check("SET \"weird \"\"name\" = 1", "SET \"weird \"\"name\" = '1'");
    refused("SET x", "     ^");
    refused("SET x 1", "      ^");
    refused("SET CLUSTER SETTING x = ", "                       ^");
    refused("SHOW", "    ^");
}

#[test]
fn listings_of_the_catalog() {
    for sql in [
        "SHOW DATABASES",
        "SHOW SCHEMAS",
        "SHOW SCHEMAS FROM db",
        "SHOW TABLES",
        "SHOW TABLES FROM db.public",
        "SHOW COLUMNS FROM a.b.c",
        "SHOW CREATE TABLE t",
        "SHOW USERS",
        "SHOW ROLES",
        "SHOW GRANTS",
        "SHOW GRANTS ON ROLE admin FOR max, \"Root\"",
    ] {
        check(sql, sql);
    }
    check("SHOW CREATE t", "SHOW CREATE TABLE t");
    check("SHOW GRANTS ON ROLE FOR a", "SHOW GRANTS FOR a");
    refused("SHOW COLUMNS t", "             ^");
}

#[test]
fn users_roles_and_memberships() {
    check("create user MaxRoach", "CREATE USER maxroach");
    check("CREATE USER IF NOT EXISTS 'Max'", "CREATE USER IF NOT EXISTS max");
    check("CREATE ROLE r WITH NOLOGIN", "CREATE ROLE r");
    check("CREATE ROLE r LOGIN", "CREATE USER r");
    check("DROP USER IF EXISTS a, b", "DROP USER IF EXISTS a, b");
    check("DROP ROLE a", "DROP ROLE a");
    check("GRANT admin TO a, \"select\"", "GRANT admin TO a, \"select\"");
    check("REVOKE admin, x FROM a", "REVOKE admin, x FROM a");
    assert_eq!(
        one("CREATE USER \"if\""),
        Statement::CreateRole { name: "if".to_owned(), if_not_exists: false, kind: RoleKind::User }
    );
    refused("GRANT admin a", "            ^");
    refused("CREATE USER \"\"", "            ^");
}

#[test]
fn transactions_and_discard() {
    check("BEGIN", "BEGIN");
    check("begin work", "BEGIN");
    check(
        "START TRANSACTION ISOLATION LEVEL READ COMMITTED READ ONLY",
        "BEGIN ISOLATION LEVEL READ COMMITTED, READ ONLY",
    );
    check("COMMIT", "COMMIT");
    check("END TRANSACTION", "COMMIT");
    check("ABORT", "ROLLBACK");
    check("ROLLBACK AND NO CHAIN", "ROLLBACK");
    check(
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    );
    check(
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    );
    check("DISCARD TEMPORARY", "DISCARD TEMP");
    check("discard all", "DISCARD ALL");
    refused("DISCARD", "       ^");
    refused("BEGIN READ", "      ^");
}

#[test]
fn what_is_known_and_not_built_keeps_its_text() {
    for (sql, what) in [
        ("BACKUP TABLE t TO 'x'", "BACKUP"),
        ("RESTORE DATABASE d FROM 'x'", "RESTORE"),
        ("CREATE CHANGEFEED FOR t INTO 'x'", "CREATE CHANGEFEED"),
        ("CREATE STATISTICS s FROM t", "CREATE STATISTICS"),
        ("ANALYZE t", "ANALYZE"),
        ("CREATE INDEX i ON t (a)", "CREATE INDEX"),
        ("ALTER TABLE t ADD COLUMN x INT", "ALTER TABLE"),
        ("SHOW CHANGEFEED JOBS", "SHOW CHANGEFEED JOBS"),
        ("SHOW BACKUP 'x'", "SHOW BACKUP"),
        ("EXPORT INTO CSV 'x' FROM TABLE t", "EXPORT"),
        ("COPY t FROM STDIN", "COPY"),
        ("CANCEL ALL BACKUP JOBS", "CANCEL ALL JOBS"),
        ("CANCEL JOBS FOR SCHEDULE 1", "CANCEL JOBS FOR SCHEDULE"),
        ("SHOW JOB 1 WITH EXECUTION DETAILS", "SHOW JOB ... WITH"),
        ("GRANT SELECT ON t TO a", "GRANT ... ON"),
        ("CREATE USER a WITH PASSWORD 'x'", "CREATE USER with a PASSWORD"),
        ("SAVEPOINT a", "SAVEPOINT"),
        ("EXPLAIN CANCEL JOBS (SELECT 1)", "EXPLAIN of this statement"),
        ("SET LOCAL x = 1", "SET LOCAL"),
    ] {
        let Statement::NotBuilt(not_built) = one(sql) else { panic!("{sql} is built") };
        assert_eq!((not_built.what, not_built.text.as_str()), (what, sql));
        assert!(!not_built.hint.is_empty());
        check(sql, sql);
    }
    check("BACKUP -- all of it\n  TO 'x;y' /* here */ ;", "BACKUP TO 'x;y'");
}

#[test]
fn the_rest_is_sqlparsers_and_prints_as_such() {
    for sql in [
        "SELECT 1",
        "SELECT status, (SELECT count(*) FROM u) FROM t WHERE description LIKE 'IMPORT INTO%u%' ORDER BY created DESC LIMIT 1",
        "VALUES (1, 'a'), (2, NULL)",
        "(SELECT 1) UNION ALL (SELECT $1)",
        "INSERT INTO t (k, v) VALUES (1, 'x'), ($1, $2)",
        "UPDATE t SET v = 'y' WHERE k = 1",
        "DELETE FROM t WHERE k IN (1, 2)",
        "CREATE TABLE t (k INT8 PRIMARY KEY, v TEXT NOT NULL, d DECIMAL(10,2), at TIMESTAMPTZ)",
        "CREATE TABLE IF NOT EXISTS a.b (k STRING DEFAULT 'x', f FLOAT8, b BOOL, PRIMARY KEY (k, f))",
        "CREATE SCHEMA s",
        "CREATE DATABASE d",
        "DROP TABLE IF EXISTS t",
        "DROP DATABASE d CASCADE",
        "TRUNCATE TABLE t",
        "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE SELECT 1",
        "EXPLAIN (VERBOSE, ANALYZE) SELECT 1",
        "SELECT c.relname FROM pg_catalog.pg_class AS c WHERE c.relname OPERATOR(pg_catalog.~) '^(t)$' COLLATE pg_catalog.default",
    ] {
        assert!(matches!(one(sql), Statement::Sql(_)), "{sql}");
        check(sql, sql);
    }
}

#[test]
fn statements_are_separated_by_semicolons_and_keep_their_text() {
    let parsed = parse(" SELECT 'a;b' ;; -- nothing\n  SHOW  JOBS ; ").unwrap();
    let texts: Vec<(&str, usize)> =
        parsed.iter().map(|parsed| (parsed.text.as_str(), parsed.offset)).collect();
    assert_eq!(texts, [("SELECT 'a;b'", 1), ("SHOW  JOBS", 30)]);
    assert!(parse("").unwrap().is_empty());
    assert!(parse(" ; -- x").unwrap().is_empty());
}

#[test]
fn locations_in_a_tree_count_from_the_statements_own_beginning() {
    let parsed = parse("SHOW JOBS; é;\n  SELECT\n 'ö', x").unwrap_err();
    assert_eq!(parsed.position, Some(12));
    let parsed = parse("SHOW JOBS;\n  SELECT\n 'ö', x").unwrap().pop().unwrap();
    let Statement::Sql(sql) = &parsed.statement else { panic!("not SQL") };
    let sqlast::Statement::Query(query) = sql.ast.as_ref() else { panic!("not a query") };
    let sqlast::SetExpr::Select(select) = query.body.as_ref() else { panic!("not a SELECT") };
    let sqlast::SelectItem::UnnamedExpr(sqlast::Expr::Identifier(x)) = &select.projection[1] else {
        panic!("not a name")
    };
    assert_eq!(parsed.position(x.span.start).0, 27);
}

#[test]
fn errors_point_into_the_text_that_was_sent() {
    let error = refused("SELECT 1 +", "          ^");
    assert_eq!(error.message, "syntax error at end of input");
    let error = refused("SELECT 1;\n SELECT * FORM t", "                         ^");
    assert_eq!(error.message, "syntax error at or near \"t\"");
    refused("SELECT * FROM [SHOW JOBS x]", "                         ^");
    refused("SELECT * FROM [SHOW JOBS] WHERE", "                               ^");
    refused("SELECT * FROM [SHOW JOBS", "              ^");
    refused(
        "CANCEL JOBS (SELECT job_id FROM [SHOW JOBS] WHERE) WITH WAIT",
        "                                                 ^",
    );
    refused("WITH x AS (SHOW JOBS 1 2) SELECT 1", "                     ^");
    refused("SELECT 'ö' 1", "           ^");
    refused("CREATE TABLE t (k INT8 k)", "                       ^");
    refused("CANCEL", "      ^");
    refused("EXPLAIN WHILE x", "        ^");
    refused("EXPLAIN ('x') y", "              ^");
    refused("CREATE TABEL t (k INT8)", "       ^");
    refused("CANCEL JOB", "          ^");
    refused("SHOW JOBS 1", "          ^");
}

#[test]
fn hints_say_what_was_probably_meant() {
    let hint = |sql: &str| error(sql).hint.unwrap_or_default();
    assert!(hint("SELCT 1").contains("SELECT"));
    assert!(hint("CANCLE JOB 1").contains("CANCEL"));
    assert!(hint("CANCEL JOBS 1").contains("CANCEL JOB takes one id"));
    assert!(hint("CANCEL JOB SELECT 1").contains("CANCEL JOBS"));
    assert!(hint("CANCEL JOB 1, 2").contains("CANCEL JOBS VALUES"));
    assert!(hint("IMPORT t").contains("IMPORT INTO"));
    assert_eq!(hint("frobnicate"), "");
    assert_eq!(error("CANCEL JOB $0").code, code::UNDEFINED_PARAMETER);
}

#[test]
fn deep_and_long_texts_end_in_an_error_and_not_in_the_stack() {
    let many = 20_000;
    for (prefix, repeated) in [
        ("", "("),
        ("SELECT ", "("),
        ("SELECT ", "NOT "),
        ("SELECT ", "- "),
        ("SELECT ", "f("),
        ("SELECT 1", " + 1"),
        ("SELECT 1", " UNION SELECT 1"),
        ("SELECT x", "[1]"),
        ("SELECT * FROM ", "("),
        ("SELECT * FROM ", "["),
        ("SELECT * FROM ", "[SHOW JOBS (SELECT * FROM "),
        ("", "EXPLAIN "),
        ("SELECT CASE ", "WHEN CASE "),
        ("SELECT ", "ARRAY["),
        ("SELECT x::", "int["),
        ("CANCEL JOB ", "("),
        ("CANCEL JOBS ", "("),
        ("SELECT CAST(x AS ", "ARRAY<"),
        ("SELECT ", "INTERVAL "),
        ("SELECT * FROM a ", "JOIN b "),
        ("WITH x AS ", "(WITH x AS "),
        ("SELECT x", "::int"),
        ("SELECT ", "EXISTS (SELECT "),
        ("CREATE TABLE t (a ", "STRUCT<a "),
    ] {
        let sql = format!("{prefix}{}", repeated.repeat(many));
        let error = error(&sql);
        let codes = [code::SYNTAX_ERROR, code::STATEMENT_TOO_COMPLEX];
        assert!(codes.contains(&error.code), "{prefix}{repeated}: {error:?}");
    }
}
