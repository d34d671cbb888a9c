//! Settings as tables: `SHOW ALL CLUSTER SETTINGS` and `pg_catalog.pg_settings`.

use std::sync::Arc;

use cairn_jobs::SettingType;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};

use crate::error::Result;
use crate::session::Scope;
use crate::views::{Rows, VirtualTable, maybe_text, schema, text};

/// The columns of `SHOW ALL CLUSTER SETTINGS`.
pub(crate) fn cluster_schema() -> SchemaRef {
    schema(&[
        ("variable", DataType::Utf8),
        ("value", DataType::Utf8),
        ("setting_type", DataType::Utf8),
        ("default_value", DataType::Utf8),
        ("range", DataType::Utf8),
        ("description", DataType::Utf8),
    ])
}

/// The rows of `SHOW ALL CLUSTER SETTINGS`.
pub(crate) fn cluster(scope: &Scope) -> Result<RecordBatch> {
    let mut rows = Rows::new(&cluster_schema());
    for shown in scope.jobs().settings().show_all() {
        let setting = shown.setting;
        rows.push([
            text(setting.name),
            text(shown.value),
            text(setting.type_letter()),
            text(setting.default),
            maybe_text(range(&setting.ty)),
            text(setting.description),
        ]);
    }
    rows.finish()
}

/// The values a setting takes, for people.
fn range(ty: &SettingType) -> Option<String> {
    match ty {
        SettingType::Int { min, max } => Some(format!("{min} to {max}")),
        SettingType::Float { min, max } => Some(format!("{min} to {max}")),
        SettingType::Bytes { min, zero } => {
            let zero = if *zero { "0, or " } else { "" };
            Some(format!("{zero}at least {min} bytes"))
        }
        SettingType::Duration { min } => Some(format!("at least {min:?}")),
        SettingType::Bool => Some("true, false".to_owned()),
        SettingType::Text => None,
    }
}

/// The columns of `pg_catalog.pg_settings`.
pub(crate) fn pg_settings_columns() -> SchemaRef {
    schema(&[
        ("name", DataType::Utf8),
        ("setting", DataType::Utf8),
        ("unit", DataType::Utf8),
        ("category", DataType::Utf8),
        ("short_desc", DataType::Utf8),
        ("context", DataType::Utf8),
        ("vartype", DataType::Utf8),
        ("source", DataType::Utf8),
    ])
}

/// `pg_catalog.pg_settings`: the variables of the session.
pub(crate) fn pg_settings(scope: &Scope) -> Arc<VirtualTable> {
    let columns = pg_settings_columns();
    let (scope, rows_of) = (scope.clone(), Arc::clone(&columns));
    VirtualTable::made(columns, move || {
        let mut rows = Rows::new(&rows_of);
        for (name, value) in scope.facts.with_variables(|variables| variables.all()) {
            rows.push([
                text(name),
                text(value),
                maybe_text(None::<String>),
                text("Session"),
                text(""),
                text("user"),
                text("string"),
                text("session"),
            ]);
        }
        rows.finish()
    })
}
