//! `make bench-open`: how long a test waits for a store with jobs, on disk and in memory, and until it is closed again.
//!
//! In turns, so that what the machine does meanwhile is in both.

use std::process::ExitCode;
use std::time::Instant;

use cairn_jobs::testkit::TestJobs;
use cairn_tests::bench::statistics::{median, quantile};

/// Stores of each kind that are opened.
const ROUNDS: usize = 200;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            report(&format!("cannot start threads: {error}"));
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        let mut took = [const { (Vec::new(), Vec::new()) }; 2];
        for round in 0..2 * ROUNDS {
            let began = Instant::now();
            let test = match round % 2 {
                0 => TestJobs::new(|_| {}).await,
                _ => TestJobs::in_memory(|_| {}).await,
            };
            let (opened, closed) = &mut took[round % 2];
            opened.push(began.elapsed().as_secs_f64() * 1000.0);
            let began = Instant::now();
            test.close().await;
            closed.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        for (place, (opened, closed)) in ["on disk", "in memory"].iter().zip(&took) {
            let of = |times: &[f64]| {
                let (p50, p99) =
                    (median(times).unwrap_or(0.0), quantile(times, 0.99).unwrap_or(0.0));
                format!("{p50:.2} ms (p99 {p99:.2})")
            };
            report(&format!("{place:<10} opened in {}, closed in {}", of(opened), of(closed)));
        }
    });
    ExitCode::SUCCESS
}

#[expect(clippy::print_stdout, reason = "its results")]
fn report(line: &str) {
    println!("{line}");
}
