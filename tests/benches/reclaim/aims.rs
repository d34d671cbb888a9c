//! The aims, each with what was found and what is to be said about it.

use cairn_tests::bench::statistics::{Interval, Mean};
use cairn_tests::bench::verdict::{self, Compared, PAIRS_MIN, Verdict};
use serde_json::{Value, json};

use crate::cancel::{AllCancels, Cancels, Moment, SIZE_FACTOR};
use crate::cleanup::{BEHIND_MS, Cleanup};
use crate::cost::{Cost, REPETITIONS};
use crate::import::Imports;
use crate::latency::Percentile;
use crate::pairs::{STALL_MS, Size};
use crate::quiet::Quiet;
use crate::repeat::{Gauge, Repeat};
use crate::results::Results;
use crate::strategy::Strategy;
use crate::turns::{Side, Trials};

/// What the foreground's percentiles may be over idle during cleanup, and how far idle pairs may disagree before the comparison
/// is void.
const LIMITS: [(Percentile, f64, f64); 2] =
    [(Percentile::P99, 1.10, 0.10), (Percentile::P999, 1.25, 0.25)];

/// The same of p99 beside an import.
const IMPORT_LIMIT: f64 = 1.5;
const IMPORT_MARGIN: f64 = 0.10;

/// In so many of a hundred turns more than by chance a stall would be found.
const STALLS_MARGIN: f64 = 0.05;

/// With fewer pairs none with a stall may be chance.
const STALL_PAIRS_MIN: usize = 60;

/// What may be freed in idle turns: the step that was under way.
const FREED_IDLE_MAX: f64 = 0.05;

/// Nanoseconds that the engine may take to measure an operation of the foreground.
const COST_NANOS_MAX: f64 = 100.0;

/// Fewer than these decide nothing: cancels of which one in a hundred may be slow, cancels of a size, trials.
const CANCELS_MIN: usize = 100;
const SIZED_MIN: usize = 5;
const TRIALS_MIN: usize = 5;
const IMPORT_CANCELS_MIN: usize = 30;

/// One row of the table of aims.
pub(super) struct Aim {
    pub(super) number: u8,
    pub(super) what: String,
    pub(super) found: String,
    pub(super) limit: String,
    pub(super) verdict: Verdict,
}

impl Aim {
    fn new(
        number: u8,
        what: impl Into<String>,
        found: impl Into<String>,
        limit: impl Into<String>,
        verdict: Verdict,
    ) -> Self {
        Self { number, what: what.into(), found: found.into(), limit: limit.into(), verdict }
    }

    /// Why it is void, if it is.
    pub(super) fn reason(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Void(reason) => Some(reason),
            Verdict::Held | Verdict::Missed => None,
        }
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "aim": self.number,
            "what": self.what,
            "found": self.found,
            "limit": self.limit,
            "verdict": self.verdict.to_string(),
            "reason": self.reason(),
        })
    }
}

/// All aims of the parts that were run.
pub(super) fn all(results: &Results) -> Vec<Aim> {
    let mut aims: Vec<Aim> = results.sizes.iter().flat_map(foreground).collect();
    aims.extend(results.cleanups.iter().flat_map(cleanup));
    aims.extend(results.cancels.iter().flat_map(cancel));
    aims.extend(results.quiet.iter().map(written));
    aims.extend(results.quiet.iter().map(disk_back));
    aims.extend(results.imports.iter().flat_map(import));
    aims.extend(results.repeat.iter().flat_map(repeat));
    aims.extend(results.cost.iter().flat_map(cost));
    aims
}

/// `1.04x [0.98, 1.11]`.
pub(super) fn ratio(interval: Option<Interval>) -> String {
    interval.map_or_else(
        || "-".to_owned(),
        |Interval { low, median, high }| format!("{median:.2}x [{low:.2}, {high:.2}]"),
    )
}

fn number(value: Option<f64>, unit: &str) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}{unit}"))
}

/// `1 GB` for 1024 MB, `16 MB` for less.
pub(super) fn size_name(size_mb: u64) -> String {
    if size_mb >= 1000 {
        format!("{:.0} GB", size_mb as f64 / 1000.0)
    } else {
        format!("{size_mb} MB")
    }
}

/// Aim 1: the foreground during cleanup.
fn foreground(size: &Size) -> Vec<Aim> {
    let name = size_name(size.size_mb);
    let mut aims = Vec::new();
    for strategy in Strategy::ALL.into_iter().filter(|strategy| strategy.is_ours()) {
        if size.of(strategy).is_empty() {
            continue;
        }
        let about = |what: &str| format!("{what}, {}, {name}", strategy.name());
        let mut void = None;
        for (percentile, limit, margin) in LIMITS {
            let compared = Compared {
                pairs: size.of(strategy).len(),
                ratio: size.ratio(strategy, percentile),
                control: size.ratio(Strategy::Nothing, percentile),
                control_pairs: size.of(Strategy::Nothing).len(),
                margin,
            };
            // If idle is not like idle, a stall says nothing either.
            let idle = compared.at_most(f64::INFINITY);
            void = void.or(Some(idle).filter(|verdict| *verdict != Verdict::Held));
            let what = about(&format!("foreground {}", percentile.name()));
            let (found, limit_text) = (ratio(compared.ratio), format!("{limit:.2}x idle"));
            aims.push(Aim::new(1, what, found, limit_text, compared.at_most(limit)));
        }
        let (own, control) = (size.stalls(strategy), size.stalls(Strategy::Nothing));
        let what = about(&format!("stalls above {STALL_MS:.0} ms"));
        let found = format!("{} of {}", own.0, own.1);
        let limit = format!("{} of {}", control.0, control.1);
        let verdict = void.unwrap_or_else(|| verdict::stalls(own, control));
        aims.push(Aim::new(1, what, found, limit, verdict));
    }
    aims
}

/// Aim 1: the same, with cleanup and idle in turns. Of windows as a whole, too: what is rare is in few turns.
fn cleanup(cleanup: &Cleanup) -> Vec<Aim> {
    if !cleanup.cancels {
        return Vec::new();
    }
    let name = size_name(cleanup.size_mb);
    let (undos, control) = (&cleanup.undos, &cleanup.control);
    let void = not_idle(cleanup);
    let mut aims = Vec::new();
    let mut reaches = None;
    for (percentile, limit, margin) in LIMITS {
        let compared = |of: fn(&Trials, Percentile) -> Option<Interval>| Compared {
            pairs: undos.count(),
            ratio: of(undos, percentile),
            control: of(control, percentile),
            control_pairs: control.count(),
            margin,
        };
        let mut push = |scale: &str, compared: Compared, verdict: Option<Verdict>| {
            let what = format!("foreground {}, {scale}, by files, {name}", percentile.name());
            let (found, limit_text) = (ratio(compared.ratio), format!("{limit:.2}x idle"));
            let verdict = void.clone().or(verdict).unwrap_or_else(|| compared.at_most(limit));
            aims.push(Aim::new(1, what, found, limit_text, verdict));
        };
        let idle = undos.over_rests(Side::Idle, percentile);
        let reach = reach(undos.windows_with_rests(), idle, margin);
        if reach == Reach::IntoIdleTurns {
            // Then the idle turns are none, and rests are what it is compared with.
            let over_rests = Compared {
                pairs: undos.windows_with_rests(),
                ratio: undos.over_rests(Side::Cleanup, percentile),
                control: undos.over_rests(Side::Control, percentile),
                control_pairs: undos.windows_with_rests(),
                margin,
            };
            push("turns over rests", over_rests, None);
        } else {
            push("turns", compared(Trials::of_turns), reach.void(idle));
        }
        push("windows of turns", compared(Trials::of_windows), reach.void(idle));
        reaches = reaches.or_else(|| reach.void(idle));
    }
    let stalls = undos.more_stalls();
    let what = format!("more turns with {STALL_MS:.0} ms, by files, {name}");
    let found = stalls.map_or_else(
        || "-".to_owned(),
        |Mean { low, mean, high }| {
            format!("{:.1} % [{:.1}, {:.1}]", mean * 100.0, low * 100.0, high * 100.0)
        },
    );
    let pairs = if undos.count() < PAIRS_MIN { 0 } else { undos.pairs() };
    let verdict = void
        .or(reaches)
        .unwrap_or_else(|| verdict::no_more_often(stalls, STALLS_MARGIN, pairs, STALL_PAIRS_MIN));
    aims.push(Aim::new(1, what, found, "no more (+5)", verdict));
    aims
}

/// Whether what cleanup does is over when an idle turn beside it begins to count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// It is, but for no more than the margin.
    Over,
    /// It is not.
    IntoIdleTurns,
    /// The measurements cannot tell.
    Unknown,
}

impl Reach {
    /// What it makes of a comparison with idle turns.
    fn void(self, idle: Option<Interval>) -> Option<Verdict> {
        let what = match self {
            Self::Over => return None,
            Self::IntoIdleTurns => "cleanup reaches into them",
            Self::Unknown => "whether cleanup reaches into them is not known",
        };
        Some(Verdict::Void(format!("idle turns have {} of the rests: {what}", ratio(idle))))
    }
}

/// By how much slower idle turns are than rests, in so many windows.
fn reach(windows: usize, idle: Option<Interval>, margin: f64) -> Reach {
    match idle.filter(|_| windows >= PAIRS_MIN) {
        Some(idle) if idle.low > 1.0 => Reach::IntoIdleTurns,
        Some(idle) if idle.agrees_with_one(margin) => Reach::Over,
        _ => Reach::Unknown,
    }
}

/// Why idle turns are not idle, if that shows: the comparison says nothing then.
fn not_idle(cleanup: &Cleanup) -> Option<Verdict> {
    let part = cleanup.undos.idle_part();
    if part > FREED_IDLE_MAX {
        return Some(Verdict::Void(format!(
            "{:.0} % of what was freed went in idle turns",
            part * 100.0
        )));
    }
    let (behind, undos) = (cleanup.undos.behind(BEHIND_MS), cleanup.undos.count());
    (behind * 10 > undos).then(|| {
        Verdict::Void(format!(
            "in {behind} of {undos} undos the foreground was behind in idle turns, too"
        ))
    })
}

/// Aim 2: how long a cancel takes.
fn cancel(cancels: &AllCancels) -> Vec<Aim> {
    let mut aims = Vec::new();
    let enough = [(&cancels.loads, CANCELS_MIN), (&cancels.imports, IMPORT_CANCELS_MIN)];
    for (of, needed) in enough {
        for (moment, limit) in [(Moment::Returned, 10.0), (Moment::Canceled, 50.0)] {
            let found = of.at(moment, 0.99);
            let what = format!("{}: {}, p99 of {}", of.name, moment.name(), of.count());
            let verdict = verdict::at_most(found, limit, of.count(), needed);
            aims.push(Aim::new(2, what, number(found, " ms"), format!("{limit:.0} ms"), verdict));
        }
    }
    let median = |of: &Cancels| of.at(Moment::Canceled, 0.5);
    let found = median(&cancels.large).zip(median(&cancels.small));
    let found = found.map(|(large, small)| large / small.max(1e-6));
    let samples = cancels.large.count().min(cancels.small.count());
    let factor = cancels.large.bytes() / cancels.small.bytes().max(1);
    let verdict = if factor < SIZE_FACTOR {
        Verdict::Void(format!("{factor} times the bytes, {SIZE_FACTOR} are asked for"))
    } else {
        verdict::at_most(found, 1.5, samples, SIZED_MIN)
    };
    let what = format!("`canceled` with {factor} times the bytes, medians");
    aims.push(Aim::new(2, what, number(found, "x"), "1.50x", verdict));
    aims
}

/// Aim 3: bytes that the cleanup writes.
fn written(quiet: &Quiet) -> Aim {
    let found = quiet.written_part();
    let verdict = verdict::at_most(found, 0.01, quiet.count(), TRIALS_MIN);
    let found = number(found.map(|part| part * 100.0), " %");
    let what = format!("bytes written per byte reclaimed, {}", size_name(quiet.size_mb));
    Aim::new(3, what, found, "1.00 %", verdict)
}

/// Aim 4: the disk with an idle foreground.
fn disk_back(quiet: &Quiet) -> Aim {
    let found = quiet.back_ratio();
    let verdict = verdict::at_most(found.map(|ratio| ratio.median), 1.5, quiet.count(), TRIALS_MIN);
    let what = format!("disk back over unpaced, {}", size_name(quiet.size_mb));
    Aim::new(4, what, ratio(found), "1.50x", verdict)
}

/// Aim 5: a running import.
fn import(imports: &Imports) -> Vec<Aim> {
    let [beside, control] = imports.ratios(Percentile::P99);
    let compared = Compared {
        pairs: imports.windows(),
        ratio: beside,
        control,
        control_pairs: imports.windows(),
        margin: IMPORT_MARGIN,
    };
    let found = imports.rate_ratio();
    let verdict = verdict::at_least(found, 0.95, imports.trials(), TRIALS_MIN);
    vec![
        Aim::new(
            5,
            format!("foreground p99 during an import, {} stretches", imports.stretches()),
            ratio(beside),
            "1.50x idle",
            compared.at_most(IMPORT_LIMIT),
        ),
        Aim::new(
            5,
            "import alone, governed over ungoverned rate",
            number(found, "x"),
            "0.95x or more",
            verdict,
        ),
    ]
}

/// What the governor's look at the foreground costs each operation: no aim of its own number.
fn cost(cost: &Cost) -> [Aim; 2] {
    let threads = format!("on {} threads", cost.threads);
    [("alone", cost.measured), (threads.as_str(), cost.beside_others)].map(|(how, nanos)| {
        let what = format!("measuring a foreground operation, {how}");
        let verdict = verdict::at_most(Some(nanos), COST_NANOS_MAX, REPETITIONS, REPETITIONS);
        Aim::new(0, what, format!("{nanos:.0} ns"), format!("{COST_NANOS_MAX:.0} ns"), verdict)
    })
}

/// Aim 6: after thousands of cancelled imports.
fn repeat(repeat: &Repeat) -> Vec<Aim> {
    let mut aims = Vec::new();
    for (what, found) in repeat.ratios() {
        let median = found.map(|found| found.median);
        let verdict = verdict::at_most(median, 1.05, repeat.repetitions(), PAIRS_MIN);
        let what = format!("{what} after {} cancelled imports", repeat.cycles);
        aims.push(Aim::new(6, what, ratio(found), "1.05x fresh", verdict));
    }
    for gauge in Gauge::ALL {
        let readings = repeat.readings(gauge);
        let verdict = verdict::no_growth(readings, gauge.slack());
        let fifth = readings.get(readings.len() / 5).copied().unwrap_or(0.0);
        let last = readings.last().copied().unwrap_or(0.0);
        let found = format!("{} > {}", gauge.shown(fifth), gauge.shown(last));
        aims.push(Aim::new(6, gauge.name(), found, "no growth", verdict));
    }
    aims
}
