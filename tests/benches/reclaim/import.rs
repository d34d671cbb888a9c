//! An import beside a foreground, and an import alone.
//!
//! A window is one load of the foreground with one import beside it that is paused and resumed, as `PAUSE JOB` does: stretches in which it runs, and
//! idle ones of the same length before, after and between them. Each stretch of import is compared with the two idle ones beside it, by
//! their geometric mean, so that a foreground that gets slower or faster with the age of its window is in no ratio; and the idle one after it with the
//! one before, which is the control. What an import leaves for longer than an idle stretch takes to settle would be in all of them but the first.
//! Alone, imports with the governor's feedback and without it take turns.

use std::path::Path;
use std::time::{Duration, Instant};

use cairn_engine::OwnerId;
use cairn_tests::bench::statistics::{Interval, bootstrap_median_of_groups, median};
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

/// A stretch has so many times `--idle-ms`: an import that resumes reads again what it had not yet ingested when it was paused, up to 32 MiB, and
/// in nine seconds at the least that it gets it would ingest nothing.
const LENGTH: u32 = 6;

/// Stretches of import in a window.
const STRETCHES: u32 = 2;

/// Imports alone, of each kind, for each trial of elsewhere.
const TRIALS: usize = 3;

/// For which nobody may have worked before imports run alone.
const REST: Duration = Duration::from_secs(3);

/// How often to look whether an import has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A stretch of import, and the idle ones before and after it.
#[derive(Clone, Copy)]
struct Stretch {
    before: Latency,
    import: Latency,
    after: Latency,
}

impl Stretch {
    /// Beside an import over idle.
    fn ratio(&self, percentile: Percentile) -> f64 {
        let idle = percentile.of(&self.before) * percentile.of(&self.after);
        percentile.of(&self.import) / idle.sqrt().max(1e-6)
    }

    /// Idle after an import over idle before it.
    fn again(&self, percentile: Percentile) -> f64 {
        percentile.of(&self.after) / percentile.of(&self.before).max(1e-6)
    }

    fn to_json(self) -> Value {
        json!({
            "idle_before": self.before.to_json(),
            "import": self.import.to_json(),
            "idle_after": self.after.to_json(),
        })
    }
}

/// One window beside the foreground.
struct Window {
    stretches: Vec<Stretch>,
    /// Of the CSV file, in bytes per second of import.
    import_rate: f64,
    /// What the governor said at the end of the last stretch of import.
    governor: Value,
    stolen: f64,
}

impl Window {
    fn to_json(&self) -> Value {
        json!({
            "stretches": self.stretches.iter().map(|stretch| stretch.to_json()).collect::<Vec<_>>(),
            "import_bytes_per_second": self.import_rate,
            "governor": self.governor,
            "stolen": self.stolen,
        })
    }
}

/// Everything about running imports.
pub(super) struct Imports {
    windows: Vec<Window>,
    /// Bytes of CSV per second of imports alone: with the feedback, and without.
    governed: Vec<f64>,
    ungoverned: Vec<f64>,
    /// Operations per second that the foreground was offered.
    pub(super) rate: f64,
    /// What is not counted, because the host took too much.
    aside: Vec<Window>,
    seed: u64,
}

impl Imports {
    /// Runs the windows and the imports alone.
    ///
    /// # Errors
    /// A storage error, or an import that fails.
    pub(super) async fn measure(
        folder: &Path,
        plan: &Plan,
        progress: &Progress,
    ) -> Result<Self, String> {
        let trials = plan.trials * TRIALS;
        progress.begin("import", plan.pairs + 2 * trials);
        progress.say("writing a CSV file, making a table");
        let sql = Sql::make(&folder.join("import"), plan.cache_bytes, plan.csv_bytes, plan.seed)?;
        let owner = OwnerId::from_raw(1);
        let engine = sql.db.engine();
        let table = make_table(engine, owner, plan.table_bytes, plan.value_bytes, plan.seed)?;
        let rate =
            foreground::peak(engine, &table, plan.threads, plan.peak, plan.seed)? * plan.load;
        let mut imports = Self {
            windows: Vec::new(),
            governed: Vec::new(),
            ungoverned: Vec::new(),
            rate,
            aside: Vec::new(),
            seed: plan.seed,
        };
        let mut retries = Retries::new(plan.pairs, plan.again);
        let began = Instant::now();
        while imports.windows.len() < plan.pairs && !plan.is_over(began) {
            let number = imports.windows.len();
            progress.say(&format!("window {}", number + 1));
            let window = imports.window(&sql, &table, plan, number as u64).await?;
            if retries.accepts([window.stolen]) {
                imports.windows.push(window);
                progress.step();
            } else {
                imports.aside.push(window);
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

    async fn window(
        &self,
        sql: &Sql,
        table: &Table,
        plan: &Plan,
        number: u64,
    ) -> Result<Window, String> {
        let (engine, length) = (sql.db.engine(), plan.idle * LENGTH);
        // What a paused import leaves in the queue of the disk is no idle foreground.
        let settles = plan.idle * 2 / 3;
        sql.create("t").await?;
        sql.settle(plan.quiet).await?;
        let load = Load::start(
            engine,
            table,
            Arrival {
                threads: plan.threads,
                rate: self.rate,
                warmup: plan.warmup,
                expected: plan.warmup + (length * 2 + settles) * (STRETCHES + 1),
                seed: plan.seed.wrapping_add(number << 8),
            },
        );
        tokio::time::sleep(plan.warmup).await;
        let began = load.counts_from();
        let idle = async || {
            let from = began.elapsed();
            tokio::time::sleep(length).await;
            (from, began.elapsed())
        };
        let (mut idles, mut imports) = (vec![idle().await], Vec::new());
        let (mut job, mut governor) = (None, Value::Null);
        let mut is_over = false;
        while imports.len() < STRETCHES as usize && !is_over {
            let from = began.elapsed();
            let id = match job {
                None => sql.start_import("t").await?,
                Some(id) => {
                    sql.resume(id).await?;
                    id
                }
            };
            job = Some(id);
            while began.elapsed() - from < length && !is_over {
                tokio::time::sleep(LOOK_EVERY).await;
                is_over = sql.job(id).await?.state.is_terminal();
            }
            governor = governed::status(engine);
            if is_over {
                sql.succeeded(id).await?;
            } else {
                sql.pause(id).await?;
            }
            imports.push((from, began.elapsed()));
            tokio::time::sleep(settles).await;
            idles.push(idle().await);
        }
        let recorded = load.stop()?;
        let mut import_rate = 0.0;
        if let Some(id) = job {
            let seconds = imports.iter().map(|(from, until)| (*until - *from).as_secs_f64());
            import_rate = sql.csv_bytes as f64 * sql.job(id).await?.fraction / seconds.sum::<f64>();
            sql.cancel(id).await?;
        }
        sql.run("DROP TABLE t").await?;
        let of = |part: &(Duration, Duration)| recorded.within(&[*part]);
        let stretches = imports.iter().zip(idles.windows(2)).filter_map(|(import, idle)| {
            // One that ended soon says little.
            let (from, until) = import;
            let [before, after] = idle else { return None };
            (*until - *from >= length / 2).then(|| Stretch {
                before: of(before),
                import: of(import),
                after: of(after),
            })
        });
        let stretches = stretches.collect();
        Ok(Window { stretches, import_rate, governor, stolen: recorded.stolen })
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

    /// Stretches of import beside the foreground.
    pub(super) fn stretches(&self) -> usize {
        self.windows.iter().map(|window| window.stretches.len()).sum()
    }

    /// Windows that they are in.
    pub(super) fn windows(&self) -> usize {
        self.windows.iter().filter(|window| !window.stretches.is_empty()).count()
    }

    /// Imports alone, of each kind.
    pub(super) fn trials(&self) -> usize {
        self.governed.len().min(self.ungoverned.len())
    }

    /// An import beside the foreground over idle, and idle again over idle: medians of stretches, resampled by windows.
    pub(super) fn ratios(&self, percentile: Percentile) -> [Option<Interval>; 2] {
        let windows = [self.windows.as_slice()];
        [
            self.ratio(&windows, |stretch| stretch.ratio(percentile)),
            self.ratio(&windows, |stretch| stretch.again(percentile)),
        ]
    }

    fn ratio(&self, of: &[&[Window]], ratio: impl Fn(&Stretch) -> f64) -> Option<Interval> {
        let of_window = |window: &Window| window.stretches.iter().map(&ratio).collect();
        let groups: Vec<Vec<f64>> = of.iter().copied().flatten().map(of_window).collect();
        bootstrap_median_of_groups(&groups, self.seed)
    }

    /// How many windows were set aside, if any, and an import over idle of those and of all others.
    pub(super) fn with_aside(&self, percentile: Percentile) -> Option<(usize, Option<Interval>)> {
        let all = self.ratio(&[self.windows.as_slice(), self.aside.as_slice()], |stretch| {
            stretch.ratio(percentile)
        });
        (!self.aside.is_empty()).then_some((self.aside.len(), all))
    }

    fn all(&self) -> impl Iterator<Item = &Stretch> {
        self.windows.iter().flat_map(|window| &window.stretches)
    }

    /// Median percentiles in milliseconds: idle before an import, and beside it.
    pub(super) fn medians(&self, percentile: Percentile) -> [Option<f64>; 2] {
        let median_of = |of: fn(&Stretch) -> &Latency| {
            median(&self.all().map(|stretch| percentile.of(of(stretch))).collect::<Vec<_>>())
        };
        [median_of(|stretch| &stretch.before), median_of(|stretch| &stretch.import)]
    }

    /// What one of the slowest hundredth of the operations waited for, the mean of all stretches: idle before an import, and beside it.
    pub(super) fn slowest(&self) -> [Waits; 2] {
        let mean_of = |of: fn(&Stretch) -> &Latency| {
            let add = |sum: Waits, stretch: &Stretch| sum.plus(of(stretch).slowest);
            self.all().fold(Waits::default(), add).times(1.0 / self.stretches().max(1) as f32)
        };
        [mean_of(|stretch| &stretch.before), mean_of(|stretch| &stretch.import)]
    }

    /// Median rates of imports in MB of CSV per second: beside the foreground, alone, alone without the
    /// governor's feedback.
    pub(super) fn rates_mb(&self) -> [Option<f64>; 3] {
        let beside: Vec<f64> = self.windows.iter().map(|window| window.import_rate).collect();
        [&beside, &self.governed, &self.ungoverned]
            .map(|rates| median(rates).map(|rate| rate / MB as f64))
    }

    /// The rate of an import alone, with the feedback over without.
    pub(super) fn rate_ratio(&self) -> Option<f64> {
        Some(median(&self.governed)? / median(&self.ungoverned)?)
    }

    pub(super) fn to_json(&self) -> Value {
        let all = |windows: &[Window]| windows.iter().map(Window::to_json).collect::<Vec<_>>();
        json!({
            "foreground_rate": self.rate,
            "windows": all(&self.windows),
            "set_aside": all(&self.aside),
            "alone_governed_bytes_per_second": self.governed,
            "alone_ungoverned_bytes_per_second": self.ungoverned,
        })
    }
}
