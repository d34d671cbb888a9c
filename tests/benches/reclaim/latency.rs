//! Latencies of a window: percentiles of all of it, and their course over time.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::disk::Io;
use crate::waits::Waits;

/// Latencies are counted in tenths of a microsecond, with three digits.
const UNIT_NANOS: u128 = 100;
const UNITS_PER_MS: f64 = 10_000.0;
/// Moments are counted in tenths of a millisecond.
const DUES_PER_SECOND: f64 = 10_000.0;
const DIGITS: u8 = 3;
/// Two minutes; a histogram grows if it must.
const LONGEST_UNITS: u64 = 1_200_000_000;

/// An operation is in a calm moment if nothing was counted as taken by the host so long before it was due, because what was
/// late then may still be queued, and until so long after, because it is counted when the processor is back. That does not
/// depend on how long the operation took. Tenths of a millisecond.
const CALM_BEFORE: i64 = 2_500;
const CALM_AFTER: i64 = 1_500;

/// Lengths of the slots that a course is drawn from.
const MAX_SLOT_SECONDS: f64 = 0.02;
const P99_SLOT_SECONDS: f64 = 0.1;

/// One operation: when it was due in the window, and how long it took from then.
#[derive(Clone, Copy)]
struct Sample {
    /// Tenths of a millisecond.
    due: u32,
    /// Tenths of a microsecond.
    latency: u32,
    waits: Waits,
}

/// What one thread recorded.
pub(super) struct Track {
    histogram: Histogram<u64>,
    samples: Vec<Sample>,
    /// What the thread itself read and wrote in the window.
    pub(super) io: Io,
}

impl Track {
    /// With room for about so many samples: growing would stall the thread that measures.
    pub(super) fn with_capacity(samples: f64) -> Result<Self, String> {
        let samples = Vec::with_capacity((samples * 1.1) as usize + 1024);
        Ok(Self { histogram: histogram()?, samples, io: Io::default() })
    }

    pub(super) fn record(&mut self, due: Duration, latency: Duration, waits: Waits) {
        let units = u64::try_from(latency.as_nanos() / UNIT_NANOS).unwrap_or(u64::MAX);
        let recorded = self.histogram.record(units);
        debug_assert!(recorded.is_ok(), "a histogram that resizes takes every value");
        let due = u32::try_from(due.as_micros() / 100).unwrap_or(u32::MAX);
        let latency = u32::try_from(units).unwrap_or(u32::MAX);
        self.samples.push(Sample { due, latency, waits });
    }
}

fn histogram() -> Result<Histogram<u64>, String> {
    let mut histogram = Histogram::new_with_bounds(1, LONGEST_UNITS, DIGITS)
        .map_err(|error| format!("a histogram cannot be made: {error}"))?;
    histogram.auto(true);
    Ok(histogram)
}

/// What all threads of a window recorded.
#[derive(Default)]
pub(super) struct Recorded {
    histogram: Option<Histogram<u64>>,
    samples: Vec<Sample>,
    /// What the foreground itself read and wrote.
    pub(super) io: Io,
    /// The part of the processors' time that the machine's host gave to others.
    pub(super) stolen: f64,
    /// When it was found to have done so: tenths of a millisecond from the beginning of the window, in order.
    stolen_at: Vec<i64>,
    /// Until when that was looked at.
    looked_until: i64,
}

impl Recorded {
    pub(super) fn add(&mut self, track: Track) -> Result<(), String> {
        self.io = self.io.plus(track.io);
        self.samples.extend(track.samples);
        match &mut self.histogram {
            None => self.histogram = Some(track.histogram),
            Some(all) => all.add(&track.histogram).map_err(|error| error.to_string())?,
        }
        Ok(())
    }

    /// Notes when the host took something, in a window that began `warmup` after the moments count from.
    pub(super) fn note_stolen(&mut self, moments: &[Duration], until: Duration, warmup: Duration) {
        let tenths = |time: Duration| i64::try_from(time.as_micros() / 100).unwrap_or(i64::MAX);
        let in_window = |moment: Duration| tenths(moment) - tenths(warmup);
        self.stolen_at = moments.iter().copied().map(in_window).collect();
        self.looked_until = in_window(until);
    }

    /// The latencies of the operations in calm moments alone.
    pub(super) fn calm(&self) -> Latency {
        let is_calm = |sample: &&Sample| {
            let due = i64::from(sample.due);
            if due + CALM_AFTER > self.looked_until {
                return false;
            }
            let next = self.stolen_at.partition_point(|moment| *moment < due - CALM_BEFORE);
            self.stolen_at.get(next).is_none_or(|moment| *moment > due + CALM_AFTER)
        };
        percentiles(self.samples.iter().filter(is_calm).copied().collect())
    }

    /// The latencies of the operations that were due in these parts of the window: from, until.
    pub(super) fn within(&self, parts: &[(Duration, Duration)]) -> Latency {
        let tenths = |time: Duration| u32::try_from(time.as_micros() / 100).unwrap_or(u32::MAX);
        let place = |time| self.samples.partition_point(|sample| sample.due < tenths(time));
        let of_part = |(from, until): &(Duration, Duration)| {
            self.samples.get(place(*from)..place(*until)).unwrap_or_default()
        };
        percentiles(parts.iter().flat_map(of_part).copied().collect())
    }

    /// Puts the samples in the order in which they were due.
    pub(super) fn sort(&mut self) {
        self.samples.sort_unstable_by_key(|sample| sample.due);
    }

    pub(super) fn latency(&self) -> Latency {
        let Some(histogram) = &self.histogram else { return Latency::default() };
        let at = |part| histogram.value_at_quantile(part) as f64 / UNITS_PER_MS;
        Latency {
            operations: histogram.len(),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: histogram.max() as f64 / UNITS_PER_MS,
            slowest: percentiles(self.samples.clone()).slowest,
            stolen: self.stolen,
        }
    }

    pub(super) fn course(&self) -> Course {
        Course { max: self.slots(MAX_SLOT_SECONDS, 1.0), p99: self.slots(P99_SLOT_SECONDS, 0.99) }
    }

    /// For each slot with operations: its middle in seconds, and this quantile of its latencies in ms.
    fn slots(&self, seconds: f64, part: f64) -> Vec<(f64, f64)> {
        let slot_of = |sample: &Sample| (f64::from(sample.due) / DUES_PER_SECOND / seconds) as u64;
        let mut slots = Vec::new();
        for samples in self.samples.chunk_by(|one, next| slot_of(one) == slot_of(next)) {
            let mut latencies: Vec<u32> = samples.iter().map(|sample| sample.latency).collect();
            latencies.sort_unstable();
            let rank = (part * latencies.len() as f64).ceil() as usize;
            let latency = latencies.get(rank.max(1) - 1).copied().unwrap_or(0);
            let slot = samples.first().map_or(0, slot_of);
            slots.push(((slot as f64 + 0.5) * seconds, f64::from(latency) / UNITS_PER_MS));
        }
        slots
    }
}

/// Of some operations of a window; of its host nothing.
fn percentiles(mut samples: Vec<Sample>) -> Latency {
    samples.sort_unstable_by_key(|sample| sample.latency);
    let at = |part: f64| {
        let rank = (part * samples.len() as f64).ceil() as usize;
        samples.get(rank.max(1) - 1).map_or(0.0, |sample| f64::from(sample.latency) / UNITS_PER_MS)
    };
    let count = samples.len().div_ceil(100);
    let slowest = samples.iter().rev().take(count);
    let sum = slowest.fold(Waits::default(), |sum, sample| sum.plus(sample.waits));
    Latency {
        operations: samples.len() as u64,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        p999_ms: at(0.999),
        max_ms: at(1.0),
        slowest: sum.times(1.0 / count.max(1) as f32),
        stolen: 0.0,
    }
}

/// Percentiles of a window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latency {
    pub(super) operations: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) p999_ms: f64,
    pub(super) max_ms: f64,
    /// What one of the slowest hundredth waited for, their mean.
    pub(super) slowest: Waits,
    /// The part of the processors' time that the machine's host gave to others.
    pub(super) stolen: f64,
}

impl Latency {
    pub(super) fn to_json(self) -> Value {
        json!({
            "operations": self.operations,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
            "p99.9_ms": self.p999_ms,
            "max_ms": self.max_ms,
            "slowest_waited_for_ms": self.slowest.to_json(),
            "stolen": self.stolen,
        })
    }
}

/// Which number of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Percentile {
    P50,
    P99,
    P999,
    Max,
}

impl Percentile {
    pub(super) const ALL: [Self; 4] = [Self::P50, Self::P99, Self::P999, Self::Max];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::Max => "max",
        }
    }

    /// In milliseconds.
    pub(super) fn of(self, latency: &Latency) -> f64 {
        match self {
            Self::P50 => latency.p50_ms,
            Self::P99 => latency.p99_ms,
            Self::P999 => latency.p999_ms,
            Self::Max => latency.max_ms,
        }
    }
}

/// The course of a window: points of (seconds from its beginning, milliseconds).
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    /// The slowest operation of each 20 ms.
    pub(super) max: Vec<(f64, f64)>,
    /// The 99th percentile of each 100 ms.
    pub(super) p99: Vec<(f64, f64)>,
}
