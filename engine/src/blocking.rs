//! The border between async code and RocksDB, which blocks.
//!
//! [`run`] is the only place that moves work to tokio's blocking threads; everybody else goes through
//! it (clippy's `disallowed-methods` says so). It carries the tracing span over, measures how long the
//! work waited for a thread and how long it ran, and turns a panic into an error. Nothing borrowed
//! from RocksDB leaves the closure.
//!
//! A job's own work ([`Op::Job`]) gets a thread of its own, for two reasons: it may run for hours, and
//! its thread has a lower priority, which a thread that later serves the foreground must not have. On a
//! machine with few processors, what a job computes hurts the foreground more than what it writes.
//!
//! Tests that want the same order of events each time let all of it happen on the thread that asks: `Inline`, a part of the
//! test kit.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use tokio::sync::oneshot;

pub use crate::error::Panicked;

/// A kind of blocking work: the label of its metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Opening a store.
    Open,
    /// A batch.
    Commit,
    /// Look-ups by key.
    Read,
    /// A piece of a scan.
    Scan,
    /// A statement that changes rows.
    Write,
    /// Claims and their staging folders.
    Claim,
    /// Staging and ingesting files.
    Ingest,
    /// A job's own thread: background work.
    Job,
    /// Changes of a job's state.
    Control,
    /// Descriptors, users, settings.
    Catalog,
    /// Files outside of the store.
    Files,
    /// Checks of the doctor.
    Doctor,
    /// Closing a store.
    Shutdown,
}

impl Op {
    /// The name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Commit => "commit",
            Self::Read => "read",
            Self::Scan => "scan",
            Self::Write => "write",
            Self::Claim => "claim",
            Self::Ingest => "ingest",
            Self::Job => "job",
            Self::Control => "control",
            Self::Catalog => "catalog",
            Self::Files => "files",
            Self::Doctor => "doctor",
            Self::Shutdown => "shutdown",
        }
    }
}

/// Runs `work` on a thread that may block. Dropping the future does not stop the work.
///
/// # Errors
/// [`Panicked`] if the work panicked, or if the runtime was shut down before the work began. Locks that
/// it held are poisoned; what it wrote stays.
///
/// # Panics
/// Outside of a tokio runtime.
pub async fn run<T: Send + 'static>(
    op: Op,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    let span = tracing::Span::current();
    let asked = Instant::now();
    let work = move || {
        let began = Instant::now();
        metrics::histogram!(crate::metrics::BLOCKING_WAIT_SECONDS, "op" => op.name())
            .record(began.duration_since(asked).as_secs_f64());
        let answer = span.in_scope(work);
        metrics::histogram!(crate::metrics::BLOCKING_RUN_SECONDS, "op" => op.name())
            .record(began.elapsed().as_secs_f64());
        answer
    };
    let answer = match op {
        _ if is_inline() => {
            catch_unwind(AssertUnwindSafe(work)).map_err(|panic| panic_text(&*panic))
        }
        Op::Job => in_background(work).await,
        _ => on_pool(work).await,
    };
    answer.map_err(|message| {
        tracing::error!(op = op.name(), message, "blocking work did not end");
        metrics::counter!(crate::metrics::BLOCKING_PANICS_TOTAL, "op" => op.name()).increment(1);
        Panicked { op: op.name(), message }
    })
}

/// On one of tokio's threads; the text of a panic as an error.
#[expect(clippy::disallowed_methods, reason = "this is the one border between async and blocking")]
async fn on_pool<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| match error.try_into_panic() {
        Ok(payload) => panic_text(&*payload),
        Err(_) => "the runtime was shut down before the work began".to_owned(),
    })
}

/// On a thread of its own with a low priority, whose operations are not counted as foreground.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (sender, receiver) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let thread = std::thread::Builder::new().name("cairn-job".to_owned()).spawn(move || {
        crate::ffi::lower_thread_priority();
        crate::latency::mark_background();
        let _inside = runtime.enter();
        let answer = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| panic_text(&*panic));
        // Nobody waits any more: then nobody wants the answer.
        let _ = sender.send(answer);
    });
    match thread {
        Ok(_) => receiver.await.unwrap_or_else(|_| Err("the thread ended early".to_owned())),
        Err(error) => Err(format!("cannot start a thread: {error}")),
    }
}

#[cfg(any(test, feature = "testkit"))]
thread_local! {
    /// How many [`Inline`] there are of this thread.
    static INLINE: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(any(test, feature = "testkit"))]
fn is_inline() -> bool {
    INLINE.get() > 0
}

#[cfg(not(any(test, feature = "testkit")))]
const fn is_inline() -> bool {
    false
}

/// While it lives, blocking work that is asked for on its thread is done there and then. With a runtime of that thread alone
/// nothing happens at the same time as something else.
#[cfg(any(test, feature = "testkit"))]
#[derive(Debug)]
pub struct Inline(std::thread::ThreadId);

#[cfg(any(test, feature = "testkit"))]
impl Inline {
    /// Of the current thread.
    #[must_use]
    pub fn here() -> Self {
        INLINE.set(INLINE.get() + 1);
        Self(std::thread::current().id())
    }
}

#[cfg(any(test, feature = "testkit"))]
impl Drop for Inline {
    /// One that has got to another thread cannot take it back.
    fn drop(&mut self) {
        if std::thread::current().id() == self.0 {
            INLINE.set(INLINE.get().saturating_sub(1));
        }
    }
}

/// The text of a panic, as far as it has one.
#[must_use]
pub fn panic_text(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_answer_comes_back() {
        assert_eq!(run(Op::Read, || 6 * 7).await, Ok(42));
    }

    #[tokio::test]
    async fn a_panic_becomes_an_error_that_names_the_work() {
        let number = 7;
        let error = run(Op::Commit, move || {
            assert!(number == 8, "seven is {number}");
        })
        .await
        .unwrap_err();
        assert_eq!(error.to_string(), "panicked during commit: seven is 7");
    }

    #[tokio::test]
    async fn a_job_has_a_thread_of_its_own_and_its_panic_is_an_error_too() {
        let name = run(Op::Job, || std::thread::current().name().map(str::to_owned)).await;
        assert_eq!(name.unwrap().as_deref(), Some("cairn-job"));
        let error = run(Op::Job, || panic!("on purpose")).await.unwrap_err();
        assert_eq!(error.to_string(), "panicked during job: on purpose");
        let inside = run(Op::Job, || tokio::runtime::Handle::try_current().is_ok()).await;
        assert_eq!(inside, Ok(true), "the runtime is still at hand");
    }

    #[tokio::test]
    async fn inline_work_is_done_on_the_thread_that_asks_until_nobody_wants_that() {
        let here = std::thread::current().id();
        let inline = [Inline::here(), Inline::here()];
        for op in [Op::Read, Op::Job] {
            assert_eq!(run(op, || std::thread::current().id()).await, Ok(here));
        }
        let error = run(Op::Commit, || panic!("on purpose")).await.unwrap_err();
        assert_eq!(error.to_string(), "panicked during commit: on purpose");
        let [first, second] = inline;
        drop(first);
        assert_eq!(run(Op::Read, || std::thread::current().id()).await, Ok(here));
        drop(second);
        assert_ne!(run(Op::Read, || std::thread::current().id()).await, Ok(here));
    }
}
