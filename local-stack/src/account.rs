use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::StackError;
use crate::checkout::make_dir;

/// The account that PostgreSQL runs as when this program runs as root: PostgreSQL refuses to be root.
#[derive(Clone, Debug)]
pub struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// `None` if this program is not root: then servers run as who we are. Of the accounts that are here, `postgres` is
    /// taken, else `nobody`; none is made, because that would change the machine.
    ///
    /// # Errors
    /// If this is root on a machine with neither account.
    pub fn for_postgres() -> Result<Option<Self>, StackError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let account = ["postgres", "nobody"].into_iter().find_map(Self::named);
        account.map(Some).ok_or_else(|| {
            StackError::Unavailable(
                "PostgreSQL does not run as root, and there is neither an account `postgres` nor `nobody`; \
                 make one with `useradd --system postgres`"
                    .to_owned(),
            )
        })
    }

    fn named(name: &str) -> Option<Self> {
        let id = |flag| {
            let output = Command::new("id").args([flag, name]).output().ok()?;
            String::from_utf8(output.stdout).ok()?.trim().parse::<u32>().ok()
        };
        let (uid, gid) = (id("-u")?, id("-g")?);
        (uid != 0).then(|| Self {
            name: name.to_owned(),
            uid,
            gid,
        })
    }

    /// The account's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets `command` run as this account. Without a shell, a session or `runuser`: the process that is started is the
    /// server itself, so that its number is the one to signal.
    pub fn run(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Makes this account the owner of a file or directory (not of what is in it).
    ///
    /// # Errors
    /// If the system refuses.
    pub fn own(&self, path: &Path) -> Result<(), StackError> {
        chown(path, Some(self.uid), Some(self.gid)).map_err(StackError::io(|| {
            format!("give {} to {}", path.display(), self.name)
        }))
    }

    /// Whether this account may enter `dir` (or the nearest of its parents that exists).
    fn reaches(&self, dir: &Path) -> bool {
        dir.ancestors().filter_map(|d| fs::metadata(d).ok()).all(|m| {
            let bit = match (m.uid() == self.uid, m.gid() == self.gid) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            m.mode() & bit != 0
        })
    }
}

/// `preferred` if the account can enter it, else a directory of the same purpose below `/var/tmp` (which outlives a
/// reboot), with one line that says so.
///
/// # Errors
/// If the substitute belongs to somebody else.
pub(crate) fn reachable(account: Option<&Account>, preferred: &Path) -> Result<PathBuf, StackError> {
    let Some((account, substitute)) = substitute(account, preferred) else {
        return Ok(preferred.to_owned());
    };
    make_dir(&substitute)?;
    let owner = fs::symlink_metadata(&substitute)
        .map_err(StackError::io(|| format!("look at {}", substitute.display())))?;
    // Anybody may create names below /var/tmp.
    if !owner.is_dir() || owner.uid() != rustix::process::geteuid().as_raw() {
        return Err(StackError::Unavailable(format!(
            "{} is needed and belongs to somebody else; remove it, or move the checkout to a directory that the \
             account `{}` may enter",
            substitute.display(),
            account.name
        )));
    }
    fs::set_permissions(&substitute, fs::Permissions::from_mode(0o755)).map_err(StackError::io(|| {
        format!("set the mode of {}", substitute.display())
    }))?;
    say_once(format!(
        "  postgres: the account `{}` may not enter {}, using {}",
        account.name,
        preferred.display(),
        substitute.display()
    ));
    Ok(substitute)
}

/// What stands in for a directory that the account cannot enter. Named after its path: whoever comes back finds it.
fn substitute<'a>(account: Option<&'a Account>, preferred: &Path) -> Option<(&'a Account, PathBuf)> {
    let account = account.filter(|a| !a.reaches(preferred))?;
    let mut hasher = DefaultHasher::new();
    preferred.hash(&mut hasher);
    let name = format!("quadrille-{:016x}", hasher.finish());
    Some((account, Path::new("/var/tmp").join(name)))
}

/// Gives another name to data that stands in for `preferred` and whose passwords nobody has any more: a checkout was
/// removed, and is here anew at the same path. A server that still runs on it is not disturbed.
///
/// # Errors
/// If it cannot be renamed.
pub(crate) fn set_aside(account: Option<&Account>, preferred: &Path) -> Result<(), StackError> {
    let Some((_, substitute)) = substitute(account, preferred) else {
        return Ok(());
    };
    if let Some(kept) = aside(&substitute)? {
        eprintln!(
            "  data of an earlier checkout at this path, whose passwords are gone with it, is now {}; \
             remove it unless you have them",
            kept.display()
        );
    }
    Ok(())
}

/// Its new name, if it was there.
fn aside(dir: &Path) -> Result<Option<PathBuf>, StackError> {
    let kept = (1_u32..)
        .map(|number| dir.with_extension(format!("before-{number}")))
        .find(|path| !path.exists())
        .expect("fewer were set aside than there are numbers");
    match fs::rename(dir, &kept) {
        Ok(()) => Ok(Some(kept)),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StackError::Io {
            doing: format!("rename {} to {}", dir.display(), kept.display()),
            source,
        }),
    }
}

fn say_once(line: String) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if !said.contains(&line) {
        eprintln!("{line}");
        said.insert(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_below_a_closed_one_is_not_reached() {
        let account = Account {
            name: "somebody".into(),
            uid: 4_000_000_001,
            gid: 4_000_000_001,
        };
        let dir = std::env::temp_dir().join(format!("quadrille-reach-{}", std::process::id()));
        let open = dir.join("open/inner");
        fs::create_dir_all(&open).expect("create");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("open");
        assert!(account.reaches(&open));
        assert!(account.reaches(&open.join("not/there/yet")));
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("close");
        assert!(!account.reaches(&open));
        fs::remove_dir_all(&dir).expect("remove");
    }

    #[test]
    fn what_is_set_aside_never_replaces_what_was_set_aside_before() {
        let dir = std::env::temp_dir().join(format!("quadrille-aside-{}", std::process::id()));
        let data = dir.join("quadrille-0123456789abcdef");
        let mut kept = Vec::new();
        for of in ["first", "second"] {
            fs::create_dir_all(&data).expect("create");
            fs::write(data.join("of"), of).expect("write");
            kept.push(aside(&data).expect("rename").expect("was there"));
            assert_eq!(aside(&data).expect("nothing to rename"), None);
        }
        let read = kept
            .iter()
            .map(|path| fs::read_to_string(path.join("of")).expect("read"));
        assert_eq!(read.collect::<Vec<_>>(), ["first", "second"]);
        fs::remove_dir_all(&dir).expect("remove");
    }
}
