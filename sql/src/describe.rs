//! What statements of our own answer, known without running them.
//!
//! Each has a fixed list of columns here; the code that runs it builds its rows with the same list,
//! so that what was described is what arrives.

use datafusion::arrow::datatypes::{DataType, SchemaRef};

use crate::ast::{Import, Listing, Statement};
use crate::session::ResultColumn;
use crate::views::{self, schema};

const TEXT: DataType = DataType::Utf8;
const INT: DataType = DataType::Int64;
const BOOL: DataType = DataType::Boolean;

/// The rows of a statement of our own; `None` if it answers only a command tag. Queries are not
/// described here.
pub(crate) fn own(statement: &Statement) -> Option<SchemaRef> {
    match statement {
        Statement::ShowJobs(_) => Some(views::jobs::show_schema()),
        Statement::Import(import) => Some(import_schema(import)),
        Statement::ShowClusterSetting { name: Some(name) } => Some(schema(&[(&name.name, TEXT)])),
        Statement::ShowClusterSetting { name: None } => Some(views::settings::cluster_schema()),
        Statement::ShowCatalog(listing) => Some(listing_schema(listing)),
        Statement::ShowVariable { name } => Some(schema(&[(&name.name, TEXT)])),
        Statement::ShowVariables => {
            Some(schema(&[("name", TEXT), ("setting", TEXT), ("description", TEXT)]))
        }
        Statement::Sql(_)
        | Statement::ControlJobs(_)
        | Statement::SetClusterSetting { .. }
        | Statement::CreateRole { .. }
        | Statement::DropRole { .. }
        | Statement::GrantRole { .. }
        | Statement::RevokeRole { .. }
        | Statement::SetVariable { .. }
        | Statement::ResetVariables
        | Statement::Begin { .. }
        | Statement::Commit
        | Statement::Rollback
        | Statement::SetTransaction { .. }
        | Statement::Discard(_)
        | Statement::NotBuilt(_) => None,
    }
}

/// Whether an IMPORT answers as soon as its job exists.
pub(crate) fn is_detached(import: &Import) -> bool {
    import.options.iter().any(|option| option.name == "detached")
}

fn import_schema(import: &Import) -> SchemaRef {
    if is_detached(import) {
        return schema(&[("job_id", INT)]);
    }
    schema(&[
        ("job_id", INT),
        ("status", TEXT),
        ("fraction_completed", DataType::Float64),
        ("rows", INT),
        ("index_entries", INT),
        ("bytes", INT),
    ])
}

fn listing_schema(listing: &Listing) -> SchemaRef {
    match listing {
        Listing::Databases => schema(&[("database_name", TEXT), ("owner", TEXT)]),
        Listing::Schemas { .. } => schema(&[("schema_name", TEXT), ("owner", TEXT)]),
        Listing::Tables { .. } => schema(&[
            ("schema_name", TEXT),
            ("table_name", TEXT),
            ("type", TEXT),
            ("owner", TEXT),
            ("estimated_row_count", INT),
        ]),
        Listing::Columns { .. } => schema(&[
            ("column_name", TEXT),
            ("data_type", TEXT),
            ("is_nullable", BOOL),
            ("column_default", TEXT),
            ("in_primary_key", BOOL),
        ]),
        Listing::CreateTable { .. } => schema(&[("table_name", TEXT), ("create_statement", TEXT)]),
        Listing::Users | Listing::Roles => {
            schema(&[("username", TEXT), ("options", TEXT), ("member_of", TEXT)])
        }
        Listing::Grants { .. } => {
            schema(&[("role_name", TEXT), ("member", TEXT), ("is_admin", BOOL)])
        }
    }
}

/// The columns of a schema as a result's.
pub(crate) fn result_columns(schema: &SchemaRef) -> Vec<ResultColumn> {
    schema
        .fields()
        .iter()
        .map(|field| ResultColumn {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            nullable: field.is_nullable(),
        })
        .collect()
}
