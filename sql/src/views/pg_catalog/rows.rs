//! The rows of each table of `pg_catalog`.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::{
    CONSTRAINT_OID, INDEX_OID, PG_CATALOG_OID, Relation, USER_OID, id, relations, schemas, users,
};
use crate::catalog::{CatalogSnapshot, TableDescriptor};
use crate::functions::TYPES;
use crate::session::Facts;
use crate::value::ColumnType;
use crate::views::{Rows, flag, int, maybe_text, text};

const HEAP_OID: i64 = 2;
const BTREE_OID: i64 = 403;
const UTF8: i64 = 6;

const OID: DataType = DataType::Int64;
const TEXT: DataType = DataType::Utf8;

fn oid(value: i64) -> ScalarValue {
    ScalarValue::Int64(Some(value))
}

fn no_list(of: &DataType) -> ScalarValue {
    ScalarValue::new_null_list(of.clone(), true, 1)
}

fn none() -> ScalarValue {
    maybe_text(None::<String>)
}

/// PostgreSQL's object id of a column type, and its modifier.
fn type_of(ty: ColumnType) -> (i64, i64) {
    (i64::from(ty.pg_oid()), i64::from(ty.pg_typmod()))
}

/// Fills a table.
pub(super) fn fill(facts: &Facts, name: &str, rows: &mut Rows) {
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
                    text(relation.schema),
                    text(relation.name),
                    text("root"),
                    none(),
                    flag(keyed),
                    flag(false),
                    flag(false),
                ]);
            }
        }
        "pg_tablespace" => {
            rows.push([oid(1663), text("pg_default"), oid(USER_OID), no_list(&TEXT)]);
        }
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
        oid(relation),
        text(name),
        oid(ty),
        oid(-1),
        oid(i64::from(length)),
        oid(number),
        oid(0),
        oid(modifier),
        text(storage),
        text(""),
        flag(not_null),
        flag(has_default),
        text(""),
        text(""),
        flag(false),
        oid(collation),
        no_list(&TEXT),
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
        let tuples: u64 =
            table.map_or(0, |table| table.primary.spans.iter().map(|span| span.rows).sum());
        let columns = table.map_or(0, |table| table.columns.len());
        let kind = if table.is_some() { "r" } else { "v" };
        let am = if table.is_some() { HEAP_OID } else { 0 };
        class(
            rows,
            (relation.oid, relation.schema_oid),
            &relation.name,
            kind,
            am,
            (tuples, columns),
            keyed,
        );
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
        oid(own),
        text(name),
        oid(schema),
        oid(0),
        oid(0),
        oid(USER_OID),
        oid(am),
        oid(own),
        oid(0),
        oid(0),
        ScalarValue::Float64(Some(tuples as f64)),
        oid(0),
        flag(indexed),
        flag(false),
        text("p"),
        text(kind),
        int(columns as u64),
        oid(0),
        flag(false),
        flag(false),
        flag(false),
        flag(false),
        flag(false),
        flag(true),
        text("d"),
        flag(false),
        no_list(&TEXT),
        no_list(&TEXT),
        none(),
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
            oid(own + CONSTRAINT_OID),
            text(format!("{}_pkey", table.name)),
            oid(schema),
            text("p"),
            flag(false),
            flag(false),
            flag(true),
            oid(own),
            oid(0),
            oid(own + INDEX_OID),
            oid(0),
            oid(0),
            key_numbers(&table),
            no_list(&OID),
        ]);
    }
}

fn databases(snapshot: &CatalogSnapshot, rows: &mut Rows) {
    for database in snapshot.databases() {
        rows.push([
            oid(id(database.id)),
            text(&database.name),
            oid(USER_OID),
            oid(UTF8),
            text("c"),
            flag(false),
            flag(true),
            oid(-1),
            oid(1663),
            text("C.UTF-8"),
            text("C.UTF-8"),
            none(),
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
            oid(own + INDEX_OID),
            oid(own),
            int(parts),
            int(parts),
            flag(true),
            flag(true),
            flag(false),
            flag(true),
            flag(false),
            flag(true),
            flag(false),
            flag(true),
            flag(true),
            flag(false),
            key_numbers(&table),
            none(),
            none(),
        ]);
    }
}

fn roles(snapshot: &CatalogSnapshot, rows: &mut Rows) {
    for (role, name, login, admin) in users(snapshot) {
        rows.push([
            oid(role),
            text(name),
            flag(admin),
            flag(true),
            flag(admin),
            flag(admin),
            flag(login),
            flag(false),
            oid(-1),
            none(),
            flag(false),
        ]);
    }
}

fn types(rows: &mut Rows) {
    for (own, name, _, length) in TYPES {
        let element = name
            .strip_prefix('_')
            .and_then(|element| TYPES.iter().find(|known| known.1 == element).map(|known| known.0));
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
            oid(own),
            text(name),
            oid(PG_CATALOG_OID),
            oid(USER_OID),
            oid(i64::from(length)),
            flag(length > 0),
            text("b"),
            text(category),
            oid(0),
            oid(element.unwrap_or(0)),
            oid(array),
            oid(0),
            oid(-1),
            flag(false),
            oid(collation),
            text(","),
            text(format!("{name}in")),
        ]);
    }
}
