//! CREATE TABLE, from its tree to a [`NewTable`] and from a descriptor to its text.

use cairn_engine::key::Direction;
use sqlparser::ast::{
    ColumnDef, ColumnOption, CreateTable, Expr, IndexColumn, PrimaryKeyConstraint, TableConstraint,
};

use super::types::column_type;
use crate::catalog::change::{NewColumn, NewTable};
use crate::catalog::constant;
use crate::catalog::names::{PUBLIC_SCHEMA, identifier, quoted};
use crate::catalog::snapshot::CatalogSnapshot;
use crate::descriptor::TableDescriptor;
use crate::error::{Result, SqlError, code};

/// The table that a CREATE TABLE wants.
pub(super) fn new_table(create: &CreateTable, name: String) -> Result<NewTable> {
    refuse_what_is_not_built(create)?;
    let mut key: Option<Vec<(String, Direction)>> = None;
    let mut set_key = |columns| match key.replace(columns) {
        None => Ok(()),
        Some(_) => {
            let message = format!("multiple primary keys for table \"{name}\" are not allowed");
            Err(SqlError::new(code::INVALID_TABLE_DEFINITION, message))
        }
    };
    let mut columns = Vec::with_capacity(create.columns.len());
    for definition in &create.columns {
        let (column, is_key) = new_column(definition, &name)?;
        if is_key {
            set_key(vec![(column.name.clone(), Direction::Asc)])?;
        }
        columns.push(column);
    }
    for constraint in &create.constraints {
        match constraint {
            TableConstraint::PrimaryKey(primary) => set_key(key_columns(primary)?)?,
            TableConstraint::Unique(_) => return Err(unique()),
            TableConstraint::ForeignKey(_) => return Err(references()),
            TableConstraint::Check(_) => return Err(check()),
            other => return Err(SqlError::not_built(other, "The primary key is the only index.")),
        }
    }
    Ok(NewTable { name, columns, key: key.unwrap_or_default() })
}

/// The column, and whether it is the primary key.
fn new_column(definition: &ColumnDef, table: &str) -> Result<(NewColumn, bool)> {
    let name = identifier(&definition.name);
    let ty = column_type(&definition.data_type)?;
    let mut nullable: Option<bool> = None;
    let mut default = None;
    let mut is_key = false;
    for option in &definition.options {
        match &option.option {
            ColumnOption::Null | ColumnOption::NotNull => {
                let says = matches!(option.option, ColumnOption::Null);
                if nullable.is_some_and(|before| before != says) {
                    let message = format!(
                        "conflicting NULL/NOT NULL declarations for column \"{name}\" of table \
                         \"{table}\""
                    );
                    return Err(SqlError::syntax(message));
                }
                nullable = Some(says);
            }
            ColumnOption::Default(expr) => {
                let value = constant::evaluate(expr, ty)?;
                if default.replace(constant::written(&value)).is_some() {
                    let message = format!(
                        "multiple default values specified for column \"{name}\" of table \
                         \"{table}\""
                    );
                    return Err(SqlError::syntax(message));
                }
            }
            ColumnOption::PrimaryKey(_) => {
                if is_key {
                    let message =
                        format!("multiple primary keys for table \"{table}\" are not allowed");
                    return Err(SqlError::new(code::INVALID_TABLE_DEFINITION, message));
                }
                is_key = true;
            }
            ColumnOption::Unique(_) => return Err(unique()),
            ColumnOption::ForeignKey(_) => return Err(references()),
            ColumnOption::Check(_) => return Err(check()),
            ColumnOption::Collation(_) => {
                return Err(SqlError::not_built("COLLATE", "Texts are ordered by their bytes."));
            }
            ColumnOption::Generated { .. } | ColumnOption::Identity(_) => {
                return Err(SqlError::not_built(
                    "a generated column",
                    "Give the values in INSERT, or leave out the primary key.",
                ));
            }
            other => return Err(SqlError::not_built(other, "Leave it out.")),
        }
    }
    if is_key && nullable == Some(true) {
        let message = format!(
            "conflicting NULL/NOT NULL declarations for column \"{name}\" of table \"{table}\""
        );
        return Err(SqlError::syntax(message));
    }
    let column =
        NewColumn { name, ty, nullable: nullable.unwrap_or(true), default: default.flatten() };
    Ok((column, is_key))
}

fn key_columns(primary: &PrimaryKeyConstraint) -> Result<Vec<(String, Direction)>> {
    if primary.characteristics.is_some()
        || primary.index_type.is_some()
        || !primary.index_options.is_empty()
    {
        return Err(SqlError::not_built("an option of PRIMARY KEY", "Leave it out."));
    }
    primary.columns.iter().map(key_column).collect()
}

fn key_column(part: &IndexColumn) -> Result<(String, Direction)> {
    let Expr::Identifier(column) = &part.column.expr else {
        return Err(SqlError::not_built(
            format_args!("the expression {} in PRIMARY KEY", part.column.expr),
            "A primary key consists of columns.",
        ));
    };
    let direction = match part.column.options.asc {
        None | Some(true) => Direction::Asc,
        Some(false) => Direction::Desc,
    };
    // Key columns are never NULL, so where NULL would come does not matter.
    if part.operator_class.is_some() || part.column.with_fill.is_some() {
        return Err(SqlError::not_built("an operator class in PRIMARY KEY", "Leave it out."));
    }
    Ok((identifier(column), direction))
}

fn unique() -> SqlError {
    SqlError::not_built("UNIQUE", "Only the primary key is unique: make the columns its part.")
}

fn references() -> SqlError {
    SqlError::not_built("REFERENCES", "Leave the foreign key out: it would not be checked.")
}

fn check() -> SqlError {
    SqlError::not_built("CHECK", "Leave the constraint out, and check the values beforehand.")
}

/// Everything that a CREATE TABLE can say beside columns and constraints. The tree has a field for
/// every database there is; a statement that prints as more than this has used one of them.
fn refuse_what_is_not_built(create: &CreateTable) -> Result<()> {
    if create.query.is_some() {
        return Err(SqlError::not_built(
            "CREATE TABLE ... AS",
            "Make the table first, then: INSERT INTO ... SELECT ...",
        ));
    }
    if create.like.is_some() {
        return Err(SqlError::not_built(
            "CREATE TABLE ... LIKE",
            "Write the columns out: SHOW CREATE TABLE prints them.",
        ));
    }
    if create.temporary {
        return Err(SqlError::not_built("a temporary table", "Use an ordinary one and drop it."));
    }
    if create.inherits.is_some() || create.partition_of.is_some() || create.partition_by.is_some() {
        return Err(SqlError::not_built("a table made of other tables", "Use one table."));
    }
    let understood =
        sqlparser::ast::helpers::stmt_create_table::CreateTableBuilder::new(create.name.clone())
            .if_not_exists(create.if_not_exists)
            .columns(create.columns.clone())
            .constraints(create.constraints.clone())
            .build();
    let (whole, understood) = (create.to_string(), understood.to_string());
    if whole != understood {
        let common = whole.bytes().zip(understood.bytes()).take_while(|(a, b)| a == b).count();
        let rest = whole.get(common..).unwrap_or(&whole).trim();
        return Err(SqlError::not_built(
            format_args!("\"{rest}\" in CREATE TABLE"),
            "Leave it out.",
        ));
    }
    Ok(())
}

/// The statement that makes this table, as CockroachDB writes it: with its schema.
#[must_use]
pub fn show_create_table(catalog: &CatalogSnapshot, table: &TableDescriptor) -> String {
    let mut lines = Vec::with_capacity(table.columns.len() + 1);
    for column in &table.columns {
        let null = if column.nullable { "NULL" } else { "NOT NULL" };
        let mut line = format!("{} {} {null}", quoted(&column.name), column.ty.sql_name());
        if let Some(default) = &column.default {
            line.push_str(" DEFAULT ");
            line.push_str(default);
        }
        lines.push(line);
    }
    if !table.has_hidden_key() {
        let parts: Vec<String> = table
            .key_columns()
            .map(|(column, direction)| {
                let direction = match direction {
                    Direction::Asc => "ASC",
                    Direction::Desc => "DESC",
                };
                format!("{} {direction}", quoted(&column.name))
            })
            .collect();
        let name = format!("{}_pkey", table.name);
        lines.push(format!("CONSTRAINT {} PRIMARY KEY ({})", quoted(&name), parts.join(", ")));
    }
    let schema = catalog.schema_by_id(table.schema_id);
    let schema = schema.map_or(PUBLIC_SCHEMA, |schema| schema.name.as_str());
    let (schema, name) = (quoted(schema), quoted(&table.name));
    format!("CREATE TABLE {schema}.{name} (\n\t{}\n)", lines.join(",\n\t"))
}
