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

    /// The files that belong to the span alone.
    pub(crate) fn own(&self) -> impl Iterator<Item = &File> {
        self.droppable.iter().chain(&self.level0)
    }

    /// All overlapping files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.droppable.iter().chain(&self.level0).chain(&self.straddling)
    }

    /// The files to compact next: of the topmost level that overlaps the span, into the next level
    /// below that holds data. Files in the last such level are rewritten in place. So many that they have at most
    /// `bytes_max` together with what RocksDB has to take along, but at least one. Files of level 0 may overlap each other,
    /// and an older one must not stay above a newer one's rows: RocksDB takes along all that are older than one that goes, so
    /// the oldest go first. `all`: every file of the family, those of level 0 from the newest to the oldest, as
    /// RocksDB lists them.
    pub(crate) fn next_compaction(&self, all: &[File], bytes_max: u64) -> Option<Unit> {
        let level = self.files().map(|file| file.level).min()?;
        let below = all.iter().map(|file| file.level).filter(|&below| below > level).min();
        let below = below.unwrap_or(if level == 0 { LAST_LEVEL } else { level });
        let candidates: Vec<&File> = if level == 0 {
            all.iter().rev().filter(|file| file.level == 0).collect()
        } else {
            self.files().filter(|file| file.level == level).collect()
        };
        let mut unit = Unit { level: below, ..Unit::default() };
        let (mut bounds, mut inputs) = (None::<(&[u8], &[u8])>, 0);
        for file in candidates {
            let (from, to) = bounds.map_or((&*file.first, &*file.last), |(from, to)| {
                (from.min(&file.first), to.max(&file.last))
            });
            (bounds, inputs) = (Some((from, to)), inputs + file.bytes);
            // One of others' goes only with a newer one that is the span's.
            if !self.files().any(|own| own.name == file.name) {
                continue;
            }
            let along = all.iter().filter(|other| {
                below != level
                    && other.level == below
                    && other.last.as_slice() >= from
                    && other.first.as_slice() <= to
            });
            let bytes = inputs + along.map(|other| other.bytes).sum::<u64>();
            if !unit.names.is_empty() && bytes > bytes_max {
                break;
            }
            unit.bytes = bytes;
            unit.bounds = Some((from.to_vec(), to.to_vec()));
            unit.names.push(file.name.clone());
        }
        Some(unit)
    }
}

/// RocksDB's last level, with its default of seven.
const LAST_LEVEL: i32 = 6;

/// Files to compact together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) names: Vec<String>,
    /// The level they go to.
    pub(crate) level: i32,
    /// The first and the last key of what is read.
    bounds: Option<(Vec<u8>, Vec<u8>)>,
    /// Bytes that are read, and at most written: those of the named files, of older ones in level 0, and of the files
    /// of the other level that overlap them.
    pub(crate) bytes: u64,
}

impl Unit {
    /// Whether the compaction may read this file.
    pub(crate) fn overlaps(&self, file: &File) -> bool {
        let bounds = self.bounds.as_ref();
        bounds.is_some_and(|(first, last)| file.last >= *first && file.first <= *last)
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
        assert_eq!(residue.own().count(), 2);
    }

    #[test]
    fn a_file_that_ends_with_the_spans_own_range_deletion_lies_inside() {
        let span = SpanId::from_raw(5);
        let (lower, upper) = key::span_bounds(span);
        let residue = Residue::of(span, [file("tombstone", 6, lower.to_vec(), upper.to_vec())]);
        assert_eq!(residue.droppable.len(), 1);
    }

    fn named(unit: Option<Unit>) -> (Vec<String>, i32, u64) {
        let unit = unit.unwrap();
        (unit.names, unit.level, unit.bytes)
    }

    #[test]
    fn compaction_goes_down_level_by_level_and_rewrites_the_last_in_place() {
        let span = SpanId::from_raw(5);
        let upper = file("upper", 0, row(5, b"a"), row(5, b"b"));
        let middle = file("middle", 5, row(2, b"a"), row(2, b"b"));
        let lower = file("lower", 6, row(4, b"a"), row(5, b"b"));
        let all = [upper.clone(), middle, lower.clone()];
        let both = Residue::of(span, [upper.clone(), lower.clone()]);
        assert_eq!(named(both.next_compaction(&all, 1000)), (vec!["upper".into()], 5, 100));
        let one = Residue::of(span, [lower.clone()]);
        assert_eq!(named(one.next_compaction(&all, 1000)), (vec!["lower".into()], 6, 100));
        let along = [upper, lower];
        assert_eq!(named(both.next_compaction(&along, 1000)), (vec!["upper".into()], 6, 200));
        assert_eq!(Residue::default().next_compaction(&all, 1000), None);
    }

    #[test]
    fn a_unit_of_compaction_is_bounded_but_never_empty() {
        let files: Vec<File> =
            (0..5).map(|n: u8| file(&n.to_string(), 6, row(5, &[n]), row(6, &[n]))).collect();
        let residue = Residue::of(SpanId::from_raw(5), files.clone());
        assert_eq!(residue.next_compaction(&files, 250).unwrap().names.len(), 2);
        assert_eq!(residue.next_compaction(&files, 1).unwrap().names.len(), 1);
    }

    #[test]
    fn of_level_0_the_oldest_go_first_with_all_that_are_older() {
        // From the newest to the oldest; two of them are others'.
        let all = [
            file("newest", 0, row(5, b"a"), row(5, b"z")),
            file("others'", 0, row(2, b"a"), row(2, b"z")),
            file("middle", 0, row(5, b"a"), row(6, b"a")),
            file("others', too", 0, row(3, b"a"), row(3, b"z")),
            file("oldest", 0, row(4, b"a"), row(5, b"b")),
            file("below", 6, row(3, b"c"), row(3, b"d")),
        ];
        let residue = Residue::of(SpanId::from_raw(5), all.clone());
        let unit = |bytes_max| {
            let (mut names, level, bytes) = named(residue.next_compaction(&all, bytes_max));
            names.sort();
            (names.join(" "), level, bytes)
        };
        assert_eq!(unit(1), ("oldest".to_owned(), 6, 100));
        // What lies between is read, too, and the file below it.
        assert_eq!(unit(399), ("oldest".to_owned(), 6, 100));
        assert_eq!(unit(400), ("middle oldest".to_owned(), 6, 400));
        assert_eq!(unit(600), ("middle newest oldest".to_owned(), 6, 600));
        let unit = residue.next_compaction(&all, 400).unwrap();
        let read: Vec<bool> = all.iter().map(|file| unit.overlaps(file)).collect();
        assert_eq!(read, [true, false, true, true, true, true]);
    }

    #[test]
    fn what_is_taken_along_counts_too() {
        let mut all: Vec<File> =
            (0..4).map(|n: u8| file(&n.to_string(), 5, row(5, &[n]), row(5, &[n, 1]))).collect();
        let residue = Residue::of(SpanId::from_raw(5), all.clone());
        all.extend((0..4).map(|n: u8| file("below", 6, row(5, &[n]), row(5, &[n, 2]))));
        let (names, level, bytes) = named(residue.next_compaction(&all, 400));
        assert_eq!((names.len(), level, bytes), (2, 6, 400));
        let unit = residue.next_compaction(&all, 400).unwrap();
        let read: Vec<bool> = all.iter().map(|file| unit.overlaps(file)).collect();
        assert_eq!(read, [true, true, false, false, true, true, false, false]);
    }
}
