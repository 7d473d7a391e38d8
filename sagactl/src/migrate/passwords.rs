use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use quadrille_process::config::Secret;
use serde::Deserialize;

use super::catalog::Database;

/// The password of each role.
#[derive(Clone, Debug)]
pub struct Passwords(Source);

#[derive(Clone, Debug)]
enum Source {
    Each(BTreeMap<String, Secret<String>>),
    Same(Secret<String>),
}

/// Why the passwords cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordsError {
    /// The file is not there or may not be read.
    #[error("cannot read the passwords from {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is of another form. Its content is not shown.
    #[error(r#"{} is not of the form {{"roles": {{"order": "password", …}}}}"#, path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
    /// Roles without a password.
    #[error("no password is given for {}", roles.join(", "))]
    Missing {
        /// Which.
        roles: Vec<String>,
    },
    /// What PostgreSQL's clients and servers agree on byte by byte is ASCII.
    #[error("the password of {role} has characters other than visible ASCII, or none")]
    Unusable {
        /// Whose.
        role: String,
    },
}

#[derive(Deserialize)]
struct File {
    roles: BTreeMap<String, String>,
}

impl Passwords {
    /// Reads a file of the form `{"roles": {"order": "…", "order_migrate": "…"}}`; further members are ignored.
    ///
    /// # Errors
    /// [`PasswordsError::Read`], [`PasswordsError::Malformed`].
    pub fn from_file(path: &Path) -> Result<Self, PasswordsError> {
        let text = std::fs::read_to_string(path).map_err(|source| PasswordsError::Read {
            path: path.to_owned(),
            source,
        })?;
        let file: File = serde_json::from_str(&text).map_err(|_| PasswordsError::Malformed {
            path: path.to_owned(),
        })?;
        let each = file
            .roles
            .into_iter()
            .map(|(role, password)| (role, Secret::new(password)));
        Ok(Self(Source::Each(each.collect())))
    }

    /// One password for all roles: for tests, which share the server's roles with each other.
    pub fn same(password: &str) -> Self {
        Self(Source::Same(Secret::new(password.to_owned())))
    }

    /// The password of a role; empty if there is none.
    pub(super) fn of(&self, role: &str) -> &str {
        match &self.0 {
            Source::Each(each) => each.get(role).map_or("", |password| password.expose()),
            Source::Same(password) => password.expose(),
        }
    }

    /// Whether every role of these databases has a password that can be used.
    pub(super) fn check(&self, databases: &[Database]) -> Result<(), PasswordsError> {
        let roles = || databases.iter().flat_map(Database::roles);
        let missing: Vec<String> = roles().filter(|role| self.of(role).is_empty()).collect();
        if !missing.is_empty() {
            return Err(PasswordsError::Missing { roles: missing });
        }
        match roles().find(|role| !self.of(role).bytes().all(|byte| byte.is_ascii_graphic())) {
            None => Ok(()),
            Some(role) => Err(PasswordsError::Unusable { role }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::DATABASES;

    #[test]
    fn every_role_without_a_password_is_named_at_once() {
        let each = [("order", "a"), ("order_migrate", "b"), ("order_relay", "")]
            .map(|(role, password)| (role.to_owned(), Secret::new(password.to_owned())));
        let passwords = Passwords(Source::Each(each.into()));
        let order = DATABASES.iter().filter(|database| database.name == "order");
        let error = passwords.check(&order.copied().collect::<Vec<_>>()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no password is given for order_relay, order_ops"
        );
    }

    #[test]
    fn a_password_is_plain_ascii_and_never_shown() {
        let passwords = Passwords::same("pässword");
        assert!(matches!(
            passwords.check(DATABASES),
            Err(PasswordsError::Unusable { .. })
        ));
        assert!(!format!("{passwords:?}").contains("pässword"));
        Passwords::same("geheim").check(DATABASES).unwrap();
    }
}
