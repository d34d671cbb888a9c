//! Something that must never happen, and the report of a run in which it did.

use std::fmt;
use std::path::PathBuf;

/// What differs from what was promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What was looked at.
    pub(crate) what: String,
    /// What it had to be.
    pub(crate) expected: String,
    /// What it was.
    pub(crate) found: String,
}

impl Fault {
    pub(crate) fn new(
        what: impl Into<String>,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Self { what: what.into(), expected: expected.to_string(), found: found.to_string() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    expected: {}\n    found:    {}", self.what, self.expected, self.found)
    }
}

/// A run that failed: enough to look at the store, and to do it again.
#[derive(Debug)]
pub struct Failure {
    /// The seed that repeats the run.
    pub seed: u64,
    /// The round, from 0.
    pub round: u32,
    /// What was wrong.
    pub(crate) faults: Vec<Fault>,
    /// What was asked in the round, one line each.
    pub(crate) history: Vec<String>,
    /// What runs it again: a target of make.
    pub(crate) target: &'static str,
    /// The store as it was found; the server's log lies beside it.
    pub store: PathBuf,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "history of round {}:", self.round)?;
        for line in &self.history {
            writeln!(f, "  {line}")?;
        }
        writeln!(
            f,
            "\n{} faults in round {} of seed {}:",
            self.faults.len(),
            self.round,
            self.seed
        )?;
        for fault in &self.faults {
            writeln!(f, "- {fault}")?;
        }
        writeln!(f, "store: {} (server.log and history.txt beside it)", self.store.display())?;
        write!(f, "again: CAIRN_KILL_SEED={} make {}", self.seed, self.target)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_runs_it_again() {
        for target in ["crash", "soak"] {
            let (faults, history) = (Vec::new(), Vec::new());
            let failure =
                Failure { seed: 7, round: 2, faults, history, target, store: PathBuf::new() };
            let text = failure.to_string();
            assert!(text.ends_with(&format!("again: CAIRN_KILL_SEED=7 make {target}")), "{text}");
        }
    }
}
