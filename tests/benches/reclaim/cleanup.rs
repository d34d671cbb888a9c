//! Cairn's cleanup in turns with idle (see [`crate::turns`]).
//!
//! It is as fast in its turns as it ever is: the governor, whose rates grow while nothing suffers, lets them grow through the idle
//! ones. Files only: a pause ends a compaction, and what it did would be done again.

use std::time::Duration;

use cairn_engine::SpanId;
use serde_json::{Value, json};

use crate::arguments::{MB, Plan};
use crate::foreground::Arrival;
use crate::pairs::Stores;
use crate::progress::Progress;
use crate::store::{Store, condemn, wait_reclaimed};
use crate::strategy::{Doomed, Strategy};
use crate::turns::{PAIR, SETTLES, Taking, Trials, Work};
use crate::window::{self, Undone};

/// Bytes that go in a second of cleanup, for a first guess of how many turns there will be.
const GUESS_PER_SECOND: u64 = 100 << 20;

/// All undos of one size.
pub(super) struct Cleanup {
    pub(super) size_mb: u64,
    /// Operations per second that the foreground was offered.
    pub(super) rate: f64,
    pub(super) undos: Trials,
    /// As many turns before each undo, with nothing to clean up in them.
    pub(super) control: Trials,
}

impl Cleanup {
    /// Undoes jobs until there are enough pairs of turns.
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
            rate: stores.rate,
            undos: Trials::new(plan.seed),
            control: Trials::new(plan.seed),
        };
        progress.begin(&format!("{size_mb} MB turns"), plan.turns);
        let mut pairs = usize::try_from(bytes / GUESS_PER_SECOND).unwrap_or(0) + 2;
        while cleanup.undos.count() < plan.pairs || cleanup.undos.pairs() < plan.turns {
            let number = cleanup.undos.count() as u64;
            progress.say(&format!("undo {}", number + 1));
            let load = |half: u64| Arrival {
                threads: plan.threads,
                rate: stores.rate,
                warmup: plan.warmup,
                expected: plan.warmup + PAIR * u32::try_from(pairs).unwrap_or(u32::MAX),
                seed: plan.seed.wrapping_add((number * 2 + half) << 8),
            };
            store.settle(plan.quiet)?;
            let doomed = strategy.prepare(store, bytes, plan.seed.wrapping_add(number << 40))?;
            store.settle(plan.quiet)?;
            let longest = plan.window_max(size_mb) * 2;
            let nothing = Undo { store, doomed: &doomed, cancels: false, ids: Vec::new() };
            take_turns(nothing, load(0), (pairs, longest), &mut cleanup.control)?;
            store.settle(plan.quiet)?;
            let undo = Undo { store, doomed: &doomed, cancels: true, ids: Vec::new() };
            let taken = take_turns(undo, load(1), (usize::MAX, longest), &mut cleanup.undos)?;
            strategy.tidy(store, &doomed)?;
            (0..taken).for_each(|_| progress.step());
            pairs = taken.max(1);
            if plan.smoke {
                break;
            }
            if taken == 0 {
                return Err(format!("an undo of {size_mb} MB is over before a turn is"));
            }
        }
        Ok(cleanup)
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "size_mb": self.size_mb,
            "foreground_rate": self.rate,
            "undos": self.undos.to_json(),
            "control": self.control.to_json(),
        })
    }
}

/// A window of turns, which is added to `trials`. Answers how many pairs it has.
fn take_turns(
    mut undo: Undo<'_>,
    load: Arrival,
    (pairs_max, longest): (usize, Duration),
    trials: &mut Trials,
) -> Result<usize, String> {
    let store = undo.store;
    store.engine.reclaimer().pause(true);
    let mut pairs = Vec::new();
    let measured = window::measure(store, load, |began| {
        let mut taking = Taking::new(&mut undo, began, load.seed);
        taking.take(pairs_max, longest)?;
        let back = taking.finished;
        pairs = taking.into_pairs();
        Ok(Undone { gone: None, back })
    });
    store.engine.reclaimer().pause(false);
    wait_reclaimed(&store.engine, &undo.ids)?;
    let (window, recorded) = measured?;
    trials.add(&pairs, &recorded, window.back_seconds.map(Duration::from_secs_f64));
    Ok(pairs.len())
}

/// The cleanup after a cancel, or nothing.
struct Undo<'a> {
    store: &'a Store,
    doomed: &'a Doomed,
    cancels: bool,
    /// What is condemned.
    ids: Vec<SpanId>,
}

impl Work for Undo<'_> {
    fn switch(&mut self, works: bool) -> Result<Duration, String> {
        self.store.engine.reclaimer().pause(!works);
        if !(works && self.cancels && self.ids.is_empty()) {
            return Ok(SETTLES);
        }
        // The cancel itself counts: the first turn of cleanup begins with it.
        self.ids = condemn(&self.store.engine, self.doomed.owner)?;
        Ok(Duration::ZERO)
    }

    fn left(&mut self) -> u64 {
        self.doomed.bytes_left()
    }
}
