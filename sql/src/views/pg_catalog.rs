//! `pg_catalog`: as much of PostgreSQL's own listings as psql and drivers read.
//!
//! Objects keep their descriptor ids as object ids; what has no descriptor has a fixed one below.
//! Every table lists one database, the session's. Indexes are the primary keys.

use std::sync::Arc;

use cairn_engine::key::Direction;
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::ScalarValue;

use crate::catalog::{CatalogSnapshot, TableDescriptor};
use crate::catalog::names::quoted;
use crate::functions::TYPES;
use crate::session::{Facts, Scope};
use crate::value::ColumnType;
use crate::views::{Rows, VIRTUAL_SCHEMAS, VirtualTable, flag, int, maybe_text, schema, text};

/// Object id of `pg_catalog`; the other virtual schemas count on from [`VIRTUAL_OID`].
const PG_CATALOG_OID: i64 = 11;
const VIRTUAL_OID: i64 = 13_000;
/// An index has the id of its table plus this.
const INDEX_OID: i64 = 1_000_000_000;
/// The primary key constraint has the id of its table plus this.
const CONSTRAINT_OID: i64 = 1_500_000_000;
/// A user has its place in the alphabet plus this; `root` is the owner of everything.
const USER_OID: i64 = 10;
const HEAP_OID: i64 = 2;
const BTREE_OID: i64 = 403;
const UTF8: i64 = 6;

/// Names of the tables made here.
pub(crate) const TABLES: [&str; 23] = [
    "pg_am", "pg_attrdef", "pg_attribute", "pg_auth_members", "pg_class",
    "pg_constraint", "pg_database", "pg_description", "pg_enum", "pg_extension", "pg_index",
    "pg_namespace", "pg_proc", "pg_range", "pg_roles", "pg_sequence", "pg_settings",
    "pg_shdescription", "pg_tables", "pg_tablespace", "pg_type", "pg_user", "pg_views",
];

const OID: DataType = DataType::Int64;
const TEXT: DataType = DataType::Utf8;
const BOOL: DataType = DataType::Boolean;

fn oid(value: i64) -> ScalarValue {
    ScalarValue::Int64(Some(value))
}

fn id(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn texts() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)))
}

fn ints() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Int64, true)))
}

fn no_list(of: &DataType) -> ScalarValue {
    ScalarValue::new_null_list(of.clone(), true, 1)
}

fn none() -> ScalarValue {
    maybe_text(None::<String>)
}

/// A relation as `pg_class` lists it.
struct Relation {
    oid: i64,
    schema_oid: i64,
    schema: String,
    name: String,
    table: Option<Arc<TableDescriptor>>,
}

fn virtual_schema_oid(position: usize) -> i64 {
    if position == 0 { PG_CATALOG_OID } else { VIRTUAL_OID + position as i64 }
}

/// (object id, name) of every schema of a database.
fn schemas(snapshot: &CatalogSnapshot, database: &str) -> Vec<(i64, String)> {
    let mut all: Vec<(i64, String)> = snapshot
        .schemas(database)
        .iter()
        .map(|schema| (id(schema.id), schema.name.clone()))
        .collect();
    all.extend(
        VIRTUAL_SCHEMAS
            .iter()
            .enumerate()
            .map(|(position, (name, _))| (virtual_schema_oid(position), (*name).to_owned())),
    );
    all
}

fn relations(snapshot: &CatalogSnapshot, database: &str) -> Vec<Relation> {
    let mut all = Vec::new();
    for schema in snapshot.schemas(database) {
        for table in snapshot.tables(database, &schema.name) {
            all.push(Relation {
                oid: id(table.id),
                schema_oid: id(schema.id),
                schema: schema.name.clone(),
                name: table.name.clone(),
                table: Some(table),
            });
        }
    }
    let mut next = VIRTUAL_OID + 100;
    for (position, (schema, names)) in VIRTUAL_SCHEMAS.iter().enumerate() {
        for name in *names {
            all.push(Relation {
                oid: next,
                schema_oid: virtual_schema_oid(position),
                schema: (*schema).to_owned(),
                name: (*name).to_owned(),
                table: None,
            });
            next += 1;
        }
    }
    all
}

/// (object id, name, may log in, is admin) of every user and role.
fn users(snapshot: &CatalogSnapshot) -> Vec<(i64, String, bool, bool)> {
    let mut users: Vec<(String, bool, bool)> = snapshot
        .users()
        .into_iter()
        .map(|user| {
            let admin = snapshot.is_admin(&user.name);
            (user.name.clone(), user.can_login, admin)
        })
        .collect();
    // The owner first, so that its id never changes.
    users.sort_by_key(|(name, ..)| (name != "root", name.clone()));
    (USER_OID..)
        .zip(users)
        .map(|(oid, (name, login, admin))| (oid, name, login, admin))
        .collect()
}

impl Facts {
    /// The user of an object id.
    pub(crate) fn user_name(&self, oid: i64) -> Option<String> {
        users(&self.snapshot()).into_iter().find(|user| user.0 == oid).map(|user| user.1)
    }

    /// The schema of an object id.
    pub(crate) fn schema_name(&self, oid: i64) -> Option<String> {
        let all = schemas(&self.snapshot(), &self.database);
        all.into_iter().find(|schema| schema.0 == oid).map(|schema| schema.1)
    }

    fn relation(&self, oid: i64) -> Option<Relation> {
        let oid = if oid >= INDEX_OID { oid - INDEX_OID } else { oid };
        relations(&self.snapshot(), &self.database)
            .into_iter()
            .find(|relation| relation.oid == oid)
    }

    fn table(&self, oid: i64) -> Option<Arc<TableDescriptor>> {
        self.relation(oid)?.table
    }

    /// The name of a relation, with its schema unless that is on the search path.
    pub(crate) fn relation_name(&self, oid: i64) -> Option<String> {
        let relation = self.relation(oid)?;
        let name = if oid >= INDEX_OID { format!("{}_pkey", relation.name) } else { relation.name };
        let found = self.search_path().contains(&relation.schema);
        Some(if found || relation.schema == "pg_catalog" {
            quoted(&name).into_owned()
        } else {
            format!("{}.{}", quoted(&relation.schema), quoted(&name))
        })
    }

    /// The object id of a relation by its name as written, with or without a schema.
    pub(crate) fn relation_oid(&self, name: &str) -> Option<i64> {
        let mut parts: Vec<String> = Vec::new();
        for part in name.split('.') {
            parts.push(match part.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
                Some(inner) => inner.replace("\"\"", "\""),
                None => part.to_ascii_lowercase(),
            });
        }
        let all = relations(&self.snapshot(), &self.database);
        let find = |schema: &str, name: &str| {
            all.iter()
                .find(|relation| relation.schema == schema && relation.name == name)
                .map(|relation| relation.oid)
        };
        match parts.as_slice() {
            [name] => self
                .search_path()
                .iter()
                .map(String::as_str)
                .chain(["pg_catalog"])
                .find_map(|schema| find(schema, name)),
            [schema, name] => find(schema, name),
            [database, schema, name] if *database == self.database => find(schema, name),
            _ => None,
        }
    }

    /// Whether a relation is found without naming its schema.
    pub(crate) fn is_visible(&self, oid: i64) -> bool {
        self.relation(oid).is_some_and(|relation| {
            relation.schema == "pg_catalog" || self.search_path().contains(&relation.schema)
        })
    }

    /// Bytes of a table on disk, as an estimate.
    pub(crate) fn relation_bytes(&self, oid: i64) -> Option<i64> {
        let table = self.table(oid)?;
        let bytes: u64 =
            table.all_spans().into_iter().map(|span| self.engine.span_bytes(span)).sum();
        Some(id(bytes))
    }

    /// `CREATE UNIQUE INDEX ...` of a primary key.
    pub(crate) fn index_definition(&self, oid: i64) -> Option<String> {
        let relation = self.relation(oid)?;
        let table = relation.table?;
        Some(format!(
            "CREATE UNIQUE INDEX {} ON {}.{} USING btree ({})",
            quoted(&format!("{}_pkey", table.name)),
            quoted(&relation.schema),
            quoted(&table.name),
            key_list(&table)
        ))
    }

    /// `PRIMARY KEY (...)`.
    pub(crate) fn constraint_definition(&self, oid: i64) -> Option<String> {
        let table = self.table(oid.checked_sub(CONSTRAINT_OID)?)?;
        Some(format!("PRIMARY KEY ({})", key_list(&table)))
    }
}

/// The columns of the primary key, as they are written in its definition.
pub(crate) fn key_list(table: &TableDescriptor) -> String {
    let parts: Vec<String> = crate::table::key_columns(table)
        .into_iter()
        .map(|part| match part.direction {
            Direction::Asc => quoted(&part.name).into_owned(),
            Direction::Desc => format!("{} DESC", quoted(&part.name)),
        })
        .collect();
    parts.join(", ")
}

/// PostgreSQL's object id of a column type, and its modifier.
fn type_of(ty: ColumnType) -> (i64, i64) {
    (i64::from(ty.pg_oid()), i64::from(ty.pg_typmod()))
}

/// Makes one of [`TABLES`].
pub(crate) fn table(scope: &Scope, name: &str) -> Option<Arc<VirtualTable>> {
    if name == "pg_settings" {
        return Some(crate::views::settings::pg_settings(scope));
    }
    let columns = columns(name)?;
    let (facts, rows_of, name) = (Arc::clone(&scope.facts), Arc::clone(&columns), name.to_owned());
    Some(VirtualTable::made(columns, move || {
        let mut rows = Rows::new(&rows_of);
        fill(&facts, &name, &mut rows);
        rows.finish()
    }))
}

pub(crate) fn columns(name: &str) -> Option<SchemaRef> {
    Some(match name {
        "pg_am" => schema(&[("oid", OID), ("amname", TEXT), ("amhandler", TEXT), ("amtype", TEXT)]),
        "pg_attrdef" => schema(&[("oid", OID), ("adrelid", OID), ("adnum", OID), ("adbin", TEXT)]),
        "pg_attribute" => schema(&[
            ("attrelid", OID), ("attname", TEXT), ("atttypid", OID), ("attstattarget", OID),
            ("attlen", OID), ("attnum", OID), ("attndims", OID), ("atttypmod", OID),
            ("attstorage", TEXT), ("attcompression", TEXT), ("attnotnull", BOOL),
            ("atthasdef", BOOL), ("attidentity", TEXT), ("attgenerated", TEXT),
            ("attisdropped", BOOL), ("attcollation", OID),
        ]),
        "pg_auth_members" => schema(&[("roleid", OID), ("member", OID), ("grantor", OID), ("admin_option", BOOL)]),
        "pg_class" => class_columns(),
        "pg_constraint" => constraint_columns(),
        "pg_database" => database_columns(),
        "pg_description" => schema(&[("objoid", OID), ("classoid", OID), ("objsubid", OID), ("description", TEXT)]),
        "pg_enum" => schema(&[("oid", OID), ("enumtypid", OID), ("enumsortorder", OID), ("enumlabel", TEXT)]),
        "pg_extension" => schema(&[("oid", OID), ("extname", TEXT), ("extversion", TEXT)]),
        "pg_index" => index_columns(),
        "pg_namespace" => namespace_columns(),
        "pg_proc" => schema(&[
            ("oid", OID), ("proname", TEXT), ("pronamespace", OID), ("prokind", TEXT),
            ("proowner", OID),
        ]),
        "pg_range" => schema(&[("rngtypid", OID), ("rngsubtype", OID)]),
        "pg_roles" => schema(&[
            ("oid", OID), ("rolname", TEXT), ("rolsuper", BOOL), ("rolinherit", BOOL),
            ("rolcreaterole", BOOL), ("rolcreatedb", BOOL), ("rolcanlogin", BOOL),
            ("rolreplication", BOOL), ("rolconnlimit", OID), ("rolvaliduntil", TEXT),
            ("rolbypassrls", BOOL),
        ]),
        "pg_settings" => crate::views::settings::pg_settings_columns(),
        "pg_sequence" => schema(&[("seqrelid", OID), ("seqtypid", OID)]),
        "pg_shdescription" => schema(&[("objoid", OID), ("classoid", OID), ("description", TEXT)]),
        "pg_tables" => schema(&[
            ("schemaname", TEXT), ("tablename", TEXT), ("tableowner", TEXT), ("tablespace", TEXT),
            ("hasindexes", BOOL), ("hasrules", BOOL), ("hastriggers", BOOL),
        ]),
        "pg_tablespace" => schema(&[("oid", OID), ("spcname", TEXT), ("spcowner", OID)]),
        "pg_type" => schema(&[
            ("oid", OID), ("typname", TEXT), ("typnamespace", OID), ("typowner", OID),
            ("typlen", OID), ("typbyval", BOOL), ("typtype", TEXT), ("typcategory", TEXT),
            ("typrelid", OID), ("typelem", OID), ("typarray", OID), ("typbasetype", OID),
            ("typtypmod", OID), ("typnotnull", BOOL), ("typcollation", OID), ("typdelim", TEXT),
            ("typinput", TEXT),
        ]),
        "pg_user" => schema(&[
            ("usename", TEXT), ("usesysid", OID), ("usecreatedb", BOOL), ("usesuper", BOOL),
        ]),
        "pg_views" => schema(&[("schemaname", TEXT), ("viewname", TEXT), ("viewowner", TEXT), ("definition", TEXT)]),
        _ => return None,
    })
}

fn class_columns() -> SchemaRef {
    schema(&[
        ("oid", OID), ("relname", TEXT), ("relnamespace", OID), ("reltype", OID),
        ("reloftype", OID), ("relowner", OID), ("relam", OID), ("relfilenode", OID),
        ("reltablespace", OID), ("relpages", OID), ("reltuples", DataType::Float64),
        ("reltoastrelid", OID), ("relhasindex", BOOL), ("relisshared", BOOL),
        ("relpersistence", TEXT), ("relkind", TEXT), ("relnatts", OID), ("relchecks", OID),
        ("relhasrules", BOOL), ("relhastriggers", BOOL), ("relhassubclass", BOOL),
        ("relrowsecurity", BOOL), ("relforcerowsecurity", BOOL), ("relispopulated", BOOL),
        ("relreplident", TEXT), ("relispartition", BOOL), ("relacl", texts()),
        ("reloptions", texts()), ("relpartbound", TEXT),
    ])
}

fn constraint_columns() -> SchemaRef {
    schema(&[
        ("oid", OID), ("conname", TEXT), ("connamespace", OID), ("contype", TEXT),
        ("condeferrable", BOOL), ("condeferred", BOOL), ("convalidated", BOOL),
        ("conrelid", OID), ("contypid", OID), ("conindid", OID), ("conparentid", OID),
        ("confrelid", OID), ("conkey", ints()), ("confkey", ints()),
    ])
}

fn database_columns() -> SchemaRef {
    schema(&[
        ("oid", OID), ("datname", TEXT), ("datdba", OID), ("encoding", OID),
        ("datlocprovider", TEXT), ("datistemplate", BOOL), ("datallowconn", BOOL),
        ("datconnlimit", OID), ("dattablespace", OID), ("datcollate", TEXT), ("datctype", TEXT),
        ("daticulocale", TEXT), ("datacl", texts()),
    ])
}

fn index_columns() -> SchemaRef {
    schema(&[
        ("indexrelid", OID), ("indrelid", OID), ("indnatts", OID), ("indnkeyatts", OID),
        ("indisunique", BOOL), ("indisprimary", BOOL), ("indisexclusion", BOOL),
        ("indimmediate", BOOL), ("indisclustered", BOOL), ("indisvalid", BOOL),
        ("indcheckxmin", BOOL), ("indisready", BOOL), ("indislive", BOOL),
        ("indisreplident", BOOL), ("indkey", ints()), ("indexprs", TEXT), ("indpred", TEXT),
    ])
}

fn namespace_columns() -> SchemaRef {
    schema(&[("oid", OID), ("nspname", TEXT), ("nspowner", OID), ("nspacl", texts())])
}

fn fill(facts: &Facts, name: &str, rows: &mut Rows) {
    let snapshot = facts.snapshot();
    let database = facts.database.as_str();
    match name {
        "pg_am" => {
            for (am, name, kind) in [(HEAP_OID, "heap", "t"), (BTREE_OID, "btree", "i")] {
                rows.push([oid(am), text(name), text(""), text(kind)]);
            }
        }
        "pg_attrdef" => defaults(&snapshot, database, rows),
        "pg_attribute" => attributes(facts, &snapshot, rows),
        "pg_auth_members" => members(&snapshot, rows),
        "pg_class" => classes(facts, &snapshot, rows),
        "pg_constraint" => constraints(&snapshot, database, rows),
        "pg_database" => databases(&snapshot, rows),
        "pg_index" => indexes(&snapshot, database, rows),
        "pg_namespace" => {
            for (schema, name) in schemas(&snapshot, database) {
                rows.push([oid(schema), text(name), oid(USER_OID), no_list(&TEXT)]);
            }
        }
        "pg_roles" => roles(&snapshot, rows),
        "pg_tables" => {
            for relation in relations(&snapshot, database) {
                let keyed = relation.table.is_some_and(|table| !table.has_hidden_key());
                rows.push([
                    text(relation.schema), text(relation.name), text("root"), none(), flag(keyed),
                    flag(false), flag(false),
                ]);
            }
        }
        "pg_tablespace" => rows.push([oid(1663), text("pg_default"), oid(USER_OID)]),
        "pg_type" => types(rows),
        "pg_user" => {
            for (user, name, login, admin) in users(&snapshot) {
                if login {
                    rows.push([text(name), oid(user), flag(admin), flag(admin)]);
                }
            }
        }
        // The others have no rows.
        _ => {}
    }
}

fn tables_of(snapshot: &CatalogSnapshot, database: &str) -> Vec<(i64, Arc<TableDescriptor>)> {
    relations(snapshot, database)
        .into_iter()
        .filter_map(|relation| Some((relation.schema_oid, relation.table?)))
        .collect()
}

fn defaults(snapshot: &CatalogSnapshot, database: &str, rows: &mut Rows) {
    for (_, table) in tables_of(snapshot, database) {
        for (number, column) in (1..).zip(&table.columns) {
            if let Some(default) = &column.default {
                let own = 2_000_000_000 + id(table.id) * 1000 + number;
                rows.push([oid(own), oid(id(table.id)), oid(number), text(default)]);
            }
        }
    }
}

fn attributes(facts: &Facts, snapshot: &CatalogSnapshot, rows: &mut Rows) {
    for relation in relations(snapshot, &facts.database) {
        let Some(table) = &relation.table else {
            virtual_attributes(&relation, rows);
            continue;
        };
        for (number, column) in (1..).zip(&table.columns) {
            let (ty, modifier) = type_of(column.ty);
            attribute(
                rows,
                relation.oid,
                &column.name,
                (ty, modifier, number),
                !column.nullable,
                column.default.is_some(),
            );
        }
        for (number, part) in (1..).zip(crate::table::key_columns(table)) {
            let (ty, modifier) = type_of(part.ty);
            let index = relation.oid + INDEX_OID;
            attribute(rows, index, &part.name, (ty, modifier, number), true, false);
        }
    }
}

/// Columns of a listing, where they can be known without making it.
fn virtual_attributes(relation: &Relation, rows: &mut Rows) {
    let Some(columns) = crate::views::columns(&relation.schema, &relation.name) else { return };
    for (number, field) in (1..).zip(columns.fields()) {
        let ty = arrow_oid(field.data_type());
        attribute(rows, relation.oid, field.name(), (ty, -1, number), false, false);
    }
}

fn arrow_oid(data_type: &DataType) -> i64 {
    match data_type {
        DataType::Boolean => 16,
        DataType::Int64 => 20,
        DataType::Float64 => 701,
        DataType::Timestamp(..) => 1184,
        DataType::Decimal128(..) => 1700,
        DataType::List(item) if *item.data_type() == DataType::Int64 => 1016,
        DataType::List(_) => 1009,
        _ => 25,
    }
}

fn attribute(
    rows: &mut Rows,
    relation: i64,
    name: &str,
    (ty, modifier, number): (i64, i64, i64),
    not_null: bool,
    has_default: bool,
) {
    let length = TYPES.iter().find(|known| known.0 == ty).map_or(-1, |known| known.3);
    let collation = if matches!(ty, 25 | 1043) { 100 } else { 0 };
    let storage = if length == -1 { "x" } else { "p" };
    rows.push([
        oid(relation), text(name), oid(ty), oid(-1), oid(i64::from(length)), oid(number), oid(0),
        oid(modifier), text(storage), text(""), flag(not_null), flag(has_default), text(""),
        text(""), flag(false), oid(collation),
    ]);
}

fn members(snapshot: &CatalogSnapshot, rows: &mut Rows) {
    let users = users(snapshot);
    let find = |name: &str| users.iter().find(|user| user.1 == name).map(|user| user.0);
    for user in &users {
        for role in snapshot.roles_of(&user.1) {
            if let Some(role) = find(&role) {
                rows.push([oid(role), oid(user.0), oid(USER_OID), flag(false)]);
            }
        }
    }
}

fn classes(facts: &Facts, snapshot: &CatalogSnapshot, rows: &mut Rows) {
    for relation in relations(snapshot, &facts.database) {
        let table = relation.table.as_ref();
        let keyed = table.is_some_and(|table| !table.has_hidden_key());
        let tuples: u64 = table.map_or(0, |table| {
            table.primary.spans.iter().map(|span| span.rows).sum()
        });
        let columns = table.map_or(0, |table| table.columns.len());
        let kind = if table.is_some() { "r" } else { "v" };
        let am = if table.is_some() { HEAP_OID } else { 0 };
        class(rows, (relation.oid, relation.schema_oid), &relation.name, kind, am, (tuples, columns), keyed);
        if let Some(table) = table
            && keyed
        {
            let name = format!("{}_pkey", table.name);
            let oids = (relation.oid + INDEX_OID, relation.schema_oid);
            class(rows, oids, &name, "i", BTREE_OID, (tuples, table.primary.key.len()), false);
        }
    }
}

fn class(
    rows: &mut Rows,
    (own, schema): (i64, i64),
    name: &str,
    kind: &str,
    am: i64,
    (tuples, columns): (u64, usize),
    indexed: bool,
) {
    rows.push([
        oid(own), text(name), oid(schema), oid(0), oid(0), oid(USER_OID), oid(am), oid(own),
        oid(0), oid(0), ScalarValue::Float64(Some(tuples as f64)), oid(0), flag(indexed),
        flag(false), text("p"), text(kind), int(columns as u64), oid(0), flag(false), flag(false),
        flag(false), flag(false), flag(false), flag(true), text("d"), flag(false),
        no_list(&TEXT), no_list(&TEXT), none(),
    ]);
}

/// Numbers of the key columns, from 1.
fn key_numbers(table: &TableDescriptor) -> ScalarValue {
    let numbers: Vec<ScalarValue> = table
        .primary
        .key
        .iter()
        .filter_map(|part| table.columns.iter().position(|column| column.id == part.column_id))
        .map(|position| int(position as u64 + 1))
        .collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&numbers, &OID))
}

fn constraints(snapshot: &CatalogSnapshot, database: &str, rows: &mut Rows) {
    for (schema, table) in tables_of(snapshot, database) {
        if table.has_hidden_key() {
            continue;
        }
        let own = id(table.id);
        rows.push([
            oid(own + CONSTRAINT_OID), text(format!("{}_pkey", table.name)), oid(schema),
            text("p"), flag(false), flag(false), flag(true), oid(own), oid(0),
            oid(own + INDEX_OID), oid(0), oid(0), key_numbers(&table), no_list(&OID),
        ]);
    }
}

fn databases(snapshot: &CatalogSnapshot, rows: &mut Rows) {
    for database in snapshot.databases() {
        rows.push([
            oid(id(database.id)), text(&database.name), oid(USER_OID), oid(UTF8), text("c"),
            flag(false), flag(true), oid(-1), oid(1663), text("C.UTF-8"), text("C.UTF-8"), none(),
            no_list(&TEXT),
        ]);
    }
}

fn indexes(snapshot: &CatalogSnapshot, database: &str, rows: &mut Rows) {
    for (_, table) in tables_of(snapshot, database) {
        if table.has_hidden_key() {
            continue;
        }
        let (own, parts) = (id(table.id), table.primary.key.len() as u64);
        rows.push([
            oid(own + INDEX_OID), oid(own), int(parts), int(parts), flag(true), flag(true),
            flag(false), flag(true), flag(false), flag(true), flag(false), flag(true), flag(true),
            flag(false), key_numbers(&table), none(), none(),
        ]);
    }
}

fn roles(snapshot: &CatalogSnapshot, rows: &mut Rows) {
    for (role, name, login, admin) in users(snapshot) {
        rows.push([
            oid(role), text(name), flag(admin), flag(true), flag(admin), flag(admin), flag(login),
            flag(false), oid(-1), none(), flag(false),
        ]);
    }
}

fn types(rows: &mut Rows) {
    for (own, name, _, length) in TYPES {
        let element = name.strip_prefix('_').and_then(|element| {
            TYPES.iter().find(|known| known.1 == element).map(|known| known.0)
        });
        let array = TYPES
            .iter()
            .find(|known| known.1.strip_prefix('_') == Some(name))
            .map_or(0, |known| known.0);
        let category = match own {
            16 => "B",
            20..=23 | 26 | 700 | 701 | 1700 => "N",
            1082 | 1114 | 1184 => "D",
            1186 => "T",
            17 => "U",
            _ if element.is_some() => "A",
            _ => "S",
        };
        let collation = if matches!(own, 25 | 1043) { 100 } else { 0 };
        rows.push([
            oid(own), text(name), oid(PG_CATALOG_OID), oid(USER_OID), oid(i64::from(length)),
            flag(length > 0), text("b"), text(category), oid(0), oid(element.unwrap_or(0)),
            oid(array), oid(0), oid(-1), flag(false), oid(collation), text(","),
            text(format!("{name}in")),
        ]);
    }
}
