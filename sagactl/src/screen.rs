use std::io::{self, Write as _};

/// Writes a text and a line end to standard output. Whoever reads may stop reading: `sagactl … | head`.
pub(crate) fn say(text: impl std::fmt::Display) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Progress and advice go to standard error, so that standard output is what was asked for and nothing else.
pub(crate) fn hint(text: impl std::fmt::Display) {
    // Nobody is left to be told that it failed.
    writeln!(io::stderr().lock(), "{text}").ok();
}
