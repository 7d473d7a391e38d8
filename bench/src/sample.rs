use std::time::Duration;

/// Durations, to be asked for percentiles.
#[derive(Debug, Default)]
pub(crate) struct Sample(Vec<Duration>);

impl Sample {
    pub(crate) fn add(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The duration that `percent` of all do not exceed, in milliseconds.
    #[allow(clippy::float_arithmetic)]
    pub(crate) fn percentile_ms(&mut self, percent: usize) -> f64 {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        let rank = (self.0.len() * percent).div_ceil(100).saturating_sub(1).min(last);
        self.0
            .get(rank)
            .map_or(f64::NAN, |duration| duration.as_secs_f64() * 1000.0)
    }
}
