//! What it costs to measure the foreground: the engine times every read and write of rows.

use std::hint::black_box;
use std::num::NonZero;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use cairn_engine::{Foreground, Operation};
use cairn_tests::bench::statistics::median;
use serde_json::{Value, json};

use crate::arguments::Plan;
use crate::progress::Progress;

/// Operations of one repetition.
const OPERATIONS: u32 = 1_000_000;
const OPERATIONS_SMOKE: u32 = 50_000;

pub(super) const REPETITIONS: usize = 11;

/// Nanoseconds of one operation, as medians.
pub(super) struct Cost {
    /// Two looks at the clock, and one addition to a histogram: what an operation pays.
    pub(super) measured: f64,
    /// The two looks at the clock alone.
    pub(super) clock: f64,
    /// As `measured`, on as many threads as the foreground has.
    pub(super) beside_others: f64,
    pub(super) threads: usize,
}

impl Cost {
    /// Measures it. Without a store: no other work may disturb it.
    ///
    /// # Errors
    /// A thread that panicked.
    pub(super) fn measure(plan: &Plan, progress: &Progress) -> Result<Self, String> {
        progress.begin("cost", REPETITIONS);
        progress.say("measuring the measurement");
        let operations = if plan.smoke { OPERATIONS_SMOKE } else { OPERATIONS };
        let foreground = Foreground::default();
        let (mut measured, mut clock, mut beside) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..REPETITIONS {
            clock.push(each(operations, || {
                let began = black_box(Instant::now());
                black_box(began.elapsed());
            }));
            measured.push(each(operations, || time(&foreground)));
            let threads = std::thread::scope(|scope| {
                let run = || each(operations, || time(&foreground));
                let threads: Vec<_> = (0..plan.threads).map(|_| scope.spawn(run)).collect();
                let joined = threads.into_iter().map(ScopedJoinHandle::join);
                joined.collect::<Result<Vec<_>, _>>()
            });
            let threads = threads.map_err(|_| "a thread panicked".to_owned())?;
            // More threads than processors share them: what counts is the time of a processor.
            let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
            let share = processors.min(plan.threads) as f64 / plan.threads as f64;
            beside.extend(threads.into_iter().map(|nanos| nanos * share));
            progress.step();
        }
        let middle = |values: &[f64]| median(values).unwrap_or(0.0);
        Ok(Self {
            measured: middle(&measured),
            clock: middle(&clock),
            beside_others: middle(&beside),
            threads: plan.threads,
        })
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "measured_ns": self.measured,
            "clock_ns": self.clock,
            "measured_beside_others_ns": self.beside_others,
            "threads": self.threads,
        })
    }
}

/// What the engine does around an operation. `record` looks at the clock once by itself, as the beginning of
/// an operation does; the other look is ours.
fn time(foreground: &Foreground) {
    black_box(Instant::now());
    foreground.record(Operation::Read, black_box(Duration::from_micros(50)));
}

/// Nanoseconds of one call.
fn each(operations: u32, mut call: impl FnMut()) -> f64 {
    let began = Instant::now();
    for _ in 0..operations {
        call();
    }
    began.elapsed().as_nanos() as f64 / f64::from(operations)
}
