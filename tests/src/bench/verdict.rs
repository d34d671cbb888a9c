//! Held, missed or void: what a set of measurements says about an aim.
//!
//! An aim is *void* when the measurements cannot tell: too few of them, or a control (the same measurement
//! with nothing done) that disagrees with itself by more than the margin. A void aim has not passed.

use std::fmt;

use super::statistics::{Interval, Mean, chance_of_as_many};

/// Fewer pairs than this decide nothing.
pub const PAIRS_MIN: usize = 10;

/// A difference in counts that chance alone makes more often than this decides nothing.
const CHANCE_MAX: f64 = 0.05;

/// What is said about an aim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is so.
    Held,
    /// It is not so.
    Missed,
    /// The measurements cannot tell, and why.
    Void(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Held => "held",
            Self::Missed => "missed",
            Self::Void(_) => "void",
        })
    }
}

/// Ratios of a number of pairs, measured and of the control, and how far the control may be from 1.
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    /// Pairs behind `ratio`.
    pub pairs: usize,
    /// The median ratio that the aim is about.
    pub ratio: Option<Interval>,
    /// The same of the control.
    pub control: Option<Interval>,
    /// Pairs behind `control`.
    pub control_pairs: usize,
    /// How far the interval of the control may reach from 1.
    pub margin: f64,
}

impl Compared {
    /// Whether the median ratio is at most `limit`.
    #[must_use]
    pub fn at_most(&self, limit: f64) -> Verdict {
        let (Some(ratio), Some(control)) = (self.ratio, self.control) else {
            return Verdict::Void("not measured".to_owned());
        };
        if let Some(void) = too_few(self.pairs.min(self.control_pairs), PAIRS_MIN, "pairs") {
            return void;
        }
        if !control.agrees_with_one(self.margin) {
            return Verdict::Void(format!(
                "idle pairs disagree: {:.2} to {:.2}, allowed 1 ± {:.2}",
                control.low, control.high, self.margin
            ));
        }
        held(ratio.median <= limit)
    }
}

/// Whether a value of so many samples is at most `limit`.
#[must_use]
pub fn at_most(value: Option<f64>, limit: f64, samples: usize, samples_min: usize) -> Verdict {
    let Some(value) = value else { return Verdict::Void("not measured".to_owned()) };
    too_few(samples, samples_min, "samples").unwrap_or_else(|| held(value <= limit))
}

/// Whether a value of so many samples is at least `limit`.
#[must_use]
pub fn at_least(value: Option<f64>, limit: f64, samples: usize, samples_min: usize) -> Verdict {
    at_most(value.map(|value| -value), -limit, samples, samples_min)
}

/// Whether stalls are no more frequent than in the control: windows with a stall, of all windows. More of
/// them than in the control is a miss once chance is an unlikely reason.
#[must_use]
pub fn stalls(own: (usize, usize), control: (usize, usize)) -> Verdict {
    if let Some(void) = too_few(own.1.min(control.1), PAIRS_MIN, "pairs") {
        return void;
    }
    if own.0 * control.1 <= control.0 * own.1 {
        return Verdict::Held;
    }
    let wide = |(with, of): (usize, usize)| (with as u64, of as u64);
    let chance = chance_of_as_many(wide(own), wide(control));
    if chance < CHANCE_MAX {
        return Verdict::Missed;
    }
    Verdict::Void(format!(
        "{} of {} windows against {} of {} may be chance ({:.0} %)",
        own.0,
        own.1,
        control.0,
        control.1,
        chance * 100.0
    ))
}

/// Whether something is no more frequent, by a difference of frequencies with its interval: more is a miss once chance is an
/// unlikely reason, and not more is known once the interval ends below `margin`.
#[must_use]
pub fn no_more_often(
    difference: Option<Mean>,
    margin: f64,
    samples: usize,
    samples_min: usize,
) -> Verdict {
    let Some(difference) = difference else { return Verdict::Void("not measured".to_owned()) };
    match too_few(samples, samples_min, "pairs") {
        Some(void) => void,
        None if difference.low > 0.0 => Verdict::Missed,
        None if difference.high <= margin => Verdict::Held,
        None => Verdict::Void(format!("up to {:.1} % more", difference.high * 100.0)),
    }
}

/// Whether a gauge that was read again and again did not grow: its greatest value in the last fifth of the
/// readings is at most a tenth, or `slack` if that is more, above the greatest in the first fifth.
#[must_use]
pub fn no_growth(readings: &[f64], slack: f64) -> Verdict {
    let fifth = readings.len() / 5;
    if let Some(void) = too_few(fifth, 2, "readings") {
        return void;
    }
    let greatest = |part: &[f64]| part.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let early = greatest(readings.get(..fifth).unwrap_or_default());
    let late = greatest(readings.get(readings.len() - fifth..).unwrap_or_default());
    held(late <= early + (early * 0.1).max(slack))
}

fn held(is_so: bool) -> Verdict {
    if is_so { Verdict::Held } else { Verdict::Missed }
}

fn too_few(found: usize, needed: usize, what: &str) -> Option<Verdict> {
    (found < needed).then(|| Verdict::Void(format!("{found} {what}, {needed} are needed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(ratio: f64, control: (f64, f64)) -> Compared {
        Compared {
            pairs: 10,
            ratio: Some(Interval { low: ratio, median: ratio, high: ratio }),
            control: Some(Interval { low: control.0, median: 1.0, high: control.1 }),
            control_pairs: 10,
            margin: 0.1,
        }
    }

    fn is_void(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Void(_))
    }

    #[test]
    fn a_ratio_is_judged_by_its_median() {
        assert_eq!(compared(1.1, (0.95, 1.05)).at_most(1.1), Verdict::Held);
        assert_eq!(compared(1.11, (0.95, 1.05)).at_most(1.1), Verdict::Missed);
    }

    #[test]
    fn idle_pairs_that_disagree_make_it_void_and_not_passed() {
        for control in [(0.85, 1.05), (0.95, 1.2)] {
            assert!(is_void(&compared(0.5, control).at_most(1.1)));
        }
    }

    #[test]
    fn too_few_pairs_decide_nothing() {
        let few = Compared { pairs: 9, ..compared(1.0, (1.0, 1.0)) };
        assert_eq!(few.at_most(1.1), Verdict::Void("9 pairs, 10 are needed".to_owned()));
        let no_control = Compared { control: None, ..compared(1.0, (1.0, 1.0)) };
        assert!(is_void(&no_control.at_most(1.1)));
        assert!(is_void(&at_most(Some(1.0), 2.0, 4, 5)) && is_void(&at_most(None, 2.0, 5, 5)));
        assert!(is_void(&stalls((0, 9), (0, 10))));
    }

    #[test]
    fn values_are_held_to_their_limits() {
        assert_eq!(at_most(Some(2.0), 2.0, 5, 5), Verdict::Held);
        assert_eq!(at_most(Some(2.1), 2.0, 5, 5), Verdict::Missed);
        assert_eq!(at_least(Some(0.95), 0.95, 5, 5), Verdict::Held);
        assert_eq!(at_least(Some(0.94), 0.95, 5, 5), Verdict::Missed);
    }

    #[test]
    fn stalls_count_against_those_of_the_control() {
        assert_eq!(stalls((2, 10), (2, 10)), Verdict::Held);
        assert_eq!(stalls((0, 20), (0, 10)), Verdict::Held);
        assert!(is_void(&stalls((2, 10), (1, 10))));
        assert_eq!(stalls((6, 10), (0, 10)), Verdict::Missed);
    }

    #[test]
    fn more_often_is_told_from_chance_and_from_as_often() {
        let verdict = |low: f64, high: f64, windows| {
            let mean = f64::midpoint(low, high);
            no_more_often(Some(Mean { low, mean, high }), 0.05, windows, 10)
        };
        assert_eq!(verdict(0.01, 0.03, 10), Verdict::Missed);
        assert_eq!(verdict(-0.01, 0.03, 10), Verdict::Held);
        assert_eq!(verdict(-0.09, -0.03, 10), Verdict::Held);
        assert!(is_void(&verdict(-0.01, 0.06, 10)));
        assert!(is_void(&verdict(-0.01, 0.03, 9)) && is_void(&no_more_often(None, 0.05, 10, 10)));
    }

    #[test]
    fn growth_is_told_from_a_sawtooth() {
        let linear: Vec<f64> = (1..=100).map(f64::from).collect();
        let sawtooth: Vec<f64> = (0..100).map(|n| f64::from(n % 10)).collect();
        assert_eq!(no_growth(&linear, 5.0), Verdict::Missed);
        assert_eq!(no_growth(&linear, 100.0), Verdict::Held);
        assert_eq!(no_growth(&sawtooth, 0.0), Verdict::Held);
        assert!(is_void(&no_growth(&linear[..9], 0.0)));
    }

    #[test]
    fn a_verdict_prints_as_one_word_and_pads() {
        assert_eq!(format!("[{:<7}]", Verdict::Void("why".to_owned())), "[void   ]");
        assert_eq!(
            (Verdict::Held.to_string(), Verdict::Missed.to_string()),
            ("held".into(), "missed".into())
        );
    }
}
