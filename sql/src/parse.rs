//! From text to trees, by recursive descent: one function for each statement of ours, `sqlparser`
//! for the rest.
//!
//! Promises: every text gives trees or an error with SQLSTATE 42601 (or 54001 where it is too
//! deep), a position, and a hint where one is obvious; no text makes the thread panic or its stack
//! overflow. Knows syntax only: whether a table, a job or an option exists is asked later.
//!
//! The first words decide who parses a statement. What is known and not built is recognised here
//! too ([`known`]), so that it answers 0A000 instead of a syntax error.

mod cursor;
mod import;
mod interval;
mod jobs;
mod known;
mod nearest;
#[cfg(test)]
mod random_test;
mod settings;
mod show;
#[cfg(test)]
mod tests;
mod transaction;
mod users;

use sqlparser::ast::Statement as SqlStatement;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

pub(crate) use cursor::{Cursor, near};
pub(crate) use interval::interval;
pub(crate) use nearest::nearest;

use crate::ast::{Discard, Parsed, Sql, Statement};
use crate::error::{Result, SqlError};
use crate::lex::{self, Lexeme};
use crate::sources;

/// Parses the statements of a text, which `;` separates. An empty text has none.
///
/// # Errors
/// 42601 or 54001 for the first statement that is none; nothing of the text should run then.
pub fn parse(sql: &str) -> Result<Vec<Parsed>> {
    let statements = lex::statements(sql)?;
    let mut parsed = Vec::with_capacity(statements.len());
    for lexemes in statements {
        let (Some(first), Some(last)) = (lexemes.first(), lexemes.last()) else { continue };
        let text = sql.get(first.bytes.start..last.bytes.end).unwrap_or_default().to_owned();
        let offset = first.at.0.saturating_sub(1);
        let statement = whole_statement(sql, &lexemes)?;
        parsed.push(Parsed { text, statement, offset });
    }
    Ok(parsed)
}

/// Parses lexemes that are one statement, and nothing else.
pub(crate) fn whole_statement(text: &str, lexemes: &[Lexeme]) -> Result<Statement> {
    let mut cursor = Cursor::new(text, lexemes);
    let statement = parse_statement(&mut cursor)?;
    cursor.expect_end()?;
    Ok(statement)
}

/// The words that statements begin with, for hints.
const FIRST_WORDS: &[&str] = &[
    "ABORT",
    "ALTER",
    "ANALYZE",
    "BACKUP",
    "BEGIN",
    "CANCEL",
    "COMMENT",
    "COMMIT",
    "COPY",
    "CREATE",
    "DEALLOCATE",
    "DELETE",
    "DISCARD",
    "DROP",
    "END",
    "EXECUTE",
    "EXPLAIN",
    "EXPORT",
    "GRANT",
    "IMPORT",
    "INSERT",
    "PAUSE",
    "PREPARE",
    "RELEASE",
    "RESET",
    "RESTORE",
    "RESUME",
    "REVOKE",
    "ROLLBACK",
    "SAVEPOINT",
    "SELECT",
    "SET",
    "SHOW",
    "START",
    "TABLE",
    "TRUNCATE",
    "UPDATE",
    "VALUES",
    "WITH",
];

fn parse_statement(cursor: &mut Cursor<'_>) -> Result<Statement> {
    if let Some(statement) = known::parse_known(cursor) {
        return Ok(statement);
    }
    if cursor.sees_token(&Token::LParen) {
        return parse_query(cursor);
    }
    let Some(word) = cursor.peek().and_then(Lexeme::word) else {
        return Err(cursor.unexpected("a statement"));
    };
    match word.value.to_ascii_uppercase().as_str() {
        "SHOW" => show::parse_show(cursor),
        "CANCEL" | "PAUSE" | "RESUME" => jobs::parse_control_jobs(cursor),
        "IMPORT" => import::parse_import(cursor),
        "SET" => settings::parse_set(cursor),
        "RESET" => settings::parse_reset(cursor),
        "GRANT" => users::parse_grant(cursor),
        "REVOKE" => users::parse_revoke(cursor),
        "CREATE" if cursor.sees(&["CREATE", "USER"]) || cursor.sees(&["CREATE", "ROLE"]) => {
            users::parse_create_role(cursor)
        }
        "DROP" if cursor.sees(&["DROP", "USER"]) || cursor.sees(&["DROP", "ROLE"]) => {
            users::parse_drop_role(cursor)
        }
        "BEGIN" | "START" => transaction::parse_begin(cursor),
        "COMMIT" | "END" => transaction::parse_commit(cursor),
        "ROLLBACK" | "ABORT" => transaction::parse_rollback(cursor),
        "DISCARD" => parse_discard(cursor),
        "SELECT" | "WITH" | "VALUES" | "TABLE" => parse_query(cursor),
        "EXPLAIN" => parse_explain(cursor),
        "CREATE" | "DROP" => parse_definition(cursor),
        "INSERT" | "UPDATE" | "DELETE" | "TRUNCATE" | "DEALLOCATE" => parse_sql(cursor),
        other => {
            let error = cursor.unexpected("a statement");
            Err(match nearest(other, FIRST_WORDS.iter().copied()) {
                Some(word) => error.with_hint(format!("Perhaps you meant {word}.")),
                None => error,
            })
        }
    }
}

/// EXPLAIN [ANALYZE] [VERBOSE] [(option, ...)] and a query, INSERT, UPDATE or DELETE.
fn parse_explain(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let mut ahead = cursor.clone();
    ahead.expect(&["EXPLAIN"])?;
    while ahead.eat(&["ANALYZE"]) || ahead.eat(&["ANALYSE"]) || ahead.eat(&["VERBOSE"]) {}
    // `sqlparser` takes any parenthesis here for options, and so do we.
    if ahead.sees_token(&Token::LParen) {
        ahead.skip(lex::after_closing(ahead.rest(), 0).unwrap_or(1));
    }
    let explained = ["SELECT", "WITH", "VALUES", "TABLE", "INSERT", "UPDATE", "DELETE"];
    if !ahead.sees_one_of(&explained) && !ahead.sees_token(&Token::LParen) {
        return Err(ahead.unexpected("SELECT, INSERT, UPDATE or DELETE"));
    }
    parse_sql(cursor)
}

/// {CREATE | DROP} {TABLE | SCHEMA | DATABASE}
fn parse_definition(cursor: &mut Cursor<'_>) -> Result<Statement> {
    const KINDS: &[&str] = &["TABLE", "SCHEMA", "DATABASE", "USER", "ROLE"];
    let mut ahead = cursor.clone();
    ahead.skip(1);
    if ahead.sees_one_of(KINDS) {
        return parse_sql(cursor);
    }
    let error = ahead.unexpected("TABLE, SCHEMA, DATABASE, USER or ROLE");
    let kind = ahead.peek().and_then(Lexeme::word);
    Err(match kind.and_then(|kind| nearest(&kind.value, KINDS.iter().copied())) {
        Some(kind) => error.with_hint(format!("Perhaps you meant {kind}.")),
        None => error,
    })
}

/// DISCARD {ALL | PLANS | SEQUENCES | TEMP}
fn parse_discard(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.expect(&["DISCARD"])?;
    let what = match () {
        () if cursor.eat(&["ALL"]) => Discard::All,
        () if cursor.eat(&["PLANS"]) => Discard::Plans,
        () if cursor.eat(&["SEQUENCES"]) => Discard::Sequences,
        () if cursor.eat(&["TEMP"]) || cursor.eat(&["TEMPORARY"]) => Discard::Temp,
        () => return Err(cursor.unexpected("ALL, PLANS, SEQUENCES or TEMP")),
    };
    Ok(Statement::Discard(what))
}

fn parse_query(cursor: &mut Cursor<'_>) -> Result<Statement> {
    query(cursor).map(Statement::Sql)
}

/// SELECT, VALUES, TABLE, WITH, or one of these in parentheses.
fn query(cursor: &mut Cursor<'_>) -> Result<Sql> {
    sources::sql(cursor, |parser| parser.parse_query().map(SqlStatement::Query))
}

fn parse_sql(cursor: &mut Cursor<'_>) -> Result<Statement> {
    /// A function, because the method's lifetimes do not fit.
    fn statement(parser: &mut Parser<'_>) -> Result<SqlStatement, ParserError> {
        parser.parse_statement()
    }
    sources::sql(cursor, statement).map(Statement::Sql)
}

/// 42601 at the next lexeme, for a statement that ends too early or goes on too long.
fn syntax(cursor: &Cursor<'_>, message: &str) -> SqlError {
    SqlError::syntax(message).with_position(cursor.at())
}
