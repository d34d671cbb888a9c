//! Timelines: commands on the left of `->`, what the budget answers on the right. Sizes in MB
//! (10^6 bytes), times in milliseconds. The expected part was looked at, not copied blindly.

use std::fmt::Write as _;
use std::time::Duration;

use super::*;

const MB: u64 = 1_000_000;

/// Runs the commands of a timeline and writes the answers behind them.
fn run(timeline: &str) -> String {
    let mut budget = Budget::new(0);
    let mut out = String::new();
    for line in timeline.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with('#') {
            writeln!(out, "{line}").unwrap();
            continue;
        }
        let command = line.split("->").next().unwrap().trim();
        let words: Vec<&str> = command.split_whitespace().collect();
        let now = Duration::from_millis(words[0].parse().unwrap());
        let class = |name: &str| *Class::ALL.iter().find(|class| class.name() == name).unwrap();
        match words[1..] {
            ["rate", mb] => budget.set_rate(mb.parse::<u64>().unwrap() * MB, now),
            ["take", name, mb] => {
                let wait = budget.wait(class(name), now);
                if wait > Duration::ZERO {
                    writeln!(out, "{command} -> wait {} ms", wait.as_millis()).unwrap();
                    continue;
                }
                budget.charge(class(name), mb.parse::<u64>().unwrap() * MB, now);
            }
            ["reclaim", "first"] => budget.put_reclaim_first(true),
            ["reclaim", "fair"] => budget.put_reclaim_first(false),
            ["look"] => {
                budget.wait(Class::Ingest, now);
            }
            _ => panic!("unknown command: {command}"),
        }
        let debts: Vec<String> = Class::ALL
            .iter()
            .filter(|class| budget.debt(**class) > 0.0)
            .map(|class| format!("{} {:.1}", class.name(), budget.debt(*class) / MB as f64))
            .collect();
        let debts = if debts.is_empty() { "no debt".to_owned() } else { debts.join(", ") };
        writeln!(out, "{command} -> {debts}").unwrap();
    }
    out
}

/// Every line of the timeline must come back as it is.
fn check(timeline: &str) {
    let expect: String = timeline.lines().map(str::trim).filter(|line| !line.is_empty()).fold(
        String::new(),
        |mut all, line| {
            all.push_str(line);
            all.push('\n');
            all
        },
    );
    let got = run(timeline);
    assert!(got == expect, "expected:\n{expect}\ngot:\n{got}");
}

#[test]
fn golden_timelines() {
    check(
        "
        # Without a limit nobody waits and nothing is owed.
        0 take ingest 500 -> no debt
        1 take ingest 500 -> no debt
        # With one, a large piece is admitted at once, and the next waits until it is paid (but 50 ms).
        1000 rate 100 -> no debt
        1000 take ingest 128 -> ingest 128.0
        1000 take ingest 128 -> wait 1230 ms
        2000 take ingest 128 -> wait 230 ms
        2230 take ingest 128 -> ingest 133.0
        # A class does not wait for the debt of another, and both are paid evenly from then on.
        2230 take trash 8 -> ingest 133.0, trash 8.0
        2230 take trash 8 -> wait 60 ms
        2290 take trash 8 -> ingest 130.0, trash 13.0
        # What one does not need goes to the others: 13 to trash, the remaining 87 to ingest.
        3290 look -> ingest 43.0
        # An idle class saves nothing up.
        9000 look -> no debt
        9000 take backup 100 -> backup 100.0
        9000 take backup 1 -> wait 950 ms
        # A higher rate counts from now on; no limit forgives.
        9500 rate 1000 -> backup 50.0
        9500 take backup 1 -> backup 51.0
        9501 take backup 1 -> backup 51.0
        9510 rate 0 -> no debt
        9510 take backup 900 -> no debt
        # Debt is capped, so that a wrong size does not stop a class for hours.
        9600 rate 1 -> no debt
        9600 take sort 5000000 -> sort 1073.7
        # Time that goes back is no time.
        9000 look -> sort 1073.7
        9600 look -> sort 1073.7
        10600 look -> sort 1072.7
        # A disk that runs full lets reclaim through; the others wait as before.
        11000 rate 100 -> sort 1072.3
        11000 take trash 50 -> sort 1072.3, trash 50.0
        11000 take trash 8 -> wait 900 ms
        11000 reclaim first -> sort 1072.3, trash 50.0
        11000 take trash 8 -> sort 1072.3, trash 58.0
        11000 take sort 1 -> wait 21346 ms
        11000 reclaim fair -> sort 1072.3, trash 58.0
        11000 take trash 8 -> wait 1060 ms
        ",
    );
}

/// Takes pieces as fast as allowed for ten seconds; the bytes of each class.
fn simulate(rate: u64, pieces: &[(Class, u64)], oversleep: Duration) -> Vec<u64> {
    let mut budget = Budget::new(rate);
    let mut taken = vec![0; pieces.len()];
    let mut wake = vec![Duration::ZERO; pieces.len()];
    let end = Duration::from_secs(10);
    loop {
        let (at, &now) = wake.iter().enumerate().min_by_key(|(_, wake)| **wake).unwrap();
        if now >= end {
            return taken;
        }
        let (class, bytes) = pieces[at];
        let wait = budget.wait(class, now);
        if wait.is_zero() {
            budget.charge(class, bytes, now);
            taken[at] += bytes;
            wake[at] = now + Duration::from_micros(1);
        } else {
            wake[at] = now + wait.min(Duration::from_millis(50)) + oversleep;
        }
    }
}

#[test]
fn the_rate_is_met_by_small_pieces_and_late_wakers() {
    let taken = simulate(100 * MB, &[(Class::Ingest, 64_000)], Duration::from_millis(2));
    let ratio = taken[0] as f64 / 1000e6;
    assert!((0.99..1.02).contains(&ratio), "{ratio}");
}

#[test]
fn a_cleanup_gets_its_share_beside_a_greedy_import() {
    let pieces = [(Class::Ingest, 128 * MB), (Class::Ingest, 128 * MB), (Class::Trash, 8 * MB)];
    let taken = simulate(100 * MB, &pieces, Duration::from_millis(1));
    assert!(taken[2] >= 480 * MB, "reclaim got {} MB of 500", taken[2] / MB);
    let all: u64 = taken.iter().sum();
    assert!(all <= 1000 * MB + 2 * 128 * MB + 16 * MB, "all took {} MB", all / MB);
}

#[test]
fn what_trash_has_freed_without_asking_holds_an_import_up_for_a_moment_only() {
    let mut budget = Budget::new(10 * MB);
    let (mut now, mut taken) = (Duration::ZERO, 0);
    for tick in 0..200 {
        now = Duration::from_millis(tick * 50);
        // As the governor's thread does, for five seconds: freed at a rate of its own.
        if tick < 100 && tick % 2 == 0 {
            budget.charge(Class::Trash, 25 * MB, now);
        }
        while budget.wait(Class::Ingest, now).is_zero() {
            budget.charge(Class::Ingest, MB / 10, now);
            taken += MB / 10;
        }
    }
    // Half of the rate beside it and for two seconds more, all of it after that.
    let expected = (5 + 2) * 5 * MB + 3 * 10 * MB;
    let ratio = taken as f64 / expected as f64;
    assert!((0.95..1.1).contains(&ratio), "{} MB of {}", taken / MB, expected / MB);
    assert!(budget.debt(Class::Trash) <= 0.0, "{now:?}");
}
