//! CREATE, DROP, GRANT and REVOKE of users and roles.

use cairn_engine::blocking::Op;

use crate::ast::RoleKind;
use crate::catalog::CatalogChange;
use crate::error::{Result, SqlError};
use crate::execute::{blocking, done};
use crate::notice::Notice;
use crate::session::{Answer, Scope};

/// CREATE USER, CREATE ROLE.
pub(crate) async fn create(
    scope: &Scope,
    name: &str,
    if_not_exists: bool,
    kind: RoleKind,
) -> Result<Answer> {
    scope.require_admin("create users and roles")?;
    if if_not_exists && scope.facts.snapshot().user(name).is_some() {
        let message = format!("role \"{name}\" already exists, skipping");
        scope.notices.send(Notice::new(message));
        return Ok(done("CREATE ROLE"));
    }
    let name = name.to_owned();
    change(scope, move |change| change.create_user(&name, kind == RoleKind::User)).await?;
    Ok(done("CREATE ROLE"))
}

/// DROP USER, DROP ROLE.
pub(crate) async fn drop(
    scope: &Scope,
    names: &[String],
    if_exists: bool,
    _kind: RoleKind,
) -> Result<Answer> {
    scope.require_admin("drop users and roles")?;
    let snapshot = scope.facts.snapshot();
    let mut known = Vec::with_capacity(names.len());
    for name in names {
        if *name == scope.facts.user {
            return Err(SqlError::new("55006", "current user cannot be dropped"));
        }
        if if_exists && snapshot.user(name).is_none() {
            let message = format!("role \"{name}\" does not exist, skipping");
            scope.notices.send(Notice::new(message));
        } else {
            known.push(name.clone());
        }
    }
    change(scope, move |change| known.iter().try_for_each(|name| change.drop_user(name))).await?;
    Ok(done("DROP ROLE"))
}

/// GRANT role TO user.
pub(crate) async fn grant(scope: &Scope, roles: &[String], to: &[String]) -> Result<Answer> {
    scope.require_admin("grant roles")?;
    let (roles, to) = (roles.to_vec(), to.to_vec());
    let unchanged = change(scope, move |change| {
        let mut unchanged = Vec::new();
        for role in &roles {
            for member in &to {
                if !change.grant_role(role, member)? {
                    unchanged
                        .push(format!("role \"{member}\" is already a member of role \"{role}\""));
                }
            }
        }
        Ok(unchanged)
    })
    .await?;
    unchanged.into_iter().for_each(|message| scope.notices.send(Notice::new(message)));
    Ok(done("GRANT ROLE"))
}

/// REVOKE role FROM user.
pub(crate) async fn revoke(scope: &Scope, roles: &[String], from: &[String]) -> Result<Answer> {
    scope.require_admin("revoke roles")?;
    let (roles, from) = (roles.to_vec(), from.to_vec());
    let unchanged = change(scope, move |change| {
        let mut unchanged = Vec::new();
        for role in &roles {
            for member in &from {
                if !change.revoke_role(role, member)? {
                    unchanged.push(format!("role \"{member}\" is not a member of role \"{role}\""));
                }
            }
        }
        Ok(unchanged)
    })
    .await?;
    for message in unchanged {
        scope.notices.send(Notice::warning("01000", message));
    }
    Ok(done("REVOKE ROLE"))
}

async fn change<T: Send + 'static>(
    scope: &Scope,
    plan: impl FnOnce(&mut CatalogChange<'_>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let catalog = scope.db.catalog().clone();
    blocking(Op::Catalog, move || catalog.change_synced(plan)).await
}
