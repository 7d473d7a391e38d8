use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::StackError;
use crate::checkout::Checkout;
use crate::services::ROLES;

/// The generated passwords of one stack, in `.local/secrets.json`, readable by its owner only. `sagactl migrate` takes the
/// roles' passwords from there.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secrets {
    /// Password of PostgreSQL's superuser.
    pub postgres_superuser: String,
    /// Password of each database role.
    pub roles: BTreeMap<String, String>,
    /// Password of Redis.
    pub redis: String,
    /// What `payment` shows to the sandbox (bearer token).
    pub provider_key: String,
    /// What the sandbox signs its webhooks with.
    pub webhook_secret: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// Where they are kept.
    pub fn path(checkout: &Checkout) -> PathBuf {
        checkout.state().join("secrets.json")
    }

    /// Those of the last start, if there was one.
    ///
    /// # Errors
    /// If the file cannot be understood.
    pub fn kept(checkout: &Checkout) -> Result<Option<Self>, StackError> {
        let path = Self::path(checkout);
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|_| StackError::Config {
                key: path.display().to_string(),
                value: "(not shown)".to_owned(),
                expected: "what local-stack wrote there; `local-stack reset` makes new data and new passwords",
            }),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StackError::Io { doing: format!("read {}", path.display()), source }),
        }
    }

    /// Those of the last start, or new ones; a role that came with a newer version of the code gets its password now.
    ///
    /// # Errors
    /// If they cannot be read or written.
    pub fn keep(checkout: &Checkout) -> Result<Self, StackError> {
        let mut secrets = Self::kept(checkout)?.map_or_else(Self::generate, Ok)?;
        for role in ROLES {
            if !secrets.roles.contains_key(*role) {
                secrets.roles.insert((*role).to_owned(), random_hex()?);
            }
        }
        let text = serde_json::to_string_pretty(&secrets).expect("strings have a JSON form");
        write_private(&Self::path(checkout), &text)?;
        Ok(secrets)
    }

    /// The password of a role; every role of the table has one.
    pub fn role(&self, name: &str) -> &str {
        self.roles.get(name).map_or("", String::as_str)
    }

    fn generate() -> Result<Self, StackError> {
        Ok(Self {
            postgres_superuser: random_hex()?,
            roles: BTreeMap::new(),
            redis: random_hex()?,
            provider_key: random_hex()?,
            // Hexadecimal digits are base64, too: 64 of them are 48 bytes, as Standard Webhooks allows.
            webhook_secret: format!("whsec_{}{}", random_hex()?, random_hex()?),
        })
    }
}

/// Writes a file that only its owner can read, at no moment anybody else.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), StackError> {
    let draft = path.with_extension("draft");
    let write = || {
        if draft.exists() {
            fs::remove_file(&draft)?;
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&draft, path)
    };
    write().map_err(StackError::io(|| format!("write {}", path.display())))
}

/// 128 random bits from the operating system as 32 hexadecimal digits.
///
/// # Errors
/// If the system's generator cannot be read.
pub(crate) fn random_hex() -> Result<String, StackError> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(StackError::io(|| "read /dev/urandom"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
