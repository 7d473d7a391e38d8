//! Pages that are written from the code, and tests that fail when they are out of date.

use std::path::{Path, PathBuf};

use saga_core::Choreography;
use saga_core::choreography::Observed;

/// Set it to anything, and pages are written instead of compared.
pub const ACCEPT: &str = "ACCEPT_PAGES";

/// A page is not what this build would write.
#[derive(Debug, thiserror::Error)]
pub enum Outdated {
    /// It says something else.
    #[error("{} is not what this build writes; run the test with {ACCEPT}=1, and look at the difference", .0.display())]
    Differs(PathBuf),
    /// It cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Draws a choreography as a page of Markdown: a picture, and what each participant does on which input. Compares it with
/// the one that is committed.
///
/// # Errors
/// [`Outdated`].
pub fn draw(path: impl AsRef<Path>, of: &Choreography, observed: &Observed) -> Result<(), Outdated> {
    let (name, picture, tables) = (of.graph(observed).name, of.mermaid(observed), of.tables(observed));
    let page = format!("# Choreography: {name}\n\n```mermaid\n{picture}```\n{LEGEND}\n{tables}");
    is_of_today(path, &(page.trim_end().to_owned() + "\n"))
}

/// Writes the same as JSON for other tools, in the format of [`Graph`], and compares it likewise.
///
/// # Errors
/// [`Outdated`].
///
/// [`Graph`]: saga_core::choreography::Graph
pub fn data(path: impl AsRef<Path>, of: &Choreography, observed: &Observed) -> Result<(), Outdated> {
    is_of_today(path, &of.graph(observed).json())
}

const LEGEND: &str = "
An arrow is what one participant tells another. Plain arrows lead forward; amber ones say no, and the saga turns back; red dashed ones are
the way back, on which what was done is undone. Beside a participant stand its deadlines and what it does outside. What it may put out
depends on its state, so the outputs of a line are alternatives, or come together, or not at all.
";

/// Compares a page that is committed with what it has to say, or writes it if [`ACCEPT`] is set.
///
/// # Errors
/// [`Outdated`].
pub fn is_of_today(path: impl AsRef<Path>, text: &str) -> Result<(), Outdated> {
    is_of_today_or_written(path.as_ref(), text, std::env::var_os(ACCEPT).is_some())
}

fn is_of_today_or_written(path: &Path, text: &str, accept: bool) -> Result<(), Outdated> {
    if std::fs::read_to_string(path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    if !accept {
        return Err(Outdated::Differs(path.to_owned()));
    }
    std::fs::write(path, text).map_err(|source| Outdated::Write {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_says_something_else_is_outdated() {
        let path = std::env::temp_dir().join(format!("quadrille-page-{}.md", std::process::id()));
        let compare = |text| is_of_today_or_written(&path, text, false);
        std::fs::write(&path, "today\n").expect("a file");
        assert!(compare("today\n").is_ok());
        let outdated = compare("tomorrow\n").expect_err("it says something else");
        assert!(
            outdated.to_string().contains("run the test with ACCEPT_PAGES=1"),
            "{outdated}"
        );
        let written = is_of_today_or_written(&path, "tomorrow\n", true);
        assert!(written.is_ok() && compare("tomorrow\n").is_ok(), "{written:?}");
        std::fs::remove_file(&path).expect("it was there");
        assert!(compare("tomorrow\n").is_err(), "it is not there");
    }
}
