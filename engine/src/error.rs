//! What can go wrong, sorted by what the caller does about it.
//!
//! | variant | what to do |
//! |---|---|
//! | `Stopped`, `Fenced` | end quietly: somebody decided that this work is over |
//! | `Invalid`, `NotFound` | fix the request |
//! | `Busy`, `NoSpace` | try again later, after making room |
//! | `InUse`, `NewerFormat`, `ReadOnly` | open something else, or with something else |
//! | `Corruption`, `Damaged` | keep the store as it is, run the doctor |
//! | `Storage`, `Io`, `Crashed`, `Panicked` | reopen before writing again |

use std::io;
#[cfg(feature = "store")]
use std::path::Path;

use bytes::Bytes;

use crate::family::Family;
use crate::id::{Epoch, OwnerId};

/// The result of an engine call.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// Why an engine call failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A record is not what was written. It is left where it is; the rest of the store is fine.
    #[error(transparent)]
    Corruption(#[from] Corruption),
    /// The owner has moved on to a later epoch (it was cancelled, say). Nothing was written, and
    /// nothing prepared under the old epoch ever will be: end quietly.
    #[error("owner {owner} moved on to epoch {current}; epoch {held} may not write any more")]
    Fenced {
        /// Whose write it was.
        owner: OwnerId,
        /// The epoch under which the write was prepared.
        held: Epoch,
        /// The epoch that counts now.
        current: Epoch,
    },
    /// The caller's own stop flag was set while it waited. Nothing was done.
    #[error("stopped while waiting")]
    Stopped,
    /// An armed crash point was reached: the engine acts as if the process had died there, until it
    /// is opened again. Only tests see this.
    #[error("crashed on purpose at {point}")]
    Crashed {
        /// The point that was armed.
        point: String,
    },
    /// The store was opened for reading only. Open it for writing.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// The disk is full. Nothing of the batch is visible; free some space and try again.
    #[error("no space left: {message}")]
    NoSpace {
        /// What RocksDB or the operating system said.
        message: String,
    },
    /// What was asked for does not exist.
    #[error("{what} does not exist")]
    NotFound {
        /// What was looked for, with its name.
        what: String,
    },
    /// The request cannot be right, whatever the store holds: a mistake of the caller.
    #[error("{0}")]
    Invalid(String),
    /// RocksDB is occupied with what the call needs (a file under compaction, a cancelled manual
    /// compaction). Nothing changed; try again later.
    #[error("storage is busy: {0}")]
    Busy(String),
    /// Another process, or another handle in this one, has the store open.
    #[error("the store is in use: {0}")]
    InUse(String),
    /// RocksDB found damage in its own files. Keep a copy of the store before doing anything else.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// RocksDB failed in another way. A batch was applied fully or not at all, but may already be
    /// durable; reopen before writing again.
    #[error("storage failed: {0}")]
    Storage(String),
    /// A file or folder outside of RocksDB could not be used.
    #[error("could not {context}: {source}")]
    Io {
        /// What was tried, with the path: `read /x/y`.
        context: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The store was written by a newer release. Use that one.
    #[error("the store has format {found}; this release reads up to format {supported}")]
    NewerFormat {
        /// The format version of the store.
        found: u32,
        /// The newest version that this release reads.
        supported: u32,
    },
    /// Blocking work panicked; see the log. Its effects are those of a crash at that place.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// A stored record that is not what was written, or lies where it does not belong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged record in {family} under key {}: expected {expected}", Hex(.key))]
pub struct Corruption {
    /// Where it lies.
    pub family: Family,
    /// Under which key.
    pub key: Bytes,
    /// What should have been there, for people: `a checksum that matches`.
    pub expected: String,
}

impl Corruption {
    /// A finding about the record under `key`.
    #[must_use]
    pub fn new(family: Family, key: &[u8], expected: impl Into<String>) -> Self {
        Self { family, key: Bytes::copy_from_slice(key), expected: expected.into() }
    }
}

/// Blocking work panicked instead of answering.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("panicked during {op}: {message}")]
pub struct Panicked {
    /// The name of the kind of work.
    pub op: &'static str,
    /// The text of the panic.
    pub message: String,
}

/// Bytes as hexadecimal digits, cut after 64 bytes.
struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 64;
        if self.0.is_empty() {
            return f.write_str("(empty)");
        }
        for byte in self.0.iter().take(SHOWN) {
            write!(f, "{byte:02x}")?;
        }
        if self.0.len() > SHOWN {
            write!(f, "... ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

/// The body of a record whose envelope is fine cannot be decoded.
#[cfg(feature = "store")]
pub(crate) fn corrupt_body(family: Family, key: &[u8], expected: &str) -> EngineError {
    Corruption::new(family, key, expected).into()
}

/// An operating system error with what was tried: `io_error("read", path, error)`.
#[cfg(feature = "store")]
pub(crate) fn io_error(action: &str, path: &Path, source: io::Error) -> EngineError {
    if source.kind() == io::ErrorKind::StorageFull {
        return EngineError::NoSpace { message: format!("{action} {}: {source}", path.display()) };
    }
    EngineError::Io { context: format!("{action} {}", path.display()), source }
}

/// RocksDB's message text as a typed error. The only place that looks into such texts
/// (`util/status.cc`: code, subcode, message).
#[cfg(feature = "store")]
pub(crate) fn storage_text(text: &str) -> EngineError {
    let begins = |prefix: &str| text.starts_with(prefix);
    if text.contains("No space left on device") || text.contains("Space limit reached") {
        EngineError::NoSpace { message: text.to_owned() }
    } else if begins("IO error: While lock file") || begins("IO error: lock hold by current") {
        EngineError::InUse(text.to_owned())
    } else if begins("Corruption: ") {
        EngineError::Damaged(text.to_owned())
    } else if text.contains("Manual compaction paused")
        || begins("Resource busy: ")
        || begins("Operation aborted: ")
        || begins("Operation failed. Try again.: ")
        || begins("Operation timed out: ")
        || begins("Result incomplete: ")
    {
        EngineError::Busy(text.to_owned())
    } else if text.contains("Not supported operation in read only mode") {
        EngineError::ReadOnly
    } else {
        EngineError::Storage(text.to_owned())
    }
}

#[cfg(feature = "store")]
impl From<rocksdb::Error> for EngineError {
    fn from(error: rocksdb::Error) -> Self {
        storage_text(&error.into_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corruption_names_family_and_key() {
        let text = Corruption::new(Family::Claims, &[1, 0xab], "eight bytes").to_string();
        assert_eq!(text, "damaged record in claims under key 01ab: expected eight bytes");
        let long = Corruption::new(Family::Jobs, &[7; 65], "less").to_string();
        assert!(long.contains("07... (65 bytes)"), "{long}");
        let empty = Corruption::new(Family::Jobs, &[], "more").to_string();
        assert!(empty.contains("key (empty)"), "{empty}");
    }

    #[cfg(feature = "store")]
    #[test]
    fn a_full_disk_is_told_from_other_io_errors() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(io_error("write", Path::new("/x"), full), EngineError::NoSpace { .. }));
        let other = io::Error::from(io::ErrorKind::PermissionDenied);
        let text = io_error("read", Path::new("/x"), other).to_string();
        assert!(text.starts_with("could not read /x: "), "{text}");
    }

    #[cfg(feature = "store")]
    #[test]
    fn rocksdb_texts_become_typed_errors() {
        type Check = fn(&EngineError) -> bool;
        let cases: [(&str, Check); 8] = [
            ("IO error: No space left on device: While appending: /x/1.log", |e| {
                matches!(e, EngineError::NoSpace { .. })
            }),
            ("IO error: While lock file: /x/LOCK: Resource temporarily unavailable", |e| {
                matches!(e, EngineError::InUse(_))
            }),
            ("IO error: lock hold by current process, acquire time 1", |e| {
                matches!(e, EngineError::InUse(_))
            }),
            ("Corruption: block checksum mismatch", |e| matches!(e, EngineError::Damaged(_))),
            ("Result incomplete: Manual compaction paused", |e| matches!(e, EngineError::Busy(_))),
            ("Operation aborted: running compaction on file 12", |e| {
                matches!(e, EngineError::Busy(_))
            }),
            ("Not implemented: Not supported operation in read only mode.", |e| {
                matches!(e, EngineError::ReadOnly)
            }),
            ("IO error: While open a file: /x", |e| matches!(e, EngineError::Storage(_))),
        ];
        for (text, is) in cases {
            let error = storage_text(text);
            assert!(is(&error), "{text} became {error:?}");
        }
    }
}
