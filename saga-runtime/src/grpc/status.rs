use std::collections::HashMap;
use std::time::Duration;

use quadrille_process::Chain;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::CommandError;
use crate::error::{is_transient, needs_somebody};

/// Whose reasons these are.
pub(super) const DOMAIN: &str = "quadrille";

/// Details travel in a header, and clients take no more than 8 KiB of those.
const MESSAGE_MAX_BYTES: usize = 1024;

/// When to come back if there is too much to do: the next group commits are a few milliseconds away.
const OVERLOADED_RETRY: Duration = Duration::from_millis(100);

/// When to come back if the database is away.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(1);

/// An error with a `google.rpc.ErrorInfo`: `reason` in capital letters is for programs, `message` for people.
pub fn failure(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, bounded(message.into()), details)
}

/// The answer to a command that was not done. `refused` says what a refusal of the participant is.
pub fn of_command<R>(error: CommandError<R>, refused: impl FnOnce(R) -> Status) -> Status {
    let message = error.to_string();
    match error {
        CommandError::Refused(refusal) => refused(refusal),
        CommandError::KeyReused => failure(Code::FailedPrecondition, "IDEMPOTENCY_KEY_REUSED", message),
        CommandError::Parked(_) => failure(Code::FailedPrecondition, "SAGA_PARKED", message),
        CommandError::GivenUp => failure(Code::Internal, "INTERNAL", message),
        CommandError::Overloaded => overloaded(&message),
        CommandError::Unavailable => unavailable("UNAVAILABLE", &message),
        CommandError::Stopping => stopping(),
    }
}

/// The answer to a read that failed. The database's words are for the log alone.
pub fn of_database(doing: &'static str, error: &sqlx::Error) -> Status {
    if is_transient(error) {
        if needs_somebody(error) {
            tracing::error!(error = %Chain(error), "cannot {doing}");
        } else {
            tracing::warn!(error = %Chain(error), "cannot {doing}");
        }
        unavailable("UNAVAILABLE", "the database is away; come back later")
    } else {
        tracing::error!(error = %Chain(error), "cannot {doing}");
        failure(Code::Internal, "INTERNAL", "the service made a mistake")
    }
}

/// There is too much of something: come back in a moment.
pub fn overloaded(message: &str) -> Status {
    again(Code::ResourceExhausted, "OVERLOADED", message, OVERLOADED_RETRY)
}

/// The process is going down: another one answers.
pub fn stopping() -> Status {
    unavailable("STOPPING", "the service is shutting down")
}

/// What is asked for is not there yet: come back after `retry`.
pub fn later(reason: &str, message: &str, retry: Duration) -> Status {
    again(Code::Unavailable, reason, message, retry)
}

fn unavailable(reason: &str, message: &str) -> Status {
    again(Code::Unavailable, reason, message, UNAVAILABLE_RETRY)
}

fn again(code: Code, reason: &str, message: &str, retry: Duration) -> Status {
    let mut details = ErrorDetails::with_retry_info(Some(retry));
    details.set_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

fn bounded(mut message: String) -> String {
    if message.len() > MESSAGE_MAX_BYTES {
        let end = (0..=MESSAGE_MAX_BYTES)
            .rev()
            .find(|at| message.is_char_boundary(*at))
            .unwrap_or_default();
        message.truncate(end);
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(error: CommandError<&'static str>) -> Status {
        of_command(error, |why| failure(Code::NotFound, "NO_SUCH_THING", why))
    }

    #[test]
    fn each_error_has_its_code_and_reason() {
        let expected = [
            (
                CommandError::Refused("none"),
                Code::NotFound,
                "NO_SUCH_THING",
                false,
            ),
            (
                CommandError::KeyReused,
                Code::FailedPrecondition,
                "IDEMPOTENCY_KEY_REUSED",
                false,
            ),
            (
                CommandError::Parked("x".to_owned()),
                Code::FailedPrecondition,
                "SAGA_PARKED",
                false,
            ),
            (CommandError::GivenUp, Code::Internal, "INTERNAL", false),
            (
                CommandError::Overloaded,
                Code::ResourceExhausted,
                "OVERLOADED",
                true,
            ),
            (CommandError::Unavailable, Code::Unavailable, "UNAVAILABLE", true),
            (CommandError::Stopping, Code::Unavailable, "STOPPING", true),
        ];
        for (error, code, reason, retry) in expected {
            let status = of(error);
            assert_eq!(status.code(), code);
            let details = status.get_error_details();
            let info = details.error_info().expect("every error says why");
            assert_eq!(
                (info.reason.as_str(), info.domain.as_str()),
                (reason, "quadrille")
            );
            assert_eq!(details.retry_info().is_some(), retry, "{reason}");
        }
    }

    #[test]
    fn a_reason_of_any_length_fits_into_a_header() {
        let status = of(CommandError::Parked("é".repeat(10_000)));
        assert!(status.message().len() < MESSAGE_MAX_BYTES + 8);
    }

    #[test]
    fn a_database_that_is_away_may_be_asked_again_and_keeps_its_words() {
        let away = of_database("read", &sqlx::Error::PoolTimedOut);
        assert_eq!(away.code(), Code::Unavailable);
        let wrong = of_database("read", &sqlx::Error::ColumnNotFound("secret".to_owned()));
        assert_eq!(wrong.code(), Code::Internal);
        assert!(!wrong.message().contains("secret"));
    }
}
