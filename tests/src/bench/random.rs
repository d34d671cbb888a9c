//! A seeded generator (xorshift64*): fast enough to fill gigabytes with bytes that do not compress.

/// A sequence of numbers that looks random and is the same for the same seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed. Seeds that differ in one bit give unrelated sequences.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // One step of splitmix64; the state must not be zero.
        let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self((mixed ^ (mixed >> 31)).max(1))
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(bound)) >> 64) as u64
    }

    /// Fills a buffer.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            let number = self.number().to_le_bytes();
            piece.iter_mut().zip(number).for_each(|(byte, random)| *byte = random);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_sequence_and_bounds_are_kept() {
        let numbers = |seed| {
            let mut random = Random::new(seed);
            std::iter::repeat_with(move || random.below(10)).take(1000).collect::<Vec<_>>()
        };
        assert_eq!(numbers(0), numbers(0));
        assert_ne!(numbers(1), numbers(2));
        assert!((0..10).all(|n| numbers(3).contains(&n)) && numbers(3).iter().all(|&n| n < 10));
        assert_eq!(Random::new(7).below(0), 0);
    }

    #[test]
    fn every_byte_of_a_buffer_is_filled() {
        let mut bytes = [0; 1003];
        Random::new(5).fill(&mut bytes);
        assert!(bytes.iter().filter(|byte| **byte == 0).count() < 30);
        assert!(bytes[1000..].iter().any(|byte| *byte != 0));
    }
}
