//! PostgreSQL's ways of writing things, turned into what the planner knows.
//!
//! psql and drivers send catalog queries in PostgreSQL's own idiom. The statement's tree is changed
//! in place before planning: `OPERATOR(pg_catalog.~)` becomes `~`, `COLLATE` goes, functions lose
//! their `pg_catalog.` prefix, `x::regclass` and its relatives become function calls,
//! `ARRAY(SELECT ...)` becomes an aggregate, and a SELECT that joins a catalog table which is
//! empty by construction here (policies, publications, extended statistics, inheritance) becomes
//! a SELECT of no rows, because its expressions use features nobody else needs.
//!
//! Left out: everything that changes meaning. What is not understood here is left to the planner.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use datafusion::arrow::datatypes::DataType;
use sqlparser::ast::{
    self, BinaryOperator, CastKind, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, JoinOperator, ObjectName, ObjectNamePart,
    Query, Select, SelectItem, SetExpr, TableFactor, Value, VisitMut, VisitorMut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

/// Tables of `pg_catalog` that never have rows here, and that psql asks about.
const ALWAYS_EMPTY: [&str; 10] = [
    "pg_collation",
    "pg_policy",
    "pg_statistic_ext",
    "pg_publication",
    "pg_publication_rel",
    "pg_publication_namespace",
    "pg_inherits",
    "pg_trigger",
    "pg_foreign_table",
    "pg_foreign_server",
];

/// Rewrites `statement` in place.
pub(crate) fn postgres_idioms(statement: &mut ast::Statement) {
    let _: ControlFlow<()> = statement.visit(&mut Idioms);
}

/// Wraps the placeholders `$n` named in `types` into casts, so that the planner knows their types.
pub(crate) fn type_placeholders(statement: &mut ast::Statement, types: &BTreeMap<usize, DataType>) {
    if !types.is_empty() {
        let _: ControlFlow<()> = statement.visit(&mut Placeholders { types });
    }
}

/// The numbers of all placeholders in `statement`, and the types they are cast to where they are.
pub(crate) fn placeholders(statement: &ast::Statement) -> BTreeMap<usize, Option<ast::DataType>> {
    let mut found = BTreeMap::new();
    let _: ControlFlow<()> = ast::visit_expressions(statement, |expr| {
        match expr {
            Expr::Cast { expr, data_type, .. } => {
                if let Some(number) = placeholder(expr) {
                    found.insert(number, Some(data_type.clone()));
                }
            }
            other => {
                if let Some(number) = placeholder(other) {
                    found.entry(number).or_insert(None);
                }
            }
        }
        ControlFlow::Continue(())
    });
    found
}

/// The number of a placeholder expression `$n`, from 1.
pub(crate) fn placeholder(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => name.strip_prefix('$')?.parse().ok().filter(|n| *n > 0),
            _ => None,
        },
        Expr::Nested(inner) => placeholder(inner),
        _ => None,
    }
}

/// The name an unquoted or quoted identifier stands for.
pub(crate) fn normalized(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}

/// The normalized parts of a dotted name.
pub(crate) fn name_parts(name: &ObjectName) -> Vec<String> {
    name.0.iter().filter_map(ObjectNamePart::as_ident).map(normalized).collect()
}

struct Idioms;

impl VisitorMut for Idioms {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if empty_body(&mut query.body) {
            query.order_by = None;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        // `reloptions || ARRAY(SELECT ... FROM pg_catalog.unnest(...))`: storage options, which no
        // table here has.
        if let Expr::BinaryOp { left, op: BinaryOperator::StringConcat, right } = expr
            && unnests_catalog(right)
        {
            *expr = (**left).clone();
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(changed) = idiom(expr) {
            *expr = changed;
        }
        ControlFlow::Continue(())
    }
}

fn idiom(expr: &mut Expr) -> Option<Expr> {
    match expr {
        Expr::Collate { expr, .. } => Some((**expr).clone()),
        Expr::BinaryOp { op, .. } => {
            if let BinaryOperator::PGCustomBinaryOperator(parts) = op
                && let Some(plain) = parts.last().and_then(|name| plain_operator(name))
            {
                *op = plain;
            }
            None
        }
        Expr::Cast { expr: inner, data_type, .. } => reg_cast(inner, data_type),
        Expr::Function(function) => {
            strip_catalog(&mut function.name);
            array_of_query(function)
        }
        Expr::Subquery(query) => {
            one_catalog_row(query);
            None
        }
        _ => None,
    }
}

fn plain_operator(name: &str) -> Option<BinaryOperator> {
    Some(match name {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "||" => BinaryOperator::StringConcat,
        _ => return None,
    })
}

/// `x::regclass` and relatives: a number from a text literal, a name from anything else.
fn reg_cast(inner: &Expr, data_type: &ast::DataType) -> Option<Expr> {
    let kind = match data_type {
        ast::DataType::Regclass => "regclass".to_owned(),
        ast::DataType::Custom(name, _) => name_parts(name).pop()?,
        _ => return None,
    };
    let literal = matches!(inner, Expr::Value(value) if matches!(value.value,
        Value::SingleQuotedString(_) | Value::EscapedStringLiteral(_)));
    match kind.as_str() {
        "regclass" if literal => Some(call("regclass_oid", vec![inner.clone()])),
        "regclass" => Some(call("regclass_name", vec![inner.clone()])),
        "regtype" if literal => Some(call("regtype_oid", vec![inner.clone()])),
        "regtype" => {
            let null = Expr::Value(Value::Null.into());
            Some(call("format_type", vec![inner.clone(), null]))
        }
        "regnamespace" => Some(call("regnamespace_name", vec![inner.clone()])),
        "regrole" => Some(call("pg_get_userbyid", vec![inner.clone()])),
        "regproc" | "regprocedure" | "regoper" => Some(Expr::Cast {
            kind: CastKind::DoubleColon,
            expr: Box::new(inner.clone()),
            data_type: ast::DataType::Text,
            array: false,
            format: None,
        }),
        _ => None,
    }
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args =
        args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// `pg_catalog.f` and `crdb_internal.f` are `f`; clocks of one statement are all `now`.
fn strip_catalog(name: &mut ObjectName) {
    if name.0.len() == 2
        && name.0[0].as_ident().is_some_and(|first| normalized(first) == "pg_catalog")
    {
        name.0.remove(0);
    }
    let clock = matches!(name.0.as_slice(), [only] if only.as_ident().is_some_and(|ident| {
        matches!(
            normalized(ident).as_str(),
            "statement_timestamp" | "transaction_timestamp" | "clock_timestamp"
        )
    }));
    if clock {
        *name = ObjectName::from(vec![Ident::new("now")]);
    }
}

/// `ARRAY(SELECT x ...)` is `(SELECT array_agg(x) ...)`; the order inside is given up.
fn array_of_query(function: &mut Function) -> Option<Expr> {
    let is_array =
        matches!(name_parts(&function.name).as_slice(), [only] if only.as_str() == "array");
    let FunctionArguments::Subquery(query) = &mut function.args else { return None };
    if !is_array {
        return None;
    }
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let item = match select.projection.first_mut()? {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr.clone(),
        _ => return None,
    };
    select.projection = vec![SelectItem::UnnamedExpr(call("array_agg", vec![item]))];
    query.order_by = None;
    Some(Expr::Subquery(query.clone()))
}

/// A look-up of one value in `pg_catalog`, like `(SELECT d.adbin FROM pg_attrdef d WHERE ...)`: the
/// engine wants an aggregate where the look-up depends on the row outside, and psql's find at most
/// one row, whose greatest value is the value.
fn one_catalog_row(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let grouped = !matches!(&select.group_by,
        ast::GroupByExpr::Expressions(by, _) if by.is_empty());
    let catalog_only = !select.from.is_empty()
        && select.from.iter().all(|from| {
            is_catalog_table(&from.relation)
                && from.joins.iter().all(|join| is_catalog_table(&join.relation))
        });
    let [item] = select.projection.as_mut_slice() else { return };
    if grouped || !catalog_only || is_aggregate(item) || query.limit_clause.is_some() {
        return;
    }
    // `AND a.atthasdef` only says what finding a default says too, and a bare column of the row
    // outside is a condition that the engine cannot turn into a join.
    select.selection = select.selection.take().and_then(without_hint);
    let alias = Ident::with_quote('"', item_name(item));
    if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
        let expr = call("max", vec![expr.clone()]);
        *item = SelectItem::ExprWithAlias { expr, alias };
        query.order_by = None;
    }
}

fn unnests_catalog(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    let FunctionArguments::Subquery(query) = &function.args else { return false };
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    select.from.iter().any(|from| match &from.relation {
        TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
            name_parts(name) == ["pg_catalog", "unnest"]
        }
        _ => false,
    })
}

fn without_hint(condition: Expr) -> Option<Expr> {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            match (without_hint(*left), without_hint(*right)) {
                (Some(left), Some(right)) => Some(Expr::BinaryOp {
                    left: Box::new(left),
                    op: BinaryOperator::And,
                    right: Box::new(right),
                }),
                (left, right) => left.or(right),
            }
        }
        Expr::CompoundIdentifier(parts)
            if parts.last().is_some_and(|last| normalized(last) == "atthasdef") =>
        {
            None
        }
        other => Some(other),
    }
}

fn is_catalog_table(factor: &TableFactor) -> bool {
    let TableFactor::Table { name, args: None, .. } = factor else { return false };
    match name_parts(name).as_slice() {
        [table] => table.starts_with("pg_"),
        [schema, _] => schema == "pg_catalog",
        _ => false,
    }
}

/// Replaces every SELECT of `body` that must be empty. True if all of them were.
fn empty_body(body: &mut SetExpr) -> bool {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            let left = empty_body(left);
            let right = empty_body(right);
            left && right
        }
        SetExpr::Select(select) if must_be_empty(select) => match no_rows(select) {
            Some(replacement) => {
                **select = replacement;
                true
            }
            None => false,
        },
        _ => false,
    }
}

fn must_be_empty(select: &Select) -> bool {
    let grouped = !matches!(&select.group_by,
        ast::GroupByExpr::Expressions(by, _) if by.is_empty());
    if grouped || select.projection.iter().any(is_aggregate) {
        return false;
    }
    select.from.iter().any(|from| {
        let only_inner_or_left = from.joins.iter().all(|join| inner(&join.join_operator).is_some());
        only_inner_or_left
            && (is_empty_table(&from.relation)
                || from.joins.iter().any(|join| {
                    inner(&join.join_operator) == Some(true) && is_empty_table(&join.relation)
                }))
    })
}

/// `Some(true)` for inner joins, `Some(false)` for left ones, `None` for those that add rows.
fn inner(operator: &JoinOperator) -> Option<bool> {
    match operator {
        JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => Some(true),
        JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => Some(false),
        _ => None,
    }
}

fn is_empty_table(factor: &TableFactor) -> bool {
    let TableFactor::Table { name, args: None, .. } = factor else { return false };
    match name_parts(name).as_slice() {
        [table] => ALWAYS_EMPTY.contains(&table.as_str()),
        [schema, table] => schema == "pg_catalog" && ALWAYS_EMPTY.contains(&table.as_str()),
        _ => false,
    }
}

fn is_aggregate(item: &SelectItem) -> bool {
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
        // A wildcard over a table that is not there cannot be given columns either.
        return true;
    };
    matches!(expr, Expr::Function(function) if matches!(
        name_parts(&function.name).pop().as_deref(),
        Some("count" | "sum" | "min" | "max" | "avg" | "array_agg" | "string_agg" | "bool_or")
    ))
}

/// A SELECT of the same column names and no rows.
fn no_rows(select: &Select) -> Option<Select> {
    let mut taken = HashSet::new();
    let mut items = Vec::with_capacity(select.projection.len());
    for item in &select.projection {
        let mut name = item_name(item);
        while !taken.insert(name.clone()) {
            name.push('_');
        }
        items.push(format!("CAST(NULL AS TEXT) AS \"{}\"", name.replace('"', "\"\"")));
    }
    let text = format!("SELECT {} WHERE false", items.join(", "));
    let statement = Parser::parse_sql(&PostgreSqlDialect {}, &text).ok()?.pop()?;
    let ast::Statement::Query(query) = statement else { return None };
    match *query.body {
        SetExpr::Select(select) => Some(*select),
        _ => None,
    }
}

fn item_name(item: &SelectItem) -> String {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => normalized(alias),
        SelectItem::UnnamedExpr(expr) => expr_name(expr),
        _ => "?column?".to_owned(),
    }
}

fn expr_name(expr: &Expr) -> String {
    let name = match expr {
        Expr::Identifier(ident) => Some(normalized(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(normalized),
        Expr::Function(function) => name_parts(&function.name).pop(),
        Expr::Cast { expr, .. } | Expr::Nested(expr) => Some(expr_name(expr)),
        _ => None,
    };
    name.unwrap_or_else(|| "?column?".to_owned())
}

struct Placeholders<'a> {
    types: &'a BTreeMap<usize, DataType>,
}

impl VisitorMut for Placeholders<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(number) = placeholder(expr)
            && let Some(data_type) = self.types.get(&number).and_then(sql_type)
        {
            *expr = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(expr.clone()),
                data_type,
                array: false,
                format: None,
            };
        }
        ControlFlow::Continue(())
    }
}

/// The SQL name of a type a client may give a parameter.
fn sql_type(data_type: &DataType) -> Option<ast::DataType> {
    use datafusion::arrow::datatypes::TimeUnit;
    Some(match data_type {
        DataType::Boolean => ast::DataType::Boolean,
        DataType::Int16 => ast::DataType::Int2(None),
        DataType::Int32 => ast::DataType::Int4(None),
        DataType::Int64 => ast::DataType::Int8(None),
        DataType::Float32 => ast::DataType::Float4,
        DataType::Float64 => ast::DataType::Float8,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ast::DataType::Text,
        DataType::Date32 => ast::DataType::Date,
        DataType::Binary | DataType::LargeBinary => ast::DataType::Bytea,
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            ast::DataType::Timestamp(None, ast::TimezoneInfo::Tz)
        }
        DataType::Timestamp(_, None) => ast::DataType::Timestamp(None, ast::TimezoneInfo::None),
        DataType::Decimal128(precision, scale) => {
            let exact =
                ast::ExactNumberInfo::PrecisionAndScale(u64::from(*precision), i64::from(*scale));
            ast::DataType::Decimal(exact)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expect: &str) {
        let mut statement =
            Parser::parse_sql(&PostgreSqlDialect {}, input).expect("the input parses").remove(0);
        postgres_idioms(&mut statement);
        assert_eq!(statement.to_string(), expect);
    }

    #[test]
    fn psqls_operators_casts_and_prefixes_become_plain() {
        check(
            "SELECT pg_catalog.pg_get_userbyid(c.relowner) FROM pg_class c \
             WHERE c.relname OPERATOR(pg_catalog.~) '^(t)$' COLLATE pg_catalog.default",
            "SELECT pg_get_userbyid(c.relowner) FROM pg_class c WHERE c.relname ~ '^(t)$'",
        );
        check("SELECT 't'::regclass", "SELECT regclass_oid('t')");
        check("SELECT c.oid::pg_catalog.regclass", "SELECT regclass_name(c.oid)");
    }

    #[test]
    fn a_select_from_a_table_that_is_always_empty_keeps_its_names_and_loses_its_rows() {
        check(
            "SELECT pol.polname, NULL, NULL FROM pg_catalog.pg_policy pol \
             WHERE pol.polrelid = '7' ORDER BY 1",
            "SELECT CAST(NULL AS TEXT) AS \"polname\", CAST(NULL AS TEXT) AS \"?column?\", \
             CAST(NULL AS TEXT) AS \"?column?_\" WHERE false",
        );
    }

    #[test]
    fn counting_an_empty_table_still_answers_one_row() {
        let text = "SELECT count(*) FROM pg_policy";
        check(text, text);
    }

    #[test]
    fn storage_options_are_left_out() {
        check(
            "SELECT c.o || array(select 'toast.' || x from pg_catalog.unnest(t.o) x) FROM c",
            "SELECT c.o FROM c",
        );
    }

    #[test]
    fn a_look_up_in_the_catalog_is_an_aggregate_and_one_in_a_table_is_left_alone() {
        check(
            "SELECT (SELECT d.adbin FROM pg_attrdef d \
             WHERE d.adrelid = a.attrelid AND a.atthasdef) FROM a",
            "SELECT (SELECT max(d.adbin) AS \"adbin\" FROM pg_attrdef d \
             WHERE d.adrelid = a.attrelid) FROM a",
        );
        let text = "SELECT (SELECT t.v FROM t WHERE t.k = a.k) FROM a";
        check(text, text);
    }

    #[test]
    fn an_array_of_a_query_is_an_aggregate() {
        check(
            "SELECT ARRAY(SELECT b.x FROM b ORDER BY 1)",
            "SELECT (SELECT array_agg(b.x) FROM b)",
        );
    }
}
