//! SET and SHOW: settings of the database, variables of the session.

use crate::ast::{Dotted, Text};
use crate::error::{Result, SqlError};
use crate::execute::{Context, done, rows, show_tag};
use crate::notice::Notice;
use crate::session::{Answer, Scope};
use crate::views::{Rows, maybe_text, schema, settings, text};
use cairn_engine::blocking::Op;
use datafusion::arrow::datatypes::DataType;

/// Settings that are read when the database opens.
const READ_AT_OPEN: [&str; 1] = ["sql.memory.max"];

/// SET CLUSTER SETTING, RESET CLUSTER SETTING.
pub(crate) async fn set_cluster(
    scope: &Scope,
    name: &Dotted,
    value: Option<&Text>,
    context: Context<'_>,
) -> Result<Answer> {
    scope.require_admin("change cluster settings")?;
    let value = value.map(|value| context.resolve(value)).transpose()?;
    let jobs = scope.jobs().clone();
    let (setting, at) = (name.name.clone(), name.at);
    crate::execute::blocking(Op::Catalog, move || {
        let settings = jobs.settings();
        match value {
            Some(value) => settings.set(&setting, &value)?,
            None => settings.reset(&setting)?,
        }
        Ok(())
    })
    .await
    .map_err(|error: SqlError| error.with_position(at))?;
    if READ_AT_OPEN.contains(&name.name.as_str()) {
        let message = format!("{} takes effect when the database is started again", name.name);
        scope.notices.send(Notice::new(message));
    }
    Ok(done("SET CLUSTER SETTING"))
}

/// SHOW CLUSTER SETTING, SHOW ALL CLUSTER SETTINGS.
pub(crate) fn show_cluster(scope: &Scope, name: Option<&Dotted>) -> Result<Answer> {
    let Some(name) = name else { return Ok(rows(settings::cluster(scope)?, show_tag)) };
    let setting = scope
        .jobs()
        .settings()
        .show(&name.name)
        .map_err(|error| SqlError::from(error).with_position(name.at))?;
    let mut shown = Rows::new(&schema(&[(&name.name, DataType::Utf8)]));
    shown.push([text(setting.value)]);
    Ok(rows(shown.finish()?, show_tag))
}

/// SET, RESET of a session variable.
pub(crate) fn set_variable(
    scope: &Scope,
    name: &Dotted,
    value: Option<&Text>,
    context: Context<'_>,
) -> Result<Answer> {
    let value = value.map(|value| context.resolve(value)).transpose()?;
    scope
        .facts
        .with_variables(|variables| variables.set(&name.name, value.as_deref()))
        .map_err(|error| error.with_position(name.at))?;
    if let Some(zone) = &value
        && matches!(name.name.as_str(), "timezone" | "time zone")
        && !matches!(zone.to_ascii_uppercase().as_str(), "UTC" | "GMT" | "Z" | "ETC/UTC" | "0")
    {
        scope.notices.send(
            Notice::warning("01000", format!("times are shown in UTC, not in \"{zone}\""))
                .with_hint("Each time is shown with its offset, so it means the same moment."),
        );
    }
    Ok(done(if value.is_some() { "SET" } else { "RESET" }))
}

/// SHOW of a session variable.
pub(crate) fn show_variable(scope: &Scope, name: &Dotted) -> Result<Answer> {
    let value = scope
        .facts
        .with_variables(|variables| variables.get(&name.name))
        .map_err(|error| error.with_position(name.at))?;
    let mut shown = Rows::new(&schema(&[(&name.name, DataType::Utf8)]));
    shown.push([text(value)]);
    Ok(rows(shown.finish()?, |_| "SHOW".to_owned()))
}

/// SHOW ALL.
pub(crate) fn show_variables(scope: &Scope) -> Result<Answer> {
    let columns =
        [("name", DataType::Utf8), ("setting", DataType::Utf8), ("description", DataType::Utf8)];
    let mut shown = Rows::new(&schema(&columns));
    for (name, value) in scope.facts.with_variables(|variables| variables.all()) {
        shown.push([text(name), text(value), maybe_text(None::<String>)]);
    }
    Ok(rows(shown.finish()?, |_| "SHOW".to_owned()))
}
