use std::error::Error;
use std::fmt;

use quadrille_process::Chain;

/// How a verb ended: the exit code. `sagactl --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Done.
    Ok = 0,
    /// It works, and the answer is no.
    No = 1,
    /// There is no such thing.
    NotFound = 2,
    /// Called wrongly, or configured wrongly.
    Usage = 64,
    /// Something that we need does not answer.
    Unavailable = 69,
    /// Anything that should not have happened.
    Internal = 70,
    /// Something is where we should write.
    CannotCreate = 73,
}

/// Why a verb did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    message: String,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }

    /// An error with all its causes.
    pub(crate) fn caused(code: Code, error: &(dyn Error + 'static)) -> Self {
        Self::new(code, Chain(error))
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Code::Usage, message)
    }

    pub(crate) fn not_found(message: impl fmt::Display) -> Self {
        Self::new(Code::NotFound, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
