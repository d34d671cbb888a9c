//! Query results as aligned text, the way psql prints them.
//!
//! A result wider than the terminal is printed expanded, one line per column and record, so that nothing is cut.
//! Numbers stand on the right. A line end inside a value is shown as `\n`.

use std::fmt::Write as _;

/// Rows of text with column names; `None` is NULL and prints as nothing.
#[derive(Default)]
pub(crate) struct Table {
    /// The names of the columns.
    pub(crate) columns: Vec<String>,
    /// The rows, each as long as `columns`.
    pub(crate) rows: Vec<Vec<Option<String>>>,
}

impl Table {
    /// The table as text without a final line end; expanded when it is wider than `width`.
    pub(crate) fn render(&self, width: Option<usize>) -> String {
        let cells: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(shown).collect()).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                let values =
                    cells.iter().filter_map(|row| row.get(column)).map(|cell| length(cell));
                values
                    .max()
                    .unwrap_or(0)
                    .max(self.columns.get(column).map_or(0, |name| length(name)))
            })
            .collect();
        let line = widths.iter().sum::<usize>() + 3 * widths.len();
        match width {
            Some(width) if line > width + 1 && !cells.is_empty() => self.expanded(&cells),
            _ => self.aligned(&cells, &widths),
        }
    }

    fn aligned(&self, cells: &[Vec<String>], widths: &[usize]) -> String {
        let right: Vec<bool> =
            (0..self.columns.len()).map(|column| self.is_numeric(column)).collect();
        let mut out = String::new();
        let names = self.columns.iter().zip(widths).map(|(name, width)| centered(name, *width));
        push_line(&mut out, &names.collect::<Vec<_>>().join("|"));
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
        push_line(&mut out, &rule.join("+"));
        for row in cells {
            let cells = row.iter().zip(widths).zip(&right).map(|((cell, width), right)| {
                let gap = " ".repeat(width.saturating_sub(length(cell)));
                if *right { format!(" {gap}{cell} ") } else { format!(" {cell}{gap} ") }
            });
            push_line(&mut out, &cells.collect::<Vec<_>>().join("|"));
        }
        let plural = if cells.len() == 1 { "" } else { "s" };
        let _ = write!(out, "({} row{plural})", cells.len());
        out
    }

    fn expanded(&self, cells: &[Vec<String>]) -> String {
        let width = self.columns.iter().map(|name| length(name)).max().unwrap_or(0);
        let mut out = String::new();
        for (number, row) in cells.iter().enumerate() {
            push_line(&mut out, &format!("-[ RECORD {} ]{}", number + 1, "-".repeat(width)));
            for (name, cell) in self.columns.iter().zip(row) {
                let gap = " ".repeat(width - length(name));
                push_line(&mut out, &format!("{name}{gap} | {cell}"));
            }
        }
        out.truncate(out.trim_end_matches('\n').len());
        out
    }

    fn is_numeric(&self, column: usize) -> bool {
        let mut values = self.rows.iter().filter_map(|row| row.get(column)?.as_deref()).peekable();
        values.peek().is_some() && values.all(|value| value.parse::<f64>().is_ok())
    }
}

fn shown(cell: &Option<String>) -> String {
    cell.as_deref().unwrap_or_default().replace('\n', "\\n")
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn centered(name: &str, width: usize) -> String {
    let gap = width.saturating_sub(length(name));
    let left = gap / 2;
    format!(" {}{name}{} ", " ".repeat(left), " ".repeat(gap - left))
}

fn push_line(out: &mut String, line: &str) {
    out.push_str(line.trim_end());
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            columns: vec!["id".to_owned(), "name".to_owned()],
            rows: vec![
                vec![Some("7".to_owned()), Some("a\nb".to_owned())],
                vec![Some("10".to_owned()), None],
            ],
        }
    }

    #[test]
    fn a_table_that_fits_is_aligned_with_numbers_on_the_right() {
        assert_eq!(table().render(None), " id | name\n----+------\n  7 | a\\nb\n 10 |\n(2 rows)");
    }

    #[test]
    fn a_table_that_does_not_fit_is_expanded() {
        let expected =
            "-[ RECORD 1 ]----\nid   | 7\nname | a\\nb\n-[ RECORD 2 ]----\nid   | 10\nname |";
        assert_eq!(table().render(Some(8)), expected);
    }

    #[test]
    fn an_empty_table_still_shows_its_columns() {
        let empty = Table { columns: vec!["id".to_owned()], rows: Vec::new() };
        assert_eq!(empty.render(Some(1)), " id\n----\n(0 rows)");
    }
}
