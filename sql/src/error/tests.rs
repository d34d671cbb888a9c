use std::sync::Arc;

use cairn_engine::{Corruption, EngineError, Epoch, Family, OwnerId};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;

use super::*;

#[test]
fn an_error_prints_on_one_line_as_logs_want_it() {
    let error = SqlError::wrong_state("job 7 is paused")
        .with_detail("It was paused by root.")
        .with_hint("RESUME JOB 7 lets it go on.");
    assert_eq!(
        error.to_string(),
        "job 7 is paused DETAIL: It was paused by root. HINT: RESUME JOB 7 lets it go on."
    );
}

#[test]
fn engine_errors_get_the_code_that_says_what_to_do() {
    let cases: Vec<(EngineError, &str)> = vec![
        (EngineError::Stopped, code::QUERY_CANCELED),
        (
            EngineError::Fenced {
                owner: OwnerId::from_raw(1),
                held: Epoch::from_raw(1),
                current: Epoch::from_raw(2),
            },
            code::QUERY_CANCELED,
        ),
        (EngineError::NoSpace { message: "full".to_owned() }, code::DISK_FULL),
        (EngineError::Invalid("no".to_owned()), code::INVALID_PARAMETER_VALUE),
        (Corruption::new(Family::Jobs, b"k", "a record").into(), code::DATA_CORRUPTED),
        (EngineError::Storage("?".to_owned()), code::IO_ERROR),
    ];
    for (error, expected) in cases {
        let text = error.to_string();
        assert_eq!(SqlError::from(error).code, expected, "{text}");
    }
}

#[test]
fn our_own_error_comes_back_from_the_query_engine_unchanged() {
    let ours = SqlError::no_such("job 42").with_position(7);
    let wrapped = DataFusionError::Context(
        "while scanning".to_owned(),
        Box::new(DataFusionError::Shared(Arc::new(DataFusionError::ArrowError(
            Box::new(ArrowError::ExternalError(Box::new(DataFusionError::from(ours.clone())))),
            None,
        )))),
    );
    assert_eq!(SqlError::from(wrapped), ours);
}

#[test]
fn the_query_engines_words_become_codes() {
    let cases: [(&str, &str); 7] = [
        ("Invalid function 'cont'.\nDid you mean 'count'?", code::UNDEFINED_FUNCTION),
        ("table 'a.b.c' not found", code::UNDEFINED_TABLE),
        ("Table not found: x", code::UNDEFINED_TABLE),
        ("Scalar subquery should only return one column, but found 2", code::SYNTAX_ERROR),
        ("Cannot coerce arithmetic expression Utf8 + Int64", code::DATATYPE_MISMATCH),
        ("This feature is not supported", code::FEATURE_NOT_SUPPORTED),
        ("something else", code::SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION),
    ];
    for (message, expected) in cases {
        let error = SqlError::from(DataFusionError::Plan(message.to_owned()));
        assert_eq!(error.code, expected, "{message}");
    }
    let error = SqlError::from(DataFusionError::Plan(cases[0].0.to_owned()));
    assert_eq!(error.message, "invalid function 'cont'.");
    assert_eq!(error.detail.as_deref(), Some("Did you mean 'count'?"));
    let zero = DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None);
    assert_eq!(SqlError::from(zero).code, code::DIVISION_BY_ZERO);
    let cast = ArrowError::CastError("Cannot cast string 'x' to value of Int64 type".to_owned());
    assert_eq!(SqlError::from(cast).code, code::INVALID_TEXT_REPRESENTATION);
}

#[test]
fn an_unknown_column_comes_with_the_one_that_was_probably_meant() {
    let error = DataFusionError::SchemaError(
        Box::new(SchemaError::FieldNotFound {
            field: Box::new(Column::from_name("staus")),
            valid_fields: vec![Column::from_name("job_id"), Column::from_name("status")],
        }),
        Box::new(None),
    );
    let error = SqlError::from(error);
    assert_eq!(
        (error.code, error.message.as_str()),
        (code::UNDEFINED_COLUMN, "column \"staus\" does not exist")
    );
    assert_eq!(error.hint.as_deref(), Some("Perhaps you meant the column \"status\"."));
}
