//! Medians, quantiles, and how sure one can be of them.

use crate::random::Random;

/// Resamples of a bootstrap: the ends of the interval then move by less than its second digit.
const RESAMPLES: usize = 4000;

/// The part of resamples that an interval leaves out on each side.
const TAIL: f64 = 0.025;

/// A median with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The median of the values.
    pub median: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Whether the whole interval lies within `margin` of 1.
    #[must_use]
    pub fn agrees_with_one(&self, margin: f64) -> bool {
        self.low >= 1.0 - margin && self.high <= 1.0 + margin
    }
}

/// The median; `None` without values. Values are finite.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    median_of_sorted(&sorted)
}

fn median_of_sorted(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(*upper);
    }
    Some((sorted.get(middle - 1)? + upper) / 2.0)
}

/// The smallest value that at least `part` of all values do not exceed; `None` without values.
#[must_use]
pub fn quantile(values: &[f64], part: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// The median with its 95 % interval by percentile bootstrap: the values are drawn again with
/// replacement, and the interval holds the middle 95 % of the medians. `None` without values.
#[must_use]
pub fn bootstrap_median(values: &[f64], seed: u64) -> Option<Interval> {
    let median = median(values)?;
    let mut random = Random::new(seed);
    Some(interval(median, || median_of_drawn(values, &mut random)))
}

/// The mean with its 95 % interval by percentile bootstrap. `None` without values.
#[must_use]
pub fn bootstrap_mean(values: &[f64], seed: u64) -> Option<Mean> {
    let mean = |sum: f64| sum / values.len() as f64;
    let mut random = Random::new(seed);
    let mut draw =
        |_| values.get(random.below(values.len() as u64) as usize).copied().unwrap_or(0.0);
    let mut drawn = || (0..values.len()).map(&mut draw).sum();
    let means: Vec<f64> = (0..RESAMPLES).map(|_| mean(drawn())).collect();
    let (low, high) = (quantile(&means, TAIL)?, quantile(&means, 1.0 - TAIL)?);
    (!values.is_empty()).then(|| Mean { low, mean: mean(values.iter().sum()), high })
}

/// A mean with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The lower end.
    pub low: f64,
    /// The mean of the values.
    pub mean: f64,
    /// The upper end.
    pub high: f64,
}

/// The median of the values of all groups, with its 95 % interval by percentile bootstrap of whole groups: values of one group
/// may have more to do with each other than with those of another. `None` without values.
#[must_use]
pub fn bootstrap_median_of_groups(groups: &[Vec<f64>], seed: u64) -> Option<Interval> {
    let median_of_all = median(&groups.concat())?;
    let mut random = Random::new(seed);
    let mut draw = |_| groups.get(random.below(groups.len() as u64) as usize).cloned();
    Some(interval(median_of_all, || {
        median(&(0..groups.len()).filter_map(&mut draw).collect::<Vec<_>>().concat())
    }))
}

/// The median of some values over that of others, with its 95 % interval by percentile bootstrap of both. `None` without
/// values on either side.
#[must_use]
pub fn bootstrap_ratio(values: &[f64], others: &[f64], seed: u64) -> Option<Interval> {
    let ratio = median(values)? / median(others)?;
    let mut random = Random::new(seed);
    Some(interval(ratio, || {
        Some(median_of_drawn(values, &mut random)? / median_of_drawn(others, &mut random)?)
    }))
}

/// The median of as many values, drawn from these with replacement.
fn median_of_drawn(values: &[f64], random: &mut Random) -> Option<f64> {
    let draw = |_| values.get(random.below(values.len() as u64) as usize).copied();
    median(&(0..values.len()).filter_map(draw).collect::<Vec<f64>>())
}

/// Holds the middle 95 % of what is drawn.
fn interval(median: f64, mut draw: impl FnMut() -> Option<f64>) -> Interval {
    let drawn: Vec<f64> = (0..RESAMPLES).filter_map(|_| draw()).collect();
    let at = |part| quantile(&drawn, part).unwrap_or(median);
    Interval { low: at(TAIL), median, high: at(1.0 - TAIL) }
}

/// How likely it is by chance alone that, of all events seen in two groups, so many or more fall into
/// the first (Fisher's exact test, one-sided). `with` of `of` for each group.
#[must_use]
pub fn chance_of_as_many(first: (u64, u64), second: (u64, u64)) -> f64 {
    let ((with, of), (other_with, other_of)) = (first, second);
    let (events, all) = (with + other_with, of + other_of);
    let total = ln_choose(all, events);
    let ways = |k: u64| (ln_choose(of, k) + ln_choose(other_of, events - k) - total).exp();
    (with..=events.min(of)).filter(|k| events - k <= other_of).map(ways).sum::<f64>().min(1.0)
}

fn ln_choose(n: u64, k: u64) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

fn ln_factorial(n: u64) -> f64 {
    (2..=n).map(|factor| (factor as f64).ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles_of_a_few_values() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&hundred, 0.99), Some(99.0));
        assert_eq!(quantile(&hundred, 1.0), Some(100.0));
        assert_eq!(quantile(&hundred, 0.0), Some(1.0));
        assert_eq!(quantile(&[7.0], 0.99), Some(7.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn a_ratio_of_medians_is_found_though_a_few_values_are_far_off() {
        let values = |factor: f64| -> Vec<f64> {
            let usual = (0..50).map(|n| factor * (1.0 + f64::from(n % 10) / 50.0));
            usual.chain([100.0, 200.0]).collect()
        };
        let ratio = bootstrap_ratio(&values(3.0), &values(2.0), 1).unwrap();
        assert!((ratio.median - 1.5).abs() < 0.01, "{ratio:?}");
        assert!(ratio.low > 1.35 && ratio.high < 1.65, "{ratio:?}");
        assert!(bootstrap_ratio(&values(2.0), &values(2.0), 1).unwrap().agrees_with_one(0.1));
        assert_eq!(bootstrap_ratio(&[], &[1.0], 1), None);
        assert_eq!(bootstrap_ratio(&[1.0], &[], 1), None);
    }

    #[test]
    fn a_mean_lies_in_its_interval_and_none_has_none() {
        let mean = bootstrap_mean(&[0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0], 1).unwrap();
        assert_eq!(mean.mean, 0.5);
        assert!(mean.low < 0.3 && mean.high > 0.7, "{mean:?}");
        assert_eq!(bootstrap_mean(&[2.0], 1), Some(Mean { low: 2.0, mean: 2.0, high: 2.0 }));
        assert_eq!(bootstrap_mean(&[], 1), None);
    }

    #[test]
    fn groups_that_agree_with_themselves_and_not_with_others_give_a_wider_interval() {
        let groups = |shift: f64| -> Vec<Vec<f64>> {
            let group = |group: u32| {
                (0..20).map(|n| shift * f64::from(group % 2) + f64::from(n) / 20.0).collect()
            };
            (0..10).map(group).collect()
        };
        let width = |groups: &[Vec<f64>]| {
            let interval = bootstrap_median_of_groups(groups, 1).unwrap();
            assert!(interval.low <= interval.median && interval.median <= interval.high);
            interval.high - interval.low
        };
        let alone = bootstrap_median(&groups(1.0).concat(), 1).unwrap();
        assert!(width(&groups(1.0)) > 2.0 * (alone.high - alone.low), "{alone:?}");
        assert!(width(&groups(0.0)) < 0.2);
        assert_eq!(bootstrap_median_of_groups(&[], 1), None);
        assert_eq!(bootstrap_median_of_groups(&[Vec::new()], 1), None);
    }

    #[test]
    fn an_interval_holds_its_median_and_narrows_with_more_values() {
        let values = |count: u32| -> Vec<f64> {
            (0..count).map(|n| 1.0 + f64::from(n % 10) / 10.0).collect()
        };
        let few = bootstrap_median(&values(10), 1).unwrap();
        let many = bootstrap_median(&values(1000), 1).unwrap();
        for interval in [few, many] {
            assert!(interval.low <= interval.median && interval.median <= interval.high);
        }
        assert!(many.high - many.low < few.high - few.low, "{few:?} {many:?}");
        assert_eq!(bootstrap_median(&values(10), 1), Some(few), "a seed fixes it");
        assert_eq!(bootstrap_median(&[], 1), None);
        let one = bootstrap_median(&[2.0], 1).unwrap();
        assert_eq!((one.low, one.median, one.high), (2.0, 2.0, 2.0));
    }

    #[test]
    fn an_interval_agrees_with_one_only_as_a_whole() {
        let agrees = |low, high| Interval { low, median: 1.0, high }.agrees_with_one(0.1);
        assert!(agrees(0.95, 1.05));
        assert!(!agrees(0.85, 1.05) && !agrees(0.95, 1.15));
    }

    #[test]
    fn chance_is_as_in_the_books() {
        // The lady tasting tea: 4 of 4 right against 0 of 4, and 3 of 4 against 1 of 4.
        assert!((chance_of_as_many((4, 4), (0, 4)) - 1.0 / 70.0).abs() < 1e-9);
        assert!((chance_of_as_many((3, 4), (1, 4)) - 17.0 / 70.0).abs() < 1e-9);
        assert!((chance_of_as_many((0, 10), (0, 10)) - 1.0).abs() < 1e-9);
        assert!((chance_of_as_many((0, 10), (5, 10)) - 1.0).abs() < 1e-9);
    }
}
