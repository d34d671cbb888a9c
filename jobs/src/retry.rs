//! How long to wait before the next attempt: pure.
//!
//! The nth error in a row (from 1) waits `initial * 2^(n-1)`, at most `max`, give or take a tenth. With
//! the defaults: about 1 s, 2 s, 4 s, ... 10 min. The jitter comes from a seed, so tests can tell it
//! beforehand, and jobs that failed together do not come back together.

use std::time::Duration;

use crate::id::JobId;

/// Largest part of a delay by which it is made longer or shorter, in percent.
const JITTER_PERCENT: u64 = 10;

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) initial: Duration,
    pub(crate) max: Duration,
    /// Makes one process differ from another.
    pub(crate) seed: u64,
}

impl Backoff {
    /// The wait after the `retries`th error in a row, from 1.
    pub(crate) fn delay(&self, id: JobId, retries: u32) -> Duration {
        let doublings = retries.saturating_sub(1).min(31);
        let delay = self.initial.saturating_mul(1 << doublings).min(self.max);
        let random = mix(self.seed ^ mix(id.raw().unsigned_abs() ^ mix(u64::from(retries))));
        let percent = 100 - JITTER_PERCENT + random % (2 * JITTER_PERCENT + 1);
        let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis((ms / 100).saturating_mul(percent) + ms % 100 * percent / 100)
    }
}

/// splitmix64: every input gives another output, and neighbours differ in about half of the bits.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff =
        Backoff { initial: Duration::from_secs(1), max: Duration::from_mins(10), seed: 7 };

    fn id(raw: i64) -> JobId {
        JobId::from_raw(raw).unwrap()
    }

    #[test]
    fn delays_double_up_to_the_limit_within_a_tenth() {
        for (retries, seconds) in [(1, 1.0), (2, 2.0), (3, 4.0), (10, 512.0), (11, 600.0)] {
            for job in 1..100 {
                let delay = BACKOFF.delay(id(job), retries).as_secs_f64();
                assert!((seconds * 0.899..=seconds * 1.101).contains(&delay), "{retries}: {delay}");
            }
        }
    }

    #[test]
    fn absurd_counts_and_limits_do_not_overflow() {
        let huge = Backoff { initial: Duration::MAX, max: Duration::MAX, seed: 0 };
        assert!(huge.delay(id(1), u32::MAX) > Duration::from_hours(1));
        assert!(BACKOFF.delay(id(1), u32::MAX) <= Duration::from_mins(11));
        assert!(BACKOFF.delay(id(1), 0) <= Duration::from_millis(1100));
    }

    #[test]
    fn jobs_that_failed_together_do_not_come_back_together_and_a_seed_repeats() {
        let delays: std::collections::BTreeSet<Duration> =
            (1..50).map(|job| BACKOFF.delay(id(job), 1)).collect();
        assert!(delays.len() > 10, "{delays:?}");
        assert_eq!(BACKOFF.delay(id(5), 3), BACKOFF.delay(id(5), 3));
        let other = Backoff { seed: 8, ..BACKOFF };
        assert!((1..50).any(|job| other.delay(id(job), 1) != BACKOFF.delay(id(job), 1)));
    }
}
