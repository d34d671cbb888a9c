//! CREATE, DROP and TRUNCATE: from the tree of `sqlparser` to operations on the catalog.
//!
//! A statement goes in three steps, because locks come in an order (see [`super`]):
//!
//! 1. [`Ddl::translate`] looks names up in a snapshot and says, by [`Ddl::tables`], which tables will
//!    lose their spans.
//! 2. The executor ends the jobs that work on these and takes their latches alone.
//! 3. [`Ddl::apply`] runs inside [`super::Catalog::change`]. What step 1 found is held against the
//!    catalog as it is now: if something would be dropped whose latch nobody took, nothing is
//!    changed and the answer is 40001, upon which the executor starts over.
//!
//! Parts of these statements that are not built answer 0A000 with a hint; none is passed over.

mod table;
mod types;

pub use table::show_create_table;
pub use types::column_type;

use sqlparser::ast::{CascadeOption, ObjectName, ObjectType, SchemaName, Statement, Truncate};

use super::change::{CatalogChange, NewTable};
use super::names::{self, PUBLIC_SCHEMA, is_virtual_schema};
use super::snapshot::CatalogSnapshot;
use crate::error::{Result, SqlError, code};

/// Where a statement stands: what names without a database or schema mean.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The current database.
    pub database: &'a str,
    /// Schemas in which names without one are looked for.
    pub search_path: &'a [String],
}

/// A CREATE, DROP or TRUNCATE statement, ready to be applied.
#[derive(Clone, Debug)]
pub struct Ddl {
    action: Action,
    tables: Vec<u64>,
    notices: Vec<String>,
    tag: &'static str,
}

#[derive(Clone, Debug)]
enum Action {
    CreateDatabase {
        name: String,
        if_not_exists: bool,
    },
    CreateSchema {
        database: String,
        name: String,
        if_not_exists: bool,
    },
    CreateTable {
        database: String,
        search_path: Vec<String>,
        parts: Vec<String>,
        table: NewTable,
        if_not_exists: bool,
    },
    DropTables,
    DropSchemas {
        ids: Vec<u64>,
    },
    DropDatabases {
        ids: Vec<u64>,
    },
    Truncate,
}

impl Ddl {
    /// Translates a statement; `None` if it is not one of these.
    ///
    /// # Errors
    /// 42P01, 3D000, 3F000 for a name that means nothing; 2BP01 for a DROP without CASCADE of
    /// something that others are in; 42704 for an unknown type; 42701, 42703, 42P16 for columns that
    /// are not possible; 42501 for a virtual schema; 0A000 for what is not built.
    pub fn translate(
        statement: &Statement,
        around: &Surroundings<'_>,
        catalog: &CatalogSnapshot,
    ) -> Result<Option<Self>> {
        let plain = |tag, action| Self { action, tables: Vec::new(), notices: Vec::new(), tag };
        Ok(Some(match statement {
            Statement::CreateDatabase { db_name, if_not_exists, .. } => {
                no_more_than(
                    statement,
                    &format!("CREATE DATABASE {}{db_name}", when(*if_not_exists)),
                )?;
                let name = names::database_name(db_name)?;
                let action = Action::CreateDatabase { name, if_not_exists: *if_not_exists };
                plain("CREATE DATABASE", action)
            }
            Statement::CreateSchema { schema_name, if_not_exists, .. } => {
                no_more_than(
                    statement,
                    &format!("CREATE SCHEMA {}{schema_name}", when(*if_not_exists)),
                )?;
                let SchemaName::Simple(name) = schema_name else {
                    return Err(SqlError::not_built(
                        "CREATE SCHEMA ... AUTHORIZATION",
                        "Leave it out: schemas have no owners yet.",
                    ));
                };
                let (database, name) = schema_parts(name, around)?;
                let action = Action::CreateSchema { database, name, if_not_exists: *if_not_exists };
                plain("CREATE SCHEMA", action)
            }
            Statement::CreateTable(create) => {
                let parts = names::parts(&create.name)?;
                let name = parts.last().cloned().unwrap_or_default();
                let action = Action::CreateTable {
                    database: around.database.to_owned(),
                    search_path: around.search_path.to_vec(),
                    table: table::new_table(create, name)?,
                    parts,
                    if_not_exists: create.if_not_exists,
                };
                plain("CREATE TABLE", action)
            }
            Statement::Drop { object_type, if_exists, names, cascade, restrict, .. } => {
                let drop = Drop { if_exists: *if_exists, cascade: *cascade, restrict: *restrict };
                match object_type {
                    ObjectType::Table => drop.tables(names, around, catalog)?,
                    ObjectType::Schema => drop.schemas(names, around, catalog)?,
                    ObjectType::Database => drop.databases(names, around, catalog)?,
                    other => {
                        return Err(SqlError::not_built(
                            format_args!("DROP {other}"),
                            "DROP TABLE, DROP SCHEMA, DROP DATABASE and DROP USER are.",
                        ));
                    }
                }
            }
            Statement::Truncate(statement) => truncate(statement, around, catalog)?,
            Statement::CreateView(_) => {
                return Err(SqlError::not_built(
                    "CREATE VIEW",
                    "Write the query where it is used.",
                ));
            }
            Statement::CreateIndex(_) => {
                return Err(SqlError::not_built(
                    "CREATE INDEX",
                    "The primary key is the only index: choose it to fit the queries.",
                ));
            }
            Statement::AlterTable(_) => {
                return Err(SqlError::not_built(
                    "ALTER TABLE",
                    "Make a new table and copy the rows: INSERT INTO new SELECT ... FROM old.",
                ));
            }
            _ => return Ok(None),
        }))
    }

    /// The tables whose latches must be held alone, and whose jobs must have ended, when the
    /// statement is applied; ascending, so that latches are always taken in the same order.
    #[must_use]
    pub fn tables(&self) -> &[u64] {
        &self.tables
    }

    /// The command tag.
    #[must_use]
    pub const fn tag(&self) -> &'static str {
        self.tag
    }

    /// Applies the statement. Answers notices for the client.
    ///
    /// # Errors
    /// 42P07, 42P06, 42P04 if the name is taken; 40001 if the catalog has changed since
    /// [`Ddl::translate`] in a way that matters: translate again.
    pub fn apply(&self, change: &mut CatalogChange<'_>, now_ms: u64) -> Result<Vec<String>> {
        let mut notices = self.notices.clone();
        let skipped = |result: Result<()>, if_not_exists: bool, taken: &str| match result {
            Err(error) if if_not_exists && error.code == taken => {
                Ok(Some(format!("{}, skipping", error.message)))
            }
            result => result.map(|()| None),
        };
        match &self.action {
            Action::CreateDatabase { name, if_not_exists } => {
                let made = change.create_database(name).map(|_| ());
                notices.extend(skipped(made, *if_not_exists, code::DUPLICATE_DATABASE)?);
            }
            Action::CreateSchema { database, name, if_not_exists } => {
                let database = change.snapshot().expect_database(database)?.id;
                let made = change.create_schema(database, name).map(|_| ());
                notices.extend(skipped(made, *if_not_exists, code::DUPLICATE_SCHEMA)?);
            }
            Action::CreateTable { database, search_path, parts, table, if_not_exists } => {
                let (schema, _) = change.snapshot().place_for(parts, database, search_path)?;
                let made = change.create_table(schema.id, table).map(|_| ());
                notices.extend(skipped(made, *if_not_exists, code::DUPLICATE_TABLE)?);
            }
            Action::DropTables => {
                for &id in &self.tables {
                    self.check_there(change, id)?;
                    change.drop_table(id, now_ms)?;
                }
            }
            Action::DropSchemas { ids } => {
                for &id in ids {
                    if change.snapshot().schema_by_id(id).is_none() {
                        return Err(moved_on());
                    }
                    self.check_latched(change, id)?;
                    change.drop_schema(id, now_ms)?;
                }
            }
            Action::DropDatabases { ids } => {
                for &id in ids {
                    if change.snapshot().database_by_id(id).is_none() {
                        return Err(moved_on());
                    }
                    for schema in change.snapshot().ids_in(id).collect::<Vec<_>>() {
                        self.check_latched(change, schema)?;
                    }
                    change.drop_database(id, now_ms)?;
                }
            }
            Action::Truncate => {
                for &id in &self.tables {
                    self.check_there(change, id)?;
                    change.truncate_table(id, now_ms)?;
                }
            }
        }
        Ok(notices)
    }

    fn check_there(&self, change: &CatalogChange<'_>, table: u64) -> Result<()> {
        if change.snapshot().table(table).is_some() { Ok(()) } else { Err(moved_on()) }
    }

    /// Every table of a schema must be among those whose latches are held.
    fn check_latched(&self, change: &CatalogChange<'_>, schema: u64) -> Result<()> {
        let all = change.snapshot().ids_in(schema).all(|id| self.tables.contains(&id));
        if all { Ok(()) } else { Err(moved_on()) }
    }
}

/// The catalog is not the one that names were looked up in.
fn moved_on() -> SqlError {
    SqlError::new(code::SERIALIZATION_FAILURE, "the catalog changed while the statement ran")
        .with_hint("Nothing was changed. Run the statement again.")
}

struct Drop {
    if_exists: bool,
    cascade: bool,
    restrict: bool,
}

impl Drop {
    fn tables(
        &self,
        names: &[ObjectName],
        around: &Surroundings<'_>,
        catalog: &CatalogSnapshot,
    ) -> Result<Ddl> {
        let mut tables = Vec::new();
        let mut notices = Vec::new();
        for name in names {
            match find_table(name, around, catalog) {
                Ok(id) => tables.push(id),
                Err(error) if self.if_exists && is_absent(&error) => {
                    notices.push(format!("table \"{}\" does not exist, skipping", shown(name)?));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(ddl(Action::DropTables, tables, notices, "DROP TABLE"))
    }

    fn schemas(
        &self,
        names: &[ObjectName],
        around: &Surroundings<'_>,
        catalog: &CatalogSnapshot,
    ) -> Result<Ddl> {
        let (mut ids, mut tables, mut notices) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            let (database, schema) = schema_parts(name, around)?;
            if is_virtual_schema(&schema) {
                let message = format!("schema \"{schema}\" cannot be dropped");
                return Err(SqlError::forbidden(message));
            }
            if schema == PUBLIC_SCHEMA {
                let message = "cannot drop schema \"public\"";
                return Err(SqlError::new(code::INVALID_SCHEMA_NAME, message)
                    .with_hint("Every database has it. Drop its tables instead."));
            }
            match catalog.expect_schema(&database, &schema) {
                Ok(schema) => {
                    let inside: Vec<u64> = catalog.ids_in(schema.id).collect();
                    if !self.cascade && !inside.is_empty() {
                        return Err(not_empty("schema", &schema.name, inside.len()));
                    }
                    tables.extend(inside);
                    ids.push(schema.id);
                }
                Err(error) if self.if_exists && is_absent(&error) => {
                    notices.push(format!("schema \"{schema}\" does not exist, skipping"));
                }
                Err(error) => return Err(error),
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ddl(Action::DropSchemas { ids }, tables, notices, "DROP SCHEMA"))
    }

    /// CASCADE is the default, as in CockroachDB; PostgreSQL does not even know the word here.
    fn databases(
        &self,
        names: &[ObjectName],
        around: &Surroundings<'_>,
        catalog: &CatalogSnapshot,
    ) -> Result<Ddl> {
        let (mut ids, mut tables, mut notices) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            let name = names::database_name(name)?;
            if name == around.database {
                let message = "cannot drop the currently open database";
                return Err(SqlError::new(code::OBJECT_IN_USE, message)
                    .with_hint("Connect to another database first."));
            }
            match catalog.expect_database(&name) {
                Ok(database) => {
                    let inside: Vec<u64> = catalog
                        .ids_in(database.id)
                        .flat_map(|schema| catalog.ids_in(schema))
                        .collect();
                    if self.restrict && !inside.is_empty() {
                        return Err(not_empty("database", &name, inside.len()));
                    }
                    tables.extend(inside);
                    ids.push(database.id);
                }
                Err(error) if self.if_exists && is_absent(&error) => {
                    notices.push(format!("database \"{name}\" does not exist, skipping"));
                }
                Err(error) => return Err(error),
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ddl(Action::DropDatabases { ids }, tables, notices, "DROP DATABASE"))
    }
}

fn truncate(
    statement: &Truncate,
    around: &Surroundings<'_>,
    catalog: &CatalogSnapshot,
) -> Result<Ddl> {
    if statement.partitions.is_some() || statement.on_cluster.is_some() {
        return Err(SqlError::syntax("TRUNCATE takes names of tables"));
    }
    // Nothing refers to a table and nothing counts in it yet, so these words ask for nothing.
    let (Some(CascadeOption::Cascade | CascadeOption::Restrict) | None) = statement.cascade;
    let mut tables = Vec::new();
    let mut notices = Vec::new();
    for target in &statement.table_names {
        match find_table(&target.name, around, catalog) {
            Ok(id) => tables.push(id),
            Err(error) if statement.if_exists && is_absent(&error) => {
                let name = shown(&target.name)?;
                notices.push(format!("table \"{name}\" does not exist, skipping"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(ddl(Action::Truncate, tables, notices, "TRUNCATE TABLE"))
}

fn ddl(action: Action, mut tables: Vec<u64>, notices: Vec<String>, tag: &'static str) -> Ddl {
    tables.sort_unstable();
    tables.dedup();
    Ddl { action, tables, notices, tag }
}

fn find_table(
    name: &ObjectName,
    around: &Surroundings<'_>,
    catalog: &CatalogSnapshot,
) -> Result<u64> {
    let parts = names::parts(name)?;
    if let [.., schema, _] = parts.as_slice()
        && is_virtual_schema(schema)
    {
        let message = format!("\"{}\" is a listing and cannot be changed", parts.join("."));
        return Err(SqlError::new(code::WRONG_OBJECT_TYPE, message));
    }
    match catalog.find_table(&parts, around.database, around.search_path)? {
        Some(table) => Ok(table.id),
        None => Err(SqlError::no_such_table(parts.join("."))),
    }
}

fn schema_parts(name: &ObjectName, around: &Surroundings<'_>) -> Result<(String, String)> {
    match names::parts(name)?.as_slice() {
        [schema] => Ok((around.database.to_owned(), schema.clone())),
        [database, schema] => Ok((database.clone(), schema.clone())),
        _ => Err(SqlError::syntax(format!("{name} is not the name of a schema"))),
    }
}

fn shown(name: &ObjectName) -> Result<String> {
    Ok(names::parts(name)?.join("."))
}

/// Whether IF EXISTS forgives this.
fn is_absent(error: &SqlError) -> bool {
    [code::UNDEFINED_TABLE, code::INVALID_SCHEMA_NAME, code::INVALID_CATALOG_NAME]
        .contains(&error.code)
}

fn not_empty(what: &str, name: &str, tables: usize) -> SqlError {
    let message = format!("cannot drop {what} {name} because other objects depend on it");
    SqlError::new(code::DEPENDENT_OBJECTS_STILL_EXIST, message)
        .with_detail(format!("It holds {tables} tables."))
        .with_hint("Use DROP ... CASCADE to drop them too.")
}

fn when(if_not_exists: bool) -> &'static str {
    if if_not_exists { "IF NOT EXISTS " } else { "" }
}

/// The tree has many fields for words of other databases. A statement that prints as more than what
/// was understood has used one of them.
fn no_more_than(statement: &Statement, understood: &str) -> Result<()> {
    let whole = statement.to_string();
    match whole.strip_prefix(understood).map(str::trim) {
        Some("") => Ok(()),
        more => Err(SqlError::not_built(
            format_args!("\"{}\" in this statement", more.unwrap_or(&whole)),
            "Leave it out.",
        )),
    }
}
