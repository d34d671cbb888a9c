//! Job ids: positive INT8 numbers, ordered by the time of submission.
//!
//! ```text
//! sign 0 | 41 bits milliseconds since 2025-01-01 UTC | 12 bits counter | 10 bits node (0 today)
//! ```
//!
//! A counter that is full borrows the next millisecond. A new id is always above the highest stored
//! one, also when the clock steps back.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use cairn_engine::OwnerId;

use crate::clock::UnixMillis;

/// Milliseconds from the Unix epoch to 2025-01-01 UTC.
const EPOCH_MS: u64 = 1_735_689_600_000;
const COUNTER_BITS: u32 = 12;
const NODE_BITS: u32 = 10;

/// The id of a job. Printed as a decimal number; in JSON write it as a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(i64);

impl JobId {
    /// The job with this number; `None` for a number that no job can have.
    #[must_use]
    pub const fn from_raw(raw: i64) -> Option<Self> {
        if raw > 0 { Some(Self(raw)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn raw(self) -> i64 {
        self.0
    }

    /// The owner under which the engine knows the claims of this job.
    #[must_use]
    pub const fn owner(self) -> OwnerId {
        OwnerId::from_raw(self.0.unsigned_abs())
    }

    /// The job behind an owner; `None` for owner 0 and for numbers that no job can have.
    #[must_use]
    pub fn of_owner(owner: OwnerId) -> Option<Self> {
        i64::try_from(owner.raw()).ok().and_then(Self::from_raw)
    }

    /// Big-endian, so that keys are in order of submission.
    pub(crate) const fn to_be_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    pub(crate) fn from_be_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_raw(i64::from_be_bytes(bytes.try_into().ok()?))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Hands out ids.
#[derive(Debug)]
pub(crate) struct IdSource {
    /// Time and counter of the last id, without the node.
    last: Mutex<u64>,
}

impl IdSource {
    /// Continues above the highest stored id.
    pub(crate) fn after(highest: Option<JobId>) -> Self {
        let last = highest.map_or(0, |id| id.0.unsigned_abs() >> NODE_BITS);
        Self { last: Mutex::new(last) }
    }

    /// An id above all others.
    pub(crate) fn next(&self, now: UnixMillis) -> JobId {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let millis = now.raw().saturating_sub(EPOCH_MS);
        *last = (millis << COUNTER_BITS).max(*last + 1);
        // 41 bits of milliseconds last until 2094; after that the sign bit is kept clear.
        let raw = (*last << NODE_BITS) & u64::MAX >> 1;
        JobId(raw.cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> UnixMillis {
        UnixMillis::from_raw(EPOCH_MS + ms)
    }

    #[test]
    fn an_id_shows_its_time_and_is_positive() {
        let id = IdSource::after(None).next(at(5));
        assert_eq!(id.raw(), 5 << 22);
        assert_eq!(JobId::from_raw(id.raw()), Some(id));
        assert_eq!(JobId::from_raw(0), None);
        assert_eq!(JobId::from_raw(-1), None);
        assert_eq!(JobId::of_owner(id.owner()), Some(id));
    }

    #[test]
    fn ids_grow_when_the_clock_stands_still_or_steps_back() {
        let ids = IdSource::after(None);
        let mut last = ids.next(at(1000));
        for ms in [1000, 1000, 999, 0] {
            let next = ids.next(at(ms));
            assert!(next > last);
            last = next;
        }
        let next = IdSource::after(Some(last)).next(at(0));
        assert!(next > last, "the highest stored id counts, not the clock");
    }

    #[test]
    fn a_full_counter_borrows_the_next_millisecond() {
        let ids = IdSource::after(None);
        let ids: Vec<JobId> = (0..5000).map(|_| ids.next(at(7))).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(ids[4999].raw() >> 22, 8);
    }

    #[test]
    fn a_clock_before_2025_still_gives_positive_ids() {
        assert!(IdSource::after(None).next(UnixMillis::from_raw(0)).raw() > 0);
    }
}
