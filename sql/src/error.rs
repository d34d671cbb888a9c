//! The one error of this crate, with everything PostgreSQL clients show of an error.
//!
//! A [`SqlError`] has an SQLSTATE from [`code`] and a message for people, and where they help a
//! detail, a hint, and the position in the statement's text. Errors of other crates become one in
//! `error/convert.rs`, which names every variant of our own enums, so that a new case is
//! classified by a person.

pub mod code;
#[cfg(feature = "store")]
mod convert;
mod syntax;
#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use syntax::syntax_error;

/// The result of a call of this crate.
pub type Result<T, E = SqlError> = std::result::Result<T, E>;

/// Why a statement failed. The statement changed nothing, unless the message says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// The SQLSTATE: what kind of error it is, and so what the client does about it.
    pub code: &'static str,
    /// What is wrong, in one line.
    pub message: String,
    /// More about what is wrong: the row, the file, the state.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where it is wrong: a character of the text that was sent, counted from 1.
    pub position: Option<usize>,
}

impl SqlError {
    /// An error with its SQLSTATE and message.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None, hint: None, position: None }
    }

    /// The same with more about what is wrong.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with the place: a character of the text that was sent, counted from 1.
    #[must_use]
    pub fn with_position(mut self, position: impl Into<Option<usize>>) -> Self {
        self.position = position.into();
        self
    }

    /// 0A000: something that is known and not built. The hint says what to use instead.
    #[must_use]
    pub fn not_built(what: impl fmt::Display, hint: impl Into<String>) -> Self {
        Self::new(code::FEATURE_NOT_SUPPORTED, format!("{what} is not supported yet"))
            .with_hint(hint)
    }

    /// 42601: the text is not a statement.
    #[must_use]
    pub fn syntax(message: impl Into<String>) -> Self {
        Self::new(code::SYNTAX_ERROR, message)
    }

    /// 42P01: there is no such table.
    #[must_use]
    pub fn no_such_table(name: impl fmt::Display) -> Self {
        Self::new(code::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
    }

    /// 42704: there is no such thing: `job 42`, `role "max"`.
    #[must_use]
    pub fn no_such(what: impl fmt::Display) -> Self {
        Self::new(code::UNDEFINED_OBJECT, format!("{what} does not exist"))
    }

    /// 42804: an expression has the wrong type.
    #[must_use]
    pub fn wrong_type(message: impl Into<String>) -> Self {
        Self::new(code::DATATYPE_MISMATCH, message)
    }

    /// 22023: a value that the parameter, option or setting does not take.
    #[must_use]
    pub fn invalid_value(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_PARAMETER_VALUE, message)
    }

    /// 55000: the thing is not in a state in which this can be done to it.
    #[must_use]
    pub fn wrong_state(message: impl Into<String>) -> Self {
        Self::new(code::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
    }

    /// 42501: the user may not do this.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(code::INSUFFICIENT_PRIVILEGE, message)
    }

    /// XX000: a mistake of ours.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(code::INTERNAL_ERROR, message)
    }
}

/// `message DETAIL: ... HINT: ...` on one line, for logs; the SQLSTATE is a field of its own.
impl fmt::Display for SqlError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)?;
        if let Some(detail) = &self.detail {
            write!(out, " DETAIL: {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(out, " HINT: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SqlError {}
