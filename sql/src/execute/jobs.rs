//! SHOW JOBS, and CANCEL, PAUSE and RESUME JOBS.
//!
//! Who controls jobs must be in admin; that is checked before anything runs, so also for a query
//! without rows. A statement changes all of its jobs or none. With WAIT it answers when the jobs
//! are where they should be: canceled and their bytes given back, or paused.

use std::future::Future;
use std::time::Duration;

use cairn_jobs::{ControlOptions, Failure, JobId, JobView, State};
use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Int64Type};

use crate::ast::{ControlJobs, Jobs, ShowJobs, Verb, Wait};
use crate::error::{Result, SqlError, code};
use crate::execute::{Context, planned, rows, show_tag};
use crate::prepare::{check_ids, literal_id};
use crate::session::{Answer, Scope};
use crate::views::jobs::{Which, show as show_rows, visible};

/// How long `WHEN COMPLETE` waits.
const COMPLETE_MAX: Duration = Duration::from_secs(24 * 3600);

/// SHOW [AUTOMATIC] JOBS, SHOW JOB id, SHOW JOBS WHEN COMPLETE.
pub(crate) async fn show(scope: &Scope, show: &ShowJobs, context: Context<'_>) -> Result<Answer> {
    let which = match &show.of {
        None if show.automatic => Which::RecentAutomatic,
        None => Which::Recent,
        Some(jobs) => {
            let ids = ids(scope, "SHOW", jobs, context).await?;
            if show.when_complete {
                wait_complete(scope, &ids).await?;
            }
            Which::These(ids)
        }
    };
    Ok(rows(show_rows(scope, &which).await?, show_tag))
}

async fn wait_complete(scope: &Scope, ids: &[JobId]) -> Result<()> {
    let seen = visible(scope).await?;
    for id in ids {
        if !seen.iter().any(|job| job.id == *id) {
            return Err(SqlError::no_such(format!("job {id}")));
        }
    }
    let all = async {
        for id in ids {
            until(scope, *id, |job| job.state.is_terminal()).await?;
        }
        Ok(())
    };
    within(Some(COMPLETE_MAX), all, || {
        SqlError::wrong_state("timed out waiting for jobs")
            .with_hint("SHOW JOBS WHEN COMPLETE waits for 24 hours; ask again.")
    })
    .await
}

/// CANCEL, PAUSE, RESUME JOB[S].
pub(crate) async fn control(
    scope: &Scope,
    control: &ControlJobs,
    context: Context<'_>,
) -> Result<Answer> {
    let verb = control.verb;
    scope.require_admin(&format!("{} jobs", verb.as_str().to_ascii_lowercase()))?;
    let limit = match &control.wait {
        None => None,
        Some(Wait::Unlimited) => Some(None),
        Some(Wait::AtMost(text)) => {
            let text = context.resolve(text)?;
            let limit = Wait::limit(&text).ok_or_else(|| {
                SqlError::invalid_value(format!("invalid interval for WAIT: \"{text}\""))
                    .with_hint("For example: WITH WAIT = '30s'")
            })?;
            Some(Some(limit))
        }
    };
    let mut options = ControlOptions::by(&scope.facts.user).all_or_nothing();
    if let Some(reason) = &control.reason {
        options = options.because(context.resolve(reason)?);
    }
    let ids = ids(scope, verb.as_str(), &control.jobs, context).await?;
    ask(scope, verb, &ids, options).await?;
    if let Some(limit) = limit {
        let all = async {
            for id in &ids {
                arrive(scope, verb, *id).await?;
            }
            Ok(())
        };
        within(limit, all, || {
            SqlError::wrong_state(format!("the wait for {} JOBS timed out", verb.as_str()))
                .with_detail("The request itself stands.")
                .with_hint("SHOW JOBS tells how far the jobs are.")
        })
        .await?;
    }
    Ok(Answer::Done { tag: format!("{} JOBS {}", verb.as_str(), ids.len()) })
}

/// Asks for the change, of all jobs or none.
async fn ask(scope: &Scope, verb: Verb, ids: &[JobId], options: ControlOptions) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let jobs = scope.jobs();
    let failure: Option<Failure> = match verb {
        Verb::Cancel => {
            let outcomes = jobs.cancel(ids, options).await?;
            ids.iter().zip(outcomes).find_map(|(id, outcome)| outcome.failure(*id))
        }
        Verb::Pause => {
            let outcomes = jobs.pause(ids, options).await?;
            ids.iter().zip(outcomes).find_map(|(id, outcome)| outcome.failure(*id))
        }
        Verb::Resume => {
            let outcomes = jobs.resume(ids, options).await?;
            ids.iter().zip(outcomes).find_map(|(id, outcome)| outcome.failure(*id))
        }
    };
    match failure {
        None => Ok(()),
        Some(failure) if ids.len() > 1 => {
            let error = SqlError::from(&failure);
            let none = format!("None of the {} jobs was changed.", ids.len());
            Err(match error.detail.clone() {
                Some(detail) => error.with_detail(format!("{detail} {none}")),
                None => error.with_detail(none),
            })
        }
        Some(failure) => Err(SqlError::from(&failure)),
    }
}

/// Waits until a job is where `verb` should bring it.
async fn arrive(scope: &Scope, verb: Verb, id: JobId) -> Result<()> {
    match verb {
        Verb::Cancel => {
            until(scope, id, |job| job.state.is_terminal()).await?;
            scope.stop.race(scope.jobs().wait_reclaimed(id)).await??;
            Ok(())
        }
        Verb::Pause => {
            let job = until(scope, id, |job| job.state == State::Paused || job.state.is_terminal())
                .await?;
            if job.state == State::Paused {
                return Ok(());
            }
            Err(SqlError::wrong_state(format!(
                "job {id} ended as {} before it was paused",
                job.state
            )))
        }
        Verb::Resume => {
            let waiting = [State::Paused, State::PauseRequested];
            until(scope, id, |job| !waiting.contains(&job.state)).await.map(drop)
        }
    }
}

/// Waits until a job satisfies `done` or has ended. Ends with the statement; the job goes on.
pub(crate) async fn until(
    scope: &Scope,
    id: JobId,
    done: impl FnMut(&JobView) -> bool,
) -> Result<JobView> {
    scope.stop.waits_for(Some(id));
    let waited = scope.stop.race(scope.jobs().wait_until(id, done)).await;
    scope.stop.waits_for(None);
    Ok(waited??)
}

async fn within<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T>>,
    late: impl FnOnce() -> SqlError,
) -> Result<T> {
    match limit {
        None => work.await,
        Some(limit) => match tokio::time::timeout(limit, work).await {
            Ok(done) => done,
            Err(_) => Err(late()),
        },
    }
}

fn known_id(raw: i64) -> Result<JobId> {
    JobId::from_raw(raw).ok_or_else(|| {
        SqlError::new(code::UNDEFINED_OBJECT, format!("job with ID {raw} does not exist"))
            .with_hint("SHOW JOBS lists the jobs there are.")
    })
}

/// The ids a query answers, each once, without NULLs.
async fn ids(scope: &Scope, verb: &str, jobs: &Jobs, context: Context<'_>) -> Result<Vec<JobId>> {
    if let Some(raw) = literal_id(jobs) {
        return Ok(vec![known_id(raw)?]);
    }
    let query = planned(scope, jobs.query(), context, false).await?;
    check_ids(verb, &query)?;
    let mut ids = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for batch in query.collect(scope).await? {
        // Strictly: what does not fit is not NULL, which would be passed over.
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let column = cast_with_options(batch.column(0), &DataType::Int64, &strict);
        let column = column.map_err(|error| {
            SqlError::new(
                code::NUMERIC_VALUE_OUT_OF_RANGE,
                format!("the id of a job is out of range: {error}"),
            )
        })?;
        for raw in column.as_primitive::<Int64Type>().iter().flatten() {
            let id = known_id(raw)?;
            if seen.insert(id) {
                ids.push(id);
            }
        }
    }
    if matches!(jobs, Jobs::One(_)) && ids.len() > 1 {
        return Err(SqlError::new(
            "21000",
            "more than one row returned by a subquery used as an expression",
        ));
    }
    Ok(ids)
}
