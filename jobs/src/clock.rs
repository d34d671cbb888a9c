//! Time as an argument: nothing in this crate looks at a clock but through [`Clock`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, UNIX_EPOCH};

/// A moment: milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// Wraps a stored number.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number to store.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The moment `duration` later; the end of time if that is too far.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(ms))
    }

    /// Time since an earlier moment; zero if that one is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The future of [`Clock::sleep_until`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What time it is, and waiting for later.
pub trait Clock: Send + Sync + 'static {
    /// The time now. May step back: nothing but display and waiting depends on it.
    fn now(&self) -> UnixMillis;

    /// Ends when it is `moment`, at once if that is past.
    ///
    /// A moment and not a duration: whoever computed the duration did so from an earlier [`Clock::now`],
    /// and a clock that moved on in between would be waited for too long, or for ever if it is one that
    /// a test moves by hand.
    fn sleep_until(&self, moment: UnixMillis) -> Sleep;

    /// Ends after `duration`, rounded up to whole milliseconds. A clock whose `sleep_until` calls this has one of its own.
    fn sleep(&self, duration: Duration) -> Sleep {
        let fraction = duration.subsec_nanos() % 1_000_000;
        let up = Duration::from_millis(u64::from(fraction != 0));
        self.sleep_until(self.now().plus(duration.saturating_add(up)))
    }
}

/// The clock of the operating system, and tokio's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that is handed in elsewhere")]
    fn now(&self) -> UnixMillis {
        let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis::default().plus(since)
    }

    fn sleep_until(&self, moment: UnixMillis) -> Sleep {
        self.sleep(moment.since(self.now()))
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_do_not_wrap() {
        let late = UnixMillis::from_raw(u64::MAX - 1);
        assert_eq!(late.plus(Duration::MAX), UnixMillis::from_raw(u64::MAX));
        assert_eq!(UnixMillis::from_raw(5).since(UnixMillis::from_raw(9)), Duration::ZERO);
        assert_eq!(UnixMillis::from_raw(9).since(UnixMillis::from_raw(5)).as_millis(), 4);
    }
}
