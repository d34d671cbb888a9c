//! Thousands of small imports, each cancelled: what of them is still felt afterwards.
//!
//! The store holds a table. Its reads are compared with those of a store that has never seen a job, in
//! turns. Everything that could grow is read again and again on the way. Ended jobs are kept for a short time only, and the block
//! cache is small and full from the beginning: what is asked to be kept has to grow.

use std::ops::Bound;
use std::path::Path;
use std::time::{Duration, Instant};

use cairn_engine::{Engine, MemoryUse, Options, OwnerId};
use cairn_jobs::{ControlOptions, Jobs, JobsOptions, NewJob, State};
use cairn_tests::Random;
use cairn_tests::bench::statistics::{Interval, bootstrap_median};
use serde_json::{Value, json};

use crate::arguments::Plan;
use crate::foreground::Table;
use crate::load_job::{LoadKind, Rows, Written};
use crate::progress::Progress;
use crate::store::{make_table, text};

/// Rows of one import.
const IMPORT_ROWS: u64 = 1000;

/// Rows of the table.
const TABLE_ROWS: u64 = 100_000;

/// How long an ended job is kept: a small part of the run.
const RETENTION: &str = "10s";

/// Of the block cache. The table is larger.
const CACHE_BYTES: u64 = 8 << 20;

/// Readings of the gauges on the way.
const READINGS: u64 = 50;

/// Comparisons of reads, and point reads of one.
const REPETITIONS: usize = 20;
const REPETITIONS_SMOKE: usize = 3;
const POINT_READS: u64 = 50_000;

/// What must not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gauge {
    Tombstones,
    Staging,
    Manifest,
    OpenFiles,
    Memory,
}

impl Gauge {
    pub(super) const ALL: [Self; 5] =
        [Self::Tombstones, Self::Staging, Self::Manifest, Self::OpenFiles, Self::Memory];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tombstones => "tombstones",
            Self::Staging => "staging folders",
            Self::Manifest => "MANIFEST",
            Self::OpenFiles => "open files",
            Self::Memory => "memory",
        }
    }

    /// A reading for people.
    pub(super) fn shown(self, reading: f64) -> String {
        match self {
            Self::Tombstones | Self::Staging | Self::OpenFiles => format!("{reading:.0}"),
            Self::Manifest => format!("{:.0} kB", reading / 1e3),
            Self::Memory => format!("{:.0} MB", reading / 1e6),
        }
    }

    /// Growth that means nothing: files of RocksDB that come and go, pages that the allocator keeps.
    pub(super) fn slack(self) -> f64 {
        match self {
            Self::Tombstones | Self::Staging => 0.0,
            Self::Manifest => 65_536.0,
            Self::OpenFiles => 8.0,
            Self::Memory => 4.0 * 1024.0 * 1024.0,
        }
    }

    fn read(self, engine: &Engine) -> Result<f64, String> {
        let number = match self {
            Self::Tombstones => engine.tombstones().map_err(text)?.len() as u64,
            Self::Staging => entries(&engine.path().join("staging")),
            Self::Manifest => manifest_bytes(engine),
            Self::OpenFiles => entries(Path::new("/proc/self/fd")),
            Self::Memory => resident_bytes(),
        };
        Ok(number as f64)
    }
}

/// What was found.
pub(super) struct Repeat {
    pub(super) cycles: u64,
    pub(super) seconds: f64,
    /// By gauge, in the order of [`Gauge::ALL`]; the first reading is before the first import.
    readings: Vec<Vec<f64>>,
    /// What the store holds of the memory, at the same moments.
    memory: Vec<MemoryUse>,
    /// Seconds on the used store over seconds on the fresh one.
    point_reads: Vec<f64>,
    scans: Vec<f64>,
    seed: u64,
}

impl Repeat {
    /// Runs and cancels the imports, and compares.
    ///
    /// # Errors
    /// A storage error, or a job that does not end as `canceled`.
    pub(super) async fn measure(
        folder: &Path,
        plan: &Plan,
        progress: &Progress,
    ) -> Result<Self, String> {
        let cycles = usize::try_from(plan.cycles).unwrap_or(usize::MAX);
        progress.begin("repeat", cycles);
        let options = |name: &str| Options {
            block_cache_bytes: CACHE_BYTES,
            ..Options::new(folder.join(name))
        };
        let used = Engine::open(options("used")).map_err(text)?;
        let table = table_of(&used, plan)?;
        point_reads(&used, &table, plan.seed)?;
        let jobs = Jobs::open(&used, JobsOptions::default()).map_err(text)?;
        let written = Written::default();
        jobs.register(LoadKind(written.clone()));
        jobs.start().map_err(text)?;
        jobs.settings().set("jobs.retention_time", RETENTION).map_err(text)?;
        let mut repeat = Self {
            cycles: plan.cycles,
            seconds: 0.0,
            readings: vec![Vec::new(); Gauge::ALL.len()],
            memory: Vec::new(),
            point_reads: Vec::new(),
            scans: Vec::new(),
            seed: plan.seed,
        };
        let began = Instant::now();
        for cycle in 0..plan.cycles {
            if cycle.is_multiple_of((plan.cycles / READINGS).max(1)) {
                repeat.read_gauges(&used)?;
                progress.say(&format!("{cycle} imports cancelled"));
            }
            cancelled_import(&jobs, &written, plan, cycle).await?;
            progress.step();
        }
        repeat.read_gauges(&used)?;
        repeat.seconds = began.elapsed().as_secs_f64();
        jobs.shutdown().await;
        progress.say("comparing with a fresh store");
        let fresh = Engine::open(options("fresh")).map_err(text)?;
        let other = table_of(&fresh, plan)?;
        repeat.compare(plan, (&used, &table), (&fresh, &other))?;
        used.shutdown();
        fresh.shutdown();
        Ok(repeat)
    }

    fn read_gauges(&mut self, engine: &Engine) -> Result<(), String> {
        for (gauge, readings) in Gauge::ALL.into_iter().zip(&mut self.readings) {
            readings.push(gauge.read(engine)?);
        }
        self.memory.push(engine.memory_use());
        Ok(())
    }

    fn compare(
        &mut self,
        plan: &Plan,
        used: (&Engine, &Table),
        fresh: (&Engine, &Table),
    ) -> Result<(), String> {
        // Both are read once before anything counts.
        for (engine, table) in [used, fresh] {
            point_reads(engine, table, plan.seed)?;
            scan(engine, table)?;
        }
        let repetitions = if plan.smoke { REPETITIONS_SMOKE } else { REPETITIONS };
        for number in 0..repetitions {
            let seed = plan.seed.wrapping_add(number as u64);
            let order = if number % 2 == 0 { [used, fresh] } else { [fresh, used] };
            let mut seconds = Vec::new();
            for (engine, table) in order {
                seconds.push((point_reads(engine, table, seed)?, scan(engine, table)?));
            }
            if number % 2 == 1 {
                seconds.reverse();
            }
            if let [(points, rows), (fresh_points, fresh_rows)] = seconds.as_slice() {
                self.point_reads.push(points.as_secs_f64() / fresh_points.as_secs_f64());
                self.scans.push(rows.as_secs_f64() / fresh_rows.as_secs_f64());
            }
        }
        Ok(())
    }

    /// The readings of a gauge after the first import.
    pub(super) fn readings(&self, gauge: Gauge) -> &[f64] {
        let place = Gauge::ALL.iter().position(|other| *other == gauge);
        let readings = place.and_then(|place| self.readings.get(place));
        readings.and_then(|readings| readings.get(1..)).unwrap_or_default()
    }

    /// What the store held of the memory at most: in the first fifth of the run, and in the last.
    pub(super) fn memory(&self) -> [(&'static str, u64, u64); 3] {
        let fifth = self.memory.len() / 5;
        let early = self.memory.get(..fifth).unwrap_or_default();
        let late = self.memory.get(self.memory.len() - fifth..).unwrap_or_default();
        let most = |part: &[MemoryUse], of: fn(&MemoryUse) -> u64| {
            part.iter().map(of).max().unwrap_or_default()
        };
        let part = |name, of| (name, most(early, of), most(late, of));
        [
            part("write buffers", |memory| memory.write_buffer_bytes),
            part("block cache", |memory| memory.block_cache_bytes),
            part("open files", |memory| memory.table_reader_bytes),
        ]
    }

    /// Repetitions of the comparison.
    pub(super) fn repetitions(&self) -> usize {
        self.scans.len()
    }

    /// Used over fresh: point reads, and scans.
    pub(super) fn ratios(&self) -> [(&'static str, Option<Interval>); 2] {
        [
            ("point reads", bootstrap_median(&self.point_reads, self.seed)),
            ("scans", bootstrap_median(&self.scans, self.seed)),
        ]
    }

    pub(super) fn to_json(&self) -> Value {
        let gauges = Gauge::ALL.into_iter().zip(&self.readings);
        let gauges: serde_json::Map<String, Value> =
            gauges.map(|(gauge, readings)| (gauge.name().to_owned(), json!(readings))).collect();
        let of = |part: fn(&MemoryUse) -> u64| self.memory.iter().map(part).collect::<Vec<u64>>();
        json!({
            "cycles": self.cycles,
            "seconds": self.seconds,
            "readings": gauges,
            "memory": {
                "write_buffers": of(|memory| memory.write_buffer_bytes),
                "block_cache": of(|memory| memory.block_cache_bytes),
                "table_readers": of(|memory| memory.table_reader_bytes),
            },
            "point_read_ratios": self.point_reads,
            "scan_ratios": self.scans,
        })
    }
}

fn table_of(engine: &Engine, plan: &Plan) -> Result<Table, String> {
    let bytes = TABLE_ROWS * plan.value_bytes as u64;
    make_table(engine, OwnerId::from_raw(1), bytes, plan.value_bytes, plan.seed)
}

/// Submits an import, cancels it once its batch is in, and waits until it is given back.
async fn cancelled_import(
    jobs: &Jobs,
    written: &Written,
    plan: &Plan,
    cycle: u64,
) -> Result<(), String> {
    let rows = Rows {
        seed: plan.seed.wrapping_add(cycle),
        batches: 1,
        batch_bytes: u64::MAX,
        batch_rows: IMPORT_ROWS,
        value_bytes: plan.value_bytes as u64,
        waits: true,
    };
    written.reset();
    let id = jobs.submit::<LoadKind>(NewJob::new(rows, "a small import")).await.map_err(text)?;
    while written.batches() == 0 {
        if jobs.get(id).await.map_err(text)?.is_none_or(|job| job.state.is_terminal()) {
            return Err(format!("job {id} ended before it was cancelled"));
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    jobs.cancel(&[id], ControlOptions::by("bench")).await.map_err(text)?;
    let job = jobs.wait(id).await.map_err(text)?;
    if job.state != State::Canceled {
        return Err(format!("job {id} ended as {}", job.state));
    }
    jobs.wait_reclaimed(id).await.map_err(text)
}

fn point_reads(engine: &Engine, table: &Table, seed: u64) -> Result<Duration, String> {
    let mut random = Random::new(seed);
    let began = Instant::now();
    for _ in 0..POINT_READS {
        let row = random.below(table.rows);
        if engine.view().get_row(table.span, &row.to_be_bytes()).map_err(text)?.is_none() {
            return Err(format!("row {row} is missing"));
        }
    }
    Ok(began.elapsed())
}

fn scan(engine: &Engine, table: &Table) -> Result<Duration, String> {
    let began = Instant::now();
    let view = engine.view();
    let mut rows =
        view.scan(table.span, Bound::Unbounded, Bound::Unbounded, false).map_err(text)?;
    let mut count = 0;
    while rows.next().map_err(text)?.is_some() {
        count += 1;
    }
    if count != table.rows {
        return Err(format!("a scan found {count} of {} rows", table.rows));
    }
    Ok(began.elapsed())
}

fn entries(folder: &Path) -> u64 {
    std::fs::read_dir(folder).map_or(0, |entries| entries.count() as u64)
}

fn manifest_bytes(engine: &Engine) -> u64 {
    let Ok(entries) = std::fs::read_dir(engine.data_path()) else { return 0 };
    let is_manifest =
        |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("MANIFEST");
    let manifests = entries.flatten().filter(is_manifest);
    manifests.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}

/// Anonymous memory that is resident: without pages of the program, which come in as its code runs for the first time.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
