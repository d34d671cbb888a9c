//! Changing rows: the part of INSERT, UPDATE and DELETE that runs under locks.
//!
//! What a statement wants to change was computed beforehand, on a view. Here the table's latch is
//! taken (shared: publishing, DROP and TRUNCATE take it alone), then the locks of all keys, and
//! then every row that was read is read again: if one changed meanwhile, nothing is written and the
//! answer is [`Outcome::Changed`], upon which the statement starts over. So a change is always based
//! on the rows as they are when it is committed.
//!
//! INSERT writes to the home span after looking for the key in every span; UPDATE and DELETE write
//! where the row lies. An UPDATE that changes a primary key is a DELETE and an INSERT in one batch.
//! Everything here blocks.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use cairn_engine::{SpanId, SpanRef, Sync, WriteSet};

use crate::catalog::TableDescriptor;
use crate::database::Database;
use crate::error::{Result, SqlError, code};
use crate::row::{RowCodec, hidden_key, hidden_key_number};
use crate::value::Datum;

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Committed: this many rows.
    Applied(u64),
    /// The table or a row is not what the statement read; nothing was written.
    Changed,
}

/// A row that the statement read and is going to change.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) span: SpanId,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// What a statement changes, and how it commits.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) db: Database,
    /// As the statement read it.
    pub(crate) table: Arc<TableDescriptor>,
    pub(crate) sync: Sync,
}

impl Target {
    /// Whether the table is still the one the statement read. Call it under the latch.
    fn is_current(&self) -> Result<bool> {
        let snapshot = self.db.catalog().current();
        match snapshot.table(self.table.id) {
            Some(table) => Ok(table.version == self.table.version),
            None => {
                let message = format!("relation \"{}\" does not exist", self.table.name);
                Err(SqlError::new(code::UNDEFINED_TABLE, message)
                    .with_detail("It was dropped while the statement ran."))
            }
        }
    }

    fn lock_key(&self, key: &[u8]) -> Vec<u8> {
        let mut lock = Vec::with_capacity(8 + key.len());
        lock.extend_from_slice(&self.table.id.to_be_bytes());
        lock.extend_from_slice(key);
        lock
    }

    fn span(&self, id: SpanId) -> Result<SpanRef> {
        let found = self.table.all_spans().into_iter().find(|span| span.id == id);
        found.ok_or_else(|| SqlError::internal(format!("table {} has no span {id}", self.table.id)))
    }

    /// Whether any span of the table holds `key`.
    fn holds(&self, changes: &WriteSet, key: &[u8]) -> Result<bool> {
        if changes.get(self.table.home_span(), key)?.is_some() {
            return Ok(true);
        }
        for span in &self.table.primary.spans {
            if span.may_hold(key) && changes.get(span.span_ref(), key)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn check_nulls(&self, row: &[Datum]) -> Result<()> {
        for (column, value) in self.table.columns.iter().zip(row) {
            if !column.nullable && matches!(value, Datum::Null) {
                let message = format!(
                    "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                    column.name, self.table.name
                );
                return Err(SqlError::new(code::NOT_NULL_VIOLATION, message)
                    .with_detail(format!("Failing row contains ({}).", shown(row))));
            }
        }
        Ok(())
    }

    fn duplicate(&self, row: &[Datum]) -> SqlError {
        let mut names = Vec::new();
        let mut values = Vec::new();
        for (column, _) in self.table.key_columns() {
            names.push(column.name.clone());
            let at = self.table.column_index(&column.name);
            values.push(at.and_then(|at| row.get(at)).map(Datum::to_string).unwrap_or_default());
        }
        let message =
            format!("duplicate key value violates unique constraint \"{}_pkey\"", self.table.name);
        let detail = format!("Key ({})=({}) already exists.", names.join(", "), values.join(", "));
        SqlError::new(code::UNIQUE_VIOLATION, message).with_detail(detail)
    }
}

fn shown(row: &[Datum]) -> String {
    row.iter()
        .map(|value| match value {
            Datum::Null => "null".to_owned(),
            value => value.to_string(),
        })
        .collect::<Vec<_>>()
        .join(", ")
}

/// Inserts rows, given in the order of the table's columns.
///
/// # Errors
/// 23502 and 23505 among others; nothing was written then.
pub(crate) fn insert(target: &Target, rows: &[Vec<Datum>]) -> Result<Outcome> {
    let codec = RowCodec::new(&target.table);
    let latch = target.db.catalog().table_latch(target.table.id);
    let _shared = latch.read().unwrap_or_else(PoisonError::into_inner);
    if !target.is_current()? {
        return Ok(Outcome::Changed);
    }
    for row in rows {
        target.check_nulls(row)?;
    }
    let home = target.table.home_span();
    let mut changes = target.db.engine().write_set();
    if target.table.has_hidden_key() {
        let first = take_numbers(target, rows.len() as u64)?;
        for (number, row) in (first..).zip(rows) {
            changes.put(home, &hidden_key(home.id, number), &codec.encode_value(row));
        }
    } else {
        let keys: Vec<Vec<u8>> = rows.iter().map(|row| codec.encode_key(row)).collect();
        let locks: Vec<Vec<u8>> = keys.iter().map(|key| target.lock_key(key)).collect();
        changes.lock(&locks);
        for (key, row) in keys.iter().zip(rows) {
            if target.holds(&changes, key)? {
                return Err(target.duplicate(row));
            }
            changes.put(home, key, &codec.encode_value(row));
        }
    }
    changes.commit(target.sync)?;
    Ok(Outcome::Applied(rows.len() as u64))
}

/// Deletes the rows that were found, or replaces each by its new row.
///
/// # Errors
/// 23502 and 23505 among others; nothing was written then.
pub(crate) fn change(
    target: &Target,
    found: &[Found],
    new: Option<&[Vec<Datum>]>,
) -> Result<Outcome> {
    let codec = RowCodec::new(&target.table);
    let latch = target.db.catalog().table_latch(target.table.id);
    let _shared = latch.read().unwrap_or_else(PoisonError::into_inner);
    if !target.is_current()? {
        return Ok(Outcome::Changed);
    }
    let hidden = target.table.has_hidden_key();
    let mut new_keys: Vec<Vec<u8>> = Vec::new();
    for (old, row) in found.iter().zip(new.unwrap_or_default()) {
        target.check_nulls(row)?;
        new_keys.push(if hidden { old.key.clone() } else { codec.encode_key(row) });
    }
    let mut changes = target.db.engine().write_set();
    let mut locks: Vec<Vec<u8>> = found.iter().map(|row| target.lock_key(&row.key)).collect();
    locks.extend(new_keys.iter().map(|key| target.lock_key(key)));
    changes.lock(&locks);
    // A join can find one row several times; as in PostgreSQL the first one counts.
    let mut seen = HashSet::new();
    let mut moved = Vec::new();
    let mut count = 0;
    for (index, old) in found.iter().enumerate() {
        if !seen.insert(old.key.as_slice()) {
            continue;
        }
        let span = target.span(old.span)?;
        if changes.get(span, &old.key)?.as_deref() != Some(old.value.as_slice()) {
            return Ok(Outcome::Changed);
        }
        count += 1;
        match (new.and_then(|rows| rows.get(index)), new_keys.get(index)) {
            (Some(row), Some(key)) if *key == old.key => {
                changes.put(span, key, &codec.encode_value(row));
            }
            (Some(row), Some(key)) => {
                changes.delete(span, &old.key);
                moved.push((key, row));
            }
            _ => changes.delete(span, &old.key),
        }
    }
    // All old rows are gone before the first new key is looked for, so keys may swap places.
    let home = target.table.home_span();
    for (key, row) in moved {
        if target.holds(&changes, key)? {
            return Err(target.duplicate(row));
        }
        changes.put(home, key, &codec.encode_value(row));
    }
    changes.commit(target.sync)?;
    Ok(Outcome::Applied(count))
}

/// Numbers for rows of a table without a primary key.
fn take_numbers(target: &Target, count: u64) -> Result<u64> {
    let home = target.table.home_span();
    target.db.take_row_numbers(home.id, count, || {
        let view = target.db.engine().view();
        let mut last =
            view.scan(home, std::ops::Bound::Unbounded, std::ops::Bound::Unbounded, true)?;
        Ok(match last.next()? {
            Some((key, _)) => hidden_key_number(key),
            None => None,
        })
    })
}
