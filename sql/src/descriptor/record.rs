//! The stored form of everything in the catalog: keys and protobuf bodies.
//!
//! | key | kind | body |
//! |---|---|---|
//! | `d`, id u64 big-endian | database, schema or table descriptor | [`DatabaseRecord`], [`SchemaRecord`], [`TableRecord`] |
//! | `n`, parent id u64 big-endian, name | name | [`NameRecord`] |
//! | `u`, name | user | [`UserRecord`] |
//! | `m`, member as a key text, role as a key text | role membership | [`MembershipRecord`] |
//!
//! The parent of a database is 0, of a schema its database, of a table its schema. Other crates keep
//! records of their own in the family under other first bytes.
//!
//! Decoding is total: a body that says something no release has written is a [`Corruption`] of its
//! record, and the rest of the catalog is used without it.

use bytes::Bytes;
use cairn_engine::envelope::kind;
use cairn_engine::key::{self, Direction};
use cairn_engine::{Corruption, Family, Kind, SpanId};
use prost::Message;

use super::{
    BulkSpan, Column, DatabaseDescriptor, DescriptorState, Index, KeyPart, SchemaDescriptor,
    TableDescriptor, User,
};
use crate::value::{ColumnType, DECIMAL_DIGITS_MAX};

const DESCRIPTOR: u8 = b'd';
const NAME: u8 = b'n';
const USER: u8 = b'u';
const MEMBERSHIP: u8 = b'm';

/// The first bytes of the keys of this crate.
#[cfg(feature = "store")]
pub(crate) const PREFIXES: [u8; 4] = [DESCRIPTOR, MEMBERSHIP, NAME, USER];

pub(crate) fn descriptor_key(id: u64) -> Vec<u8> {
    let mut key = vec![DESCRIPTOR];
    key.extend_from_slice(&id.to_be_bytes());
    key
}

pub(crate) fn name_key(parent: u64, name: &str) -> Vec<u8> {
    let mut key = vec![NAME];
    key.extend_from_slice(&parent.to_be_bytes());
    key.extend_from_slice(name.as_bytes());
    key
}

pub(crate) fn user_key(name: &str) -> Vec<u8> {
    let mut key = vec![USER];
    key.extend_from_slice(name.as_bytes());
    key
}

pub(crate) fn membership_key(member: &str, role: &str) -> Vec<u8> {
    let mut key = vec![MEMBERSHIP];
    key::put_text(&mut key, member, Direction::Asc);
    key::put_text(&mut key, role, Direction::Asc);
    key
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DatabaseRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    version: u64,
    #[prost(uint32, tag = "3")]
    state: u32,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(bytes = "bytes", tag = "15")]
    extension: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SchemaRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    version: u64,
    #[prost(uint32, tag = "3")]
    state: u32,
    #[prost(uint64, tag = "4")]
    database_id: u64,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(bytes = "bytes", tag = "15")]
    extension: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TableRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    version: u64,
    #[prost(uint32, tag = "3")]
    state: u32,
    #[prost(uint64, tag = "4")]
    schema_id: u64,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(message, repeated, tag = "6")]
    columns: Vec<ColumnRecord>,
    #[prost(message, optional, tag = "7")]
    primary: Option<IndexRecord>,
    #[prost(uint32, tag = "8")]
    schema_version: u32,
    #[prost(uint32, tag = "9")]
    next_column_id: u32,
    #[prost(bytes = "bytes", tag = "15")]
    extension: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct ColumnRecord {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, optional, tag = "3")]
    ty: Option<TypeRecord>,
    #[prost(bool, tag = "4")]
    nullable: bool,
    #[prost(string, optional, tag = "5")]
    default: Option<String>,
    #[prost(bytes = "bytes", tag = "15")]
    extension: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct TypeRecord {
    /// 1 INT2, 2 INT4, 3 INT8, 4 FLOAT8, 5 DECIMAL, 6 BOOL, 7 STRING, 8 VARCHAR, 9 DATE,
    /// 10 TIMESTAMPTZ.
    #[prost(uint32, tag = "1")]
    code: u32,
    /// Digits of a DECIMAL, characters of a VARCHAR.
    #[prost(uint32, tag = "2")]
    length: u32,
    /// Of a DECIMAL.
    #[prost(uint32, tag = "3")]
    scale: u32,
}

#[derive(Clone, PartialEq, Message)]
struct IndexRecord {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(message, repeated, tag = "2")]
    key: Vec<KeyPartRecord>,
    #[prost(uint64, tag = "3")]
    home: u64,
    #[prost(message, repeated, tag = "4")]
    spans: Vec<BulkSpanRecord>,
    #[prost(bytes = "bytes", tag = "15")]
    extension: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct KeyPartRecord {
    #[prost(uint32, tag = "1")]
    column_id: u32,
    #[prost(bool, tag = "2")]
    descending: bool,
}

#[derive(Clone, PartialEq, Message)]
struct BulkSpanRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(bytes = "bytes", tag = "2")]
    first_key: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    last_key: Bytes,
    #[prost(uint64, tag = "4")]
    rows: u64,
    #[prost(uint64, tag = "5")]
    bytes: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NameRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct UserRecord {
    #[prost(bool, tag = "1")]
    can_login: bool,
    #[prost(bytes = "bytes", tag = "15")]
    extension: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct MembershipRecord {
    #[prost(bytes = "bytes", tag = "15")]
    extension: Bytes,
}

/// A record of the catalog, decoded.
#[derive(Debug, PartialEq)]
pub(crate) enum Record {
    Database(DatabaseDescriptor),
    Schema(SchemaDescriptor),
    Table(TableDescriptor),
    Name { parent: u64, name: String, id: u64 },
    User(User),
    Membership { member: String, role: String },
}

impl Record {
    /// Decodes what the envelope of the record under `key` held.
    pub(crate) fn decode(key: &[u8], kind: Kind, body: &[u8]) -> Result<Self, Corruption> {
        let damage = |expected: &str| Corruption::new(Family::Catalog, key, expected);
        let record = decode(key, kind, body).map_err(damage)?;
        if record.stored().key == key { Ok(record) } else { Err(damage("the record of this key")) }
    }

    /// The record as it is stored. Fields of later releases that are not `extension` are gone.
    pub(crate) fn stored(&self) -> Stored {
        match self {
            Self::Database(database) => Stored::database(database),
            Self::Schema(schema) => Stored::schema(schema),
            Self::Table(table) => Stored::table(table),
            Self::Name { parent, name, id } => Stored::name(*parent, name, *id),
            Self::User(user) => Stored::user(user),
            Self::Membership { member, role } => Stored::membership(member, role),
        }
    }
}

/// A record on its way into the family `catalog`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) key: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) body: Vec<u8>,
}

impl Stored {
    fn new(key: Vec<u8>, kind: Kind, record: &impl Message) -> Self {
        Self { key, kind, body: record.encode_to_vec() }
    }

    pub(crate) fn database(database: &DatabaseDescriptor) -> Self {
        let record = DatabaseRecord {
            id: database.id,
            version: database.version,
            state: state_code(database.state),
            name: database.name.clone(),
            extension: database.extension.clone(),
        };
        Self::new(descriptor_key(database.id), kind::DATABASE, &record)
    }

    pub(crate) fn schema(schema: &SchemaDescriptor) -> Self {
        let record = SchemaRecord {
            id: schema.id,
            version: schema.version,
            state: state_code(schema.state),
            database_id: schema.database_id,
            name: schema.name.clone(),
            extension: schema.extension.clone(),
        };
        Self::new(descriptor_key(schema.id), kind::SCHEMA, &record)
    }

    pub(crate) fn table(table: &TableDescriptor) -> Self {
        Self::new(descriptor_key(table.id), kind::TABLE, &TableRecord::from(table))
    }

    pub(crate) fn name(parent: u64, name: &str, id: u64) -> Self {
        Self::new(name_key(parent, name), kind::NAME, &NameRecord { id })
    }

    pub(crate) fn user(user: &User) -> Self {
        let record = UserRecord { can_login: user.can_login, extension: user.extension.clone() };
        Self::new(user_key(&user.name), kind::USER, &record)
    }

    pub(crate) fn membership(member: &str, role: &str) -> Self {
        let record = MembershipRecord::default();
        Self::new(membership_key(member, role), kind::ROLE_MEMBERSHIP, &record)
    }
}

fn decode(key: &[u8], kind: Kind, body: &[u8]) -> Result<Record, &'static str> {
    const TEXT: &str = "a name in UTF-8";
    fn message<M: Message + Default>(body: &[u8]) -> Result<M, &'static str> {
        M::decode(body).map_err(|_| "a protobuf body")
    }
    let (&prefix, rest) = key.split_first().ok_or("a key")?;
    match (prefix, kind) {
        (DESCRIPTOR, kind::DATABASE) => {
            let record: DatabaseRecord = message(body)?;
            Ok(Record::Database(DatabaseDescriptor {
                id: record.id,
                version: record.version,
                state: state_of(record.state)?,
                name: record.name,
                extension: record.extension,
            }))
        }
        (DESCRIPTOR, kind::SCHEMA) => {
            let record: SchemaRecord = message(body)?;
            Ok(Record::Schema(SchemaDescriptor {
                id: record.id,
                version: record.version,
                state: state_of(record.state)?,
                database_id: record.database_id,
                name: record.name,
                extension: record.extension,
            }))
        }
        (DESCRIPTOR, kind::TABLE) => table_of(message(body)?).map(Record::Table),
        (NAME, kind::NAME) => {
            let (parent, name) = rest.split_first_chunk::<8>().ok_or("the id of a parent")?;
            Ok(Record::Name {
                parent: u64::from_be_bytes(*parent),
                name: std::str::from_utf8(name).map_err(|_| TEXT)?.to_owned(),
                id: message::<NameRecord>(body)?.id,
            })
        }
        (USER, kind::USER) => {
            let record: UserRecord = message(body)?;
            Ok(Record::User(User {
                name: std::str::from_utf8(rest).map_err(|_| TEXT)?.to_owned(),
                can_login: record.can_login,
                extension: record.extension,
            }))
        }
        (MEMBERSHIP, kind::ROLE_MEMBERSHIP) => {
            let mut rest = rest;
            let mut name = || {
                let text = key::take_text(&mut rest, Direction::Asc).map_err(|_| TEXT)?;
                text.ok_or(TEXT)
            };
            let (member, role) = (name()?, name()?);
            message::<MembershipRecord>(body)?;
            Ok(Record::Membership { member, role })
        }
        _ => Err("a record of the kind that belongs here"),
    }
}

impl From<&TableDescriptor> for TableRecord {
    fn from(table: &TableDescriptor) -> Self {
        let columns = table.columns.iter().map(|column| ColumnRecord {
            id: column.id,
            name: column.name.clone(),
            ty: Some(type_record(column.ty)),
            nullable: column.nullable,
            default: column.default.clone(),
            extension: column.extension.clone(),
        });
        Self {
            id: table.id,
            version: table.version,
            state: state_code(table.state),
            schema_id: table.schema_id,
            name: table.name.clone(),
            columns: columns.collect(),
            primary: Some(index_record(&table.primary)),
            schema_version: table.schema_version,
            next_column_id: table.next_column_id,
            extension: table.extension.clone(),
        }
    }
}

fn index_record(index: &Index) -> IndexRecord {
    let key = index.key.iter().map(|part| KeyPartRecord {
        column_id: part.column_id,
        descending: part.direction == Direction::Desc,
    });
    let spans = index.spans.iter().map(|span| BulkSpanRecord {
        id: span.id.raw(),
        first_key: span.first_key.clone(),
        last_key: span.last_key.clone(),
        rows: span.rows,
        bytes: span.bytes,
    });
    IndexRecord {
        id: index.id,
        key: key.collect(),
        home: index.home.raw(),
        spans: spans.collect(),
        extension: index.extension.clone(),
    }
}

fn table_of(record: TableRecord) -> Result<TableDescriptor, &'static str> {
    let mut columns: Vec<Column> = Vec::with_capacity(record.columns.len());
    for column in record.columns {
        if column.id == 0 || columns.iter().any(|known| known.id == column.id) {
            return Err("columns with ids of their own");
        }
        columns.push(Column {
            id: column.id,
            name: column.name,
            ty: type_of(&column.ty.ok_or("the type of a column")?)?,
            nullable: column.nullable,
            default: column.default,
            extension: column.extension,
        });
    }
    let index = record.primary.ok_or("a primary index")?;
    let key: Vec<KeyPart> = index
        .key
        .iter()
        .map(|part| KeyPart {
            column_id: part.column_id,
            direction: if part.descending { Direction::Desc } else { Direction::Asc },
        })
        .collect();
    for (at, part) in key.iter().enumerate() {
        let known = columns.iter().any(|column| column.id == part.column_id);
        if !known || key[..at].iter().any(|other| other.column_id == part.column_id) {
            return Err("key columns of the table, each once");
        }
    }
    let spans = index.spans.into_iter().map(|span| BulkSpan {
        id: SpanId::from_raw(span.id),
        first_key: span.first_key,
        last_key: span.last_key,
        rows: span.rows,
        bytes: span.bytes,
    });
    Ok(TableDescriptor {
        id: record.id,
        version: record.version,
        state: state_of(record.state)?,
        schema_id: record.schema_id,
        name: record.name,
        columns,
        primary: Index {
            id: index.id,
            key,
            home: SpanId::from_raw(index.home),
            spans: spans.collect(),
            extension: index.extension,
        },
        schema_version: record.schema_version,
        next_column_id: record.next_column_id,
        extension: record.extension,
    })
}

fn state_code(state: DescriptorState) -> u32 {
    match state {
        DescriptorState::Public => 1,
        DescriptorState::Offline => 2,
        DescriptorState::Dropping => 3,
    }
}

fn state_of(code: u32) -> Result<DescriptorState, &'static str> {
    match code {
        1 => Ok(DescriptorState::Public),
        2 => Ok(DescriptorState::Offline),
        3 => Ok(DescriptorState::Dropping),
        _ => Err("the state public, offline or dropping"),
    }
}

fn type_record(ty: ColumnType) -> TypeRecord {
    let (code, length, scale) = match ty {
        ColumnType::Int2 => (1, 0, 0),
        ColumnType::Int4 => (2, 0, 0),
        ColumnType::Int8 => (3, 0, 0),
        ColumnType::Float8 => (4, 0, 0),
        ColumnType::Decimal { precision, scale } => (5, precision.into(), scale.into()),
        ColumnType::Bool => (6, 0, 0),
        ColumnType::Text => (7, 0, 0),
        ColumnType::Varchar(characters) => (8, characters, 0),
        ColumnType::Date => (9, 0, 0),
        ColumnType::TimestampTz => (10, 0, 0),
    };
    TypeRecord { code, length, scale }
}

fn type_of(record: &TypeRecord) -> Result<ColumnType, &'static str> {
    Ok(match (record.code, record.length, record.scale) {
        (1, 0, 0) => ColumnType::Int2,
        (2, 0, 0) => ColumnType::Int4,
        (3, 0, 0) => ColumnType::Int8,
        (4, 0, 0) => ColumnType::Float8,
        (5, length, scale) => {
            let precision = u8::try_from(length).unwrap_or(u8::MAX);
            let scale = u8::try_from(scale).unwrap_or(u8::MAX);
            if !(1..=DECIMAL_DIGITS_MAX).contains(&precision) || scale > precision {
                return Err("a DECIMAL of 1 to 38 digits");
            }
            ColumnType::Decimal { precision, scale }
        }
        (6, 0, 0) => ColumnType::Bool,
        (7, 0, 0) => ColumnType::Text,
        (8, characters, 0) if characters > 0 => ColumnType::Varchar(characters),
        (9, 0, 0) => ColumnType::Date,
        (10, 0, 0) => ColumnType::TimestampTz,
        _ => return Err("a type that this release knows"),
    })
}

#[cfg(test)]
#[path = "record_test.rs"]
mod tests;
