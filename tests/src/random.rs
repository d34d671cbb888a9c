//! Chance from one number: everything random in a run comes from the seed that was printed.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): a few instructions for eight bytes that do not compress. Streams are
//! forked by label, so that what one connection asks does not depend on how many numbers another one has drawn.

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A stream of its own for whatever `label` stands for. Does not advance this one.
    #[must_use]
    pub fn fork(&self, label: u64) -> Self {
        Self { state: mix(self.state ^ mix(label.wrapping_add(1))) }
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `end`; 0 if that is 0. The bias is of no concern here.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(end)) >> 64) as u64
    }

    /// An index of a slice of this length, which is not 0.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// A number in `from..=to`.
    ///
    /// # Panics
    /// If `to` is less than `from`.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        let width = u64::try_from(to - from + 1).expect("an interval has a beginning and an end");
        from + i64::try_from(self.below(width)).expect("it lies in the interval")
    }

    /// Whether something happens that happens `percent` times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }

    /// One of several, each as often as its weight says; weights of 0 never.
    ///
    /// # Panics
    /// If all weights are 0.
    pub fn weighted<T: Copy>(&mut self, of: &[(u64, T)]) -> T {
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

    /// Fills a buffer.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            let number = self.number().to_le_bytes();
            piece.iter_mut().zip(number).for_each(|(byte, random)| *byte = random);
        }
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
        let draw = |mut random: Random| [random.number(), random.number(), random.number()];
        let random = Random::new(7);
        assert_eq!(draw(random.clone()), draw(Random::new(7)));
        assert_eq!(draw(random.fork(1)), draw(Random::new(7).fork(1)));
        assert_ne!(draw(random.fork(1)), draw(random.fork(2)));
        assert_ne!(draw(random.clone()), draw(random.fork(0)));
    }

    #[test]
    fn bounds_are_kept_and_weights_of_nothing_are_never_drawn() {
        let mut random = Random::new(1);
        for _ in 0..1000 {
            assert_ne!(random.weighted(&[(3, 'a'), (0, 'b'), (1, 'c')]), 'b');
            assert!((-2..=2).contains(&random.between(-2, 2)));
            assert!(random.below(10) < 10 && random.index(3) < 3);
        }
        let drawn: Vec<u64> = std::iter::repeat_with(|| random.below(10)).take(1000).collect();
        assert!((0..10).all(|n| drawn.contains(&n)));
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn every_byte_of_a_buffer_is_filled() {
        let mut bytes = [0; 1003];
        Random::new(5).fill(&mut bytes);
        assert!(bytes.iter().filter(|byte| **byte == 0).count() < 30);
        assert!(bytes[1000..].iter().any(|byte| *byte != 0));
    }
}
