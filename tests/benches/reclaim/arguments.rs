//! What is measured, and how much of it: the command line, and the sizes that follow from it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};

use crate::page_cache::STEADY;
use crate::strategy::Strategy;

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Part {
    /// A doomed job undone in each way, beside a foreground (aim 1).
    Strategies,
    /// Cairn's cleanup in turns with idle, beside a foreground: many pairs in each undo (aim 1).
    Turns,
    /// How long a cancel takes (aim 2).
    Cancel,
    /// Cleanup without a foreground: bytes written, time until the disk is back (aims 3 and 4).
    Quiet,
    /// A running import and the foreground (aim 5).
    Import,
    /// Thousands of cancelled imports in a row (aim 6).
    Repeat,
    /// What it costs that the engine measures the foreground.
    Cost,
    /// How long one step takes in which a dropped file is cut.
    Cut,
}

/// Measures what a cancelled job costs everybody else, and compares it with the usual ways of undoing it.
#[derive(Debug, Parser)]
#[command(name = "reclaim", args_override_self = true)]
pub(super) struct Arguments {
    /// Tiny sizes and two pairs: shows within about a minute that the program works, and nothing else.
    #[arg(long)]
    smoke: bool,
    /// Where the stores are made (a folder that is removed at the end); the system's temporary folder
    /// if not given.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Where the results go.
    #[arg(long, value_name = "DIR", default_value = "target/bench-reclaim")]
    pub(super) out: PathBuf,
    /// Sizes of the doomed job in MB (10^6 bytes); half of it is in when it is cancelled [1024,10240]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    size_mb: Vec<u64>,
    /// Pairs of an idle window and one with an undo, for each strategy and size; windows of imports [10]
    #[arg(long)]
    pairs: Option<usize>,
    /// Pairs of a turn of cleanup and an idle one, for each size: so many undos as it takes, and no less than there are pairs [1200]
    #[arg(long)]
    turns: Option<usize>,
    /// Parts to run [all]
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,
    /// Ways of undoing to measure; the control is measured beside them. In turns it is Cairn's by files, or with `nothing` alone what a window
    /// does by itself: the job is not cancelled [all]
    #[arg(long, value_name = "WAY", value_delimiter = ',')]
    undo: Vec<Strategy>,
    /// Fixes data, keys and resampling; not the times.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// Threads of the foreground: with few, the peak is how long they wait for the disk and not what the machine can do [8]
    #[arg(long)]
    threads: Option<usize>,
    /// How often, on the average, a window is measured again in which the host of a virtual machine took more than
    /// 5 % of the processors; not of turns [2]
    #[arg(long)]
    again: Option<usize>,
    /// What the foreground is offered, as a part of its idle peak [0.5]
    #[arg(long)]
    load: Option<f64>,
    /// Size of the table that the foreground works on, in MB [1024]
    #[arg(long)]
    table_mb: Option<u64>,
    /// Bytes of a row's value [200]
    #[arg(long)]
    value_bytes: Option<usize>,
    /// A sixth of the length of a stretch of import [3000]
    #[arg(long)]
    idle_ms: Option<u64>,
    /// The least length of a window with an undo [2000]
    #[arg(long)]
    window_ms: Option<u64>,
    /// The greatest length of a window with an undo, four times that in turns [60; 180 for jobs above 2 GB]
    #[arg(long, value_name = "SECONDS")]
    cap: Option<u64>,
    /// A part with pairs or turns begins none after so many minutes; what it has by then is its result
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,
    /// Cancels of a job that writes at full speed [120]
    #[arg(long)]
    cancels: Option<usize>,
    /// Cancels of an SQL IMPORT [30]
    #[arg(long)]
    import_cancels: Option<usize>,
    /// Bytes in MB that are in when the larger of two jobs is cancelled; the smaller has a hundredth [4000]
    #[arg(long)]
    large_mb: Option<u64>,
    /// Size of the CSV file that is imported, in MB [512]
    #[arg(long)]
    csv_mb: Option<u64>,
    /// Trials without a foreground, of each kind; three times as many of imports [5]
    #[arg(long)]
    trials: Option<usize>,
    /// Imports that are cancelled in a row [20000]
    #[arg(long)]
    cycles: Option<u64>,
    /// Passed by `cargo bench`; means nothing here.
    #[arg(long, hide = true)]
    bench: bool,
}

/// All sizes, decided.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) smoke: bool,
    pub(super) seed: u64,
    pub(super) sizes_mb: Vec<u64>,
    pub(super) pairs: usize,
    /// Pairs of turns.
    pub(super) turns: usize,
    pub(super) threads: usize,
    /// Measurements that may be made again, for each that was asked for.
    pub(super) again: usize,
    /// Of its idle peak, what the foreground is offered.
    pub(super) load: f64,
    pub(super) table_bytes: u64,
    pub(super) value_bytes: usize,
    /// Of the block cache of each store.
    pub(super) cache_bytes: u64,
    /// For which the foreground runs as fast as it can before its peak is measured, and for which it is.
    pub(super) peak: (Duration, Duration),
    /// For which the foreground runs before a window begins: its table was likely compacted just before, and all of it is in the page cache.
    pub(super) warmup: Duration,
    pub(super) idle: Duration,
    pub(super) window_min: Duration,
    window_max: Option<Duration>,
    /// After which a part begins nothing more.
    enough: Option<Duration>,
    /// For which nothing may be compacted before a window begins.
    pub(super) quiet: Duration,
    pub(super) cancels: usize,
    pub(super) import_cancels: usize,
    /// Bytes in when a job is cancelled.
    pub(super) cancel_bytes: u64,
    pub(super) large_bytes: u64,
    /// A cancel comes at a random moment of this time after the bytes are in: in the middle of a batch, of
    /// its sync, of its ingest.
    pub(super) spread: Duration,
    pub(super) csv_bytes: u64,
    pub(super) trials: usize,
    pub(super) cycles: u64,
    only: Vec<Part>,
    undo: Vec<Strategy>,
}

/// A million bytes.
pub(super) const MB: u64 = 1_000_000;

/// Above it a window may be longer.
const LARGE_JOB_MB: u64 = 2048;

impl Arguments {
    /// The sizes that follow.
    pub(super) fn plan(&self) -> Plan {
        let small = self.smoke;
        let pick = |usual: u64, smoke: u64| if small { smoke } else { usual };
        let ms = |given: Option<u64>, usual, smoke| {
            Duration::from_millis(given.unwrap_or(pick(usual, smoke)))
        };
        let count = |given: Option<usize>, usual, smoke| {
            given.unwrap_or(if small { smoke } else { usual }).max(1)
        };
        let mb = |given: Option<u64>, usual, smoke| given.unwrap_or(pick(usual, smoke)).max(1) * MB;
        let sizes = if small { vec![64] } else { vec![1024, 10_240] };
        Plan {
            smoke: small,
            seed: self.seed,
            sizes_mb: if self.size_mb.is_empty() { sizes } else { self.size_mb.clone() },
            pairs: count(self.pairs, 10, 2),
            turns: count(self.turns, 1200, 1),
            threads: count(self.threads, 8, 2),
            again: self.again.unwrap_or(2),
            load: self.load.unwrap_or(0.5).clamp(0.01, 1.0),
            table_bytes: mb(self.table_mb, 1024, 24),
            value_bytes: self.value_bytes.unwrap_or(200).clamp(16, 1 << 20),
            cache_bytes: pick(64 << 20, 4 << 20),
            peak: if small {
                (Duration::ZERO, ms(None, 0, 300))
            } else {
                (STEADY, ms(None, 5000, 0))
            },
            warmup: if small { ms(None, 0, 100) } else { STEADY },
            idle: ms(self.idle_ms, 3000, 300),
            window_min: ms(self.window_ms, 2000, 300),
            window_max: self.cap.map(Duration::from_secs),
            enough: self.minutes.map(|minutes| Duration::from_secs(minutes * 60)),
            quiet: ms(None, 500, 50),
            cancels: count(self.cancels, 120, 5),
            import_cancels: count(self.import_cancels, 30, 2),
            cancel_bytes: pick(64 * MB, 2 * MB),
            large_bytes: mb(self.large_mb, 4000, 20),
            spread: ms(None, 250, 20),
            csv_bytes: mb(self.csv_mb, 512, 24),
            trials: count(self.trials, 5, 1),
            cycles: self.cycles.unwrap_or(pick(20_000, 100)).max(1),
            only: self.only.clone(),
            undo: self.undo.clone(),
        }
    }
}

impl Plan {
    /// Whether a part is to be run.
    pub(super) fn includes(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// Whether a part that began then has had its time.
    pub(super) fn is_over(&self, began: Instant) -> bool {
        self.enough.is_some_and(|enough| began.elapsed() >= enough)
    }

    /// The ways of undoing that are measured.
    pub(super) fn strategies(&self) -> Vec<Strategy> {
        let is_wanted = |strategy: &Strategy| {
            self.undo.is_empty() || *strategy == Strategy::Nothing || self.undo.contains(strategy)
        };
        Strategy::ALL.into_iter().filter(is_wanted).collect()
    }

    /// Whether jobs are cancelled in turns.
    pub(super) fn cancels_in_turns(&self) -> bool {
        self.undo != [Strategy::Nothing]
    }

    /// The greatest length of a window with the undo of a job of this size.
    pub(super) fn window_max(&self, size_mb: u64) -> Duration {
        let usual = match (self.smoke, size_mb > LARGE_JOB_MB) {
            (true, _) => 2,
            (false, false) => 60,
            (false, true) => 180,
        };
        self.window_max.unwrap_or(Duration::from_secs(usual)).max(self.window_min)
    }
}
