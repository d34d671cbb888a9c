//! Notices: what a statement says while it still runs.
//!
//! A session has one [`Notices`] queue. Statements put notices in from any thread; whoever serves
//! the session takes them out, either all at once ([`Notices::take`]) or by waiting for the next
//! one ([`Notices::next`]) beside the running statement, so that the id of a job reaches the
//! client as soon as it exists. The queue is bounded: when nobody takes notices, the oldest go.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// How many notices wait at most.
const WAITING_MAX: usize = 256;

/// How serious a notice is; the words are PostgreSQL's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something worth knowing.
    Notice,
    /// Something that is probably not what the client meant.
    Warning,
}

impl Severity {
    /// `NOTICE` or `WARNING`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
        }
    }
}

/// A message that is not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How serious it is.
    pub severity: Severity,
    /// SQLSTATE: `00000` for a notice, the warning's own otherwise.
    pub code: &'static str,
    /// One line for people.
    pub message: String,
    /// More, if there is more.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Notice {
    /// A plain NOTICE.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Notice,
            code: "00000",
            message: message.into(),
            detail: None,
            hint: None,
        }
    }

    /// A WARNING with its SQLSTATE.
    #[must_use]
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, code, ..Self::new(message) }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

#[derive(Debug, Default)]
struct Queue {
    /// Guards the waiting notices only; held for a push or a pop.
    waiting: Mutex<VecDeque<Notice>>,
    arrived: Notify,
}

/// The notices of one session. Clones are the same queue.
#[derive(Debug, Clone, Default)]
pub struct Notices(Arc<Queue>);

impl Notices {
    /// Adds a notice; the oldest one goes if too many wait.
    pub fn send(&self, notice: Notice) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() == WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back(notice);
        drop(waiting);
        self.0.arrived.notify_one();
    }

    /// Takes everything that waits, oldest first.
    #[must_use]
    pub fn take(&self) -> Vec<Notice> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// Waits for a notice and takes it. Safe to drop while it waits. One caller at a time.
    pub async fn next(&self) -> Notice {
        loop {
            let front = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            if let Some(notice) = front {
                return notice;
            }
            self.0.arrived.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_notice_is_delivered_while_somebody_waits_for_it() {
        let notices = Notices::default();
        let waiting = notices.clone();
        let next = tokio::spawn(async move { waiting.next().await });
        notices.send(Notice::new("job 7 started"));
        assert_eq!(next.await.unwrap().message, "job 7 started");
        assert!(notices.take().is_empty());
    }

    #[test]
    fn the_oldest_notice_goes_when_nobody_takes_them() {
        let notices = Notices::default();
        for number in 0..=WAITING_MAX {
            notices.send(Notice::new(number.to_string()));
        }
        let taken = notices.take();
        assert_eq!((taken.len(), taken[0].message.as_str()), (WAITING_MAX, "1"));
    }
}
