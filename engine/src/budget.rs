//! The budget of background work, as a pure calculator: bytes and time go in, waiting times come out.
//!
//! One rate, in bytes per second, is shared by all background work. Each [`Class`] has a *debt*: the
//! bytes it has taken and not yet paid off. Time pays: the rate is split evenly between the classes
//! that are in debt, and what one does not need goes to the others. A class may take more while its
//! own debt is small, whatever the size of the piece, so a unit of 128 MiB is admitted at once and the
//! unit after it waits. Debts per class, because with a single one such a unit of an import would hold
//! up every small step of a cleanup behind it.
//!
//! A rate of 0 means no limit: nobody waits, and debts are forgiven. When the disk runs full, what gives
//! space back goes first: it is let through whatever it owes ([`Budget::put_reclaim_first`]).
//!
//! Left out: what the rate should be. That is the governor's business ([`crate::governor`]).

use std::time::Duration;

/// A kind of background work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Files that become part of a span.
    Ingest,
    /// Rows on their way into sorted runs.
    Sort,
    /// Sorted runs on their way into longer ones, or into a span.
    Merge,
    /// Rows of an index that is being filled.
    Backfill,
    /// What a backup reads.
    Backup,
    /// Compactions of what a condemned span left behind.
    Compaction,
    /// Files that are cut until they are gone.
    Trash,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 7] = [
        Self::Ingest,
        Self::Sort,
        Self::Merge,
        Self::Backfill,
        Self::Backup,
        Self::Compaction,
        Self::Trash,
    ];

    /// The name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Sort => "sort",
            Self::Merge => "merge",
            Self::Backfill => "backfill",
            Self::Backup => "backup",
            Self::Compaction => "compaction",
            Self::Trash => "trash",
        }
    }

    /// Whether this work gives space back.
    #[must_use]
    pub const fn is_reclaim(self) -> bool {
        matches!(self, Self::Compaction | Self::Trash)
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// The most a class can owe, in bytes. No unit of work is as large; a size that is wrong must not stop
/// a class for hours.
const DEBT_BYTES_MAX: f64 = (1_u64 << 30) as f64;

/// What trash owes is paid off within this time by the whole rate. It is paced by itself, and freeing a byte costs a small part of what
/// writing one does: its debt is its share while it works, and must not hold others up for long when it is done.
const TRASH_DEBT: Duration = Duration::from_secs(1);

/// A class may go ahead while it owes less than the whole rate pays in this time. Waiting threads wake
/// a little late; without slack that time would be lost.
const SLACK: Duration = Duration::from_millis(50);

/// Debt that is left by rounding and means nothing.
const DUST_BYTES: f64 = 1e-3;

/// Who may go on, and who waits how long. Time is an argument: it counts from any fixed moment, and a
/// step back is taken as no step.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// Bytes per second; 0 for no limit.
    rate: u64,
    debts: [f64; Class::ALL.len()],
    /// Work that gives space back does not wait.
    reclaim_first: bool,
    now: Duration,
}

impl Budget {
    /// A budget without debts, at time zero. `rate` is in bytes per second, 0 for no limit.
    pub(crate) fn new(rate: u64) -> Self {
        Self { rate, debts: [0.0; Class::ALL.len()], reclaim_first: false, now: Duration::ZERO }
    }

    /// Changes the rate (bytes per second, 0 for no limit). What passed before counts at the old one.
    pub(crate) fn set_rate(&mut self, rate: u64, now: Duration) {
        self.pay(now);
        self.rate = rate;
        if rate == 0 {
            self.debts = [0.0; Class::ALL.len()];
        }
    }

    /// Lets work that gives space back through without waiting, or no longer.
    pub(crate) fn put_reclaim_first(&mut self, first: bool) {
        self.reclaim_first = first;
    }

    /// How long the class must wait before it takes anything; zero if it may go ahead. An estimate from
    /// above: ask again, others may pay off their debts sooner, and the rate may change.
    pub(crate) fn wait(&mut self, class: Class, now: Duration) -> Duration {
        self.pay(now);
        if self.rate == 0 || (self.reclaim_first && class.is_reclaim()) {
            return Duration::ZERO;
        }
        let rate = self.rate as f64;
        let excess = self.debt(class) - rate * SLACK.as_secs_f64();
        if excess <= 0.0 {
            return Duration::ZERO;
        }
        let share = rate / self.debtors() as f64;
        // Finite: the debt is capped, and the rate is at least one byte per second.
        Duration::from_secs_f64(excess / share)
    }

    /// Puts `bytes` on the debt of the class, which may go beyond what it could take now.
    pub(crate) fn charge(&mut self, class: Class, bytes: u64, now: Duration) {
        self.pay(now);
        if self.rate > 0
            && let Some(debt) = self.debts.get_mut(class.index())
        {
            let most = match class {
                Class::Trash => self.rate as f64 * TRASH_DEBT.as_secs_f64(),
                _ => DEBT_BYTES_MAX,
            };
            *debt = (*debt + bytes as f64).min(most.min(DEBT_BYTES_MAX));
        }
    }

    /// What the class owes, in bytes, as of the last call that was given the time.
    pub(crate) fn debt(&self, class: Class) -> f64 {
        self.debts.get(class.index()).copied().unwrap_or(0.0)
    }

    /// How many classes are at work, `class` included: the rate is split between so many.
    pub(crate) fn sharers(&self, class: Class) -> usize {
        let others = |other: &&Class| **other != class && self.debt(**other) > 0.0;
        1 + Class::ALL.iter().filter(others).count()
    }

    fn debtors(&self) -> usize {
        self.debts.iter().filter(|debt| **debt > 0.0).count().max(1)
    }

    /// Splits what the time since the last call pays evenly between the debtors.
    fn pay(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.now);
        self.now = self.now.max(now);
        let mut budget = self.rate as f64 * elapsed.as_secs_f64();
        // Each round settles a debtor or spends the budget.
        for _ in Class::ALL {
            let share = budget / self.debtors() as f64;
            for debt in self.debts.iter_mut().filter(|debt| **debt > 0.0) {
                let paid = debt.min(share);
                budget -= paid;
                *debt -= paid;
                if *debt < DUST_BYTES {
                    *debt = 0.0;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "budget_test.rs"]
mod tests;
