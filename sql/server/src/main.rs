//! `cairn`: the database, and the commands that talk to it.
//!
//! Each command is a file: [`start`] serves a store, [`sql`] and [`jobs`] are clients, [`doctor`] looks at a store
//! that no server holds, [`demo`] shows all of it on real data. The commands decide nothing about jobs or tables;
//! that is `cairn-sql`'s.

mod client;
mod demo;
mod doctor;
mod jobs;
mod metrics;
mod sql;
mod start;
mod table;
mod terminal;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// glibc's keeps what a burst left, in an arena of each thread, so that memory grows where what is in use does not; see the
/// last aim in `docs/benchmarks.md`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Deep queries recurse; tokio's 2 MiB of stack are too few for them.
const STACK_BYTES: usize = 8 << 20;

/// A database whose jobs can be cancelled: at once, with nothing left, and with their disk space given back.
#[derive(Parser)]
#[command(name = "cairn", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Open a store and serve it until SIGTERM or Ctrl-C.
    Start(start::Start),
    /// Run SQL: the statements given with -e, or those read from standard input.
    Sql(sql::Sql),
    /// Look at jobs and control them.
    Jobs(jobs::Jobs),
    /// Check a store that no server has open. Changes nothing.
    Doctor(doctor::Doctor),
    /// Import real data, cancel the import in the middle, and measure what is left.
    Demo(demo::Demo),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal::complain(&format!("cairn: cannot start threads: {error}"));
            return ExitCode::from(2);
        }
    };
    let code = runtime.block_on(async {
        match arguments.command {
            Command::Start(start) => start.run().await,
            Command::Sql(sql) => sql.run().await,
            Command::Jobs(jobs) => jobs.run().await,
            Command::Doctor(doctor) => doctor.run().await,
            Command::Demo(demo) => demo.run().await,
        }
    });
    // Whatever still waits (a client that reads nothing, a second Ctrl-C) does not keep the process.
    runtime.shutdown_background();
    code
}
