//! SQL on Cairn's jobs: statements, catalog, tables, and the kinds of job a SQL database has.
//!
//! Promises: what a user types does what CockroachDB's documentation says it does, or answers with
//! an SQLSTATE and a hint. No text makes a thread panic. Knows no sockets.

pub mod ast;
pub mod catalog;
mod database;
mod describe;
mod dialect;
mod doctor;
pub mod error;
mod execute;
mod functions;
mod import;
mod lex;
mod notice;
mod parse;
mod place;
mod prepare;
mod print;
mod query;
mod relations;
mod rewrite;
pub mod row;
mod session;
mod sources;
mod table;
pub mod value;
mod variables;
mod views;

#[cfg(test)]
mod statements_test;

pub use ast::{Parsed, Statement};
pub use database::{Database, DatabaseOptions};
pub use doctor::doctor;
pub use error::{Result, SqlError};
pub use import::{ImportArgs, ImportCheckpoint, ImportKind};
pub use notice::{Notice, Notices, Severity};
pub use parse::parse;
pub use prepare::Prepared;
pub use session::{Answer, CancelHandle, ResultColumn, Session};
pub use variables::SERVER_VERSION;
