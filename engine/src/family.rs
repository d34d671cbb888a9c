//! The registry of column families.
//!
//! A name, once shipped, is never reused: retired families stay listed. RocksDB's `default` family
//! exists too and stays empty. The names are part of every record's checksum (see
//! [`crate::envelope`]), and no name is a prefix of another.

use std::fmt;

use crate::id::SpanFamily;

/// A column family of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Rows of home spans, written by statements. Values are raw row values.
    Rows,
    /// Rows of spans that jobs ingested. Values are raw row values.
    Bulk,
    /// Descriptors, names, users, settings, statistics.
    Catalog,
    /// Control records and payloads of jobs.
    Jobs,
    /// Progress of jobs: written often, never synced.
    Progress,
    /// Claims with their intents and marks; the counter of span ids.
    Claims,
    /// Orders to remove what nobody owns any more.
    Tombstones,
    /// What happened to jobs, for people.
    History,
}

impl Family {
    /// Every family, in the order in which they were added.
    pub const ALL: [Self; 8] = [
        Self::Rows,
        Self::Bulk,
        Self::Catalog,
        Self::Jobs,
        Self::Progress,
        Self::Claims,
        Self::Tombstones,
        Self::History,
    ];

    /// The name in RocksDB.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Bulk => "bulk",
            Self::Catalog => "catalog",
            Self::Jobs => "jobs",
            Self::Progress => "progress",
            Self::Claims => "claims",
            Self::Tombstones => "tombstones",
            Self::History => "history",
        }
    }

    /// Whether values are sealed records (see [`crate::envelope`]); the others are raw row values.
    #[must_use]
    pub const fn is_sealed(self) -> bool {
        !matches!(self, Self::Rows | Self::Bulk)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<SpanFamily> for Family {
    fn from(family: SpanFamily) -> Self {
        match family {
            SpanFamily::Rows => Self::Rows,
            SpanFamily::Bulk => Self::Bulk,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_a_prefix_of_another() {
        for a in Family::ALL {
            for b in Family::ALL {
                assert!(a == b || !a.name().starts_with(b.name()), "{a} begins with {b}");
            }
        }
    }
}
