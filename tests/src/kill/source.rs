//! The files that are imported, and what a table shows once one of them is in.
//!
//! Contents follow from the key alone, so nothing has to be remembered: row `k` has the value
//! [`value`]`(k)` and the text `row k of the table`. A table is compared by its [`Summary`].

use std::fmt::Write as _;
use std::path::Path;

use crate::data::write_file;
use crate::random::mix;

/// Keys of rows that are inserted by hand begin here, above those of all files.
pub(crate) const HAND_FROM: i64 = 1_000_000_000;

/// The columns of the tables that are imported into.
pub(crate) const COLUMNS: &str = "k INT8 PRIMARY KEY, x INT8 NOT NULL, v TEXT NOT NULL";

/// The query whose answer is a [`Summary`] and the number of rows whose text is not their key's.
pub(crate) fn summary_query(table: &str) -> String {
    format!(
        "SELECT count(*), coalesce(sum(k), 0), coalesce(sum(x), 0), coalesce(sum(x * (k % 97)), 0), \
         count(*) FILTER (WHERE v <> concat('row ', CAST(k AS TEXT), ' of the table')) FROM {table}"
    )
}

/// The value of row `k`.
pub(crate) fn value(k: i64) -> i64 {
    // Below 2^31 by the shift.
    (mix(k.unsigned_abs()) >> 33) as i64
}

/// The text of row `k`.
pub(crate) fn text(k: i64) -> String {
    format!("row {k} of the table")
}

/// Enough about a set of rows to tell it from any other that may come up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) rows: i64,
    pub(crate) keys: i64,
    pub(crate) values: i64,
    pub(crate) mixed: i64,
}

impl Summary {
    /// With a row more.
    pub(crate) fn add(&mut self, k: i64, x: i64) {
        self.change(k, x, 1);
    }

    /// With a row less.
    pub(crate) fn remove(&mut self, k: i64, x: i64) {
        self.change(k, x, -1);
    }

    fn change(&mut self, k: i64, x: i64, by: i64) {
        self.rows += by;
        self.keys += by * k;
        self.values += by * x;
        self.mixed += by * x * (k % 97);
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rows, keys, values, mixed } = self;
        write!(f, "{rows} rows (sums {keys}, {values}, {mixed})")
    }
}

/// In which order the keys of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Ascending,
    /// Each key once, far from its neighbours.
    Scattered,
    /// Three quarters ascending, then the first quarter: an import begins directly and has to sort after all.
    Turning,
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// A letter where a number has to be, near the end.
    Letter,
    /// A key that comes twice.
    Twice,
}

/// A source of an import: one file, or two.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Source {
    name: &'static str,
    rows: i64,
    files: i64,
    order: Order,
    flaw: Flaw,
}

/// Every source.
pub(crate) static SOURCES: [Source; 10] = [
    Source::new("few", 40, Order::Ascending, Flaw::None),
    Source::new("ascending", 3_000, Order::Ascending, Flaw::None),
    Source::new("scattered", 3_000, Order::Scattered, Flaw::None),
    Source::new("ascending-long", 50_000, Order::Ascending, Flaw::None),
    Source::new("scattered-long", 50_000, Order::Scattered, Flaw::None),
    Source::new("turning", 40_000, Order::Turning, Flaw::None),
    Source { files: 2, ..Source::new("halves", 20_000, Order::Ascending, Flaw::None) },
    Source::new("letter", 30_000, Order::Ascending, Flaw::Letter),
    Source::new("twice", 20_000, Order::Ascending, Flaw::Twice),
    Source::new("twice-scattered", 20_000, Order::Scattered, Flaw::Twice),
];

impl Source {
    const fn new(name: &'static str, rows: i64, order: Order, flaw: Flaw) -> Self {
        Self { name, rows, files: 1, order, flaw }
    }

    /// Its name in files and messages.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Keys of a good source are `1..=rows`.
    pub(crate) fn rows(&self) -> i64 {
        self.rows
    }

    /// Whether it can be imported at all.
    pub(crate) fn is_good(&self) -> bool {
        self.flaw == Flaw::None
    }

    /// The place for a statement: a glob if there are two files.
    pub(crate) fn uri(&self) -> String {
        let glob = if self.files > 1 { "-*" } else { "" };
        format!("nodelocal://1/{}{glob}.csv", self.name)
    }

    /// What a table shows that has this source and nothing else.
    pub(crate) fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        (1..=self.rows).for_each(|k| summary.add(k, value(k)));
        summary
    }

    fn key(&self, n: i64) -> i64 {
        match self.order {
            Order::Ascending => n,
            Order::Scattered => (n * 7_919) % self.rows + 1,
            Order::Turning => (n - 1 + self.rows / 4) % self.rows + 1,
        }
    }

    fn lines(&self, from: i64, to: i64) -> String {
        let mut lines = String::new();
        for n in from..=to {
            let k = self.key(n);
            let row = format!("{k},{},{}\n", value(k), text(k));
            let flawed = n == self.rows - self.rows / 8;
            match self.flaw {
                Flaw::Twice if flawed => lines.push_str(&row),
                Flaw::Letter if flawed => {
                    let _ = writeln!(lines, "x{k},0,{}", text(k));
                }
                Flaw::None | Flaw::Twice | Flaw::Letter => {}
            }
            lines.push_str(&row);
        }
        lines
    }

    /// Writes the files into a folder.
    pub(crate) fn write(&self, folder: &Path) {
        if self.files == 1 {
            write_file(&folder.join(format!("{}.csv", self.name)), &self.lines(1, self.rows));
            return;
        }
        let part = self.rows / self.files;
        for file in 0..self.files {
            let path = folder.join(format!("{}-{file}.csv", self.name));
            write_file(&path, &self.lines(file * part + 1, (file + 1) * part));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_source_has_every_key_once_and_a_flawed_one_a_line_more() {
        for source in &SOURCES {
            let lines = source.lines(1, source.rows);
            let mut keys: Vec<i64> =
                lines.lines().filter_map(|line| line.split(',').next()?.parse().ok()).collect();
            keys.sort_unstable();
            let count = i64::try_from(lines.lines().count()).unwrap();
            assert_eq!(count, source.rows + i64::from(!source.is_good()), "{}", source.name);
            keys.dedup();
            assert!(keys.iter().copied().eq(1..=source.rows), "{}", source.name);
        }
    }

    #[test]
    fn a_summary_notices_a_row_that_is_lost_doubled_or_changed() {
        let whole = SOURCES[0].summary();
        for (k, x) in [(1, value(1)), (40, value(40))] {
            let mut other = whole;
            other.remove(k, x);
            assert_ne!(other, whole);
            other.add(k, x + 1);
            assert_ne!(other, whole);
        }
    }
}
