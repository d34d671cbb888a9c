//! Identifiers: numbers that cannot be mixed up.
//!
//! Each is a plain `u64` inside. There is no `From<u64>`, so that a span can never be passed where
//! an owner is wanted; [`raw`](SpanId::raw) and [`from_raw`](SpanId::from_raw) are for codecs.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a stored number.
            #[must_use]
            pub const fn from_raw(raw: u64) -> Self {
                Self(raw)
            }

            /// The number to store.
            #[must_use]
            pub const fn raw(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A private window of keys, or a scratch folder: both draw from one counter, and no number is
    /// ever used twice. The upper 16 bits name the node (0 today), the lower 48 count.
    SpanId
}

id! {
    /// Who a claim belongs to. Opaque here; `cairn-jobs` uses the id of the job. 0 is nobody.
    OwnerId
}

id! {
    /// The fence number of an owner: it grows with every change of who may write, so that a write
    /// that was prepared under an earlier one can be told and refused.
    Epoch
}

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        // 2^64 edges of one job do not happen; saturating keeps the order if they did.
        Self(self.0.saturating_add(1))
    }
}

/// The column family that holds the keys of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpanFamily {
    /// Home spans: what INSERT writes. A condemned span goes by range deletion.
    Rows,
    /// What jobs ingest, one set of files per span. A condemned span goes by files.
    Bulk,
}

/// A span and where its keys live: all that is needed to read or write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanRef {
    /// Which span.
    pub id: SpanId,
    /// Where its keys live.
    pub family: SpanFamily,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_printed_as_its_number() {
        assert_eq!(SpanId::from_raw(42).to_string(), "42");
        assert_eq!(format!("{:>4}", OwnerId::from_raw(7)), "   7");
    }

    #[test]
    fn epochs_grow_and_never_wrap() {
        assert_eq!(Epoch::from_raw(1).next(), Epoch::from_raw(2));
        assert_eq!(Epoch::from_raw(u64::MAX).next(), Epoch::from_raw(u64::MAX));
    }
}
