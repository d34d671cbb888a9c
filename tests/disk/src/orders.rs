//! What a suite may order, one line each, and the answers: `ok`, `ok NUMBER`, or `no: REASON`.
//!
//! | order | effect |
//! |---|---|
//! | `sync` | everything is safe |
//! | `cut all`, `cut SEED` | the power goes: all that is not safe is lost, or some of it |
//! | `fail KINDS AFTER TIMES EFFECT` | so many operations of these kinds (`read,write,sync,entry`) meet a fault, after so many that do not: `error`, `full`, `short` (half of what was to be read or written), or `slow MS` |
//! | `well` | no faults any more; answers how many that were ordered have not happened |
//! | `free BYTES`, `roomy` | so much room is left; there is room again |
//! | `operations` | answers how many there were |

use std::time::Duration;

use crate::faults::{Effect, Faults, On};
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
        ["fail", kinds, after, times, ref how @ ..] => disk.set_faults(Faults {
            failing: kinds.split(',').map(kind).collect::<Result<_, _>>()?,
            after: number(after)?,
            times: number(times)?,
            effect: effect(how)?,
        }),
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

fn effect(words: &[&str]) -> Result<Effect, String> {
    match *words {
        ["error"] => Ok(Effect::Error),
        ["full"] => Ok(Effect::Full),
        ["short"] => Ok(Effect::Short),
        ["slow", ms] => Ok(Effect::Slow(Duration::from_millis(number(ms)?))),
        _ => Err(format!("not an effect: {}", words.join(" "))),
    }
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
