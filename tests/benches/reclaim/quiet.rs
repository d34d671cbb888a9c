//! Cleanup while nobody works on the store: how long the disk takes to come back against deleting as fast as
//! one can, and what the cleanup itself writes.

use std::time::{Duration, Instant};

use cairn_tests::bench::statistics::{Interval, bootstrap_median, median};
use serde_json::{Value, json};

use crate::arguments::{MB, Plan};
use crate::disk::Io;
use crate::pairs::Stores;
use crate::progress::Progress;
use crate::strategy::Strategy;

/// How often the doomed files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Longer than this is hanging.
const BACK_MAX: Duration = Duration::from_secs(600);

/// One undo.
#[derive(Clone, Copy)]
struct Trial {
    strategy: Strategy,
    bytes: u64,
    back_seconds: f64,
    /// From the undo until its own calls had returned and the disk was back.
    io: Io,
}

/// Trials of one size.
pub(super) struct Quiet {
    pub(super) size_mb: u64,
    trials: Vec<Trial>,
    seed: u64,
}

impl Quiet {
    /// Runs the trials of one size, unpaced and paced in turn.
    ///
    /// # Errors
    /// A storage error, or a disk that does not come back.
    pub(super) fn measure(
        stores: &Stores,
        plan: &Plan,
        size_mb: u64,
        progress: &Progress,
    ) -> Result<Self, String> {
        progress.begin(&format!("quiet {size_mb} MB"), plan.trials * 2);
        let mut trials = Vec::new();
        for number in 0..plan.trials {
            for strategy in [Strategy::DeleteFiles, Strategy::CairnFiles] {
                progress.say(strategy.name());
                let seed = plan.seed.wrapping_add((number as u64) << 40);
                trials.push(trial(stores, plan, strategy, size_mb * MB / 2, seed)?);
                progress.step();
            }
        }
        Ok(Self { size_mb, trials, seed: plan.seed })
    }

    fn of(&self, strategy: Strategy) -> impl Iterator<Item = &Trial> {
        self.trials.iter().filter(move |trial| trial.strategy == strategy)
    }

    /// Trials of each kind.
    pub(super) fn count(&self) -> usize {
        self.of(Strategy::CairnFiles).count()
    }

    /// The median time until the disk was back, in seconds.
    pub(super) fn back_seconds(&self, strategy: Strategy) -> Option<f64> {
        median(&self.of(strategy).map(|trial| trial.back_seconds).collect::<Vec<_>>())
    }

    /// The time until the disk was back, Cairn over unpaced, trial by trial.
    pub(super) fn back_ratio(&self) -> Option<Interval> {
        let pairs = self.of(Strategy::CairnFiles).zip(self.of(Strategy::DeleteFiles));
        let ratios = pairs.map(|(ours, plain)| ours.back_seconds / plain.back_seconds.max(1e-6));
        bootstrap_median(&ratios.collect::<Vec<_>>(), self.seed)
    }

    /// Bytes that Cairn's cleanup wrote for each byte it gave back.
    pub(super) fn written_part(&self) -> Option<f64> {
        let parts = self.of(Strategy::CairnFiles);
        let parts = parts.map(|trial| trial.io.written as f64 / trial.bytes.max(1) as f64);
        median(&parts.collect::<Vec<_>>())
    }

    pub(super) fn to_json(&self) -> Value {
        let trials = self.trials.iter().map(|trial| {
            json!({
                "strategy": trial.strategy.name(),
                "bytes": trial.bytes,
                "disk_back_seconds": trial.back_seconds,
                "written_bytes": trial.io.written,
                "read_bytes": trial.io.read,
            })
        });
        json!({ "size_mb": self.size_mb, "trials": trials.collect::<Vec<_>>() })
    }
}

fn trial(
    stores: &Stores,
    plan: &Plan,
    strategy: Strategy,
    bytes: u64,
    seed: u64,
) -> Result<Trial, String> {
    let store = stores.of(strategy);
    let doomed = strategy.prepare(store, bytes, seed)?;
    // Also writes out what is dirty, or the cleanup would be charged for it.
    store.settle(plan.quiet)?;
    let before = Io::of_process();
    let began = Instant::now();
    let back = std::thread::scope(|scope| {
        let undoing = scope.spawn(|| strategy.undo(store, &doomed, &|| ()));
        while !strategy.is_back(&doomed, undoing.is_finished()) {
            if began.elapsed() > BACK_MAX {
                return Err(format!("{}: the disk does not come back", strategy.name()));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let back = began.elapsed();
        undoing.join().map_err(|_| "the undo panicked".to_owned())??;
        Ok(back)
    })?;
    let io = Io::of_process().since(before);
    strategy.tidy(store, &doomed)?;
    let (bytes, back_seconds) = (doomed.bytes, back.as_secs_f64());
    Ok(Trial { strategy, bytes, back_seconds, io })
}
