//! How fast background work may go. Pure: signals and the time go in, a decision comes out.
//!
//! # The rule
//!
//! Work that nobody waits for may take what nobody else wants. While the foreground rests, nothing is
//! limited. While it works, background work begins at a modest rate that grows with every tick in
//! which nothing suffers. When something does, the rate is cut by as much as it is too high, and from
//! then on it climbs slowly towards where it was cut, and more slowly beyond:
//!
//! | signal | answer |
//! |---|---|
//! | foreground p99 above the target, over its own idle baseline, or its mean | cut in proportion, at most to a half |
//! | one foreground operation that stalls | halve |
//! | level 0 half full, or half of the compaction debt that RocksDB allows | halve |
//! | RocksDB delays or stops writes, or nearly all of that debt | down to the least, for two seconds |
//! | freeing a piece of a file takes long | no more is freed for nineteen times as long ([`Steps::rest`]) |
//! | free space below the floor | reclaim does not wait for anything |
//! | a view, snapshot or checkpoint is older than [`GovernorLimits::reader_age_max`] | none of the rates: it is reported, once |
//!
//! The least is not nothing: work that never ends is no kindness either. If the foreground stays slow
//! while background work crawls, the background is not the reason, and the baseline is learned anew.
//!
//! Two rates are ruled alike: one for the bytes of the [`crate::budget`], one at which RocksDB's file
//! manager frees dropped files, because freeing a byte costs a small part of what writing one does. For the same
//! reason the first begins low and takes a second to grow by four fifths: what it does shows within that time, and
//! not before. A foreground that was overrun for a hundredth of the time has a p99 that was made then.
//!
//! The shape, a calculator apart from its loop and a floor of free space that makes deletion faster, is
//! that of Pebble's delete pacer; doubling and cutting is TCP's.

use std::fmt;
use std::time::Duration;

use crate::baseline::{Comparison, Judgement};

/// What a person allows background work. Plain data; every value is valid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GovernorLimits {
    /// Bytes per second for all background work together; 0 for no limit.
    pub rate_max: u64,
    /// How much slower the foreground's p99 may get, as a factor over its idle time. Infinite: the
    /// foreground's latency is not looked at.
    pub latency_target: f64,
    /// Free bytes on the disk below which giving space back goes first.
    pub free_space_floor: u64,
    /// A reader (view, snapshot or checkpoint on disk) that is older is reported: it keeps space from
    /// being given back.
    pub reader_age_max: Duration,
}

impl Default for GovernorLimits {
    fn default() -> Self {
        Self {
            rate_max: 0,
            latency_target: 1.1,
            free_space_floor: 4 << 30,
            reader_age_max: Duration::from_hours(1),
        }
    }
}

/// What is known at a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Signals {
    pub(crate) foreground: Judgement,
    /// Bytes that background work took from the budget since the last tick.
    pub(crate) taken_bytes: u64,
    /// Somebody waits for the budget.
    pub(crate) waiting: bool,
    /// Bytes of dropped files that were freed since the last tick, and that are still to be freed.
    pub(crate) freed_bytes: u64,
    pub(crate) trash_bytes: u64,
    /// Who frees files at the same time: RocksDB's file manager, the reclaimer, each job that removes one of its own.
    pub(crate) freeing: u32,
    /// A person has paused reclaim.
    pub(crate) paused: bool,
    /// The most files that a family has in level 0, and the number at which RocksDB slows writers down.
    pub(crate) level0_files: u64,
    pub(crate) level0_limit: u64,
    /// The most that a family has to compact, and the number at which RocksDB slows writers down.
    pub(crate) pending_bytes: u64,
    pub(crate) pending_limit: u64,
    pub(crate) writes_delayed: bool,
    pub(crate) writes_stopped: bool,
    /// Free on the disk, if that could be told.
    pub(crate) free_bytes: Option<u64>,
    /// Age of the oldest view, snapshot or checkpoint on disk.
    pub(crate) oldest_reader: Option<Duration>,
}

impl Signals {
    /// Background work is under way.
    pub(crate) fn working(&self) -> bool {
        self.taken_bytes > 0 || self.waiting || self.trash_bytes > 0 || self.freed_bytes > 0
    }
}

/// What background work may do until the next tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Decision {
    /// Bytes per second of the budget; 0 for no limit.
    pub(crate) rate: u64,
    /// Bytes per second at which dropped files are freed, by all who do; never 0.
    pub(crate) deletion_rate: u64,
    pub(crate) steps: Steps,
    /// Who frees files at the same time.
    pub(crate) freeing: u32,
    /// What gives space back does not wait for the budget.
    pub(crate) reclaim_first: bool,
    /// The foreground's window was measured at another rate: forget it.
    pub(crate) start_afresh: bool,
    /// A reader has become older than it should: going slower or faster gives no space back that it holds, so people are told.
    pub(crate) report_reader: bool,
    pub(crate) reason: Reason,
}

impl Decision {
    /// What each of those who free files may free, in bytes per second.
    pub(crate) fn deletion_rate_of_each(&self) -> u64 {
        self.deletion_rate / u64::from(self.freeing.max(1))
    }

    /// For how many times the length of its last step each of them rests.
    pub(crate) fn rest_of_each(&self) -> u32 {
        self.steps.rest_of_each(self.freeing)
    }
}

/// Why background work goes as fast as it does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reason {
    /// There is no background work.
    Resting,
    /// There is no foreground work, or nobody wants it looked at.
    Alone,
    /// It is not known yet how fast the foreground is by itself.
    Learning,
    /// The foreground is within what is allowed.
    Within(Comparison),
    /// It is not.
    Slow(Comparison),
    /// A foreground operation took this long.
    Stall(Duration),
    /// Too few foreground operations to tell.
    Few,
    Level0 {
        files: u64,
        limit: u64,
    },
    Pending {
        bytes: u64,
        limit: u64,
    },
    WritesDelayed,
    WritesStopped,
    /// The disk has so little space left.
    FreeSpace {
        free: u64,
        floor: u64,
    },
    /// The limit that a person set.
    Limit,
    /// There is nothing to do, unless it is reclaim, and a person has paused that.
    Paused,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let foreground = |f: &mut fmt::Formatter<'_>, of: &Comparison| {
            let (operation, statistic) = (of.operation.name(), of.statistic.name());
            write!(f, "foreground {operation} {statistic} {:.2}x of baseline", of.ratio)
        };
        match self {
            Self::Resting => f.write_str("no background work"),
            Self::Alone => f.write_str("no foreground work"),
            Self::Learning => f.write_str("learning how fast the foreground is"),
            Self::Few => f.write_str("little foreground work"),
            Self::Within(of) => {
                foreground(f, of)?;
                write!(f, ", within {:.2}x", of.allowed)
            }
            Self::Slow(of) => {
                foreground(f, of)?;
                write!(f, ", above {:.2}x", of.allowed)
            }
            Self::Stall(time) => {
                write!(f, "a foreground operation took {} ms", time.as_millis())
            }
            Self::Level0 { files, limit } => {
                write!(f, "{files} files in level 0; writers are slowed down at {limit}")
            }
            Self::Pending { bytes, limit } => write!(
                f,
                "{} MiB to compact; writers are slowed down at {} MiB",
                bytes >> 20,
                limit >> 20
            ),
            Self::WritesDelayed => f.write_str("RocksDB slows writers down"),
            Self::WritesStopped => f.write_str("RocksDB has stopped writers"),
            Self::FreeSpace { free, floor } => {
                write!(f, "{} MiB free, below the floor of {} MiB", free >> 20, floor >> 20)
            }
            Self::Limit => f.write_str("background.rate.max"),
            Self::Paused => f.write_str("reclaim.paused"),
        }
    }
}

const MIB: f64 = (1 << 20) as f64;

/// Without an operation for so long, the foreground rests.
const PRESENT: Duration = Duration::from_secs(1);

/// Without work for so long, background work rests; work comes in pieces, with gaps between them.
const RESTED: Duration = Duration::from_secs(1);

/// Time for a cut to show before the next one.
const REACTION: Duration = Duration::from_millis(300);

/// Time without growth after RocksDB held writers back.
const RECOVERY: Duration = Duration::from_secs(2);

/// The longest wait for a baseline. A foreground that has none by then is too rare to be judged.
const LEARNING_MAX: Duration = Duration::from_secs(3);

/// After crawling for so long, background work is not the reason for a slow foreground.
const CRAWLING: Duration = Duration::from_secs(5);

/// How much the last tick weighs in what is used.
const USED_WEIGHT: f64 = 0.5;

/// How long the reason of a cut is shown.
const SHOWN: Duration = Duration::from_secs(1);

/// A rate that grows while all is well.
#[derive(Clone, Copy, Debug)]
struct Throttle {
    rate: f64,
    /// Where it was cut last; infinite before the first cut.
    cut_at: f64,
    start: f64,
    least: f64,
    most: f64,
    growth: Growth,
}

/// By what a rate grows in a tick in which nothing suffers.
#[derive(Clone, Copy, Debug)]
struct Growth {
    /// Before the first cut.
    first: f64,
    /// Below where it was cut.
    below: f64,
    /// Near it and beyond.
    beyond: f64,
}

/// Bytes of the budget.
const WORK: Throttle = Throttle::new(
    8.0 * MIB,
    4.0 * MIB,
    2048.0 * MIB,
    Growth { first: 1.06, below: 1.03, beyond: 1.01 },
);

/// Bytes of dropped files. The most is caution and not a measure: what four times as much does was not told apart from the
/// noise of a disk, but freeing costs processors too. (Pebble frees 128 MiB/s.)
const DELETION: Throttle = Throttle::new(
    128.0 * MIB,
    64.0 * MIB,
    256.0 * MIB,
    Growth { first: 2.0, below: 1.125, beyond: 1.03 },
);

/// The rate of deletion when it may go as fast as it can: in steps all the same.
pub(crate) const DELETION_UNLIMITED: u64 = 16_000_000_000;

/// A step is 16 MiB: no rate may make that hours.
pub(crate) const DELETION_LEAST: u64 = 1 << 20;

/// How dropped files are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Steps {
    /// Somebody reads or writes, and is held up by each step: they are short, and most of the time is theirs.
    Shared,
    /// Nobody does, or space is short.
    Alone,
}

impl Steps {
    /// Bytes that are freed at a time. A step takes time in proportion, plus what it costs by itself, on a disk that is told
    /// what is free (`make bench-reclaim ARGS="--only cut"`).
    pub(crate) const fn bytes(self) -> u64 {
        match self {
            Self::Shared => 1 << 20,
            Self::Alone => 16 << 20,
        }
    }

    /// After a step nothing is freed for at least so many times as long as it took, whatever the rate: a disk that is slow
    /// is not kept busy. A twentieth of its time may be ours: with a fifth the foreground's p99 was 1.20x of idle, and with a tenth
    /// 1.12x (docs/benchmarks.md; on a file system without a journal, as all that is said of steps here).
    pub(crate) const fn rest(self) -> u32 {
        match self {
            Self::Shared => 19,
            Self::Alone => 0,
        }
    }

    /// [`Steps::rest`] of each of so many who free files at the same time: together they have the part of the time that one has.
    pub(crate) const fn rest_of_each(self, of: u32) -> u32 {
        match self {
            Self::Shared => (self.rest() + 1).saturating_mul(if of > 1 { of } else { 1 }) - 1,
            Self::Alone => 0,
        }
    }

    /// The same after a step in which a staged file is read back.
    pub(crate) const fn rest_of_reads(self) -> u32 {
        match self {
            Self::Shared => 4,
            Self::Alone => 0,
        }
    }
}

impl Throttle {
    const fn new(start: f64, least: f64, most: f64, growth: Growth) -> Self {
        Self { rate: start, cut_at: f64::INFINITY, start, least, most, growth }
    }

    fn restart(&mut self) {
        (self.rate, self.cut_at) = (self.start, f64::INFINITY);
    }

    /// `factor` 0 for the least. What is above `used` had no effect, and cutting it would have none.
    fn cut(&mut self, factor: f64, used: f64) {
        self.rate = self.rate.min(used.max(self.least));
        if !self.is_least() {
            self.cut_at = self.rate;
        }
        self.rate = (self.rate * factor).max(self.least);
    }

    fn grow(&mut self) {
        let factor = match self.cut_at {
            cut_at if cut_at.is_infinite() => self.growth.first,
            cut_at if self.rate < cut_at * 0.9 => self.growth.below,
            _ => self.growth.beyond,
        };
        self.rate = (self.rate * factor).min(self.most);
    }

    fn is_least(&self) -> bool {
        self.rate <= self.least
    }

    fn is_most(&self) -> bool {
        self.rate >= self.most
    }
}

/// The governor's memory between ticks. Time counts from any fixed moment.
#[derive(Clone, Debug)]
pub(crate) struct Calculator {
    work: Throttle,
    deletion: Throttle,
    now: Duration,
    /// When the foreground last did something.
    seen: Option<Duration>,
    /// Since when background work is under way, and when it was last seen.
    working: Option<(Duration, Duration)>,
    /// Since when it has been held at the least.
    crawling_since: Option<Duration>,
    /// The rates wait for a baseline.
    learning: bool,
    /// Bytes per second that were taken from the budget lately.
    used: f64,
    /// No cut before this, and no growth.
    hold_until: Duration,
    /// The reason of the last cut, and until when it is shown.
    shown: Option<(Reason, Duration)>,
    /// The oldest reader is too old, and that was reported.
    reader_reported: bool,
}

impl Default for Calculator {
    fn default() -> Self {
        Self {
            work: WORK,
            deletion: DELETION,
            now: Duration::ZERO,
            seen: None,
            working: None,
            crawling_since: None,
            learning: false,
            used: 0.0,
            hold_until: Duration::ZERO,
            shown: None,
            reader_reported: false,
        }
    }
}

/// Something suffers.
struct Pressure {
    reason: Reason,
    factor: f64,
    hold: Duration,
}

impl Calculator {
    /// Whether what the foreground did since the last decision shows how fast it is when left alone.
    pub(crate) fn learns(&self) -> bool {
        let crawls = self.crawling_since.is_some_and(|since| self.now - since >= CRAWLING);
        self.working.is_none() || crawls || self.learning
    }

    /// What background work may do from now on.
    pub(crate) fn decide(
        &mut self,
        limits: &GovernorLimits,
        signals: &Signals,
        now: Duration,
    ) -> Decision {
        let now = self.now.max(now);
        let elapsed = now - self.now;
        self.now = now;
        if !elapsed.is_zero() {
            let used = signals.taken_bytes as f64 / elapsed.as_secs_f64();
            self.used += USED_WEIGHT * (used - self.used);
        }
        let foreground = &signals.foreground;
        if foreground.operations > 0 {
            self.seen = Some(now);
        }
        let present =
            limits.latency_target.is_finite() && self.seen.is_some_and(|seen| now - seen < PRESENT);
        self.working = match self.working {
            _ if signals.working() => Some((self.working.map_or(now, |(since, _)| since), now)),
            Some((_, last)) if now - last >= RESTED => None,
            working => working,
        };
        if self.shown.is_some_and(|(_, until)| until <= now) {
            self.shown = None;
        }
        let cut = self.cut(signals, present);
        let calm = cut.is_none() && now >= self.hold_until;
        let reason = cut.unwrap_or_else(|| self.go_on(signals, present, calm, elapsed));
        let least = self.work.is_least() || self.deletion.is_least();
        let crawls = least && present && self.working.is_some();
        self.crawling_since = if crawls { self.crawling_since.or(Some(now)) } else { None };
        if self.working.is_none() || (!present && calm) {
            self.work.restart();
            self.deletion.restart();
        }
        let mut decision = self.decision(limits, signals, present, reason);
        decision.start_afresh = cut.is_some();
        let too_old = signals.oldest_reader.is_some_and(|age| age > limits.reader_age_max);
        decision.report_reader = too_old && !self.reader_reported;
        self.reader_reported = too_old;
        decision
    }

    /// Cuts the rates if something suffers, and says why.
    fn cut(&mut self, signals: &Signals, present: bool) -> Option<Reason> {
        let now = self.now;
        if !signals.working() {
            return None;
        }
        let pressure = pressure(signals, present)?;
        let urgent = pressure.factor == 0.0;
        if now < self.hold_until && !urgent {
            return None;
        }
        if signals.taken_bytes > 0 || signals.waiting || urgent {
            self.work.cut(pressure.factor, self.used);
        }
        if signals.trash_bytes > 0 || signals.freed_bytes > 0 || urgent {
            self.deletion.cut(pressure.factor, f64::INFINITY);
        }
        self.hold_until = now + pressure.hold;
        self.shown = Some((pressure.reason, now + SHOWN.max(pressure.hold)));
        Some(pressure.reason)
    }

    /// Lets the rates grow if nothing speaks against it, and says how things stand.
    fn go_on(&mut self, signals: &Signals, present: bool, calm: bool, elapsed: Duration) -> Reason {
        let foreground = &signals.foreground;
        self.learning = false;
        let Some((since, _)) = self.working else { return Reason::Resting };
        if present && !foreground.known && self.now - since < LEARNING_MAX {
            // Both rates stay where they began.
            self.learning = true;
            return Reason::Learning;
        }
        // A rate that is not used says nothing about whether a higher one would be harmless. Beside trash half of it is all that there is.
        let due = self.work.rate * elapsed.as_secs_f64();
        let used = if signals.freed_bytes > 0 { due / 4.0 } else { due / 2.0 };
        if calm && signals.taken_bytes as f64 >= used {
            self.work.grow();
        }
        if calm && signals.trash_bytes > 0 {
            self.deletion.grow();
        }
        match (self.shown, foreground.worst) {
            (Some((reason, _)), _) => reason,
            _ if !present => Reason::Alone,
            (None, Some(of)) => Reason::Within(of),
            (None, None) => Reason::Few,
        }
    }

    fn decision(
        &self,
        limits: &GovernorLimits,
        signals: &Signals,
        present: bool,
        mut reason: Reason,
    ) -> Decision {
        let free_run = !present && self.now >= self.hold_until;
        let mut rate = if free_run || self.work.is_most() { 0 } else { self.work.rate as u64 };
        let (mut deletion_rate, mut steps) = if free_run {
            (DELETION_UNLIMITED, Steps::Alone)
        } else {
            (self.deletion.rate as u64, Steps::Shared)
        };
        let max = limits.rate_max;
        if max > 0 {
            if rate == 0 || rate >= max {
                rate = max;
                reason = if reason == Reason::Resting { reason } else { Reason::Limit };
            }
            deletion_rate = deletion_rate.min(max).max(DELETION_LEAST);
        }
        let mut reclaim_first = false;
        if let Some(free) = signals.free_bytes.filter(|free| *free < limits.free_space_floor) {
            reclaim_first = true;
            (deletion_rate, steps) = (DELETION_UNLIMITED, Steps::Alone);
            if self.working.is_some() {
                reason = Reason::FreeSpace { free, floor: limits.free_space_floor };
            }
        }
        if signals.paused && signals.taken_bytes == 0 && !signals.waiting {
            reason = Reason::Paused;
        }
        Decision {
            rate,
            deletion_rate,
            steps,
            freeing: signals.freeing,
            reclaim_first,
            start_afresh: false,
            report_reader: false,
            reason,
        }
    }
}

/// What suffers most, if anything does.
fn pressure(signals: &Signals, present: bool) -> Option<Pressure> {
    let (bytes, limit) = (signals.pending_bytes, signals.pending_limit);
    let pending = |part: u64| limit > 0 && bytes >= limit / 10 * part;
    let (files, level0_limit) = (signals.level0_files, signals.level0_limit);
    let level0 = level0_limit > 0 && files >= level0_limit.div_ceil(2);
    let foreground = &signals.foreground;
    let (reason, factor) = match () {
        () if signals.writes_stopped => (Reason::WritesStopped, 0.0),
        () if signals.writes_delayed => (Reason::WritesDelayed, 0.0),
        () if pending(8) => (Reason::Pending { bytes, limit }, 0.0),
        () if pending(5) => (Reason::Pending { bytes, limit }, 0.5),
        () if level0 => (Reason::Level0 { files, limit: level0_limit }, 0.5),
        () => match (foreground.stall, foreground.worst) {
            (Some(stall), _) if present => (Reason::Stall(stall), 0.5),
            (None, Some(of)) if present && foreground.slow => {
                (Reason::Slow(of), (of.allowed / of.ratio.max(0.01)).clamp(0.5, 0.95))
            }
            _ => return None,
        },
    };
    let hold = if factor == 0.0 { RECOVERY } else { REACTION };
    Some(Pressure { reason, factor, hold })
}

#[cfg(test)]
#[path = "governor_test.rs"]
mod tests;
