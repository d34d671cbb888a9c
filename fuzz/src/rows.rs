//! Rows as bytes.

use arbitrary::{Arbitrary, Unstructured};
use cairn_engine::SpanId;
use cairn_engine::key::Direction;
use cairn_sql::descriptor::{Column, DescriptorState, Index, KeyPart, TableDescriptor};
use cairn_sql::row::RowCodec;
use cairn_sql::value::Datum;

use crate::values::{column_type, datum, equal};

/// Strategy: the first bytes make a table of a few columns. A row of it is encoded; what is left of the bytes is
/// decoded as key and value of a row, cut at every kind of place.
/// Invariants: no panic; a row that was encoded decodes to itself; bytes that decode are, encoded again, the same
/// key, and decode to the same row; what is left of a row that was cut, or lengthened, is damage or another row,
/// never the end of the process.
pub fn rows(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(table) = table(&mut input) else { return };
    let codec = RowCodec::new(&table);
    let Ok(row) = row(&mut input, &table) else { return };
    let (key, value) = (codec.encode_key(&row), codec.encode_value(&row));
    if !codec.has_hidden_key() {
        let decoded = codec.decode_row(&key, &value);
        let decoded = decoded.unwrap_or_else(|damage| panic!("{row:?}: {damage}"));
        assert!(same(&decoded, &row), "{decoded:?}, not {row:?}");
        for cut in 0..value.len().min(64) {
            check(&codec, &key, &value[..cut]);
        }
        for cut in 0..key.len().min(64) {
            assert!(codec.decode_row(&key[..cut], &value).is_err(), "{row:?}: a key cut at {cut}");
        }
    }
    let rest = input.take_rest();
    let (key, value) = match rest.split_first() {
        Some((length, rest)) => rest.split_at(usize::from(*length).min(rest.len())),
        None => (rest, rest),
    };
    check(&codec, key, value);
    check(&codec, key, &[codec.encode_value(&row).as_slice(), value].concat());
}

fn check(codec: &RowCodec, key: &[u8], value: &[u8]) {
    let Ok(row) = codec.decode_row(key, value) else { return };
    assert_eq!(row.len(), codec.types().len());
    let again = codec.encode_value(&row);
    if !codec.has_hidden_key() {
        assert_eq!(codec.encode_key(&row), key);
    }
    let decoded = codec.decode_row(key, &again);
    assert!(decoded.is_ok_and(|decoded| same(&decoded, &row)), "{row:?}");
    assert_eq!(codec.encode_value(&row), again);
}

/// Equal but for the sign of zero, which keys do not have.
fn same(a: &[Datum], b: &[Datum]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
}

fn table(input: &mut Unstructured<'_>) -> arbitrary::Result<TableDescriptor> {
    let mut columns = Vec::new();
    let mut key = Vec::new();
    let mut next_column_id = 1;
    for _ in 0..input.int_in_range(1..=5)? {
        // Gaps are dropped columns.
        next_column_id += input.int_in_range(0..=2)?;
        let ty = column_type(input)?;
        let in_key = bool::arbitrary(input)?;
        let nullable = bool::arbitrary(input)?;
        if in_key {
            let descending = bool::arbitrary(input)?;
            let direction = if descending { Direction::Desc } else { Direction::Asc };
            key.push(KeyPart { column_id: next_column_id, direction });
        }
        columns.push(Column {
            id: next_column_id,
            name: format!("c{next_column_id}"),
            ty,
            nullable,
            default: None,
            extension: Default::default(),
        });
        next_column_id += 1;
    }
    if bool::arbitrary(input)? {
        key.reverse();
    }
    Ok(TableDescriptor {
        id: 100,
        version: 1,
        state: DescriptorState::Public,
        schema_id: 2,
        name: "t".to_owned(),
        columns,
        primary: Index {
            id: 1,
            key,
            home: SpanId::from_raw(7),
            spans: Vec::new(),
            extension: Default::default(),
        },
        schema_version: input.int_in_range(0..=300)?,
        next_column_id,
        extension: Default::default(),
    })
}

fn row(input: &mut Unstructured<'_>, table: &TableDescriptor) -> arbitrary::Result<Vec<Datum>> {
    let value = |column: &Column| {
        if column.nullable && bool::arbitrary(input)? {
            return Ok(Datum::Null);
        }
        datum(input, column.ty)
    };
    table.columns.iter().map(value).collect()
}
