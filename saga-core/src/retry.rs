//! The numbers of a retry policy. Waiting and jitter belong to the shell, which has a clock.

use std::time::Duration;

/// How often, how patiently and how long something is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Wait after the first failure.
    pub initial: Duration,
    /// No wait is longer than this.
    pub max: Duration,
    /// Calls before the answer is "unknown"; at least 1.
    pub attempts: u32,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// Age of the first call from which on the other side may have forgotten the idempotency key: from
    /// then on it is asked before it is called again. Stripe forgets after 24 hours.
    pub forgotten_after: Duration,
}

impl RetryPolicy {
    /// Eight calls in about a minute: for a provider that a customer waits for.
    pub const INTERACTIVE: RetryPolicy = RetryPolicy {
        initial: Duration::from_millis(200),
        max: Duration::from_secs(15),
        attempts: 8,
        call_timeout: Duration::from_secs(10),
        forgotten_after: Duration::from_secs(12 * 3600),
    };

    /// About two days with a call every ten minutes at the end: for what must happen in the end, such as
    /// a refund, or a question whose answer decides over money.
    pub const PERSISTENT: RetryPolicy = RetryPolicy {
        initial: Duration::from_millis(500),
        max: Duration::from_secs(600),
        attempts: 300,
        call_timeout: Duration::from_secs(10),
        forgotten_after: Duration::from_secs(12 * 3600),
    };

    /// Wait after the `attempt`-th failure (from 1), before jitter: it doubles up to `max`.
    pub fn wait_after(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.initial.saturating_mul(1 << doublings).min(self.max)
    }

    /// Whether `attempt` calls (from 1) were all that the policy allows.
    pub fn is_exhausted(&self, attempt: u32) -> bool {
        attempt >= self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound() {
        let policy = RetryPolicy {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(1),
            ..RetryPolicy::INTERACTIVE
        };
        let waits: Vec<u128> = (1..7)
            .map(|attempt| policy.wait_after(attempt).as_millis())
            .collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(policy.wait_after(u32::MAX).as_millis(), 1000);
    }
}
