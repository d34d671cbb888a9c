//! What a statement needs and what it will answer, before it runs.
//!
//! A query is planned over its row sources as empty tables of the columns they will have; statements
//! of our own have fixed columns. The type of a parameter is, in this order: what the client
//! declared, what the statement casts it to, what the planner infers from where it stands, TEXT.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use futures::future::BoxFuture;
use sqlparser::ast;

use crate::ast::{ControlJobs, ImportOption, Jobs, Parsed, ShowJobs, Sql, Statement, Text, Wait};
use crate::describe::{own, result_columns};
use crate::error::{Result, SqlError, code};
use crate::execute::dml;
use crate::query::{Query, presented, result_schema};
use crate::relations::{Relations, Sources, type_named};
use crate::rewrite::{placeholders, postgres_idioms, type_placeholders};
use crate::session::{ResultColumn, Scope};
use crate::views::VirtualTable;

/// A statement that is ready to run, any number of times. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The types of `$1`, `$2`, ...
    pub params: Vec<DataType>,
    /// The columns of its rows; `None` if it answers only a command tag.
    pub columns: Option<Vec<ResultColumn>>,
    pub(crate) text: Arc<str>,
    pub(crate) statement: Arc<Statement>,
}

impl Prepared {
    /// The statement's text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The values as the statement wants them.
    ///
    /// # Errors
    /// 08P01 if there are too few or too many, 22P02 or 22003 if one cannot be cast.
    pub(crate) fn fit(&self, values: Vec<ScalarValue>) -> Result<Vec<ScalarValue>> {
        if values.len() != self.params.len() {
            let message = format!(
                "the statement takes {} parameters, and {} were given",
                self.params.len(),
                values.len()
            );
            return Err(SqlError::new(code::PROTOCOL_VIOLATION, message));
        }
        let cast = |(value, data_type): (ScalarValue, &DataType)| {
            if value.data_type() == *data_type { Ok(value) } else { Ok(value.cast_to(data_type)?) }
        };
        values.into_iter().zip(&self.params).map(cast).collect()
    }
}

/// Prepares a statement.
pub(crate) async fn prepare(
    scope: &Scope,
    parsed: Parsed,
    declared: &[Option<DataType>],
) -> Result<Prepared> {
    let Parsed { text, mut statement, .. } = parsed;
    let mut found: BTreeMap<usize, Option<ast::DataType>> = BTreeMap::new();
    each_text(&statement, &mut |number| {
        found.insert(number, Some(ast::DataType::Text));
    });
    each_query(&mut statement, &mut |query| {
        postgres_idioms(&mut query.ast);
        for (number, cast) in placeholders(&query.ast) {
            let known = found.entry(number).or_insert(None);
            if known.is_none() {
                *known = cast;
            }
        }
    });
    let count = found.keys().next_back().copied().unwrap_or(0).max(declared.len());
    let mut types: BTreeMap<usize, DataType> = (1..)
        .zip(declared)
        .filter_map(|(number, declared)| Some((number, declared.clone()?)))
        .collect();
    if let Some(jobs) = one_job(&statement)
        && let Some(number) = only_placeholder(jobs)
    {
        types.entry(number).or_insert(DataType::Int64);
    }
    each_query(&mut statement, &mut |query| type_placeholders(&mut query.ast, &types));

    let (mut columns, inferred) = describe(scope, &statement).await?;
    let mut unknown = BTreeMap::new();
    for (number, cast) in &found {
        if types.contains_key(number) {
            continue;
        }
        let known = match cast {
            Some(sql_type) => cast_type(sql_type),
            None => inferred.get(number).cloned(),
        };
        let data_type = known.unwrap_or_else(|| {
            unknown.insert(*number, DataType::Utf8);
            DataType::Utf8
        });
        types.insert(*number, data_type);
    }
    if !unknown.is_empty() {
        each_query(&mut statement, &mut |query| type_placeholders(&mut query.ast, &unknown));
        (columns, _) = describe(scope, &statement).await?;
    }
    let params =
        (1..=count).map(|number| types.get(&number).cloned().unwrap_or(DataType::Utf8)).collect();
    Ok(Prepared { params, columns, text: text.into(), statement: Arc::new(statement) })
}

fn cast_type(sql_type: &ast::DataType) -> Option<DataType> {
    type_named(sql_type).or(match sql_type {
        ast::DataType::Int8(_) | ast::DataType::BigInt(_) => Some(DataType::Int64),
        ast::DataType::Int4(_) => Some(DataType::Int32),
        ast::DataType::Int2(_) | ast::DataType::SmallInt(_) => Some(DataType::Int16),
        ast::DataType::Float8 | ast::DataType::DoublePrecision => Some(DataType::Float64),
        ast::DataType::Bool | ast::DataType::Boolean => Some(DataType::Boolean),
        ast::DataType::Date => Some(DataType::Date32),
        _ => None,
    })
}

type Described = (Option<Vec<ResultColumn>>, HashMap<usize, DataType>);

/// The columns of a statement, and the types of the parameters in its query.
fn describe<'a>(scope: &'a Scope, statement: &'a Statement) -> BoxFuture<'a, Result<Described>> {
    Box::pin(async move {
        match statement {
            Statement::Sql(query) => describe_query(scope, query).await,
            Statement::ControlJobs(ControlJobs { verb, jobs, .. }) => {
                scope.require_admin(&format!("{} jobs", verb.as_str().to_ascii_lowercase()))?;
                Ok((None, describe_ids(scope, verb.as_str(), jobs).await?))
            }
            Statement::ShowJobs(ShowJobs { of: Some(jobs), .. }) => {
                let params = describe_ids(scope, "SHOW", jobs).await?;
                Ok((own(statement).as_ref().map(result_columns), params))
            }
            Statement::ShowVariable { name } => {
                scope
                    .facts
                    .with_variables(|variables| variables.get(&name.name))
                    .map_err(|error| error.with_position(name.at))?;
                Ok((own(statement).as_ref().map(result_columns), HashMap::new()))
            }
            other => Ok((own(other).as_ref().map(result_columns), HashMap::new())),
        }
    })
}

async fn describe_query(scope: &Scope, query: &Sql) -> Result<Described> {
    if let Some(verb) = dml::verb(&query.ast) {
        let sources = described_sources(scope, query).await?;
        let (planned, _) = dml::plan(scope, verb, &query.ast, sources).await?;
        return Ok((None, parameters(&planned)?));
    }
    if !is_query(&query.ast) {
        return Ok((None, HashMap::new()));
    }
    let relations = Relations::new(scope, described_sources(scope, query).await?);
    let planned = Query::plan(scope, &relations, query.ast.as_ref().clone()).await?;
    Ok((Some(planned.columns()), parameters(&planned)?))
}

/// Checks that a query names jobs. Answers the types of its parameters.
async fn describe_ids(scope: &Scope, verb: &str, jobs: &Jobs) -> Result<HashMap<usize, DataType>> {
    if literal_id(jobs).is_some() {
        return Ok(HashMap::new());
    }
    let query = jobs.query();
    let relations = Relations::new(scope, described_sources(scope, query).await?);
    let planned = Query::plan(scope, &relations, query.ast.as_ref().clone()).await?;
    check_ids(verb, &planned)?;
    parameters(&planned)
}

/// Whether the query engine answers a statement with rows.
pub(crate) fn is_query(statement: &ast::Statement) -> bool {
    matches!(statement, ast::Statement::Query(_) | ast::Statement::Explain { .. })
}

/// The row sources of a query as empty tables.
pub(crate) async fn described_sources(scope: &Scope, query: &Sql) -> Result<Sources> {
    let mut sources = Sources::new();
    for source in &query.sources {
        let (columns, _) = describe(scope, &source.statement).await?;
        let columns = columns.ok_or_else(|| no_rows(source))?;
        let table = VirtualTable::empty(result_schema(&columns));
        sources.insert(source.name.clone(), table);
    }
    Ok(sources)
}

/// A statement stands for a table and has no rows.
pub(crate) fn no_rows(source: &crate::ast::Source) -> SqlError {
    SqlError::syntax("this statement returns no rows and cannot stand for a table")
        .with_hint("SHOW, SELECT and IMPORT return rows.")
        .with_position(source.at)
}

fn parameters(planned: &Query) -> Result<HashMap<usize, DataType>> {
    let fields = planned.plan.get_parameter_fields()?;
    Ok(fields
        .into_iter()
        .filter_map(|(name, field)| {
            let number = name.strip_prefix('$')?.parse().ok()?;
            match field?.data_type() {
                DataType::Null => None,
                data_type => Some((number, presented(data_type))),
            }
        })
        .collect())
}

/// Checks that a query names jobs: it has one column, of an integer type.
pub(crate) fn check_ids(verb: &str, query: &Query) -> Result<()> {
    let fields = query.plan.schema().fields();
    let [field] = fields.as_ref() else {
        return Err(SqlError::syntax(format!(
            "{verb} JOBS expects a single column source, got {} columns",
            fields.len()
        )));
    };
    let data_type = field.data_type();
    if data_type.is_integer() || *data_type == DataType::Null {
        return Ok(());
    }
    Err(SqlError::wrong_type(format!(
        "{verb} JOBS requires int values, not type {}",
        type_label(&presented(data_type))
    )))
}

fn type_label(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "string".to_owned(),
        DataType::Float32 | DataType::Float64 => "float".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::Decimal128(..) | DataType::Decimal256(..) => "decimal".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::List(_) => "array".to_owned(),
        other => other.to_string().to_ascii_lowercase(),
    }
}

fn one_job(statement: &Statement) -> Option<&Sql> {
    match statement {
        Statement::ControlJobs(ControlJobs { jobs: Jobs::One(query), .. })
        | Statement::ShowJobs(ShowJobs { of: Some(Jobs::One(query)), .. }) => Some(query),
        _ => None,
    }
}

/// The placeholder that `SELECT $n` consists of.
fn only_placeholder(query: &Sql) -> Option<usize> {
    crate::rewrite::placeholder(only_expression(query)?)
}

/// The expression that `SELECT expr` consists of.
fn only_expression(query: &Sql) -> Option<&ast::Expr> {
    let ast::Statement::Query(query) = query.ast.as_ref() else { return None };
    let ast::SetExpr::Select(select) = query.body.as_ref() else { return None };
    match select.projection.as_slice() {
        [ast::SelectItem::UnnamedExpr(expr)] => Some(expr),
        _ => None,
    }
}

/// The number in `JOB 123`. No query has to be planned for it: the first plan of a process takes tens of milliseconds
/// while an import wants all processors, and a cancel should not wait for that.
pub(crate) fn literal_id(jobs: &Jobs) -> Option<i64> {
    let Jobs::One(query) = jobs else { return None };
    match only_expression(query)? {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Number(number, _) => number.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// Visits every query of a statement, those of its row sources too.
fn each_query(statement: &mut Statement, visit: &mut dyn FnMut(&mut Sql)) {
    match statement {
        Statement::Sql(query)
        | Statement::ControlJobs(ControlJobs {
            jobs: Jobs::One(query) | Jobs::All(query), ..
        })
        | Statement::ShowJobs(ShowJobs { of: Some(Jobs::One(query) | Jobs::All(query)), .. }) => {
            visit(query);
            for source in &mut query.sources {
                each_query(&mut source.statement, visit);
            }
        }
        _ => {}
    }
}

/// Visits the number of every text that comes with the execution.
fn each_text(statement: &Statement, visit: &mut dyn FnMut(usize)) {
    let mut text = |text: &Text| {
        if let Text::Param(number) = text {
            visit(*number);
        }
    };
    let sources = match statement {
        Statement::Sql(query) => &query.sources,
        Statement::ControlJobs(control) => {
            control.reason.iter().for_each(&mut text);
            if let Some(Wait::AtMost(limit)) = &control.wait {
                text(limit);
            }
            &control.jobs.query().sources
        }
        Statement::ShowJobs(ShowJobs { of: Some(jobs), .. }) => &jobs.query().sources,
        Statement::Import(import) => {
            import.places.iter().for_each(|place| text(&place.uri));
            let values =
                import.options.iter().filter_map(|ImportOption { value, .. }| value.as_ref());
            values.for_each(text);
            return;
        }
        Statement::SetClusterSetting { value, .. } | Statement::SetVariable { value, .. } => {
            value.iter().for_each(text);
            return;
        }
        _ => return,
    };
    for source in sources {
        each_text(&source.statement, visit);
    }
}
