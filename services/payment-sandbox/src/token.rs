use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What a charge with a token does. Any other text is declined as `invalid_token`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// `tok_ok`
    Ok,
    /// `tok_declined`
    Declined,
    /// `tok_insufficient_funds`
    InsufficientFunds,
    /// `tok_answer_lost`: booked; the connection of the first call breaks before the answer.
    AnswerLost,
    /// `tok_error_then_ok`: 500 and nothing booked, twice; then as `tok_ok`.
    ErrorThenOk,
    /// `tok_slow`: booked after a while.
    Slow,
    /// `tok_never`: no answer and nothing booked.
    Never,
    /// `tok_refund_fails`: booked; each refund is answered with 500.
    RefundFails,
    /// `tok_refund_error_then_ok`: booked; a refund is answered with 500 twice, then done.
    RefundErrorThenOk,
    /// Anything else.
    Invalid,
}

impl Token {
    /// Upper and lower case are the same.
    pub(crate) fn parse(text: &str) -> Token {
        match text.to_ascii_lowercase().as_str() {
            "tok_ok" => Token::Ok,
            "tok_declined" => Token::Declined,
            "tok_insufficient_funds" => Token::InsufficientFunds,
            "tok_answer_lost" => Token::AnswerLost,
            "tok_error_then_ok" => Token::ErrorThenOk,
            "tok_slow" => Token::Slow,
            "tok_never" => Token::Never,
            "tok_refund_fails" => Token::RefundFails,
            "tok_refund_error_then_ok" => Token::RefundErrorThenOk,
            _ => Token::Invalid,
        }
    }

    /// Why the bank says no; `None` if it says yes.
    pub(crate) fn decline_code(self) -> Option<&'static str> {
        match self {
            Token::Declined => Some("generic_decline"),
            Token::InsufficientFunds => Some("insufficient_funds"),
            Token::Invalid => Some("invalid_token"),
            Token::Ok
            | Token::AnswerLost
            | Token::ErrorThenOk
            | Token::Slow
            | Token::Never
            | Token::RefundFails
            | Token::RefundErrorThenOk => None,
        }
    }
}

/// Counts the calls that the `…_error_then_ok` tokens refuse, by what is called for.
///
/// In memory: a restart of the sandbox begins to count again, which no caller can tell from bad luck.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashMap<String, u8>>);

impl Refusals {
    /// How many calls are refused before one is let through.
    const EACH: u8 = 2;
    /// Far more references than any test has; past it we forget, and some are refused twice more.
    const BOUND: usize = 100_000;

    /// Whether this call is one of the first two. The third begins anew.
    pub(crate) fn refuse(&self, subject: &str) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= Self::BOUND {
            seen.clear();
        }
        let calls = seen.entry(subject.to_owned()).or_default();
        if *calls < Self::EACH {
            *calls += 1;
            return true;
        }
        seen.remove(subject);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_calls_are_refused_and_the_third_is_not() {
        let refusals = Refusals::default();
        assert_eq!([(); 3].map(|()| refusals.refuse("a")), [true, true, false]);
        assert!(refusals.refuse("b"));
    }

    #[test]
    fn case_does_not_matter_and_the_unknown_is_declined() {
        assert_eq!(Token::parse("TOK_OK"), Token::Ok);
        assert_eq!(Token::parse("tok_okk").decline_code(), Some("invalid_token"));
    }
}
