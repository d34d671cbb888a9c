//! From records of a file to encoded rows.
//!
//! An [`Encoder`] turns a record into the key and the value that the table stores, a [`Block`] keeps
//! some thousands of them back to back. A block comes out sorted: if its rows were not in order, it has
//! a list of ranks. A value that its column does not take is an error that names file, line, column and
//! reason.
//!
//! Nothing in a row depends on when or where it is made: defaults were evaluated when the job was
//! planned, and the hidden row id of a table without primary key is the number of the file and of the
//! record in it. So work that is done again gives the same bytes.

use std::cmp::Ordering;
use std::sync::Arc;

use cairn_engine::SpanId;
use cairn_jobs::{Failure, JobError};

use super::args::{ImportArgs, InputPlace};
use super::merge::Duplicate;
use super::run::Origin;
use crate::catalog::TableDescriptor;
use crate::csv::{self, CsvError, Record};
use crate::error::{SqlError, code};
use crate::row::{RowCodec, RowSink, hidden_key};
use crate::value::{AsField as _, ColumnType, Datum, Field};

/// Size at which a block ends in production.
pub(crate) const BLOCK_BYTES: usize = 512 << 10;

/// Bits of a hidden row number that count the records of one file.
const RECORD_BITS: u32 = 40;

/// Files an import can have: what is left of a hidden row number, with its sign left alone.
pub(crate) const FILES_MAX: usize = 1 << (63 - RECORD_BITS);

#[derive(Debug, Clone, Copy)]
struct RowEnd {
    key_end: u32,
    value_end: u32,
    line: u64,
}

/// Rows of one file, in key order.
#[derive(Debug, Default)]
pub(crate) struct Block {
    file: u32,
    limit_bytes: usize,
    /// Keys and values back to back, in the order of the file.
    bytes: Vec<u8>,
    rows: Vec<RowEnd>,
    /// Row numbers by rank, if the file's order was not the keys'.
    order: Option<Vec<u32>>,
    ascending: bool,
    /// Where reading goes on behind the block.
    pub(crate) end: InputPlace,
    /// Bytes of the file that the block is made of.
    pub(crate) input_bytes: u64,
}

impl Block {
    /// An empty block for rows of a file, which ends with the row that brings it to the limit.
    pub(crate) fn new(file: u32, limit_bytes: usize) -> Self {
        let bytes = Vec::with_capacity(limit_bytes + limit_bytes / 16);
        Self { file, limit_bytes, bytes, ascending: true, ..Self::default() }
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of keys and values.
    pub(crate) fn row_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether there is room for more rows.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes.len() < self.limit_bytes
    }

    /// Memory taken, with what the sorter needs to know about the block.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let order = self.order.as_ref().map_or(0, Vec::capacity) * size_of::<u32>();
        (self.bytes.capacity() + self.rows.capacity() * size_of::<RowEnd>() + order) as u64
    }

    /// Whether the rows came in key order.
    pub(crate) fn is_ascending(&self) -> bool {
        self.ascending
    }

    fn row(&self, rank: usize) -> usize {
        let ranked = self.order.as_ref().and_then(|order| order.get(rank));
        ranked.map_or(rank, |row| *row as usize)
    }

    fn start_of(&self, row: usize) -> usize {
        let before = row.checked_sub(1).and_then(|before| self.rows.get(before));
        before.map_or(0, |row| row.value_end as usize)
    }

    fn key_of(&self, row: usize) -> &[u8] {
        let end = self.rows.get(row).map_or(0, |row| row.key_end as usize);
        self.bytes.get(self.start_of(row)..end).unwrap_or_default()
    }

    /// The key of the row of this rank.
    pub(crate) fn key(&self, rank: usize) -> &[u8] {
        self.key_of(self.row(rank))
    }

    /// The value of the row of this rank.
    pub(crate) fn value(&self, rank: usize) -> &[u8] {
        let Some(row) = self.rows.get(self.row(rank)) else { return &[] };
        self.bytes.get(row.key_end as usize..row.value_end as usize).unwrap_or_default()
    }

    /// Where the row of this rank came from.
    pub(crate) fn origin(&self, rank: usize) -> Origin {
        self.origin_of(self.row(rank))
    }

    fn origin_of(&self, row: usize) -> Origin {
        Origin { file: self.file, line: self.rows.get(row).map_or(0, |row| row.line) }
    }

    /// Ends the row whose key and value have been appended to `bytes`.
    fn end_row(&mut self, key_end: usize, line: u64) -> Result<(), Duplicate> {
        // A block ends at half a MiB, and a record has at most 64 MiB.
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let row = self.rows.len();
        self.rows.push(RowEnd {
            key_end: offset(key_end),
            value_end: offset(self.bytes.len()),
            line,
        });
        if row > 0 && self.ascending {
            match self.key_of(row - 1).cmp(self.key_of(row)) {
                Ordering::Less => {}
                Ordering::Equal => return Err(self.duplicate(row - 1, row)),
                Ordering::Greater => self.ascending = false,
            }
        }
        Ok(())
    }

    fn duplicate(&self, a: usize, b: usize) -> Duplicate {
        Duplicate::new(self.key_of(b), Some(self.origin_of(a)), Some(self.origin_of(b)))
    }

    /// Ends the block: from here on its rows are in key order.
    pub(crate) fn finish(&mut self) -> Result<(), Duplicate> {
        if self.ascending {
            return Ok(());
        }
        let count = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        let mut order: Vec<u32> = (0..count).collect();
        // Stable, so that of two equal keys the later line comes second.
        order.sort_by(|a, b| self.key_of(*a as usize).cmp(self.key_of(*b as usize)));
        for pair in order.windows(2) {
            if let [a, b] = *pair
                && self.key_of(a as usize) == self.key_of(b as usize)
            {
                return Err(self.duplicate(a as usize, b as usize));
            }
        }
        self.order = Some(order);
        Ok(())
    }
}

/// Where a column's value comes from.
#[derive(Debug)]
enum Feed {
    /// The value of this index in the record.
    File(usize),
    /// The same for every row.
    Constant(Datum),
}

#[derive(Debug)]
struct Target {
    name: String,
    ty: ColumnType,
    nullable: bool,
    from: Feed,
}

/// Turns records into rows of one table.
pub(crate) struct Encoder {
    args: Arc<ImportArgs>,
    codec: RowCodec,
    /// Positions of the key columns in `targets`, in the order of the key.
    key: Vec<usize>,
    constraint: String,
    /// In the order of the table's columns.
    targets: Vec<Target>,
    /// The span in hidden row ids; `None` for a table with a primary key.
    hidden: Option<SpanId>,
}

impl Encoder {
    /// For rows of `table`, whose hidden row ids name `span` as where they come from.
    pub(crate) fn new(
        args: &Arc<ImportArgs>,
        table: &TableDescriptor,
        span: SpanId,
    ) -> Result<Self, JobError> {
        let mut targets = Vec::with_capacity(table.columns.len());
        for column in &table.columns {
            let listed = args.columns.iter().position(|id| *id == column.id);
            let default = args.defaults.iter().find(|default| default.column == column.id);
            let from = match (listed, default) {
                (Some(index), _) => Feed::File(index),
                (None, Some(default)) => Feed::Constant(
                    Datum::parse(&default.value, column.ty).map_err(|error| failure(&error))?,
                ),
                (None, None) => Feed::Constant(Datum::Null),
            };
            if !column.nullable && matches!(from, Feed::Constant(Datum::Null)) {
                return Err(failure(&not_null(&column.name)));
            }
            let name = column.name.clone();
            targets.push(Target { name, ty: column.ty, nullable: column.nullable, from });
        }
        Ok(Self {
            args: Arc::clone(args),
            codec: RowCodec::new(table),
            key: table.key_columns().filter_map(|(key, _)| table.column_index(&key.name)).collect(),
            constraint: format!("{}_pkey", table.name),
            targets,
            hidden: table.primary.key.is_empty().then_some(span),
        })
    }

    /// Appends the row of a record, which is the `number`-th of its file, to `block`.
    pub(crate) fn encode(
        &self,
        record: &Record<'_>,
        number: u64,
        block: &mut Block,
    ) -> Result<(), JobError> {
        let expected = self.args.columns.len();
        // As the reference system has it: lines may end with a delimiter.
        let ends_with_delimiter = record.len() == expected + 1
            && record.is_empty(expected)
            && !record.is_quoted(expected);
        if record.len() != expected && !ends_with_delimiter {
            let found = record.len();
            let message = format!("expected {expected} values, found {found}");
            return Err(self.bad_line(block.file, record.line(), code::BAD_COPY_FILE_FORMAT, &message)
                .with_hint("Name the columns that the file has, in its order: IMPORT INTO t (a, b) CSV DATA (...). The delimiter is an option: WITH delimiter = '|'.")
                .into());
        }
        let text = record.text().map_err(|index| {
            let error = SqlError::new(
                code::CHARACTER_NOT_IN_REPERTOIRE,
                "invalid byte sequence for encoding \"UTF8\"",
            );
            self.bad_value(block.file, record, index, &error)
        })?;
        let mut fields: Vec<Field<'_>> = Vec::with_capacity(self.targets.len());
        for target in &self.targets {
            let index = match &target.from {
                Feed::File(index) => *index,
                Feed::Constant(value) => {
                    fields.push(value.as_field());
                    continue;
                }
            };
            let value = text.value(index);
            let is_null = self.args.nullif.as_deref() == Some(value) && !record.is_quoted(index);
            if is_null {
                if !target.nullable {
                    return Err(self.bad_value(block.file, record, index, &not_null(&target.name)));
                }
                fields.push(Field::Null);
                continue;
            }
            // A plain match: adapters would move each value several times, which costs more than
            // parsing it.
            match target.ty.parse(value) {
                Ok(field) => fields.push(field),
                Err(error) => return Err(self.bad_text(block.file, record, index, value, error)),
            }
        }
        let line = record.line();
        match self.hidden {
            None => self.codec.put_key(&fields, &mut block.bytes),
            Some(span) => {
                let number = (u64::from(block.file) << RECORD_BITS) | number;
                block.bytes.extend_from_slice(&hidden_key(span, number));
            }
        }
        let key_end = block.bytes.len();
        self.codec.put_value(&fields, &mut block.bytes);
        block.end_row(key_end, line).map_err(|duplicate| self.duplicate(&duplicate))
    }

    fn bad_line(&self, file: u32, line: u64, code: &str, message: &str) -> Failure {
        let name = self.args.file_name(file);
        Failure::new(code, format!("{name}: line {line}: {message}"))
    }

    #[cold]
    fn bad_text(
        &self,
        file: u32,
        record: &Record<'_>,
        index: usize,
        value: &str,
        mut error: SqlError,
    ) -> JobError {
        if value.is_empty() && error.hint.is_none() {
            error.hint = Some("If empty values mean NULL, say so: WITH nullif = ''".to_owned());
        }
        self.bad_value(file, record, index, &error)
    }

    fn bad_value(
        &self,
        file: u32,
        record: &Record<'_>,
        index: usize,
        error: &SqlError,
    ) -> JobError {
        let column = self.column_name(index);
        let message = format!("column {column}: {}", error.message);
        let mut failure = self.bad_line(file, record.line_of(index), error.code, &message);
        failure.detail.clone_from(&error.detail);
        failure.hint.clone_from(&error.hint);
        failure.into()
    }

    fn column_name(&self, index: usize) -> &str {
        let is_it = |target: &&Target| matches!(target.from, Feed::File(at) if at == index);
        self.targets.iter().find(is_it).map_or("?", |target| &target.name)
    }

    /// A file that cannot be read on.
    pub(crate) fn unreadable(&self, file: u32, error: CsvError) -> JobError {
        let malformed = match error {
            CsvError::Io(source) => {
                let context = format!("read {}", self.args.file_name(file));
                return cairn_engine::EngineError::Io { context, source }.into();
            }
            CsvError::Malformed(malformed) => malformed,
        };
        let column = self.column_name(malformed.field);
        let (code, hint) = match malformed.what {
            csv::TOO_LONG => (
                code::PROGRAM_LIMIT_EXCEEDED,
                "A quote that is not closed may be the reason; the line is where the record begins.",
            ),
            _ => (
                code::BAD_COPY_FILE_FORMAT,
                "A value with quotes, delimiters or line breaks is put in quotes, and its own quotes are doubled: \"say \"\"hi\"\"\".",
            ),
        };
        let message = format!("column {column}: {}", malformed.what);
        self.bad_line(file, malformed.line, code, &message).with_hint(hint).into()
    }

    /// A key for people: `(a, b)=(1, x)`.
    pub(crate) fn key_text(&self, key: &[u8]) -> String {
        let targets: Vec<&Target> =
            self.key.iter().filter_map(|index| self.targets.get(*index)).collect();
        let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        let names = names.join(", ");
        let mut values = Values { texts: vec![String::new(); targets.len()], targets };
        // A value of NULLs only, because the key is all there is.
        let value = self.codec.encode_value(&vec![Field::Null; self.targets.len()]);
        let projection = self.codec.projection(&self.key);
        match self.codec.decode(key, &value, &projection, &mut values) {
            Ok(()) => format!("({names})=({})", values.texts.join(", ")),
            Err(_) => format!("({names})"),
        }
    }

    /// Two rows with one key.
    pub(crate) fn duplicate(&self, duplicate: &Duplicate) -> JobError {
        let key = self.key_text(&duplicate.key);
        let place =
            |origin: &Origin| format!("{}: line {}", self.args.file_name(origin.file), origin.line);
        let places: Vec<String> = duplicate.origins.iter().flatten().map(place).collect();
        let message =
            format!("duplicate key value violates unique constraint \"{}\"", self.constraint);
        let message = match places.first() {
            Some(place) => format!("{place}: {message}"),
            None => message,
        };
        let detail = match places.get(1) {
            Some(other) => format!("Key {key} is in {other} too."),
            None => format!("Key {key} is there already."),
        };
        let failure = Failure::new(code::UNIQUE_VIOLATION, message).with_detail(detail);
        failure.with_hint("Nothing was imported. Remove one of the rows and import again.").into()
    }
}

struct Values<'a> {
    targets: Vec<&'a Target>,
    texts: Vec<String>,
}

impl RowSink for Values<'_> {
    fn put(&mut self, position: usize, value: Field<'_>) {
        if let Some((text, target)) = self.texts.get_mut(position).zip(self.targets.get(position)) {
            *text = value.into_datum(target.ty).to_string();
        }
    }
}

/// An error of this crate as the end of a job.
pub(crate) fn failure(error: &SqlError) -> JobError {
    JobError::Failed(Failure {
        code: error.code.to_owned(),
        message: error.message.clone(),
        detail: error.detail.clone(),
        hint: error.hint.clone(),
    })
}

impl From<SqlError> for JobError {
    fn from(error: SqlError) -> Self {
        failure(&error)
    }
}

fn not_null(column: &str) -> SqlError {
    let message = format!("null value in column \"{column}\" violates not-null constraint");
    SqlError::new(code::NOT_NULL_VIOLATION, message)
}
