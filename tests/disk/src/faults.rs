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

/// What becomes of an operation that meets a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It fails with an I/O error.
    #[default]
    Error,
    /// It fails because the disk is full.
    Full,
    /// It reads or writes half of what was asked for; anything else is done.
    Short,
    /// It is done after this much more time.
    Slow(Duration),
}

/// What a disk does wrong. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// These meet the fault,
    pub(crate) failing: Vec<On>,
    /// after so many of them went well,
    pub(crate) after: u64,
    /// so many times.
    pub(crate) times: u64,
    pub(crate) effect: Effect,
}

impl Faults {
    /// What becomes of an operation that is about to be done, if not what was asked for.
    pub(crate) fn meets(&mut self, on: On) -> Option<Effect> {
        if !self.failing.contains(&on) || self.times == 0 {
            return None;
        }
        if self.after > 0 {
            self.after -= 1;
            return None;
        }
        self.times -= 1;
        Some(self.effect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_operation_fails_and_no_other() {
        let failing = vec![On::Write, On::Sync];
        let mut faults = Faults { failing, after: 2, times: 1, effect: Effect::Full };
        let asked = [On::Read, On::Write, On::Sync, On::Entry, On::Write, On::Write];
        let met = asked.map(|on| faults.meets(on));
        assert_eq!(met, [None, None, None, None, Some(Effect::Full), None]);
        assert_eq!(faults.times, 0);
    }
}
