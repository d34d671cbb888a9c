//! SQL on Cairn's jobs: statements, catalog, tables, and the kinds of job a SQL database has.
//!
//! Promises: what a user types does what CockroachDB's documentation says it does, or answers with
//! an SQLSTATE and a hint. No text makes a thread panic. Knows no sockets.
//!
//! Without the default feature `store` only what reads and writes texts and bytes is built:
//! statements, values, rows, CSV, and the records of the catalog. No RocksDB, no DataFusion.

pub mod ast;
pub mod csv;
pub mod descriptor;
mod dialect;
mod entry;
pub mod error;
mod lex;
mod parse;
mod print;
mod recode;
pub mod row;
mod sources;
pub mod value;

#[cfg(feature = "store")]
pub mod catalog;
#[cfg(feature = "store")]
mod database;
#[cfg(feature = "store")]
mod describe;
#[cfg(feature = "store")]
mod doctor;
#[cfg(feature = "store")]
mod execute;
#[cfg(feature = "store")]
mod functions;
#[cfg(feature = "store")]
mod import;
#[cfg(feature = "store")]
mod notice;
#[cfg(feature = "store")]
mod place;
#[cfg(feature = "store")]
mod prepare;
#[cfg(feature = "store")]
mod query;
#[cfg(feature = "store")]
mod relations;
#[cfg(feature = "store")]
mod rewrite;
#[cfg(feature = "store")]
mod session;
#[cfg(feature = "store")]
mod table;
#[cfg(test)]
mod tests;
#[cfg(feature = "store")]
mod variables;
#[cfg(feature = "store")]
mod views;

pub use ast::{Parsed, Statement};
pub use error::{Result, SqlError};
pub use parse::parse;
pub use recode::recode;

#[cfg(feature = "store")]
pub use database::{Database, DatabaseOptions};
#[cfg(feature = "store")]
pub use doctor::doctor;
#[cfg(feature = "store")]
pub use import::{ImportArgs, ImportCheckpoint, ImportKind};
#[cfg(feature = "store")]
pub use notice::{Notice, Notices, Severity};
#[cfg(feature = "store")]
pub use prepare::Prepared;
#[cfg(feature = "store")]
pub use session::{Answer, CancelHandle, ResultColumn, Session};
#[cfg(feature = "store")]
pub use variables::SERVER_VERSION;
