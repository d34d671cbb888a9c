//! Merging: several sources in key order become one, and a key that comes twice is found.
//!
//! A binary heap of source numbers, compared by the keys the sources stand at; their first 16 bytes
//! are kept beside the number, so that most comparisons do not go to where the rows are. Nothing else
//! is copied but the last key, which tells a duplicate. Memory is one row or one block per source, whatever their
//! length; so the number of sources is bounded by the caller ([`FAN_IN_MAX`]).

use cairn_engine::{EngineError, Scan};

use super::run::{Origin, RunReader};

/// Sources that are merged at once. More runs than this are merged in several passes.
pub(crate) const FAN_IN_MAX: usize = 64;

/// Rows in key order, lent one at a time.
pub(crate) trait Ordered {
    /// Goes to the next row; `false` at the end.
    fn advance(&mut self) -> Result<bool, EngineError>;
    /// The key of the row.
    fn key(&self) -> &[u8];
    /// The value of the row.
    fn value(&self) -> &[u8];
    /// Where the row came from, if that is known.
    fn origin(&self) -> Option<Origin>;
}

/// Why a merge ended early.
#[derive(Debug)]
pub(crate) enum MergeError {
    /// A source failed.
    Engine(EngineError),
    /// Two rows have the same key.
    Duplicate(Duplicate),
}

impl From<EngineError> for MergeError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// Two rows with the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Duplicate {
    /// The key-encoded primary key.
    pub(crate) key: Vec<u8>,
    /// Where the rows came from, as far as it is known; the later one first.
    pub(crate) origins: [Option<Origin>; 2],
}

impl Duplicate {
    /// Orders the two places, so that the same files always give the same message.
    pub(crate) fn new(key: &[u8], a: Option<Origin>, b: Option<Origin>) -> Self {
        let place = |origin: &Option<Origin>| origin.map(|origin| (origin.file, origin.line));
        let mut origins = [a, b];
        origins.sort_by_key(|origin| std::cmp::Reverse(place(origin)));
        Self { key: key.to_vec(), origins }
    }
}

/// A source in the heap.
#[derive(Clone, Copy)]
struct Entry {
    prefix: u128,
    source: usize,
}

/// The first 16 bytes of a key as a number of the same order; shorter keys are filled up with zeros,
/// so equal prefixes say nothing.
fn prefix(key: &[u8]) -> u128 {
    match key.first_chunk::<16>() {
        Some(first) => u128::from_be_bytes(*first),
        None => {
            let mut filled = [0; 16];
            filled.iter_mut().zip(key).for_each(|(place, byte)| *place = *byte);
            u128::from_be_bytes(filled)
        }
    }
}

/// A merge.
pub(crate) struct Merge<S> {
    sources: Vec<S>,
    /// Sources that have a row; the smallest key on top.
    heap: Vec<Entry>,
    started: bool,
    last: Vec<u8>,
    last_origin: Option<Origin>,
}

impl<S: Ordered> Merge<S> {
    /// A merge of sources that stand before their first rows.
    pub(crate) fn new(sources: Vec<S>) -> Self {
        Self { sources, heap: Vec::new(), started: false, last: Vec::new(), last_origin: None }
    }

    /// The next row of all, as the source that stands at it.
    pub(crate) fn next(&mut self) -> Result<Option<&S>, MergeError> {
        if self.started {
            let Some(top) = self.heap.first_mut() else { return Ok(None) };
            let Some(source) = self.sources.get_mut(top.source) else { return Ok(None) };
            self.last.clear();
            self.last.extend_from_slice(source.key());
            self.last_origin = source.origin();
            if source.advance()? {
                top.prefix = prefix(source.key());
            } else {
                self.heap.swap_remove(0);
            }
            self.sift(0);
        } else {
            self.started = true;
            for (number, source) in self.sources.iter_mut().enumerate() {
                if source.advance()? {
                    self.heap.push(Entry { prefix: prefix(source.key()), source: number });
                }
            }
            for at in (0..self.heap.len() / 2).rev() {
                self.sift(at);
            }
            return Ok(self.top());
        }
        if let Some(source) = self.top()
            && source.key() == self.last
        {
            let duplicate = Duplicate::new(&self.last, self.last_origin, source.origin());
            return Err(MergeError::Duplicate(duplicate));
        }
        Ok(self.top())
    }

    fn top(&self) -> Option<&S> {
        self.heap.first().and_then(|top| self.sources.get(top.source))
    }

    /// The sources, each at the row it is at.
    pub(crate) fn sources(&self) -> &[S] {
        &self.sources
    }

    /// Whether the source at `a` in the heap comes before the one at `b`.
    fn less(&self, a: usize, b: usize) -> bool {
        let (Some(a), Some(b)) = (self.heap.get(a), self.heap.get(b)) else { return false };
        if a.prefix != b.prefix {
            return a.prefix < b.prefix;
        }
        match (self.sources.get(a.source), self.sources.get(b.source)) {
            (Some(a), Some(b)) => a.key() < b.key(),
            _ => false,
        }
    }

    /// Moves the entry at `at` down to where it belongs.
    fn sift(&mut self, mut at: usize) {
        loop {
            let left = 2 * at + 1;
            if left >= self.heap.len() {
                return;
            }
            let right = left + 1;
            let least =
                if right < self.heap.len() && self.less(right, left) { right } else { left };
            if !self.less(least, at) {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }
}

impl Ordered for RunReader {
    fn advance(&mut self) -> Result<bool, EngineError> {
        self.advance()
    }

    fn key(&self) -> &[u8] {
        self.key()
    }

    fn value(&self) -> &[u8] {
        self.value()
    }

    fn origin(&self) -> Option<Origin> {
        Some(self.origin())
    }
}

/// The first span of an import, as one more source of the merge.
pub(crate) struct SpanReader {
    scan: Scan,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl SpanReader {
    /// Reads what the scan reads.
    pub(crate) fn new(scan: Scan) -> Self {
        Self { scan, key: Vec::new(), value: Vec::new() }
    }
}

/// What an import merges.
pub(crate) enum MergeSource {
    /// A sorted run. Rows up to a key may be behind us already: they are passed over.
    Run { reader: Box<RunReader>, after: Option<bytes::Bytes> },
    /// The rows that came in order before the first that did not.
    Span(SpanReader),
}

impl MergeSource {
    /// Where a run can be opened to go on with the row it is at; `None` for a span.
    pub(crate) fn block_offset(&self) -> Option<u64> {
        match self {
            Self::Run { reader, .. } => Some(reader.block_offset()),
            Self::Span(_) => None,
        }
    }
}

impl Ordered for MergeSource {
    fn advance(&mut self) -> Result<bool, EngineError> {
        match self {
            Self::Run { reader, after } => loop {
                if !reader.advance()? {
                    return Ok(false);
                }
                if after.as_ref().is_none_or(|after| reader.key() > &after[..]) {
                    *after = None;
                    return Ok(true);
                }
            },
            Self::Span(span) => {
                let Some((key, value)) = span.scan.next()? else { return Ok(false) };
                span.key.clear();
                span.key.extend_from_slice(key);
                span.value.clear();
                span.value.extend_from_slice(value);
                Ok(true)
            }
        }
    }

    fn key(&self) -> &[u8] {
        match self {
            Self::Run { reader, .. } => reader.key(),
            Self::Span(span) => &span.key,
        }
    }

    fn value(&self) -> &[u8] {
        match self {
            Self::Run { reader, .. } => reader.value(),
            Self::Span(span) => &span.value,
        }
    }

    fn origin(&self) -> Option<Origin> {
        match self {
            Self::Run { reader, .. } => Some(reader.origin()),
            Self::Span(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Listed {
        keys: Vec<u16>,
        at: usize,
        key: [u8; 2],
        file: u32,
    }

    impl Ordered for Listed {
        fn advance(&mut self) -> Result<bool, EngineError> {
            let Some(key) = self.keys.get(self.at) else { return Ok(false) };
            self.key = key.to_be_bytes();
            self.at += 1;
            Ok(true)
        }

        fn key(&self) -> &[u8] {
            &self.key
        }

        fn value(&self) -> &[u8] {
            &[]
        }

        fn origin(&self) -> Option<Origin> {
            Some(Origin { file: self.file, line: self.at as u64 })
        }
    }

    #[test]
    fn prefixes_are_ordered_as_keys_are_as_far_as_they_go() {
        let keys: [&[u8]; 7] =
            [b"", b"\0", b"\0\x01", b"a", b"abcdefghijklmnop", b"abcdefghijklmnopq", b"b"];
        assert!(keys.is_sorted_by_key(|key| prefix(key)));
        assert_eq!(prefix(b"a"), prefix(b"a\0"));
    }

    fn merge(lists: &[Vec<u16>]) -> Result<Vec<u16>, MergeError> {
        let sources = lists.iter().zip(0..).map(|(keys, file)| {
            let keys = keys.clone();
            Listed { keys, at: 0, key: [0; 2], file }
        });
        let mut merge = Merge::new(sources.collect());
        let mut out = Vec::new();
        while let Some(source) = merge.next()? {
            out.push(u16::from_be_bytes(source.key().try_into().unwrap()));
        }
        assert!(merge.next()?.is_none());
        Ok(out)
    }

    proptest! {
        #[test]
        fn a_merge_is_a_sort_that_finds_the_first_duplicate(
            lists in prop::collection::vec(prop::collection::btree_set(0_u16..2000, 0..20), 0..9)
        ) {
            let lists: Vec<Vec<u16>> =
                lists.into_iter().map(|list| list.into_iter().collect()).collect();
            let mut all: Vec<u16> = lists.concat();
            all.sort_unstable();
            let twice = all.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
            match (merge(&lists), twice) {
                (Ok(merged), None) => prop_assert_eq!(merged, all),
                (Err(MergeError::Duplicate(found)), Some(key)) => {
                    prop_assert_eq!(&found.key[..], &key.to_be_bytes()[..]);
                    prop_assert!(found.origins[0].unwrap().file > found.origins[1].unwrap().file);
                }
                (found, expected) => prop_assert!(false, "{found:?} {expected:?}"),
            }
        }
    }
}
