//! Users, roles, and who is a member of which role.
//!
//! A role is a user that cannot log in, and a user can be a member of roles, which can be members of
//! roles. What is kept about passwords comes with the accounts; until then the `extension` bytes of a
//! user wait for it.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{ADMIN_ROLE, ROOT_USER};
use crate::descriptor::User;
use crate::error::{SqlError, code};

/// Who there is. Part of a [`super::CatalogSnapshot`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Users {
    pub(super) users: BTreeMap<String, User>,
    /// (member, role).
    pub(super) memberships: BTreeSet<(String, String)>,
}

impl Users {
    /// Every role that `user` is a member of, also through another role, by name.
    pub(super) fn roles_of(&self, user: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut next = vec![user.to_owned()];
        while let Some(member) = next.pop() {
            for role in self.direct_roles_of(&member) {
                if found.insert(role.to_owned()) {
                    next.push(role.to_owned());
                }
            }
        }
        found
    }

    pub(super) fn direct_roles_of<'a>(&'a self, user: &'a str) -> impl Iterator<Item = &'a str> {
        self.memberships
            .range((user.to_owned(), String::new())..)
            .take_while(move |(member, _)| member == user)
            .map(|(_, role)| role.as_str())
    }

    pub(super) fn is_admin(&self, user: &str) -> bool {
        user == ROOT_USER || user == ADMIN_ROLE || self.roles_of(user).contains(ADMIN_ROLE)
    }

    pub(super) fn expect(&self, name: &str) -> Result<&User, SqlError> {
        self.users.get(name).ok_or_else(|| {
            SqlError::new(code::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist"))
                .with_hint("SHOW USERS lists the users and roles there are.")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(memberships: &[(&str, &str)]) -> Users {
        let memberships =
            memberships.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        Users { users: BTreeMap::new(), memberships }
    }

    #[test]
    fn membership_is_inherited_and_circles_end() {
        let users = users(&[("max", "ops"), ("ops", "admin"), ("a", "b"), ("b", "a")]);
        assert!(users.is_admin("max") && users.is_admin("root") && !users.is_admin("a"));
        assert_eq!(users.roles_of("max").into_iter().collect::<Vec<_>>(), ["admin", "ops"]);
        assert_eq!(users.roles_of("a").len(), 2);
        assert_eq!(users.direct_roles_of("max").collect::<Vec<_>>(), ["ops"]);
    }
}
