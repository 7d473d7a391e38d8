//! The program `sagactl`; `sagactl --help` lists its verbs.

use std::process::ExitCode;

fn main() -> ExitCode {
    sagactl::cli::run()
}
