//! Pairs of a window with an undo and an idle one, interleaved: every round measures each strategy once, and
//! each round begins with another one, so that a slow minute of the machine meets all of them.
//!
//! The idle window comes after the undo, because it is as long: the longer a window is, the more likely it is to have one of
//! the hiccups of the machine in it, which make its tail. Beside shorter idle windows a gentle undo would look worse
//! than a quick one.

use std::path::Path;
use std::time::{Duration, Instant};

use cairn_tests::bench::statistics::{Interval, bootstrap_median, bootstrap_ratio, median};
use serde_json::{Value, json};

use crate::arguments::{MB, Plan};
use crate::foreground::{self, Arrival};
use crate::host::Retries;
use crate::latency::Percentile;
use crate::progress::Progress;
use crate::store::{Deletion, Store};
use crate::strategy::Strategy;
use crate::window::{self, Length, Window};

/// A stall is an operation that took longer than this, in a window whose idle other half has none as long.
pub(super) const STALL_MS: f64 = 10.0;

/// With fewer operations in calm moments a window has no 99.9th percentile of them.
const CALM_MIN: u64 = 3_000;

/// One undo and an idle window as long.
pub(super) struct Pair {
    pub(super) strategy: Strategy,
    round: usize,
    pub(super) idle: Window,
    pub(super) undo: Window,
    /// What was to be given back.
    pub(super) bytes: u64,
    pub(super) files: usize,
}

impl Pair {
    /// Undo over idle.
    pub(super) fn ratio(&self, percentile: Percentile) -> f64 {
        percentile.of(&self.undo.latency) / percentile.of(&self.idle.latency).max(1e-6)
    }

    /// Whether the undo has a stall that idle does not have.
    pub(super) fn has_stall(&self) -> bool {
        let max = self.undo.latency.max_ms;
        max > STALL_MS && max > self.idle.latency.max_ms
    }

    fn to_json(&self) -> Value {
        json!({
            "strategy": self.strategy.name(),
            "round": self.round,
            "bytes": self.bytes,
            "files": self.files,
            "idle": self.idle.to_json(),
            "undo": self.undo.to_json(),
        })
    }
}

/// Windows with calm moments.
pub(super) struct Calm<'a> {
    pub(super) undos: Vec<&'a Window>,
    pub(super) idle: Vec<&'a Window>,
    seed: u64,
}

impl Calm<'_> {
    /// The median of the undos over that of the idle windows.
    pub(super) fn ratio(&self, percentile: Percentile) -> Option<Interval> {
        let values = |windows: &[&Window]| -> Vec<f64> {
            windows.iter().map(|window| percentile.of(&window.calm)).collect()
        };
        bootstrap_ratio(&values(&self.undos), &values(&self.idle), self.seed)
    }

    /// The part of the operations of such windows that is in calm moments.
    pub(super) fn part(windows: &[&Window]) -> f64 {
        let sum = |of: fn(&Window) -> u64| windows.iter().map(|window| of(window)).sum::<u64>();
        let all = sum(|window| window.latency.operations);
        sum(|window| window.calm.operations) as f64 / all.max(1) as f64
    }
}

/// All pairs of one size.
pub(super) struct Size {
    pub(super) size_mb: u64,
    /// Operations per second that the foreground was offered, by round.
    pub(super) rates: Vec<f64>,
    pub(super) window_max_seconds: f64,
    pub(super) pairs: Vec<Pair>,
    /// What is not counted, because the host took too much.
    aside: Vec<Pair>,
    pub(super) seed: u64,
}

impl Size {
    /// The pairs of a strategy.
    pub(super) fn of(&self, strategy: Strategy) -> Vec<&Pair> {
        self.pairs.iter().filter(|pair| pair.strategy == strategy).collect()
    }

    /// The median ratio of a strategy, with its interval.
    pub(super) fn ratio(&self, strategy: Strategy, percentile: Percentile) -> Option<Interval> {
        let pairs = self.of(strategy);
        let ratios: Vec<f64> = pairs.iter().map(|pair| pair.ratio(percentile)).collect();
        bootstrap_median(&ratios, self.seed)
    }

    /// How many pairs of a strategy were set aside, and the median ratio of those and of all others.
    pub(super) fn with_aside(
        &self,
        strategy: Strategy,
        percentile: Percentile,
    ) -> (usize, Option<Interval>) {
        let aside: Vec<&Pair> =
            self.aside.iter().filter(|pair| pair.strategy == strategy).collect();
        let all = self.of(strategy).into_iter().chain(aside.iter().copied());
        let ratios: Vec<f64> = all.map(|pair| pair.ratio(percentile)).collect();
        (aside.len(), bootstrap_median(&ratios, self.seed))
    }

    /// What the foreground has in calm moments, of all windows with enough of them on the store of this strategy, also of those
    /// that were set aside: what the host took is left out already, and few pairs are calm in both halves.
    pub(super) fn calm(&self, strategy: Strategy) -> Calm<'_> {
        let is_calm = |window: &&Window| window.calm.operations >= CALM_MIN;
        let all = || self.pairs.iter().chain(&self.aside);
        let undos = all().filter(|pair| pair.strategy == strategy).map(|pair| &pair.undo);
        let same_store = |pair: &&Pair| pair.strategy.deletion() == strategy.deletion();
        let idle = all().filter(same_store).map(|pair| &pair.idle);
        let (undos, idle) = (undos.filter(is_calm).collect(), idle.filter(is_calm).collect());
        Calm { undos, idle, seed: self.seed }
    }

    /// The median of something over the pairs of a strategy.
    pub(super) fn median(&self, strategy: Strategy, of: impl Fn(&Pair) -> f64) -> Option<f64> {
        let values: Vec<f64> = self.of(strategy).into_iter().map(of).collect();
        median(&values)
    }

    /// The pair whose slowdown is the median one: what the plots show.
    pub(super) fn typical(&self, strategy: Strategy) -> Option<&Pair> {
        let mut pairs = self.of(strategy);
        pairs.sort_by(|one, other| {
            one.ratio(Percentile::P99).total_cmp(&other.ratio(Percentile::P99))
        });
        pairs.get(pairs.len().saturating_sub(1) / 2).copied()
    }

    /// Pairs with a stall, of all.
    pub(super) fn stalls(&self, strategy: Strategy) -> (usize, usize) {
        let pairs = self.of(strategy);
        (pairs.iter().filter(|pair| pair.has_stall()).count(), pairs.len())
    }

    pub(super) fn to_json(&self) -> Value {
        let pairs: Vec<Value> = self.pairs.iter().map(Pair::to_json).collect();
        json!({
            "size_mb": self.size_mb,
            "foreground_rates": self.rates,
            "window_max_seconds": self.window_max_seconds,
            "pairs": pairs,
            "set_aside": self.aside.iter().map(Pair::to_json).collect::<Vec<_>>(),
        })
    }
}

/// Where a pair belongs, and what the foreground is offered in it.
#[derive(Clone, Copy)]
struct Place {
    round: usize,
    number: u64,
    rate: f64,
}

/// Both stores.
pub(super) struct Stores {
    plain: Store,
    paced: Store,
}

impl Stores {
    /// Makes the stores in a folder.
    ///
    /// # Errors
    /// A storage error.
    pub(super) fn make(folder: &Path, plan: &Plan, progress: &Progress) -> Result<Self, String> {
        let make = |name: &str, deletion| {
            progress.say(&format!("making the {name} store"));
            Store::make(
                &folder.join(name),
                deletion,
                plan.cache_bytes,
                plan.table_bytes,
                plan.value_bytes,
                plan.seed,
            )
        };
        let (plain, paced) = (make("plain", Deletion::Plain)?, make("paced", Deletion::Paced)?);
        Ok(Self { plain, paced })
    }

    /// What the foreground is offered on the stores of these strategies: a part of its lowest peak, in operations per second. It is looked
    /// for again and again: half of what a machine did in a good minute is too much for it in a bad one.
    ///
    /// # Errors
    /// A storage error.
    pub(super) fn rate(&self, of: &[Strategy], plan: &Plan) -> Result<f64, String> {
        let mut peak = f64::INFINITY;
        for store in [&self.plain, &self.paced] {
            if !of.iter().any(|strategy| std::ptr::eq(self.of(*strategy), store)) {
                continue;
            }
            store.settle(plan.quiet)?;
            let (engine, table) = (&store.engine, &store.table);
            peak = peak.min(foreground::peak(engine, table, plan.threads, plan.peak, plan.seed)?);
        }
        Ok(peak * plan.load)
    }

    /// The store that a strategy is measured on.
    pub(super) fn of(&self, strategy: Strategy) -> &Store {
        match strategy.deletion() {
            Deletion::Plain => &self.plain,
            Deletion::Paced => &self.paced,
        }
    }

    /// Measures all pairs of one size.
    ///
    /// # Errors
    /// A storage error, or an operation of the foreground that failed.
    pub(super) fn measure(
        &self,
        plan: &Plan,
        size_mb: u64,
        progress: &Progress,
    ) -> Result<Size, String> {
        let strategies = plan.strategies();
        progress.begin(&format!("{size_mb} MB"), plan.pairs * strategies.len());
        // The control is as long as Cairn's last undo.
        let (mut pairs, mut control, mut rates) = (Vec::new(), plan.window_min, Vec::new());
        let (mut aside, mut retries) =
            (Vec::new(), Retries::new(plan.pairs * strategies.len(), plan.again));
        let began = Instant::now();
        for round in 0..plan.pairs {
            if plan.is_over(began) {
                break;
            }
            progress.say("looking for the peak of the foreground");
            let rate = self.rate(&strategies, plan)?;
            rates.push(rate);
            for turn in 0..strategies.len() {
                let Some(&strategy) = strategies.get((round + turn) % strategies.len()) else {
                    continue;
                };
                progress.say(&format!("round {}, {}", round + 1, strategy.name()));
                let number = pairs.len() as u64;
                let length = match strategy {
                    Strategy::Nothing => Length { min: control, max: control },
                    _ => Length { min: plan.window_min, max: plan.window_max(size_mb) },
                };
                // What comes second may be slower or faster for that alone, so every other pair begins with the idle window,
                // as long as the undo before it was.
                let last = pairs.iter().rev().find(|pair: &&Pair| pair.strategy == strategy);
                let idle_first = last
                    .filter(|_| round % 2 == 1)
                    .map(|last| Duration::from_secs_f64(last.undo.seconds));
                let pair = loop {
                    let place = Place { round, number, rate };
                    let pair = self.pair(plan, size_mb, strategy, length, idle_first, place)?;
                    if retries.accepts([&pair.idle, &pair.undo].map(|of| of.latency.stolen)) {
                        break pair;
                    }
                    aside.push(pair);
                };
                if strategy.is_ours() {
                    control = Duration::from_secs_f64(pair.undo.seconds);
                }
                pairs.push(pair);
                progress.step();
            }
        }
        let window_max_seconds = plan.window_max(size_mb).as_secs_f64();
        let seed = plan.seed;
        Ok(Size { size_mb, rates, window_max_seconds, pairs, aside, seed })
    }

    fn pair(
        &self,
        plan: &Plan,
        size_mb: u64,
        strategy: Strategy,
        length: Length,
        idle_first: Option<Duration>,
        Place { round, number, rate }: Place,
    ) -> Result<Pair, String> {
        let store = self.of(strategy);
        let arrival = |half: u64, expected| Arrival {
            threads: plan.threads,
            rate,
            warmup: plan.warmup,
            expected,
            seed: plan.seed.wrapping_add((number * 2 + half) << 8),
        };
        store.settle(plan.quiet)?;
        let bytes = size_mb * MB / 2;
        let doomed = strategy.prepare(store, bytes, plan.seed.wrapping_add(number << 40))?;
        store.settle(plan.quiet)?;
        let idle = |seconds| window::idle(store, arrival(1, plan.warmup + seconds), seconds);
        let before = idle_first.map(&idle).transpose()?;
        if before.is_some() {
            store.settle(plan.quiet)?;
        }
        let expected = plan.warmup + length.max;
        let undo = window::undo(store, arrival(0, expected), length, strategy, &doomed)?;
        strategy.tidy(store, &doomed)?;
        store.settle(plan.quiet)?;
        let idle = match before {
            Some(window) => window,
            None => idle(Duration::from_secs_f64(undo.seconds))?,
        };
        let (bytes, files) = (doomed.bytes, doomed.files());
        Ok(Pair { strategy, round, idle, undo, bytes, files })
    }
}
