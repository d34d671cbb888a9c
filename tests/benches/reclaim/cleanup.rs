//! Cairn's cleanup in turns with idle (see [`crate::turns`]): the foreground goes on all the time, and reclaim is paused for every other
//! turn.
//!
//! It is as fast in its turns as it ever is: the governor, whose rates grow while nothing suffers, lets them grow through the idle
//! ones. Files only: a pause ends a compaction, and what it did would be done again.

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
use crate::turns::{Pair, Trials, Turn};
use crate::window::{self, BACK_EVERY, Undone};

/// The part of a turn that counts.
const COUNTS: Duration = Duration::from_millis(300);

/// Before it: a pause takes effect with the step under way, its end within 50 ms, and what was late by then is worked off.
const SETTLES: Duration = Duration::from_millis(150);

/// [`SETTLES`] in milliseconds: an operation that is later is late in the next turn, too.
pub(super) const BEHIND_MS: f64 = SETTLES.as_millis() as f64;

/// A pair of turns.
const PAIR: Duration = COUNTS.saturating_add(SETTLES).saturating_mul(2);

/// Bytes that go in a second of cleanup, for a first guess of how many turns there will be.
const GUESS_PER_SECOND: u64 = 48 << 20;

/// All undos of one size.
pub(super) struct Cleanup {
    pub(super) size_mb: u64,
    /// Operations per second that the foreground was offered, by undo.
    pub(super) rates: Vec<f64>,
    pub(super) undos: Trials,
    /// As many turns before or after each undo, with nothing to clean up in them: a window gets slower with its age, so half of them would
    /// not be comparable.
    pub(super) control: Trials,
    /// Undos that do not count, because the foreground fell behind in their control.
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
            rates: Vec::new(),
            undos: Trials::new(plan.seed),
            control: Trials::new(plan.seed),
            aside: 0,
        };
        progress.begin(&format!("{size_mb} MB turns"), plan.turns);
        let per_turn = GUESS_PER_SECOND * (COUNTS + SETTLES).as_millis() as u64 / 1000;
        let mut count = usize::try_from(bytes / per_turn).unwrap_or(0) + 2;
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
            let load = |half: u64| Arrival {
                threads: plan.threads,
                rate,
                warmup: plan.warmup,
                expected: plan.warmup + PAIR * u32::try_from(count).unwrap_or(u32::MAX),
                seed: plan.seed.wrapping_add((number * 2 + half) << 8),
            };
            // Reclaim is paused for half of the time.
            let longest = plan.window_max(size_mb) * 2;
            let take = |half: u64, until| {
                store.settle(plan.quiet)?;
                take_turns(store, &doomed, load(half), until)
            };
            // What comes second may be slower or faster for that alone.
            let (control, undo) = if number % 2 == 0 {
                let control = take(0, Until::Pairs(count))?;
                (control, take(1, Until::DiskBack(longest))?)
            } else {
                let undo = take(1, Until::DiskBack(longest))?;
                (take(0, Until::Pairs(undo.pairs.len()))?, undo)
            };
            strategy.tidy(store, &doomed)?;
            let taken = undo.pairs.len();
            if taken == 0 || control.pairs.is_empty() {
                // Too short for a turn: there is nothing to compare.
                break;
            }
            // Whoever is behind for longer than a switch settles is behind in turns of both kinds, and they are alike. What the undo
            // was like is not looked at.
            if is_behind(&control) && !plan.smoke {
                cleanup.aside += 1;
                if cleanup.aside > plan.pairs * plan.again {
                    break;
                }
                continue;
            }
            for (window, trials) in [(&control, &mut cleanup.control), (&undo, &mut cleanup.undos)]
            {
                trials.add(&window.pairs, &window.recorded, window.back_seconds);
            }
            cleanup.rates.push(rate);
            (0..taken).for_each(|_| progress.step());
            count = taken;
            if plan.smoke {
                break;
            }
        }
        Ok(cleanup)
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "size_mb": self.size_mb,
            "foreground_rates": self.rates,
            "turn_seconds": COUNTS.as_secs_f64(),
            "settles_seconds": SETTLES.as_secs_f64(),
            "set_aside": self.aside,
            "undos": self.undos.to_json(),
            "control": self.control.to_json(),
        })
    }
}

/// Whether the foreground was behind in idle turns for longer than a switch settles.
fn is_behind(window: &Taken) -> bool {
    let idle: Vec<_> = window.pairs.iter().map(|pair| (pair.idle.from, pair.idle.until)).collect();
    window.recorded.within(&idle).p99_ms > BEHIND_MS
}

/// When turns end.
#[derive(Clone, Copy)]
enum Until {
    /// The job, which is cancelled in the first turn of cleanup, is undone, or so much time has passed.
    DiskBack(Duration),
    /// There were so many pairs. Nothing is cancelled.
    Pairs(usize),
}

/// A window of turns.
struct Taken {
    pairs: Vec<Pair>,
    recorded: Recorded,
    back_seconds: Option<f64>,
}

fn take_turns(
    store: &Store,
    doomed: &Doomed,
    load: Arrival,
    until: Until,
) -> Result<Taken, String> {
    store.engine.reclaimer().pause(true);
    let (mut pairs, mut ids) = (Vec::new(), Vec::new());
    let measured = window::measure(store, load, |began| {
        let mut course = Course { store, doomed, began, back: None, ids: Vec::new() };
        let mut random = Random::new(load.seed);
        let taken = course.take(until, &mut random);
        ids = std::mem::take(&mut course.ids);
        pairs = taken?;
        Ok(Undone { gone: None, back: course.back })
    });
    store.engine.reclaimer().pause(false);
    wait_reclaimed(&store.engine, &ids)?;
    let (window, recorded) = measured?;
    Ok(Taken { pairs, recorded, back_seconds: window.back_seconds })
}

/// A window that goes on.
struct Course<'a> {
    store: &'a Store,
    doomed: &'a Doomed,
    began: Instant,
    /// When the disk was back.
    back: Option<Duration>,
    /// What is condemned.
    ids: Vec<SpanId>,
}

impl Course<'_> {
    /// Pairs until the end. Which turn of one comes first is drawn.
    fn take(&mut self, until: Until, random: &mut Random) -> Result<Vec<Pair>, String> {
        let cancels = matches!(until, Until::DiskBack(_));
        let mut pairs = Vec::new();
        while match until {
            Until::DiskBack(longest) => self.back.is_none() && self.began.elapsed() < longest,
            Until::Pairs(count) => pairs.len() < count,
        } {
            pairs.push(if random.below(2) == 0 {
                Pair { idle: self.turn(false, false)?, cleanup: self.turn(true, cancels)? }
            } else {
                Pair { cleanup: self.turn(true, cancels)?, idle: self.turn(false, false)? }
            });
        }
        // The last turn of cleanup ends with the cleanup. If that was soon it says little, and if not the idle one is as long.
        for pair in &mut pairs {
            pair.idle.until = pair.idle.until.min(pair.idle.from + pair.cleanup.length());
        }
        pairs.retain(|pair| pair.cleanup.length() >= COUNTS / 2);
        Ok(pairs)
    }

    fn turn(&mut self, cleans: bool, cancels: bool) -> Result<Turn, String> {
        self.store.engine.reclaimer().pause(!cleans);
        let switched = self.began.elapsed();
        let mut from = switched + SETTLES;
        if cancels && self.ids.is_empty() {
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

    /// Looks at what is left all the while, in turns of both kinds: looking costs something, too. In a control nothing comes back: the
    /// job is there still, or gone since another window.
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
