//! What is measured of a running server, and when it counts as grown.

use std::fmt;
use std::time::Duration;

use crate::kill::store::Usage;

/// A figure, and how much of growth is none.
#[derive(Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    /// Grown if more than this many times of what it was, and
    factor: f64,
    /// by more than this.
    margin: f64,
}

impl Figure {
    const fn new(name: &'static str, factor: f64, margin: f64) -> Self {
        Self { name, factor, margin }
    }

    /// Shown, and not judged: the load decides it.
    const fn shown(name: &'static str) -> Self {
        Self::new(name, f64::INFINITY, f64::INFINITY)
    }
}

/// Every figure.
pub(super) const FIGURES: [Figure; 9] = [
    Figure::new("memory_mib", 1.25, 64.0),
    Figure::new("descriptors", 1.25, 32.0),
    Figure::new("files", 1.25, 32.0),
    Figure::new("manifest_kib", 1.5, 1024.0),
    Figure::new("tombstones", 1.5, 8.0),
    Figure::new("disk_mib", 1.5, 128.0),
    Figure::new("p50_ms", 1.5, 0.5),
    // Neighbours on the machine decide much of it.
    Figure::new("p99_ms", 3.0, 50.0),
    Figure::shown("statements_per_s"),
];

/// The figures at one moment.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Since the beginning.
    pub(super) at: Duration,
    /// `None` in the warm-up.
    pub(super) third: Option<usize>,
    /// Counts the starts of the server.
    pub(super) life: u32,
    /// Since its start.
    pub(super) age: Duration,
    /// In the order of [`FIGURES`].
    pub(super) values: [f64; FIGURES.len()],
}

/// The figures of now.
pub(super) fn values(
    pid: u32,
    usage: &Usage,
    tombstones: i64,
    latencies: &[Duration],
    statements_per_s: f64,
) -> [f64; FIGURES.len()] {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    let mut latencies: Vec<f64> = latencies.iter().map(|l| l.as_secs_f64() * 1e3).collect();
    latencies.sort_unstable_by(f64::total_cmp);
    [
        memory_kib(pid) / 1024.0,
        descriptors as f64,
        usage.files as f64,
        usage.manifest_bytes as f64 / 1024.0,
        tombstones as f64,
        usage.bytes as f64 / f64::from(1 << 20),
        percentile(&latencies, 0.5),
        percentile(&latencies, 0.99),
        statements_per_s,
    ]
}

/// What the process holds in memory; 0 if it is gone.
fn memory_kib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0.0)
}

/// Of sorted values; 0 if there are none.
pub(super) fn percentile(sorted: &[f64], part: f64) -> f64 {
    // In range by the clamp.
    let at = (sorted.len().saturating_sub(1) as f64 * part.clamp(0.0, 1.0)).round() as usize;
    sorted.get(at).copied().unwrap_or(0.0)
}

/// A figure then and later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comparison {
    figure: &'static Figure,
    first: f64,
    last: f64,
}

impl Comparison {
    pub(super) fn has_grown(&self) -> bool {
        let Self { figure, first, last } = self;
        *last > first * figure.factor && last - first > figure.margin
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { figure, first, last } = self;
        write!(f, "{:<17}{first:>12.2} -> {last:>12.2}", figure.name)?;
        if figure.factor.is_finite() {
            write!(f, "   bound: {}x and {} more", figure.factor, figure.margin)?;
        }
        if self.has_grown() { f.write_str("   GROWN") } else { Ok(()) }
    }
}

/// Medians of all figures, of two sets of samples.
pub(super) fn compare<'a>(
    first: impl Iterator<Item = &'a Sample>,
    last: impl Iterator<Item = &'a Sample>,
) -> Vec<Comparison> {
    let (first, last): (Vec<&Sample>, Vec<&Sample>) = (first.collect(), last.collect());
    let median = |of: &[&Sample], at: usize| {
        let mut values: Vec<f64> = of.iter().map(|sample| sample.values[at]).collect();
        values.sort_unstable_by(f64::total_cmp);
        percentile(&values, 0.5)
    };
    if first.is_empty() || last.is_empty() {
        return Vec::new();
    }
    let both = FIGURES.iter().enumerate().map(|(at, figure)| Comparison {
        figure,
        first: median(&first, at),
        last: median(&last, at),
    });
    both.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_grown_by_factor_and_margin_together() {
        let grown = |name: &str, first, last| {
            let figure = FIGURES.iter().find(|figure| figure.name == name).unwrap();
            Comparison { figure, first, last }.has_grown()
        };
        assert!(grown("memory_mib", 300.0, 400.0));
        assert!(!grown("memory_mib", 100.0, 160.0), "small");
        assert!(!grown("memory_mib", 1000.0, 1100.0), "in proportion small");
        assert!(!grown("tombstones", 0.0, 8.0));
        assert!(grown("tombstones", 0.0, 9.0));
        assert!(!grown("p99_ms", 10.0, 60.0) && grown("p99_ms", 10.0, 61.0));
        assert!(!grown("p99_ms", 40.0, 120.0) && grown("p99_ms", 40.0, 121.0));
        assert!(!grown("statements_per_s", 1.0, 1e9));
    }

    #[test]
    fn this_process_has_memory_and_descriptors() {
        let values =
            values(std::process::id(), &Usage::default(), 3, &[Duration::from_millis(2)], 1.0);
        assert!(values[0] > 1.0 && values[1] >= 3.0, "{values:?}");
        assert_eq!((values[4], values[6]), (3.0, 2.0));
    }
}
