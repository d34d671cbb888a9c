//! The pure parts of the benchmarks: what is computed from measurements, apart from the measuring.
//!
//! They are here, and not beside `benches/`, so that `cargo test` runs their tests.

pub mod mount;
pub mod statistics;
pub mod verdict;
