//! How long a cancel takes while the job writes at full speed: until the call returns, until the job's last
//! possible write, until the job is `canceled`, until the disk is back.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use cairn_engine::{Engine, Options};
use cairn_jobs::{ControlOptions, JobId, Jobs, JobsOptions, NewJob, State};
use cairn_tests::Random;
use cairn_tests::bench::statistics::{median, quantile};
use serde_json::{Value, json};

use crate::arguments::Plan;
use crate::host::{Processors, Retries};
use crate::last_write::LastWrite;
use crate::load_job::{LoadKind, Rows, Written};
use crate::progress::Progress;
use crate::sql::Sql;
use crate::store::text;

/// Bytes of one ingest call of the job.
const BATCH_BYTES: u64 = 32 << 20;

/// Cancels of a small and of a large job.
const SIZED_CANCELS: usize = 11;

/// The large job has so many times the bytes of the small one.
pub(super) const SIZE_FACTOR: u64 = 100;

/// Longer than this is hanging.
const PATIENCE: Duration = Duration::from_secs(120);

/// One cancel: milliseconds from the call.
#[derive(Clone, Copy)]
pub(super) struct Cancel {
    /// That the job had written.
    bytes: u64,
    /// A sync of a few bytes outside of the store, a while before, so that it writes nothing out that the cancel
    /// would have waited for.
    sync_ms: f64,
    returned_ms: f64,
    last_write_ms: Option<f64>,
    canceled_ms: f64,
    back_ms: f64,
}

impl Cancel {
    fn to_json(self) -> Value {
        json!({
            "bytes": self.bytes,
            "sync_before_ms": self.sync_ms,
            "returned_ms": self.returned_ms,
            "last_write_ms": self.last_write_ms,
            "canceled_ms": self.canceled_ms,
            "disk_back_ms": self.back_ms,
        })
    }
}

/// Which of the times.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
    /// Not of the cancel: how long the disk took for a sync a while before.
    SyncBefore,
    Returned,
    LastWrite,
    Canceled,
    Back,
}

impl Moment {
    /// Those of a cancel.
    pub(super) const ALL: [Self; 4] = [Self::Returned, Self::LastWrite, Self::Canceled, Self::Back];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SyncBefore => "a sync of 4 KiB outside of the store, up to 250 ms before",
            Self::Returned => "CANCEL returned",
            Self::LastWrite => "last write",
            Self::Canceled => "`canceled`",
            Self::Back => "disk back",
        }
    }
}

/// Cancels of one kind.
pub(super) struct Cancels {
    pub(super) name: String,
    cancels: Vec<Cancel>,
    /// What is not counted, because the host took too much.
    aside: Vec<Cancel>,
}

impl Cancels {
    pub(super) fn count(&self) -> usize {
        self.cancels.len()
    }

    /// Cancels that are not counted, because the host took too much.
    pub(super) fn aside(&self) -> usize {
        self.aside.len()
    }

    /// The median of the bytes that were in.
    pub(super) fn bytes(&self) -> u64 {
        let bytes: Vec<f64> = self.cancels.iter().map(|cancel| cancel.bytes as f64).collect();
        median(&bytes).unwrap_or(0.0) as u64
    }

    fn values(&self, moment: Moment) -> Vec<f64> {
        let value = |cancel: &Cancel| match moment {
            Moment::SyncBefore => Some(cancel.sync_ms),
            Moment::Returned => Some(cancel.returned_ms),
            Moment::LastWrite => cancel.last_write_ms,
            Moment::Canceled => Some(cancel.canceled_ms),
            Moment::Back => Some(cancel.back_ms),
        };
        self.cancels.iter().filter_map(value).collect()
    }

    /// A quantile in milliseconds; the median for 0.5, the longest for 1.
    pub(super) fn at(&self, moment: Moment, part: f64) -> Option<f64> {
        quantile(&self.values(moment), part)
    }

    fn to_json(&self) -> Value {
        let all =
            |cancels: &[Cancel]| cancels.iter().copied().map(Cancel::to_json).collect::<Vec<_>>();
        json!({ "name": self.name, "cancels": all(&self.cancels), "set_aside": all(&self.aside) })
    }
}

/// Everything about cancels.
pub(super) struct AllCancels {
    pub(super) loads: Cancels,
    pub(super) small: Cancels,
    pub(super) large: Cancels,
    pub(super) imports: Cancels,
}

impl AllCancels {
    /// Runs and cancels all of them.
    ///
    /// # Errors
    /// A storage error, or a job that does not end as `canceled`.
    pub(super) async fn measure(
        folder: &Path,
        plan: &Plan,
        last_write: &LastWrite,
        progress: &Progress,
    ) -> Result<Self, String> {
        let sized = if plan.smoke { 1 } else { SIZED_CANCELS };
        progress.begin("cancel", plan.cancels + 2 * sized + plan.import_cancels);
        let mut probe = Probe::new(folder)?;
        let mut bench =
            Bench::open(&folder.join("cancel"), plan, last_write, progress, &mut probe)?;
        let loads = bench.loads("LOAD", plan.cancel_bytes, plan.cancels).await?;
        let small = plan.large_bytes / SIZE_FACTOR;
        let small = bench.loads("LOAD, small", small, sized).await?;
        // A job at full speed writes on until its cancel arrives, so the small ones have more than was asked for.
        let bytes = if plan.smoke { 0 } else { small.bytes() * SIZE_FACTOR };
        let large = bench.loads("LOAD, large", bytes.max(plan.large_bytes), sized).await?;
        bench.close().await;
        let imports =
            imports(&folder.join("cancel-sql"), plan, last_write, progress, &mut probe).await?;
        Ok(Self { loads, small, large, imports })
    }

    pub(super) fn each(&self) -> [&Cancels; 4] {
        [&self.loads, &self.small, &self.large, &self.imports]
    }

    pub(super) fn to_json(&self) -> Value {
        self.each().into_iter().map(Cancels::to_json).collect()
    }
}

/// A file outside of the store, on the disk that the job writes to.
struct Probe(File);

impl Probe {
    fn new(folder: &Path) -> Result<Self, String> {
        File::create(folder.join("probe")).map(Self).map_err(text)
    }

    fn sync_ms(&mut self) -> Result<f64, String> {
        let began = Instant::now();
        self.0.write_all(&[7; 4096]).and_then(|()| self.0.sync_data()).map_err(text)?;
        Ok(ms(began.elapsed()))
    }
}

/// A store with jobs of the kind that only writes.
struct Bench<'a> {
    engine: Engine,
    jobs: Jobs,
    written: Written,
    random: Random,
    value_bytes: u64,
    spread: Duration,
    again: usize,
    last_write: &'a LastWrite,
    progress: &'a Progress,
    probe: &'a mut Probe,
}

impl<'a> Bench<'a> {
    fn open(
        path: &Path,
        plan: &Plan,
        last_write: &'a LastWrite,
        progress: &'a Progress,
        probe: &'a mut Probe,
    ) -> Result<Self, String> {
        let engine = Engine::open(Options::new(path)).map_err(text)?;
        let jobs = Jobs::open(&engine, JobsOptions::default()).map_err(text)?;
        let written = Written::default();
        jobs.register(LoadKind(written.clone()));
        jobs.start().map_err(text)?;
        let random = Random::new(plan.seed);
        let (value_bytes, spread, again) = (plan.value_bytes as u64, plan.spread, plan.again);
        Ok(Self {
            engine,
            jobs,
            written,
            random,
            value_bytes,
            spread,
            again,
            last_write,
            progress,
            probe,
        })
    }

    async fn loads(&mut self, name: &str, bytes: u64, count: usize) -> Result<Cancels, String> {
        let (mut cancels, mut aside, mut retries) =
            (Vec::new(), Vec::new(), Retries::new(count, self.again));
        while cancels.len() < count {
            self.progress.say(name);
            let processors = Processors::now();
            let cancel = self.load(bytes).await?;
            if retries.accepts([Processors::now().stolen_since(processors)]) {
                cancels.push(cancel);
                self.progress.step();
            } else {
                aside.push(cancel);
            }
        }
        Ok(Cancels { name: name.to_owned(), cancels, aside })
    }

    async fn load(&mut self, bytes: u64) -> Result<Cancel, String> {
        let rows = Rows {
            seed: self.random.number(),
            batches: u64::MAX,
            batch_bytes: BATCH_BYTES,
            batch_rows: u64::MAX,
            value_bytes: self.value_bytes,
            waits: false,
        };
        self.written.reset();
        let id = self.jobs.submit::<LoadKind>(NewJob::new(rows, "load")).await.map_err(text)?;
        let began = Instant::now();
        while self.written.bytes() < bytes {
            if began.elapsed() > PATIENCE {
                return Err("the job does not write".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let sync_ms = self.probe.sync_ms()?;
        tokio::time::sleep(within(self.spread, &mut self.random)).await;
        let bytes = self.written.bytes();
        let jobs = &self.jobs;
        let asked = Instant::now();
        jobs.cancel(&[id], ControlOptions::by("bench")).await.map_err(text)?;
        let returned_ms = ms(asked.elapsed());
        let (canceled_ms, back_ms) = ended(jobs, id, asked).await?;
        let last_write_ms = self.last_write.take_ms();
        Ok(Cancel { bytes, sync_ms, returned_ms, last_write_ms, canceled_ms, back_ms })
    }

    async fn close(self) {
        self.jobs.shutdown().await;
        self.engine.shutdown();
    }
}

/// Cancels of imports, by statements.
async fn imports(
    folder: &Path,
    plan: &Plan,
    last_write: &LastWrite,
    progress: &Progress,
    probe: &mut Probe,
) -> Result<Cancels, String> {
    progress.say("writing a CSV file");
    let sql = Sql::make(folder, 256 << 20, plan.csv_bytes, plan.seed)?;
    sql.create("t").await?;
    let mut random = Random::new(plan.seed);
    let mut retries = Retries::new(plan.import_cancels, plan.again);
    let (mut cancels, mut aside) = (Vec::new(), Vec::new());
    while cancels.len() < plan.import_cancels {
        progress.say("IMPORT");
        let processors = Processors::now();
        let cancel = import(&sql, plan, last_write, &mut random, probe).await?;
        if retries.accepts([Processors::now().stolen_since(processors)]) {
            cancels.push(cancel);
            progress.step();
        } else {
            aside.push(cancel);
        }
    }
    sql.close().await;
    Ok(Cancels { name: "IMPORT".to_owned(), cancels, aside })
}

async fn import(
    sql: &Sql,
    plan: &Plan,
    last_write: &LastWrite,
    random: &mut Random,
    probe: &mut Probe,
) -> Result<Cancel, String> {
    let before = sql.sst_bytes()?;
    let id = sql.start_import("t").await?;
    let began = Instant::now();
    let mut written = 0;
    while written < plan.cancel_bytes {
        if began.elapsed() > PATIENCE {
            return Err("the import does not write".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        written = sql.sst_bytes()?.saturating_sub(before);
    }
    let sync_ms = probe.sync_ms()?;
    tokio::time::sleep(within(plan.spread, random)).await;
    let bytes = sql.sst_bytes()?.saturating_sub(before);
    let asked = Instant::now();
    sql.run(&format!("CANCEL JOB {id}")).await?;
    let returned_ms = ms(asked.elapsed());
    let (canceled_ms, back_ms) = ended(sql.db.jobs(), id, asked).await?;
    let last_write_ms = last_write.take_ms();
    Ok(Cancel { bytes, sync_ms, returned_ms, last_write_ms, canceled_ms, back_ms })
}

/// A random part of a time.
fn within(time: Duration, random: &mut Random) -> Duration {
    Duration::from_micros(random.below(time.as_micros() as u64))
}

/// Waits for the end of a cancelled job and for the disk; answers when they came, in milliseconds since then.
async fn ended(jobs: &Jobs, id: JobId, asked: Instant) -> Result<(f64, f64), String> {
    let job = jobs.wait(id).await.map_err(text)?;
    let canceled = asked.elapsed();
    if job.state != State::Canceled {
        return Err(format!("a cancelled job ended as {}", job.state));
    }
    jobs.wait_reclaimed(id).await.map_err(text)?;
    Ok((ms(canceled), ms(asked.elapsed())))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
