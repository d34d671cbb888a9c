//! What the reclaimer remembers of one tombstone, and what it tells of it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::id::{OwnerId, SpanId};
use crate::reclaim::{Pass, Step};
use crate::record::Tombstone;

pub(super) const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Without progress for this long, a tombstone is reported with what it waits for.
pub(super) const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Time between two samples of the rate, and how much a new one weighs.
const SAMPLE_EVERY: Duration = Duration::from_millis(200);
const SAMPLE_WEIGHT: f64 = 0.5;

/// Time between two events of progress.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How far one tombstone is.
#[derive(Clone, Debug, PartialEq)]
pub struct TombstoneStatus {
    /// What is being removed, and why.
    pub tombstone: Tombstone,
    /// `waiting`, `staging`, `files`, `ranges`, `compaction` or `trash`.
    pub phase: &'static str,
    /// Bytes that there were: what was found at the first look, or more if more was found later. After a restart the estimate
    /// of the condemnation, if that is more.
    pub bytes: u64,
    /// Bytes on disk that are not given back yet, by the blocks of its files.
    pub bytes_left: u64,
    /// Those of them that a reader, a checkpoint or a snapshot holds.
    pub bytes_held: u64,
    /// Bytes given back per second, averaged over some moments.
    pub rate: f64,
    /// What it waits for, if it does.
    pub waiting_for: Option<String>,
    /// How often files were dropped; 1 in the usual case.
    pub passes: u64,
    /// Compactions of leftovers so far; 0 in the usual case.
    pub compactions: u64,
    /// Range deletions so far; 0 in the usual case.
    pub range_deletions: u64,
    /// It has made no progress for 30 s.
    pub stalled: bool,
}

impl TombstoneStatus {
    /// Bytes given back so far.
    #[must_use]
    pub fn bytes_freed(&self) -> u64 {
        self.bytes.saturating_sub(self.bytes_left)
    }

    /// Time until the bytes are back at the current rate; `None` while that cannot be told, as when all that is
    /// left is held.
    #[must_use]
    pub fn eta(&self) -> Option<Duration> {
        if self.bytes_left <= self.bytes_held || self.rate < 1.0 {
            return None;
        }
        Some(Duration::from_secs_f64((self.bytes_left as f64 / self.rate).min(1e9)))
    }
}

/// Something that happened to a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub enum ReclaimEvent {
    /// Some of it is given back: at most once a second, and not the last of it.
    Progress(TombstoneStatus),
    /// Everything is given back.
    Finished {
        /// Which tombstone.
        id: SpanId,
        /// Who owned the span or folder.
        owner: OwnerId,
        /// Bytes given back.
        bytes: u64,
        /// Since this process began with it.
        took: Duration,
    },
    /// It has made no progress for 30 s.
    Stalled {
        /// Which tombstone.
        id: SpanId,
        /// Who owned the span or folder.
        owner: OwnerId,
        /// What it waits for.
        waiting_for: String,
    },
}

/// One tombstone under way.
pub(super) struct Work {
    pub(super) tombstone: Tombstone,
    /// Views opened before this sequence number may still read the span.
    pub(super) condemned_sequence: u64,
    pub(super) pass: Pass,
    /// A range deletion was written by this process; snapshots before this sequence number see past it.
    pub(super) range_sequence: Option<u64>,
    /// Dropped files, until they are gone from the disk.
    pub(super) dropped: Vec<PathBuf>,
    /// Files that a compaction of leftovers has replaced, until they are gone from the disk. They held others' rows too, which
    /// were written anew: of their bytes only `shared_bytes` count.
    pub(super) rewritten: Vec<PathBuf>,
    /// The most that it had in files that it shares, which is given back when those in `rewritten` are gone.
    pub(super) shared_bytes: u64,
    /// Files that an earlier process dropped, maybe for this tombstone: waited for, but only one
    /// tombstone counts their bytes.
    pub(super) leftover: Vec<PathBuf>,
    pub(super) counts_leftover: bool,
    /// Nothing is left in the database: only dropped files are waited for.
    pub(super) only_trash: bool,
    pub(super) phase: &'static str,
    pub(super) bytes_left: u64,
    pub(super) bytes_held: u64,
    /// Bytes that we are to free ourselves.
    pub(super) own_trash: u64,
    bytes_at_start: u64,
    /// It was looked at in this process.
    looked: bool,
    pub(super) started: Instant,
    pub(super) waiting_for: Option<String>,
    pub(super) passes: u64,
    pub(super) compactions: u64,
    pub(super) range_deletions: u64,
    backoff: Duration,
    pub(super) next_try: Instant,
    /// Changed by [`super::ReclaimHandle::add`]: a step that began before must not finish the tombstone.
    pub(super) generation: u64,
    progressed: Instant,
    /// The stall that was reported last.
    reported: Option<String>,
    sample: (Instant, u64),
    rate: f64,
    /// When progress was told last, and the bytes that were left then.
    told: (Instant, u64),
}

impl Work {
    pub(super) fn new(tombstone: Tombstone, condemned_sequence: u64, generation: u64) -> Self {
        let now = Instant::now();
        Self {
            bytes_left: tombstone.bytes,
            bytes_at_start: tombstone.bytes,
            sample: (now, tombstone.bytes),
            told: (now, tombstone.bytes),
            tombstone,
            condemned_sequence,
            pass: Pass::default(),
            range_sequence: None,
            dropped: Vec::new(),
            rewritten: Vec::new(),
            shared_bytes: 0,
            leftover: Vec::new(),
            counts_leftover: false,
            only_trash: false,
            phase: "waiting",
            bytes_held: 0,
            own_trash: 0,
            looked: false,
            started: now,
            waiting_for: None,
            passes: 0,
            compactions: 0,
            range_deletions: 0,
            backoff: BACKOFF_MIN,
            next_try: now,
            generation,
            progressed: now,
            reported: None,
            rate: 0.0,
        }
    }

    /// Takes in what was seen before a step. Answers how many bytes are gone since the last time.
    pub(super) fn saw(&mut self, step: Step, bytes_left: u64, bytes_held: u64) -> u64 {
        let now = Instant::now();
        if !self.looked {
            self.looked = true;
            // What was condemned was an estimate. Nothing of it is given back yet, unless an earlier process did.
            (self.bytes_left, self.sample.1, self.told.1) = (bytes_left, bytes_left, bytes_left);
            if self.generation > 0 {
                self.bytes_at_start = bytes_left;
            }
        }
        let freed = self.bytes_left.saturating_sub(bytes_left);
        let phase = phase_name(step);
        if bytes_left < self.bytes_left || phase != self.phase {
            self.progress(now);
        }
        self.bytes_at_start = self.bytes_at_start.max(bytes_left);
        (self.bytes_left, self.bytes_held, self.phase) = (bytes_left, bytes_held, phase);
        self.only_trash = matches!(step, Step::CutTrash | Step::WaitForTrash);
        let (at, before) = self.sample;
        let elapsed = now.saturating_duration_since(at);
        if elapsed >= SAMPLE_EVERY {
            let rate = before.saturating_sub(bytes_left) as f64 / elapsed.as_secs_f64();
            let old = if self.rate == 0.0 { rate } else { self.rate };
            self.rate = old + SAMPLE_WEIGHT * (rate - old);
            self.sample = (now, bytes_left);
        }
        freed
    }

    /// So many bytes stay with somebody else: they are not given back, and not waited for.
    pub(super) fn leave(&mut self, bytes: u64) {
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.bytes_at_start = self.bytes_at_start.saturating_sub(bytes);
        self.sample.1 = self.sample.1.saturating_sub(bytes);
        self.told.1 = self.told.1.saturating_sub(bytes);
    }

    /// Something was done.
    pub(super) fn progress(&mut self, now: Instant) {
        self.progressed = now;
        self.reported = None;
        self.backoff = BACKOFF_MIN;
    }

    /// Puts it off, with a reason.
    pub(super) fn wait(&mut self, reason: String) {
        self.waiting_for = Some(reason);
        self.next_try = Instant::now() + self.backoff;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }

    /// Lets it be looked at again now.
    pub(super) fn wake(&mut self, now: Instant) {
        self.next_try = now;
        self.backoff = BACKOFF_MIN;
    }

    fn is_stalled(&self) -> bool {
        self.progressed.elapsed() >= STALLED_AFTER
    }

    /// The event to report, once for each cause, if it has stalled: also in the middle of a step, if it has the `turn`.
    pub(super) fn stalled(&mut self, turn: bool) -> Option<ReclaimEvent> {
        if !self.is_stalled() {
            return None;
        }
        let cause = match &self.waiting_for {
            Some(cause) => cause.clone(),
            None if turn => format!("the step under way, of phase {}", self.phase),
            // Whoever has the turn goes on, or is reported.
            None => return None,
        };
        // Without for how long that has been so.
        let known = cause.rsplit_once(" for ").map_or(cause.as_str(), |(known, _)| known);
        if self.reported.as_deref() == Some(known) {
            return None;
        }
        self.reported = Some(known.to_owned());
        let (id, owner) = (self.tombstone.id, self.tombstone.owner);
        Some(ReclaimEvent::Stalled { id, owner, waiting_for: cause })
    }

    /// The event to report if something was given back since the last one, a while ago.
    pub(super) fn told(&mut self, now: Instant) -> Option<ReclaimEvent> {
        let (at, left) = self.told;
        if now.saturating_duration_since(at) < TELL_EVERY || self.bytes_left >= left {
            return None;
        }
        self.told = (now, self.bytes_left);
        Some(ReclaimEvent::Progress(self.status(false)))
    }

    pub(super) fn finished(&self) -> ReclaimEvent {
        ReclaimEvent::Finished {
            id: self.tombstone.id,
            owner: self.tombstone.owner,
            bytes: self.bytes_at_start,
            took: self.started.elapsed(),
        }
    }

    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    pub(super) fn status(&self, paused: bool) -> TombstoneStatus {
        let rate = if paused { 0.0 } else { self.rate };
        let paused = paused.then(|| "reclaim.paused to be false".to_owned());
        TombstoneStatus {
            tombstone: self.tombstone.clone(),
            phase: self.phase,
            bytes: self.bytes_at_start,
            bytes_left: self.bytes_left,
            bytes_held: self.bytes_held,
            rate,
            waiting_for: paused.or_else(|| self.waiting_for.clone()),
            passes: self.passes,
            compactions: self.compactions,
            range_deletions: self.range_deletions,
            stalled: self.is_stalled(),
        }
    }
}

fn phase_name(step: Step) -> &'static str {
    match step {
        Step::WaitForViews => "waiting",
        Step::RemoveStaging => "staging",
        Step::DropFiles => "files",
        Step::DeleteRange => "ranges",
        Step::WaitForSnapshots | Step::Compact => "compaction",
        Step::CutTrash | Step::WaitForTrash | Step::Finish => "trash",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() -> Work {
        let tombstone = Tombstone {
            id: SpanId::from_raw(7),
            keys: None,
            owner: OwnerId::from_raw(1),
            reason: "a test".to_owned(),
            condemned_at_ms: 0,
            bytes: 100,
            published: false,
        };
        Work::new(tombstone, 0, 0)
    }

    #[test]
    fn the_first_look_replaces_the_estimate_and_gives_nothing_back() {
        for (generation, bytes) in [(1, 60), (0, 100)] {
            let mut work = Work { generation, ..work() };
            assert_eq!(work.saw(Step::DropFiles, 60, 0), 0);
            assert_eq!(work.status(false).bytes, bytes, "after a restart the estimate stays");
            assert_eq!(work.saw(Step::WaitForTrash, 20, 0), 40);
        }
    }

    #[test]
    fn what_is_held_has_no_end_and_what_is_paused_no_rate() {
        let mut work = Work { rate: 10.0, ..work() };
        work.saw(Step::WaitForTrash, 100, 40);
        assert_eq!(work.status(false).eta(), Some(Duration::from_secs(10)));
        assert_eq!((work.status(true).eta(), work.status(true).rate), (None, 0.0));
        work.saw(Step::WaitForTrash, 40, 40);
        assert_eq!(work.status(false).eta(), None);
    }

    #[test]
    fn progress_is_told_once_a_second_and_only_if_there_was_any() {
        let mut work = work();
        let (now, later) = (Instant::now(), Instant::now() + TELL_EVERY);
        work.saw(Step::WaitForTrash, 100, 0);
        assert_eq!(work.told(later), None, "nothing is gone yet");
        work.saw(Step::WaitForTrash, 70, 0);
        assert_eq!(work.told(now), None, "it has just begun");
        let Some(ReclaimEvent::Progress(status)) = work.told(later) else { panic!("not told") };
        assert_eq!((status.bytes_freed(), status.bytes_left), (30, 70));
        assert_eq!(work.told(later), None);
    }

    #[test]
    fn freed_is_what_is_gone_even_if_more_was_found_than_estimated() {
        let mut work = work();
        work.saw(Step::DropFiles, 150, 0);
        work.saw(Step::WaitForTrash, 30, 10);
        let status = work.status(false);
        assert_eq!((status.bytes, status.bytes_freed(), status.bytes_held), (150, 120, 10));
        assert_eq!(status.phase, "trash");
    }

    #[test]
    fn a_stall_is_reported_once_for_each_cause() {
        let mut work = work();
        work.wait("a reader".to_owned());
        assert_eq!(work.stalled(true), None, "it has just begun");
        work.progressed = Instant::now().checked_sub(STALLED_AFTER).unwrap();
        assert!(work.status(false).stalled && work.stalled(true).is_some());
        assert_eq!(work.stalled(true), None);
        work.wait("a checkpoint".to_owned());
        assert!(
            matches!(work.stalled(true), Some(ReclaimEvent::Stalled { waiting_for, .. }) if waiting_for == "a checkpoint")
        );
        work.waiting_for = None;
        assert!(
            matches!(work.stalled(true), Some(ReclaimEvent::Stalled { waiting_for, .. }) if waiting_for.contains("the step under way"))
        );
        work.wait("a snapshot that has been open for 31 s".to_owned());
        assert!(work.stalled(true).is_some());
        work.wait("a snapshot that has been open for 32 s".to_owned());
        assert_eq!(work.stalled(true), None, "it is the same one");
        work.waiting_for = None;
        assert_eq!(work.stalled(false), None, "it only waits for its turn");
        work.progress(Instant::now());
        assert!(!work.status(false).stalled && work.stalled(true).is_none());
    }

    #[test]
    fn a_pause_is_what_it_waits_for() {
        let status = work().status(true);
        assert_eq!(status.waiting_for.as_deref(), Some("reclaim.paused to be false"));
    }
}
