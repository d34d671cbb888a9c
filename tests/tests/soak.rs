//! The long runs: random kills or power cuts for hours, or full load with a look at what grows.
//!
//! `soak [kill|power|growth] [--seconds N] [--seed S] [--out FILE]`. Without arguments a smoke of the growth run, short enough
//! for `make test`; whatever else a test runner adds is passed over.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cairn_jobs::{Clock as _, SystemClock};
use cairn_tests::kill::{Death, kill_at_random, watch_growth};

/// Seconds of the smoke.
const SMOKE: u64 = 10;

struct Arguments {
    death: Option<Death>,
    limit: Duration,
    seed: u64,
    out: Option<PathBuf>,
}

impl Arguments {
    fn read(arguments: &[String]) -> Self {
        let after = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1)
        };
        let number = |name: &str| after(name).and_then(|text| text.parse().ok());
        let variable = |name: &str| std::env::var(name).ok()?.parse().ok();
        let seconds = number("--seconds").or(variable("CAIRN_KILL_SECONDS")).unwrap_or(SMOKE);
        let seed = number("--seed").or(variable("CAIRN_KILL_SEED"));
        Self {
            death: [Death::Kill, Death::PowerCut]
                .into_iter()
                .find(|death| arguments.iter().any(|argument| argument == death.name())),
            limit: Duration::from_secs(seconds),
            seed: seed.unwrap_or_else(|| SystemClock.now().raw()),
            out: after("--out").map(PathBuf::from),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let Arguments { death, limit, seed, out } = Arguments::read(&arguments);
    if let Some(death) = death {
        return match kill_at_random(death, seed, limit, |line| println!("{line}")).await {
            Ok(report) => {
                println!("{report}");
                ExitCode::SUCCESS
            }
            Err(failure) => {
                println!("{failure}");
                ExitCode::FAILURE
            }
        };
    }
    println!("growth, seed {seed}, {} s", limit.as_secs());
    match watch_growth(seed, limit, out.as_deref()).await {
        Ok(report) => {
            println!("{report}");
            let grown = report.grown();
            grown.iter().for_each(|line| println!("GROWN: {line}"));
            if grown.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}
