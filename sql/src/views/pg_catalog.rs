//! `pg_catalog`: as much of PostgreSQL's own listings as psql and drivers read.
//!
//! The object id of what has a descriptor is the descriptor's id plus [`DESCRIPTOR_OID`]; everything else has
//! a fixed one below that.
//! Every table lists one database, the session's. Indexes are the primary keys.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};

use crate::catalog::{CatalogSnapshot, TableDescriptor};
use crate::session::Scope;
use crate::views::{Rows, VIRTUAL_SCHEMAS, VirtualTable, schema};

mod names;
mod rows;

/// Object id of `pg_catalog`; the other virtual schemas count on from [`VIRTUAL_OID`].
const PG_CATALOG_OID: i64 = 11;
const VIRTUAL_OID: i64 = 13_000;
/// A descriptor's id plus this is its object id.
const DESCRIPTOR_OID: i64 = 100_000;
/// An index has the id of its table plus this.
const INDEX_OID: i64 = 1_000_000_000;
/// The primary key constraint has the id of its table plus this.
const CONSTRAINT_OID: i64 = 1_500_000_000;
/// A user has its place in the alphabet plus this; `root` is the owner of everything.
const USER_OID: i64 = 10;

/// Names of the tables made here.
pub(crate) const TABLES: [&str; 23] = [
    "pg_am",
    "pg_attrdef",
    "pg_attribute",
    "pg_auth_members",
    "pg_class",
    "pg_constraint",
    "pg_database",
    "pg_description",
    "pg_enum",
    "pg_extension",
    "pg_index",
    "pg_namespace",
    "pg_proc",
    "pg_range",
    "pg_roles",
    "pg_sequence",
    "pg_settings",
    "pg_shdescription",
    "pg_tables",
    "pg_tablespace",
    "pg_type",
    "pg_user",
    "pg_views",
];

/// The columns of each table: `name:type`, where the type is i for INT8 (object ids too), t for TEXT, b for
/// BOOL, f for FLOAT8, and T and I for lists of TEXT and INT8.
const COLUMNS: [(&str, &str); 22] = [
    ("pg_am", "oid:i amname:t amhandler:t amtype:t"),
    ("pg_attrdef", "oid:i adrelid:i adnum:i adbin:t"),
    (
        "pg_attribute",
        "attrelid:i attname:t atttypid:i attstattarget:i attlen:i attnum:i attndims:i \
         atttypmod:i attstorage:t attcompression:t attnotnull:b atthasdef:b attidentity:t \
         attgenerated:t attisdropped:b attcollation:i attacl:T",
    ),
    ("pg_auth_members", "roleid:i member:i grantor:i admin_option:b"),
    ("pg_description", "objoid:i classoid:i objsubid:i description:t"),
    ("pg_enum", "oid:i enumtypid:i enumsortorder:i enumlabel:t"),
    (
        "pg_class",
        "oid:i relname:t relnamespace:i reltype:i reloftype:i relowner:i relam:i \
         relfilenode:i reltablespace:i relpages:i reltuples:f reltoastrelid:i \
         relhasindex:b relisshared:b relpersistence:t relkind:t relnatts:i relchecks:i \
         relhasrules:b relhastriggers:b relhassubclass:b relrowsecurity:b \
         relforcerowsecurity:b relispopulated:b relreplident:t relispartition:b relacl:T \
         reloptions:T relpartbound:t",
    ),
    (
        "pg_constraint",
        "oid:i conname:t connamespace:i contype:t condeferrable:b condeferred:b \
         convalidated:b conrelid:i contypid:i conindid:i conparentid:i confrelid:i \
         conkey:I confkey:I",
    ),
    (
        "pg_database",
        "oid:i datname:t datdba:i encoding:i datlocprovider:t datistemplate:b \
         datallowconn:b datconnlimit:i dattablespace:i datcollate:t datctype:t \
         daticulocale:t datacl:T",
    ),
    ("pg_extension", "oid:i extname:t extversion:t"),
    (
        "pg_index",
        "indexrelid:i indrelid:i indnatts:i indnkeyatts:i indisunique:b indisprimary:b \
         indisexclusion:b indimmediate:b indisclustered:b indisvalid:b indcheckxmin:b \
         indisready:b indislive:b indisreplident:b indkey:I indexprs:t indpred:t",
    ),
    ("pg_namespace", "oid:i nspname:t nspowner:i nspacl:T"),
    ("pg_proc", "oid:i proname:t pronamespace:i prokind:t proowner:i"),
    ("pg_range", "rngtypid:i rngsubtype:i"),
    (
        "pg_roles",
        "oid:i rolname:t rolsuper:b rolinherit:b rolcreaterole:b rolcreatedb:b \
         rolcanlogin:b rolreplication:b rolconnlimit:i rolvaliduntil:t rolbypassrls:b",
    ),
    ("pg_sequence", "seqrelid:i seqtypid:i"),
    ("pg_shdescription", "objoid:i classoid:i description:t"),
    (
        "pg_tables",
        "schemaname:t tablename:t tableowner:t tablespace:t hasindexes:b hasrules:b \
         hastriggers:b",
    ),
    ("pg_tablespace", "oid:i spcname:t spcowner:i spcacl:T"),
    (
        "pg_type",
        "oid:i typname:t typnamespace:i typowner:i typlen:i typbyval:b typtype:t \
         typcategory:t typrelid:i typelem:i typarray:i typbasetype:i typtypmod:i \
         typnotnull:b typcollation:i typdelim:t typinput:t",
    ),
    ("pg_user", "usename:t usesysid:i usecreatedb:b usesuper:b"),
    ("pg_views", "schemaname:t viewname:t viewowner:t definition:t"),
];

/// The columns of a table.
pub(crate) fn columns(name: &str) -> Option<SchemaRef> {
    if name == "pg_settings" {
        return Some(crate::views::settings::pg_settings_columns());
    }
    let (_, columns) = COLUMNS.iter().find(|(table, _)| *table == name)?;
    let columns: Vec<(&str, DataType)> = columns
        .split(' ')
        .filter_map(|column| column.split_once(':'))
        .map(|(name, letter)| (name, type_of_letter(letter)))
        .collect();
    Some(schema(&columns))
}

fn type_of_letter(letter: &str) -> DataType {
    let list = |of| DataType::List(Arc::new(Field::new("item", of, true)));
    match letter {
        "i" => DataType::Int64,
        "b" => DataType::Boolean,
        "f" => DataType::Float64,
        "T" => list(DataType::Utf8),
        "I" => list(DataType::Int64),
        _ => DataType::Utf8,
    }
}

/// The object id of a descriptor.
fn id(descriptor: u64) -> i64 {
    i64::try_from(descriptor).unwrap_or(i64::MAX).saturating_add(DESCRIPTOR_OID)
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
    (USER_OID..).zip(users).map(|(oid, (name, login, admin))| (oid, name, login, admin)).collect()
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
        rows::fill(&facts, &name, &mut rows);
        rows.finish()
    }))
}
