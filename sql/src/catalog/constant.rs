//! Constants: the expressions that a DEFAULT may be, and their values.
//!
//! A DEFAULT is evaluated when the table is made and stored as a literal of the column's type, in a
//! form that the query engine plans and [`evaluate_text`] reads again. So an IMPORT and an INSERT put
//! the same value. Literals, signs and casts of them are constants; calls of functions are not built.

use sqlparser::ast::{DataType, Expr, UnaryOperator, Value};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::ddl::column_type;
use crate::descriptor::Column;
use crate::error::{Result, SqlError};
use crate::value::{ColumnType, Datum};

/// The value of a constant for a column of type `ty`.
///
/// # Errors
/// 42804 for a constant of another kind, the codes of [`ColumnType::parse`] for one the type cannot
/// hold, 0A000 for an expression that is not a constant.
pub(super) fn evaluate(expr: &Expr, ty: ColumnType) -> Result<Datum> {
    match expr {
        Expr::Nested(inner) => evaluate(inner, ty),
        Expr::Value(value) => literal(&value.value, "", ty),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match unnested(expr) {
            Expr::Value(value) if matches!(value.value, Value::Number(..)) => {
                literal(&value.value, "-", ty)
            }
            _ => Err(not_constant(expr)),
        },
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => evaluate(expr, ty),
        Expr::Cast { expr, data_type, array: false, format: None, .. } => {
            let value = evaluate(expr, cast_type(data_type)?)?;
            assign(value, ty)
        }
        Expr::TypedString(typed) => {
            assign(literal(&typed.value.value, "", cast_type(&typed.data_type)?)?, ty)
        }
        other => Err(not_constant(other)),
    }
}

impl Column {
    /// The value that stands in for one that is not given: the DEFAULT, or NULL.
    ///
    /// # Errors
    /// An SQL error if the stored text is not a constant of the type, which no DDL lets through.
    pub fn default_datum(&self) -> Result<Datum, SqlError> {
        match &self.default {
            None => Ok(Datum::Null),
            Some(text) => evaluate_text(text, self.ty),
        }
    }
}

/// As [`evaluate`], of a text.
pub(super) fn evaluate_text(text: &str, ty: ColumnType) -> Result<Datum> {
    let expr = Parser::new(&PostgreSqlDialect {}).try_with_sql(text)?.parse_expr()?;
    evaluate(&expr, ty)
}

/// The value as a literal that evaluates to itself; `None` for NULL, which is what a column without a
/// DEFAULT has.
pub(super) fn written(value: &Datum) -> Option<String> {
    match value {
        Datum::Null => None,
        Datum::Bool(value) => Some(value.to_string()),
        Datum::Text(text) => Some(format!("'{}'", text.replace('\'', "''"))),
        Datum::Date(_) => Some(format!("'{value}'::DATE")),
        Datum::TimestampTz(_) => Some(format!("'{value}'::TIMESTAMPTZ")),
        Datum::Float(number) if !number.is_finite() => Some(format!("'{value}'::FLOAT8")),
        Datum::Int(_) | Datum::Float(_) | Datum::Decimal(..) => Some(value.to_string()),
    }
}

/// A cast to DECIMAL without digits keeps what it is given, as far as there is room.
fn cast_type(data_type: &DataType) -> Result<ColumnType> {
    use sqlparser::ast::ExactNumberInfo;
    match data_type {
        DataType::Decimal(ExactNumberInfo::None)
        | DataType::Numeric(ExactNumberInfo::None)
        | DataType::Dec(ExactNumberInfo::None) => {
            Ok(ColumnType::Decimal { precision: 38, scale: 19 })
        }
        other => column_type(other),
    }
}

fn unnested(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => unnested(inner),
        other => other,
    }
}

fn literal(value: &Value, sign: &str, ty: ColumnType) -> Result<Datum> {
    match (value, ty) {
        (Value::Null, _) => Ok(Datum::Null),
        (Value::Boolean(value), ColumnType::Bool) => Ok(Datum::Bool(*value)),
        (Value::Number(digits, _), ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8) => {
            let text = format!("{sign}{digits}");
            if digits.contains(['.', 'e', 'E']) && !digits.starts_with("0x") {
                let whole = Datum::parse(&text, ColumnType::Decimal { precision: 38, scale: 0 })?;
                return Datum::parse(&whole.to_string(), ty);
            }
            Datum::parse(&text, ty)
        }
        (
            Value::Number(digits, _),
            ColumnType::Float8
            | ColumnType::Decimal { .. }
            | ColumnType::Text
            | ColumnType::Varchar(_),
        ) => Datum::parse(&format!("{sign}{digits}"), ty),
        (
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::UnicodeStringLiteral(text)
            | Value::NationalStringLiteral(text),
            _,
        ) => Datum::parse(text, ty),
        (Value::DollarQuotedString(text), _) => Datum::parse(&text.value, ty),
        (value, ty) => Err(SqlError::wrong_type(format!(
            "the default expression {value} is not of type {}",
            ty.pg_name()
        ))),
    }
}

/// A value of one type into a column of another, as an assignment does it.
fn assign(value: Datum, ty: ColumnType) -> Result<Datum> {
    match (&value, ty) {
        (
            Datum::Int(_) | Datum::Float(_) | Datum::Decimal(..),
            ColumnType::Float8 | ColumnType::Decimal { .. },
        ) => Datum::parse(&value.to_string(), ty),
        (
            Datum::Float(_) | Datum::Decimal(..),
            ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8,
        ) => {
            let whole = ColumnType::Decimal { precision: 38, scale: 0 };
            Datum::parse(&Datum::parse(&value.to_string(), whole)?.to_string(), ty)
        }
        (Datum::Date(days), ColumnType::TimestampTz) => {
            Ok(Datum::TimestampTz(i64::from(*days).saturating_mul(86_400_000_000)))
        }
        (Datum::Text(_) | Datum::Null, _) => ty.fit(value),
        (_, ColumnType::Text | ColumnType::Varchar(_)) => ty.fit(Datum::Text(value.to_string())),
        _ => ty.fit(value),
    }
}

fn not_constant(expr: &Expr) -> SqlError {
    SqlError::not_built(
        format_args!("the DEFAULT expression {expr}"),
        "A DEFAULT is a constant: a literal, or a cast of one. Give other values in INSERT.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::code;

    fn check(text: &str, ty: ColumnType, expect: &str) {
        let value = evaluate_text(text, ty).unwrap();
        let literal = written(&value).unwrap_or_else(|| "NULL".to_owned());
        assert_eq!(literal, expect, "{text} as {ty}");
        let again = written(&evaluate_text(&literal, ty).unwrap());
        assert_eq!(again, written(&value), "{literal} reads back");
    }

    #[test]
    fn constants_become_literals_of_the_columns_type() {
        let decimal = ColumnType::Decimal { precision: 10, scale: 2 };
        check("5", ColumnType::Int4, "5");
        check("-5", ColumnType::Int8, "-5");
        check("-(1.5)", ColumnType::Int8, "-2");
        check("'7'", ColumnType::Int2, "7");
        check("1.255", decimal, "1.26");
        check("3", ColumnType::Float8, "3");
        check("'NaN'", ColumnType::Float8, "'NaN'::FLOAT8");
        check("true", ColumnType::Bool, "true");
        check("'off'", ColumnType::Bool, "false");
        check("'it''s'", ColumnType::Text, "'it''s'");
        check("5", ColumnType::Text, "'5'");
        check("DATE 'Jan 8, 1999'", ColumnType::Date, "'1999-01-08'::DATE");
        check(
            "'1999-01-08'::DATE",
            ColumnType::TimestampTz,
            "'1999-01-08 00:00:00+00'::TIMESTAMPTZ",
        );
        check(
            "'2024-02-29 12:00+02'",
            ColumnType::TimestampTz,
            "'2024-02-29 10:00:00+00'::TIMESTAMPTZ",
        );
        check("1.5::DECIMAL", decimal, "1.50");
        check("NULL", ColumnType::Int8, "NULL");
        check("NULL::INT", ColumnType::Int8, "NULL");
    }

    #[test]
    fn what_is_no_constant_of_the_type_is_refused() {
        let refused = |text, ty| evaluate_text(text, ty).unwrap_err().code;
        assert_eq!(refused("true", ColumnType::Int8), code::DATATYPE_MISMATCH);
        assert_eq!(refused("'x'", ColumnType::Int8), code::INVALID_TEXT_REPRESENTATION);
        assert_eq!(refused("70000", ColumnType::Int2), code::NUMERIC_VALUE_OUT_OF_RANGE);
        assert_eq!(refused("'abc'", ColumnType::Varchar(2)), code::STRING_DATA_RIGHT_TRUNCATION);
        assert_eq!(refused("now()", ColumnType::TimestampTz), code::FEATURE_NOT_SUPPORTED);
        assert_eq!(refused("a", ColumnType::Int8), code::FEATURE_NOT_SUPPORTED);
        assert_eq!(refused("1 + 1", ColumnType::Int8), code::FEATURE_NOT_SUPPORTED);
    }
}
