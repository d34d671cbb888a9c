//! Every target over its kept corpus, and over random inputs that are the same each time.
//!
//! This is the part of fuzzing that needs nothing but `cargo test`: the corpus holds what libFuzzer found to
//! matter, and what once failed. The random inputs are bytes, and inputs of the corpus that were changed a
//! little; another seed makes others:
//!
//! ```text
//! SEED=7 cargo test --release
//! ```

use std::path::Path;

use cairn_fuzz::TARGETS;

/// Bytes of an input at most.
const BYTES_MAX: usize = 512;

macro_rules! targets {
    ($($name:ident: $inputs:literal),*) => {
        $(#[test] fn $name() { replay(stringify!($name), $inputs); })*

        #[test]
        fn every_target_is_replayed() {
            assert_eq!(TARGETS.map(|(name, _)| name).as_slice(), [$(stringify!($name)),*]);
        }
    };
}

// Random inputs for each target: a few seconds for the slowest.
targets!(
    csv: 30_000,
    envelope: 200_000,
    grammar: 30_000,
    keys: 200_000,
    records: 200_000,
    rows: 100_000,
    settings: 100_000,
    statements: 20_000,
    values: 200_000
);

fn replay(name: &str, inputs: u32) {
    let target = TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| target);
    let target = target.expect("a target of this name");
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    for input in &corpus {
        let _shown = Shown { name, input };
        target(input);
    }
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = Random::new(seed);
    for _ in 0..inputs {
        let input = random.input(&corpus);
        let _shown = Shown { name, input: &input };
        target(&input);
    }
}

/// The kept inputs, by file name.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<_> = folder
        .read_dir()
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry of the corpus").path())
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("a file of the corpus")).collect()
}

/// Says which input it was if the target panics.
struct Shown<'a> {
    name: &'a str,
    input: &'a [u8],
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input of `{}`: b\"{}\"", self.name, self.input.escape_ascii());
        }
    }
}

/// Xorshift: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        (self.next() >> 32) as u8
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.byte()).collect()
    }

    fn input(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        if self.below(4) == 0 {
            return self.bytes(64);
        }
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut input, corpus);
        }
        input.truncate(BYTES_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(input.len());
        let end = (at + 1 + self.below(8)).min(input.len());
        match self.below(6) {
            0 => input.truncate(at),
            1 => drop(input.drain(at.min(end)..end)),
            2 => drop(input.splice(at..at, self.bytes(8)).collect::<Vec<_>>()),
            3 => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len());
                let piece: Vec<u8> =
                    other[from..].iter().take(1 + self.below(32)).copied().collect();
                input.splice(at..at, piece);
            }
            4 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = self.byte();
                }
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
        }
    }
}
