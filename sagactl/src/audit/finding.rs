use std::collections::BTreeMap;

use serde::Serialize;

/// What kind of wrong it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// An event that should be in a topic is not.
    Lost,
    /// An event stands where its readers do not expect it.
    Reordered,
    /// An event was read, and its reader's state does not show it.
    Unapplied,
    /// Goods or money do not add up.
    Unbalanced,
    /// Something waits longer than its deadline, or for nothing.
    Overdue,
}

/// All of them, in the order in which they are shown.
pub(super) const CLASSES: [Class; 5] = [
    Class::Lost,
    Class::Reordered,
    Class::Unapplied,
    Class::Unbalanced,
    Class::Overdue,
];

impl Class {
    pub(super) fn word(self) -> &'static str {
        match self {
            Class::Lost => "lost",
            Class::Reordered => "reordered",
            Class::Unapplied => "unapplied",
            Class::Unbalanced => "unbalanced",
            Class::Overdue => "overdue",
        }
    }
}

/// One discrepancy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// What kind of wrong it is.
    pub class: Class,
    /// Its name, for scripts.
    pub name: &'static str,
    /// What it is about: an order, a product, a place in a topic.
    pub subject: String,
    /// What is wrong with it.
    pub detail: String,
}

impl Finding {
    pub(super) fn new(class: Class, name: &'static str, subject: String, detail: String) -> Self {
        Self {
            class,
            name,
            subject,
            detail,
        }
    }
}

/// More are counted and not kept.
const KEPT_MAX: usize = 1000;

/// All discrepancies: counted, and the first of them by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    pub(super) counts: BTreeMap<Class, u64>,
    pub(super) kept: Vec<Finding>,
}

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        *self.counts.entry(finding.class).or_default() += 1;
        if self.kept.len() < KEPT_MAX {
            self.kept.push(finding);
        }
    }

    pub(super) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.add(finding));
    }

    pub(super) fn join(&mut self, other: Self) {
        let room = KEPT_MAX.saturating_sub(self.kept.len());
        self.kept.extend(other.kept.into_iter().take(room));
        for (class, count) in other.counts {
            *self.counts.entry(class).or_default() += count;
        }
    }

    pub(super) fn of(&self, class: Class) -> u64 {
        self.counts.get(&class).copied().unwrap_or_default()
    }

    pub(super) fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}
