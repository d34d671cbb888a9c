//! What the black-box suites share: a real server process on a temporary store, and clients of it.
//!
//! The suites see public interfaces only: the binary, the wire, and the crates' exported items.
#![expect(clippy::panic, reason = "a suite fails by panicking; this crate is for suites only")]

pub mod bench;
mod client;
mod data;
mod disk;
pub mod kill;
pub mod model;
mod random;
mod script;
mod server;
pub mod session;
pub mod wire;

pub use client::{Client, Notices, Refused};
pub use data::{lineitems, write_file};
pub use disk::{Disk, Effect, Lose, left_out};
pub use random::Random;
pub use script::{ScriptConnection, run_script};
pub use server::Server;
