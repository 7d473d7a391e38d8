use std::path::PathBuf;

use crate::failure::{Code, Failure};
use crate::scaffold::{self, Error, Name};
use crate::screen;

const EXAMPLES: &str = "\
Examples:
  sagactl new participant hotel                          # ./hotel, in the workspace that is around it, if there is one
  sagactl new participant hotel --dir services/hotel
  sagactl new participant hotel --quadrille ../quadrille # a crate on its own, with the crates of that checkout
  sagactl new participant hotel --dry-run

What is written compiles, and its tests pass as it stands; its README.md says what to do next. Nothing is overwritten: exit
code 73 if something is there.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// The rooms of a service that takes part in a saga.
    Participant {
        /// Of the crate, the program, the database and its roles: lower case letters, digits, underscores.
        name: Name,
        /// The folder of the new crate; a folder of its name, if nothing is said.
        #[arg(long)]
        dir: Option<PathBuf>,
        /// A checkout of Quadrille, where the workspace does not know saga-core.
        #[arg(long, value_name = "DIR")]
        quadrille: Option<PathBuf>,
        /// Says what would be written, and writes nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

pub(crate) fn run(arguments: Arguments) -> Result<Code, Failure> {
    let What::Participant {
        name,
        dir,
        quadrille,
        dry_run,
    } = arguments.what;
    let dir = dir.unwrap_or_else(|| PathBuf::from(name.as_str()));
    let folder = std::path::absolute(&dir).map_err(|error| Failure::usage(format!("--dir: {error}")))?;
    let plan = scaffold::plan(&name, &folder, quadrille.as_deref()).map_err(failure)?;
    for (path, _) in &plan.files {
        screen::say(dir.join(path).display());
    }
    if let Some((path, _)) = &plan.workspace {
        screen::say(format!("{}: one member more", path.display()));
    }
    if dry_run {
        screen::hint("nothing was written");
        return Ok(Code::Ok);
    }
    scaffold::write(&plan).map_err(failure)?;
    if let Err(why) = scaffold::format(&plan) {
        screen::hint(format!("the code is not formatted, run cargo fmt: {why}"));
    }
    screen::hint(format!(
        "next: cd {dir} && cargo test; then {readme}",
        dir = dir.display(),
        readme = dir.join("README.md").display()
    ));
    Ok(Code::Ok)
}

fn failure(error: Error) -> Failure {
    let code = match &error {
        Error::There { .. } | Error::Write { .. } => Code::CannotCreate,
        Error::NoQuadrille { .. } | Error::NotQuadrille { .. } | Error::Manifest { .. } => Code::Usage,
        Error::Read { .. } => Code::Internal,
    };
    Failure::caused(code, &error)
}
