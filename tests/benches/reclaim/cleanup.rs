//! Cairn's cleanup in turns with idle (see [`crate::turns`]): the foreground goes on all the time, and reclaim is paused for every other
//! turn.
//!
//! It is as fast in its turns as it ever is: the governor, whose rates grow while nothing suffers, lets them grow through the idle
//! ones. Files only: a pause ends a compaction, and what it did would be done again.
//!
//! Before, after and between stretches of such turns there are *rests*, in which nothing is cleaned up at all: the control, of the same minutes.

use std::time::{Duration, Instant};

use cairn_engine::SpanId;
use cairn_tests::Random;
use serde_json::{Value, json};

use crate::arguments::{MB, Plan};
use crate::foreground::Arrival;
use crate::latency::Recorded;
use crate::pairs::Stores;
use crate::progress::Progress;
use crate::store::{Store, condemn, wait_reclaimed};
use crate::strategy::{Doomed, Strategy};
use crate::turns::{BesideRests, Pair, Trials, Turn};
use crate::window::{self, BACK_EVERY, Undone};

/// The part of a turn that counts.
const COUNTS: Duration = Duration::from_millis(300);

/// Before it: a pause takes effect with the step under way, its end within 50 ms, and what was late by then is worked off.
const SETTLES: Duration = Duration::from_millis(150);

/// [`SETTLES`] in milliseconds: an operation that is later is late in the next turn, too.
pub(super) const BEHIND_MS: f64 = SETTLES.as_millis() as f64;

/// A pair of turns.
const PAIR: Duration = COUNTS.saturating_add(SETTLES).saturating_mul(2);

/// Pairs of a stretch of turns.
const STRETCH: usize = 12;

/// How long nothing is cleaned up between stretches.
#[derive(Clone, Copy)]
struct Rest {
    /// Counts for nothing: what a stretch left is over by then, unless it lasts for longer.
    settles: Duration,
    pairs: usize,
}

impl Rest {
    const USUAL: Self = Self { settles: Duration::from_secs(2), pairs: 6 };
    const SHORT: Self = Self { settles: Duration::from_millis(200), pairs: 1 };
}

/// Bytes that go in a second of cleanup at least, for a guess of how long a window is.
const GUESS_PER_SECOND: u64 = 32 << 20;

/// All undos of one size.
pub(super) struct Cleanup {
    pub(super) size_mb: u64,
    rest: Rest,
    /// Whether the job is cancelled. If not, nothing is cleaned up in any turn, and what shows is what a window does by itself.
    pub(super) cancels: bool,
    /// Operations per second that the foreground was offered, by undo.
    pub(super) rates: Vec<f64>,
    pub(super) undos: Trials,
    /// Turns in the rests of the same windows, with nothing to clean up in either of a pair.
    pub(super) control: Trials,
    /// Undos that do not count, because the foreground was behind before them.
    pub(super) aside: usize,
}

impl Cleanup {
    /// Undoes jobs until there are enough pairs of turns. Jobs that are undone before a turn is over have none.
    ///
    /// # Errors
    /// A storage error, or an operation of the foreground that failed.
    pub(super) fn measure(
        stores: &Stores,
        plan: &Plan,
        size_mb: u64,
        progress: &Progress,
    ) -> Result<Self, String> {
        let strategy = Strategy::CairnFiles;
        let store = stores.of(strategy);
        let bytes = size_mb * MB / 2;
        let mut cleanup = Self {
            size_mb,
            cancels: plan.cancels_in_turns(),
            rest: if plan.smoke { Rest::SHORT } else { Rest::USUAL },
            rates: Vec::new(),
            undos: Trials::new(plan.seed),
            control: Trials::new(plan.seed),
            aside: 0,
        };
        progress.begin(&format!("{size_mb} MB turns"), plan.turns);
        let began = Instant::now();
        for number in 0.. {
            let enough = cleanup.undos.count() >= plan.pairs && cleanup.undos.pairs() >= plan.turns;
            if enough || plan.is_over(began) {
                break;
            }
            progress.say(&format!("undo {}", number + 1));
            store.settle(plan.quiet)?;
            let doomed = strategy.prepare(store, bytes, plan.seed.wrapping_add(number << 40))?;
            let rate = stores.rate(&[strategy], plan)?;
            let load = Arrival {
                threads: plan.threads,
                rate,
                warmup: plan.warmup,
                expected: plan.warmup + window_guess(bytes),
                seed: plan.seed.wrapping_add(number << 8),
            };
            store.settle(plan.quiet)?;
            // Reclaim is paused for most of the time.
            let longest = plan.window_max(size_mb) * 4;
            let window = cleanup.take_turns(store, &doomed, load, longest)?;
            strategy.tidy(store, &doomed)?;
            let (undo, rests) = (window.turns(), window.rests());
            if undo.is_empty() || rests.is_empty() {
                // Too short for a turn: there is nothing to compare.
                break;
            }
            // Whoever is behind for longer than a switch settles is behind in turns of both kinds, and they are alike. The undo has no
            // part in it: the first rest is before the cancel.
            let before = window.stretches.first().map(Vec::as_slice).unwrap_or_default();
            if is_behind(before, &window.recorded) && !plan.smoke {
                cleanup.aside += 1;
                if cleanup.aside > plan.pairs * plan.again {
                    break;
                }
                continue;
            }
            cleanup.control.add(&rests, Vec::new(), &window.recorded, None);
            let beside = window.beside_rests();
            cleanup.undos.add(&undo, beside, &window.recorded, window.back_seconds);
            cleanup.rates.push(rate);
            undo.iter().for_each(|_| progress.step());
            if plan.smoke {
                break;
            }
        }
        Ok(cleanup)
    }

    fn take_turns(
        &self,
        store: &Store,
        doomed: &Doomed,
        load: Arrival,
        longest: Duration,
    ) -> Result<Taken, String> {
        store.engine.reclaimer().pause(true);
        let (mut stretches, mut ids) = (Vec::new(), Vec::new());
        let measured = window::measure(store, load, |began| {
            let mut course = Course {
                store,
                doomed,
                began,
                rest: self.rest,
                cancels: self.cancels,
                random: Random::new(load.seed),
                back: None,
                ids: Vec::new(),
            };
            let taken = course.take(longest);
            ids = std::mem::take(&mut course.ids);
            stretches = taken?;
            Ok(Undone { gone: None, back: course.back })
        });
        store.engine.reclaimer().pause(false);
        wait_reclaimed(&store.engine, &ids)?;
        let (window, recorded) = measured?;
        Ok(Taken { stretches, recorded, back_seconds: window.back_seconds })
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "size_mb": self.size_mb,
            "cancelled": self.cancels,
            "foreground_rates": self.rates,
            "turn_seconds": COUNTS.as_secs_f64(),
            "settles_seconds": SETTLES.as_secs_f64(),
            "stretch_pairs": STRETCH,
            "rest_pairs": self.rest.pairs,
            "rest_settles_seconds": self.rest.settles.as_secs_f64(),
            "set_aside": self.aside,
            "undos": self.undos.to_json(),
            "control": self.control.to_json(),
        })
    }
}

/// How long a window is in which that many bytes go; rather too long.
fn window_guess(bytes: u64) -> Duration {
    let seconds = bytes as f64 / GUESS_PER_SECOND as f64;
    let stretches = 1.0 + seconds / (COUNTS + SETTLES).as_secs_f64() / STRETCH as f64;
    let Rest { settles, pairs } = Rest::USUAL;
    let stretch = PAIR.as_secs_f64() * (STRETCH + pairs) as f64 + settles.as_secs_f64();
    Duration::from_secs_f64(stretches * stretch)
}

/// Whether the foreground was behind in these turns for longer than a switch settles.
fn is_behind(pairs: &[Pair], recorded: &Recorded) -> bool {
    let idle: Vec<_> = pairs.iter().map(|pair| (pair.idle.from, pair.idle.until)).collect();
    recorded.within(&idle).p99_ms > BEHIND_MS
}

/// A window of turns.
struct Taken {
    /// Rests and stretches of turns, one after the other; a rest comes first and last.
    stretches: Vec<Vec<Pair>>,
    recorded: Recorded,
    back_seconds: Option<f64>,
}

impl Taken {
    fn rests(&self) -> Vec<Pair> {
        self.stretches.iter().step_by(2).flatten().copied().collect()
    }

    fn turns(&self) -> Vec<Pair> {
        self.stretches.iter().skip(1).step_by(2).flatten().copied().collect()
    }

    /// Each stretch of turns beside the rests before and after it. Of half a stretch the median says little.
    fn beside_rests(&self) -> Vec<BesideRests> {
        let triples = self.stretches.windows(3).step_by(2);
        let beside = triples.filter_map(|triple| match triple {
            [before, turns, after] if turns.len() > STRETCH / 2 => {
                BesideRests::of(before, turns, after, &self.recorded)
            }
            _ => None,
        });
        beside.collect()
    }
}

/// A window that goes on.
struct Course<'a> {
    store: &'a Store,
    doomed: &'a Doomed,
    began: Instant,
    rest: Rest,
    cancels: bool,
    random: Random,
    /// When the disk was back.
    back: Option<Duration>,
    /// What is condemned.
    ids: Vec<SpanId>,
}

impl Course<'_> {
    /// Rests and stretches until the job, which is cancelled in the first turn of cleanup, is undone, or so much time has passed.
    fn take(&mut self, longest: Duration) -> Result<Vec<Vec<Pair>>, String> {
        let mut stretches = vec![self.rest()?];
        let longest = self.began.elapsed() + longest;
        while self.back.is_none() && self.began.elapsed() < longest {
            let mut pairs = Vec::new();
            while self.back.is_none() && pairs.len() < STRETCH {
                pairs.push(self.pair(true)?);
            }
            // The last turn of cleanup ends with the cleanup. If that was soon it says little, and if not the idle one is as long.
            for pair in &mut pairs {
                pair.idle.until = pair.idle.until.min(pair.idle.from + pair.cleanup.length());
            }
            pairs.retain(|pair| pair.cleanup.length() >= COUNTS / 2);
            stretches.push(pairs);
            stretches.push(self.rest()?);
        }
        Ok(stretches)
    }

    fn rest(&mut self) -> Result<Vec<Pair>, String> {
        self.store.engine.reclaimer().pause(true);
        self.wait_until(self.began.elapsed() + self.rest.settles);
        (0..self.rest.pairs).map(|_| self.pair(false)).collect()
    }

    /// Which turn comes first is drawn.
    fn pair(&mut self, cleans: bool) -> Result<Pair, String> {
        Ok(if self.random.below(2) == 0 {
            Pair { idle: self.turn(false)?, cleanup: self.turn(cleans)? }
        } else {
            Pair { cleanup: self.turn(cleans)?, idle: self.turn(false)? }
        })
    }

    fn turn(&mut self, cleans: bool) -> Result<Turn, String> {
        self.store.engine.reclaimer().pause(!cleans);
        let switched = self.began.elapsed();
        let mut from = switched + SETTLES;
        if cleans && self.cancels && self.ids.is_empty() {
            // The cancel itself counts: the first turn of cleanup begins with it.
            from = switched;
            self.ids = condemn(&self.store.engine, self.doomed.owner)?;
        }
        self.wait_until(from);
        let left = self.doomed.bytes_left();
        self.wait_until(from + COUNTS);
        let freed = left.saturating_sub(self.doomed.bytes_left());
        self.wait_until(switched + SETTLES + COUNTS);
        let until = self.back.filter(|_| cleans).unwrap_or(Duration::MAX).min(from + COUNTS);
        Ok(Turn { from, until, freed })
    }

    /// Looks at what is left all the while, in turns of both kinds and in rests: looking costs something, too.
    fn wait_until(&mut self, end: Duration) {
        while self.began.elapsed() < end {
            std::thread::sleep(BACK_EVERY);
            let left = self.doomed.bytes_left();
            if left == 0 && self.back.is_none() && !self.ids.is_empty() {
                self.back = Some(self.began.elapsed());
            }
        }
    }
}
