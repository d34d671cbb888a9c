//! The load: connections that write rows, move money, import, empty and drop tables, control jobs, change
//! settings, and look, all at once, until the server dies or the round ends.
//!
//! Each connection writes down what it sends before it sends it, and what it hears before it goes on.

mod auditor;
mod controller;
mod import;
mod observer;
mod settings;
mod tables;
mod teller;
mod writer;

use std::sync::Arc;

use cairn_jobs::State;
use tokio::task::JoinSet;

use super::expected::{Marker, Seen};
use super::fault::Fault;
use super::lane::{End, Lane, Shared};
use super::plan::{TABLES, TELLERS, WRITERS};
use crate::client::Client;
use crate::random::Random;

pub(crate) use controller::{cancel, resume};
pub(crate) use settings::set;
pub(crate) use tables::summary;

/// Where the lanes connect to, and what they have in common.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) shared: Arc<Shared>,
}

impl Place {
    /// A connection.
    pub(crate) async fn lane(&self, name: &str, random: Random) -> Result<Lane, Fault> {
        let client = Client::connect(&self.url).await;
        let client = client.map_err(|refused| {
            Fault::new(
                format!("a connection for {name}"),
                "one: the server said it is ready",
                refused,
            )
        })?;
        Ok(Lane { name: name.to_owned(), shared: Arc::clone(&self.shared), client, random })
    }
}

/// What of the load runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// Change cluster settings.
    pub(crate) settings: bool,
}

/// Connects everybody and lets them begin. `random` gives each connection its numbers.
pub(crate) async fn begin(
    place: &Place,
    extent: Extent,
    random: impl Fn(u64) -> Random,
) -> Result<JoinSet<()>, Fault> {
    let mut lanes = JoinSet::new();
    let mut number = 0;
    let mut next = || {
        number += 1;
        random(number)
    };
    for at in 0..WRITERS {
        let lane = place.lane(&format!("writer {at}"), next()).await?;
        lanes.spawn(writer::run(lane, at));
    }
    for at in 0..TELLERS {
        let lane = place.lane(&format!("teller {at}"), next()).await?;
        lanes.spawn(teller::run(lane, at));
    }
    for at in 0..TABLES {
        let lane = place.lane(&format!("table {at}"), next()).await?;
        lanes.spawn(tables::run(lane, place.clone(), at));
    }
    lanes.spawn(auditor::run(place.lane("auditor", next()).await?));
    lanes.spawn(observer::run(place.lane("observer", next()).await?));
    lanes.spawn(controller::run(place.lane("controller", next()).await?));
    if extent.settings {
        lanes.spawn(settings::run(place.lane("settings", next()).await?));
    }
    Ok(lanes)
}

/// Waits until all lanes have ended; the server is gone, or they were told to stop.
pub(crate) async fn end(shared: &Shared, mut lanes: JoinSet<()>) {
    let ended = async {
        while let Some(lane) = lanes.join_next().await {
            if let Err(error) = lane {
                shared.fault(Fault::new("a lane of the load", "an end", error));
            }
        }
    };
    if tokio::time::timeout(std::time::Duration::from_secs(60), ended).await.is_err() {
        shared.fault(Fault::new("the load", "an end: the server is gone", "it goes on"));
    }
}

/// A lane has ended.
fn ended(lane: &Lane, result: Result<(), End>) {
    match result {
        Ok(()) | Err(End::Lost) => {}
        Err(End::Wrong(fault)) => {
            lane.shared.journal.note(&lane.name, &format!("FAULT: {}", fault.what));
            lane.shared.fault(fault);
        }
    }
}

/// A number in an answer.
pub(crate) fn number(text: &str) -> Result<i64, Fault> {
    text.parse().map_err(|_| Fault::new("a cell of an answer", "a whole number", text))
}

/// A state in an answer.
pub(crate) fn state(text: &str) -> Result<State, Fault> {
    let state = State::ALL.into_iter().find(|state| state.as_str() == text);
    state.ok_or_else(|| Fault::new("a cell of an answer", "a state", text))
}

/// All jobs with their statements.
pub(crate) async fn whole_listing(lane: &Lane) -> Result<Vec<Seen>, End> {
    let sql = "SELECT job_id, statement, status, fraction_completed FROM [SHOW JOBS]";
    let seen = lane.must_rows(sql).await?.into_iter().map(|row| {
        let [id, statement, status, fraction] = row.as_slice() else {
            return Err(Fault::new(sql, "four columns", row.len()));
        };
        let marker = Marker::find(statement)
            .ok_or_else(|| Fault::new(format!("job {id}"), "a statement of ours", statement))?;
        Ok(Seen {
            marker: Some(marker),
            id: number(id)?,
            state: state(status)?,
            fraction: fraction_of(fraction)?,
            bytes: None,
        })
    });
    Ok(seen.collect::<Result<_, _>>()?)
}

/// All jobs with their bytes.
pub(crate) async fn byte_listing(lane: &Lane) -> Result<Vec<Seen>, End> {
    let sql = "SELECT job_id, status, fraction, bytes_written FROM cairn.jobs";
    let seen = lane.must_rows(sql).await?.into_iter().map(|row| {
        let [id, status, fraction, bytes] = row.as_slice() else {
            return Err(Fault::new(sql, "four columns", row.len()));
        };
        Ok(Seen {
            marker: None,
            id: number(id)?,
            state: state(status)?,
            fraction: fraction_of(fraction)?,
            bytes: Some(number(bytes)?),
        })
    });
    Ok(seen.collect::<Result<_, _>>()?)
}

fn fraction_of(text: &str) -> Result<f64, Fault> {
    text.parse().map_err(|_| Fault::new("a cell of an answer", "a fraction", text))
}
