//! What an import job keeps: its arguments, fixed when it was planned, and its checkpoint.
//!
//! Both are protobuf, so tags are never reused. The arguments name everything that decides a row's
//! bytes (columns, defaults as values, the order of files, their lengths and times), so a job that goes
//! on in another process makes the same rows.

use prost::Message;

use crate::csv::Place;
use crate::place::Source;

/// The arguments of an IMPORT job.
#[derive(Clone, PartialEq, Message)]
pub struct ImportArgs {
    /// The table.
    #[prost(uint64, tag = "1")]
    pub table_id: u64,
    /// Its name with database and schema, for messages.
    #[prost(string, tag = "2")]
    pub table: String,
    /// The ids of the columns that the files have, in their order.
    #[prost(uint32, repeated, tag = "3")]
    pub columns: Vec<u32>,
    /// Values of columns that the files do not have. Columns not named here are NULL.
    #[prost(message, repeated, tag = "4")]
    pub defaults: Vec<ColumnDefault>,
    /// The files, in their order.
    #[prost(message, repeated, tag = "5")]
    pub files: Vec<ImportFile>,
    /// What separates values: an ASCII character.
    #[prost(uint32, tag = "6")]
    pub delimiter: u32,
    /// The unquoted text that means NULL.
    #[prost(string, optional, tag = "7")]
    pub nullif: Option<String>,
    /// Records to pass over at the beginning of each file.
    #[prost(uint64, tag = "8")]
    pub skip: u64,
}

/// The value that a column has where the files have none.
#[derive(Clone, PartialEq, Message)]
pub struct ColumnDefault {
    /// The column.
    #[prost(uint32, tag = "1")]
    pub column: u32,
    /// The value as text of the column's type: evaluated once, when the job was planned.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A file as it was when the job was planned.
#[derive(Clone, PartialEq, Message)]
pub struct ImportFile {
    /// Path below the external directory.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Length.
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
    /// Last change, in nanoseconds since 1970.
    #[prost(uint64, tag = "3")]
    pub modified_ns: u64,
}

impl From<Source> for ImportFile {
    fn from(source: Source) -> Self {
        Self { name: source.name, bytes: source.bytes, modified_ns: source.modified_ns }
    }
}

impl ImportFile {
    /// The file for [`crate::place::External::open`].
    pub(crate) fn source(&self) -> Source {
        Source { name: self.name.clone(), bytes: self.bytes, modified_ns: self.modified_ns }
    }
}

impl ImportArgs {
    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The name of a file, for messages.
    pub(crate) fn file_name(&self, file: u32) -> &str {
        self.files.get(file as usize).map_or("?", |file| &file.name)
    }
}

/// What an import does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Road {
    /// Rows come in key order and go straight into the first span.
    Direct = 0,
    /// Rows go into sorted runs. The first span is one more run.
    Sort = 1,
    /// All rows are in runs, which go into the second span.
    Merge = 2,
    /// All rows are in the span that is to be published.
    Publish = 3,
}

/// The checkpoint of an IMPORT job: all rows before `input` are in the first span or in `runs`, and,
/// once merging, all rows up to `merged` are in the second span too.
#[derive(Clone, PartialEq, Message)]
pub struct ImportCheckpoint {
    /// What the job does.
    #[prost(enumeration = "Road", tag = "1")]
    pub road: i32,
    /// Where reading goes on.
    #[prost(message, required, tag = "2")]
    pub input: InputPlace,
    /// Runs to be merged, in the scratch folder.
    #[prost(message, repeated, tag = "3")]
    pub runs: Vec<Run>,
    /// Number of the next run.
    #[prost(uint64, tag = "4")]
    pub next_run: u64,
    /// The last key that the merge has put into the second span.
    #[prost(bytes = "bytes", optional, tag = "5")]
    pub merged: Option<bytes::Bytes>,
    /// For each of `runs`: a block at or before its first row that is not merged yet.
    #[prost(uint64, repeated, tag = "6")]
    pub merge_offsets: Vec<u64>,
    /// Rows read.
    #[prost(uint64, tag = "7")]
    pub rows_read: u64,
    /// Rows in the span that is being filled.
    #[prost(uint64, tag = "8")]
    pub rows: u64,
    /// Bytes of SST files made so far, those of the first span included.
    #[prost(uint64, tag = "9")]
    pub bytes: u64,
}

/// A place in the list of files.
#[derive(Clone, PartialEq, Message)]
pub struct InputPlace {
    /// Index of the file; the number of files when all are read.
    #[prost(uint32, tag = "1")]
    pub file: u32,
    /// Bytes of it that are read.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    /// Lines of it that are read.
    #[prost(uint64, tag = "3")]
    pub lines: u64,
    /// Records of it that are read, the skipped ones too: the row number of hidden row ids.
    #[prost(uint64, tag = "4")]
    pub records: u64,
}

impl InputPlace {
    /// The beginning of a file.
    pub(crate) fn start_of(file: u32) -> Self {
        Self { file, ..Self::default() }
    }

    /// For the reader of that file.
    pub(crate) fn place(&self) -> Place {
        Place { offset: self.offset, line: self.lines + 1 }
    }
}

/// A sorted run.
#[derive(Clone, PartialEq, Message)]
pub struct Run {
    /// Names its file; never reused.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// Length.
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
    /// Rows.
    #[prost(uint64, tag = "3")]
    pub rows: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_of_arguments_and_checkpoints_are_fixed() {
        let args = ImportArgs {
            table_id: 300,
            table: "a.b.t".to_owned(),
            columns: vec![2, 1],
            defaults: vec![ColumnDefault { column: 3, value: "x".to_owned() }],
            files: vec![ImportFile { name: "t.csv".to_owned(), bytes: 1000, modified_ns: 1 << 60 }],
            delimiter: 44,
            nullif: Some(String::new()),
            skip: 1,
        };
        assert_eq!(
            hex(&args.encode_to_vec()),
            "08ac021205612e622e741a020201220508031201782a140a05742e63737610e80718808080808080808010302c3a004001"
        );
        let checkpoint = ImportCheckpoint {
            road: Road::Merge.into(),
            input: InputPlace { file: 1, offset: 1000, lines: 30, records: 29 },
            runs: vec![Run { number: 4, bytes: 5000, rows: 70 }],
            next_run: 5,
            merged: Some(bytes::Bytes::from_static(b"\x01k")),
            merge_offsets: vec![4096],
            rows_read: 70,
            rows: 9,
            bytes: 800,
        };
        assert_eq!(
            hex(&checkpoint.encode_to_vec()),
            "08021209080110e807181e201d1a070804108827184620052a02016b320280203846400948a006"
        );
    }
}
