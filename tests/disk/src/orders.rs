//! What a suite may order, one line each, and the answers: `ok`, `ok NUMBER`, or `no: REASON`.
//!
//! | order | effect |
//! |---|---|
//! | `sync` | everything is safe |
//! | `cut all`, `cut SEED` | the power goes: all that is not safe is lost, or some of it |
//! | `fail KINDS AFTER TIMES` | so many operations of these kinds (`read,write,sync,entry`) fail, after so many that do not |
//! | `short` | reads answer with half of what was asked for |
//! | `slow MS` | each operation takes so much longer |
//! | `well` | no faults any more; answers how many that were ordered have not happened |
//! | `free BYTES`, `roomy` | so much room is left; there is room again |
//! | `operations` | answers how many there were |

use std::time::Duration;

use crate::faults::{Faults, On};
use crate::image::Lose;
use crate::mount::Disk;

/// Does what a line says, and answers.
pub(crate) fn obey(disk: &Disk, line: &str) -> String {
    match order(disk, line) {
        Ok(None) => "ok".to_owned(),
        Ok(Some(number)) => format!("ok {number}"),
        Err(reason) => format!("no: {reason}"),
    }
}

fn order(disk: &Disk, line: &str) -> Result<Option<u64>, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["sync"] => disk.sync(),
        ["cut", "all"] => disk.cut(Lose::All),
        ["cut", seed] => disk.cut(Lose::Some(number(seed)?)),
        ["fail", kinds, after, times] => disk.set_faults(Faults {
            failing: kinds.split(',').map(kind).collect::<Result<_, _>>()?,
            after: number(after)?,
            times: number(times)?,
            ..Faults::default()
        }),
        ["short"] => disk.set_faults(Faults { short_reads: true, ..Faults::default() }),
        ["slow", ms] => {
            let slow = Duration::from_millis(number(ms)?);
            disk.set_faults(Faults { slow, ..Faults::default() });
        }
        ["well"] => {
            let left = disk.faults().times;
            disk.set_faults(Faults::default());
            return Ok(Some(left));
        }
        ["free", bytes] => disk.set_free(number(bytes)?),
        ["roomy"] => disk.set_roomy(),
        ["operations"] => return Ok(Some(disk.operations())),
        _ => return Err(format!("unknown order: {line}")),
    }
    Ok(None)
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("not a number: {word}"))
}

fn kind(word: &str) -> Result<On, String> {
    match word {
        "read" => Ok(On::Read),
        "write" => Ok(On::Write),
        "sync" => Ok(On::Sync),
        "entry" => Ok(On::Entry),
        _ => Err(format!("not a kind of operation: {word}")),
    }
}
