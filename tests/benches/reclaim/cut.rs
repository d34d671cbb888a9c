//! How long one step takes in which a dropped file is cut and synced: for so long a reader of the same disk may have to wait. (Of the small
//! steps in RocksDB's trash one in four is synced.)

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use cairn_tests::bench::statistics::median;
use serde_json::{Value, json};

use crate::arguments::Plan;
use crate::progress::Progress;

const MIB: u64 = 1 << 20;

/// Steps beside a foreground, and without one (`cairn_engine`'s `governor::Steps`), and what both were before.
const STEPS: [u64; 3] = [MIB, 16 * MIB, 8 * MIB];

/// What is cut: as long as a sorted file.
const FILE_BYTES: u64 = 64 * MIB;
const FILES: usize = 8;
const FILES_SMOKE: usize = 1;

/// Between two steps, so that each meets a disk that rests.
const REST: Duration = Duration::from_millis(5);

/// Milliseconds of a step, as medians: of 1 MiB, of 16 and of 8.
pub(super) struct Cut {
    pub(super) step_ms: [f64; STEPS.len()],
}

impl Cut {
    /// Measures it on files in `folder`, each synced before it is cut, and after each step.
    ///
    /// # Errors
    /// A file that cannot be written or cut.
    pub(super) fn measure(folder: &Path, plan: &Plan, progress: &Progress) -> Result<Self, String> {
        let files = if plan.smoke { FILES_SMOKE } else { FILES };
        progress.begin("cut", files * STEPS.len());
        progress.say("cutting files");
        let path = folder.join("cut");
        let mut took = [const { Vec::new() }; STEPS.len()];
        for _ in 0..files {
            for (step, took) in STEPS.into_iter().zip(&mut took) {
                cut(&path, step, took).map_err(|error| format!("{}: {error}", path.display()))?;
                progress.step();
            }
        }
        Ok(Self { step_ms: took.map(|took| median(&took).unwrap_or(0.0)) })
    }

    pub(super) fn to_json(&self) -> Value {
        let [short, long, before] = self.step_ms;
        json!({ "step_1_mib_ms": short, "step_16_mib_ms": long, "step_8_mib_ms": before })
    }
}

/// Writes a file, cuts it away, and notes how long each step took in milliseconds.
fn cut(path: &Path, step: u64, took: &mut Vec<f64>) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    let part = vec![0xa5; MIB as usize];
    for _ in 0..FILE_BYTES / MIB {
        file.write_all(&part)?;
    }
    file.sync_all()?;
    for left in (0..FILE_BYTES / step).rev() {
        std::thread::sleep(REST);
        let began = Instant::now();
        file.set_len(left * step)?;
        file.sync_data()?;
        took.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    std::fs::remove_file(path)
}
