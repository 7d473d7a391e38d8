use std::error::Error;
use std::fmt;

/// Why a process ends, and with which exit code.
///
/// Made from any error with `?` (exit code 70, an internal error). What another part of the system must
/// mend first is [`Failure::unavailable`] (69): a supervisor may restart us and be right.
///
/// It is not an [`Error`] itself, which is what lets `?` convert every error into it.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    cause: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// `EX_UNAVAILABLE` of sysexits: something that we need is not there or not ready.
    pub const UNAVAILABLE: u8 = 69;
    /// `EX_SOFTWARE`: we are wrong.
    pub const INTERNAL: u8 = 70;
    /// `EX_USAGE`: we were started wrongly.
    pub const USAGE: u8 = 64;

    /// A database that does not answer, a schema that is not migrated.
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure {
            code: Self::UNAVAILABLE,
            cause: cause.into(),
        }
    }

    /// Anything that should not have happened.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure {
            code: Self::INTERNAL,
            cause: cause.into(),
        }
    }

    /// A configuration whose values are well-formed one by one and wrong together.
    pub fn usage(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure {
            code: Self::USAGE,
            cause: cause.into(),
        }
    }

    /// The exit code of the process.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Chain(&*self.cause).fmt(f)
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::internal(error)
    }
}

/// Displays an error with all its causes on one line: `what we did: why it failed: why that failed`.
///
/// Our errors never print their cause themselves, so whoever logs one wraps it in this.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.to_string();
        f.write_str(&shown)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some libraries repeat their cause's text in their own.
            if !shown.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            shown = text;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("reading shelf 7")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_names_every_cause_once() {
        let error = Outer(std::io::Error::other("disk on fire"));
        assert_eq!(Chain(&error).to_string(), "reading shelf 7: disk on fire");
    }

    #[test]
    fn any_error_is_an_internal_failure() {
        fn fails() -> Result<(), Failure> {
            Err(Outer(std::io::Error::other("disk on fire")))?;
            Ok(())
        }
        let failure = fails().unwrap_err();
        assert_eq!(failure.code(), 70);
        assert_eq!(failure.to_string(), "reading shelf 7: disk on fire");
    }
}
