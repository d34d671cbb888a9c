//! IMPORT INTO: submits the job, says its id at once, and waits for it.
//!
//! The wait is the client's, the work is the job's: ending the one does not end the other.

use cairn_jobs::{JobId, JobView, State};
use datafusion::common::ScalarValue;

use crate::ast::{Import, Statement};
use crate::describe::{is_detached, own};
use crate::error::{Result, SqlError, code};
use crate::execute::jobs::until;
use crate::execute::{Context, rows};
use crate::import::ImportKind;
use crate::notice::Notice;
use crate::session::{Answer, Scope};
use crate::views::{Rows, int, text};

/// IMPORT INTO.
pub(crate) async fn execute(
    scope: &Scope,
    import: &Import,
    context: Context<'_>,
) -> Result<Answer> {
    let resolved = resolve(import, context)?;
    let job = crate::import::plan(scope, &resolved, context.text).await?;
    let id = scope.jobs().submit::<ImportKind>(job).await?;
    let detached = is_detached(import);
    scope.notices.send(if detached {
        Notice::new(format!("job {id} started")).with_hint(format!(
            "Cancel it with CANCEL JOB {id}; wait for it with SHOW JOB WHEN COMPLETE {id}."
        ))
    } else {
        Notice::new(format!(
            "job {id} started; cancel it from another session with CANCEL JOB {id}"
        ))
    });
    let columns = own(&Statement::Import(resolved));
    let columns = columns.ok_or_else(|| SqlError::internal("IMPORT has columns"))?;
    let mut shown = Rows::new(&columns);
    if detached {
        shown.push([ScalarValue::Int64(Some(id.raw()))]);
    } else {
        let job =
            until(scope, id, |job| job.state.is_terminal() || job.state == State::Paused).await?;
        let job = succeeded(id, job)?;
        shown.push([
            ScalarValue::Int64(Some(id.raw())),
            text(job.state.as_str()),
            ScalarValue::Float64(Some(job.fraction)),
            int(job.rows),
            int(job.index_entries),
            int(job.bytes),
        ]);
    }
    Ok(rows(shown.finish()?, |rows| format!("IMPORT {rows}")))
}

/// What the client that waited hears of a job's end.
fn succeeded(id: JobId, job: JobView) -> Result<JobView> {
    match job.state {
        State::Succeeded => Ok(job),
        State::Canceled => Err(SqlError::new(code::QUERY_CANCELED, "job canceled")
            .with_detail(format!("Job {id} was canceled; nothing of it is left."))),
        State::Failed | State::RevertFailed => Err(match &job.error {
            Some(failure) => SqlError::from(failure),
            None => SqlError::internal(format!("job {id} failed and does not say why")),
        }),
        State::Paused => {
            let error = SqlError::wrong_state(format!("job {id} was paused before it completed"))
                .with_hint(format!("RESUME JOB {id} lets it go on; CANCEL JOB {id} undoes it."));
            Err(if job.running_status.is_empty() {
                error
            } else {
                error.with_detail(job.running_status)
            })
        }
        State::Pending
        | State::Running
        | State::PauseRequested
        | State::CancelRequested
        | State::Reverting => Err(SqlError::internal(format!(
            "the wait for job {id} ended while it was {}",
            job.state
        ))),
    }
}

/// The statement with all texts said.
fn resolve(import: &Import, context: Context<'_>) -> Result<Import> {
    let mut import = import.clone();
    for place in &mut import.places {
        place.uri = crate::ast::Text::Literal(context.resolve(&place.uri)?);
    }
    for option in &mut import.options {
        if let Some(value) = &option.value {
            option.value = Some(crate::ast::Text::Literal(context.resolve(value)?));
        }
    }
    Ok(import)
}
