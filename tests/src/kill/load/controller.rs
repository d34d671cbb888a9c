//! CANCEL, PAUSE and RESUME of random jobs, with and without waiting, one by one and by query.

use std::time::Duration;

use cairn_jobs::State;

use crate::client::Refused;
use crate::kill::expected::{Hold, Marker};
use crate::kill::fault::Fault;
use crate::kill::lane::{End, Lane};
use crate::kill::plan::{self, ControlStep};

/// Longest time that a statement waits for a job: a paused reclaim would make it wait for good.
const WAIT: &str = "WAIT = '300ms'";

pub(super) async fn run(mut lane: Lane) {
    let result = control(&mut lane).await;
    super::ended(&lane, result);
}

async fn control(lane: &mut Lane) -> Result<(), End> {
    while lane.goes_on() {
        // The load's own pace: jobs should get somewhere in between.
        tokio::time::sleep(Duration::from_millis(lane.random.below(80))).await;
        let step = plan::control_step(&mut lane.random);
        if step == ControlStep::Sweep {
            sweep(lane).await?;
            continue;
        }
        let Some((marker, id)) = some_job(lane) else { continue };
        match step {
            ControlStep::Cancel => cancel(lane, marker, id, false).await?,
            ControlStep::CancelAndWait => cancel(lane, marker, id, true).await?,
            ControlStep::Pause => pause(lane, marker, id, false).await?,
            ControlStep::PauseAndWait => pause(lane, marker, id, true).await?,
            ControlStep::Resume => resume(lane, marker, id).await?,
            ControlStep::Sweep => {}
        }
    }
    Ok(())
}

/// Mostly one that has not ended, as far as that is known.
fn some_job(lane: &mut Lane) -> Option<(Marker, i64)> {
    let ended_too = lane.random.chance(15);
    let jobs: Vec<(Marker, i64)> = lane.expected(|expected| {
        let jobs = expected.jobs.iter().filter(|(_, job)| ended_too || job.end().is_none());
        jobs.filter_map(|(marker, job)| Some((marker, job.id()?))).collect()
    });
    // Of those that ended, the younger ones are of more interest.
    let recent = jobs.len().saturating_sub(20);
    let jobs = &jobs[recent..];
    if jobs.is_empty() { None } else { Some(*lane.random.pick(jobs)) }
}

/// Whether the statement was refused because of the job's state, or because its record is gone.
fn is_refusal(lane: &Lane, refused: &Refused) -> bool {
    let gone = refused.code == "42704" && lane.expected(|expected| expected.jobs.forgets());
    refused.code == "55000" || gone
}

/// Cancels a job, and with `wait` waits a while until its bytes are given back.
pub(crate) async fn cancel(lane: &Lane, marker: Marker, id: i64, wait: bool) -> Result<(), End> {
    lane.expected(|expected| expected.jobs.begin_cancel(&[marker]));
    let sql =
        if wait { format!("CANCEL JOB {id} WITH {WAIT}") } else { format!("CANCEL JOB {id}") };
    match lane.run(&sql).await? {
        Ok(_) => {
            lane.expected(|expected| {
                expected.jobs.cancel_acknowledged(marker)?;
                if wait { expected.jobs.heard_end(marker, State::Canceled) } else { Ok(()) }
            })?;
            if wait {
                let left = format!("SELECT count(*) FROM cairn.tombstones WHERE job_id = {id}");
                let rows = lane.must_rows(&left).await?;
                if rows != [["0"]] {
                    let what = format!("tombstones of job {id} after CANCEL WITH WAIT");
                    return Err(Fault::new(what, "none", format!("{rows:?}")).into());
                }
            }
        }
        // The request itself stands.
        Err(refused) if wait && refused.text.contains("timed out") => {
            lane.expected(|expected| expected.jobs.cancel_acknowledged(marker))?;
        }
        Err(refused) if is_refusal(lane, &refused) => {
            lane.expected(|expected| expected.jobs.end_cancel(&[marker], false));
        }
        Err(refused) => return Err(lane.unexpected(&sql, &refused)),
    }
    Ok(())
}

async fn sweep(lane: &Lane) -> Result<(), End> {
    let sql = "CANCEL JOBS (SELECT job_id FROM [SHOW JOBS] WHERE status IN ('pending', 'running', 'paused'))";
    let running = lane.expected(|expected| expected.jobs.begin_sweep());
    let refused = match lane.run(sql).await? {
        Ok(_) => false,
        Err(refused) if is_refusal(lane, &refused) => true,
        Err(refused) => return Err(lane.unexpected(sql, &refused)),
    };
    lane.expected(|expected| expected.jobs.end_sweep(&running, refused));
    Ok(())
}

async fn pause(lane: &Lane, marker: Marker, id: i64, wait: bool) -> Result<(), End> {
    let before = lane.expected(|expected| expected.jobs.begin_pause(marker));
    let sql = if wait { format!("PAUSE JOB {id} WITH {WAIT}") } else { format!("PAUSE JOB {id}") };
    let hold = match lane.run(&sql).await? {
        Ok(_) => Hold::Held,
        // Refused, or accepted and not reached.
        Err(refused) if wait && is_refusal(lane, &refused) => Hold::Unknown,
        Err(refused) if is_refusal(lane, &refused) => before,
        Err(refused) => return Err(lane.unexpected(&sql, &refused)),
    };
    lane.expected(|expected| expected.jobs.end_control(marker, hold));
    Ok(())
}

/// Lets a job go on.
pub(crate) async fn resume(lane: &Lane, marker: Marker, id: i64) -> Result<(), End> {
    let before = lane.expected(|expected| expected.jobs.begin_resume(marker));
    let sql = format!("RESUME JOB {id}");
    let hold = match lane.run(&sql).await? {
        Ok(_) => Hold::Free,
        Err(refused) if is_refusal(lane, &refused) => before,
        Err(refused) => return Err(lane.unexpected(&sql, &refused)),
    };
    lane.expected(|expected| expected.jobs.end_control(marker, hold));
    Ok(())
}
