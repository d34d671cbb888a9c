//! SET and RESET, of cluster settings and of session variables.

use sqlparser::tokenizer::Token;

use super::{Cursor, syntax, transaction};
use crate::ast::{Dotted, Statement, Text};
use crate::error::Result;
use crate::lex::Lexeme;

/// SET CLUSTER SETTING ... | SET [SESSION] variable {= | TO} value, ... | SET TIME ZONE value |
/// SET NAMES value | SET SCHEMA value | SET [SESSION CHARACTERISTICS AS] TRANSACTION ...
pub(super) fn parse_set(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.expect(&["SET"])?;
    if cursor.eat(&["CLUSTER", "SETTING"]) {
        return parse_set_cluster_setting(cursor);
    }
    if cursor.eat(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]) {
        let modes = transaction::modes(cursor)?;
        return Ok(Statement::SetTransaction { session: true, modes });
    }
    if cursor.eat(&["TRANSACTION"]) {
        let modes = transaction::modes(cursor)?;
        return Ok(Statement::SetTransaction { session: false, modes });
    }
    // `SESSION` may also be the name of a variable.
    if cursor.rest().get(1).is_some_and(|next| next.is_name() && !next.is("TO")) {
        cursor.eat(&["SESSION"]);
    }
    let at = cursor.at();
    let named = |name: &str| Dotted { name: name.to_owned(), at };
    let name = match () {
        () if cursor.eat(&["TIME", "ZONE"]) => {
            let value = parse_time_zone(cursor)?;
            return Ok(Statement::SetVariable { name: named("timezone"), value });
        }
        () if cursor.eat(&["NAMES"]) => named("client_encoding"),
        () if cursor.eat(&["SCHEMA"]) => named("search_path"),
        () => {
            let name = cursor.dotted("the name of a variable")?;
            if !cursor.eat_token(&Token::Eq) {
                cursor.expect(&["TO"]).map_err(|_| cursor.unexpected("= or TO"))?;
            }
            name
        }
    };
    let value = parse_values(cursor, name.name == "search_path")?;
    Ok(Statement::SetVariable { name, value })
}

/// RESET CLUSTER SETTING name | RESET ALL | RESET [SESSION] variable | RESET TIME ZONE
pub(super) fn parse_reset(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.expect(&["RESET"])?;
    if cursor.eat(&["CLUSTER", "SETTING"]) {
        let name = cursor.dotted("the name of a setting")?;
        return Ok(Statement::SetClusterSetting { name, value: None });
    }
    if cursor.sees(&["ALL"]) && cursor.rest().len() == 1 {
        cursor.skip(1);
        return Ok(Statement::ResetVariables);
    }
    if cursor.rest().get(1).is_some_and(Lexeme::is_name) {
        cursor.eat(&["SESSION"]);
    }
    let name = variable(cursor)?;
    Ok(Statement::SetVariable { name, value: None })
}

/// The name of a session variable where it is read or reset: also those that are two words.
pub(super) fn variable(cursor: &mut Cursor<'_>) -> Result<Dotted> {
    let at = cursor.at();
    for (words, name) in [
        (&["TIME", "ZONE"][..], "timezone"),
        (&["TRANSACTION", "ISOLATION", "LEVEL"], "transaction_isolation"),
        (&["SESSION", "AUTHORIZATION"], "session_authorization"),
    ] {
        if cursor.eat(words) {
            return Ok(Dotted { name: name.to_owned(), at });
        }
    }
    cursor.dotted("the name of a variable")
}

fn parse_set_cluster_setting(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let name = cursor.dotted("the name of a setting")?;
    if !cursor.eat_token(&Token::Eq) {
        cursor.expect(&["TO"]).map_err(|_| cursor.unexpected("= or TO"))?;
    }
    let value = if cursor.eat(&["DEFAULT"]) { None } else { Some(cursor.loose_value("a value")?) };
    Ok(Statement::SetClusterSetting { name, value })
}

/// A value, or several with commas between them; `None` is DEFAULT. In a list of `names` a quoted
/// name keeps its quotes.
fn parse_values(cursor: &mut Cursor<'_>, names: bool) -> Result<Option<Text>> {
    if cursor.eat(&["DEFAULT"]) {
        return Ok(None);
    }
    let mut joined = String::new();
    loop {
        let quoted = match cursor.peek().map(|lexeme| &lexeme.token) {
            Some(Token::Word(word)) if names && word.quote_style.is_some() => {
                Some(format!("\"{}\"", word.value.replace('"', "\"\"")))
            }
            _ => None,
        };
        match (cursor.loose_value("a value")?, quoted) {
            (Text::Literal(_), Some(quoted)) => joined.push_str(&quoted),
            (Text::Literal(text), None) => joined.push_str(&text),
            (param @ Text::Param(_), _) => {
                if joined.is_empty() && !cursor.sees_token(&Token::Comma) {
                    return Ok(Some(param));
                }
                return Err(syntax(cursor, "a parameter stands for the whole value"));
            }
        }
        if !cursor.eat_token(&Token::Comma) {
            return Ok(Some(Text::Literal(joined)));
        }
        joined.push_str(", ");
    }
}

/// {'name' | number | LOCAL | DEFAULT | INTERVAL 'offset' [HOUR TO MINUTE]}
fn parse_time_zone(cursor: &mut Cursor<'_>) -> Result<Option<Text>> {
    if cursor.eat(&["LOCAL"]) || cursor.eat(&["DEFAULT"]) {
        return Ok(None);
    }
    if cursor.eat(&["INTERVAL"]) {
        let value = cursor.text_value("an offset in quotes")?;
        cursor.eat(&["HOUR", "TO", "MINUTE"]);
        return Ok(Some(value));
    }
    cursor.loose_value("a time zone").map(Some)
}
