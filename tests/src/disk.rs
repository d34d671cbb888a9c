//! A disk that forgets what was not synced, and fails when it is told to.
//!
//! The program `forgetful-disk` (`tests/disk`, a workspace of its own) mounts it by FUSE and takes orders from here.

use std::fmt;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What a power cut takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lose {
    /// Everything that was not synced.
    All,
    /// Some of it, in sectors, drawn from this seed.
    Some(u64),
}

impl fmt::Display for Lose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Some(seed) => write!(f, "{seed}"),
        }
    }
}

/// What becomes of an operation that meets a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It fails with an I/O error.
    Error,
    /// It fails because the disk is full.
    Full,
    /// It reads or writes half of what was asked for.
    Short,
    /// It takes so many milliseconds longer.
    Slow(u64),
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error => f.write_str("error"),
            Self::Full => f.write_str("full"),
            Self::Short => f.write_str("short"),
            Self::Slow(ms) => write!(f, "slow {ms}"),
        }
    }
}

/// A mounted disk, in a process of its own. It is unmounted when this is dropped, and what is on it is gone then.
#[derive(Debug)]
pub struct Disk {
    /// `None` when it is to end.
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    at: PathBuf,
    process: Child,
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It ends with its standard input, once nobody has a file open.
        self.orders = None;
        let _ = self.process.wait();
    }
}

impl Disk {
    /// Mounts an empty disk on an empty folder.
    ///
    /// # Errors
    /// Why that cannot be done here: a suite says so loudly and leaves out what needs it.
    pub fn mount(at: &Path) -> Result<Self, String> {
        let program = program()?;
        let process =
            Command::new(&program).arg(at).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = process.map_err(|error| format!("{}: {error}", program.display()))?;
        let orders = process.stdin.take();
        let answers = process.stdout.take().ok_or("no standard output")?;
        let answers = BufReader::new(answers).lines();
        let mut disk = Self { orders, answers, at: at.to_owned(), process };
        match disk.answer() {
            Some(line) if line == "ready" => Ok(disk),
            Some(line) => Err(line),
            None => Err("the disk ended at once".to_owned()),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Makes everything safe.
    pub fn sync(&mut self) {
        self.order("sync");
    }

    /// The power goes, and comes back. For a moment when no process has a file open.
    pub fn cut(&mut self, lose: Lose) {
        self.order(&format!("cut {lose}"));
    }

    /// After `after` operations of these kinds (`read`, `write`, `sync`, `entry`), `times` of them meet a fault.
    pub fn fail(&mut self, kinds: &str, after: u64, times: u64, effect: Effect) {
        self.order(&format!("fail {kinds} {after} {times} {effect}"));
    }

    /// Ends all faults. Answers how many operations were still to fail.
    pub fn well(&mut self) -> u64 {
        self.order("well")
    }

    /// From now on there is room for so many bytes more.
    pub fn set_free(&mut self, bytes: u64) {
        self.order(&format!("free {bytes}"));
    }

    /// There is room again.
    pub fn set_roomy(&mut self) {
        self.order("roomy");
    }

    fn order(&mut self, line: &str) -> u64 {
        let orders = self.orders.as_mut().expect("the disk is there");
        writeln!(orders, "{line}").expect("the disk takes orders");
        let answer = self.answer().expect("the disk answers");
        let number = answer.strip_prefix("ok").map(str::trim);
        let number = number.unwrap_or_else(|| panic!("{line}: {answer}"));
        number.parse().unwrap_or(0)
    }

    fn answer(&mut self) -> Option<String> {
        self.answers.next()?.ok()
    }
}

/// Says that a suite leaves something out, and why: past the test runner, which keeps what a passing test prints.
pub fn left_out(what: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "LEFT OUT: {what}: {reason}");
}

/// The program: `disk/release` in the target folder, where `make` puts it, or what `CAIRN_DISK` names.
fn program() -> Result<PathBuf, String> {
    if let Some(program) = std::env::var_os("CAIRN_DISK") {
        return Ok(program.into());
    }
    let suite = std::env::current_exe().map_err(|error| error.to_string())?;
    // `TARGET/release/deps/suite`
    let target = suite.ancestors().nth(3).ok_or("the suite is not in a target folder")?;
    let program = target.join("disk/release/forgetful-disk");
    if program.exists() {
        return Ok(program);
    }
    Err(format!("{} is missing; `make disk` builds it", program.display()))
}
