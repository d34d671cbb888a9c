//! The doctor for jobs: on top of the engine's, checks that records and claims belong together.
//!
//! Reads only, and may run beside live jobs: what looks wrong is looked at again before it is told.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cairn_engine::{Engine, Family, Finding, SpanFamily, SpanId};

use crate::error::Result;
use crate::history;
use crate::id::JobId;
use crate::record::{
    CheckpointRecord, Control, FIRST, PayloadRecord, ProgressRecord, SECOND, split_key,
};

/// Checks engine and jobs. `published` are the spans that the catalog names. An empty answer means:
/// every span has exactly one owner, every claim belongs to an unfinished job, and every record of a job
/// can be read and belongs to a job.
///
/// # Errors
/// A storage error: the check could not be completed.
pub fn doctor(engine: &Engine, published: &BTreeMap<SpanId, SpanFamily>) -> Result<Vec<Finding>> {
    let mut findings = engine.doctor(published)?;
    check_claims(engine, &mut findings)?;
    let jobs = check_controls(engine, &mut findings)?;
    check_records(engine, &jobs, &mut findings)?;
    Ok(findings)
}

fn check_claims(engine: &Engine, findings: &mut Vec<Finding>) -> Result<()> {
    for claim in engine.claims()? {
        let place = format!("claim {}", claim.id);
        let Some(id) = JobId::of_owner(claim.owner) else {
            let message = format!("belongs to {}, which is no job", claim.owner);
            findings.push(Finding::error(place, message, "report it as a bug"));
            continue;
        };
        // Claims first, jobs second: a job may have ended in between, and its claim with it.
        let message = match Control::load(engine, id) {
            Ok(None) => format!("belongs to job {id}, which does not exist"),
            Ok(Some(control)) if control.standing.state.is_terminal() => {
                format!("belongs to job {id}, which is {}", control.standing.state)
            }
            Ok(Some(_)) | Err(_) => continue,
        };
        if engine.claims_of(claim.owner)?.iter().any(|again| again.id == claim.id) {
            let hint = "an ended job leaves no claims; report it as a bug";
            findings.push(Finding::error(place, message, hint));
        }
    }
    Ok(())
}

/// Every control record can be read. Answers the jobs that are not damaged.
fn check_controls(engine: &Engine, findings: &mut Vec<Finding>) -> Result<Vec<Control>> {
    let mut jobs = Vec::new();
    for (key, record) in engine.records(Family::Jobs, &[FIRST])? {
        // A broken frame is the engine's finding.
        let Ok((_, body)) = record else { continue };
        match Control::decode(&key, &body) {
            Ok(control) => jobs.push(control),
            Err(damage) => findings.push(Finding::error(
                format!("jobs {}", hex(&key)),
                damage.to_string(),
                "the job is left alone; restore the store from a backup, or keep it for analysis",
            )),
        }
    }
    for control in &jobs {
        let state = control.standing.state;
        if state.is_terminal() != control.finished.is_some() {
            let message = format!(
                "is {state}, but has {} end",
                if state.is_terminal() { "no" } else { "an" }
            );
            findings.push(Finding::error(
                format!("job {}", control.id),
                message,
                "report it as a bug",
            ));
        }
        if let Err(damage) = PayloadRecord::load(engine, control.id)
            && Control::load(engine, control.id).is_ok_and(|control| control.is_some())
        {
            findings.push(Finding::error(
                format!("job {}", control.id),
                format!("has no payload that can be read: {damage}"),
                "it cannot go on; CANCEL JOB removes what it wrote",
            ));
        }
    }
    Ok(jobs)
}

/// Every record about a job belongs to a job, and can be read.
fn check_records(engine: &Engine, jobs: &[Control], findings: &mut Vec<Finding>) -> Result<()> {
    let known: BTreeSet<JobId> = jobs.iter().map(|control| control.id).collect();
    // A job may have come since the list was made.
    let exists = |id: JobId| known.contains(&id) || !matches!(Control::load(engine, id), Ok(None));
    for family in [Family::Jobs, Family::Progress, Family::History] {
        for (key, record) in engine.records(family, &[])? {
            let owner = match family {
                Family::History => history::split_key(&key).map(|(id, _)| id),
                _ => split_key(&key)
                    .filter(|(which, _)| [FIRST, SECOND].contains(which))
                    .map(|(_, id)| id),
            };
            let place = format!("{family} {}", hex(&key));
            match owner {
                None => findings.push(Finding::error(
                    place,
                    "a key of unknown form",
                    "written by a newer release? it is left alone",
                )),
                Some(id) if !exists(id) => {
                    // The job may have been removed, and the record with it.
                    if !engine.records(family, &key)?.is_empty() {
                        findings.push(Finding::error(
                            place,
                            format!("belongs to job {id}, which does not exist"),
                            "nothing reads it; report it as a bug",
                        ));
                    }
                }
                Some(_) => {
                    if let (Ok((_, body)), Family::Progress) = (record, family)
                        && !can_be_read(&key, body)
                    {
                        let message = "a progress or checkpoint record that cannot be read";
                        findings.push(Finding::error(
                            place,
                            message,
                            "the job cannot go on; report it as a bug",
                        ));
                    }
                }
            }
        }
    }
    Ok(())
}

fn can_be_read(key: &[u8], body: Bytes) -> bool {
    use prost::Message as _;
    match key.first() {
        Some(&FIRST) => ProgressRecord::decode(body).is_ok(),
        Some(&SECOND) => CheckpointRecord::decode(body).is_ok(),
        _ => false,
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().take(32).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
