//! BEGIN, COMMIT, ROLLBACK, and the modes of transactions.

use sqlparser::tokenizer::Token;

use super::Cursor;
use crate::ast::Statement;
use crate::error::Result;

/// {BEGIN [TRANSACTION | WORK] | START TRANSACTION} [mode, ...]
pub(super) fn parse_begin(cursor: &mut Cursor<'_>) -> Result<Statement> {
    if cursor.eat(&["START"]) {
        cursor.expect(&["TRANSACTION"])?;
    } else {
        cursor.expect(&["BEGIN"])?;
        noise(cursor);
    }
    let modes = if cursor.at_end() { Vec::new() } else { modes(cursor)? };
    Ok(Statement::Begin { modes })
}

/// {COMMIT | END} [TRANSACTION | WORK] [AND NO CHAIN]
pub(super) fn parse_commit(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.skip(1);
    noise(cursor);
    cursor.eat(&["AND", "NO", "CHAIN"]);
    Ok(Statement::Commit)
}

/// {ROLLBACK | ABORT} [TRANSACTION | WORK] [AND NO CHAIN]
pub(super) fn parse_rollback(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.skip(1);
    noise(cursor);
    cursor.eat(&["AND", "NO", "CHAIN"]);
    Ok(Statement::Rollback)
}

/// Modes with or without commas between them, at least one.
pub(super) fn modes(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    let mut modes = Vec::new();
    loop {
        modes.push(mode(cursor)?);
        cursor.eat_token(&Token::Comma);
        if cursor.at_end() {
            return Ok(modes);
        }
    }
}

fn mode(cursor: &mut Cursor<'_>) -> Result<String> {
    const MODES: &[&[&str]] = &[
        &["ISOLATION", "LEVEL", "SERIALIZABLE"],
        &["ISOLATION", "LEVEL", "REPEATABLE", "READ"],
        &["ISOLATION", "LEVEL", "READ", "COMMITTED"],
        &["ISOLATION", "LEVEL", "READ", "UNCOMMITTED"],
        &["ISOLATION", "LEVEL", "SNAPSHOT"],
        &["READ", "ONLY"],
        &["READ", "WRITE"],
        &["NOT", "DEFERRABLE"],
        &["DEFERRABLE"],
        &["PRIORITY", "LOW"],
        &["PRIORITY", "NORMAL"],
        &["PRIORITY", "HIGH"],
    ];
    match MODES.iter().find(|words| cursor.sees(words)) {
        Some(words) => {
            cursor.skip(words.len());
            Ok(words.join(" "))
        }
        None => Err(cursor.unexpected("ISOLATION LEVEL, READ ONLY or READ WRITE")),
    }
}

fn noise(cursor: &mut Cursor<'_>) {
    if !cursor.eat(&["TRANSACTION"]) {
        cursor.eat(&["WORK"]);
    }
}
