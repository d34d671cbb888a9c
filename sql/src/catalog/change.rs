//! [`CatalogChange`]: one change of the catalog on its way into a batch.
//!
//! Each operation changes the snapshot that is going to be the next one and adds the records to the
//! batch. Nothing is visible or durable before [`super::Catalog::change`] has committed the batch.
//! Checks that belong to the meaning of an operation are made here, on the snapshot that the batch
//! starts from, so they still hold when it is committed. Where a span loses its place in the
//! catalog, the same batch condemns it.

use std::sync::Arc;

use bytes::Bytes;
use cairn_engine::key::Direction;
use cairn_engine::{Batch, Engine, Family, OwnerId, SpanId, SpanRef};

use super::names::{
    ADMIN_ROLE, PUBLIC_SCHEMA, ROOT_USER, check_name, check_schema_name, check_user_name,
};
use super::snapshot::{CatalogSnapshot, ROOT_PARENT};
use crate::descriptor::record::{self, Stored};
use crate::descriptor::{
    BulkSpan, Column, DatabaseDescriptor, DescriptorState, Index, KeyPart, SPANS_MAX,
    SchemaDescriptor, TableDescriptor, User,
};
use crate::error::{Result, SqlError, code};
use crate::value::ColumnType;

/// Columns that a table has at most, as in PostgreSQL.
pub const COLUMNS_MAX: usize = 1600;

/// Whose tombstones these are: nobody's job.
const NOBODY: OwnerId = OwnerId::from_raw(0);

/// A table that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTable {
    /// Its name.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<NewColumn>,
    /// Names of the columns of the primary key; empty for hidden row ids.
    pub key: Vec<(String, Direction)>,
}

/// A column that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewColumn {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub ty: ColumnType,
    /// Whether NULL is a value of it; a column of the primary key never is.
    pub nullable: bool,
    /// The constant that stands in for a value that is not given, as SQL text.
    pub default: Option<String>,
}

/// One change of the catalog.
#[derive(Debug)]
pub struct CatalogChange<'a> {
    engine: &'a Engine,
    next: CatalogSnapshot,
    batch: Batch,
    condemned: Vec<SpanId>,
}

impl<'a> CatalogChange<'a> {
    pub(super) fn new(engine: &'a Engine, current: &CatalogSnapshot) -> Self {
        let mut next = current.clone();
        next.generation += 1;
        Self { engine, next, batch: Batch::new(), condemned: Vec::new() }
    }

    pub(super) fn into_parts(self) -> (CatalogSnapshot, Batch, Vec<SpanId>) {
        (self.next, self.batch, self.condemned)
    }

    /// The catalog with what was changed so far.
    #[must_use]
    pub const fn snapshot(&self) -> &CatalogSnapshot {
        &self.next
    }

    /// The batch, for records that must be committed together with the change.
    pub const fn batch_mut(&mut self) -> &mut Batch {
        &mut self.batch
    }

    fn new_id(&self) -> Result<u64> {
        // One counter for spans and descriptors: none of its numbers is ever used twice.
        Ok(self.engine.new_span_id()?.raw())
    }

    // ---- databases and schemas ------------------------------------------------------------------

    /// Makes a database with its schema `public`. Answers its id.
    ///
    /// # Errors
    /// 42P04 if there is one of this name, and those of names.
    pub fn create_database(&mut self, name: &str) -> Result<u64> {
        check_name(name)?;
        if self.next.id_of(ROOT_PARENT, name).is_some() {
            let message = format!("database \"{name}\" already exists");
            return Err(SqlError::new(code::DUPLICATE_DATABASE, message));
        }
        let id = self.new_id()?;
        let database = DatabaseDescriptor {
            id,
            version: 1,
            state: DescriptorState::Public,
            name: name.to_owned(),
            extension: Bytes::new(),
        };
        self.put(&Stored::database(&database));
        self.next.databases.insert(id, Arc::new(database));
        self.reserve(ROOT_PARENT, name, id);
        self.insert_schema(id, PUBLIC_SCHEMA)?;
        Ok(id)
    }

    /// Makes a schema. Answers its id.
    ///
    /// # Errors
    /// 42P06 if there is one of this name, and those of names.
    pub fn create_schema(&mut self, database_id: u64, name: &str) -> Result<u64> {
        check_schema_name(name)?;
        if self.next.id_of(database_id, name).is_some() {
            let message = format!("schema \"{name}\" already exists");
            return Err(SqlError::new(code::DUPLICATE_SCHEMA, message));
        }
        self.insert_schema(database_id, name)
    }

    fn insert_schema(&mut self, database_id: u64, name: &str) -> Result<u64> {
        if !self.next.databases.contains_key(&database_id) {
            return Err(gone("database", code::INVALID_CATALOG_NAME));
        }
        let id = self.new_id()?;
        let schema = SchemaDescriptor {
            id,
            version: 1,
            state: DescriptorState::Public,
            database_id,
            name: name.to_owned(),
            extension: Bytes::new(),
        };
        self.put(&Stored::schema(&schema));
        self.next.schemas.insert(id, Arc::new(schema));
        self.reserve(database_id, name, id);
        Ok(id)
    }

    /// Removes a database with everything in it. The spans of its tables are condemned.
    ///
    /// # Errors
    /// 3D000 if it is gone; XX001 if something in it is damaged.
    pub fn drop_database(&mut self, id: u64, now_ms: u64) -> Result<()> {
        let Some(database) = self.next.databases.get(&id).cloned() else {
            return Err(gone("database", code::INVALID_CATALOG_NAME));
        };
        for schema in self.next.ids_in(id).collect::<Vec<_>>() {
            self.drop_schema(schema, now_ms)?;
        }
        self.next.databases.remove(&id);
        self.release(ROOT_PARENT, &database.name, id);
        Ok(())
    }

    /// Removes a schema with everything in it. The spans of its tables are condemned.
    ///
    /// # Errors
    /// 3F000 if it is gone; XX001 if something in it is damaged.
    pub fn drop_schema(&mut self, id: u64, now_ms: u64) -> Result<()> {
        let Some(schema) = self.next.schemas.get(&id).cloned() else {
            return Err(gone("schema", code::INVALID_SCHEMA_NAME));
        };
        for table in self.next.ids_in(id).collect::<Vec<_>>() {
            self.drop_table(table, now_ms)?;
        }
        self.next.schemas.remove(&id);
        self.release(schema.database_id, &schema.name, id);
        Ok(())
    }

    // ---- tables ---------------------------------------------------------------------------------

    /// Makes a table with an empty home span. Answers its descriptor.
    ///
    /// # Errors
    /// 42P07 if there is one of this name; 42701, 42703, 42P16, 54011 for columns and keys that
    /// are not possible; 3F000 if the schema is gone; and those of names.
    pub fn create_table(&mut self, schema_id: u64, new: &NewTable) -> Result<Arc<TableDescriptor>> {
        check_name(&new.name)?;
        if !self.next.schemas.contains_key(&schema_id) {
            return Err(gone("schema", code::INVALID_SCHEMA_NAME));
        }
        if self.next.id_of(schema_id, &new.name).is_some() {
            let message = format!("relation \"{}\" already exists", new.name);
            return Err(SqlError::new(code::DUPLICATE_TABLE, message));
        }
        let (columns, key) = layout(new)?;
        let table = TableDescriptor {
            id: self.new_id()?,
            version: 1,
            state: DescriptorState::Public,
            schema_id,
            name: new.name.clone(),
            next_column_id: u32::try_from(columns.len()).unwrap_or(u32::MAX).saturating_add(1),
            columns,
            primary: Index {
                id: 1,
                key,
                home: self.engine.new_span_id()?,
                spans: Vec::new(),
                extension: Bytes::new(),
            },
            schema_version: 1,
            extension: Bytes::new(),
        };
        self.reserve(schema_id, &new.name, table.id);
        Ok(self.put_table(table))
    }

    /// Removes a table. Its spans are condemned.
    ///
    /// The caller holds the table's latch alone, so that no statement writes into a condemned span.
    ///
    /// # Errors
    /// 42P01 if it is gone; XX001 if its descriptor is damaged.
    pub fn drop_table(&mut self, id: u64, now_ms: u64) -> Result<()> {
        let Some(table) = self.next.tables.remove(&id) else {
            if self.next.names.values().any(|names| names.values().any(|named| *named == id)) {
                let message = format!("the descriptor of table {id} is damaged");
                return Err(SqlError::new(code::DATA_CORRUPTED, message)
                    .with_hint("Keep a copy of the store, then run: cairn doctor"));
            }
            return Err(gone("table", code::UNDEFINED_TABLE));
        };
        self.condemn(&table.all_spans(), &format!("DROP TABLE {}", table.name), now_ms);
        self.release(table.schema_id, &table.name, id);
        Ok(())
    }

    /// Empties a table: a new home span, and all its spans are condemned.
    ///
    /// The caller holds the table's latch alone, so that no statement writes into a condemned span.
    ///
    /// # Errors
    /// 42P01 if it is gone.
    pub fn truncate_table(&mut self, id: u64, now_ms: u64) -> Result<Arc<TableDescriptor>> {
        let home = self.engine.new_span_id()?;
        let reason = format!("TRUNCATE {}", self.table(id)?.name);
        self.replace_spans(id, home, Vec::new(), &reason, now_ms)
    }

    /// Gives a table other spans; those it loses are condemned, with `reason` for people. Keys must
    /// live in at most one of the new ones.
    ///
    /// The caller holds the table's latch alone.
    ///
    /// # Errors
    /// 42P01 if the table is gone; 54000 for more than [`SPANS_MAX`] spans.
    pub fn replace_spans(
        &mut self,
        id: u64,
        home: SpanId,
        spans: Vec<BulkSpan>,
        reason: &str,
        now_ms: u64,
    ) -> Result<Arc<TableDescriptor>> {
        check_span_count(spans.len())?;
        let mut table = TableDescriptor::clone(self.table(id)?);
        let before = table.all_spans();
        (table.primary.home, table.primary.spans) = (home, spans);
        let after = table.all_spans();
        let lost: Vec<SpanRef> = before.into_iter().filter(|span| !after.contains(span)).collect();
        self.condemn(&lost, reason, now_ms);
        Ok(self.update_table(table))
    }

    /// Publishes a span as part of a table.
    ///
    /// The caller holds the table's latch alone and has made sure that no key of the span is in
    /// another one.
    ///
    /// # Errors
    /// 42P01 if the table is gone; 54000 if it has [`SPANS_MAX`] spans already.
    pub fn add_span(&mut self, id: u64, span: BulkSpan) -> Result<Arc<TableDescriptor>> {
        let mut table = TableDescriptor::clone(self.table(id)?);
        debug_assert!(span.first_key <= span.last_key, "bounds of span {} in order", span.id);
        debug_assert!(
            table.primary.spans.iter().all(|known| known.id != span.id),
            "span {} is published once",
            span.id
        );
        table.primary.spans.push(span);
        check_span_count(table.primary.spans.len())?;
        Ok(self.update_table(table))
    }

    /// Changes whether a table can be used.
    ///
    /// # Errors
    /// 42P01 if it is gone.
    pub fn set_table_state(
        &mut self,
        id: u64,
        state: DescriptorState,
    ) -> Result<Arc<TableDescriptor>> {
        let mut table = TableDescriptor::clone(self.table(id)?);
        table.state = state;
        Ok(self.update_table(table))
    }

    fn table(&self, id: u64) -> Result<&Arc<TableDescriptor>> {
        self.next.tables.get(&id).ok_or_else(|| gone("table", code::UNDEFINED_TABLE))
    }

    fn update_table(&mut self, mut table: TableDescriptor) -> Arc<TableDescriptor> {
        table.version += 1;
        self.put_table(table)
    }

    fn put(&mut self, record: &Stored) {
        self.batch.put_record(Family::Catalog, &record.key, record.kind, &record.body);
    }

    fn put_table(&mut self, table: TableDescriptor) -> Arc<TableDescriptor> {
        self.put(&Stored::table(&table));
        let table = Arc::new(table);
        self.next.tables.insert(table.id, Arc::clone(&table));
        table
    }

    fn condemn(&mut self, spans: &[SpanRef], reason: &str, now_ms: u64) {
        self.engine.condemn_spans(&mut self.batch, spans, reason, NOBODY, now_ms);
        self.condemned.extend(spans.iter().map(|span| span.id));
    }

    fn reserve(&mut self, parent: u64, name: &str, id: u64) {
        self.put(&Stored::name(parent, name, id));
        self.next.names.entry(parent).or_default().insert(name.to_owned(), id);
    }

    /// Frees a name and removes what was reserved under it, with everything below.
    fn release(&mut self, parent: u64, name: &str, id: u64) {
        self.batch.delete(Family::Catalog, &record::name_key(parent, name));
        self.batch.delete(Family::Catalog, &record::descriptor_key(id));
        if let Some(names) = self.next.names.get_mut(&parent) {
            names.remove(name);
        }
        self.next.names.remove(&id);
    }

    // ---- users ----------------------------------------------------------------------------------

    /// Makes a user, or a role, which cannot log in.
    ///
    /// # Errors
    /// 42710 if there is one of this name, and those of names.
    pub fn create_user(&mut self, name: &str, can_login: bool) -> Result<()> {
        check_user_name(name)?;
        if self.next.users.users.contains_key(name) {
            let message = format!("role \"{name}\" already exists");
            return Err(SqlError::new(code::DUPLICATE_OBJECT, message));
        }
        let user = User { name: name.to_owned(), can_login, extension: Bytes::new() };
        self.put(&Stored::user(&user));
        self.next.users.users.insert(user.name.clone(), user);
        Ok(())
    }

    /// Removes a user or role with its memberships.
    ///
    /// # Errors
    /// 42704 if there is none; 42501 for `root` and `admin`.
    pub fn drop_user(&mut self, name: &str) -> Result<()> {
        self.next.users.expect(name)?;
        if [ROOT_USER, ADMIN_ROLE].contains(&name) {
            return Err(SqlError::forbidden(format!("cannot drop role \"{name}\""))
                .with_detail("The database needs it."));
        }
        let all = &self.next.users.memberships;
        let lost: Vec<(String, String)> =
            all.iter().filter(|(member, role)| member == name || role == name).cloned().collect();
        for (member, role) in lost {
            self.remove_membership(member, role);
        }
        self.batch.delete(Family::Catalog, &record::user_key(name));
        self.next.users.users.remove(name);
        Ok(())
    }

    /// Makes `member` a member of `role`. Answers whether it was none before.
    ///
    /// # Errors
    /// 42704 if one of them does not exist; 0LP01 if `role` is a member of `member`.
    pub fn grant_role(&mut self, role: &str, member: &str) -> Result<bool> {
        self.next.users.expect(role)?;
        self.next.users.expect(member)?;
        if role == member || self.next.users.roles_of(role).contains(member) {
            let message = format!("role \"{role}\" is a member of role \"{member}\"");
            return Err(SqlError::new(code::INVALID_GRANT_OPERATION, message));
        }
        if !self.next.users.memberships.insert((member.to_owned(), role.to_owned())) {
            return Ok(false);
        }
        self.put(&Stored::membership(member, role));
        Ok(true)
    }

    /// Ends a membership. Answers whether there was one.
    ///
    /// # Errors
    /// 42704 if one of them does not exist; 42501 for `root` in `admin`.
    pub fn revoke_role(&mut self, role: &str, member: &str) -> Result<bool> {
        self.next.users.expect(role)?;
        self.next.users.expect(member)?;
        if member == ROOT_USER && role == ADMIN_ROLE {
            let message = "user \"root\" cannot be removed from role \"admin\"";
            return Err(SqlError::forbidden(message));
        }
        Ok(self.remove_membership(member.to_owned(), role.to_owned()))
    }

    fn remove_membership(&mut self, member: String, role: String) -> bool {
        let key = record::membership_key(&member, &role);
        let was = self.next.users.memberships.remove(&(member, role));
        if was {
            self.batch.delete(Family::Catalog, &key);
        }
        was
    }
}

/// Numbers the columns and finds those of the key.
fn layout(new: &NewTable) -> Result<(Vec<Column>, Vec<KeyPart>)> {
    if new.columns.is_empty() {
        return Err(SqlError::new(
            code::INVALID_TABLE_DEFINITION,
            format!("table \"{}\" must have at least one column", new.name),
        ));
    }
    if new.columns.len() > COLUMNS_MAX {
        let message = format!("tables can have at most {COLUMNS_MAX} columns");
        return Err(SqlError::new(code::TOO_MANY_COLUMNS, message));
    }
    let mut columns: Vec<Column> = Vec::with_capacity(new.columns.len());
    for (id, column) in (1..).zip(&new.columns) {
        check_name(&column.name)?;
        if columns.iter().any(|known| known.name == column.name) {
            let message = format!("column \"{}\" specified more than once", column.name);
            return Err(SqlError::new(code::DUPLICATE_COLUMN, message));
        }
        columns.push(Column {
            id,
            name: column.name.clone(),
            ty: column.ty,
            nullable: column.nullable,
            default: column.default.clone(),
            extension: Bytes::new(),
        });
    }
    let mut key: Vec<KeyPart> = Vec::with_capacity(new.key.len());
    for (name, direction) in &new.key {
        let Some(column) = columns.iter_mut().find(|column| column.name == *name) else {
            let message = format!("column \"{name}\" named in key does not exist");
            return Err(SqlError::new(code::UNDEFINED_COLUMN, message));
        };
        if key.iter().any(|part| part.column_id == column.id) {
            let message = format!("column \"{name}\" appears twice in primary key constraint");
            return Err(SqlError::new(code::DUPLICATE_COLUMN, message));
        }
        column.nullable = false;
        key.push(KeyPart { column_id: column.id, direction: *direction });
    }
    Ok((columns, key))
}

fn check_span_count(count: usize) -> Result<()> {
    if count <= SPANS_MAX {
        return Ok(());
    }
    let message = format!("a table has at most {SPANS_MAX} bulk-loaded parts");
    Err(SqlError::new(code::PROGRAM_LIMIT_EXCEEDED, message).with_hint(
        "Load the remaining files in one statement: IMPORT INTO ... CSV DATA (a, b, c).",
    ))
}

/// Somebody else removed it after the name was looked up.
fn gone(what: &str, code: &'static str) -> SqlError {
    SqlError::new(code, format!("the {what} was dropped meanwhile"))
        .with_hint("Run the statement again.")
}
