use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Which versions of each key have come. They are counted from 1.
#[derive(Debug, Default)]
pub struct Versions {
    /// The highest of each key.
    pub last: HashMap<String, i64>,
    /// Those below it that have not come.
    missing: BTreeSet<(String, i64)>,
}

impl Versions {
    /// Takes the next that came. Returns the highest of its key before, unless this one is next to it.
    pub fn take(&mut self, key: &str, version: i64) -> Option<i64> {
        let last = self.last.entry(key.to_owned()).or_default();
        let before = *last;
        *last = version.max(before);
        self.missing
            .extend((before + 1..version).map(|missing| (key.to_owned(), missing)));
        if version <= before {
            // Out of order, and not lost.
            self.missing.remove(&(key.to_owned(), version));
        }
        (version != before + 1).then_some(before)
    }

    /// How many are to come behind the highest of each key.
    pub fn behind(&self, expected: &BTreeMap<String, i64>) -> u64 {
        let lacking = expected.iter().map(|(key, last)| {
            let seen = self.last.get(key).copied().unwrap_or(0);
            u64::try_from(last - seen).unwrap_or(0)
        });
        lacking.sum()
    }

    /// How many have not come: those in the middle as well, for which nobody waits.
    pub fn lost(&self, expected: &BTreeMap<String, i64>) -> u64 {
        self.behind(expected) + u64::try_from(self.missing.len()).unwrap_or(u64::MAX)
    }
}
