//! Errors and notices as the fields of PostgreSQL's ErrorResponse and NoticeResponse.
//!
//! The statement's own error comes through unchanged: SQLSTATE, message, detail, hint and position. Nothing is added
//! here but the severity, which is `FATAL` where the connection ends with it.

use cairn_sql::SqlError;
use pgwire::error::{ErrorInfo, PgWireError};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::NoticeResponse;

/// An error that ends the statement.
pub(super) fn failure(code: &str, message: String) -> PgWireError {
    PgWireError::UserError(Box::new(info("ERROR", code, message)))
}

/// An error that ends the connection.
pub(super) fn fatal(code: &str, message: String) -> PgWireError {
    PgWireError::UserError(Box::new(info("FATAL", code, message)))
}

/// A statement's error; it ends the statement only.
pub(super) fn statement_error(error: &SqlError) -> PgWireError {
    PgWireError::UserError(Box::new(described("ERROR", error)))
}

/// A refused login: the same fields, and the connection ends.
pub(super) fn login_error(error: &SqlError) -> PgWireError {
    PgWireError::UserError(Box::new(described("FATAL", error)))
}

/// What is sent when a statement panicked. The details are in the log; the client learns that it is our mistake.
pub(super) fn panicked() -> PgWireError {
    let mut info = info("ERROR", "XX000", "internal error: the statement panicked".to_owned());
    info.detail =
        Some("The connection and the server go on; only this statement ended.".to_owned());
    info.hint = Some("This is a bug. Please report it with the server's log.".to_owned());
    PgWireError::UserError(Box::new(info))
}

/// A message that does not end anything.
pub(super) fn notice(
    severity: &str,
    code: &str,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
) -> PgWireBackendMessage {
    let mut info = info(severity, code, message);
    info.detail = detail;
    info.hint = hint;
    PgWireBackendMessage::NoticeResponse(NoticeResponse::from(info))
}

fn described(severity: &str, error: &SqlError) -> ErrorInfo {
    let mut info = info(severity, error.code, error.message.clone());
    info.detail.clone_from(&error.detail);
    info.hint.clone_from(&error.hint);
    info.position = error.position.map(|position| position.to_string());
    info
}

fn info(severity: &str, code: &str, message: String) -> ErrorInfo {
    let mut info = ErrorInfo::new(severity.to_owned(), code.to_owned(), message);
    // The form that is never translated; psql's `\set VERBOSITY verbose` and drivers read it.
    info.severity_nonlocalized = Some(severity.to_owned());
    info
}
