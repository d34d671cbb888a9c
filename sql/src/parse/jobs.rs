//! SHOW JOBS; CANCEL, PAUSE and RESUME JOBS.

use sqlparser::ast::{Expr, SelectItem, SetExpr, Statement as SqlStatement};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::{Cursor, syntax};
use crate::ast::{ControlJobs, Jobs, ShowJobs, Sql, Statement, Verb, Wait};
use crate::error::Result;
use crate::sources;

/// {CANCEL | PAUSE | RESUME} {JOB expr | JOBS query} [WITH {WAIT [= 'interval'] | REASON = 'text'}, ...]
pub(super) fn parse_control_jobs(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let verb = match () {
        () if cursor.eat(&["CANCEL"]) => Verb::Cancel,
        () if cursor.eat(&["PAUSE"]) => Verb::Pause,
        () if cursor.eat(&["RESUME"]) => Verb::Resume,
        () => return Err(cursor.unexpected("CANCEL, PAUSE or RESUME")),
    };
    if !cursor.sees_one_of(&["JOB", "JOBS"]) {
        return Err(cursor.unexpected("JOB or JOBS"));
    }
    let jobs = parse_jobs(cursor, verb.as_str())?;
    let mut control = ControlJobs { verb, jobs, wait: None, reason: None };
    if cursor.eat(&["WITH"]) {
        cursor.list(|cursor| parse_control_option(cursor, &mut control))?;
    }
    if cursor.sees_token(&Token::Comma) && matches!(control.jobs, Jobs::One(_)) {
        let hint = format!("For several jobs: {} JOBS VALUES (1), (2)", verb.as_str());
        return Err(cursor.unexpected("one expression").with_hint(hint));
    }
    Ok(Statement::ControlJobs(control))
}

fn parse_control_option(cursor: &mut Cursor<'_>, control: &mut ControlJobs) -> Result<()> {
    const OPTIONS: &str = "The options are WAIT, WAIT = 'interval' and REASON = 'text'.";
    if cursor.sees(&["WAIT"]) {
        if control.wait.is_some() {
            return Err(syntax(cursor, "WAIT is given twice"));
        }
        cursor.skip(1);
        let limited = cursor.eat_token(&Token::Eq);
        control.wait = Some(if limited {
            Wait::AtMost(cursor.text_value("an interval, as in WAIT = '30s'")?)
        } else {
            Wait::Unlimited
        });
    } else if cursor.sees(&["REASON"]) {
        if control.reason.is_some() {
            return Err(syntax(cursor, "REASON is given twice"));
        }
        cursor.skip(1);
        cursor.expect_token(&Token::Eq, "=")?;
        control.reason = Some(cursor.text_value("a text, as in REASON = 'maintenance'")?);
    } else {
        return Err(cursor.unexpected("WAIT or REASON").with_hint(OPTIONS));
    }
    Ok(())
}

/// SHOW [AUTOMATIC] JOBS | SHOW {JOB expr | JOBS query} | SHOW JOB[S] WHEN COMPLETE {expr | query}.
/// SHOW itself is read.
pub(super) fn parse_show_jobs(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let automatic = cursor.eat(&["AUTOMATIC"]);
    if automatic || (cursor.sees(&["JOBS"]) && cursor.rest().len() == 1) {
        cursor.expect(&["JOBS"])?;
        return Ok(Statement::ShowJobs(ShowJobs { automatic, of: None, when_complete: false }));
    }
    let when_complete =
        cursor.sees(&["JOBS", "WHEN", "COMPLETE"]) || cursor.sees(&["JOB", "WHEN", "COMPLETE"]);
    let of = Some(parse_jobs(cursor, "SHOW")?);
    Ok(Statement::ShowJobs(ShowJobs { automatic, of, when_complete }))
}

/// {JOB | JOBS} [WHEN COMPLETE] {expr | query}
///
/// A query may follow `JOB WHEN COMPLETE`, and an expression may be a query in parentheses.
fn parse_jobs(cursor: &mut Cursor<'_>, verb: &str) -> Result<Jobs> {
    let many = cursor.eat(&["JOBS"]);
    if !many {
        cursor.expect(&["JOB"])?;
    }
    let waiting = verb == "SHOW" && cursor.eat(&["WHEN", "COMPLETE"]);
    let is_query = cursor.sees_one_of(&["SELECT", "WITH", "VALUES", "TABLE"]);
    if many && waiting && !is_query && !cursor.sees_token(&Token::LParen) {
        // As the reference system does: an expression may follow the plural too.
        return expression(cursor).map(Jobs::One);
    }
    if many || (waiting && is_query) {
        return super::query(cursor).map(unwrapped).map(Jobs::All).map_err(|error| {
            if is_query || cursor.sees_token(&Token::LParen) {
                error
            } else {
                error.with_hint(format!(
                    "{verb} JOBS takes a query, as in {verb} JOBS (SELECT job_id FROM [SHOW JOBS]); {verb} JOB takes one id."
                ))
            }
        });
    }
    if is_query {
        let hint = format!("With a query it is {verb} JOBS, or a query in parentheses.");
        return Err(cursor.unexpected("an expression").with_hint(hint));
    }
    expression(cursor).map(Jobs::One)
}

/// A scalar expression as the query `SELECT expr`.
fn expression(cursor: &mut Cursor<'_>) -> Result<Sql> {
    sources::sql(cursor, |parser| {
        let expr = parser.parse_expr()?;
        select_of(expr)
    })
}

fn select_of(expr: Expr) -> Result<SqlStatement, ParserError> {
    // The parser knows all fields of a SELECT of this release; we only care for one.
    let dialect = sqlparser::dialect::PostgreSqlDialect {};
    let mut query = Parser::new(&dialect).try_with_sql("SELECT 1")?.parse_query()?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = vec![SelectItem::UnnamedExpr(expr)];
    }
    Ok(SqlStatement::Query(query))
}

/// A query without the parentheses around all of it.
fn unwrapped(mut sql: Sql) -> Sql {
    while let SqlStatement::Query(query) = sql.ast.as_mut() {
        let plain = query.with.is_none()
            && query.order_by.is_none()
            && query.limit_clause.is_none()
            && query.fetch.is_none()
            && query.locks.is_empty()
            && query.for_clause.is_none()
            && query.pipe_operators.is_empty();
        match query.body.as_mut() {
            SetExpr::Query(inner) if plain => *query = inner.clone(),
            _ => break,
        }
    }
    sql
}
