//! A real server is killed at random moments under a mixed load, and its power is cut; what it acknowledged is there
//! afterwards.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "seeds and figures, for people")]
#![expect(clippy::panic, reason = "a suite fails by panicking")]

use std::str::FromStr;
use std::time::Duration;

use cairn_jobs::{Clock as _, SystemClock};
use cairn_tests::kill::{Death, kill_at_random};
use cairn_tests::{Disk, left_out};

/// The seed that every run of this suite begins with.
const SEED: u64 = 20_260_101;

/// How long one of the two parts of a test goes on: a seed that is always the same, and one that never is.
const SECONDS: u64 = 15;

fn variable<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

async fn survives(death: Death) {
    let limit = Duration::from_secs(variable("CAIRN_KILL_SECONDS").unwrap_or(SECONDS));
    let seeds = match variable("CAIRN_KILL_SEED") {
        Some(seed) => vec![seed],
        None => vec![SEED, SystemClock.now().raw()],
    };
    for seed in seeds {
        let report = kill_at_random(death, seed, limit, |line| eprintln!("{line}")).await;
        println!("{}", report.unwrap_or_else(|failure| panic!("{failure}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_work_survives_random_kills() {
    survives(Death::Kill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_work_survives_power_cuts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    if let Err(reason) = Disk::mount(folder.path()) {
        left_out("no power was cut", &reason);
        return;
    }
    survives(Death::PowerCut).await;
}
