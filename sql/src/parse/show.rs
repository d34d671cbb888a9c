//! SHOW: jobs, settings, the catalog, session variables.

use sqlparser::tokenizer::Token;

use super::{Cursor, jobs, settings};
use crate::ast::{Listing, Statement};
use crate::error::Result;
use crate::lex::Lexeme;

/// SHOW and what follows it. The forms that are not built are recognised before.
pub(super) fn parse_show(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.expect(&["SHOW"])?;
    let jobs = cursor.sees_one_of(&["JOB", "JOBS"]) || cursor.sees(&["AUTOMATIC", "JOBS"]);
    if jobs {
        return jobs::parse_show_jobs(cursor);
    }
    for all in [
        &["ALL", "CLUSTER", "SETTINGS"][..],
        &["PUBLIC", "CLUSTER", "SETTINGS"],
        &["CLUSTER", "SETTING", "ALL"],
        &["CLUSTER", "SETTINGS"],
    ] {
        if cursor.eat(all) {
            return Ok(Statement::ShowClusterSetting { name: None });
        }
    }
    if cursor.eat(&["CLUSTER", "SETTING"]) {
        let name = Some(cursor.dotted("the name of a setting")?);
        return Ok(Statement::ShowClusterSetting { name });
    }
    if let Some(listing) = parse_listing(cursor)? {
        return Ok(Statement::ShowCatalog(listing));
    }
    if cursor.sees(&["ALL"]) && cursor.rest().len() == 1 {
        cursor.skip(1);
        return Ok(Statement::ShowVariables);
    }
    if cursor.rest().get(1).is_some_and(Lexeme::is_name) {
        cursor.eat(&["SESSION"]);
    }
    let what = "JOBS, a listing such as TABLES, or the name of a variable";
    if cursor.peek().is_none_or(|next| !matches!(next.token, Token::Word(_))) {
        return Err(cursor.unexpected(what));
    }
    Ok(Statement::ShowVariable { name: settings::variable(cursor)? })
}

fn parse_listing(cursor: &mut Cursor<'_>) -> Result<Option<Listing>> {
    Ok(Some(match () {
        () if cursor.eat(&["DATABASES"]) => Listing::Databases,
        () if cursor.eat(&["SCHEMAS"]) => {
            let database = match cursor.eat(&["FROM"]) {
                true => Some(cursor.ident("a database")?),
                false => None,
            };
            Listing::Schemas { database }
        }
        () if cursor.eat(&["TABLES"]) => {
            let of = match cursor.eat(&["FROM"]) {
                true => Some(cursor.name("a schema or a database")?),
                false => None,
            };
            Listing::Tables { of }
        }
        () if cursor.eat(&["COLUMNS"]) => {
            cursor.expect(&["FROM"])?;
            Listing::Columns { table: cursor.name("a table")? }
        }
        () if cursor.eat(&["CREATE"]) => {
            cursor.eat(&["TABLE"]);
            Listing::CreateTable { table: cursor.name("a table")? }
        }
        () if cursor.eat(&["USERS"]) => Listing::Users,
        () if cursor.eat(&["ROLES"]) => Listing::Roles,
        () if cursor.eat(&["GRANTS"]) => {
            let roles = match cursor.eat(&["ON", "ROLE"]) {
                true if !cursor.at_end() && !cursor.sees(&["FOR"]) => {
                    cursor.list(|cursor| cursor.ident("a role"))?
                }
                _ => Vec::new(),
            };
            let members = match cursor.eat(&["FOR"]) {
                true => cursor.list(|cursor| cursor.ident("a user or role"))?,
                false => Vec::new(),
            };
            Listing::Grants { roles, members }
        }
        () => return Ok(None),
    }))
}
