//! Golden bytes of fields, in both formats.

use super::*;
use datafusion::arrow::array::types::IntervalMonthDayNano;
use datafusion::arrow::array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray,
    NullArray, StringArray, StringViewArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    TimestampNanosecondArray, UInt64Array,
};
use datafusion::arrow::datatypes::Schema;
use std::collections::HashMap;
use std::sync::Arc;

/// The only row of a column, without the length in front; text as text, binary as hex. `None` is NULL.
fn sent(
    array: ArrayRef,
    hint: Option<&str>,
    format: FieldFormat,
) -> Result<Option<String>, String> {
    let hints = hint.map(|hint| HashMap::from([(TYPE_HINT.to_owned(), hint.to_owned())]));
    let field =
        Field::new("c", array.data_type().clone(), true).with_metadata(hints.unwrap_or_default());
    let batch =
        RecordBatch::try_new(Arc::new(Schema::new(vec![field.clone()])), vec![array]).unwrap();
    let mut encoder = RowEncoder::new(&[Column::of(&field)], &[format]);
    encoder.load(&batch).unwrap();
    let row = encoder.encode(0).map_err(|error| error.code().to_owned())?;
    let (length, body) = row.data.split_first_chunk::<4>().unwrap();
    let length = i32::from_be_bytes(*length);
    if length == -1 {
        assert!(body.is_empty());
        return Ok(None);
    }
    assert_eq!(length as usize, body.len());
    Ok(Some(match format {
        FieldFormat::Text => String::from_utf8(body.to_vec()).unwrap(),
        FieldFormat::Binary => body.iter().map(|byte| format!("{byte:02x}")).collect(),
    }))
}

fn check(array: impl Array + 'static, pg: &Type, text: &str, binary: &str) {
    let array: ArrayRef = Arc::new(array);
    assert_eq!(type_of(array.data_type()), *pg);
    assert_eq!(
        sent(Arc::clone(&array), None, FieldFormat::Text),
        Ok(Some(text.to_owned())),
        "{pg}"
    );
    assert_eq!(sent(array, None, FieldFormat::Binary), Ok(Some(binary.to_owned())), "{pg}");
}

#[test]
fn every_type_has_its_bytes_in_both_formats() {
    check(Int16Array::from(vec![-2]), &Type::INT2, "-2", "fffe");
    check(Int32Array::from(vec![258]), &Type::INT4, "258", "00000102");
    check(
        Int64Array::from(vec![i64::MIN]),
        &Type::INT8,
        "-9223372036854775808",
        "8000000000000000",
    );
    check(Float32Array::from(vec![1.5]), &Type::FLOAT4, "1.5", "3fc00000");
    check(Float64Array::from(vec![1.0]), &Type::FLOAT8, "1", "3ff0000000000000");
    check(Float64Array::from(vec![f64::NAN]), &Type::FLOAT8, "NaN", "7ff8000000000000");
    let decimal = Decimal128Array::from(vec![-1230]).with_precision_and_scale(10, 2).unwrap();
    check(decimal, &Type::NUMERIC, "-12.30", "0002000040000002000c0bb8");
    check(BooleanArray::from(vec![true]), &Type::BOOL, "t", "01");
    check(StringArray::from(vec!["ä"]), &Type::TEXT, "ä", "c3a4");
    check(StringViewArray::from(vec!["x"]), &Type::TEXT, "x", "78");
    check(BinaryArray::from(vec![&[1u8, 255][..]]), &Type::BYTEA, "\\x01ff", "01ff");
    check(Date32Array::from(vec![10_958]), &Type::DATE, "2000-01-02", "00000001");
    let micros = 946_684_800_250_000;
    let at = TimestampMicrosecondArray::from(vec![micros]);
    check(at.clone(), &Type::TIMESTAMP, "2000-01-01 00:00:00.25", "000000000003d090");
    check(
        at.with_timezone("UTC"),
        &Type::TIMESTAMPTZ,
        "2000-01-01 00:00:00.25+00",
        "000000000003d090",
    );
    let nanos = TimestampNanosecondArray::from(vec![micros * 1000 + 999]);
    check(nanos, &Type::TIMESTAMP, "2000-01-01 00:00:00.25", "000000000003d090");
    check(
        Time64MicrosecondArray::from(vec![1_000_000]),
        &Type::TIME,
        "00:00:01",
        "00000000000f4240",
    );
    let interval = IntervalMonthDayNano { months: 1, days: 2, nanoseconds: 3000 };
    let interval = IntervalMonthDayNanoArray::from(vec![interval]);
    check(
        interval,
        &Type::INTERVAL,
        "1 mon 2 days 00:00:00.000003",
        "00000000000000030000000200000001",
    );
    let repeated: DictionaryArray<Int32Type> = vec!["a b"].into_iter().collect();
    check(repeated, &Type::TEXT, "a b", "612062");
}

#[test]
fn arrays_have_their_bytes_in_both_formats() {
    let numbers =
        ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(7), None])]);
    let head = ["00000001", "00000001", "00000014", "00000002", "00000001"].concat();
    check(
        numbers,
        &Type::INT8_ARRAY,
        "{7,NULL}",
        &(head + "00000008" + "0000000000000007" + "ffffffff"),
    );
    let empty =
        ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(Vec::<Option<i64>>::new())]);
    check(empty, &Type::INT8_ARRAY, "{}", "000000000000000000000014");
}

#[test]
fn null_is_a_length_of_minus_one() {
    assert_eq!(sent(Arc::new(Int64Array::from(vec![None])), None, FieldFormat::Binary), Ok(None));
    assert_eq!(sent(Arc::new(NullArray::new(1)), None, FieldFormat::Text), Ok(None));
}

#[test]
fn a_hint_changes_the_type_and_its_bytes() {
    let oid = || -> ArrayRef { Arc::new(Int64Array::from(vec![16384])) };
    assert_eq!(sent(oid(), Some("oid"), FieldFormat::Binary), Ok(Some("00004000".to_owned())));
    assert_eq!(sent(oid(), Some("oid"), FieldFormat::Text), Ok(Some("16384".to_owned())));
    let kind: ArrayRef = Arc::new(StringArray::from(vec!["r"]));
    assert_eq!(sent(kind, Some("char"), FieldFormat::Binary), Ok(Some("72".to_owned())));
    let too_large: ArrayRef = Arc::new(Int64Array::from(vec![1i64 << 40]));
    assert_eq!(sent(too_large, Some("oid"), FieldFormat::Binary), Err("22003".to_owned()));
}

#[test]
fn what_a_type_cannot_hold_is_an_error_and_not_another_value() {
    let array: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
    assert_eq!(sent(array, None, FieldFormat::Text), Err("22003".to_owned()));
    let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN]));
    assert_eq!(sent(array, None, FieldFormat::Binary), Err("22003".to_owned()));
}
