//! A real server under a mixed load, killed at random moments, and compared with what it acknowledged.
//!
//! ```text
//! random   -> plan   -> load        connections that ask, and write down what they ask and hear
//!                         |
//!                      expected     what must and what may be, kept by this process alone
//!                         |
//! run: load, SIGKILL, power cut if asked for, start, verify, and again; now and then settle, stop, doctor
//! growth: load and orderly restarts for long, with samples of what must not grow
//! ```
//!
//! Promised and checked: a statement that was acknowledged is there, one under way is there wholly or not at all; a
//! job that was accepted ends; one that was cancelled, once that is acknowledged, never shows a row; an end
//! never changes; progress never goes back; ids are never used twice; what is not needed any more is given back.
//!
//! The death of a process keeps what the operating system has cached; a power cut does not, and needs a disk that
//! forgets ([`crate::Disk`]). With it only what was acknowledged must be there: progress is written and not synced.

mod expected;
mod fault;
mod growth;
mod journal;
mod lane;
mod load;
mod plan;
mod run;
mod source;
mod store;
mod verify;

pub use fault::Failure;
pub use growth::{GrowthReport, watch_growth};
pub use run::{Death, Report, kill_at_random};
