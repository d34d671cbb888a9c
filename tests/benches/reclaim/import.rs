//! An import beside a foreground, and an import alone.
//!
//! Each round has three windows of equal length: idle, idle again (the control: two idle windows must agree), and
//! one in which an import runs from its first moment on. Equal, because a long window meets more of what a noisy
//! machine does than a short one. Alone, imports with the governor's feedback and without it take turns.

use std::path::Path;
use std::time::{Duration, Instant};

use cairn_engine::OwnerId;
use cairn_tests::bench::statistics::{Interval, bootstrap_median, median};
use serde_json::{Value, json};

use crate::arguments::{MB, Plan};
use crate::foreground::{self, Arrival, Load, Table};
use crate::governed;
use crate::host::Retries;
use crate::latency::{Latency, Percentile};
use crate::progress::Progress;
use crate::sql::Sql;
use crate::store::make_table;
use crate::waits::Waits;

/// The import's window has so many lengths of an idle window elsewhere.
const LENGTH: u32 = 3;

/// Rounds for each pair of elsewhere: one takes half a minute.
const ROUNDS: usize = 3;

/// For which nobody may have worked before imports run alone.
const REST: Duration = Duration::from_secs(3);

/// How often to look whether an import has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// One round beside the foreground.
struct Round {
    idle: Latency,
    again: Latency,
    import: Latency,
    /// Of the CSV file, in bytes per second.
    import_rate: f64,
    governor: Value,
}

impl Round {
    /// Beside an import over idle.
    fn ratio(&self, percentile: Percentile) -> f64 {
        percentile.of(&self.import) / percentile.of(&self.idle).max(1e-6)
    }

    fn to_json(&self) -> Value {
        json!({
            "idle": self.idle.to_json(),
            "idle_again": self.again.to_json(),
            "import": self.import.to_json(),
            "import_bytes_per_second": self.import_rate,
            "governor": self.governor,
        })
    }
}

/// Everything about running imports.
pub(super) struct Imports {
    rounds: Vec<Round>,
    /// Bytes of CSV per second of imports alone: with the feedback, and without.
    governed: Vec<f64>,
    ungoverned: Vec<f64>,
    /// Operations per second that the foreground was offered.
    pub(super) rate: f64,
    /// What is not counted, because the host took too much.
    aside: Vec<Round>,
    seed: u64,
}

impl Imports {
    /// Runs the rounds and the imports alone.
    ///
    /// # Errors
    /// A storage error, or an import that fails.
    pub(super) async fn measure(
        folder: &Path,
        plan: &Plan,
        progress: &Progress,
    ) -> Result<Self, String> {
        let rounds = plan.pairs * ROUNDS;
        let trials = plan.trials * ROUNDS;
        progress.begin("import", rounds + 2 * trials);
        progress.say("writing a CSV file, making a table");
        let sql = Sql::make(&folder.join("import"), plan.cache_bytes, plan.csv_bytes, plan.seed)?;
        let owner = OwnerId::from_raw(1);
        let engine = sql.db.engine();
        let table = make_table(engine, owner, plan.table_bytes, plan.value_bytes, plan.seed)?;
        let rate =
            foreground::peak(engine, &table, plan.threads, plan.peak, plan.seed)? * plan.load;
        let mut imports = Self {
            rounds: Vec::new(),
            governed: Vec::new(),
            ungoverned: Vec::new(),
            rate,
            aside: Vec::new(),
            seed: plan.seed,
        };
        let mut retries = Retries::new(rounds, plan.again);
        let began = Instant::now();
        while imports.rounds.len() < rounds && !plan.is_over(began) {
            let number = imports.rounds.len();
            progress.say(&format!("round {}", number + 1));
            let round = imports.round(&sql, &table, plan, number as u64).await?;
            let windows = [&round.idle, &round.again, &round.import];
            if retries.accepts(windows.map(|window| window.stolen)) {
                imports.rounds.push(round);
                progress.step();
            } else {
                imports.aside.push(round);
            }
        }
        // The governor must have forgotten the foreground, or the first import would still give way to it.
        tokio::time::sleep(REST).await;
        for number in 0..trials {
            // Each goes first as often as the other.
            for on in if number % 2 == 0 { [true, false] } else { [false, true] } {
                progress.say(if on { "alone, governed" } else { "alone, ungoverned" });
                imports.alone(&sql, plan, on).await?;
                progress.step();
            }
        }
        sql.close().await;
        Ok(imports)
    }

    async fn round(
        &mut self,
        sql: &Sql,
        table: &Table,
        plan: &Plan,
        number: u64,
    ) -> Result<Round, String> {
        let arrival = |part: u64, expected| Arrival {
            threads: plan.threads,
            rate: self.rate,
            warmup: plan.warmup,
            expected,
            seed: plan.seed.wrapping_add((number * 3 + part) << 8),
        };
        let engine = sql.db.engine();
        let length = plan.idle * LENGTH;
        let mut idle = Vec::new();
        for part in 0..2 {
            sql.settle(plan.quiet).await?;
            let load = Load::start(engine, table, arrival(part, plan.warmup + length));
            tokio::time::sleep(plan.warmup + length).await;
            idle.push(load.stop()?.latency());
        }
        sql.create("t").await?;
        sql.settle(plan.quiet).await?;
        let load = Load::start(engine, table, arrival(2, plan.warmup + length));
        tokio::time::sleep(plan.warmup).await;
        let began = Instant::now();
        let id = sql.start_import("t").await?;
        let is_over = async || {
            let job = sql.db.jobs().get(id).await.map_err(|error| error.to_string())?;
            Ok::<bool, String>(job.is_none_or(|job| job.state.is_terminal()))
        };
        while began.elapsed() < length && !is_over().await? {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let governor = governed::status(engine);
        let read = sql.db.jobs().get(id).await.map_err(|error| error.to_string())?;
        let seconds = began.elapsed().as_secs_f64();
        let import = load.stop()?.latency();
        let part = read.map_or(0.0, |job| job.fraction);
        let import_rate = sql.csv_bytes as f64 * part / seconds;
        sql.succeeded(id).await?;
        sql.run("DROP TABLE t").await?;
        let (idle, again) = (idle.first().copied(), idle.get(1).copied());
        let (idle, again) = (idle.unwrap_or_default(), again.unwrap_or_default());
        Ok(Round { idle, again, import, import_rate, governor })
    }

    async fn alone(&mut self, sql: &Sql, plan: &Plan, governed: bool) -> Result<(), String> {
        governed::set_feedback(sql.db.jobs(), governed)?;
        sql.create("t").await?;
        sql.settle(plan.quiet).await?;
        let began = Instant::now();
        let id = sql.start_import("t").await?;
        sql.succeeded(id).await?;
        let rate = sql.csv_bytes as f64 / began.elapsed().as_secs_f64();
        sql.run("DROP TABLE t").await?;
        governed::set_feedback(sql.db.jobs(), true)?;
        if governed {
            self.governed.push(rate);
        } else {
            self.ungoverned.push(rate);
        }
        Ok(())
    }

    pub(super) fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// Imports alone, of each kind.
    pub(super) fn trials(&self) -> usize {
        self.governed.len().min(self.ungoverned.len())
    }

    /// An import beside the foreground over idle, and idle again over idle.
    pub(super) fn ratios(&self, percentile: Percentile) -> [Option<Interval>; 2] {
        let over_idle = |of: fn(&Round) -> &Latency| {
            let ratio =
                |round: &Round| percentile.of(of(round)) / percentile.of(&round.idle).max(1e-6);
            bootstrap_median(&self.rounds.iter().map(ratio).collect::<Vec<_>>(), self.seed)
        };
        [over_idle(|round| &round.import), over_idle(|round| &round.again)]
    }

    /// How many rounds were set aside, if any, and an import over idle of those and of all others.
    pub(super) fn with_aside(&self, percentile: Percentile) -> Option<(usize, Option<Interval>)> {
        let all = self.rounds.iter().chain(&self.aside).map(|round| round.ratio(percentile));
        let all = bootstrap_median(&all.collect::<Vec<_>>(), self.seed);
        (!self.aside.is_empty()).then_some((self.aside.len(), all))
    }

    /// Median percentiles in milliseconds: idle, and beside an import.
    pub(super) fn medians(&self, percentile: Percentile) -> [Option<f64>; 2] {
        let median_of = |of: fn(&Round) -> &Latency| {
            let values = self.rounds.iter().map(|round| percentile.of(of(round)));
            median(&values.collect::<Vec<_>>())
        };
        [median_of(|round| &round.idle), median_of(|round| &round.import)]
    }

    /// What one of the slowest hundredth of the operations waited for, the mean of all rounds: idle, and beside an import.
    pub(super) fn slowest(&self) -> [Waits; 2] {
        let mean_of = |of: fn(&Round) -> &Latency| {
            let sum =
                self.rounds.iter().fold(Waits::default(), |sum, round| sum.plus(of(round).slowest));
            sum.times(1.0 / self.rounds.len().max(1) as f32)
        };
        [mean_of(|round| &round.idle), mean_of(|round| &round.import)]
    }

    /// Median rates of imports in MB of CSV per second: beside the foreground, alone, alone without the
    /// governor's feedback.
    pub(super) fn rates_mb(&self) -> [Option<f64>; 3] {
        let beside: Vec<f64> = self.rounds.iter().map(|round| round.import_rate).collect();
        [&beside, &self.governed, &self.ungoverned]
            .map(|rates| median(rates).map(|rate| rate / MB as f64))
    }

    /// The rate of an import alone, with the feedback over without.
    pub(super) fn rate_ratio(&self) -> Option<f64> {
        Some(median(&self.governed)? / median(&self.ungoverned)?)
    }

    pub(super) fn to_json(&self) -> Value {
        let all = |rounds: &[Round]| rounds.iter().map(Round::to_json).collect::<Vec<_>>();
        json!({
            "foreground_rate": self.rate,
            "rounds": all(&self.rounds),
            "set_aside": all(&self.aside),
            "alone_governed_bytes_per_second": self.governed,
            "alone_ungoverned_bytes_per_second": self.ungoverned,
        })
    }
}
