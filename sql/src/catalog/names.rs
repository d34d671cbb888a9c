//! Names: which are allowed, how they are written, and how a name that a statement gives is found.
//!
//! A name is reserved by a record of its own, so that a thing can be renamed, or wait for its removal,
//! without its id changing. Unquoted identifiers are folded to lower case, as in PostgreSQL; quoted
//! ones are taken as they are.

use std::borrow::Cow;

use sqlparser::ast::{Ident, ObjectName};

use crate::error::{SqlError, code};

/// Bytes of the longest name, as in PostgreSQL.
pub const NAME_BYTES_MAX: usize = 63;

/// The database that a store begins with.
pub const DEFAULT_DATABASE: &str = "defaultdb";
/// The schema that every database begins with.
pub const PUBLIC_SCHEMA: &str = "public";
/// The user that a store begins with.
pub const ROOT_USER: &str = "root";
/// The role that may do everything.
pub const ADMIN_ROLE: &str = "admin";

/// Schemas whose tables are computed.
const VIRTUAL_SCHEMAS: [&str; 4] = ["cairn", "crdb_internal", "information_schema", "pg_catalog"];

/// Words that cannot be the name of a user.
const RESERVED_USERS: [&str; 6] =
    ["public", "none", "node", "current_user", "session_user", "user"];

/// Checks a name that somebody gives to something.
///
/// # Errors
/// 42602 for an empty one or one with a zero byte, 42622 for one of more than 63 bytes.
pub fn check_name(name: &str) -> Result<(), SqlError> {
    if name.is_empty() || name.contains('\0') {
        return Err(SqlError::new(
            code::INVALID_NAME,
            "a name cannot be empty or hold a zero byte",
        ));
    }
    if name.len() > NAME_BYTES_MAX {
        let message = format!("name \"{name}\" is too long");
        return Err(SqlError::new(code::NAME_TOO_LONG, message)
            .with_hint(format!("A name has at most {NAME_BYTES_MAX} bytes.")));
    }
    Ok(())
}

/// Checks the name of a new schema.
///
/// # Errors
/// As [`check_name`]; 42939 for one that is kept for the system.
pub fn check_schema_name(name: &str) -> Result<(), SqlError> {
    check_name(name)?;
    if name.starts_with("pg_") || is_virtual_schema(name) {
        let message = format!("unacceptable schema name \"{name}\"");
        return Err(SqlError::new(code::RESERVED_NAME, message)
            .with_detail("Names that begin with pg_ and names of virtual schemas are reserved."));
    }
    Ok(())
}

/// Checks the name of a new user or role: a letter or underscore, then letters, digits, `_`, `-`, `.`,
/// as CockroachDB has it.
///
/// # Errors
/// As [`check_name`]; 42602 for other characters, 42939 for a reserved word.
pub fn check_user_name(name: &str) -> Result<(), SqlError> {
    check_name(name)?;
    if RESERVED_USERS.contains(&name) || name.starts_with("pg_") {
        return Err(SqlError::new(
            code::RESERVED_NAME,
            format!("role name \"{name}\" is reserved"),
        ));
    }
    let mut characters = name.chars();
    let begins = characters.next().is_some_and(|first| first.is_ascii_lowercase() || first == '_');
    let allowed =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
    if !begins || !characters.all(allowed) {
        let message = format!("username \"{name}\" is invalid");
        return Err(SqlError::new(code::INVALID_NAME, message).with_hint(
            "Usernames are lower-case, start with a letter or underscore, and may hold digits, \
             dashes, periods and underscores.",
        ));
    }
    Ok(())
}

/// Whether the tables of this schema are computed.
#[must_use]
pub fn is_virtual_schema(name: &str) -> bool {
    VIRTUAL_SCHEMAS.contains(&name)
}

/// An identifier as a name: folded to lower case unless it was quoted.
#[must_use]
pub fn identifier(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The parts of a name, each folded unless it was quoted.
///
/// # Errors
/// 42601 for a part that is no identifier.
pub fn parts(name: &ObjectName) -> Result<Vec<String>, SqlError> {
    name.0
        .iter()
        .map(|part| {
            part.as_ident()
                .map(identifier)
                .ok_or_else(|| SqlError::syntax(format!("{name} is not a name")))
        })
        .collect()
}

/// The name of a database: one part.
///
/// # Errors
/// 42601 for more parts.
pub fn database_name(name: &ObjectName) -> Result<String, SqlError> {
    match parts(name)?.as_mut_slice() {
        [database] => Ok(std::mem::take(database)),
        _ => Err(SqlError::syntax(format!("{name} is not the name of a database"))),
    }
}

/// The name as it is written in SQL: quoted if it must be.
#[must_use]
pub fn quoted(name: &str) -> Cow<'_, str> {
    let mut bytes = name.bytes();
    let plain = bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !is_keyword(name);
    if plain { name.into() } else { format!("\"{}\"", name.replace('"', "\"\"")).into() }
}

/// PostgreSQL's reserved words: those that cannot stand for a column or table unquoted.
fn is_keyword(name: &str) -> bool {
    const RESERVED: [&str; 77] = [
        "all",
        "analyse",
        "analyze",
        "and",
        "any",
        "array",
        "as",
        "asc",
        "asymmetric",
        "both",
        "case",
        "cast",
        "check",
        "collate",
        "column",
        "constraint",
        "create",
        "current_catalog",
        "current_date",
        "current_role",
        "current_time",
        "current_timestamp",
        "current_user",
        "default",
        "deferrable",
        "desc",
        "distinct",
        "do",
        "else",
        "end",
        "except",
        "false",
        "fetch",
        "for",
        "foreign",
        "from",
        "grant",
        "group",
        "having",
        "in",
        "initially",
        "intersect",
        "into",
        "lateral",
        "leading",
        "limit",
        "localtime",
        "localtimestamp",
        "not",
        "null",
        "offset",
        "on",
        "only",
        "or",
        "order",
        "placing",
        "primary",
        "references",
        "returning",
        "select",
        "session_user",
        "some",
        "symmetric",
        "table",
        "then",
        "to",
        "trailing",
        "true",
        "union",
        "unique",
        "user",
        "using",
        "variadic",
        "when",
        "where",
        "window",
        "with",
    ];
    RESERVED.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_unless_they_are_quoted() {
        let name = ObjectName::from(vec![Ident::new("Shop"), Ident::with_quote('"', "Order")]);
        assert_eq!(parts(&name).unwrap(), ["shop", "Order"]);
        assert_eq!(database_name(&name).unwrap_err().code, code::SYNTAX_ERROR);
    }

    #[test]
    fn names_are_quoted_where_sql_needs_it() {
        for (name, written) in [
            ("t", "t"),
            ("_a1", "_a1"),
            ("Order", "\"Order\""),
            ("order", "\"order\""),
            ("a b", "\"a b\""),
            ("a\"b", "\"a\"\"b\""),
            ("1a", "\"1a\""),
        ] {
            assert_eq!(quoted(name), written);
        }
    }

    #[test]
    fn names_that_are_too_long_empty_or_reserved_are_refused() {
        let refused = |result: Result<(), SqlError>| result.unwrap_err().code;
        assert_eq!(refused(check_name("")), code::INVALID_NAME);
        assert_eq!(refused(check_name(&"x".repeat(64))), code::NAME_TOO_LONG);
        assert!(check_name(&"x".repeat(63)).is_ok());
        assert_eq!(refused(check_schema_name("pg_x")), code::RESERVED_NAME);
        assert_eq!(refused(check_schema_name("cairn")), code::RESERVED_NAME);
        assert_eq!(refused(check_user_name("public")), code::RESERVED_NAME);
        assert_eq!(refused(check_user_name("1x")), code::INVALID_NAME);
        assert_eq!(refused(check_user_name("a b")), code::INVALID_NAME);
        assert!(check_user_name("max-roach.2").is_ok());
    }

    #[test]
    fn reserved_words_are_sorted() {
        for word in ["all", "order", "table", "with", "default"] {
            assert!(is_keyword(word), "{word}");
        }
    }
}
