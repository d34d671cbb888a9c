//! IMPORT INTO.

use sqlparser::tokenizer::Token;

use super::Cursor;
use crate::ast::{Import, ImportOption, Place, Statement};
use crate::error::Result;

/// IMPORT INTO table [(column, ...)] format DATA ('uri', ...) [WITH name [= 'value'], ...]
pub(super) fn parse_import(cursor: &mut Cursor<'_>) -> Result<Statement> {
    const HINT: &str =
        "As in IMPORT INTO t (a, b) CSV DATA ('nodelocal://1/t.csv') WITH skip = '1'.";
    cursor.expect(&["IMPORT", "INTO"]).map_err(|error| error.with_hint(HINT))?;
    let table = cursor.name("a table name")?;
    let columns = if cursor.eat_token(&Token::LParen) {
        let columns = cursor.list(Cursor::column)?;
        cursor.expect_token(&Token::RParen, ")")?;
        columns
    } else {
        Vec::new()
    };
    let format_at = cursor.at();
    let format = cursor
        .ident("a format, as in CSV DATA (...)")
        .map_err(|error| error.with_hint(HINT))?
        .to_uppercase();
    cursor.expect(&["DATA"]).map_err(|error| error.with_hint(HINT))?;
    cursor.expect_token(&Token::LParen, "( and a list of URIs")?;
    let places = cursor.list(|cursor| {
        let at = cursor.at();
        let uri = cursor.text_value("a URI in quotes, as in 'nodelocal://1/t.csv'")?;
        Ok(Place { uri, at })
    })?;
    cursor.expect_token(&Token::RParen, ", or )")?;
    let options = if cursor.eat(&["WITH"]) {
        // The reference system takes `WITH OPTIONS (...)` too.
        let bracketed = cursor.eat(&["OPTIONS"]);
        if bracketed {
            cursor.expect_token(&Token::LParen, "(")?;
        }
        let options = cursor.list(parse_option)?;
        if bracketed {
            cursor.expect_token(&Token::RParen, ")")?;
        }
        options
    } else {
        Vec::new()
    };
    Ok(Statement::Import(Import { table, columns, format, format_at, places, options }))
}

fn parse_option(cursor: &mut Cursor<'_>) -> Result<ImportOption> {
    let at = cursor.at();
    let name = cursor.ident("the name of an option")?.to_ascii_lowercase();
    let value = if cursor.eat_token(&Token::Eq) {
        Some(cursor.loose_value("a value in quotes")?)
    } else {
        None
    };
    Ok(ImportOption { name, value, at })
}
