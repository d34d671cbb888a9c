//! The bodies of the fuzz targets: plain functions of bytes, so that a failing input becomes a test.
//!
//! Each opens with its strategy and its invariants. Those that want structure take it out of the bytes with
//! `arbitrary`. [`TARGETS`] is the list that everything else goes by: the binaries in `fuzz_targets/`, the
//! replay in `tests/corpus.rs`.

mod csv;
mod envelope;
mod grammar;
mod keys;
mod records;
mod rows;
mod settings;
mod statements;
mod values;

pub use csv::csv;
pub use envelope::envelope;
pub use grammar::grammar;
pub use keys::keys;
pub use records::records;
pub use rows::rows;
pub use settings::settings;
pub use statements::statements;
pub use values::values;

/// A target: it panics if an invariant does not hold.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 9] = [
    ("csv", csv),
    ("envelope", envelope),
    ("grammar", grammar),
    ("keys", keys),
    ("records", records),
    ("rows", rows),
    ("settings", settings),
    ("statements", statements),
    ("values", values),
];
