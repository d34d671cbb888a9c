//! The demo's data: TPC-H `orders` and `lineitem` as CSV files, and the sums they must still have inside the database.
//!
//! The sums are taken from the generated rows while they are written, so they owe nothing to the database.

use indicatif::ProgressBar;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use tpchgen::csv::{LineItemCsv, OrderCsv};
use tpchgen::generators::{LineItemGenerator, OrderGenerator};

/// `lineitem` comes in so many files, made by as many threads.
pub(super) const LINEITEM_FILES: i32 = 4;
/// Rows between two moves of a progress bar.
const BAR_STEP: u64 = 10_000;
const BUFFER_BYTES: usize = 1 << 20;

/// What was generated.
pub(super) struct Data {
    /// The key of every order, for the foreground load.
    pub(super) order_keys: Vec<i64>,
    /// The size of `orders.csv`.
    pub(super) orders_bytes: u64,
    /// The sums of `lineitem`.
    pub(super) lineitem: Sums,
    /// The size of all lineitem files together.
    pub(super) lineitem_bytes: u64,
}

/// Count and sums over all rows of `lineitem`: a lost, doubled or damaged row changes at least one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) rows: i128,
    pub(super) order_keys: i128,
    pub(super) part_keys: i128,
    pub(super) line_numbers: i128,
    pub(super) quantity: i128,
    /// In hundredths, as the next two.
    pub(super) price: i128,
    pub(super) discount: i128,
    pub(super) tax: i128,
    /// Days since 1970-01-01.
    pub(super) first_shipped: i128,
    pub(super) last_received: i128,
    pub(super) comment_characters: i128,
}

/// The same sums, asked of the database: one row of eleven numbers.
pub(super) const SUMS: &str = "SELECT count(*), sum(l_orderkey), sum(l_partkey), sum(l_linenumber), \
     sum(l_quantity), sum(l_extendedprice), sum(l_discount), sum(l_tax), \
     min(l_shipdate), max(l_receiptdate), sum(char_length(l_comment)) FROM lineitem";

impl Sums {
    /// How each number is written in the answer to [`SUMS`].
    pub(super) fn expected(&self) -> Vec<(&'static str, String)> {
        let hundredths = |value: i128| format!("{}.{:02}", value / 100, value % 100);
        let date = |days: i128| {
            let days = u64::try_from(days).unwrap_or(0);
            chrono::NaiveDate::default()
                .checked_add_days(chrono::Days::new(days))
                .map_or(String::new(), |date| date.to_string())
        };
        vec![
            ("count", self.rows.to_string()),
            ("sum of l_orderkey", self.order_keys.to_string()),
            ("sum of l_partkey", self.part_keys.to_string()),
            ("sum of l_linenumber", self.line_numbers.to_string()),
            ("sum of l_quantity", hundredths(self.quantity * 100)),
            ("sum of l_extendedprice", hundredths(self.price)),
            ("sum of l_discount", hundredths(self.discount)),
            ("sum of l_tax", hundredths(self.tax)),
            ("first l_shipdate", date(self.first_shipped)),
            ("last l_receiptdate", date(self.last_received)),
            ("characters of l_comment", self.comment_characters.to_string()),
        ]
    }

    fn add(&mut self, other: &Sums) {
        if other.rows == 0 {
            return;
        }
        let first = if self.rows == 0 {
            other.first_shipped
        } else {
            self.first_shipped.min(other.first_shipped)
        };
        self.rows += other.rows;
        self.order_keys += other.order_keys;
        self.part_keys += other.part_keys;
        self.line_numbers += other.line_numbers;
        self.quantity += other.quantity;
        self.price += other.price;
        self.discount += other.discount;
        self.tax += other.tax;
        self.first_shipped = first;
        self.last_received = self.last_received.max(other.last_received);
        self.comment_characters += other.comment_characters;
    }
}

/// How many rows `orders` has at a scale.
pub(super) fn order_count(scale: f64) -> u64 {
    u64::try_from(OrderGenerator::calculate_row_count(scale, 1, 1)).unwrap_or(0)
}

/// Writes the files and moves the bar by one for each row. Blocks; uses [`LINEITEM_FILES`] threads.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn generate(scale: f64, folder: &Path, bar: &ProgressBar) -> io::Result<Data> {
    std::fs::create_dir_all(folder)?;
    let (orders, parts) = std::thread::scope(|scope| {
        let parts: Vec<_> = (1..=LINEITEM_FILES)
            .map(|part| scope.spawn(move || lineitem(scale, part, folder, bar)))
            .collect();
        let orders = orders(scale, folder, bar);
        let parts: Vec<_> = parts.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        (orders, parts)
    });
    let (order_keys, orders_bytes) = orders?;
    let mut data = Data { order_keys, orders_bytes, lineitem: Sums::default(), lineitem_bytes: 0 };
    for part in parts {
        let (sums, bytes) = part.map_err(|_| io::Error::other("the generator panicked"))??;
        data.lineitem.add(&sums);
        data.lineitem_bytes += bytes;
    }
    Ok(data)
}

fn orders(scale: f64, folder: &Path, bar: &ProgressBar) -> io::Result<(Vec<i64>, u64)> {
    let mut file = CsvFile::create(&folder.join("orders.csv"), OrderCsv::header())?;
    let mut keys = Vec::with_capacity(usize::try_from(order_count(scale)).unwrap_or(0));
    for order in OrderGenerator::new(scale, 1, 1).iter() {
        keys.push(order.o_orderkey);
        file.row(&OrderCsv::new(order), bar)?;
    }
    Ok((keys, file.finish(bar)?))
}

fn lineitem(scale: f64, part: i32, folder: &Path, bar: &ProgressBar) -> io::Result<(Sums, u64)> {
    let mut file =
        CsvFile::create(&folder.join(format!("lineitem.{part}.csv")), LineItemCsv::header())?;
    let mut sums = Sums { first_shipped: i128::MAX, ..Sums::default() };
    for line in LineItemGenerator::new(scale, part, LINEITEM_FILES).iter() {
        sums.rows += 1;
        sums.order_keys += i128::from(line.l_orderkey);
        sums.part_keys += i128::from(line.l_partkey);
        sums.line_numbers += i128::from(line.l_linenumber);
        sums.quantity += i128::from(line.l_quantity);
        sums.price += i128::from(line.l_extendedprice.into_inner());
        sums.discount += i128::from(line.l_discount.into_inner());
        sums.tax += i128::from(line.l_tax.into_inner());
        sums.first_shipped = sums.first_shipped.min(line.l_shipdate.to_unix_epoch().into());
        sums.last_received = sums.last_received.max(line.l_receiptdate.to_unix_epoch().into());
        sums.comment_characters += line.l_comment.chars().count() as i128;
        file.row(&LineItemCsv::new(line), bar)?;
    }
    Ok((sums, file.finish(bar)?))
}

/// A CSV file with a header line.
struct CsvFile {
    out: BufWriter<File>,
    unreported: u64,
}

impl CsvFile {
    fn create(path: &Path, header: &str) -> io::Result<CsvFile> {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?);
        writeln!(out, "{header}")?;
        Ok(CsvFile { out, unreported: 0 })
    }

    fn row(&mut self, row: &impl std::fmt::Display, bar: &ProgressBar) -> io::Result<()> {
        writeln!(self.out, "{row}")?;
        self.unreported += 1;
        if self.unreported == BAR_STEP {
            bar.inc(std::mem::take(&mut self.unreported));
        }
        Ok(())
    }

    /// Closes the file and answers its size.
    fn finish(self, bar: &ProgressBar) -> io::Result<u64> {
        bar.inc(self.unreported);
        let file = self.out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        Ok(file.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_those_of_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let data = generate(0.001, folder.path(), &ProgressBar::hidden()).unwrap();
        assert_eq!(data.order_keys.len() as u64, order_count(0.001));
        let mut found = Sums { first_shipped: i128::MAX, ..Sums::default() };
        let mut bytes = 0;
        for part in 1..=LINEITEM_FILES {
            let text = std::fs::read_to_string(folder.path().join(format!("lineitem.{part}.csv")))
                .unwrap();
            bytes += text.len() as u64;
            for line in text.lines().skip(1) {
                let fields: Vec<&str> = line.splitn(16, ',').collect();
                found.rows += 1;
                found.order_keys += fields[0].parse::<i128>().unwrap();
                found.price += fields[5].replace('.', "").parse::<i128>().unwrap();
                found.comment_characters += fields[15].trim_matches('"').chars().count() as i128;
            }
        }
        assert_eq!(bytes, data.lineitem_bytes);
        assert_eq!(
            (found.rows, found.order_keys, found.price, found.comment_characters),
            (
                data.lineitem.rows,
                data.lineitem.order_keys,
                data.lineitem.price,
                data.lineitem.comment_characters
            )
        );
        let dates = data.lineitem.expected();
        assert!(
            dates[8].1.starts_with("1992-01-") && dates[9].1.starts_with("1998-12-"),
            "{dates:?}"
        );
    }
}
