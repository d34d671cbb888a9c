//! What the program is doing, for somebody who waits for hours.

use std::io::Write as _;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error, with what is done now beside it; lines, if that is not a terminal. It only
/// moves between measurements.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::new(1);
        let template = "{prefix:>14} {bar:30} {pos}/{len}  eta {eta:>4}  {wide_msg}";
        // A template that does not parse leaves the default one: still a bar.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Begins a part of so many steps.
    pub(super) fn begin(&self, part: &str, steps: usize) {
        self.0.reset();
        self.0.set_length(steps as u64);
        self.0.set_prefix(part.to_owned());
    }

    /// Says what is done now.
    pub(super) fn say(&self, what: &str) {
        self.0.set_message(what.to_owned());
        if self.0.is_hidden() {
            let (step, steps) = (self.0.position(), self.0.length().unwrap_or(0));
            let line = format!("{:>14} {step}/{steps} {what}", self.0.prefix());
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
        self.0.tick();
    }

    /// A step is done.
    pub(super) fn step(&self) {
        self.0.inc(1);
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// Prints text to standard output. A reader that has gone away is no error of ours.
pub(super) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
