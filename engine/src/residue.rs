//! What is left of a condemned span in RocksDB's files. Pure: a list of files goes in.
//!
//! File deletion takes only files that lie wholly inside the span, above level 0, and not under
//! compaction. What it leaves falls into classes, and each has its own way out: see
//! [`crate::reclaim`].

use crate::id::SpanId;
use crate::key;

/// One SST file of the span's family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// As RocksDB names it, with a leading slash.
    pub(crate) name: String,
    pub(crate) level: i32,
    pub(crate) bytes: u64,
    pub(crate) first: Vec<u8>,
    pub(crate) last: Vec<u8>,
    pub(crate) entries: u64,
    pub(crate) deletions: u64,
}

/// Files that may hold something of a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Residue {
    /// Wholly inside the span, above level 0: file deletion takes them unless they are busy.
    pub(crate) droppable: Vec<File>,
    /// Wholly inside, in level 0: file deletion never takes them.
    pub(crate) level0: Vec<File>,
    /// Shared with neighbours: only compaction gets the span's keys out.
    pub(crate) straddling: Vec<File>,
}

impl Residue {
    /// Sorts the files that overlap the span into their classes.
    pub(crate) fn of(span: SpanId, files: impl IntoIterator<Item = File>) -> Self {
        let (lower, upper) = key::span_bounds(span);
        let mut residue = Self::default();
        for file in files {
            if file.last.as_slice() < lower.as_slice() || file.first.as_slice() >= upper.as_slice()
            {
                continue;
            }
            // A range deletion over the span ends a file at `upper`, which is never a key.
            let inside = file.first.as_slice() >= lower.as_slice()
                && file.last.as_slice() <= upper.as_slice();
            match (inside, file.level) {
                (true, 0) => residue.level0.push(file),
                (true, _) => residue.droppable.push(file),
                (false, _) => residue.straddling.push(file),
            }
        }
        residue
    }

    /// Bytes of the files that belong to the span alone.
    pub(crate) fn own_bytes(&self) -> u64 {
        self.droppable.iter().chain(&self.level0).map(|file| file.bytes).sum()
    }

    /// All overlapping files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.droppable.iter().chain(&self.level0).chain(&self.straddling)
    }

    /// The files to compact next, and the level they go to: the topmost level that overlaps the
    /// span, at most `bytes_max` of it, into the next level below that holds data (`occupied`, by
    /// level). Files in the last occupied level are rewritten in place. All overlapping files of
    /// level 0 go together, because they may overlap each other.
    pub(crate) fn next_compaction(
        &self,
        occupied: &[bool],
        bytes_max: u64,
    ) -> Option<(Vec<String>, i32)> {
        let level = self.files().map(|file| file.level).min()?;
        let mut bytes = 0;
        let mut names = Vec::new();
        for file in self.files().filter(|file| file.level == level) {
            if level > 0 && !names.is_empty() && bytes + file.bytes > bytes_max {
                break;
            }
            bytes += file.bytes;
            names.push(file.name.clone());
        }
        let last = i32::try_from(occupied.len()).unwrap_or(i32::MAX) - 1;
        let below = (level + 1..=last)
            .find(|&below| occupied.get(below as usize).copied().unwrap_or(false))
            .unwrap_or(if level == 0 { last } else { level });
        Some((names, below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, level: i32, first: Vec<u8>, last: Vec<u8>) -> File {
        let name = name.to_owned();
        File { name, level, bytes: 100, first, last, entries: 10, deletions: 0 }
    }

    fn row(span: u64, user_key: &[u8]) -> Vec<u8> {
        key::row_key(SpanId::from_raw(span), user_key)
    }

    #[test]
    fn files_are_told_apart_by_level_and_by_their_neighbours() {
        let residue = Residue::of(
            SpanId::from_raw(5),
            [
                file("before", 6, row(4, b"a"), row(4, b"z")),
                file("inside", 6, row(5, b"a"), row(5, b"z")),
                file("in level 0", 0, row(5, b"a"), row(5, b"b")),
                file("straddler", 6, row(4, b"x"), row(6, b"a")),
                file("after", 6, row(6, b""), row(6, b"z")),
            ],
        );
        let names = |files: &[File]| files.iter().map(|f| f.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&residue.droppable), ["inside"]);
        assert_eq!(names(&residue.level0), ["in level 0"]);
        assert_eq!(names(&residue.straddling), ["straddler"]);
        assert_eq!(residue.own_bytes(), 200);
    }

    #[test]
    fn a_file_that_ends_with_the_spans_own_range_deletion_lies_inside() {
        let span = SpanId::from_raw(5);
        let (lower, upper) = key::span_bounds(span);
        let residue = Residue::of(span, [file("tombstone", 6, lower.to_vec(), upper.to_vec())]);
        assert_eq!(residue.droppable.len(), 1);
    }

    #[test]
    fn compaction_goes_down_level_by_level_and_rewrites_the_last_in_place() {
        let span = SpanId::from_raw(5);
        let upper = file("upper", 0, row(5, b"a"), row(5, b"b"));
        let lower = file("lower", 6, row(4, b"a"), row(5, b"b"));
        let occupied = [true, false, false, false, false, true, true];
        let both = Residue::of(span, [upper, lower.clone()]);
        assert_eq!(both.next_compaction(&occupied, 1000), Some((vec!["upper".into()], 5)));
        let one = Residue::of(span, [lower]);
        assert_eq!(one.next_compaction(&occupied, 1000), Some((vec!["lower".into()], 6)));
        assert_eq!(Residue::default().next_compaction(&occupied, 1000), None);
    }

    #[test]
    fn a_unit_of_compaction_is_bounded_but_never_empty() {
        let files = (0..5).map(|n: u8| file(&n.to_string(), 6, row(5, &[n]), row(6, &[n])));
        let residue = Residue::of(SpanId::from_raw(5), files);
        let occupied = [false, false, false, false, false, false, true];
        assert_eq!(residue.next_compaction(&occupied, 250).unwrap().0.len(), 2);
        assert_eq!(residue.next_compaction(&occupied, 1).unwrap().0.len(), 1);
    }
}
