//! `sqlparser`'s errors as [`SqlError`]s, in PostgreSQL's words.
//!
//! `sqlparser` writes the place into its message; it is taken out again here.

use sqlparser::parser::ParserError;
use sqlparser::tokenizer::Location;

use super::{SqlError, code};
use crate::lex::lower_first;

impl From<ParserError> for SqlError {
    fn from(error: ParserError) -> Self {
        syntax_error(&error).1
    }
}

/// 42601 from `sqlparser`, and where: it writes the location into its message. Without a location
/// the error is at the end of the statement.
pub(crate) fn syntax_error(error: &ParserError) -> (Option<Location>, SqlError) {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            let message = "the statement is nested too deep";
            return (None, SqlError::new(code::STATEMENT_TOO_COMPLEX, message));
        }
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    let (message, location) = split_location(message);
    let error = match message.strip_prefix("Expected") {
        Some(rest) => {
            let rest = rest.trim_start_matches([':', ' ']);
            let (expected, found) =
                rest.split_once("found: ").map_or((rest, None), |(before, found)| {
                    (before.trim_end_matches([',', ' ']), Some(found))
                });
            let message = match found {
                Some(found) if found != "EOF" => crate::parse::near(found),
                _ => "syntax error at end of input".to_owned(),
            };
            SqlError::syntax(message).with_detail(format!("Expected {expected}."))
        }
        None => SqlError::syntax(lower_first(message.trim_start_matches("sql parser error: "))),
    };
    (location, error)
}

/// ` at Line: 1, Column: 8` off the end of a message.
fn split_location(message: &str) -> (&str, Option<Location>) {
    let parse = || {
        let (before, place) = message.rsplit_once(" at Line: ")?;
        let (line, column) = place.split_once(", Column: ")?;
        let location = Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?);
        Some((before, Some(location)))
    };
    parse().unwrap_or((message, None))
}
