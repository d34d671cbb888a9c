//! A disk that forgets what was not synced, and fails when it is told to: for whole processes.
//!
//! ```text
//! process on the disk -> kernel -> mount.rs   FUSE: takes requests apart, asks the faults, asks the image
//!                                   faults.rs  which operation fails, and how
//!                                   image.rs   pure: files and folders as they are, and as a power cut leaves them
//! suite -> standard input -> orders.rs          cut, fail, fill; answered on standard output, a line each
//! ```
//!
//! The image is in this process' memory. What it promises is what POSIX does and no more: data is safe once its file
//! was synced, an entry of a folder once that folder was. A cut leaves the safe part; or, at random, some of the rest
//! as well, in sectors, whatever their order: writes are torn, and files have holes.
//!
//! `forgetful-disk FOLDER` mounts an empty disk, says `ready`, and obeys until standard input ends. FUSE needs
//! `/dev/fuse` and the right to mount; where they are missing, the first line says why, and the exit status is 1.

mod faults;
mod image;
mod mount;
mod orders;

use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use mount::Disk;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(folder), None) = (arguments.next(), arguments.next()) else {
        say("usage: forgetful-disk FOLDER");
        return ExitCode::from(2);
    };
    let disk = match Disk::mount(Path::new(&folder)) {
        Ok(disk) => disk,
        Err(error) => {
            say(&error);
            return ExitCode::FAILURE;
        }
    };
    say("ready");
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        say(&orders::obey(&disk, &line));
    }
    ExitCode::SUCCESS
}

/// A line for whoever gives the orders. If nobody listens any more, standard input ends soon.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
