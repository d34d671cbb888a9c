//! `information_schema`: the standard's listings, as far as tools ask for them.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;

use crate::session::{Facts, Scope};
use crate::value::ColumnType;
use crate::views::{Rows, VIRTUAL_SCHEMAS, VirtualTable, int, maybe_text, schema, text};

/// Names of the tables made here.
pub(crate) const TABLES: [&str; 5] =
    ["columns", "key_column_usage", "schemata", "table_constraints", "tables"];

const TEXT: DataType = DataType::Utf8;

/// Makes one of [`TABLES`].
pub(crate) fn table(scope: &Scope, name: &str) -> Option<Arc<VirtualTable>> {
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
        "columns" => schema(&[
            ("table_catalog", TEXT),
            ("table_schema", TEXT),
            ("table_name", TEXT),
            ("column_name", TEXT),
            ("ordinal_position", DataType::Int64),
            ("column_default", TEXT),
            ("is_nullable", TEXT),
            ("data_type", TEXT),
            ("numeric_precision", DataType::Int64),
            ("numeric_scale", DataType::Int64),
            ("udt_name", TEXT),
        ]),
        "key_column_usage" => schema(&[
            ("constraint_catalog", TEXT),
            ("constraint_schema", TEXT),
            ("constraint_name", TEXT),
            ("table_catalog", TEXT),
            ("table_schema", TEXT),
            ("table_name", TEXT),
            ("column_name", TEXT),
            ("ordinal_position", DataType::Int64),
        ]),
        "schemata" => {
            schema(&[("catalog_name", TEXT), ("schema_name", TEXT), ("schema_owner", TEXT)])
        }
        "table_constraints" => schema(&[
            ("constraint_catalog", TEXT),
            ("constraint_schema", TEXT),
            ("constraint_name", TEXT),
            ("table_catalog", TEXT),
            ("table_schema", TEXT),
            ("table_name", TEXT),
            ("constraint_type", TEXT),
        ]),
        "tables" => schema(&[
            ("table_catalog", TEXT),
            ("table_schema", TEXT),
            ("table_name", TEXT),
            ("table_type", TEXT),
            ("is_insertable_into", TEXT),
        ]),
        _ => return None,
    })
}

fn fill(facts: &Facts, name: &str, rows: &mut Rows) {
    let snapshot = facts.snapshot();
    let catalog = || text(&facts.database);
    for schema in snapshot.schemas(&facts.database) {
        let space = || text(&schema.name);
        if name == "schemata" {
            rows.push([catalog(), space(), text("root")]);
            continue;
        }
        for table in snapshot.tables(&facts.database, &schema.name) {
            let key = crate::table::key_columns(&table);
            let own = || text(&table.name);
            let constraint = || text(format!("{}_pkey", table.name));
            match name {
                "tables" => {
                    rows.push([catalog(), space(), own(), text("BASE TABLE"), text("YES")]);
                }
                "columns" => {
                    for (number, column) in (1..).zip(&table.columns) {
                        let (precision, scale) = match column.ty {
                            ColumnType::Decimal { precision, scale } => {
                                (int(u64::from(precision)), int(u64::from(scale)))
                            }
                            _ => (ScalarValue::Int64(None), ScalarValue::Int64(None)),
                        };
                        let short = crate::functions::type_short(column.ty.pg_oid());
                        rows.push([
                            catalog(),
                            space(),
                            own(),
                            text(&column.name),
                            int(number),
                            maybe_text(column.default.clone()),
                            text(if column.nullable { "YES" } else { "NO" }),
                            text(column.ty.pg_name()),
                            precision,
                            scale,
                            text(short),
                        ]);
                    }
                }
                "key_column_usage" => {
                    for (number, part) in (1..).zip(&key) {
                        rows.push([
                            catalog(),
                            space(),
                            constraint(),
                            catalog(),
                            space(),
                            own(),
                            text(&part.name),
                            int(number),
                        ]);
                    }
                }
                "table_constraints" if !key.is_empty() => rows.push([
                    catalog(),
                    space(),
                    constraint(),
                    catalog(),
                    space(),
                    own(),
                    text("PRIMARY KEY"),
                ]),
                _ => {}
            }
        }
    }
    for (schema, tables) in VIRTUAL_SCHEMAS {
        match name {
            "schemata" => rows.push([catalog(), text(schema), text("root")]),
            "tables" => {
                for table in tables {
                    rows.push([
                        catalog(),
                        text(schema),
                        text(*table),
                        text("SYSTEM VIEW"),
                        text("NO"),
                    ]);
                }
            }
            _ => {}
        }
    }
}
