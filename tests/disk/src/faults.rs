//! Which operations of a disk fail.

use std::time::Duration;

/// Operations that fail alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// Reading data.
    Read,
    /// Writing data, and changing the length of a file.
    Write,
    /// Syncing a file or a folder.
    Sync,
    /// Making, removing, linking and renaming.
    Entry,
}

/// What a disk does wrong. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// These fail with an I/O error,
    pub(crate) failing: Vec<On>,
    /// after so many of them went well,
    pub(crate) after: u64,
    /// so many times.
    pub(crate) times: u64,
    /// Each read answers with half of what was asked for.
    pub(crate) short_reads: bool,
    /// Each operation takes this much longer.
    pub(crate) slow: Duration,
}

impl Faults {
    /// Whether an operation that is about to be done fails.
    pub(crate) fn fails(&mut self, on: On) -> bool {
        if !self.failing.contains(&on) || self.times == 0 {
            return false;
        }
        if self.after > 0 {
            self.after -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_operation_fails_and_no_other() {
        let failing = vec![On::Write, On::Sync];
        let mut faults = Faults { failing, after: 2, times: 1, ..Faults::default() };
        let asked = [On::Read, On::Write, On::Sync, On::Entry, On::Write, On::Write];
        let failed: Vec<bool> = asked.into_iter().map(|on| faults.fails(on)).collect();
        assert_eq!(failed, [false, false, false, false, true, false]);
        assert_eq!(faults.times, 0);
    }
}
