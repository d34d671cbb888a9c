//! What an operation of the foreground waited for.
//!
//! The latency of an operation counts from when it was due, so part of it may belong to one before it on the same
//! thread. That part is inherited: it is made of what the latency of the one before is made of. So each latency is
//! a sum of three, and of the slowest operations of a window it can be told where their time went.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use serde_json::{Value, json};

/// Seconds of one latency, or of many, by what they were spent on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Waits {
    /// Ready to run, and no processor free: while it worked, or when it should have woken.
    pub(super) processor: f32,
    /// The rest of reads: computing, and the disk.
    pub(super) read: f32,
    /// The rest of updates: computing, reading the row, the writers before it and the log's sync.
    pub(super) update: f32,
}

impl Waits {
    /// All of it.
    pub(super) fn sum(self) -> f32 {
        self.processor + self.read + self.update
    }

    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            processor: self.processor + other.processor,
            read: self.read + other.read,
            update: self.update + other.update,
        }
    }

    /// So many times of it.
    pub(super) fn times(self, factor: f32) -> Self {
        Self {
            processor: self.processor * factor,
            read: self.read * factor,
            update: self.update * factor,
        }
    }

    /// What of the latency `self` a following operation on the same thread inherits, which begins `late` after it was due.
    pub(super) fn inherited(self, late: Duration) -> Self {
        let sum = self.sum();
        if sum > 0.0 { self.times(late.as_secs_f32() / sum) } else { Self::default() }
    }

    /// An operation that took `took`, for `delayed` of which no processor was free.
    pub(super) fn of_operation(is_update: bool, took: Duration, delayed: Duration) -> Self {
        let delayed = delayed.min(took);
        let rest = (took - delayed).as_secs_f32();
        let (read, update) = if is_update { (0.0, rest) } else { (rest, 0.0) };
        Self { processor: delayed.as_secs_f32(), read, update }
    }

    /// Milliseconds, by what they were spent on.
    pub(super) fn to_json(self) -> Value {
        let ms = self.times(1000.0);
        json!({ "processor": ms.processor, "read": ms.read, "update": ms.update })
    }

    /// A thread that slept and began `late` after it was due.
    pub(super) fn of_waking(late: Duration) -> Self {
        Self { processor: late.as_secs_f32(), ..Self::default() }
    }
}

/// For how long the calling thread has been ready to run without a processor, since it began.
pub(super) struct Delays(Option<File>);

impl Delays {
    /// Of the calling thread. Where the kernel does not count, no time is ever waited for a processor.
    pub(super) fn of_thread() -> Self {
        Self(File::open("/proc/thread-self/schedstat").ok())
    }

    pub(super) fn total(&self) -> Duration {
        let mut bytes = [0; 96];
        let read = self.0.as_ref().and_then(|file| file.read_at(&mut bytes, 0).ok()).unwrap_or(0);
        let text = bytes.get(..read).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let field = text.and_then(|text| text.split(' ').nth(1)?.parse().ok());
        Duration::from_nanos(field.unwrap_or(0))
    }
}
