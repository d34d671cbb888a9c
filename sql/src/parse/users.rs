//! Users and roles: CREATE, DROP, GRANT, REVOKE.

use sqlparser::tokenizer::Token;

use super::Cursor;
use crate::ast::{RoleKind, Statement};
use crate::error::Result;

/// CREATE {USER | ROLE} [IF NOT EXISTS] name [WITH] [LOGIN | NOLOGIN]
pub(super) fn parse_create_role(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.expect(&["CREATE"])?;
    let mut kind = parse_kind(cursor)?;
    let if_not_exists = cursor.eat(&["IF", "NOT", "EXISTS"]);
    let name = role(cursor)?;
    cursor.eat(&["WITH"]);
    loop {
        match () {
            () if cursor.eat(&["LOGIN"]) => kind = RoleKind::User,
            () if cursor.eat(&["NOLOGIN"]) => kind = RoleKind::Role,
            () => break,
        }
    }
    Ok(Statement::CreateRole { name, if_not_exists, kind })
}

/// DROP {USER | ROLE} [IF EXISTS] name, ...
pub(super) fn parse_drop_role(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.expect(&["DROP"])?;
    let kind = parse_kind(cursor)?;
    let if_exists = cursor.eat(&["IF", "EXISTS"]);
    let names = cursor.list(role)?;
    Ok(Statement::DropRole { names, if_exists, kind })
}

/// GRANT role, ... TO user, ...
pub(super) fn parse_grant(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.expect(&["GRANT"])?;
    let roles = cursor.list(role)?;
    cursor.expect(&["TO"])?;
    let to = cursor.list(role)?;
    Ok(Statement::GrantRole { roles, to })
}

/// REVOKE role, ... FROM user, ...
pub(super) fn parse_revoke(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.expect(&["REVOKE"])?;
    let roles = cursor.list(role)?;
    cursor.expect(&["FROM"])?;
    let from = cursor.list(role)?;
    Ok(Statement::RevokeRole { roles, from })
}

fn parse_kind(cursor: &mut Cursor<'_>) -> Result<RoleKind> {
    if cursor.eat(&["USER"]) {
        Ok(RoleKind::User)
    } else {
        cursor.expect(&["ROLE"]).map(|()| RoleKind::Role)
    }
}

/// The name of a user or role: a word, or a text as older releases of the reference system wrote it.
fn role(cursor: &mut Cursor<'_>) -> Result<String> {
    match cursor.peek().map(|lexeme| &lexeme.token) {
        Some(Token::SingleQuotedString(name)) if !name.is_empty() => {
            cursor.skip(1);
            Ok(name.to_lowercase())
        }
        _ => cursor.ident("the name of a user or role"),
    }
}
