use std::fmt::Display;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Details travel in a header, and clients take no more than 8 KiB of those.
const SHOWN_MAX: usize = 20;

/// Collects what is wrong with the fields of a request, so that its caller learns all of it at once.
#[derive(Debug, Default)]
pub struct Violations {
    shown: Vec<(String, String)>,
    count: usize,
}

impl Violations {
    /// Notes that `field` (a path such as `items[3].quantity`) is wrong. `description` completes the sentence
    /// that the field's name begins.
    pub fn add(&mut self, field: impl Display, description: impl Display) {
        self.count += 1;
        if self.shown.len() < SHOWN_MAX {
            self.shown.push((field.to_string(), description.to_string()));
        }
    }

    /// The value, or `None` and a violation that says what was expected.
    pub fn check<T, E>(
        &mut self,
        field: impl Display,
        value: Result<T, E>,
        expected: impl Display,
    ) -> Option<T> {
        match value {
            Ok(value) => Some(value),
            Err(_) => {
                self.add(field, expected);
                None
            }
        }
    }

    /// Notes a violation unless the text has `min` to `max` bytes, and no control characters among them: those
    /// forge lines in a log, and PostgreSQL refuses the first of them.
    pub fn text(&mut self, field: &str, text: &str, min: usize, max: usize) {
        if !(min..=max).contains(&text.len()) {
            self.add(
                field,
                format_args!("has to be {min} to {max} bytes long, not {}", text.len()),
            );
        } else if text.contains(char::is_control) {
            self.add(field, "has to be without control characters");
        }
    }

    /// Whether nothing was wrong.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The answer: INVALID_ARGUMENT with a `google.rpc.BadRequest`, which names the first of them.
    pub fn status(self) -> Status {
        let (first, description) = self.shown.first().cloned().unwrap_or_default();
        let message = match self.count {
            0 | 1 => format!("{first} {description}"),
            count => format!("{first} {description} (and {} more)", count - 1),
        };
        let mut details = ErrorDetails::new();
        for (field, description) in self.shown {
            details.add_bad_request_violation(field, description);
        }
        details.set_error_info(
            "INVALID_REQUEST",
            super::status::DOMAIN,
            std::collections::HashMap::new(),
        );
        Status::with_error_details(Code::InvalidArgument, message, details)
    }

    /// `value`, unless something was wrong. A value that is missing without a violation is a mistake of ours.
    ///
    /// # Errors
    /// [`Self::status`].
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Status> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            _ => Err(self.status()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let mut violations = Violations::default();
        violations.text("owner", "", 1, 128);
        violations.text("owner", "a\0b", 1, 128);
        violations.text("owner", "Zoë", 1, 128);
        assert_eq!(
            violations.check("amount", "7".parse::<i32>(), "has to be a number"),
            Some(7)
        );
        assert_eq!(
            violations.check("id", "x".parse::<i32>(), "has to be a number"),
            None
        );
        let status = violations.finish(Some(())).unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        let fields: Vec<_> = details
            .bad_request()
            .expect("fields")
            .field_violations
            .iter()
            .map(|v| &v.field)
            .collect();
        assert_eq!(fields, ["owner", "owner", "id"]);
    }

    #[test]
    fn what_is_wrong_a_thousand_times_fits_into_a_header() {
        let mut violations = Violations::default();
        for i in 0..1000 {
            violations.add(
                format!("items[{i}].quantity"),
                "has to be a number from 1 to 10000, not 0",
            );
        }
        let status = violations.status();
        assert!(status.details().len() < 6 * 1024, "{}", status.details().len());
        assert!(status.message().ends_with("(and 999 more)"));
    }
}
