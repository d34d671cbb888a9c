//! `cairn jobs`: looks at the jobs of a running server and controls them.
//!
//! Everything goes through SQL, as any other client would do it; so the rules of who may do what are the server's.
//! Exit status: 0, 1 when the server refused or a job is unknown, 2 when there is no connection; `watch ID` ends with 1
//! too when the job did not succeed.

use crate::client::{DEFAULT_URL, Outcome, connect, describe, describe_message, query, run};
use crate::table::Table;
use crate::terminal::{bytes, complain, say, width};
use clap::{Args, Subcommand};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;
use tokio_postgres::{Client, Error};

const LIST: &str = "SELECT job_id, kind, user_name, status, phase, bar, rate, eta, message FROM cairn.jobs \
                    ORDER BY finished IS NOT NULL, created DESC";
const WATCHED: &str = "SELECT job_id, kind, status, phase, fraction, rate, eta, stalled, bytes_written, \
                       bytes_to_reclaim, message FROM cairn.jobs";
/// How often a watched job is asked about.
const WATCH_EVERY: Duration = Duration::from_millis(250);
const STEPS: u64 = 1000;

/// Options of `cairn jobs`.
#[derive(Args)]
pub(crate) struct Jobs {
    /// Where the server is.
    #[arg(long, default_value = DEFAULT_URL, global = true)]
    url: String,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// All jobs, unfinished ones first.
    List,
    /// Everything about one job.
    Show { id: i64 },
    /// Bars that move: one job until it ends, or all unfinished ones until Ctrl-C.
    Watch { id: Option<i64> },
    /// Cancel jobs: all of them or, if one cannot be cancelled, none.
    Cancel {
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Pause jobs: all or none.
    Pause {
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Resume paused jobs: all or none.
    Resume {
        #[arg(required = true)]
        ids: Vec<i64>,
    },
}

impl Jobs {
    pub(crate) async fn run(self) -> ExitCode {
        let client = match connect(&self.url, |notice| complain(&describe_message(notice))).await {
            Ok(client) => client,
            Err(error) => {
                complain(&describe(&error));
                return ExitCode::from(2);
            }
        };
        let done = match self.action {
            Action::List => list(&client).await,
            Action::Show { id } => show(&client, id).await,
            Action::Watch { id } => watch(&client, id).await,
            Action::Cancel { ids } => control(&client, "CANCEL", &ids).await,
            Action::Pause { ids } => control(&client, "PAUSE", &ids).await,
            Action::Resume { ids } => control(&client, "RESUME", &ids).await,
        };
        match done {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                complain(&describe(&error));
                ExitCode::FAILURE
            }
        }
    }
}

async fn list(client: &Client) -> Result<bool, Error> {
    say(&query(client, LIST).await?.render(width()));
    Ok(true)
}

async fn show(client: &Client, id: i64) -> Result<bool, Error> {
    let job = query(client, &format!("SELECT * FROM cairn.jobs WHERE job_id = {id}")).await?;
    if job.rows.is_empty() {
        complain(&format!("no job {id}"));
        return Ok(false);
    }
    // One record is always easier to read upright.
    say(&job.render(Some(0)));
    Ok(true)
}

async fn control(client: &Client, verb: &str, ids: &[i64]) -> Result<bool, Error> {
    let values: Vec<String> = ids.iter().map(|id| format!("({id})")).collect();
    let statement = match ids {
        [id] => format!("{verb} JOB {id}"),
        _ => format!("{verb} JOBS (VALUES {})", values.join(", ")),
    };
    run(client, &statement, |outcome| {
        if let Outcome::Done(count) = outcome {
            say(&format!("{verb} JOBS {count}"));
        }
    })
    .await?;
    Ok(true)
}

/// One job as [`WATCHED`] shows it.
pub(crate) struct Watched {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) phase: String,
    pub(crate) fraction: f64,
    pub(crate) rate: String,
    pub(crate) eta: String,
    pub(crate) stalled: bool,
    pub(crate) bytes_written: u64,
    pub(crate) bytes_to_reclaim: u64,
    pub(crate) message: String,
}

impl Watched {
    /// The jobs that a condition on `cairn.jobs` selects.
    pub(crate) async fn all(client: &Client, condition: &str) -> Result<Vec<Watched>, Error> {
        let table = query(client, &format!("{WATCHED} WHERE {condition} ORDER BY created")).await?;
        Ok(Watched::of(&table))
    }

    fn of(table: &Table) -> Vec<Watched> {
        let jobs = table.rows.iter().map(|row| {
            let text = |index: usize| row.get(index).cloned().flatten().unwrap_or_default();
            let number = |index: usize| text(index).parse::<f64>().unwrap_or(0.0);
            Watched {
                id: text(0),
                kind: text(1),
                status: text(2),
                phase: text(3),
                fraction: number(4),
                rate: text(5),
                eta: text(6),
                stalled: text(7) == "t",
                bytes_written: number(8) as u64,
                bytes_to_reclaim: number(9) as u64,
                message: text(10),
            }
        });
        jobs.collect()
    }

    /// Whether the job has ended.
    pub(crate) fn ended(&self) -> bool {
        matches!(self.status.as_str(), "succeeded" | "failed" | "canceled" | "revert-failed")
    }

    /// What stands behind the bar.
    pub(crate) fn line(&self) -> String {
        let mut parts = vec![self.status.clone()];
        if !self.ended() {
            parts.push(self.phase.clone());
            parts.push(self.rate.clone());
            parts.push(if self.eta.is_empty() {
                String::new()
            } else {
                format!("eta {}", self.eta)
            });
        }
        if self.stalled {
            parts.push("stalled".to_owned());
        }
        if self.bytes_to_reclaim > 0 {
            parts.push(format!("{} to give back", bytes(self.bytes_to_reclaim)));
        }
        parts.push(self.message.clone());
        parts.retain(|part| !part.is_empty());
        parts.join(" · ")
    }
}

async fn watch(client: &Client, id: Option<i64>) -> Result<bool, Error> {
    let bars = MultiProgress::new();
    let moving = std::io::stderr().is_terminal();
    let mut shown: BTreeMap<String, (ProgressBar, String)> = BTreeMap::new();
    let mut condition = match id {
        Some(id) => format!("job_id = {id}"),
        None => "finished IS NULL".to_owned(),
    };
    loop {
        let jobs = Watched::all(client, &condition).await?;
        for job in &jobs {
            let (bar, said) =
                shown.entry(job.id.clone()).or_insert_with(|| (new_bar(&bars, job), String::new()));
            let line = job.line();
            bar.set_position((job.fraction * STEPS as f64) as u64);
            bar.set_message(line.clone());
            if !moving && *said != line {
                say(&format!("{} {} {:.0} % {line}", job.kind, job.id, job.fraction * 100.0));
                *said = line;
            }
            if job.ended() {
                bar.abandon();
            }
        }
        match (id, jobs.as_slice()) {
            (Some(id), []) => {
                complain(&format!("no job {id}"));
                return Ok(false);
            }
            (Some(_), [job]) if job.ended() => return Ok(job.status == "succeeded"),
            (Some(_), _) => {}
            // Keep looking at what has been shown, so that its end is shown too.
            (None, _) if shown.is_empty() => {}
            (None, _) => {
                let ids: Vec<&str> = shown.keys().map(String::as_str).collect();
                condition = format!("finished IS NULL OR job_id IN ({})", ids.join(", "));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(WATCH_EVERY) => {}
            Ok(()) = tokio::signal::ctrl_c() => return Ok(true),
        }
    }
}

fn new_bar(bars: &MultiProgress, job: &Watched) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {bar:30} {percent:>3} % {wide_msg}");
    let bar = bars.add(ProgressBar::new(STEPS));
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(format!("{} {}", job.kind, job.id));
    bar
}
