//! A table that is imported into: what it may show, given how its imports stand.
//!
//! It shows all rows of the one import that succeeded since it was made or emptied, or none; the rows
//! that were inserted by hand; and, once an import is known to have succeeded, changes of its rows.

use std::collections::BTreeMap;

use super::jobs::{Generation, Job};
use crate::kill::source::{HAND_FROM, SOURCES, Source, Summary, value};

/// A table that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// Grows each time the table is made or emptied: an import belongs to one of them.
    pub(crate) generation: Generation,
    /// Rows inserted by hand: key and value.
    pub(crate) hand: BTreeMap<i64, i64>,
    /// Imported rows that were changed since, or removed.
    pub(crate) changed: BTreeMap<i64, Option<i64>>,
}

/// Whether an import's rows are to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visible {
    Yes,
    No,
    Maybe,
}

impl Table {
    /// A table without rows.
    pub(crate) fn empty(generation: Generation) -> Self {
        Self { generation, hand: BTreeMap::new(), changed: BTreeMap::new() }
    }

    /// Whether a row was inserted by hand under a key that an import may bring.
    pub(crate) fn has_low_keys(&self) -> bool {
        self.hand.keys().any(|k| *k < HAND_FROM)
    }

    /// The value of row `k`, if it is there.
    pub(crate) fn row(&self, import: Option<&Source>, k: i64) -> Option<i64> {
        let imported = import.filter(|source| (1..=source.rows()).contains(&k)).map(|_| value(k));
        let changed = self.changed.get(&k).copied();
        self.hand.get(&k).copied().or(changed.unwrap_or(imported))
    }

    /// What the table shows with `import`, if any. `None` if that cannot be: a key lives once, so an import does
    /// not succeed beside a row of its keys.
    pub(crate) fn summary(&self, import: Option<&Source>) -> Option<Summary> {
        let mut summary = Summary::default();
        if let Some(source) = import {
            summary = source.summary();
            let removed = |k| self.changed.get(k) == Some(&None);
            if self.hand.keys().any(|k| *k <= source.rows() && !removed(k)) {
                return None;
            }
            for (&k, &now) in &self.changed {
                summary.remove(k, value(k));
                if let Some(x) = now {
                    summary.add(k, x);
                }
            }
        }
        self.hand.iter().for_each(|(&k, &x)| summary.add(k, x));
        Some(summary)
    }

    /// Everything the table may show, given which of its imports are to be seen.
    pub(crate) fn candidates<'a>(
        &self,
        imports: impl Iterator<Item = (&'a Job, Visible)>,
    ) -> Vec<Summary> {
        let mut without = true;
        let mut candidates = Vec::new();
        for (job, visible) in imports.filter(|(job, _)| job.generation() == self.generation) {
            if visible != Visible::No {
                candidates.extend(self.summary(Some(&SOURCES[job.source()])));
            }
            without &= visible != Visible::Yes;
        }
        if without {
            candidates.extend(self.summary(None));
        }
        candidates
    }
}
