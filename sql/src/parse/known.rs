//! Statements that are known and not built. They answer 0A000 with a hint, whatever follows their
//! first words.

use super::Cursor;
use crate::ast::{NotBuilt, Statement};

const LATER: &str = "It comes with a later release.";
const TRANSACTIONS: &str =
    "Each statement is a transaction of its own; they come with a later release.";
const JOBS_BY_KIND: &str = "Use a query, as in CANCEL JOBS (SELECT job_id FROM [SHOW JOBS] WHERE job_type = 'IMPORT' AND finished IS NULL).";
const SCHEDULES: &str =
    "There are no schedules yet; let cron or a systemd timer run the statement.";
const PREPARED: &str = "Let the driver prepare it: the extended protocol has prepared statements.";
const FILES: &str = "Use IMPORT INTO to load files, and psql's -o or \\g to write results to one.";
const SESSIONS: &str = "Cancel a statement from its own client (Ctrl-C in psql).";
const PRIVILEGES: &str = "Make the user a member of admin: GRANT admin TO name.";
const INDEXES: &str =
    "The primary key is the only index yet; choose its columns for the look-ups you need.";
const ALTER: &str =
    "Create a table of the new form and copy the rows: INSERT INTO new SELECT ... FROM old.";

/// First words, what it is called, and the hint. The first line that fits holds.
const KNOWN: &[(&[&str], &str, &str)] = &[
    (&["BACKUP"], "BACKUP", "Stop the server and copy its store until then."),
    (&["RESTORE"], "RESTORE", LATER),
    (&["EXPORT"], "EXPORT", "Use psql's --csv -c 'SELECT ...' -o file."),
    (&["COPY"], "COPY", FILES),
    (&["IMPORT", "TABLE"], "IMPORT TABLE", "Use CREATE TABLE, then IMPORT INTO."),
    (&["IMPORT", "PGDUMP"], "IMPORT PGDUMP", "Use CREATE TABLE, then IMPORT INTO."),
    (&["IMPORT", "MYSQLDUMP"], "IMPORT MYSQLDUMP", "Use CREATE TABLE, then IMPORT INTO."),
    (&["ANALYZE"], "ANALYZE", "Row counts are kept without it."),
    (&["ANALYSE"], "ANALYZE", "Row counts are kept without it."),
    (
        &["VACUUM"],
        "VACUUM",
        "It is not needed: space is given back by itself; see cairn.tombstones.",
    ),
    (&["REINDEX"], "REINDEX", INDEXES),
    (&["CLUSTER"], "CLUSTER", "Rows are always in the order of the primary key."),
    (&["REFRESH"], "REFRESH", LATER),
    (&["LISTEN"], "LISTEN", LATER),
    (&["UNLISTEN"], "UNLISTEN", LATER),
    (&["NOTIFY"], "NOTIFY", LATER),
    (&["LOCK"], "LOCK", TRANSACTIONS),
    (&["SAVEPOINT"], "SAVEPOINT", TRANSACTIONS),
    (&["RELEASE"], "RELEASE SAVEPOINT", TRANSACTIONS),
    (&["ROLLBACK", "TO"], "ROLLBACK TO SAVEPOINT", TRANSACTIONS),
    (&["ROLLBACK", "WORK", "TO"], "ROLLBACK TO SAVEPOINT", TRANSACTIONS),
    (&["ROLLBACK", "TRANSACTION", "TO"], "ROLLBACK TO SAVEPOINT", TRANSACTIONS),
    (&["ROLLBACK", "PREPARED"], "ROLLBACK PREPARED", TRANSACTIONS),
    (&["COMMIT", "PREPARED"], "COMMIT PREPARED", TRANSACTIONS),
    (&["PREPARE", "TRANSACTION"], "PREPARE TRANSACTION", TRANSACTIONS),
    (&["PREPARE"], "PREPARE", PREPARED),
    (&["EXECUTE"], "EXECUTE", PREPARED),
    (
        &["DECLARE"],
        "DECLARE",
        "Let the driver fetch in portions: the extended protocol has portals.",
    ),
    (&["FETCH"], "FETCH", "Let the driver fetch in portions: the extended protocol has portals."),
    (&["MOVE"], "MOVE", "Let the driver fetch in portions: the extended protocol has portals."),
    (&["CLOSE"], "CLOSE", "Let the driver fetch in portions: the extended protocol has portals."),
    (&["COMMENT"], "COMMENT", LATER),
    (&["DESCRIBE"], "DESCRIBE", "Use SHOW COLUMNS FROM name, or \\d name in psql."),
    (&["DESC"], "DESC", "Use SHOW COLUMNS FROM name, or \\d name in psql."),
    (&["USE"], "USE", "Connect to the other database (\\c name in psql)."),
    (&["CALL"], "CALL", LATER),
    (&["DO"], "DO", LATER),
    (&["MERGE"], "MERGE", "Use UPDATE and INSERT."),
    (&["REASSIGN"], "REASSIGN OWNED", PRIVILEGES),
    (&["UPSERT"], "UPSERT", "Use UPDATE and INSERT."),
    // Jobs.
    (&["CANCEL", "ALL"], "CANCEL ALL JOBS", JOBS_BY_KIND),
    (&["PAUSE", "ALL"], "PAUSE ALL JOBS", JOBS_BY_KIND),
    (&["RESUME", "ALL"], "RESUME ALL JOBS", JOBS_BY_KIND),
    (&["CANCEL", "JOBS", "FOR"], "CANCEL JOBS FOR SCHEDULE", SCHEDULES),
    (&["PAUSE", "JOBS", "FOR"], "PAUSE JOBS FOR SCHEDULE", SCHEDULES),
    (&["RESUME", "JOBS", "FOR"], "RESUME JOBS FOR SCHEDULE", SCHEDULES),
    (&["SHOW", "JOBS", "FOR"], "SHOW JOBS FOR SCHEDULE", SCHEDULES),
    (&["SHOW", "JOBS", "WITH", "EXECUTION"], "SHOW JOBS WITH EXECUTION DETAILS", "See cairn.jobs."),
    (&["SHOW", "JOBS", "WITH", "RESOLVED"], "SHOW JOBS WITH RESOLVED TIMESTAMP", "See cairn.jobs."),
    (&["PAUSE", "SCHEDULE"], "PAUSE SCHEDULE", SCHEDULES),
    (&["PAUSE", "SCHEDULES"], "PAUSE SCHEDULES", SCHEDULES),
    (&["RESUME", "SCHEDULE"], "RESUME SCHEDULE", SCHEDULES),
    (&["RESUME", "SCHEDULES"], "RESUME SCHEDULES", SCHEDULES),
    (&["CANCEL", "QUERY"], "CANCEL QUERY", SESSIONS),
    (&["CANCEL", "QUERIES"], "CANCEL QUERIES", SESSIONS),
    (&["CANCEL", "SESSION"], "CANCEL SESSION", SESSIONS),
    (&["CANCEL", "SESSIONS"], "CANCEL SESSIONS", SESSIONS),
    // SHOW.
    (&["SHOW", "CHANGEFEED"], "SHOW CHANGEFEED JOBS", LATER),
    (&["SHOW", "BACKUP"], "SHOW BACKUP", LATER),
    (&["SHOW", "BACKUPS"], "SHOW BACKUPS", LATER),
    (&["SHOW", "SCHEDULE"], "SHOW SCHEDULE", SCHEDULES),
    (&["SHOW", "SCHEDULES"], "SHOW SCHEDULES", SCHEDULES),
    (&["SHOW", "INDEX"], "SHOW INDEX", INDEXES),
    (&["SHOW", "INDEXES"], "SHOW INDEXES", INDEXES),
    (&["SHOW", "KEYS"], "SHOW KEYS", INDEXES),
    (&["SHOW", "CONSTRAINT"], "SHOW CONSTRAINTS", "SHOW CREATE TABLE shows the primary key."),
    (&["SHOW", "CONSTRAINTS"], "SHOW CONSTRAINTS", "SHOW CREATE TABLE shows the primary key."),
    (&["SHOW", "STATISTICS"], "SHOW STATISTICS", LATER),
    (&["SHOW", "RANGES"], "SHOW RANGES", "One process holds all the data."),
    (&["SHOW", "QUERIES"], "SHOW QUERIES", LATER),
    (&["SHOW", "STATEMENTS"], "SHOW STATEMENTS", LATER),
    (&["SHOW", "SESSIONS"], "SHOW SESSIONS", LATER),
    (&["SHOW", "TRANSACTIONS"], "SHOW TRANSACTIONS", TRANSACTIONS),
    (&["SHOW", "SEQUENCES"], "SHOW SEQUENCES", LATER),
    (&["SHOW", "TYPES"], "SHOW TYPES", LATER),
    (&["SHOW", "FUNCTIONS"], "SHOW FUNCTIONS", LATER),
    (&["SHOW", "VIEWS"], "SHOW VIEWS", LATER),
    (&["SHOW", "CREATE", "VIEW"], "SHOW CREATE VIEW", LATER),
    (&["SHOW", "CREATE", "DATABASE"], "SHOW CREATE DATABASE", LATER),
    (&["SHOW", "CREATE", "SCHEMA"], "SHOW CREATE SCHEMA", LATER),
    (&["SHOW", "CREATE", "ALL"], "SHOW CREATE ALL", "Use SHOW CREATE TABLE for each table."),
    (&["SHOW", "GRANTS", "ON", "TABLE"], "SHOW GRANTS ON TABLE", "SHOW GRANTS lists memberships."),
    (
        &["SHOW", "GRANTS", "ON", "DATABASE"],
        "SHOW GRANTS ON DATABASE",
        "SHOW GRANTS lists memberships.",
    ),
    (
        &["SHOW", "GRANTS", "ON", "SCHEMA"],
        "SHOW GRANTS ON SCHEMA",
        "SHOW GRANTS lists memberships.",
    ),
    // SET.
    (&["SET", "LOCAL"], "SET LOCAL", "SET changes a variable for the session."),
    (&["SET", "ROLE"], "SET ROLE", "Connect as that user."),
    (&["SET", "SESSION", "AUTHORIZATION"], "SET SESSION AUTHORIZATION", "Connect as that user."),
    (&["RESET", "ROLE"], "RESET ROLE", "Connect as that user."),
    (
        &["RESET", "SESSION", "AUTHORIZATION"],
        "RESET SESSION AUTHORIZATION",
        "Connect as that user.",
    ),
    (&["SET", "CONSTRAINTS"], "SET CONSTRAINTS", "Constraints are checked at once."),
    // CREATE.
    (&["CREATE", "CHANGEFEED"], "CREATE CHANGEFEED", LATER),
    (&["CREATE", "STATISTICS"], "CREATE STATISTICS", "Row counts are kept without it."),
    (&["CREATE", "SCHEDULE"], "CREATE SCHEDULE", SCHEDULES),
    (&["CREATE", "INDEX"], "CREATE INDEX", INDEXES),
    (&["CREATE", "UNIQUE"], "CREATE UNIQUE INDEX", INDEXES),
    (&["CREATE", "INVERTED"], "CREATE INVERTED INDEX", INDEXES),
    (&["CREATE", "VIEW"], "CREATE VIEW", "Use WITH name AS (SELECT ...) in the query."),
    (&["CREATE", "RECURSIVE"], "CREATE VIEW", "Use WITH name AS (SELECT ...) in the query."),
    (
        &["CREATE", "MATERIALIZED"],
        "CREATE MATERIALIZED VIEW",
        "Use CREATE TABLE and INSERT INTO ... SELECT.",
    ),
    (&["CREATE", "OR"], "CREATE OR REPLACE", "Use DROP and CREATE."),
    (&["CREATE", "TEMP"], "CREATE TEMP TABLE", "Use CREATE TABLE and DROP TABLE."),
    (&["CREATE", "TEMPORARY"], "CREATE TEMP TABLE", "Use CREATE TABLE and DROP TABLE."),
    (&["CREATE", "GLOBAL"], "CREATE TEMP TABLE", "Use CREATE TABLE and DROP TABLE."),
    (&["CREATE", "LOCAL"], "CREATE TEMP TABLE", "Use CREATE TABLE and DROP TABLE."),
    (&["CREATE", "UNLOGGED"], "CREATE UNLOGGED TABLE", "Use CREATE TABLE."),
    (&["CREATE", "FOREIGN"], "CREATE FOREIGN TABLE", "Use CREATE TABLE and IMPORT INTO."),
    (&["CREATE", "EXTERNAL"], "CREATE EXTERNAL CONNECTION", LATER),
    (&["CREATE", "SEQUENCE"], "CREATE SEQUENCE", LATER),
    (&["CREATE", "TYPE"], "CREATE TYPE", LATER),
    (&["CREATE", "DOMAIN"], "CREATE DOMAIN", LATER),
    (&["CREATE", "FUNCTION"], "CREATE FUNCTION", LATER),
    (&["CREATE", "PROCEDURE"], "CREATE PROCEDURE", LATER),
    (&["CREATE", "AGGREGATE"], "CREATE AGGREGATE", LATER),
    (&["CREATE", "OPERATOR"], "CREATE OPERATOR", LATER),
    (&["CREATE", "TRIGGER"], "CREATE TRIGGER", LATER),
    (&["CREATE", "RULE"], "CREATE RULE", LATER),
    (&["CREATE", "POLICY"], "CREATE POLICY", LATER),
    (&["CREATE", "EXTENSION"], "CREATE EXTENSION", LATER),
    (&["CREATE", "CAST"], "CREATE CAST", LATER),
    (&["CREATE", "COLLATION"], "CREATE COLLATION", LATER),
    (&["CREATE", "PUBLICATION"], "CREATE PUBLICATION", LATER),
    (&["CREATE", "SUBSCRIPTION"], "CREATE SUBSCRIPTION", LATER),
    (&["CREATE", "SERVER"], "CREATE SERVER", LATER),
    (&["CREATE", "TABLESPACE"], "CREATE TABLESPACE", "A store is one directory."),
    // DROP.
    (&["DROP", "INDEX"], "DROP INDEX", INDEXES),
    (&["DROP", "VIEW"], "DROP VIEW", LATER),
    (&["DROP", "MATERIALIZED"], "DROP MATERIALIZED VIEW", LATER),
    (&["DROP", "SEQUENCE"], "DROP SEQUENCE", LATER),
    (&["DROP", "TYPE"], "DROP TYPE", LATER),
    (&["DROP", "DOMAIN"], "DROP DOMAIN", LATER),
    (&["DROP", "FUNCTION"], "DROP FUNCTION", LATER),
    (&["DROP", "PROCEDURE"], "DROP PROCEDURE", LATER),
    (&["DROP", "TRIGGER"], "DROP TRIGGER", LATER),
    (&["DROP", "POLICY"], "DROP POLICY", LATER),
    (&["DROP", "EXTENSION"], "DROP EXTENSION", LATER),
    (&["DROP", "OWNED"], "DROP OWNED", LATER),
    (&["DROP", "SCHEDULE"], "DROP SCHEDULE", SCHEDULES),
    (&["DROP", "SCHEDULES"], "DROP SCHEDULES", SCHEDULES),
    (&["DROP", "EXTERNAL"], "DROP EXTERNAL CONNECTION", LATER),
    (&["DROP", "PUBLICATION"], "DROP PUBLICATION", LATER),
    (&["DROP", "SUBSCRIPTION"], "DROP SUBSCRIPTION", LATER),
    // ALTER.
    (&["ALTER", "TABLE"], "ALTER TABLE", ALTER),
    (&["ALTER", "DATABASE"], "ALTER DATABASE", LATER),
    (&["ALTER", "SCHEMA"], "ALTER SCHEMA", LATER),
    (&["ALTER", "INDEX"], "ALTER INDEX", INDEXES),
    (&["ALTER", "USER"], "ALTER USER", "Use GRANT and REVOKE, or DROP USER and CREATE USER."),
    (&["ALTER", "ROLE"], "ALTER ROLE", "Use GRANT and REVOKE, or DROP ROLE and CREATE ROLE."),
    (&["ALTER", "CHANGEFEED"], "ALTER CHANGEFEED", LATER),
    (&["ALTER", "BACKUP"], "ALTER BACKUP", LATER),
    (&["ALTER", "JOB"], "ALTER JOB", "Use CANCEL, PAUSE or RESUME."),
    (&["ALTER"], "ALTER", LATER),
    // Roles.
    (&["GRANT", "SYSTEM"], "GRANT SYSTEM", PRIVILEGES),
    (&["REVOKE", "SYSTEM"], "REVOKE SYSTEM", PRIVILEGES),
    (&["REVOKE", "ADMIN", "OPTION"], "REVOKE ADMIN OPTION", PRIVILEGES),
    (&["REVOKE", "GRANT", "OPTION"], "REVOKE GRANT OPTION", PRIVILEGES),
];

/// Statements of ours that EXPLAIN does not explain.
const UNEXPLAINED: &[&str] = &[
    "SHOW", "CANCEL", "PAUSE", "RESUME", "IMPORT", "BACKUP", "RESTORE", "EXPORT", "SET", "RESET",
    "GRANT", "REVOKE", "BEGIN", "COMMIT", "ROLLBACK", "CREATE", "DROP", "TRUNCATE",
];

/// The statement, if it is a known one that is not built; all of it is read then.
pub(super) fn parse_known(cursor: &mut Cursor<'_>) -> Option<Statement> {
    // A later release may give these names to variables.
    let assigned = cursor
        .rest()
        .get(2)
        .is_some_and(|third| third.is("TO") || third.token == sqlparser::tokenizer::Token::Eq);
    if let Some((_, what, hint)) = KNOWN.iter().find(|(words, ..)| cursor.sees(words))
        && !(assigned && cursor.sees(&["SET"]))
    {
        return Some(not_built(cursor, what, hint));
    }
    let rest = cursor.rest();
    let has = |words: &[&str]| {
        rest.windows(words.len())
            .any(|window| window.iter().zip(words).all(|(lexeme, word)| lexeme.is(word)))
    };
    match () {
        () if cursor.sees(&["EXPLAIN"]) => {
            let skipped = ["EXPLAIN", "ANALYZE", "ANALYSE", "VERBOSE"];
            let explained = rest.iter().find(|lexeme| !lexeme.is_one_of(&skipped))?;
            if !explained.is_one_of(UNEXPLAINED) {
                return None;
            }
            let hint = "EXPLAIN takes SELECT, INSERT, UPDATE and DELETE.";
            Some(not_built(cursor, "EXPLAIN of this statement", hint))
        }
        () if (cursor.sees(&["GRANT"]) || cursor.sees(&["REVOKE"])) && has(&["ON"]) => {
            let what = if cursor.sees(&["GRANT"]) { "GRANT ... ON" } else { "REVOKE ... ON" };
            Some(not_built(cursor, what, PRIVILEGES))
        }
        () if cursor.sees(&["GRANT"]) && has(&["WITH", "ADMIN", "OPTION"]) => {
            Some(not_built(cursor, "GRANT ... WITH ADMIN OPTION", PRIVILEGES))
        }
        () if (cursor.sees(&["CREATE", "USER"]) || cursor.sees(&["CREATE", "ROLE"]))
            && (has(&["PASSWORD"]) || has(&["ENCRYPTED"])) =>
        {
            let hint = "With --insecure users log in without a password; accounts come with a later release.";
            Some(not_built(cursor, "CREATE USER with a PASSWORD", hint))
        }
        () if cursor.sees(&["SHOW", "JOB"])
            && (has(&["WITH", "EXECUTION"]) || has(&["WITH", "RESOLVED"])) =>
        {
            Some(not_built(cursor, "SHOW JOB ... WITH", "See cairn.jobs."))
        }
        () => None,
    }
}

fn not_built(cursor: &mut Cursor<'_>, what: &'static str, hint: &'static str) -> Statement {
    let at = cursor.beginning();
    Statement::NotBuilt(NotBuilt { what, hint, text: cursor.whole_text(), at })
}
