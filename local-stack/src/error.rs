use std::path::PathBuf;
use std::time::Duration;

/// Why the stack, or a part of it, could not be brought up or taken down.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// Something that the stack needs is not on this machine. The message says how to get it.
    #[error("{0}")]
    Unavailable(String),

    /// A setting has a value that cannot be used.
    #[error("{key} = {value:?}: expected {expected}")]
    Config {
        /// Name of the environment variable or file.
        key: String,
        /// What was found there.
        value: String,
        /// The form that would have been accepted.
        expected: &'static str,
    },

    /// No directory holds `deploy/native/pom.xml`, from the current one upwards.
    #[error("no checkout of Quadrille found from {0} upwards; set QUADRILLE_ROOT to one")]
    NoCheckout(PathBuf),

    /// The operating system refused something.
    #[error("{doing}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// The refusal.
        #[source]
        source: std::io::Error,
    },

    /// A program ended with a failure.
    #[error("{doing}: `{command}` ended with {status}{}", Tail(output))]
    Command {
        /// What was being done.
        doing: String,
        /// The program.
        command: String,
        /// Its exit status.
        status: String,
        /// The last lines that it wrote.
        output: String,
    },

    /// A server ended while it was expected to become ready.
    #[error("{part} ended during its start with {status}; the end of {}:{}", log.display(), Tail(tail))]
    Died {
        /// Which part.
        part: String,
        /// Its exit status.
        status: String,
        /// Where it logs.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },

    /// A condition did not come true within its bound.
    #[error("{what}: not within {} s; last answer: {last}{}", limit.as_secs(), Tail(tail))]
    TimedOut {
        /// The condition.
        what: String,
        /// The bound.
        limit: Duration,
        /// Why the last look said "not yet".
        last: String,
        /// The last lines of the log, if there is one.
        tail: String,
    },
}

impl StackError {
    /// Wraps an I/O error with what was being done: `.map_err(StackError::io(|| format!("read {path}")))`.
    pub(crate) fn io<D: Into<String>>(doing: impl FnOnce() -> D) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            doing: doing().into(),
            source,
        }
    }

    /// The exit code for a program that ends because of this error, as in sysexits.h.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config { .. } | Self::NoCheckout(_) => 64,
            Self::Unavailable(_) => 69,
            Self::Io { .. } | Self::Command { .. } | Self::Died { .. } | Self::TimedOut { .. } => 70,
        }
    }
}

/// Lines of a log below the sentence that they belong to; nothing when there are none.
struct Tail<'a>(&'a str);

impl std::fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.lines().try_for_each(|line| write!(f, "\n  | {line}"))
    }
}
