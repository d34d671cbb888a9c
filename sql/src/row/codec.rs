//! [`RowCodec`]: rows to bytes and back, by the table in `row.rs`.

use std::sync::Arc;

use cairn_engine::key::{self, Direction};

use super::{RowDamage, key_layout, put_key_field};
use crate::descriptor::{Column, TableDescriptor};
use crate::value::{AsField, ColumnType, Datum, Field, fits_digits, rescale};

const FORMAT: u8 = 0x01;

const FORM_BITS: u32 = 3;
const FORM_FALSE: u8 = 0;
const FORM_TRUE: u8 = 1;
const FORM_VARINT: u8 = 2;
const FORM_FIXED_8: u8 = 3;
const FORM_FIXED_16: u8 = 4;
const FORM_BYTES: u8 = 5;

const fn damage(expected: &'static str) -> RowDamage {
    RowDamage { expected }
}

/// Takes the values of a decoded row, each column of the projection once, in any order.
pub trait RowSink {
    /// The value of the column at `position` of the projection.
    fn put(&mut self, position: usize, value: Field<'_>);
}

#[derive(Debug)]
struct KeyColumn {
    /// Position in the table's columns.
    index: usize,
    ty: ColumnType,
    direction: Direction,
    nullable: bool,
}

#[derive(Debug)]
struct ValueColumn {
    /// Position in the table's columns.
    index: usize,
    id: u32,
    ty: ColumnType,
    nullable: bool,
}

#[derive(Debug)]
struct Layout {
    columns: Vec<Column>,
    types: Vec<ColumnType>,
    key: Vec<KeyColumn>,
    /// By ascending id.
    value: Vec<ValueColumn>,
    /// Format byte and schema version.
    header: Vec<u8>,
}

/// Encodes and decodes the rows of one table. Clones share everything.
#[derive(Clone, Debug)]
pub struct RowCodec(Arc<Layout>);

/// Which columns a decoder is asked for: made once by [`RowCodec::projection`], used for many rows.
#[derive(Clone, Debug)]
pub struct Projection {
    /// Key columns up to the last one that is wanted.
    key: Vec<KeyStep>,
    /// Wanted columns of the value, by ascending id.
    value: Vec<ValueStep>,
}

#[derive(Clone, Debug)]
struct KeyStep {
    ty: ColumnType,
    direction: Direction,
    nullable: bool,
    positions: Vec<usize>,
}

#[derive(Clone, Debug)]
struct ValueStep {
    id: u32,
    ty: ColumnType,
    nullable: bool,
    position: usize,
}

impl RowCodec {
    /// The codec of a table's rows.
    #[must_use]
    pub fn new(table: &TableDescriptor) -> Self {
        let key: Vec<KeyColumn> = table
            .primary
            .key
            .iter()
            .filter_map(|part| {
                let index = table.columns.iter().position(|column| column.id == part.column_id)?;
                let column = table.columns.get(index)?;
                let (ty, nullable) = (column.ty, column.nullable);
                Some(KeyColumn { index, ty, direction: part.direction, nullable })
            })
            .collect();
        let mut value: Vec<ValueColumn> = table
            .columns
            .iter()
            .enumerate()
            .filter(|(index, _)| key.iter().all(|part| part.index != *index))
            .map(|(index, column)| ValueColumn {
                index,
                id: column.id,
                ty: column.ty,
                nullable: column.nullable,
            })
            .collect();
        value.sort_by_key(|column| column.id);
        let mut header = vec![FORMAT];
        put_varint(&mut header, table.schema_version.into());
        Self(Arc::new(Layout {
            columns: table.columns.clone(),
            types: table.columns.iter().map(|column| column.ty).collect(),
            key,
            value,
            header,
        }))
    }

    /// The types of the table's columns, in their order.
    #[must_use]
    pub fn types(&self) -> &[ColumnType] {
        &self.0.types
    }

    /// The table's columns, in their order.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.0.columns
    }

    /// Whether the table has no primary key, so that its keys are hidden row ids
    /// ([`super::hidden_key`]) and [`RowCodec::encode_key`] answers nothing.
    #[must_use]
    pub fn has_hidden_key(&self) -> bool {
        self.0.key.is_empty()
    }

    /// The user key of a row, given in the order of the table's columns.
    #[must_use]
    pub fn encode_key<V: AsField>(&self, row: &[V]) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 * self.0.key.len());
        self.put_key(row, &mut out);
        out
    }

    /// Appends the user key of a row.
    pub fn put_key<V: AsField>(&self, row: &[V], out: &mut Vec<u8>) {
        debug_assert_eq!(row.len(), self.0.types.len(), "a value for every column");
        for part in &self.0.key {
            let field = row.get(part.index).map_or(Field::Null, AsField::as_field);
            put_key_field(out, field, part.ty, part.direction);
        }
    }

    /// The value of a row, given in the order of the table's columns.
    #[must_use]
    pub fn encode_value<V: AsField>(&self, row: &[V]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.header.len() + 12 * self.0.value.len());
        self.put_value(row, &mut out);
        out
    }

    /// Appends the value of a row.
    pub fn put_value<V: AsField>(&self, row: &[V], out: &mut Vec<u8>) {
        debug_assert_eq!(row.len(), self.0.types.len(), "a value for every column");
        out.extend_from_slice(&self.0.header);
        let mut previous = 0;
        for column in &self.0.value {
            let field = row.get(column.index).map_or(Field::Null, AsField::as_field);
            if put_field(out, column.id - previous, field, column.ty) {
                previous = column.id;
            }
        }
    }

    /// What [`RowCodec::decode`] needs to know about the wanted columns, given as positions in the
    /// table's columns. Positions that the table does not have are passed over.
    #[must_use]
    pub fn projection(&self, columns: &[usize]) -> Projection {
        let wanted = |index: usize| {
            columns
                .iter()
                .enumerate()
                .filter(move |(_, wanted)| **wanted == index)
                .map(|(at, _)| at)
        };
        let mut key: Vec<KeyStep> = self
            .0
            .key
            .iter()
            .map(|part| KeyStep {
                ty: part.ty,
                direction: part.direction,
                nullable: part.nullable,
                positions: wanted(part.index).collect(),
            })
            .collect();
        while key.last().is_some_and(|part| part.positions.is_empty()) {
            key.pop();
        }
        let value = self
            .0
            .value
            .iter()
            .flat_map(|column| {
                wanted(column.index).map(|position| ValueStep {
                    id: column.id,
                    ty: column.ty,
                    nullable: column.nullable,
                    position,
                })
            })
            .collect();
        Projection { key, value }
    }

    /// Decodes the wanted columns of a row. What lies behind the last of them is not looked at.
    ///
    /// # Errors
    /// [`RowDamage`]: the sink then has some of the values.
    pub fn decode(
        &self,
        user_key: &[u8],
        value: &[u8],
        projection: &Projection,
        sink: &mut impl RowSink,
    ) -> Result<(), RowDamage> {
        decode_key(user_key, &projection.key, sink)?;
        decode_value(value, &projection.value, sink)
    }

    /// Decodes a whole row, in the order of the table's columns.
    ///
    /// # Errors
    /// [`RowDamage`]; trailing bytes are damage too.
    pub fn decode_row(&self, user_key: &[u8], value: &[u8]) -> Result<Vec<Datum>, RowDamage> {
        struct Row<'a> {
            types: &'a [ColumnType],
            data: Vec<Datum>,
        }
        impl RowSink for Row<'_> {
            fn put(&mut self, position: usize, value: Field<'_>) {
                if let Some((place, ty)) = self.data.get_mut(position).zip(self.types.get(position))
                {
                    *place = value.into_datum(*ty);
                }
            }
        }
        let all: Vec<usize> = (0..self.0.types.len()).collect();
        let data = vec![Datum::Null; all.len()];
        let mut row = Row { types: &self.0.types, data };
        self.decode(user_key, value, &self.projection(&all), &mut row)?;
        self.check_ends(user_key, value)?;
        Ok(row.data)
    }

    /// Passes over everything and sees that nothing is left over.
    fn check_ends(&self, mut user_key: &[u8], value: &[u8]) -> Result<(), RowDamage> {
        if self.has_hidden_key() {
            if user_key.len() != 16 {
                return Err(damage("a hidden row id of 16 bytes"));
            }
        } else {
            for part in &self.0.key {
                key::skip(&mut user_key, key_layout(part.ty), part.direction)?;
            }
            if !user_key.is_empty() {
                return Err(damage("the end of the key"));
            }
        }
        let mut rest = after_header(value)?;
        let mut id = 0_u32;
        while !rest.is_empty() {
            let (next, form) = take_tag(&mut rest, id)?;
            id = next;
            skip_form(&mut rest, form)?;
        }
        Ok(())
    }
}

/// Appends a column; false for NULL, which leaves nothing.
#[inline]
fn put_field(out: &mut Vec<u8>, delta: u32, field: Field<'_>, ty: ColumnType) -> bool {
    let tag = |form: u8, out: &mut Vec<u8>| {
        put_varint(out, (u64::from(delta) << FORM_BITS) | u64::from(form));
    };
    match field {
        Field::Null => return false,
        Field::Bool(value) => tag(if value { FORM_TRUE } else { FORM_FALSE }, out),
        Field::Int(value) if ty == ColumnType::TimestampTz => {
            tag(FORM_FIXED_8, out);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Field::Int(value) => {
            tag(FORM_VARINT, out);
            put_varint(out, zigzag(value));
        }
        Field::Float(value) => {
            tag(FORM_FIXED_8, out);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        Field::Decimal(unscaled, scale) => {
            debug_assert!(
                matches!(ty, ColumnType::Decimal { scale: of_column, .. } if of_column == scale),
                "a DECIMAL of scale {scale} for a column of type {ty}"
            );
            match i64::try_from(unscaled) {
                Ok(small) => {
                    tag(FORM_VARINT, out);
                    put_varint(out, zigzag(small));
                }
                Err(_) => {
                    tag(FORM_FIXED_16, out);
                    out.extend_from_slice(&unscaled.to_le_bytes());
                }
            }
        }
        Field::Text(text) => {
            tag(FORM_BYTES, out);
            put_varint(out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
    }
    true
}

fn decode_key(
    mut user_key: &[u8],
    steps: &[KeyStep],
    sink: &mut impl RowSink,
) -> Result<(), RowDamage> {
    let input = &mut user_key;
    for step in steps {
        if step.positions.is_empty() {
            key::skip(input, key_layout(step.ty), step.direction)?;
            continue;
        }
        let text;
        let field = match step.ty {
            ColumnType::Int2
            | ColumnType::Int4
            | ColumnType::Int8
            | ColumnType::Date
            | ColumnType::TimestampTz => match key::take_i64(input, step.direction)? {
                Some(value) => Field::Int(in_range(value, step.ty)?),
                None => Field::Null,
            },
            ColumnType::Float8 => {
                key::take_f64(input, step.direction)?.map_or(Field::Null, Field::Float)
            }
            ColumnType::Bool => {
                key::take_bool(input, step.direction)?.map_or(Field::Null, Field::Bool)
            }
            ColumnType::Decimal { precision, scale } => {
                match key::take_decimal(input, step.direction)? {
                    None => Field::Null,
                    Some((unscaled, from)) => {
                        let unscaled = (from <= scale)
                            .then(|| rescale(unscaled, from, scale))
                            .flatten()
                            .ok_or(damage("a DECIMAL of the column's scale"))?;
                        Field::Decimal(of_precision(unscaled, precision)?, scale)
                    }
                }
            }
            ColumnType::Text | ColumnType::Varchar(_) => {
                text = key::take_text(input, step.direction)?;
                text.as_deref().map_or(Field::Null, Field::Text)
            }
        };
        if matches!(field, Field::Null) && !step.nullable {
            return Err(damage("a value of a NOT NULL column"));
        }
        for &position in &step.positions {
            sink.put(position, field);
        }
    }
    Ok(())
}

fn decode_value(
    value: &[u8],
    steps: &[ValueStep],
    sink: &mut impl RowSink,
) -> Result<(), RowDamage> {
    let mut rest = after_header(value)?;
    let input = &mut rest;
    let mut id = 0_u32;
    let mut steps = steps.iter();
    let mut wanted = steps.next();
    while let Some(step) = wanted {
        if input.is_empty() {
            break;
        }
        let (next, form) = take_tag(input, id)?;
        id = next;
        // Columns before this one are absent.
        let mut current = step;
        while current.id < id {
            put_absent(current, sink)?;
            match steps.next() {
                Some(step) => current = step,
                None => return Ok(()),
            }
        }
        wanted = Some(current);
        if current.id > id {
            skip_form(input, form)?;
            continue;
        }
        let field = take_field(input, form, current.ty)?;
        while let Some(step) = wanted.filter(|step| step.id == id) {
            sink.put(step.position, field);
            wanted = steps.next();
        }
    }
    while let Some(step) = wanted {
        put_absent(step, sink)?;
        wanted = steps.next();
    }
    Ok(())
}

#[inline]
fn put_absent(step: &ValueStep, sink: &mut impl RowSink) -> Result<(), RowDamage> {
    if !step.nullable {
        return Err(damage("a value of a NOT NULL column"));
    }
    sink.put(step.position, Field::Null);
    Ok(())
}

fn after_header(value: &[u8]) -> Result<&[u8], RowDamage> {
    let Some((&FORMAT, mut rest)) = value.split_first() else {
        return Err(damage("row format 01"));
    };
    let version = take_varint(&mut rest)?;
    if u32::try_from(version).is_err() {
        return Err(damage("a schema version of 32 bits"));
    }
    Ok(rest)
}

/// The id of the next column, and its form.
#[inline]
fn take_tag(input: &mut &[u8], previous: u32) -> Result<(u32, u8), RowDamage> {
    let tag = take_varint(input)?;
    let form = (tag & 7) as u8;
    let id = u32::try_from(tag >> FORM_BITS).ok().and_then(|delta| previous.checked_add(delta));
    match id {
        Some(id) if id > previous => Ok((id, form)),
        _ => Err(damage("ascending column ids")),
    }
}

#[inline]
fn take_field<'a>(input: &mut &'a [u8], form: u8, ty: ColumnType) -> Result<Field<'a>, RowDamage> {
    match (form, ty) {
        (FORM_FALSE, ColumnType::Bool) => Ok(Field::Bool(false)),
        (FORM_TRUE, ColumnType::Bool) => Ok(Field::Bool(true)),
        (
            FORM_VARINT,
            ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 | ColumnType::Date,
        ) => in_range(unzigzag(take_varint(input)?), ty).map(Field::Int),
        (FORM_VARINT, ColumnType::Decimal { precision, scale }) => {
            let unscaled = unzigzag(take_varint(input)?).into();
            Ok(Field::Decimal(of_precision(unscaled, precision)?, scale))
        }
        (FORM_FIXED_16, ColumnType::Decimal { precision, scale }) => {
            let unscaled = i128::from_le_bytes(take_array(input)?);
            if i64::try_from(unscaled).is_ok() {
                return Err(damage("the short form of a DECIMAL"));
            }
            Ok(Field::Decimal(of_precision(unscaled, precision)?, scale))
        }
        (FORM_FIXED_8, ColumnType::Float8) => {
            Ok(Field::Float(f64::from_bits(u64::from_le_bytes(take_array(input)?))))
        }
        (FORM_FIXED_8, ColumnType::TimestampTz) => {
            Ok(Field::Int(i64::from_le_bytes(take_array(input)?)))
        }
        (FORM_BYTES, ColumnType::Text | ColumnType::Varchar(_)) => {
            let text = std::str::from_utf8(take_bytes(input)?);
            text.map(Field::Text).map_err(|_| damage("a text in UTF-8"))
        }
        _ => Err(damage("a form of the column's type")),
    }
}

#[inline]
fn skip_form(input: &mut &[u8], form: u8) -> Result<(), RowDamage> {
    match form {
        FORM_FALSE | FORM_TRUE => Ok(()),
        FORM_VARINT => take_varint(input).map(|_| ()),
        FORM_FIXED_8 => take_array::<8>(input).map(|_| ()),
        FORM_FIXED_16 => take_array::<16>(input).map(|_| ()),
        FORM_BYTES => take_bytes(input).map(|_| ()),
        _ => Err(damage("a form of a value")),
    }
}

#[inline]
fn in_range(value: i64, ty: ColumnType) -> Result<i64, RowDamage> {
    let fits = match ty {
        ColumnType::Int2 => i16::try_from(value).is_ok(),
        ColumnType::Int4 | ColumnType::Date => i32::try_from(value).is_ok(),
        _ => true,
    };
    if fits { Ok(value) } else { Err(damage("an integer of the column's type")) }
}

#[inline]
fn of_precision(unscaled: i128, precision: u8) -> Result<i128, RowDamage> {
    if fits_digits(unscaled, precision) {
        Ok(unscaled)
    } else {
        Err(damage("a DECIMAL of the column's precision"))
    }
}

#[inline]
fn take_array<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], RowDamage> {
    let (bytes, rest) = input.split_first_chunk::<N>().ok_or(damage("more bytes of a value"))?;
    *input = rest;
    Ok(*bytes)
}

#[inline]
fn take_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], RowDamage> {
    let length = take_varint(input)?;
    let split = usize::try_from(length).ok().and_then(|length| input.split_at_checked(length));
    let (bytes, rest) = split.ok_or(damage("more bytes of a text"))?;
    *input = rest;
    Ok(bytes)
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[inline]
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
fn take_varint(input: &mut &[u8]) -> Result<u64, RowDamage> {
    if let Some((&first, rest)) = input.split_first()
        && first < 0x80
    {
        *input = rest;
        return Ok(first.into());
    }
    take_long_varint(input)
}

fn take_long_varint(input: &mut &[u8]) -> Result<u64, RowDamage> {
    let mut value = 0_u64;
    for (index, &byte) in input.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7F);
        let shift = 7 * index;
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte < 0x80 {
            if byte == 0 && index > 0 {
                break;
            }
            *input = input.get(index + 1..).unwrap_or_default();
            return Ok(value);
        }
    }
    Err(damage("a varint"))
}
