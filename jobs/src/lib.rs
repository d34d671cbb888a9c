//! Durable jobs on `cairn-engine`: checkpoints, pause, resume, and a cancel that leaves nothing behind.
//!
//! Promises: every accepted job ends in exactly one terminal state; a job that did not succeed leaves
//! nothing behind; a restart loses at most the work since the last checkpoint. This crate knows no
//! table and no SQL.
//!
//! A [`JobKind`] says what to do, with a [`Context`] as its only way to the store. [`Jobs`] runs jobs,
//! and answers for them.
//!
//! ```
//! use cairn_engine::{Engine, Options};
//! use cairn_jobs::{Context, JobKind, Jobs, JobsOptions, NewJob, Result, State};
//!
//! #[derive(Clone, PartialEq, prost::Message)]
//! struct Greeting {
//!     #[prost(string, tag = "1")]
//!     name: String,
//! }
//!
//! struct Greet;
//!
//! impl JobKind for Greet {
//!     const NAME: &'static str = "GREET";
//!     type Args = Greeting;
//!     type Checkpoint = ();
//!
//!     async fn run(&self, cx: Context<Self>) -> Result<()> {
//!         cx.progress(|p| p.message = format!("hello, {}", cx.args().name));
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let engine = Engine::open(Options::small(folder.path()))?;
//! let jobs = Jobs::open(&engine, JobsOptions::default())?;
//! jobs.register(Greet);
//! jobs.start()?;
//! let new = NewJob::new(Greeting { name: "world".to_owned() }, "greet the world");
//! let id = jobs.submit::<Greet>(new).await?;
//! let job = jobs.wait(id).await?;
//! assert_eq!(job.state, State::Succeeded);
//! assert_eq!(job.message, "hello, world");
//! jobs.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod adopt;
mod attempt;
mod cancel;
mod clock;
mod context;
mod control;
mod doctor;
mod edge;
pub mod error;
mod history;
mod id;
mod job;
mod kind;
mod list;
mod metrics;
mod migrate;
mod ownership;
mod progress;
mod record;
mod registry;
mod retention;
mod retry;
mod revert;
mod settings;
mod slots;
pub mod state;
mod stop;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod watch;
mod worker;

#[cfg(test)]
mod tests;

pub use clock::{Clock, Sleep, SystemClock, UnixMillis};
pub use context::{Context, Publisher, RecoveredSpan, ThreadContext, UndoContext};
pub use control::{CancelOutcome, ControlOptions, PauseOutcome, ResumeOutcome};
pub use doctor::doctor;
pub use edge::CRASH_POINTS;
pub use error::{Failure, JobError, Result, Stop};
pub use history::{ENTRIES_MAX, HistoryEntry};
pub use id::JobId;
pub use kind::{JobKind, NewJob, Policy};
pub use list::JobView;
pub use progress::Progress;
pub use registry::{Jobs, JobsOptions, Submission};
pub use settings::{Setting, SettingType, Settings, ShownSetting, Value};
pub use state::{Cause, State};
pub use watch::JobEvent;

/// The examples of the README are compiled and run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
