//! What a record is taken for.

use std::collections::BTreeSet;
use std::sync::Arc;

use saga_core::{At, Decision, Event, Fault, Inputs, Outputs, Participant, Step, View, envelope, steps};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::*;

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "questions", name = "question.asked", key = id)]
struct Asked {
    id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "answers", name = "answer.given", key = id)]
struct Given {
    id: String,
}

#[derive(Clone, Debug, Inputs)]
enum In {
    #[event]
    Asked(Asked),
    #[event]
    Given(Given),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
enum Out {
    #[event]
    Given(Given),
}

#[derive(Debug)]
struct Listener;

impl Participant for Listener {
    const NAME: &'static str = "listener";
    const STEPS: &'static [Step] = steps! { In, Out; Asked => [Given]; Given => []; };
    type Key = String;
    type State = bool;
    type SharedKey = String;
    type Shared = u32;
    type Input = In;
    type Output = Out;
    type Reply = ();
    type Refusal = &'static str;

    fn key(&self, input: &In) -> Option<String> {
        match input {
            In::Asked(asked) => Some(asked.id.clone()),
            In::Given(given) => Some(given.id.clone()),
        }
    }

    fn touches(&self, _: &bool, _: &In) -> BTreeSet<String> {
        BTreeSet::new()
    }

    fn decide(&self, _: bool, _: &mut View<'_, String, u32>, at: At<In>) -> Result<Decision<Self>, Fault> {
        let decision = Decision::to(true);
        Ok(match at.input {
            In::Asked(Asked { id }) => decision.emit(Out::Given(Given { id })),
            In::Given(_) => decision,
        })
    }

    fn is_ended(&self, _: &bool) -> bool {
        false
    }
}

fn read_as(topic: &str, key: &str) -> What<Listener> {
    let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let record = Record {
        topic: topic.to_owned(),
        partition: 0,
        offset: 0,
        timestamp_ms: None,
        key: Some(key.as_bytes().to_vec()),
        headers: vec![
            header(envelope::CE_ID, &Uuid::nil().to_string()),
            header(envelope::CE_SOURCE, "/answers"),
            header(envelope::CE_TYPE, Given::NAME),
            header(envelope::CE_SPECVERSION, "1.0"),
            header(envelope::CE_DATASCHEMA, Given::SCHEMA),
        ],
        payload: Some(format!(r#"{{"id":"{key}"}}"#).into_bytes()),
    };
    entry(&Listener, "shop.", &Arc::new(record)).what
}

fn refused(what: &What<Listener>) -> &str {
    match what {
        What::Undecodable { reason } => reason,
        What::Input { .. } | What::Pass => "",
    }
}

#[test]
fn an_event_is_taken_from_its_own_topic_alone() {
    assert!(matches!(read_as("shop.answers", "a"), What::Input { .. }));
    for other in ["shop.questions", "answers", "mall.answers"] {
        let what = read_as(other, "a");
        assert!(
            refused(&what).contains("belongs to the topic shop.answers"),
            "{what:?}"
        );
    }
}

#[test]
fn a_saga_has_a_key_that_can_be_looked_for() {
    assert!(matches!(
        read_as("shop.answers", &"k".repeat(KEY_MAX_BYTES)),
        What::Input { .. }
    ));
    let what = read_as("shop.answers", &"k".repeat(KEY_MAX_BYTES + 1));
    assert!(refused(&what).contains("at most 512 bytes"), "{what:?}");
}
