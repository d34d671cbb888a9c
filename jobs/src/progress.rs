//! How far a job is: for people, cheap to report, and never going backwards.
//!
//! A job may redo work after a crash, from its last checkpoint. What it reports then may be less than
//! what was shown before; shown is the greater of both, so nobody ever sees a job go back. What is
//! reported is kept in memory, and written some times a second, with every change of state, and with
//! every checkpoint. Only what is written is shown: a crash takes nothing back that anybody has seen.

use std::time::Duration;

use crate::clock::UnixMillis;

/// How far a job is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// What it is doing, in one word: `sort`, `ingest`.
    pub phase: String,
    /// Part of the work that is done, from 0 to 1. Values outside are clamped.
    pub fraction: f64,
    /// Rows written.
    pub rows: u64,
    /// Index entries written, beyond those of the primary index.
    pub index_entries: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Bytes that there will be, as far as that is known; 0 if it is not.
    pub bytes_total: u64,
    /// More for people: the file at hand, say.
    pub message: String,
}

/// Without a change of progress for this long, a running job is shown as stalled.
pub(crate) const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Time between two samples of the rate.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// How much a new sample weighs in the averages.
const WEIGHT: f64 = 0.3;

/// Progress with its rate.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProgressBook {
    /// As reported.
    current: Progress,
    /// As written.
    shown: Progress,
    sampled: Option<Sample>,
    /// `None` before the first attempt in this process.
    changed: Option<UnixMillis>,
    bytes_per_second: f64,
    fraction_per_second: f64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: UnixMillis,
    bytes: u64,
    fraction: f64,
}

impl ProgressBook {
    /// Goes on from what was stored.
    pub(crate) fn restored(current: Progress) -> Self {
        Self { shown: current.clone(), current, ..Self::default() }
    }

    /// What is written, so that it can be shown.
    pub(crate) fn shown(&self) -> &Progress {
        &self.shown
    }

    /// A new attempt begins: rates start afresh.
    pub(crate) fn restart(&mut self, now: UnixMillis) {
        self.sampled = None;
        self.changed = Some(now);
        self.bytes_per_second = 0.0;
        self.fraction_per_second = 0.0;
    }

    /// Lets the job report. Returns whether anything changed.
    pub(crate) fn update(&mut self, now: UnixMillis, report: impl FnOnce(&mut Progress)) -> bool {
        let before = self.current.clone();
        report(&mut self.current);
        let at = &mut self.current;
        let fraction = if at.fraction.is_nan() { 0.0 } else { at.fraction.clamp(0.0, 1.0) };
        at.fraction = fraction.max(before.fraction);
        at.rows = at.rows.max(before.rows);
        at.index_entries = at.index_entries.max(before.index_entries);
        at.bytes = at.bytes.max(before.bytes);
        let changed = self.current != before;
        if changed {
            self.changed = Some(now);
            self.sample(now);
        }
        changed
    }

    /// The job is done.
    pub(crate) fn complete(&mut self, now: UnixMillis) {
        self.update(now, |at| at.fraction = 1.0);
    }

    /// What has to be written, if anything.
    pub(crate) fn unwritten(&self) -> Option<&Progress> {
        Some(&self.current).filter(|current| **current != self.shown)
    }

    /// `progress` is in the store now.
    pub(crate) fn written(&mut self, progress: Progress) {
        self.shown = progress;
    }

    /// Bytes per second, averaged over some seconds.
    pub(crate) fn rate(&self) -> f64 {
        self.bytes_per_second
    }

    /// Time until the end at the present speed.
    pub(crate) fn eta(&self) -> Option<Duration> {
        let left = 1.0 - self.current.fraction;
        if left <= 0.0 || self.fraction_per_second <= 0.0 {
            return None;
        }
        Duration::try_from_secs_f64(left / self.fraction_per_second).ok()
    }

    pub(crate) fn is_stalled(&self, now: UnixMillis) -> bool {
        self.changed.is_some_and(|changed| now.since(changed) >= STALLED_AFTER)
    }

    fn sample(&mut self, now: UnixMillis) {
        let at = Sample { at: now, bytes: self.current.bytes, fraction: self.current.fraction };
        let Some(last) = self.sampled else {
            self.sampled = Some(at);
            return;
        };
        let elapsed = now.since(last.at);
        if elapsed < SAMPLE_EVERY {
            return;
        }
        let average = |old: f64, new: f64| {
            if old == 0.0 { new } else { old + WEIGHT * (new - old) }
        };
        let seconds = elapsed.as_secs_f64();
        let bytes = at.bytes.saturating_sub(last.bytes) as f64 / seconds;
        let fraction = (at.fraction - last.fraction) / seconds;
        self.bytes_per_second = average(self.bytes_per_second, bytes);
        self.fraction_per_second = average(self.fraction_per_second, fraction);
        self.sampled = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixMillis {
        UnixMillis::from_raw(seconds * 1000)
    }

    #[test]
    fn numbers_never_go_backwards_and_fractions_stay_between_zero_and_one() {
        let mut book = ProgressBook::default();
        for (fraction, rows, shown, rows_shown) in [
            (0.5, 100, 0.5, 100),
            (0.2, 20, 0.5, 100),
            (f64::NAN, 0, 0.5, 100),
            (7.0, 101, 1.0, 101),
        ] {
            book.update(at(0), |p| (p.fraction, p.rows) = (fraction, rows));
            let current = book.unwritten().unwrap();
            assert_eq!((current.fraction, current.rows), (shown, rows_shown));
        }
    }

    #[test]
    fn what_was_stored_is_a_floor_for_what_is_reported_after_a_restart() {
        let stored = Progress { fraction: 0.8, bytes: 800, ..Progress::default() };
        let mut book = ProgressBook::restored(stored);
        book.update(at(0), |p| (p.fraction, p.bytes) = (0.6, 600));
        assert_eq!((book.shown().fraction, book.shown().bytes), (0.8, 800));
        assert!(book.unwritten().is_none());
    }

    #[test]
    fn rate_and_eta_come_from_the_recent_past() {
        let mut book = ProgressBook::default();
        assert_eq!(book.eta(), None);
        for second in 0..=10_u32 {
            book.update(at(second.into()), |p| {
                p.bytes = u64::from(second) * 1000;
                p.fraction = f64::from(second) / 20.0;
            });
        }
        assert!((book.rate() - 1000.0).abs() < 1.0, "{}", book.rate());
        let eta = book.eta().unwrap().as_secs_f64();
        assert!((eta - 10.0).abs() < 0.1, "{eta}");
        assert!(!book.is_stalled(at(39)));
        assert!(book.is_stalled(at(40)));
    }

    #[test]
    fn only_what_is_written_is_shown_and_nothing_is_written_twice() {
        let mut book = ProgressBook::default();
        assert!(book.update(at(0), |p| p.rows = 1));
        assert_eq!(book.shown().rows, 0);
        let unwritten = book.unwritten().unwrap().clone();
        book.written(unwritten);
        assert_eq!(book.shown().rows, 1);
        assert!(!book.update(at(1), |p| p.rows = 1));
        assert!(book.unwritten().is_none());
    }
}
