//! IMPORT, with a client that waits for it and without.

use std::sync::Arc;

use cairn_jobs::State;
use tokio::task::JoinSet;

use super::{Place, number};
use crate::client::Refused;
use crate::kill::expected::{Job, Marker};
use crate::kill::fault::Fault;
use crate::kill::lane::{End, Lane};
use crate::kill::source::Source;

/// An import that is about to be submitted.
struct Submission {
    marker: Marker,
    source: &'static Source,
    sql: String,
    /// The table has no rows and no other import, so it cannot be refused.
    must_be_accepted: bool,
}

impl Submission {
    /// Writes down that it is about to be sent.
    fn begin(lane: &Lane, at: usize, source: &'static Source, options: &str) -> Option<Self> {
        let (marker, must_be_accepted) = lane.expected(|expected| {
            let table = expected.tables[at].value().clone()?;
            let marker = expected.next_marker();
            let gone = |job: &Job| !job.may_have_succeeded() && job.end().is_some();
            let others_gone = expected.jobs.of(at, table.generation).all(|(_, job)| gone(job));
            let meets_row = table.hand.keys().any(|&k| k <= source.rows());
            let may_collide = meets_row || !others_gone;
            expected.jobs.submit(marker, at, table.generation, source, may_collide);
            Some((marker, others_gone && table.hand.is_empty()))
        })?;
        let (comment, uri) = (marker.comment(), source.uri());
        let sql = format!("IMPORT INTO t{at} {comment} CSV DATA ('{uri}'){options}");
        Some(Self { marker, source, sql, must_be_accepted })
    }

    /// It was refused before there was a job.
    fn refused(&self, lane: &Lane, refused: &Refused) -> Result<(), End> {
        lane.expected(|expected| expected.jobs.refused(self.marker));
        let of_state = matches!(refused.code.as_str(), "55000" | "55006");
        if of_state && !self.must_be_accepted {
            return Ok(());
        }
        Err(lane.unexpected(&self.sql, refused))
    }
}

/// Submits an import and goes on.
pub(super) async fn detached(lane: &Lane, at: usize, source: &'static Source) -> Result<(), End> {
    let Some(submission) = Submission::begin(lane, at, source, " WITH detached") else {
        return Ok(());
    };
    match lane.rows(&submission.sql).await? {
        Ok(rows) => {
            let id = rows.first().and_then(|row| row.first());
            let id = number(id.map_or("", String::as_str))?;
            Ok(lane.expected(|expected| expected.jobs.accepted(submission.marker, id))?)
        }
        Err(refused) => submission.refused(lane, &refused),
    }
}

/// Submits an import that a connection of its own waits for; returns when it was accepted or refused.
pub(super) async fn waiting(
    lane: &mut Lane,
    place: &Place,
    waiters: &mut JoinSet<()>,
    at: usize,
    source: &'static Source,
) -> Result<(), End> {
    let random = lane.random.fork(0);
    // The server may be gone already, which is no fault here.
    let Ok(waiter) = place.lane(&format!("import {at}"), random).await else {
        return Err(End::Lost);
    };
    let Some(submission) = Submission::begin(lane, at, source, "") else { return Ok(()) };
    let marker = submission.marker;
    let mut notices = waiter.client.notices();
    waiters.spawn(async move {
        let result = wait(&waiter, &submission).await;
        super::ended(&waiter, result);
    });
    // Without a notice the statement was refused, or the server is gone.
    let Some(notice) = notices.first("job ").await else { return Ok(()) };
    let id = notice.split_whitespace().nth(1).unwrap_or_default();
    let id = number(id)?;
    Ok(Arc::clone(&lane.shared).expected(|expected| expected.jobs.accepted(marker, id))?)
}

async fn wait(lane: &Lane, submission: &Submission) -> Result<(), End> {
    let Submission { marker, source, sql, .. } = submission;
    let end = match lane.rows(sql).await? {
        Ok(rows) => {
            let [row] = rows.as_slice() else {
                return Err(Fault::new(sql, "one row", format!("{rows:?}")).into());
            };
            let expected = ["succeeded", "1", &source.rows().to_string()].join(" ");
            let found = row.get(1..4).unwrap_or_default().join(" ");
            if found != expected {
                return Err(Fault::new(sql, expected, found).into());
            }
            let id = number(&row[0])?;
            lane.expected(|expected| expected.jobs.accepted(*marker, id))?;
            State::Succeeded
        }
        Err(refused) => match refused.code.as_str() {
            "57014" if refused.text.contains("job canceled") => State::Canceled,
            "22P02" | "23505" => State::Failed,
            "55000" if refused.text.contains("was paused") => return Ok(()),
            _ => return submission.refused(lane, &refused),
        },
    };
    Ok(lane.expected(|expected| expected.jobs.heard_end(*marker, end))?)
}
