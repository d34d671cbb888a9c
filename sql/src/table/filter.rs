//! From filters to key ranges: which part of a table a WHERE clause can touch.
//!
//! Only conditions on primary key columns against literals count: comparisons, BETWEEN, IN lists,
//! and ORs of equalities on one column, joined by AND. Everything else is left to the query
//! engine, which checks every filter again on the rows, so a range may be too wide and must never
//! be too narrow. Values are compared in their key encoding, where byte order is column order; a
//! descending key column turns the comparisons around.

use std::collections::BTreeSet;
use std::ops::Bound;

use cairn_engine::key::Direction;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use crate::table::KeyColumn;

/// More points than this are read as one range instead.
const POINTS_MAX: usize = 1024;

/// A range of key-encoded primary keys: `lower` included, `upper` excluded (`None`: no end).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRange {
    pub(crate) lower: Vec<u8>,
    pub(crate) upper: Option<Vec<u8>>,
    /// The whole key is given: at most one row.
    pub(crate) point: bool,
}

impl KeyRange {
    fn all() -> Self {
        Self { lower: Vec::new(), upper: None, point: false }
    }
}

/// The values one key column may have, in key encoding.
#[derive(Debug, Clone)]
struct Domain {
    points: Option<BTreeSet<Vec<u8>>>,
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
}

impl Domain {
    const fn all() -> Self {
        Self { points: None, lower: Bound::Unbounded, upper: Bound::Unbounded }
    }

    fn only(&mut self, points: BTreeSet<Vec<u8>>) {
        self.points = Some(match self.points.take() {
            Some(known) => known.intersection(&points).cloned().collect(),
            None => points,
        });
    }

    fn at_least(&mut self, bound: Bound<Vec<u8>>) {
        let tighter = match (&self.lower, &bound) {
            (Bound::Unbounded, _) => true,
            (_, Bound::Unbounded) => false,
            (Bound::Included(known) | Bound::Excluded(known), Bound::Included(new)) => new > known,
            (Bound::Included(known), Bound::Excluded(new)) => new >= known,
            (Bound::Excluded(known), Bound::Excluded(new)) => new > known,
        };
        if tighter {
            self.lower = bound;
        }
    }

    fn at_most(&mut self, bound: Bound<Vec<u8>>) {
        let tighter = match (&self.upper, &bound) {
            (Bound::Unbounded, _) => true,
            (_, Bound::Unbounded) => false,
            (Bound::Included(known) | Bound::Excluded(known), Bound::Included(new)) => new < known,
            (Bound::Included(known), Bound::Excluded(new)) => new <= known,
            (Bound::Excluded(known), Bound::Excluded(new)) => new < known,
        };
        if tighter {
            self.upper = bound;
        }
    }

    fn allows(&self, value: &[u8]) -> bool {
        let above = match &self.lower {
            Bound::Unbounded => true,
            Bound::Included(bound) => value >= bound.as_slice(),
            Bound::Excluded(bound) => value > bound.as_slice(),
        };
        let below = match &self.upper {
            Bound::Unbounded => true,
            Bound::Included(bound) => value <= bound.as_slice(),
            Bound::Excluded(bound) => value < bound.as_slice(),
        };
        above && below
    }
}

/// Whether a filter can narrow the ranges of a table with this key.
pub(crate) fn narrows(key: &[KeyColumn], filter: &Expr) -> bool {
    let mut domains = vec![Domain::all(); key.len()];
    restrict(filter, key, &mut domains)
}

/// The ranges that hold every row the filters let through, ascending and disjoint. Empty when no
/// row can match.
pub(crate) fn key_ranges(key: &[KeyColumn], filters: &[Expr]) -> Vec<KeyRange> {
    let mut domains = vec![Domain::all(); key.len()];
    for filter in filters {
        restrict(filter, key, &mut domains);
    }
    let mut prefixes: Vec<Vec<u8>> = vec![Vec::new()];
    for (position, domain) in domains.iter().enumerate() {
        if let Some(points) = &domain.points {
            let allowed: Vec<&Vec<u8>> = points.iter().filter(|p| domain.allows(p)).collect();
            if prefixes.len() * allowed.len() <= POINTS_MAX {
                prefixes = prefixes
                    .iter()
                    .flat_map(|prefix| allowed.iter().map(move |point| joined(prefix, point)))
                    .collect();
                continue;
            }
        }
        return prefixes.iter().filter_map(|prefix| within(prefix, domain, position)).collect();
    }
    if key.is_empty() {
        return vec![KeyRange::all()];
    }
    prefixes
        .into_iter()
        .map(|key| KeyRange { upper: Some(after(&key)), lower: key, point: true })
        .collect()
}

/// The keys that begin with `prefix` and go on with a value of `domain`.
fn within(prefix: &[u8], domain: &Domain, position: usize) -> Option<KeyRange> {
    let lower = match &domain.lower {
        Bound::Unbounded => prefix.to_vec(),
        Bound::Included(value) => joined(prefix, value),
        Bound::Excluded(value) => successor(joined(prefix, value))?,
    };
    let upper = match &domain.upper {
        Bound::Unbounded if position == 0 => None,
        Bound::Unbounded => successor(prefix.to_vec()),
        Bound::Included(value) => successor(joined(prefix, value)),
        Bound::Excluded(value) => Some(joined(prefix, value)),
    };
    if upper.as_ref().is_some_and(|upper| *upper <= lower) {
        return None;
    }
    Some(KeyRange { lower, upper, point: false })
}

fn joined(prefix: &[u8], value: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(prefix.len() + value.len());
    key.extend_from_slice(prefix);
    key.extend_from_slice(value);
    key
}

/// The smallest key above `key` itself.
fn after(key: &[u8]) -> Vec<u8> {
    joined(key, &[0])
}

/// The smallest key above everything that begins with `prefix`.
fn successor(mut prefix: Vec<u8>) -> Option<Vec<u8>> {
    while let Some(last) = prefix.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return Some(prefix);
        }
        prefix.pop();
    }
    None
}

/// Narrows the domains by what `filter` demands. True if it demanded anything of the key.
fn restrict(filter: &Expr, key: &[KeyColumn], domains: &mut [Domain]) -> bool {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            let left = restrict(left, key, domains);
            let right = restrict(right, key, domains);
            left || right
        }
        Expr::Between(between) if !between.negated => {
            let low = compare(&between.expr, Operator::GtEq, &between.low, key, domains);
            let high = compare(&between.expr, Operator::LtEq, &between.high, key, domains);
            low || high
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if *op != Operator::Or => {
            compare(left, *op, right, key, domains)
                || op.swap().is_some_and(|op| compare(right, op, left, key, domains))
        }
        _ => match points(filter, key) {
            Some((position, values)) => {
                domains[position].only(values);
                true
            }
            None => false,
        },
    }
}

/// The values an IN list, or an OR of equalities on one column, allows.
fn points(filter: &Expr, key: &[KeyColumn]) -> Option<(usize, BTreeSet<Vec<u8>>)> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let (column, mut values) = points(left, key)?;
            let (other, more) = points(right, key)?;
            values.extend(more);
            (column == other).then_some((column, values))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let (column, literal) = match (column(left, key), column(right, key)) {
                (Some(column), _) => (column, right),
                (None, Some(column)) => (column, left),
                (None, None) => return None,
            };
            let value = encoded(&key[column], literal)?;
            Some((column, value.into_iter().collect()))
        }
        Expr::InList(list) if !list.negated => {
            let column = column(&list.expr, key)?;
            let mut values = BTreeSet::new();
            for item in &list.list {
                values.extend(encoded(&key[column], item)?);
            }
            Some((column, values))
        }
        _ => None,
    }
}

fn compare(
    left: &Expr,
    op: Operator,
    right: &Expr,
    key: &[KeyColumn],
    domains: &mut [Domain],
) -> bool {
    let ordered =
        matches!(op, Operator::Eq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq);
    if !ordered {
        return false;
    }
    let Some(position) = column(left, key) else { return false };
    let Some(value) = encoded(&key[position], right) else { return false };
    let domain = &mut domains[position];
    let Some(value) = value else {
        // A comparison with NULL is never true.
        domain.only(BTreeSet::new());
        return true;
    };
    let descending = key[position].direction == Direction::Desc;
    match (op, descending) {
        (Operator::Eq, _) => domain.only(BTreeSet::from([value])),
        (Operator::Gt, false) | (Operator::Lt, true) => domain.at_least(Bound::Excluded(value)),
        (Operator::GtEq, false) | (Operator::LtEq, true) => domain.at_least(Bound::Included(value)),
        (Operator::Lt, false) | (Operator::Gt, true) => domain.at_most(Bound::Excluded(value)),
        (Operator::LtEq, false) | (Operator::GtEq, true) => domain.at_most(Bound::Included(value)),
        _ => return false,
    }
    true
}

/// The position in the key of the column that `expr` is.
fn column(expr: &Expr, key: &[KeyColumn]) -> Option<usize> {
    match expr {
        Expr::Column(column) => key.iter().position(|part| part.name == column.name),
        _ => None,
    }
}

/// A literal in the encoding of a key column: `None` if it cannot be compared there as it is,
/// `Some(None)` for NULL.
fn encoded(column: &KeyColumn, literal: &Expr) -> Option<Option<Vec<u8>>> {
    let Expr::Literal(value, _) = literal else { return None };
    if value.is_null() {
        return Some(None);
    }
    encode(column, value).map(Some)
}

fn encode(column: &KeyColumn, value: &ScalarValue) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    crate::table::put_key_value(&mut out, column, value).then_some(out)
}
