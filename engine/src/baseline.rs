//! How fast the foreground is when it is left alone, and whether it is slower now. Pure.
//!
//! While background work rests, latencies are *learned*: they go into a baseline, kept as two halves
//! of which the older is dropped when the younger is full, so that a baseline is at most some minutes
//! old. All the time, latencies also go into a *window* of about a second, made the same way, which
//! is compared with the baseline.
//!
//! A window is slow if more of it than a hundredth lies above the target (the baseline's p99 times the
//! setting), and more than chance explains: with n operations, n/100 are expected above, give or take
//! the square root of that. A p99 of few operations jumps by itself; without that allowance background
//! work would give way to noise. One operation that takes far longer than anything the baseline has seen
//! is a *stall* and counts at once: who waits half a second does one operation in it, not a hundred.

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

    fn p99(&self) -> u64 {
        let mut whole = self.older.clone();
        let added = whole.add(&self.younger);
        debug_assert!(added.is_ok(), "same bounds: {added:?}");
        whole.value_at_quantile(0.99)
    }
}

#[derive(Debug, Default)]
struct Kind {
    learned: Halves,
    window: Halves,
    /// The p99 of `learned`, once that is enough.
    p99: Option<u64>,
}

/// What a window says about one kind of operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Which operations.
    pub operation: Operation,
    /// Their p99 in the last second or so.
    pub p99: Duration,
    /// Their p99 while background work rests.
    pub baseline: Duration,
    /// The one over the other.
    pub ratio: f64,
}

/// What a tick says about the foreground.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Judgement {
    /// Operations of the tick.
    pub(crate) operations: u64,
    /// A baseline is known for every kind of operation in the window.
    pub(crate) known: bool,
    /// The slowest kind, if any can be judged.
    pub(crate) worst: Option<Comparison>,
    /// That kind is slower than the target allows.
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
            self.p99 = Some(self.learned.p99());
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
        let Some(baseline) = self.p99 else {
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
        let p99 = self.window.p99();
        let ratio = p99 as f64 / baseline.max(1) as f64;
        if into.worst.is_some_and(|worst| worst.ratio >= ratio) {
            return;
        }
        into.worst =
            Some(Comparison { operation, p99: duration(p99), baseline: duration(baseline), ratio });
        let expected = count as f64 / 100.0;
        // An infinite target saturates: nothing is above it.
        let allowed = (baseline as f64 * target) as u64;
        into.slow = self.window.above(allowed) as f64 > expected + CHANCE * expected.sqrt();
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
