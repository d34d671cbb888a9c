//! PostgreSQL's dialect as we let `sqlparser` read it: in bounded time.
//!
//! `sqlparser` tries one reading after the other and reads everything inside again each time, so
//! nested functions take twice as long with every level. Two things differ from its PostgreSQL
//! dialect: the names of named arguments are plain names (reading them as expressions is what
//! doubles valid texts), and every expression costs a step of a budget (which ends what doubles on
//! invalid ones). Everything else is handed through.

use std::any::TypeId;
use std::cell::Cell;

use sqlparser::ast::Expr;
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};

/// Expressions that may be read for each token.
const STEPS_PER_TOKEN: usize = 32;

/// Expressions that may be read at least.
const STEPS_MIN: usize = 4096;

/// PostgreSQL's dialect with a budget for one text.
#[derive(Debug)]
pub(crate) struct Bounded {
    postgres: PostgreSqlDialect,
    /// How many expressions may still be read.
    steps: Cell<usize>,
}

impl Bounded {
    /// The dialect for a text of so many tokens.
    pub(crate) fn new(tokens: usize) -> Self {
        let steps = tokens.saturating_mul(STEPS_PER_TOKEN).saturating_add(STEPS_MIN);
        Self { postgres: PostgreSqlDialect {}, steps: Cell::new(steps) }
    }
}

/// Answers as PostgreSQL's dialect does.
macro_rules! as_postgres {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(fn $name(&self, $($argument: $type),*) -> $answer {
            self.postgres.$name($($argument),*)
        })*
    };
}

impl Dialect for Bounded {
    fn dialect(&self) -> TypeId {
        self.postgres.dialect()
    }

    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    /// `RecursionLimitExceeded` is the one error after which nothing else is tried.
    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let Some(steps) = self.steps.get().checked_sub(1) else {
            return Some(Err(ParserError::RecursionLimitExceeded));
        };
        self.steps.set(steps);
        self.postgres.parse_prefix(parser)
    }

    as_postgres! {
        identifier_quote_style(identifier: &str) -> Option<char>;
        is_delimited_identifier_start(ch: char) -> bool;
        is_identifier_start(ch: char) -> bool;
        is_identifier_part(ch: char) -> bool;
        supports_unicode_string_literal() -> bool;
        is_reserved_for_identifier(kw: Keyword) -> bool;
        is_custom_operator_part(ch: char) -> bool;
        get_next_precedence(parser: &Parser<'_>) -> Option<Result<u8, ParserError>>;
        supports_filter_during_aggregation() -> bool;
        supports_group_by_expr() -> bool;
        prec_value(prec: Precedence) -> u8;
        allow_extract_custom() -> bool;
        allow_extract_single_quotes() -> bool;
        supports_create_index_with_clause() -> bool;
        supports_explain_with_utility_options() -> bool;
        supports_listen_notify() -> bool;
        supports_factorial_operator() -> bool;
        supports_bitwise_shift_operators() -> bool;
        supports_comment_on() -> bool;
        supports_load_extension() -> bool;
        supports_named_fn_args_with_colon_operator() -> bool;
        supports_empty_projections() -> bool;
        supports_nested_comments() -> bool;
        supports_string_escape_constant() -> bool;
        supports_numeric_literal_underscores() -> bool;
        supports_array_typedef_with_brackets() -> bool;
        supports_geometric_types() -> bool;
        supports_set_names() -> bool;
        supports_alter_column_type_using() -> bool;
        supports_notnull_operator() -> bool;
        supports_interval_options() -> bool;
        supports_insert_table_alias() -> bool;
        supports_create_table_like_parenthesized() -> bool;
        supports_select_wildcard_with_alias() -> bool;
        supports_comma_separated_trim() -> bool;
        supports_xml_expressions() -> bool;
        supports_comment_optimizer_hint() -> bool;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_functions_are_read_once() {
        let depth = 60;
        let text = format!("SELECT {}1{}", "f(".repeat(depth), ")".repeat(depth));
        assert_eq!(crate::parse(&text).map(|parsed| parsed.len()), Ok(1));
    }

    #[test]
    fn it_is_postgres_to_the_parser() {
        let dialect: &dyn Dialect = &Bounded::new(1);
        assert!(dialect.is::<PostgreSqlDialect>());
        for text in ["SELECT f(a => 1, b := 2)", "SELECT 'x' || E'\\n' ~ 'y'", "SELECT a -> 'b'"] {
            let print =
                |dialect: &dyn Dialect| Parser::parse_sql(dialect, text).unwrap()[0].to_string();
            assert_eq!(print(dialect), print(&PostgreSqlDialect {}), "{text}");
        }
    }
}
