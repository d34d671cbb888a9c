//! What a new store begins with: database `defaultdb` with schema `public`, user `root`, and role
//! `admin` with `root` in it.

use super::change::CatalogChange;
use super::names::{ADMIN_ROLE, DEFAULT_DATABASE, ROOT_USER};
use crate::error::Result;

/// Fills an empty catalog.
pub(super) fn fill(change: &mut CatalogChange<'_>) -> Result<()> {
    change.create_database(DEFAULT_DATABASE)?;
    change.create_user(ROOT_USER, true)?;
    change.create_user(ADMIN_ROLE, false)?;
    change.grant_role(ADMIN_ROLE, ROOT_USER)?;
    Ok(())
}
