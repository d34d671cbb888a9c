//! Background work and idle in turns: the foreground goes on all the time, and the work is held for every other turn of less
//! than half a second.
//!
//! What makes one idle window differ from another (on a virtual machine the disk, mostly) comes at every scale, of milliseconds and of
//! minutes. Two windows of half a minute therefore differ by about as much as two turns of a third of a second do, and of the second kind there
//! are sixty in the undo of a large job. So many pairs tell a tenth, where ten pairs of whole windows do not.
//!
//! What this leaves out: what comes right after a switch counts for neither side.

use std::time::{Duration, Instant};

use cairn_tests::Random;
use cairn_tests::bench::statistics::{
    Interval, bootstrap_median, bootstrap_median_of_groups, median,
};
use serde_json::{Value, json};

use crate::latency::{Latency, Percentile, Recorded};
use crate::pairs::STALL_MS;

/// The part of a turn that counts.
const COUNTS: Duration = Duration::from_millis(300);

/// Before it: a pause takes effect within a tick of the governor and a look of what frees, and what was late by then is worked off.
pub(super) const SETTLES: Duration = Duration::from_millis(150);

/// A pair of turns.
pub(super) const PAIR: Duration = COUNTS.saturating_add(SETTLES).saturating_mul(2);

/// How often the work is looked at, in turns of both kinds: looking costs something, too.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Work that can be held.
pub(super) trait Work {
    /// Lets it go on, or holds it. Answers how long nothing counts from then on.
    fn switch(&mut self, works: bool) -> Result<Duration, String>;

    /// What it still has to do, in bytes.
    fn left(&mut self) -> u64;
}

/// What counts of a turn, from the beginning of the window.
#[derive(Clone, Copy)]
struct Turn {
    from: Duration,
    until: Duration,
    /// Bytes of work that were done in that time.
    done: u64,
}

/// Two turns that are next to each other.
pub(super) struct Pair {
    idle: Turn,
    work: Turn,
}

/// A window that goes on.
pub(super) struct Taking<'a> {
    work: &'a mut dyn Work,
    began: Instant,
    random: Random,
    pairs: Vec<Pair>,
    /// When the work was done.
    pub(super) finished: Option<Duration>,
}

impl<'a> Taking<'a> {
    /// Of a window that began then. Which turn of a pair comes first is drawn.
    pub(super) fn new(work: &'a mut dyn Work, began: Instant, seed: u64) -> Self {
        Self { work, began, random: Random::new(seed), pairs: Vec::new(), finished: None }
    }

    /// Takes pairs until there are so many, the work is done, or so much time has passed.
    ///
    /// # Errors
    /// The work cannot be switched.
    pub(super) fn take(&mut self, pairs_max: usize, longest: Duration) -> Result<(), String> {
        while self.pairs.len() < pairs_max
            && self.finished.is_none()
            && self.began.elapsed() < longest
        {
            let pair = if self.random.below(2) == 0 {
                Pair { idle: self.turn(false)?, work: self.turn(true)? }
            } else {
                Pair { work: self.turn(true)?, idle: self.turn(false)? }
            };
            self.pairs.push(pair);
        }
        Ok(())
    }

    fn turn(&mut self, works: bool) -> Result<Turn, String> {
        let switched = self.began.elapsed();
        let from = switched + self.work.switch(works)?;
        self.wait_until(from);
        let left = self.work.left();
        self.wait_until(from + COUNTS);
        let done = left.saturating_sub(self.work.left());
        self.wait_until(switched + SETTLES + COUNTS);
        // The last turn of work ends with it.
        let until = self.finished.filter(|_| works).unwrap_or(from + COUNTS).min(from + COUNTS);
        Ok(Turn { from, until, done })
    }

    fn wait_until(&mut self, end: Duration) {
        while self.began.elapsed() < end {
            std::thread::sleep(LOOK_EVERY);
            if self.work.left() == 0 && self.finished.is_none() {
                self.finished = Some(self.began.elapsed());
            }
        }
    }

    /// The pairs. One whose turn of work ended with the work, and soon, is left out.
    pub(super) fn into_pairs(self) -> Vec<Pair> {
        let is_long = |pair: &Pair| pair.work.until.saturating_sub(pair.work.from) >= COUNTS / 2;
        self.pairs.into_iter().filter(is_long).collect()
    }
}

/// The foreground in a turn of work, and in the idle one next to it; or in all turns of either kind.
#[derive(Clone, Copy, Debug)]
struct Both {
    idle: Latency,
    work: Latency,
}

impl Both {
    fn of(pairs: &[Pair], recorded: &Recorded) -> Self {
        let within = |of: fn(&Pair) -> &Turn| {
            let parts = pairs.iter().map(|pair| (of(pair).from, of(pair).until));
            recorded.within(&parts.collect::<Vec<_>>())
        };
        Self { idle: within(|pair| &pair.idle), work: within(|pair| &pair.work) }
    }

    fn ratio(&self, percentile: Percentile) -> f64 {
        percentile.of(&self.work) / percentile.of(&self.idle).max(1e-6)
    }

    fn has_stall(&self) -> bool {
        self.work.max_ms > STALL_MS && self.work.max_ms > self.idle.max_ms
    }

    fn to_json(self) -> Value {
        let of = |latency: &Latency| {
            let ms = Percentile::ALL.map(|percentile| percentile.of(latency));
            json!({ "operations": latency.operations, "ms": ms })
        };
        json!({ "idle": of(&self.idle), "work": of(&self.work) })
    }
}

/// One window of turns.
struct Trial {
    pairs: Vec<Both>,
    whole: Both,
    /// Bytes of work that were done in the part of idle turns that counts, and in that of the others.
    done_idle: u64,
    done: u64,
    /// Until the work was done, all turns together.
    seconds: Option<f64>,
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

    /// Adds a window, with when the work was done.
    pub(super) fn add(&mut self, pairs: &[Pair], recorded: &Recorded, finished: Option<Duration>) {
        let done = |of: fn(&Pair) -> &Turn| pairs.iter().map(|pair| of(pair).done).sum();
        self.trials.push(Trial {
            pairs: pairs.chunks(1).map(|pair| Both::of(pair, recorded)).collect(),
            whole: Both::of(pairs, recorded),
            done_idle: done(|pair| &pair.idle),
            done: done(|pair| &pair.work),
            seconds: finished.map(|finished| finished.as_secs_f64()),
            stolen: recorded.stolen,
        });
    }

    pub(super) fn count(&self) -> usize {
        self.trials.len()
    }

    pub(super) fn pairs(&self) -> usize {
        self.trials.iter().map(|trial| trial.pairs.len()).sum()
    }

    /// The median ratio over all pairs of turns; resampled by windows.
    pub(super) fn of_turns(&self, percentile: Percentile) -> Option<Interval> {
        let of_trial =
            |trial: &Trial| trial.pairs.iter().map(|pair| pair.ratio(percentile)).collect();
        let groups: Vec<Vec<f64>> = self.trials.iter().map(of_trial).collect();
        bootstrap_median_of_groups(&groups, self.seed)
    }

    /// The median ratio over windows, of all their turns of work together over all their idle ones.
    pub(super) fn of_windows(&self, percentile: Percentile) -> Option<Interval> {
        let trials = self.trials.iter().filter(|trial| !trial.pairs.is_empty());
        let ratios: Vec<f64> = trials.map(|trial| trial.whole.ratio(percentile)).collect();
        bootstrap_median(&ratios, self.seed)
    }

    /// Pairs whose turn of work has a stall that the idle one lacks, of all.
    pub(super) fn stalls(&self) -> (usize, usize) {
        let with = |trial: &Trial| trial.pairs.iter().filter(|pair| pair.has_stall()).count();
        (self.trials.iter().map(with).sum(), self.pairs())
    }

    /// Median milliseconds of idle turns and of turns of work.
    pub(super) fn medians(&self, percentile: Percentile) -> [f64; 2] {
        let of = |side: fn(&Both) -> &Latency| {
            let pairs = self.trials.iter().flat_map(|trial| &trial.pairs);
            median(&pairs.map(|pair| percentile.of(side(pair))).collect::<Vec<_>>()).unwrap_or(0.0)
        };
        [of(|pair| &pair.idle), of(|pair| &pair.work)]
    }

    /// Of the work that was done in the parts of turns that count, what was done in idle ones: a pause that does not pause would show here.
    pub(super) fn idle_part(&self) -> f64 {
        let sum = |of: fn(&Trial) -> u64| self.trials.iter().map(of).sum::<u64>();
        let (idle, work) = (sum(|trial| trial.done_idle), sum(|trial| trial.done));
        idle as f64 / (idle + work).max(1) as f64
    }

    /// Bytes in a second of work.
    pub(super) fn rate(&self) -> f64 {
        let done: u64 = self.trials.iter().map(|trial| trial.done).sum();
        done as f64 / (self.pairs() as f64 * COUNTS.as_secs_f64()).max(1e-6)
    }

    pub(super) fn to_json(&self) -> Value {
        let trial = |trial: &Trial| {
            json!({
                "whole": trial.whole.to_json(),
                "pairs": trial.pairs.iter().map(|pair| pair.to_json()).collect::<Vec<_>>(),
                "seconds": trial.seconds,
                "bytes_in_idle_turns": trial.done_idle,
                "bytes_in_turns_of_work": trial.done,
                "stolen": trial.stolen,
            })
        };
        json!({
            "turn_seconds": COUNTS.as_secs_f64(),
            "settles_seconds": SETTLES.as_secs_f64(),
            "ms": Percentile::ALL.map(Percentile::name),
            "windows": self.trials.iter().map(trial).collect::<Vec<_>>(),
        })
    }
}
