use std::time::Duration;

use crate::error::jittered;

/// No longer than this is waited because the other side says so: a slip of its pen would park an effect for a year.
pub(super) const ASKED_MAX: Duration = Duration::from_secs(3600);

/// How long to wait: as the policy says, and not less than the other side `asked` for. An answer of "come back in 0 s" ends
/// no back-off, or a provider that is down would be called as fast as it answers.
pub(super) fn until_next(policy: Duration, asked: Option<Duration>) -> Duration {
    jittered(policy).max(asked.unwrap_or_default().min(ASKED_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_a_lower_bound_and_has_an_upper_one() {
        let policy = Duration::from_secs(10);
        let half = Duration::from_secs(5);
        for asked in [None, Some(Duration::ZERO), Some(Duration::from_secs(1))] {
            assert!(until_next(policy, asked) >= half, "{asked:?}");
        }
        let minute = Duration::from_secs(60);
        assert_eq!(until_next(policy, Some(minute)), minute);
        assert_eq!(until_next(policy, Some(Duration::MAX)), ASKED_MAX);
    }
}
