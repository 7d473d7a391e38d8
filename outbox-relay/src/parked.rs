use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::outbox::error::OutboxError;
use crate::outbox::read::Chunk;

/// What is parked: a key of a topic, or the topic as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Subject {
    pub(crate) topic: String,
    /// `None`: all of them.
    pub(crate) key: Option<String>,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "key {key} of topic {}", self.topic),
            None => write!(f, "topic {}", self.topic),
        }
    }
}

/// What is parked in one outbox, as its owner knows it: only the owner parks and frees.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    topics: HashMap<String, InTopic>,
    count: usize,
}

#[derive(Debug, Default)]
struct InTopic {
    whole: bool,
    keys: HashSet<String>,
}

impl Parked {
    pub(crate) fn new(subjects: impl IntoIterator<Item = Subject>) -> Self {
        let mut parked = Self::default();
        for subject in subjects {
            parked.insert(subject);
        }
        parked
    }

    pub(crate) fn insert(&mut self, subject: Subject) {
        let topic = self.topics.entry(subject.topic).or_default();
        let new = match subject.key {
            Some(key) => topic.keys.insert(key),
            None => !std::mem::replace(&mut topic.whole, true),
        };
        self.count += usize::from(new);
    }

    pub(crate) fn remove(&mut self, subject: &Subject) {
        let Some(topic) = self.topics.get_mut(&subject.topic) else {
            return;
        };
        let known = match &subject.key {
            Some(key) => topic.keys.remove(key),
            None => std::mem::take(&mut topic.whole),
        };
        self.count -= usize::from(known);
        if !topic.whole && topic.keys.is_empty() {
            self.topics.remove(&subject.topic);
        }
    }

    /// How many keys and topics.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The events of a chunk, by index, that have to wait.
    pub(crate) fn among(&self, chunk: &Chunk) -> Result<Vec<usize>, OutboxError> {
        let mut waiting = Vec::new();
        if self.is_empty() {
            return Ok(waiting);
        }
        for index in 0..chunk.len() {
            let event = chunk.event(index)?;
            if self.holds(event.topic, event.key) {
                waiting.push(index);
            }
        }
        Ok(waiting)
    }

    fn holds(&self, topic: &str, key: &str) -> bool {
        self.topics
            .get(topic)
            .is_some_and(|topic| topic.whole || topic.keys.contains(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(topic: &str, key: &str) -> Subject {
        Subject {
            topic: topic.to_owned(),
            key: Some(key.to_owned()),
        }
    }

    #[test]
    fn a_topic_holds_all_its_keys_and_a_key_stays_parked_when_its_topic_is_freed() {
        let topic = Subject {
            topic: "b".to_owned(),
            key: None,
        };
        let mut parked = Parked::new([key("a", "1"), key("b", "1"), topic.clone(), key("a", "1")]);
        assert_eq!(parked.len(), 3);
        let held = |parked: &Parked| {
            [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"), ("c", "1")]
                .map(|(topic, key)| parked.holds(topic, key))
        };
        assert_eq!(held(&parked), [true, false, true, true, false]);
        parked.remove(&topic);
        parked.remove(&topic);
        assert_eq!(held(&parked), [true, false, true, false, false]);
        parked.remove(&key("a", "1"));
        parked.remove(&key("b", "1"));
        assert!(parked.is_empty() && parked.topics.is_empty());
    }
}
