//! A job as the demo follows it: started over the wire, asked about until something is so, shown as a moving bar.

use super::measure::Disk;
use crate::client::{describe, query};
pub(super) use crate::jobs::Watched;
use crate::terminal::say;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

const STEPS: u64 = 1000;
/// How often a job is asked about: while a bar moves, and while a time is measured.
const ASK_EVERY: Duration = Duration::from_millis(20);
const MEASURE_EVERY: Duration = Duration::from_millis(2);
/// A store that grew by so many bytes outside of staging has ingested a batch.
const INGESTED_BYTES: u64 = 256 << 10;

/// A job of the demo.
pub(super) struct Job {
    pub(super) id: i64,
    /// The store it writes to, for looking at its files.
    pub(super) store: PathBuf,
}

/// What the tombstones of a job say.
pub(super) struct Gone {
    /// Spans and folders that are not given back yet.
    pub(super) rows: u64,
    /// Bytes of them.
    pub(super) bytes_left: u64,
}

impl Job {
    /// Starts a detached statement and takes the job's id from its answer.
    pub(super) async fn start(
        client: &Client,
        statement: &str,
        store: PathBuf,
    ) -> Result<Job, String> {
        let table = query(client, statement).await.map_err(|error| describe(&error))?;
        let id = table.rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok());
        id.map(|id| Job { id, store }).ok_or_else(|| "the statement answered no job id".to_owned())
    }

    /// Asks once.
    pub(super) async fn look(&self, client: &Client) -> Result<Watched, String> {
        let jobs = Watched::all(client, &format!("job_id = {}", self.id))
            .await
            .map_err(|error| describe(&error))?;
        jobs.into_iter().next().ok_or_else(|| format!("job {} is not in cairn.jobs", self.id))
    }

    /// Waits until `so` and shows a bar meanwhile.
    ///
    /// # Errors
    /// When it does not come to be within the limit.
    pub(super) async fn until(
        &self,
        client: &Client,
        limit: Duration,
        so: impl Fn(&Watched) -> bool,
    ) -> Result<Watched, String> {
        let bar = ProgressBar::new(STEPS);
        let style = ProgressStyle::with_template("   {bar:40} {percent:>3} % {wide_msg}");
        bar.set_style(style.map_err(|error| error.to_string())?);
        let began = Instant::now();
        let mut said = 0;
        loop {
            let job = self.look(client).await?;
            // Without a terminal there are no bars: a line for each quarter instead.
            let quarter = (job.fraction * 4.0) as u64;
            if bar.is_hidden() && quarter > said {
                said = quarter;
                say(&format!("     {:>3.0} % {}", job.fraction * 100.0, job.line()));
            }
            bar.set_position((job.fraction * STEPS as f64) as u64);
            bar.set_message(job.line());
            if so(&job) {
                bar.finish_and_clear();
                return Ok(job);
            }
            if began.elapsed() > limit {
                return Err(format!("job {} hangs: {}", self.id, job.line()));
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Waits until `so`, as precisely as asking allows; `None` when it does not come to be within the limit.
    pub(super) async fn quietly_until(
        &self,
        client: &Client,
        limit: Duration,
        so: impl Fn(&Watched) -> bool,
    ) -> Result<Option<Watched>, String> {
        let began = Instant::now();
        while began.elapsed() <= limit {
            let job = self.look(client).await?;
            if so(&job) {
                return Ok(Some(job));
            }
            tokio::time::sleep(MEASURE_EVERY).await;
        }
        Ok(None)
    }

    /// What of the job is not given back yet.
    pub(super) async fn tombstones(&self, client: &Client) -> Result<Gone, String> {
        let sql = format!(
            "SELECT count(*), coalesce(sum(bytes_left), 0) FROM cairn.tombstones WHERE job_id = {}",
            self.id
        );
        let table = query(client, &sql).await.map_err(|error| describe(&error))?;
        let number = |index: usize| {
            let cell = table.rows.first().and_then(|row| row.get(index)?.as_deref()?.parse().ok());
            cell.ok_or_else(|| "cairn.tombstones answered no number".to_owned())
        };
        Ok(Gone { rows: number(0)?, bytes_left: number(1)? })
    }
}

/// Half of the work is done, and at least one batch is in the store; or the job has ended.
pub(super) fn half_done(store: PathBuf, before: Disk) -> impl Fn(&Watched) -> bool {
    move |job| {
        let ingested = || Disk::of(&store).tables.bytes > before.tables.bytes + INGESTED_BYTES;
        job.ended() || (job.fraction >= 0.5 && ingested())
    }
}
