use bytes::Bytes;
use cairn_engine::key::Direction::{self, Asc, Desc};
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::common::ScalarValue;
use proptest::prelude::*;

use super::*;
use crate::catalog::{Column, DescriptorState, Index, KeyPart, TableDescriptor};
use crate::value::Datum;
use crate::value::tests::{any_datum, any_typed};

/// A table of columns (type, nullable) with ids from 1, and a key of (column id, direction).
fn table(columns: &[(ColumnType, bool)], key: &[(u32, Direction)]) -> TableDescriptor {
    TableDescriptor {
        id: 100,
        version: 1,
        state: DescriptorState::Public,
        schema_id: 2,
        name: "t".to_owned(),
        columns: (1..)
            .zip(columns)
            .map(|(id, (ty, nullable))| Column {
                id,
                name: format!("c{id}"),
                ty: *ty,
                nullable: *nullable,
                default: None,
                extension: Bytes::new(),
            })
            .collect(),
        primary: Index {
            id: 1,
            key: key
                .iter()
                .map(|&(column_id, direction)| KeyPart { column_id, direction })
                .collect(),
            home: SpanId::from_raw(7),
            spans: Vec::new(),
            extension: Bytes::new(),
        },
        schema_version: 1,
        next_column_id: u32::try_from(columns.len()).unwrap() + 1,
        extension: Bytes::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

const DECIMAL: ColumnType = ColumnType::Decimal { precision: 38, scale: 2 };

/// One column of every type after the key.
fn wide() -> TableDescriptor {
    table(
        &[
            (ColumnType::Int8, false),
            (ColumnType::Int2, true),
            (ColumnType::Int4, true),
            (ColumnType::Int8, true),
            (ColumnType::Float8, true),
            (DECIMAL, true),
            (DECIMAL, true),
            (ColumnType::Bool, true),
            (ColumnType::Bool, true),
            (ColumnType::Text, true),
            (ColumnType::Varchar(9), true),
            (ColumnType::Date, true),
            (ColumnType::TimestampTz, true),
        ],
        &[(1, Asc)],
    )
}

fn wide_row() -> Vec<Datum> {
    vec![
        Datum::Int(1),
        Datum::Int(-1),
        Datum::Int(300),
        Datum::Null,
        Datum::Float(1.5),
        Datum::Decimal(-150, 2),
        Datum::Decimal(i128::from(i64::MAX) + 1, 2),
        Datum::Bool(false),
        Datum::Bool(true),
        Datum::Text("añ".to_owned()),
        Datum::Text(String::new()),
        Datum::Date(19_753),
        Datum::TimestampTz(-1),
    ]
}

#[test]
fn golden_bytes_of_row_values() {
    let codec = RowCodec::new(&wide());
    let value = codec.encode_value(&wide_row());
    let expect = [
        "01 01",                               // format, schema version
        "12 01",                               // column 2, varint: -1
        "0a d804",                             // column 3, varint: 300
        "13 000000000000f83f",                 // column 5 (two further), 8 bytes: 1.5
        "0a ab02",                             // column 6, varint: -150
        "0c 00000000000000800000000000000000", // column 7, 16 bytes: 2^63
        "08",                                  // column 8: false
        "09",                                  // column 9: true
        "0d 03 61c3b1",                        // column 10, text
        "0d 00",                               // column 11, empty text
        "0a d2b402",                           // column 12, varint: 19753
        "0b ffffffffffffffff",                 // column 13, 8 bytes: -1
    ];
    assert_eq!(hex(&value), hex(&unhex(&expect.concat())));
    let key = codec.encode_key(&wide_row());
    assert_eq!(hex(&key), "018000000000000001");
    assert_eq!(codec.decode_row(&key, &value).unwrap(), wide_row());
}

#[test]
fn golden_bytes_of_the_example_in_the_format_page() {
    let columns = [
        (ColumnType::Int8, false),
        (ColumnType::Int2, true),
        (ColumnType::Int4, true),
        (ColumnType::Date, true),
        (ColumnType::Float8, true),
        (ColumnType::Bool, true),
        (ColumnType::Text, true),
    ];
    let row = [
        Datum::Int(1),
        Datum::Int(-1),
        Datum::Int(300),
        Datum::Null,
        Datum::Float(1.5),
        Datum::Bool(true),
        Datum::Text("a".to_owned()),
    ];
    let value = RowCodec::new(&table(&columns, &[(1, Asc)])).encode_value(&row);
    assert_eq!(hex(&value), "010112010ad80413000000000000f83f090d0161");
}

#[test]
fn golden_bytes_of_keys_of_several_columns() {
    let columns = [
        (ColumnType::Text, false),
        (ColumnType::Int4, false),
        (ColumnType::Decimal { precision: 4, scale: 2 }, false),
        (ColumnType::Bool, false),
    ];
    let codec = RowCodec::new(&table(&columns, &[(2, Desc), (1, Asc), (3, Asc)]));
    let row =
        [Datum::Text("a\0b".to_owned()), Datum::Int(5), Datum::Decimal(150, 2), Datum::Bool(true)];
    let key = codec.encode_key(&row);
    assert_eq!(hex(&key), "fe7ffffffffffffffa016100ff620001010380011000");
    let value = codec.encode_value(&row);
    assert_eq!(hex(&value), "010121");
    assert_eq!(codec.decode_row(&key, &value).unwrap(), row);
}

#[test]
fn golden_bytes_of_hidden_row_ids() {
    let key = hidden_key(SpanId::from_raw(0x0102), 3);
    assert_eq!(hex(&key), "00000000000001020000000000000003");
    assert_eq!(hidden_key_origin(&key), Some(SpanId::from_raw(0x0102)));
    assert_eq!(hidden_key_number(&key), Some(3));
    assert_eq!((hidden_key_origin(b"short"), hidden_key_number(&[0; 17])), (None, None));
    let codec = RowCodec::new(&table(&[(ColumnType::Int8, true)], &[]));
    assert!(codec.has_hidden_key() && codec.encode_key(&[Datum::Int(1)]).is_empty());
    let value = codec.encode_value(&[Datum::Null]);
    assert_eq!(codec.decode_row(&key, &value).unwrap(), [Datum::Null]);
}

#[test]
fn columns_that_a_row_does_not_have_are_null_and_unknown_ones_are_passed_over() {
    let codec = RowCodec::new(&wide());
    // Columns 3 and 20 of some other time.
    let value = unhex("01 01 1a 04 8d01 01 78");
    let row = codec.decode_row(&unhex("018000000000000001"), &value).unwrap();
    assert_eq!(row[2], Datum::Int(2));
    assert!(row.iter().enumerate().all(|(at, value)| at == 0 || at == 2 || value.is_null()));
}

#[test]
fn bytes_that_no_encoder_wrote_are_damage() {
    let table = table(
        &[
            (ColumnType::Int8, false),
            (ColumnType::Int2, true),
            (ColumnType::Text, true),
            (ColumnType::Decimal { precision: 2, scale: 0 }, true),
            (ColumnType::Bool, true),
        ],
        &[(1, Asc)],
    );
    let codec = RowCodec::new(&table);
    let key = "018000000000000001";
    for (key, value, expected) in [
        (key, "", "row format 01"),
        (key, "02 01", "row format 01"),
        (key, "01", "a varint"),
        (key, "01 8000", "a varint"),
        (key, "01 ffffffffffffffffff7f", "a varint"),
        (key, "01 01 02 02", "ascending column ids"),
        (key, "01 01 12", "a varint"),
        (key, "01 01 12 808008", "an integer of the column's type"),
        (key, "01 01 15 01 61", "a form of the column's type"),
        (key, "01 01 17 01", "a form of the column's type"),
        (key, "01 01 1d 05 61", "more bytes of a text"),
        (key, "01 01 1d 01 ff", "a text in UTF-8"),
        (key, "01 01 22 c801", "a DECIMAL of the column's precision"),
        (key, "01 01 24 01000000000000000000000000000000", "the short form of a DECIMAL"),
        (key, "01 01 24 0100", "more bytes of a value"),
        (key, "01 01 7f", "a form of a value"),
        ("", "01 01", "a value or NULL"),
        ("00", "01 01", "a value of a NOT NULL column"),
        ("01800000000000000102", "01 01", "the end of the key"),
    ] {
        let damage = codec.decode_row(&unhex(key), &unhex(value)).unwrap_err();
        assert_eq!(damage.expected, expected, "{key} {value}");
    }
    let code = SqlError::from(RowDamage { expected: "more" }).code;
    assert_eq!(code, "XX001");
}

#[test]
fn a_projection_decodes_only_what_is_wanted() {
    let codec = RowCodec::new(&wide());
    let (key, value) = (codec.encode_key(&wide_row()), codec.encode_value(&wide_row()));
    let mut appender = RowAppender::new(&codec, &[9, 0, 3, 0], 8).unwrap();
    appender.append(&key, &value).unwrap();
    appender.append(&key, &value).unwrap();
    let batch = appender.finish().unwrap();
    assert_eq!((batch.num_columns(), batch.num_rows()), (4, 2));
    assert_eq!(batch.column(0).as_string::<i32>().value(1), "añ");
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(1), 1);
    assert!(batch.column(2).is_null(0));
    // A cut value is fine as long as what is wanted lies before the cut.
    let mut first = RowAppender::new(&codec, &[1], 8).unwrap();
    first.append(&key, &value[..4]).unwrap();
    // No columns at all: only rows are counted, as count(*) wants it.
    let mut none = RowAppender::new(&codec, &[], 8).unwrap();
    none.append(&key, &value).unwrap();
    assert_eq!(none.finish().unwrap().num_rows(), 1);
    assert!(RowAppender::new(&codec, &[99], 8).is_err());
}

#[test]
fn a_reader_fits_what_the_query_engine_made() {
    let table = table(
        &[
            (ColumnType::Int2, true),
            (ColumnType::Decimal { precision: 4, scale: 1 }, true),
            (ColumnType::Varchar(2), true),
        ],
        &[],
    );
    let batch = |number: i64, decimal: i128, text: &str| {
        RecordBatch::try_from_iter([
            ("a", ScalarValue::Int64(Some(number)).to_array().unwrap()),
            ("b", ScalarValue::Decimal128(Some(decimal), 10, 3).to_array().unwrap()),
            ("c", ScalarValue::Utf8View(Some(text.to_owned())).to_array().unwrap()),
            ("place", ScalarValue::Int64(Some(1)).to_array().unwrap()),
        ])
        .unwrap()
    };
    let read = |batch: &RecordBatch| RowReader::new(&table, batch).unwrap().row(0);
    assert_eq!(
        read(&batch(5, 1250, "xy")).unwrap(),
        [Datum::Int(5), Datum::Decimal(13, 1), Datum::Text("xy".to_owned())]
    );
    assert_eq!(read(&batch(70_000, 0, "")).unwrap_err().code, "22003");
    assert_eq!(read(&batch(0, 1_000_000, "")).unwrap_err().code, "22003");
    assert_eq!(read(&batch(0, 0, "xyz")).unwrap_err().code, "22001");
}

/// A table of some columns, and rows of it. The first columns are the key, in any direction.
fn any_rows() -> impl Strategy<Value = (TableDescriptor, Vec<Vec<Datum>>)> {
    (prop::collection::vec(any_typed(), 1..8), prop::collection::vec(any::<bool>(), 0..3))
        .prop_flat_map(|(columns, directions)| {
            let types: Vec<(ColumnType, bool)> =
                columns.iter().map(|(ty, _)| (*ty, true)).collect();
            let key: Vec<(u32, Direction)> = (1..)
                .zip(directions.iter().take(types.len()))
                .map(|(id, desc)| (id, if *desc { Desc } else { Asc }))
                .collect();
            let row: Vec<_> = types.iter().map(|(ty, _)| any_datum(*ty)).collect();
            let table = table(&types, &key);
            (Just(table), prop::collection::vec(row, 1..6))
        })
}

/// NaN is NaN; a key does not keep the sign of zero.
fn same(a: &Datum, b: &Datum) -> bool {
    match (a, b) {
        (Datum::Float(a), Datum::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
        (a, b) => a == b,
    }
}

proptest! {
    #[test]
    fn rows_go_into_bytes_and_back((table, rows) in any_rows()) {
        let codec = RowCodec::new(&table);
        let columns: Vec<usize> = (0..table.columns.len()).collect();
        let mut appender = RowAppender::new(&codec, &columns, 8).unwrap();
        for row in &rows {
            let key = if codec.has_hidden_key() {
                hidden_key(SpanId::from_raw(1), 1).to_vec()
            } else {
                codec.encode_key(row)
            };
            let value = codec.encode_value(row);
            let back = codec.decode_row(&key, &value).unwrap();
            prop_assert!(back.iter().zip(row).all(|(a, b)| same(a, b)), "{:?} {:?}", back, row);
            appender.append(&key, &value).unwrap();
        }
        let batch = appender.finish().unwrap();
        let reader = RowReader::new(&table, &batch).unwrap();
        for (index, row) in rows.iter().enumerate() {
            let back = reader.row(index).unwrap();
            prop_assert!(back.iter().zip(row).all(|(a, b)| same(a, b)), "{:?} {:?}", back, row);
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(
        (table, _) in any_rows(),
        key in prop::collection::vec(any::<u8>(), 0..40),
        value in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let codec = RowCodec::new(&table);
        let _ = codec.decode_row(&key, &value);
        let mut framed = vec![1, 1];
        framed.extend_from_slice(&value);
        let _ = codec.decode_row(&key, &framed);
    }

    #[test]
    fn a_damaged_value_is_refused_or_reads_as_other_values_only(
        (table, rows) in any_rows(),
        cut in 0_usize..60,
    ) {
        let codec = RowCodec::new(&table);
        let value = codec.encode_value(&rows[0]);
        let key = codec.encode_key(&rows[0]);
        let _ = codec.decode_row(&key, &value[..cut.min(value.len())]);
    }
}
