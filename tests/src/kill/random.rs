//! Chance from one number: everything random in a run comes from the seed that was printed.
//!
//! SplitMix64 (Steele, Lea, Flood 2014). Streams are forked by label, so that what one connection asks
//! does not depend on how many numbers another one has drawn.

/// A stream of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// The stream of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A stream of its own for whatever `label` stands for. Does not advance this one.
    pub(crate) fn fork(&self, label: u64) -> Self {
        Self { state: mix(self.state ^ mix(label.wrapping_add(1))) }
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `end`, which is not 0. The bias is of no concern here.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A number in `from..=to`.
    pub(crate) fn between(&mut self, from: i64, to: i64) -> i64 {
        let width = u64::try_from(to - from + 1).expect("an interval has a beginning and an end");
        from + i64::try_from(self.below(width)).expect("it lies in the interval")
    }

    /// Whether something happens that happens `percent` times in a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let at = self.below(of.len() as u64);
        &of[usize::try_from(at).expect("an index")]
    }

    /// One of several, each as often as its weight says; weights of 0 never.
    pub(crate) fn weighted<T: Copy>(&mut self, of: &[(u64, T)]) -> T {
        let total = of.iter().map(|(weight, _)| weight).sum();
        let mut at = self.below(total);
        for &(weight, what) in of {
            if at < weight {
                return what;
            }
            at -= weight;
        }
        unreachable!("the weights add up to their sum")
    }
}

/// Scatters the bits of a number.
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again_and_forks_are_apart() {
        let draw = |mut random: Random| [random.next(), random.next(), random.next()];
        let random = Random::new(7);
        assert_eq!(draw(random.clone()), draw(Random::new(7)));
        assert_eq!(draw(random.fork(1)), draw(Random::new(7).fork(1)));
        assert_ne!(draw(random.fork(1)), draw(random.fork(2)));
        assert_ne!(draw(random.clone()), draw(random.fork(0)));
    }

    #[test]
    fn weights_of_nothing_are_never_drawn() {
        let mut random = Random::new(1);
        for _ in 0..1000 {
            assert_ne!(random.weighted(&[(3, 'a'), (0, 'b'), (1, 'c')]), 'b');
            assert!((-2..=2).contains(&random.between(-2, 2)));
        }
    }
}
