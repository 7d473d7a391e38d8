use std::fmt;

/// A PostgreSQL snapshot, as text: `xmin:xmax:xip,xip…`. What it does not see was running, or had not
/// begun, when it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    text: String,
    running: Vec<String>,
}

impl Snapshot {
    pub(crate) fn new(text: String) -> Self {
        let running = text
            .rsplit(':')
            .next()
            .unwrap_or_default()
            .split(',')
            .filter(|xid| !xid.is_empty())
            .map(str::to_owned)
            .collect();
        Self { text, running }
    }

    /// As `pg_snapshot` reads it.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The transactions that had begun and not ended, to be bound as `text[]`.
    pub(crate) fn running(&self) -> &[String] {
        &self.running
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_who_was_running() {
        assert!(Snapshot::new("1:1:".to_owned()).running().is_empty());
        assert_eq!(
            Snapshot::new("10:20:10,14,15".to_owned()).running(),
            ["10", "14", "15"]
        );
    }
}
