//! What the demo found: lines to read, and checks that decide its exit status.
//!
//! Counts, files, bytes and checksums are checked. Times are printed and never checked, except that something which
//! takes longer than its hang limit counts as hanging.

use super::load::{Latency, Summary};
use crate::terminal::count;
use std::time::Duration;

/// Width of the labels.
const LABEL_WIDTH: usize = 44;

/// Collects checks while it prints.
pub(super) struct Report {
    /// Where lines go.
    say: fn(&str),
    checks: usize,
    failed: Vec<String>,
}

impl Report {
    /// A report that prints its lines with `say`.
    pub(super) fn new(say: fn(&str)) -> Report {
        Report { say, checks: 0, failed: Vec::new() }
    }

    /// Begins a step.
    pub(super) fn step(&self, number: usize, what: &str) {
        (self.say)(&format!("\n{number}. {what}"));
    }

    /// A fact without a check.
    pub(super) fn fact(&self, label: &str, value: &str) {
        (self.say)(&line(" ", label, value));
    }

    /// A fact that must hold.
    pub(super) fn check(&mut self, label: &str, holds: bool, value: &str) {
        self.checks += 1;
        let mark = if holds { "✓" } else { "✗" };
        (self.say)(&line(mark, label, value));
        if !holds {
            self.failed.push(format!("{label}: {value}"));
        }
    }

    /// A count that must be what it is expected to be.
    pub(super) fn equal(&mut self, label: &str, found: &str, expected: &str) {
        if found == expected {
            self.check(label, true, found);
        } else {
            self.check(label, false, &format!("{found}, expected {expected}"));
        }
    }

    /// A time that is only checked against its hang limit.
    pub(super) fn time(&mut self, label: &str, took: Option<Duration>, hang: Duration) {
        match took {
            Some(took) => self.check(label, took <= hang, &duration(took)),
            None => self.check(label, false, &format!("not within {}", duration(hang))),
        }
    }

    /// Latencies of the foreground, one line per phase.
    pub(super) fn latencies(&self, phases: [(&str, Latency); 3]) {
        self.fact(
            "foreground latency from the due time",
            "      p50        p99        max   operations",
        );
        for (name, latency) in phases {
            let value = format!(
                "{:>9}  {:>9}  {:>9}  {:>11}",
                duration(latency.p50),
                duration(latency.p99),
                duration(latency.max),
                count(latency.operations)
            );
            self.fact(&format!("  {name}"), &value);
        }
    }

    /// The load itself must not have failed.
    pub(super) fn load(&mut self, summary: &Summary) {
        let reason = summary.first_failure.as_deref().unwrap_or("none");
        let value = if summary.failures == 0 {
            "0".to_owned()
        } else {
            format!("{}, first: {reason}", summary.failures)
        };
        self.check("foreground operations that failed", summary.failures == 0, &value);
    }

    /// The last lines; true when every check held.
    pub(super) fn finish(self, took: Duration) -> bool {
        (self.say)("");
        if self.failed.is_empty() {
            (self.say)(&format!(
                "All {} checks hold. The demo took {}.",
                self.checks,
                duration(took)
            ));
            return true;
        }
        (self.say)(&format!("{} of {} checks FAILED:", self.failed.len(), self.checks));
        for failed in &self.failed {
            (self.say)(&format!("  ✗ {failed}"));
        }
        false
    }
}

fn line(mark: &str, label: &str, value: &str) -> String {
    let gap = " ".repeat(LABEL_WIDTH.saturating_sub(label.chars().count()));
    format!("   {mark} {label}{gap} {value}").trim_end().to_owned()
}

/// A time for people: `12.3 s`, `45 ms`, `1.2 ms`, `0.03 ms`.
pub(super) fn duration(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1000.0;
    if millis < 1.0 {
        format!("{millis:.2} ms")
    } else if millis < 10.0 {
        format!("{millis:.1} ms")
    } else if millis < 1000.0 {
        format!("{millis:.0} ms")
    } else {
        format!("{:.1} s", millis / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_check_fails_the_report() {
        let mut report = Report::new(|_| ());
        report.equal("rows", "3", "3");
        report.time("canceled after", Some(Duration::from_secs(1)), Duration::from_secs(5));
        report.time("disk back after", None, Duration::from_secs(30));
        assert_eq!(report.failed, ["disk back after: not within 30.0 s"]);
        assert!(!report.finish(Duration::ZERO));
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(duration(Duration::from_micros(34)), "0.03 ms");
        assert_eq!(duration(Duration::from_micros(1234)), "1.2 ms");
        assert_eq!(duration(Duration::from_millis(45)), "45 ms");
        assert_eq!(duration(Duration::from_millis(12_340)), "12.3 s");
    }
}
