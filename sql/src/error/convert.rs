//! Errors of other crates as [`SqlError`]s.
//!
//! Our own enums are matched without a wildcard. DataFusion and Arrow mostly say what is wrong in
//! words only; [`WORDS`] holds the few phrases from which an SQLSTATE can be told.

use cairn_engine::EngineError;
use cairn_jobs::{Failure, JobError};
use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

use super::{SqlError, code, syntax_error};
use crate::lex::lower_first;

impl From<EngineError> for SqlError {
    fn from(error: EngineError) -> Self {
        engine(&error)
    }
}

fn engine(error: &EngineError) -> SqlError {
    let message = error.to_string();
    match error {
        EngineError::Corruption(_) | EngineError::Damaged(_) => {
            SqlError::new(code::DATA_CORRUPTED, message).with_hint(
                "Stop the server, keep a copy of the store, and run: cairn doctor --store DIR",
            )
        }
        EngineError::Fenced { .. } | EngineError::Stopped => {
            SqlError::new(code::QUERY_CANCELED, message)
        }
        EngineError::ReadOnly => SqlError::new(code::READ_ONLY_SQL_TRANSACTION, message),
        EngineError::NoSpace { .. } => SqlError::new(code::DISK_FULL, message).with_hint(
            "Nothing of the statement is visible. Free some space, or cancel a job, and try again.",
        ),
        EngineError::NotFound { .. } => SqlError::new(code::UNDEFINED_OBJECT, message),
        EngineError::Invalid(_) => SqlError::new(code::INVALID_PARAMETER_VALUE, message),
        EngineError::Busy(_) => {
            SqlError::new(code::OBJECT_IN_USE, message).with_hint("Try again later.")
        }
        EngineError::InUse(_) => SqlError::new(code::OBJECT_IN_USE, message),
        EngineError::Storage(_) | EngineError::Io { .. } => {
            SqlError::new(code::IO_ERROR, message).with_hint(
                "If it goes on after the disk is well again, start the server again: what was acknowledged is kept.",
            )
        }
        EngineError::NewerFormat { .. } => SqlError::new(code::FEATURE_NOT_SUPPORTED, message)
            .with_hint("Use the release that wrote the store."),
        EngineError::Crashed { .. } | EngineError::Panicked(_) => SqlError::internal(message),
    }
}

impl From<JobError> for SqlError {
    fn from(error: JobError) -> Self {
        Self::from(&error.into_failure())
    }
}

/// A job's own failure as the error of the statement that waited for it.
impl From<&Failure> for SqlError {
    fn from(failure: &Failure) -> Self {
        let code = code::find(&failure.code).unwrap_or(code::INTERNAL_ERROR);
        let (detail, hint) = (failure.detail.clone(), failure.hint.clone());
        Self { detail, hint, ..Self::new(code, &failure.message) }
    }
}

impl From<SqlError> for DataFusionError {
    fn from(error: SqlError) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> Self {
        datafusion(&error)
    }
}

impl From<ArrowError> for SqlError {
    fn from(error: ArrowError) -> Self {
        arrow(&error)
    }
}

fn datafusion(error: &DataFusionError) -> SqlError {
    match error {
        DataFusionError::ArrowError(error, _) => arrow(error),
        DataFusionError::IoError(error) => io(error),
        DataFusionError::SQL(error, _) => syntax_error(error).1,
        DataFusionError::NotImplemented(message) => {
            SqlError::new(code::FEATURE_NOT_SUPPORTED, plain(message))
                .with_hint("This part of SQL is not supported yet.")
        }
        DataFusionError::Plan(message) => {
            by_words(message, code::SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION)
        }
        DataFusionError::Configuration(message) => {
            by_words(message, code::INVALID_PARAMETER_VALUE)
        }
        DataFusionError::SchemaError(error, _) => schema(error),
        DataFusionError::Execution(message) => by_words(message, code::DATA_EXCEPTION),
        DataFusionError::ResourcesExhausted(message) => {
            SqlError::new(code::OUT_OF_MEMORY, plain(message)).with_hint(
                "Let the statement do less at once, or give it more: SET CLUSTER SETTING sql.memory.max = '2GiB'",
            )
        }
        DataFusionError::External(error) => external(error.as_ref()),
        DataFusionError::Context(_, error) => datafusion(error),
        DataFusionError::Diagnostic(_, error) => datafusion(error),
        DataFusionError::Shared(error) => datafusion(error),
        DataFusionError::Collection(errors) => errors.first().map_or_else(
            || SqlError::internal("an error without a message"),
            datafusion,
        ),
        DataFusionError::Internal(message) | DataFusionError::Substrait(message) => {
            SqlError::internal(plain(message))
        }
        // A foreign enum, whose cases depend on features of other crates.
        other => SqlError::internal(plain(&other.to_string())),
    }
}

fn arrow(error: &ArrowError) -> SqlError {
    match error {
        ArrowError::ExternalError(error) => external(error.as_ref()),
        ArrowError::DivideByZero => SqlError::new(code::DIVISION_BY_ZERO, "division by zero"),
        ArrowError::ArithmeticOverflow(message) => {
            SqlError::new(code::NUMERIC_VALUE_OUT_OF_RANGE, lower_first(message))
        }
        ArrowError::CastError(message) | ArrowError::ParseError(message) => {
            by_words(message, code::INVALID_TEXT_REPRESENTATION)
        }
        ArrowError::NotYetImplemented(message) => {
            SqlError::new(code::FEATURE_NOT_SUPPORTED, message.clone())
        }
        ArrowError::MemoryError(message) => SqlError::new(code::OUT_OF_MEMORY, message.clone()),
        ArrowError::IoError(_, error) => io(error),
        ArrowError::ComputeError(message) | ArrowError::InvalidArgumentError(message) => {
            by_words(message, code::DATA_EXCEPTION)
        }
        ArrowError::CsvError(message) => SqlError::new(code::BAD_COPY_FILE_FORMAT, message.clone()),
        // A foreign enum: what is left are files and buffers that no statement should meet.
        other => SqlError::internal(other.to_string()),
    }
}

fn external(error: &(dyn std::error::Error + Send + Sync + 'static)) -> SqlError {
    if let Some(error) = error.downcast_ref::<SqlError>() {
        error.clone()
    } else if let Some(error) = error.downcast_ref::<DataFusionError>() {
        datafusion(error)
    } else if let Some(error) = error.downcast_ref::<ArrowError>() {
        arrow(error)
    } else if let Some(error) = error.downcast_ref::<EngineError>() {
        engine(error)
    } else if let Some(error) = error.downcast_ref::<std::io::Error>() {
        io(error)
    } else {
        SqlError::internal(error.to_string())
    }
}

fn io(error: &std::io::Error) -> SqlError {
    let code = match error.kind() {
        std::io::ErrorKind::StorageFull => code::DISK_FULL,
        std::io::ErrorKind::NotFound => code::UNDEFINED_FILE,
        // Kinds are not an enum of ours; the message says which one it is.
        _ => code::IO_ERROR,
    };
    SqlError::new(code, error.to_string())
}

fn schema(error: &SchemaError) -> SqlError {
    match error {
        SchemaError::AmbiguousReference { field } => {
            let message = format!("column reference \"{}\" is ambiguous", field.name);
            SqlError::new(code::AMBIGUOUS_COLUMN, message)
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            let message = format!("column \"{name}\" specified more than once");
            SqlError::new(code::DUPLICATE_COLUMN, message)
        }
        SchemaError::FieldNotFound { field, valid_fields } => {
            let message = match &field.relation {
                Some(relation) => format!("column {relation}.{} does not exist", field.name),
                None => format!("column \"{}\" does not exist", field.name),
            };
            let error = SqlError::new(code::UNDEFINED_COLUMN, message);
            let names = valid_fields.iter().map(|valid| valid.name.as_str());
            match crate::parse::nearest(&field.name, names) {
                Some(name) => error.with_hint(format!("Perhaps you meant the column \"{name}\".")),
                None => error,
            }
        }
    }
}

/// Phrases of DataFusion and Arrow, in lower case, and what they mean.
const WORDS: &[(&str, &str)] = &[
    ("divide by zero", code::DIVISION_BY_ZERO),
    ("division by zero", code::DIVISION_BY_ZERO),
    ("invalid function", code::UNDEFINED_FUNCTION),
    ("no function matches", code::UNDEFINED_FUNCTION),
    ("failed to coerce arguments", code::UNDEFINED_FUNCTION),
    ("ambiguous", code::AMBIGUOUS_COLUMN),
    ("no field named", code::UNDEFINED_COLUMN),
    ("column not found", code::UNDEFINED_COLUMN),
    ("table not found", code::UNDEFINED_TABLE),
    ("table '", code::UNDEFINED_TABLE),
    ("no table named", code::UNDEFINED_TABLE),
    ("failed to resolve schema", code::INVALID_SCHEMA_NAME),
    ("failed to resolve catalog", code::INVALID_CATALOG_NAME),
    ("group by", code::GROUPING_ERROR),
    ("placeholder", code::INDETERMINATE_DATATYPE),
    ("limit must be", code::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE),
    ("offset must be", code::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE),
    ("more than one row", code::CARDINALITY_VIOLATION),
    ("specified more than once", code::DUPLICATE_ALIAS),
    ("different number of columns", code::SYNTAX_ERROR),
    ("should only return one column", code::SYNTAX_ERROR),
    ("cannot coerce", code::DATATYPE_MISMATCH),
    ("cannot infer common", code::DATATYPE_MISMATCH),
    ("can't cast", code::CANNOT_COERCE),
    ("unsupported cast", code::CANNOT_COERCE),
    ("casting from", code::CANNOT_COERCE),
    ("overflow", code::NUMERIC_VALUE_OUT_OF_RANGE),
    ("out of range", code::NUMERIC_VALUE_OUT_OF_RANGE),
    ("too large to store", code::NUMERIC_VALUE_OUT_OF_RANGE),
    ("can't be represented", code::NUMERIC_VALUE_OUT_OF_RANGE),
    ("error parsing timestamp", code::INVALID_DATETIME_FORMAT),
    ("error parsing date", code::INVALID_DATETIME_FORMAT),
    ("regular expression", code::INVALID_REGULAR_EXPRESSION),
    ("regex", code::INVALID_REGULAR_EXPRESSION),
    ("cannot cast", code::INVALID_TEXT_REPRESENTATION),
    ("cannot parse", code::INVALID_TEXT_REPRESENTATION),
    ("not supported", code::FEATURE_NOT_SUPPORTED),
    ("not yet supported", code::FEATURE_NOT_SUPPORTED),
    ("unsupported", code::FEATURE_NOT_SUPPORTED),
];

fn by_words(message: &str, otherwise: &'static str) -> SqlError {
    let message = plain(message);
    let lower = message.to_lowercase();
    let code =
        WORDS.iter().find(|(phrase, _)| lower.contains(phrase)).map_or(otherwise, |(_, code)| code);
    // The first line is the message; what follows is advice or a list of candidates.
    match message.split_once('\n') {
        Some((first, rest)) => {
            let rest = rest.split_whitespace().collect::<Vec<_>>().join(" ");
            SqlError::new(code, lower_first(first.trim())).with_detail(rest)
        }
        None => SqlError::new(code, lower_first(&message)),
    }
}

/// A message of DataFusion's without its backtrace and its own prefixes.
fn plain(message: &str) -> String {
    const PREFIXES: &[&str] = &[
        "Error during planning: ",
        "Execution error: ",
        "External error: ",
        "Internal error: ",
        "Arrow error: ",
        "Cast error: ",
        "Parser error: ",
    ];
    let message = message.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default();
    let message = message
        .split("\nThis issue was likely caused by a bug in DataFusion's code")
        .next()
        .unwrap_or_default();
    let mut rest = message.trim();
    while let Some(shorter) = PREFIXES.iter().find_map(|prefix| rest.strip_prefix(prefix)) {
        rest = shorter;
    }
    rest.to_owned()
}
