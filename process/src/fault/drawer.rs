//! Faults for one saga, as files in a folder of the process: `QUADRILLE_FAULTS_DIR`.
//!
//! | file | means |
//! |---|---|
//! | `<point>/<key>/<occasion>` | armed; the text of the file is the fault, as `abort` or `delay:400`. The occasion `_` is any |
//! | `<point>/<key>/<occasion>.fired` | it has happened; the text is when, in milliseconds since 1970 |
//! | `watched/<key>` | each passage of this saga is noted here as a line: point, a tab, occasion |
//!
//! Files and not an endpoint, since a process that is armed for one saga may be killed for another one: what is
//! armed is still armed when it comes back. A fault is taken by renaming its file, so it happens once, however many
//! processes, threads and lives there are; and a crash that was taken is not met again by the life after it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::SystemTime;

use super::armed::{Fault, fault_of};
use super::{About, Point};

const VARIABLE: &str = "QUADRILLE_FAULTS_DIR";

static FOLDER: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os(VARIABLE).map(PathBuf::from));

pub(super) fn hits(point: Point, about: &[About]) -> Vec<Fault> {
    FOLDER
        .as_deref()
        .map_or_else(Vec::new, |folder| look(folder, point, about))
}

/// Every fault that is armed for somebody of a batch: it passes once for all of them.
fn look(folder: &Path, point: Point, about: &[About]) -> Vec<Fault> {
    for one in about {
        note(folder, point, one);
    }
    let armed = folder.join(point.name());
    if !armed.is_dir() {
        return Vec::new();
    }
    let of_one = |one: &About| {
        let occasions = [one.occasion.as_str(), "_"];
        let named = occasions.into_iter().filter(|occasion| !occasion.is_empty());
        named
            .map(|occasion| armed.join(&one.key).join(occasion))
            .find_map(|file| take(&file, point))
    };
    about.iter().filter_map(of_one).collect()
}

/// Whoever renames the file has the fault.
fn take(file: &Path, point: Point) -> Option<Fault> {
    let text = fs::read_to_string(file).ok()?;
    let mut fired = file.as_os_str().to_owned();
    fired.push(".fired");
    let fired = PathBuf::from(fired);
    fs::rename(file, &fired).ok()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap_or_default().as_millis().to_string();
    if let Err(error) = fs::write(&fired, now) {
        tracing::error!(%error, "cannot write down when a fault happened");
    }
    match fault_of(point, text.trim()) {
        Ok(fault) => {
            tracing::warn!(%point, file = %file.display(), ?fault, "a fault happens");
            Some(fault)
        }
        Err(error) => {
            tracing::error!(file = %file.display(), %error, "ignored a fault that cannot be armed");
            None
        }
    }
}

fn note(folder: &Path, point: Point, about: &About) {
    // Not made here: who is not watched has no file.
    let file = OpenOptions::new()
        .append(true)
        .open(folder.join("watched").join(&about.key));
    if let Ok(mut file) = file
        && let Err(error) = file.write_all(format!("{point}\t{}\n", about.occasion).as_bytes())
    {
        tracing::error!(%error, "cannot note a passage");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_taken_once_and_by_its_saga() {
        let folder = std::env::temp_dir().join(format!("quadrille-drawer-{}", std::process::id()));
        let armed = folder.join("engine::after_commit/one");
        fs::create_dir_all(&armed).expect("a folder");
        fs::create_dir_all(folder.join("watched")).expect("a folder");
        fs::write(folder.join("watched/one"), "").expect("a file");
        fs::write(armed.join("order.created"), "lost\n").expect("a file");
        let passes = |key: &str, occasion: &str| {
            let batch = [About::new("other", "order.created"), About::new(key, occasion)];
            !look(&folder, Point::EngineAfterCommit, &batch).is_empty()
        };
        assert!(!passes("two", "order.created"));
        assert!(!passes("one", "stock.reserved"));
        assert!(passes("one", "order.created"));
        assert!(!passes("one", "order.created"), "it happens once");
        assert!(armed.join("order.created.fired").is_file());

        fs::write(armed.join("_"), "abort").expect("a file");
        assert!(passes("one", "stock.reserved"), "any occasion");
        fs::write(armed.join("_"), "error").expect("a file");
        assert!(!passes("one", "stock.reserved"), "which makes no sense there");
        let watched = fs::read_to_string(folder.join("watched/one")).expect("what was noted");
        assert_eq!(watched.lines().count(), 5, "{watched}");
        assert!(watched.starts_with("engine::after_commit\tstock.reserved\n"));
        fs::remove_dir_all(&folder).expect("cleaned up");
    }
}
