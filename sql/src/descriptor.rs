//! Descriptors: what a database, a schema, a table, a user is.
//!
//! They are plain data, which the catalog makes, changes and hands out; their stored form is in
//! `descriptor/record.rs`. A name is not part of what makes a thing itself: it is reserved by a
//! record of its own, and things refer to each other by ids, which are never reused.
//!
//! Each descriptor carries `extension` bytes that this release does not look at and writes back as
//! they are: what a later release puts there survives a change made by this one.

pub(crate) mod record;

use bytes::Bytes;
use cairn_engine::key::Direction;
use cairn_engine::{SpanFamily, SpanId, SpanRef};

use crate::value::ColumnType;

/// Spans that an index has at most, beside its home span.
pub const SPANS_MAX: usize = 8;

/// Whether a thing can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DescriptorState {
    /// Everybody sees it.
    #[default]
    Public,
    /// It exists and keeps its name, but a job works on it: nobody reads or writes it.
    Offline,
    /// It has lost its name and waits for its removal.
    Dropping,
}

impl DescriptorState {
    /// `public`, `offline`, `dropping`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Offline => "offline",
            Self::Dropping => "dropping",
        }
    }
}

/// A database: a set of schemas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseDescriptor {
    /// Never reused.
    pub id: u64,
    /// Grows with every change of the descriptor.
    pub version: u64,
    /// Whether it can be used.
    pub state: DescriptorState,
    /// The name it is reserved under.
    pub name: String,
    /// Bytes of later releases.
    pub extension: Bytes,
}

/// A schema: a set of tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaDescriptor {
    /// Never reused.
    pub id: u64,
    /// Grows with every change of the descriptor.
    pub version: u64,
    /// Whether it can be used.
    pub state: DescriptorState,
    /// The database it belongs to.
    pub database_id: u64,
    /// The name it is reserved under.
    pub name: String,
    /// Bytes of later releases.
    pub extension: Bytes,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDescriptor {
    /// Never reused.
    pub id: u64,
    /// Grows with every change of the descriptor, its list of spans included: a statement that
    /// planned with another version must plan again.
    pub version: u64,
    /// Whether it can be used.
    pub state: DescriptorState,
    /// The schema it belongs to.
    pub schema_id: u64,
    /// The name it is reserved under.
    pub name: String,
    /// In the order of `SELECT *`.
    pub columns: Vec<Column>,
    /// The index that holds the rows.
    pub primary: Index,
    /// Grows with every change of the columns; each row says under which it was written.
    pub schema_version: u32,
    /// The id of the next column: ids of dropped columns are not reused.
    pub next_column_id: u32,
    /// Bytes of later releases.
    pub extension: Bytes,
}

/// A user or role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// Whether it can log in: a role cannot.
    pub can_login: bool,
    /// Bytes of later releases.
    pub extension: Bytes,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its tag in row values; never reused within the table. From 1.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// What it holds.
    pub ty: ColumnType,
    /// Whether NULL is a value of it.
    pub nullable: bool,
    /// The constant that stands in for a value that is not given, as SQL text.
    pub default: Option<String>,
    /// Bytes of later releases.
    pub extension: Bytes,
}

/// An index: its key, and the spans that hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// 1 for the primary index.
    pub id: u32,
    /// The columns it is ordered by; empty for the primary index of a table without a primary key,
    /// whose rows are told apart by a hidden row id (see [`crate::row::hidden_key`]).
    pub key: Vec<KeyPart>,
    /// The span in `rows` that INSERT writes.
    pub home: SpanId,
    /// The spans in `bulk` that jobs published, oldest first, at most [`SPANS_MAX`]. A key lives in
    /// at most one span of an index.
    pub spans: Vec<BulkSpan>,
    /// Bytes of later releases.
    pub extension: Bytes,
}

/// A column of an index key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyPart {
    /// Which column.
    pub column_id: u32,
    /// Which way it is sorted.
    pub direction: Direction,
}

/// A span that a job published, with what is known of it. UPDATE and DELETE may leave fewer keys in
/// it than stated, never a key outside of its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkSpan {
    /// Which span.
    pub id: SpanId,
    /// The first user key that was written.
    pub first_key: Bytes,
    /// The last user key that was written.
    pub last_key: Bytes,
    /// Rows when it was published.
    pub rows: u64,
    /// Bytes of keys and values when it was published.
    pub bytes: u64,
}

impl BulkSpan {
    /// The span and its family.
    #[must_use]
    pub const fn span_ref(&self) -> SpanRef {
        SpanRef { id: self.id, family: SpanFamily::Bulk }
    }

    /// Whether `user_key` can be in it.
    #[must_use]
    pub fn may_hold(&self, user_key: &[u8]) -> bool {
        self.first_key.as_ref() <= user_key && user_key <= self.last_key.as_ref()
    }
}

impl Index {
    /// The home span and its family.
    #[must_use]
    pub const fn home_span(&self) -> SpanRef {
        SpanRef { id: self.home, family: SpanFamily::Rows }
    }

    /// The home span first, then the others in their order.
    #[must_use]
    pub fn all_spans(&self) -> Vec<SpanRef> {
        std::iter::once(self.home_span()).chain(self.spans.iter().map(BulkSpan::span_ref)).collect()
    }
}

impl TableDescriptor {
    /// The span that INSERT writes.
    #[must_use]
    pub const fn home_span(&self) -> SpanRef {
        self.primary.home_span()
    }

    /// Every span of the table: the home span first, then the others in their order.
    #[must_use]
    pub fn all_spans(&self) -> Vec<SpanRef> {
        self.primary.all_spans()
    }

    /// The column called so.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The position in `columns` of the column called so.
    #[must_use]
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The column with this id.
    #[must_use]
    pub fn column_by_id(&self, id: u32) -> Option<&Column> {
        self.columns.iter().find(|column| column.id == id)
    }

    /// Whether rows are told apart by a hidden row id, because there is no primary key.
    #[must_use]
    pub fn has_hidden_key(&self) -> bool {
        self.primary.key.is_empty()
    }

    /// The columns of the primary key in the order of the key, with their directions.
    pub fn key_columns(&self) -> impl Iterator<Item = (&Column, Direction)> {
        self.primary
            .key
            .iter()
            .filter_map(|part| Some((self.column_by_id(part.column_id)?, part.direction)))
    }
}
