//! [`CatalogSnapshot`]: the catalog at one moment, as everybody reads it.
//!
//! A snapshot never changes. It holds every descriptor behind an `Arc`, so that making the next one
//! copies lists of pointers only. A record that is damaged is left out, kept in
//! [`CatalogSnapshot::damage`], and what needs it answers XX001: a damaged table does not look as if
//! it did not exist, and nobody can take its name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cairn_engine::{Corruption, Engine, Family, SpanFamily, SpanId};

use super::names::{PUBLIC_SCHEMA, is_virtual_schema};
use super::users::Users;
use crate::descriptor::record::{PREFIXES, Record};
use crate::descriptor::{
    DatabaseDescriptor, DescriptorState, SchemaDescriptor, TableDescriptor, User,
};
use crate::error::{Result, SqlError, code};

/// The parent of databases.
pub(super) const ROOT_PARENT: u64 = 0;

/// The catalog at one moment.
#[derive(Clone, Debug, Default)]
pub struct CatalogSnapshot {
    pub(super) generation: u64,
    pub(super) databases: BTreeMap<u64, Arc<DatabaseDescriptor>>,
    pub(super) schemas: BTreeMap<u64, Arc<SchemaDescriptor>>,
    pub(super) tables: BTreeMap<u64, Arc<TableDescriptor>>,
    /// By parent.
    pub(super) names: BTreeMap<u64, BTreeMap<String, u64>>,
    pub(super) users: Users,
    damage: Vec<Corruption>,
}

impl CatalogSnapshot {
    /// Reads the whole catalog.
    pub(super) fn load(engine: &Engine, generation: u64) -> Result<Self> {
        let mut snapshot = Self { generation, ..Self::default() };
        for prefix in PREFIXES {
            for (key, record) in engine.records(Family::Catalog, &[prefix])? {
                match record.and_then(|(kind, body)| Record::decode(&key, kind, &body)) {
                    Ok(record) => snapshot.insert(record),
                    Err(damage) => {
                        tracing::error!(%damage, "a record of the catalog is left out");
                        snapshot.damage.push(damage);
                    }
                }
            }
        }
        Ok(snapshot)
    }

    fn insert(&mut self, record: Record) {
        match record {
            Record::Database(database) => {
                self.databases.insert(database.id, Arc::new(database));
            }
            Record::Schema(schema) => {
                self.schemas.insert(schema.id, Arc::new(schema));
            }
            Record::Table(table) => {
                self.tables.insert(table.id, Arc::new(table));
            }
            Record::Name { parent, name, id } => {
                self.names.entry(parent).or_default().insert(name, id);
            }
            Record::User(user) => {
                self.users.users.insert(user.name.clone(), user);
            }
            Record::Membership { member, role } => {
                self.users.memberships.insert((member, role));
            }
        }
    }

    pub(super) fn is_new(&self) -> bool {
        self.databases.is_empty() && self.users.users.is_empty() && self.damage.is_empty()
    }

    /// Grows with every change; starts anew when the store is opened.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Records that could not be read, for the doctor.
    #[must_use]
    pub fn damage(&self) -> &[Corruption] {
        &self.damage
    }

    /// What is reserved under `name`.
    pub(super) fn id_of(&self, parent: u64, name: &str) -> Option<u64> {
        self.names.get(&parent)?.get(name).copied()
    }

    /// Ids of everything in `parent`, by name.
    pub(super) fn ids_in(&self, parent: u64) -> impl Iterator<Item = u64> {
        self.names.get(&parent).into_iter().flat_map(|names| names.values().copied())
    }

    // ---- databases and schemas ------------------------------------------------------------------

    /// All databases, by name.
    #[must_use]
    pub fn databases(&self) -> Vec<Arc<DatabaseDescriptor>> {
        self.ids_in(ROOT_PARENT).filter_map(|id| self.databases.get(&id).cloned()).collect()
    }

    /// A database by its name.
    #[must_use]
    pub fn database(&self, name: &str) -> Option<&Arc<DatabaseDescriptor>> {
        self.databases.get(&self.id_of(ROOT_PARENT, name)?)
    }

    /// A database by its id.
    #[must_use]
    pub fn database_by_id(&self, id: u64) -> Option<&Arc<DatabaseDescriptor>> {
        self.databases.get(&id)
    }

    /// A database by its name.
    ///
    /// # Errors
    /// 3D000 if there is none; XX001 if its record is damaged.
    pub fn expect_database(&self, name: &str) -> Result<&Arc<DatabaseDescriptor>> {
        match self.id_of(ROOT_PARENT, name) {
            Some(id) => self.databases.get(&id).ok_or_else(|| damaged("database", name)),
            None => {
                let message = format!("database \"{name}\" does not exist");
                Err(SqlError::new(code::INVALID_CATALOG_NAME, message)
                    .with_hint("SHOW DATABASES lists the databases there are."))
            }
        }
    }

    /// All schemas of a database, by name; the virtual ones are not among them.
    #[must_use]
    pub fn schemas(&self, database: &str) -> Vec<Arc<SchemaDescriptor>> {
        let Some(database) = self.id_of(ROOT_PARENT, database) else { return Vec::new() };
        self.ids_in(database).filter_map(|id| self.schemas.get(&id).cloned()).collect()
    }

    /// A schema by its name.
    #[must_use]
    pub fn schema(&self, database: &str, name: &str) -> Option<&Arc<SchemaDescriptor>> {
        self.schemas.get(&self.id_of(self.id_of(ROOT_PARENT, database)?, name)?)
    }

    /// A schema by its id.
    #[must_use]
    pub fn schema_by_id(&self, id: u64) -> Option<&Arc<SchemaDescriptor>> {
        self.schemas.get(&id)
    }

    /// A schema by its name.
    ///
    /// # Errors
    /// 3D000, 3F000 if there is none; XX001 if its record is damaged.
    pub fn expect_schema(&self, database: &str, name: &str) -> Result<&Arc<SchemaDescriptor>> {
        let database = self.expect_database(database)?;
        match self.id_of(database.id, name) {
            Some(id) => self.schemas.get(&id).ok_or_else(|| damaged("schema", name)),
            None => Err(SqlError::new(
                code::INVALID_SCHEMA_NAME,
                format!("schema \"{name}\" does not exist"),
            )
            .with_hint(format!("CREATE SCHEMA {} makes it.", super::names::quoted(name)))),
        }
    }

    // ---- tables ---------------------------------------------------------------------------------

    /// Every table that can be used, by id.
    pub fn all_tables(&self) -> impl Iterator<Item = &Arc<TableDescriptor>> {
        self.tables.values().filter(|table| table.state == DescriptorState::Public)
    }

    /// The tables of a schema, by name.
    #[must_use]
    pub fn tables(&self, database: &str, schema: &str) -> Vec<Arc<TableDescriptor>> {
        let Some(schema) = self.schema(database, schema) else { return Vec::new() };
        self.ids_in(schema.id)
            .filter_map(|id| self.tables.get(&id).cloned())
            .filter(|table| table.state == DescriptorState::Public)
            .collect()
    }

    /// A table by its id, in whatever state it is.
    #[must_use]
    pub fn table(&self, id: u64) -> Option<&Arc<TableDescriptor>> {
        self.tables.get(&id)
    }

    /// A table that can be used, by its name.
    #[must_use]
    pub fn table_named(
        &self,
        database: &str,
        schema: &str,
        name: &str,
    ) -> Option<Arc<TableDescriptor>> {
        let schema = self.schema(database, schema)?;
        let table = self.tables.get(&self.id_of(schema.id, name)?)?;
        (table.state == DescriptorState::Public).then(|| Arc::clone(table))
    }

    /// The table that a name means, in any state; `None` if there is none. A name of one part is
    /// looked for in the schemas of `search_path`; `a.b` is table b of schema a, or of schema public
    /// of database a; `a.b.c` says everything.
    ///
    /// # Errors
    /// 3D000 for an unknown database, 42601 for more parts; XX001 if its record is damaged.
    pub fn find_table(
        &self,
        parts: &[String],
        database: &str,
        search_path: &[String],
    ) -> Result<Option<Arc<TableDescriptor>>> {
        let within = |database: &str, schema: &str, name: &str| {
            let Some(schema) = self.schema(database, schema) else { return Ok(None) };
            match self.id_of(schema.id, name) {
                None => Ok(None),
                Some(id) => match self.tables.get(&id) {
                    Some(table) => Ok(Some(Arc::clone(table))),
                    None => Err(damaged("table", name)),
                },
            }
        };
        match parts {
            [name] => {
                for schema in search_path {
                    if let Some(table) = within(database, schema, name)? {
                        return Ok(Some(table));
                    }
                }
                Ok(None)
            }
            [schema, name] => {
                if self.schema(database, schema).is_some() {
                    return within(database, schema, name);
                }
                within(schema, PUBLIC_SCHEMA, name)
            }
            [other, schema, name] => {
                self.expect_database(other)?;
                within(other, schema, name)
            }
            _ => Err(SqlError::syntax(format!("\"{}\" is not a table name", parts.join(".")))),
        }
    }

    /// The table that a name means and that can be used, as [`CatalogSnapshot::find_table`] finds it.
    ///
    /// # Errors
    /// 42P01 if there is none; 55000 if a job works on it; and as `find_table`.
    pub fn expect_table(
        &self,
        parts: &[String],
        database: &str,
        search_path: &[String],
    ) -> Result<Arc<TableDescriptor>> {
        let shown = parts.join(".");
        match self.find_table(parts, database, search_path)? {
            None => Err(SqlError::no_such_table(shown)),
            Some(table) if table.state == DescriptorState::Public => Ok(table),
            Some(table) => Err(SqlError::wrong_state(format!(
                "relation \"{shown}\" is {}",
                table.state.as_str()
            ))
            .with_hint("A job works on it: see SHOW JOBS.")),
        }
    }

    /// Where a new table of this name goes: its schema, and its own name.
    ///
    /// # Errors
    /// 3D000, 3F000 if there is no such place; 42501 for a virtual schema; 42601 for more parts.
    pub fn place_for(
        &self,
        parts: &[String],
        database: &str,
        search_path: &[String],
    ) -> Result<(Arc<SchemaDescriptor>, String)> {
        let (database, schema, name) = match parts {
            [name] => {
                let schema =
                    search_path.iter().find(|schema| self.schema(database, schema).is_some());
                let schema = schema.ok_or_else(|| {
                    SqlError::new(
                        code::INVALID_SCHEMA_NAME,
                        "no schema has been selected to create in",
                    )
                    .with_hint("Write the schema before the name, or SET search_path = public.")
                })?;
                (database, schema.as_str(), name)
            }
            [schema, name] => {
                let other = self.schema(database, schema).is_none()
                    && !is_virtual_schema(schema)
                    && self.database(schema).is_some();
                if other {
                    (schema.as_str(), PUBLIC_SCHEMA, name)
                } else {
                    (database, schema.as_str(), name)
                }
            }
            [database, schema, name] => (database.as_str(), schema.as_str(), name),
            _ => {
                let message = format!("\"{}\" is not a table name", parts.join("."));
                return Err(SqlError::syntax(message));
            }
        };
        if is_virtual_schema(schema) {
            let message = format!("schema \"{schema}\" cannot be modified");
            return Err(SqlError::forbidden(message)
                .with_detail("Its tables are computed when they are read."));
        }
        Ok((Arc::clone(self.expect_schema(database, schema)?), name.clone()))
    }

    /// `database.schema.table` of a table, each part quoted where it must be.
    #[must_use]
    pub fn full_name(&self, table: &TableDescriptor) -> String {
        let schema = self.schemas.get(&table.schema_id);
        let database = schema.and_then(|schema| self.databases.get(&schema.database_id));
        [database.map(|d| &d.name), schema.map(|s| &s.name), Some(&table.name)]
            .into_iter()
            .flatten()
            .map(|part| super::names::quoted(part))
            .collect::<Vec<_>>()
            .join(".")
    }

    /// Every span that a table holds: what the doctor compares the store with. It says nothing of the
    /// spans of tables whose record is damaged: see [`CatalogSnapshot::damage`].
    #[must_use]
    pub fn published_spans(&self) -> BTreeMap<SpanId, SpanFamily> {
        self.tables
            .values()
            .flat_map(|table| table.all_spans())
            .map(|span| (span.id, span.family))
            .collect()
    }

    // ---- users ----------------------------------------------------------------------------------

    /// All users and roles, by name.
    #[must_use]
    pub fn users(&self) -> Vec<&User> {
        self.users.users.values().collect()
    }

    /// A user or role.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.users.get(name)
    }

    /// The roles that were granted to `user` itself, by name.
    #[must_use]
    pub fn roles_of(&self, user: &str) -> Vec<String> {
        self.users.direct_roles_of(user).map(str::to_owned).collect()
    }

    /// Every role that `user` is a member of, also through another role.
    #[must_use]
    pub fn all_roles_of(&self, user: &str) -> BTreeSet<String> {
        self.users.roles_of(user)
    }

    /// Whether `user` has the admin role, also through another role.
    #[must_use]
    pub fn is_admin(&self, user: &str) -> bool {
        self.users.is_admin(user)
    }
}

fn damaged(what: &str, name: &str) -> SqlError {
    SqlError::new(code::DATA_CORRUPTED, format!("the descriptor of {what} \"{name}\" is damaged"))
        .with_hint("Keep a copy of the store, then run: cairn doctor")
}
