//! The doctor of a database: everything the engine and the jobs check, and the catalog.
//!
//! Opens the store for reading only, so it needs one that no server has open, and changes nothing.

use std::path::Path;

use cairn_engine::{Engine, Finding, Options};

use crate::catalog::Catalog;
use crate::error::{Result, SqlError, code};

/// Checks the store in the folder `store`: every span is published, claimed or condemned, exactly one
/// of these, and every record can be read. An empty answer means that nothing was found. Blocks.
///
/// # Errors
/// 58P01 if there is no store, 55006 if a server has it open, and storage errors: it was not
/// checked then.
pub fn doctor(store: &Path) -> Result<Vec<Finding>> {
    if !store.is_dir() {
        let message = format!("there is no store at {}", store.display());
        return Err(SqlError::new(code::UNDEFINED_FILE, message)
            .with_hint("Give the folder that `cairn start --store` was given."));
    }
    let engine =
        Engine::open(Options { read_only: true, ..Options::new(store) }).map_err(|error| {
            let error = SqlError::from(error);
            if error.code == code::OBJECT_IN_USE {
                return error.with_hint("Stop the server first; the doctor wants the store alone.");
            }
            error
        })?;
    check(&engine)
}

/// The same for a store that is open.
///
/// # Errors
/// A storage error: the check could not be completed.
pub(crate) fn check(engine: &Engine) -> Result<Vec<Finding>> {
    let catalog = Catalog::open(engine)?;
    let snapshot = catalog.current();
    let mut findings = cairn_jobs::doctor(engine, &snapshot.published_spans())?;
    for damage in snapshot.damage() {
        findings.push(Finding::error(
            format!("catalog key {}", hex(&damage.key)),
            damage.to_string(),
            "keep a copy of the store; what the record describes cannot be used",
        ));
    }
    Ok(findings)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
