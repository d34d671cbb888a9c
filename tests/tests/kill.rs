//! A real server is killed at random moments under a mixed load; what it acknowledged is there afterwards.

use std::str::FromStr;
use std::time::Duration;

use cairn_jobs::{Clock as _, SystemClock};
use cairn_tests::kill::kill_at_random;

/// The seed that every run of this test begins with.
const SEED: u64 = 20_260_101;

/// How long one of the two parts goes on.
const SECONDS: u64 = 20;

fn variable<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_work_survives_random_kills() {
    let limit = Duration::from_secs(variable("CAIRN_KILL_SECONDS").unwrap_or(SECONDS));
    let seeds = match variable("CAIRN_KILL_SEED") {
        Some(seed) => vec![seed],
        None => vec![SEED, SystemClock.now().raw()],
    };
    for seed in seeds {
        let report = kill_at_random(seed, limit, |line| eprintln!("{line}")).await;
        println!("{}", report.unwrap_or_else(|failure| panic!("{failure}")));
    }
}
