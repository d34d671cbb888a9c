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
//!
//! Without the default feature `store` only records and values of settings can be read and written: no
//! RocksDB.

#![cfg_attr(
    not(feature = "store"),
    allow(dead_code, reason = "what is read and written there, nobody acts on")
)]

mod clock;
pub mod error;
mod history;
mod id;
mod progress;
mod record;
mod settings;
pub mod state;

#[cfg(feature = "store")]
mod adopt;
#[cfg(feature = "store")]
mod attempt;
#[cfg(feature = "store")]
mod cancel;
#[cfg(feature = "store")]
mod context;
#[cfg(feature = "store")]
mod control;
#[cfg(feature = "store")]
mod doctor;
#[cfg(feature = "store")]
mod edge;
#[cfg(feature = "store")]
mod job;
#[cfg(feature = "store")]
mod kind;
#[cfg(feature = "store")]
mod list;
#[cfg(feature = "store")]
mod metrics;
#[cfg(feature = "store")]
mod migrate;
#[cfg(feature = "store")]
mod ownership;
#[cfg(feature = "store")]
mod registry;
#[cfg(feature = "store")]
mod retention;
#[cfg(feature = "store")]
mod retry;
#[cfg(feature = "store")]
mod revert;
#[cfg(feature = "store")]
mod slots;
#[cfg(feature = "store")]
mod stop;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
#[cfg(test)]
mod tests;
#[cfg(feature = "store")]
mod watch;
#[cfg(feature = "store")]
mod worker;

pub use clock::{Clock, Sleep, SystemClock, UnixMillis};
pub use error::{Failure, JobError, Result, Stop};
pub use history::{ENTRIES_MAX, HistoryEntry};
pub use id::JobId;
pub use progress::Progress;
pub use record::recode;
pub use settings::{Setting, SettingType, ShownSetting, Value};
pub use state::{Cause, State};

#[cfg(feature = "store")]
pub use context::{Context, Publisher, RecoveredSpan, ThreadContext, UndoContext};
#[cfg(feature = "store")]
pub use control::{CancelOutcome, ControlOptions, PauseOutcome, ResumeOutcome};
#[cfg(feature = "store")]
pub use doctor::doctor;
#[cfg(feature = "store")]
pub use edge::CRASH_POINTS;
#[cfg(feature = "store")]
pub use kind::{JobKind, NewJob, Policy};
#[cfg(feature = "store")]
pub use list::JobView;
#[cfg(feature = "store")]
pub use registry::{Jobs, JobsOptions, Submission};
#[cfg(feature = "store")]
pub use settings::Settings;
#[cfg(feature = "store")]
pub use watch::JobEvent;

/// The examples of the README are compiled and run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
