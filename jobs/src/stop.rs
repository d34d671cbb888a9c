//! The stop signal of one attempt: a flag that costs one relaxed load to look at, and a future.
//!
//! A flag belongs to an attempt and is never taken back: a straggler of an earlier attempt stays
//! stopped when the job is resumed.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

use crate::error::Stop;

const NONE: u8 = 0;
const PAUSED: u8 = 1;
const SHUTDOWN: u8 = 2;
const CANCELLED: u8 = 3;
const FENCED: u8 = 4;

#[derive(Debug, Default)]
pub(crate) struct StopFlag {
    reason: AtomicU8,
    token: CancellationToken,
}

impl StopFlag {
    /// Stops the attempt. Of several reasons the gravest holds.
    pub(crate) fn set(&self, stop: Stop) {
        let reason = match stop {
            Stop::Paused => PAUSED,
            Stop::Shutdown => SHUTDOWN,
            Stop::Cancelled => CANCELLED,
            Stop::Fenced => FENCED,
        };
        self.reason.fetch_max(reason, Ordering::Relaxed);
        self.token.cancel();
    }

    /// Why to stop; `None` to go on.
    #[inline]
    pub(crate) fn get(&self) -> Option<Stop> {
        match self.reason.load(Ordering::Relaxed) {
            NONE => None,
            PAUSED => Some(Stop::Paused),
            SHUTDOWN => Some(Stop::Shutdown),
            CANCELLED => Some(Stop::Cancelled),
            _ => Some(Stop::Fenced),
        }
    }

    /// Ends when the attempt has to stop.
    pub(crate) async fn stopped(&self) -> Stop {
        self.token.cancelled().await;
        self.get().unwrap_or(Stop::Fenced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_gravest_reason_holds_and_is_never_taken_back() {
        let flag = StopFlag::default();
        assert_eq!(flag.get(), None);
        flag.set(Stop::Paused);
        assert_eq!(flag.stopped().await, Stop::Paused);
        flag.set(Stop::Cancelled);
        flag.set(Stop::Paused);
        assert_eq!(flag.get(), Some(Stop::Cancelled));
    }
}
