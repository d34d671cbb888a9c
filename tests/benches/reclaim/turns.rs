//! Turns of cleanup and of idle, as short as fractions of a second: what the foreground had in them, and how the two compare.
//!
//! What makes one idle window differ from another (on a virtual machine the disk, mostly) comes at every scale, of milliseconds and of
//! minutes. Two windows of half a minute therefore differ by about as much as two turns of a third of a second do, and of the second kind there
//! are eighty in the undo of a large job. So many pairs tell a tenth, where ten pairs of whole windows do not.
//!
//! What cleanup does to the turns after it would be in both sides of each pair. So stretches of such turns are compared with the rests
//! before and after them, too, in which nothing is cleaned up for some seconds ([`BesideRests`]): what is in idle turns beside cleanup
//! and not in rests is the cleanup's. What lasts for longer than a rest would be in all three.

use std::time::Duration;

use cairn_tests::bench::statistics::{
    Interval, Mean, bootstrap_mean, bootstrap_median, bootstrap_median_of_groups, median,
};
use serde_json::{Value, json};

use crate::latency::{Course, Latency, Percentile, Recorded};
use crate::pairs::STALL_MS;

/// What counts of a turn, from the beginning of the window.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    pub(super) from: Duration,
    pub(super) until: Duration,
    /// Bytes that were freed in that time.
    pub(super) freed: u64,
}

impl Turn {
    pub(super) fn length(&self) -> Duration {
        self.until.saturating_sub(self.from)
    }
}

/// Two turns that are next to each other, of the same length.
#[derive(Clone, Copy)]
pub(super) struct Pair {
    pub(super) idle: Turn,
    pub(super) cleanup: Turn,
}

/// The foreground in a turn of cleanup, and in the idle one next to it; or in all turns of either kind.
#[derive(Clone, Copy, Debug)]
struct Both {
    idle: Latency,
    cleanup: Latency,
}

impl Both {
    fn of(pairs: &[Pair], recorded: &Recorded) -> Self {
        let within = |of: fn(&Pair) -> &Turn| {
            let parts = pairs.iter().map(|pair| (of(pair).from, of(pair).until));
            recorded.within(&parts.collect::<Vec<_>>())
        };
        Self { idle: within(|pair| &pair.idle), cleanup: within(|pair| &pair.cleanup) }
    }

    fn ratio(&self, percentile: Percentile) -> f64 {
        percentile.of(&self.cleanup) / percentile.of(&self.idle).max(1e-6)
    }

    /// 1 if only cleanup has a stall, -1 if only idle has.
    fn stall(&self) -> f64 {
        Self::stalls(&self.cleanup) - Self::stalls(&self.idle)
    }

    fn stalls(latency: &Latency) -> f64 {
        f64::from(u8::from(latency.max_ms > STALL_MS))
    }

    fn to_json(self) -> Value {
        let of = |latency: &Latency| {
            let ms = Percentile::ALL.map(|percentile| percentile.of(latency));
            json!({ "operations": latency.operations, "ms": ms })
        };
        json!({ "idle": of(&self.idle), "cleanup": of(&self.cleanup) })
    }
}

/// A stretch of turns beside the rests before and after it: ratios of medians over turns, by percentile. Rests count as one, by their
/// geometric mean, so that what gets slower or faster all the while is in neither ratio. The control is the rest after over the one before.
#[derive(Clone, Copy)]
pub(super) struct BesideRests {
    idle: [f64; 4],
    cleanup: [f64; 4],
    control: [f64; 4],
}

/// What of a stretch is compared with the rests beside it.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Idle,
    Cleanup,
    /// Neither: a rest with a rest.
    Control,
}

impl BesideRests {
    /// `None` if one of the three has no turn.
    pub(super) fn of(
        before: &[Pair],
        turns: &[Pair],
        after: &[Pair],
        recorded: &Recorded,
    ) -> Option<Self> {
        let latencies = |turns: Vec<&Turn>| -> Vec<Latency> {
            turns.into_iter().map(|turn| recorded.within(&[(turn.from, turn.until)])).collect()
        };
        let rest = |pairs: &[Pair]| {
            latencies(pairs.iter().flat_map(|pair| [&pair.idle, &pair.cleanup]).collect())
        };
        let (before, after) = (rest(before), rest(after));
        let idle = latencies(turns.iter().map(|pair| &pair.idle).collect());
        let cleanup = latencies(turns.iter().map(|pair| &pair.cleanup).collect());
        let median_of = |latencies: &[Latency], percentile: Percentile| {
            median(&latencies.iter().map(|latency| percentile.of(latency)).collect::<Vec<_>>())
        };
        let mut ratios = Self { idle: [0.0; 4], cleanup: [0.0; 4], control: [0.0; 4] };
        for (at, percentile) in Percentile::ALL.into_iter().enumerate() {
            let [before, after] = [median_of(&before, percentile)?, median_of(&after, percentile)?];
            let rests = (before * after).sqrt().max(1e-6);
            *ratios.idle.get_mut(at)? = median_of(&idle, percentile)? / rests;
            *ratios.cleanup.get_mut(at)? = median_of(&cleanup, percentile)? / rests;
            *ratios.control.get_mut(at)? = after / before.max(1e-6);
        }
        Some(ratios)
    }

    fn to_json(self) -> Value {
        json!({
            "idle_over_rests": self.idle,
            "cleanup_over_rests": self.cleanup,
            "rest_after_over_before": self.control,
        })
    }
}

/// One window of turns.
pub(super) struct Trial {
    pairs: Vec<Both>,
    beside_rests: Vec<BesideRests>,
    whole: Both,
    pub(super) course: Course,
    /// Seconds from which and until which the turns of cleanup count, in order.
    pub(super) cleanup: Vec<(f64, f64)>,
    /// Bytes that were freed in the part of idle turns that counts, and in that of the others.
    freed_idle: u64,
    freed: u64,
    /// Until the disk was back, from the beginning of the window, rests and all.
    back_seconds: Option<f64>,
    /// The part of the processors' time that the machine's host gave to others.
    stolen: f64,
}

/// All windows of one kind.
pub(super) struct Trials {
    trials: Vec<Trial>,
    seed: u64,
}

impl Trials {
    /// None yet.
    pub(super) fn new(seed: u64) -> Self {
        Self { trials: Vec::new(), seed }
    }

    /// Adds turns of a window, at least one pair, with when the disk was back.
    pub(super) fn add(
        &mut self,
        pairs: &[Pair],
        beside_rests: Vec<BesideRests>,
        recorded: &Recorded,
        back: Option<f64>,
    ) {
        let freed = |of: fn(&Pair) -> &Turn| pairs.iter().map(|pair| of(pair).freed).sum();
        let seconds = |turn: &Turn| (turn.from.as_secs_f64(), turn.until.as_secs_f64());
        self.trials.push(Trial {
            pairs: pairs.chunks(1).map(|pair| Both::of(pair, recorded)).collect(),
            beside_rests,
            whole: Both::of(pairs, recorded),
            course: recorded.course(),
            cleanup: pairs.iter().map(|pair| seconds(&pair.cleanup)).collect(),
            freed_idle: freed(|pair| &pair.idle),
            freed: freed(|pair| &pair.cleanup),
            back_seconds: back,
            stolen: recorded.stolen,
        });
    }

    /// The window whose slowdown is the median one.
    pub(super) fn typical(&self) -> Option<&Trial> {
        let mut trials: Vec<&Trial> = self.trials.iter().collect();
        let ratio = |trial: &Trial| trial.whole.ratio(Percentile::P99);
        trials.sort_by(|one, other| ratio(one).total_cmp(&ratio(other)));
        trials.get(trials.len().saturating_sub(1) / 2).copied()
    }

    pub(super) fn count(&self) -> usize {
        self.trials.len()
    }

    pub(super) fn pairs(&self) -> usize {
        self.trials.iter().map(|trial| trial.pairs.len()).sum()
    }

    fn groups(&self, of: impl Fn(&Both) -> f64) -> Vec<Vec<f64>> {
        self.trials.iter().map(|trial| trial.pairs.iter().map(&of).collect()).collect()
    }

    /// The median ratio over all pairs of turns; resampled by windows.
    pub(super) fn of_turns(&self, percentile: Percentile) -> Option<Interval> {
        bootstrap_median_of_groups(&self.groups(|pair| pair.ratio(percentile)), self.seed)
    }

    /// The median ratio over windows, of all their turns of cleanup together over all their idle ones.
    pub(super) fn of_windows(&self, percentile: Percentile) -> Option<Interval> {
        let ratios: Vec<f64> =
            self.trials.iter().map(|trial| trial.whole.ratio(percentile)).collect();
        bootstrap_median(&ratios, self.seed)
    }

    /// The part of the pairs in which only the turn of cleanup has a stall less that in which only the idle one has; the mean
    /// of windows, resampled by them.
    pub(super) fn more_stalls(&self) -> Option<Mean> {
        let mean = |stalls: Vec<f64>| stalls.iter().sum::<f64>() / stalls.len().max(1) as f64;
        let means: Vec<f64> = self.groups(Both::stall).into_iter().map(mean).collect();
        bootstrap_mean(&means, self.seed)
    }

    /// The part of the turns of cleanup that have a stall, and of the idle ones.
    pub(super) fn stalls(&self) -> [f64; 2] {
        let part = |side: fn(&Both) -> &Latency| {
            let stalls = self.groups(|pair| Both::stalls(side(pair))).concat();
            stalls.iter().sum::<f64>() / stalls.len().max(1) as f64
        };
        [part(|pair| &pair.cleanup), part(|pair| &pair.idle)]
    }

    /// Windows whose idle turns have a p99 above that.
    pub(super) fn behind(&self, ms: f64) -> usize {
        self.trials.iter().filter(|trial| trial.whole.idle.p99_ms > ms).count()
    }

    /// The median of what the machine's host took.
    pub(super) fn stolen(&self) -> f64 {
        median(&self.trials.iter().map(|trial| trial.stolen).collect::<Vec<_>>()).unwrap_or(0.0)
    }

    /// The median ratio over all stretches to the rests beside them; resampled by windows.
    pub(super) fn over_rests(&self, side: Side, percentile: Percentile) -> Option<Interval> {
        let at = Percentile::ALL.iter().position(|one| *one == percentile)?;
        let ratio = |beside: &BesideRests| {
            let ratios = match side {
                Side::Idle => &beside.idle,
                Side::Cleanup => &beside.cleanup,
                Side::Control => &beside.control,
            };
            ratios.get(at).copied()
        };
        let of_window = |trial: &Trial| trial.beside_rests.iter().filter_map(ratio).collect();
        let groups: Vec<Vec<f64>> = self.trials.iter().map(of_window).collect();
        bootstrap_median_of_groups(&groups, self.seed)
    }

    /// Windows with stretches that are beside rests.
    pub(super) fn windows_with_rests(&self) -> usize {
        self.trials.iter().filter(|trial| !trial.beside_rests.is_empty()).count()
    }

    /// Stretches that are beside rests.
    pub(super) fn stretches(&self) -> usize {
        self.trials.iter().map(|trial| trial.beside_rests.len()).sum()
    }

    /// Median milliseconds of idle turns and of turns of cleanup.
    pub(super) fn medians(&self, percentile: Percentile) -> [f64; 2] {
        let of = |side: fn(&Both) -> &Latency| {
            median(&self.groups(|pair| percentile.of(side(pair))).concat()).unwrap_or(0.0)
        };
        [of(|pair| &pair.idle), of(|pair| &pair.cleanup)]
    }

    /// Of what was freed in the parts of turns that count, what was freed in idle ones: a pause that does not pause shows here.
    pub(super) fn idle_part(&self) -> f64 {
        let sum = |of: fn(&Trial) -> u64| self.trials.iter().map(of).sum::<u64>();
        let (idle, cleanup) = (sum(|trial| trial.freed_idle), sum(|trial| trial.freed));
        idle as f64 / (idle + cleanup).max(1) as f64
    }

    /// Bytes freed in a second of cleanup.
    pub(super) fn rate(&self) -> f64 {
        let freed: u64 = self.trials.iter().map(|trial| trial.freed).sum();
        let turns = self.trials.iter().flat_map(|trial| &trial.cleanup);
        freed as f64 / turns.map(|(from, until)| until - from).sum::<f64>().max(1e-6)
    }

    pub(super) fn to_json(&self) -> Value {
        let trial = |trial: &Trial| {
            json!({
                "whole": trial.whole.to_json(),
                "pairs": trial.pairs.iter().map(|pair| pair.to_json()).collect::<Vec<_>>(),
                "stretches": trial.beside_rests.iter().map(|beside| beside.to_json()).collect::<Vec<_>>(),
                "disk_back_seconds": trial.back_seconds,
                "bytes_freed_in_idle_turns": trial.freed_idle,
                "bytes_freed_in_turns_of_cleanup": trial.freed,
                "stolen": trial.stolen,
            })
        };
        json!({
            "ms": Percentile::ALL.map(Percentile::name),
            "windows": self.trials.iter().map(trial).collect::<Vec<_>>(),
        })
    }
}
