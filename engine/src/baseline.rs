//! How fast the foreground is when it is left alone, and whether it is slower now. Pure.
//!
//! While background work rests, latencies are *learned*: they go into a baseline, kept as two halves
//! of which the older is dropped when the younger is full, so that a baseline is at most some minutes
//! old. All the time, latencies also go into a *window* of about a second, made the same way, which
//! is compared with the baseline.
//!
//! A window is slow in one of two ways:
//!
//! - its *tail*: more of it than a hundredth lies above the target (the baseline's p99 times the setting), and
//!   more than chance explains: with n operations, n/100 are expected above, give or take the square root of
//!   that. A p99 of few operations jumps by itself; without that allowance background work would give way to
//!   noise;
//! - its *mean*, of all but the slowest hundredth: how many operations a thread gets done. A foreground that is
//!   half busy falls behind without end once each operation takes twice as long, and with a tail made by the
//!   disk that may come about while the p99 has not moved (measured: a mean of 1.8x at a p99 of 1.05x). The
//!   mean may rise by [`MEAN_SHARE`] times what the p99 may, because it is felt only by who is busy.
//!
//! One operation that takes far longer than anything the baseline has seen is a *stall* and counts at once:
//! who waits half a second does one operation in it, not a hundred.

use std::time::Duration;

use crate::latency::{ByOperation, Latencies, Operation, duration, latencies};

/// Operations that a baseline needs before anything is compared with it.
const LEARNED_MIN: u64 = 200;

/// Operations, or ticks, after which the younger half of a baseline is full.
const LEARNED_HALF: u64 = 20_000;
const LEARNED_TICKS: u32 = 600;

/// Operations that a window needs before it is judged.
const WINDOW_MIN: u64 = 50;

/// Ticks after which the younger half of a window is full, and after which it is even if it has few operations.
const WINDOW_TICKS: u32 = 5;
const WINDOW_TICKS_MAX: u32 = 25;

/// A target of 1.1 for the p99 allows a mean of 1.2.
const MEAN_SHARE: f64 = 2.0;

/// How many standard deviations above the expected number are still chance.
const CHANCE: f64 = 2.0;

/// The shortest stall.
const STALL_MIN: Duration = Duration::from_millis(10);

/// A stall takes so many times as long as anything in the baseline.
const STALL_FACTOR: u32 = 2;

/// Two halves: the younger grows, the older is there so that the whole is never empty.
#[derive(Debug)]
struct Halves {
    older: Latencies,
    younger: Latencies,
    ticks: u32,
}

impl Default for Halves {
    fn default() -> Self {
        Self { older: latencies(), younger: latencies(), ticks: 0 }
    }
}

impl Halves {
    fn add(&mut self, tick: &Latencies) {
        let added = self.younger.add(tick);
        debug_assert!(added.is_ok(), "same bounds: {added:?}");
        self.ticks += 1;
    }

    /// The younger half becomes the older one.
    fn turn(&mut self) {
        std::mem::swap(&mut self.older, &mut self.younger);
        self.younger.reset();
        self.ticks = 0;
    }

    fn len(&self) -> u64 {
        self.older.len() + self.younger.len()
    }

    fn max(&self) -> Duration {
        duration(self.older.max().max(self.younger.max()))
    }

    /// How many lie above `value`.
    fn above(&self, value: u64) -> u64 {
        let above = |half: &Latencies| match half.max() {
            max if max > value && !half.is_empty() => half.count_between(value + 1, max),
            _ => 0,
        };
        above(&self.older) + above(&self.younger)
    }

    fn summary(&self) -> Summary {
        let mut whole = self.older.clone();
        let added = whole.add(&self.younger);
        debug_assert!(added.is_ok(), "same bounds: {added:?}");
        let p99 = whole.value_at_quantile(0.99);
        let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for value in whole.iter_recorded().take_while(|value| value.value_iterated_to() <= p99) {
            let of = value.value_iterated_to() as f64;
            let times = f64::from(value.count_at_value());
            count += times;
            sum += of * times;
            squares += of * of * times;
        }
        let mean = sum / f64::max(count, 1.0);
        let variance = (squares / f64::max(count, 1.0) - mean * mean).max(0.0);
        Summary { p99, mean, error: (variance / f64::max(count, 1.0)).sqrt() }
    }
}

/// What is compared, in [`UNIT`](crate::latency::UNIT)s.
#[derive(Clone, Copy, Debug)]
struct Summary {
    p99: u64,
    /// Of all that are not above `p99`, and its standard error.
    mean: f64,
    error: f64,
}

#[derive(Debug, Default)]
struct Kind {
    learned: Halves,
    window: Halves,
    /// Of `learned`, once that is enough.
    usual: Option<Summary>,
}

/// Which property of latencies is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// The latency that one operation in a hundred exceeds.
    P99,
    /// The mean of all others.
    Mean,
}

impl Statistic {
    /// The name in views and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::P99 => "p99",
            Self::Mean => "mean",
        }
    }
}

/// What a window says about one kind of operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Which operations.
    pub operation: Operation,
    /// What of them is compared.
    pub statistic: Statistic,
    /// It, in the last second or so.
    pub latency: Duration,
    /// It, while background work rests.
    pub baseline: Duration,
    /// The one over the other.
    pub ratio: f64,
    /// The greatest ratio that is not too slow.
    pub allowed: f64,
}

impl Comparison {
    fn new(
        operation: Operation,
        statistic: Statistic,
        (now, usual): (f64, f64),
        allowed: f64,
    ) -> Self {
        let units = |value: f64| duration(value as u64);
        let ratio = now / usual.max(1.0);
        let (latency, baseline) = (units(now), units(usual));
        Self { operation, statistic, latency, baseline, ratio, allowed }
    }

    /// How much of what is allowed is used up; above 1 it is too slow.
    fn strain(&self) -> f64 {
        self.ratio / self.allowed
    }
}

/// What a tick says about the foreground.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Judgement {
    /// Operations of the tick.
    pub(crate) operations: u64,
    /// A baseline is known for every kind of operation in the window.
    pub(crate) known: bool,
    /// What is slowest in view of what is allowed, if anything can be judged.
    pub(crate) worst: Option<Comparison>,
    /// That is slower than is allowed, by more than chance explains.
    pub(crate) slow: bool,
    /// One operation took this long, which nothing in the baseline explains.
    pub(crate) stall: Option<Duration>,
}

/// Baseline and window of every kind of operation.
#[derive(Debug, Default)]
pub(crate) struct Baseline {
    kinds: ByOperation<Kind>,
}

impl Baseline {
    /// Takes in the latencies of one tick and judges the last second. `learn`: background work rests.
    /// `target`: the factor over the baseline's p99 that is allowed.
    pub(crate) fn observe(
        &mut self,
        tick: &ByOperation<Latencies>,
        learn: bool,
        target: f64,
    ) -> Judgement {
        let mut judgement = Judgement { known: true, ..Judgement::default() };
        for ((operation, kind), tick) in Operation::ALL.into_iter().zip(&mut self.kinds).zip(tick) {
            judgement.operations += tick.len();
            if learn {
                kind.learn(tick);
            }
            kind.see(tick);
            kind.judge(operation, tick, target, &mut judgement);
        }
        judgement
    }

    /// Forgets the window: what it holds was measured at another rate of background work.
    pub(crate) fn start_afresh(&mut self) {
        for kind in &mut self.kinds {
            kind.window.turn();
            kind.window.turn();
        }
    }
}

impl Kind {
    fn learn(&mut self, tick: &Latencies) {
        if tick.is_empty() {
            return;
        }
        self.learned.add(tick);
        if self.learned.len() >= LEARNED_MIN {
            self.usual = Some(self.learned.summary());
        }
        let full =
            self.learned.younger.len() >= LEARNED_HALF || self.learned.ticks >= LEARNED_TICKS;
        if full && self.learned.younger.len() >= LEARNED_MIN {
            self.learned.turn();
        }
    }

    fn see(&mut self, tick: &Latencies) {
        let half = &self.window;
        let enough = half.younger.len() >= WINDOW_MIN && half.ticks >= WINDOW_TICKS;
        if enough || half.ticks >= WINDOW_TICKS_MAX {
            self.window.turn();
        }
        self.window.add(tick);
    }

    fn judge(&self, operation: Operation, tick: &Latencies, target: f64, into: &mut Judgement) {
        let count = self.window.len();
        let Some(usual) = self.usual else {
            into.known &= count == 0;
            return;
        };
        let longest = duration(tick.max());
        if target.is_finite() && longest >= STALL_MIN && longest > self.learned.max() * STALL_FACTOR
        {
            into.stall = into.stall.max(Some(longest));
        }
        if count < WINDOW_MIN {
            return;
        }
        let now = self.window.summary();
        let expected = count as f64 / 100.0;
        // An infinite target saturates: nothing is above it.
        let above = self.window.above((usual.p99 as f64 * target) as u64) as f64;
        let tail =
            Comparison::new(operation, Statistic::P99, (now.p99 as f64, usual.p99 as f64), target);
        into.add(tail, above > expected + CHANCE * expected.sqrt());
        let allowed = 1.0 + (target - 1.0) * MEAN_SHARE;
        let mean = Comparison::new(operation, Statistic::Mean, (now.mean, usual.mean), allowed);
        into.add(mean, now.mean > usual.mean * allowed + CHANCE * now.error);
    }
}

impl Judgement {
    /// Keeps the worst: one that is too slow before one that is not, then the one with the greater strain.
    fn add(&mut self, found: Comparison, slow: bool) {
        let is_worse = match self.worst {
            None => true,
            Some(worst) if slow == self.slow => found.strain() > worst.strain(),
            Some(_) => slow,
        };
        if is_worse {
            (self.worst, self.slow) = (Some(found), slow);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tick of reads: so many of each latency in microseconds.
    fn reads(of: &[(u64, u32)]) -> ByOperation<Latencies> {
        let mut tick: ByOperation<Latencies> = std::array::from_fn(|_| latencies());
        for &(micros, count) in of {
            tick[0].record_n(micros * 10, count).unwrap();
        }
        tick
    }

    /// 98 fast ones and 2 slow ones in a hundred: a p99 of a millisecond.
    const USUAL: [(u64, u32); 2] = [(50, 98), (1000, 2)];

    fn learned() -> Baseline {
        let mut baseline = Baseline::default();
        for _ in 0..30 {
            assert!(!baseline.observe(&reads(&USUAL), true, 1.1).slow);
        }
        baseline
    }

    #[test]
    fn nothing_is_judged_before_a_baseline_is_learned() {
        let mut baseline = Baseline::default();
        let judged = baseline.observe(&reads(&[(90_000, 100)]), false, 1.1);
        assert_eq!((judged.known, judged.worst, judged.slow), (false, None, false));
        assert_eq!((judged.operations, judged.stall), (100, None));
    }

    #[test]
    fn the_same_latencies_are_not_slow_however_long_they_last() {
        let mut baseline = learned();
        for _ in 0..200 {
            let judged = baseline.observe(&reads(&USUAL), false, 1.1);
            assert!(judged.known && !judged.slow && judged.stall.is_none());
            let ratio = judged.worst.unwrap().ratio;
            assert!((0.95..1.05).contains(&ratio), "{ratio}");
        }
    }

    #[test]
    fn a_higher_p99_is_slow_within_a_second_and_fine_again_afterwards() {
        let mut baseline = learned();
        let mut ticks = 0;
        while !baseline.observe(&reads(&[(50, 94), (1500, 6)]), false, 1.1).slow {
            ticks += 1;
            assert!(ticks < 10, "not noticed within a second");
        }
        baseline.start_afresh();
        assert!(!baseline.observe(&reads(&USUAL), false, 1.1).slow);
    }

    #[test]
    fn a_mean_that_rises_under_a_tail_that_stays_is_slow() {
        let mut baseline = learned();
        let mut judged = Judgement::default();
        for _ in 0..10 {
            judged = baseline.observe(&reads(&[(90, 98), (1000, 2)]), false, 1.1);
        }
        let worst = judged.worst.unwrap();
        assert!(judged.slow, "{worst:?}");
        assert_eq!(worst.statistic, Statistic::Mean);
        assert!((1.19..1.21).contains(&worst.allowed) && (1.5..1.6).contains(&worst.ratio));
        baseline.start_afresh();
        assert!(!baseline.observe(&reads(&[(57, 98), (1000, 2)]), false, 1.1).slow);
    }

    #[test]
    fn a_few_slow_operations_among_few_are_chance() {
        let mut baseline = learned();
        for _ in 0..5 {
            assert!(!baseline.observe(&reads(&[(50, 10)]), false, 1.1).slow);
        }
        assert!(!baseline.observe(&reads(&[(50, 9), (1500, 1)]), false, 1.1).slow);
    }

    #[test]
    fn one_operation_that_takes_far_longer_than_ever_is_a_stall() {
        let mut baseline = learned();
        let judged = baseline.observe(&reads(&[(50, 99), (300_000, 1)]), false, 1.1);
        let stall = judged.stall.unwrap().as_millis();
        assert!((297..=303).contains(&stall), "{stall} ms");
        assert_eq!(baseline.observe(&reads(&[(9_000, 1)]), false, 1.1).stall, None, "below 10 ms");
        let off = baseline.observe(&reads(&[(300_000, 100)]), false, f64::INFINITY);
        assert_eq!((off.slow, off.stall), (false, None), "switched off");
    }

    #[test]
    fn a_baseline_follows_a_foreground_that_changes() {
        let mut baseline = learned();
        for _ in 0..2000 {
            baseline.observe(&reads(&[(50, 90), (5000, 10)]), true, 1.1);
        }
        let judged = baseline.observe(&reads(&[(50, 90), (5000, 10)]), false, 1.1);
        assert!(!judged.slow && judged.worst.unwrap().baseline >= Duration::from_millis(4));
    }
}
