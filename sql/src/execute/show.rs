//! SHOW DATABASES, SCHEMAS, TABLES, COLUMNS, CREATE TABLE, USERS, ROLES, GRANTS.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;

use crate::ast::{Listing, Name, Statement};
use crate::catalog::names::ROOT_USER;
use crate::catalog::{CatalogSnapshot, TableDescriptor, show_create_table};
use crate::describe::own;
use crate::error::{Result, SqlError, code};
use crate::execute::{rows, show_tag};
use crate::session::{Answer, Scope};
use crate::views::{Rows, flag, int, maybe_text, text};

/// Lists what the catalog knows.
pub(crate) fn listing(scope: &Scope, listing: &Listing) -> Result<Answer> {
    let columns = own(&Statement::ShowCatalog(listing.clone()))
        .ok_or_else(|| SqlError::internal("a listing has columns"))?;
    let mut shown = Rows::new(&columns);
    let snapshot = scope.facts.snapshot();
    match listing {
        Listing::Databases => {
            for database in snapshot.databases() {
                shown.push([text(&database.name), text(ROOT_USER)]);
            }
        }
        Listing::Schemas { database } => {
            let database = known_database(scope, &snapshot, database.as_deref())?;
            for schema in snapshot.schemas(&database) {
                shown.push([text(&schema.name), text(ROOT_USER)]);
            }
        }
        Listing::Tables { of } => tables(scope, &snapshot, of.as_ref(), &mut shown)?,
        Listing::Columns { table } => {
            let table = named(scope, &snapshot, table)?;
            for column in &table.columns {
                let key = table.key_columns().any(|(part, _)| part.id == column.id);
                shown.push([
                    text(&column.name),
                    text(column.ty.sql_name()),
                    flag(column.nullable),
                    maybe_text(column.default.clone()),
                    flag(key),
                ]);
            }
        }
        Listing::CreateTable { table } => {
            let table = named(scope, &snapshot, table)?;
            let statement = show_create_table(&snapshot, &table);
            shown.push([text(&table.name), text(statement)]);
        }
        Listing::Users | Listing::Roles => {
            for user in snapshot.users() {
                let options = if user.can_login { "" } else { "NOLOGIN" };
                let roles = snapshot.roles_of(&user.name);
                shown.push([text(&user.name), text(options), text(roles.join(", "))]);
            }
        }
        Listing::Grants { roles, members } => {
            for user in snapshot.users() {
                let listed = members.is_empty() || members.contains(&user.name);
                for role in snapshot.roles_of(&user.name) {
                    if listed && (roles.is_empty() || roles.contains(&role)) {
                        shown.push([text(role), text(&user.name), flag(false)]);
                    }
                }
            }
        }
    }
    let batch: RecordBatch = shown.finish()?;
    Ok(rows(batch, show_tag))
}

fn known_database(
    scope: &Scope,
    snapshot: &CatalogSnapshot,
    database: Option<&str>,
) -> Result<String> {
    let name = database.unwrap_or(&scope.facts.database);
    snapshot.expect_database(name).map(|database| database.name.clone())
}

/// SHOW TABLES [FROM schema | database | database.schema].
fn tables(
    scope: &Scope,
    snapshot: &CatalogSnapshot,
    of: Option<&Name>,
    shown: &mut Rows,
) -> Result<()> {
    let here = scope.facts.database.as_str();
    let (database, only) = match of.map(|name| name.parts.as_slice()) {
        None => (here, None),
        Some([name]) if snapshot.schema(here, name).is_some() => (here, Some(name.as_str())),
        Some([name]) if snapshot.database(name).is_some() => (name.as_str(), None),
        Some([database, schema]) if snapshot.schema(database, schema).is_some() => {
            (database.as_str(), Some(schema.as_str()))
        }
        Some(parts) => {
            let message = format!("schema \"{}\" does not exist", parts.join("."));
            return Err(SqlError::new(code::INVALID_SCHEMA_NAME, message)
                .with_hint("SHOW SCHEMAS lists the schemas there are.")
                .with_position(of.map(|name| name.at).unwrap_or_default()));
        }
    };
    for schema in snapshot.schemas(database) {
        if only.is_some_and(|only| only != schema.name) {
            continue;
        }
        for table in snapshot.tables(database, &schema.name) {
            let rows: u64 = table.primary.spans.iter().map(|span| span.rows).sum();
            shown.push([
                text(&schema.name),
                text(&table.name),
                text("table"),
                text(ROOT_USER),
                int(rows),
            ]);
        }
    }
    Ok(())
}

fn named(scope: &Scope, snapshot: &CatalogSnapshot, name: &Name) -> Result<Arc<TableDescriptor>> {
    snapshot
        .expect_table(&name.parts, &scope.facts.database, &scope.facts.search_path())
        .map_err(|error| error.with_position(name.at))
}
