//! Shared rows, as one decision sees them.
//!
//! A shelf is shared by the orders of a batch. What a decision changes becomes visible to the next one only
//! if it succeeded: an early `?` must not leave half a hold behind.

use std::collections::{BTreeMap, BTreeSet};

use crate::participant::Fault;

/// The shared rows of a batch, which of them are locked, and which it changed. `None` is a row that was looked
/// for and is not there, which is not the same as one that nobody looked for.
#[derive(Clone, Debug)]
pub struct Rows<K, V> {
    loaded: BTreeMap<K, Option<V>>,
    locked: BTreeSet<K>,
    changed: BTreeSet<K>,
}

/// One decision's view of [`Rows`]: reads fall through, writes stay here until [`View::keep`].
#[derive(Debug)]
pub struct View<'r, K, V> {
    rows: &'r mut Rows<K, V>,
    written: BTreeMap<K, V>,
}

impl<K: Ord + Clone, V: Clone + PartialEq> Rows<K, V> {
    /// Rows that were loaded under lock.
    pub fn new(loaded: impl IntoIterator<Item = (K, Option<V>)>) -> Self {
        let loaded: BTreeMap<K, Option<V>> = loaded.into_iter().collect();
        Self {
            locked: loaded.keys().cloned().collect(),
            loaded,
            changed: BTreeSet::new(),
        }
    }

    /// And rows that were only read. A row that is locked stays as it was when it was locked.
    #[must_use]
    pub fn reading(mut self, read: impl IntoIterator<Item = (K, Option<V>)>) -> Self {
        for (key, row) in read {
            self.loaded.entry(key).or_insert(row);
        }
        self
    }

    /// A view for one decision.
    pub fn view(&mut self) -> View<'_, K, V> {
        View {
            rows: self,
            written: BTreeMap::new(),
        }
    }

    /// The row of `key`, if it was loaded and is there.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.loaded.get(key)?.as_ref()
    }

    /// What has to be saved, sorted by key.
    pub fn changed(&self) -> Vec<(K, V)> {
        self.changed
            .iter()
            .filter_map(|key| Some((key.clone(), self.get(key)?.clone())))
            .collect()
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> View<'_, K, V> {
    /// The row of `key`; `None` if there is no such row.
    ///
    /// # Errors
    /// [`Fault::NotLoaded`] if the batch did not load it: the shell commits what it has and begins again
    /// with this input.
    pub fn get(&self, key: &K) -> Result<Option<&V>, Fault> {
        if let Some(value) = self.written.get(key) {
            return Ok(Some(value));
        }
        self.rows
            .loaded
            .get(key)
            .map(Option::as_ref)
            .ok_or(Fault::NotLoaded)
    }

    /// Writes the row of `key`.
    ///
    /// # Errors
    /// [`Fault::NotLoaded`]: writing what was not locked would lose somebody else's write.
    pub fn put(&mut self, key: K, value: V) -> Result<(), Fault> {
        if !self.rows.locked.contains(&key) {
            return Err(Fault::NotLoaded);
        }
        self.written.insert(key, value);
        Ok(())
    }

    /// Makes what was written visible to the next decision.
    pub fn keep(self) {
        for (key, value) in self.written {
            let row = self.rows.loaded.entry(key.clone()).or_default();
            if row.as_ref() != Some(&value) {
                *row = Some(value);
                self.rows.changed.insert(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_that_is_dropped_leaves_no_trace() {
        let mut rows = Rows::new([("shelf", Some(3))]);
        let mut view = rows.view();
        view.put("shelf", 1).expect("loaded");
        assert_eq!(view.get(&"shelf").expect("loaded"), Some(&1));
        drop(view);
        assert_eq!(rows.get(&"shelf"), Some(&3));
        assert!(rows.changed().is_empty());
    }

    #[test]
    fn what_is_kept_is_seen_by_the_next_and_saved_once() {
        let mut rows = Rows::new([("a", Some(3)), ("b", None)]);
        for _ in 0..2 {
            let mut view = rows.view();
            let a = *view.get(&"a").expect("loaded").expect("there");
            view.put("a", a - 1).expect("loaded");
            view.put("b", 7).expect("loaded");
            view.keep();
        }
        assert_eq!(rows.changed(), [("a", 1), ("b", 7)]);
    }

    #[test]
    fn a_row_that_is_not_there_differs_from_one_that_was_not_loaded() {
        let mut rows: Rows<&str, i32> = Rows::new([("absent", None)]);
        let mut view = rows.view();
        assert_eq!(view.get(&"absent"), Ok(None));
        assert_eq!(view.get(&"unknown"), Err(Fault::NotLoaded));
        assert_eq!(view.put("unknown", 1), Err(Fault::NotLoaded));
    }

    #[test]
    fn a_row_that_was_only_read_cannot_be_written() {
        let mut rows = Rows::new([("a", Some(1))]).reading([("a", Some(2)), ("b", Some(3))]);
        let mut view = rows.view();
        assert_eq!(view.get(&"a"), Ok(Some(&1)), "as it was locked");
        assert_eq!(view.get(&"b"), Ok(Some(&3)));
        assert_eq!(view.put("b", 4), Err(Fault::NotLoaded));
        assert_eq!(view.put("a", 4), Ok(()));
    }
}
