//! A choreography as an AsyncAPI 3 document, for people and tools of other languages.

use serde_json::{Map, Value, json};

use super::{Choreography, Part};
use crate::envelope;
use crate::input::InputKind;
use crate::output::OutputKind;
use crate::topic::Topic;

/// What a document says of itself, and where it finds the schemas.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Its title.
    pub title: &'a str,
    /// Version of the document.
    pub version: &'a str,
    /// What the system is for.
    pub description: &'a str,
    /// Where the JSON Schema of an event is, by wire name and version, seen from where the document will lie:
    /// `|name, version| format!("schemas/{name}-v{version}.json")`.
    pub schema: fn(&str, u32) -> String,
}

/// An event, from whoever speaks of it.
#[derive(Clone, Copy)]
struct Message {
    topic: &'static str,
    name: &'static str,
    version: u32,
    key: &'static str,
    refuses: bool,
}

pub(super) fn document(choreography: &Choreography, about: &About<'_>) -> Value {
    let messages = messages(choreography);
    let of_topic = |topic: &Topic| {
        let these = messages.iter().filter(|message| message.topic == topic.name);
        let these = these.map(|message| {
            (
                message.name.to_owned(),
                reference(&["components", "messages", message.name]),
            )
        });
        channel(topic, these.collect())
    };
    let spoken_of = |topic: &&Topic| messages.iter().any(|message| message.topic == topic.name);
    let topics = choreography.topics.iter().filter(spoken_of);
    let channels: Map<_, _> = topics
        .map(|topic| (topic.name.to_owned(), of_topic(topic)))
        .collect();
    let mut operations = Map::new();
    for part in &choreography.parts {
        for topic in choreography.topics.iter().map(|topic| topic.name) {
            operation(&mut operations, part, "send", "sends", topic, says(part, topic));
            operation(
                &mut operations,
                part,
                "receive",
                "receives",
                topic,
                hears(part, topic),
            );
        }
    }
    let components = messages
        .iter()
        .map(|message| (message.name.to_owned(), component(message, about)));
    json!({
        "asyncapi": "3.0.0",
        "info": { "title": about.title, "version": about.version, "description": about.description },
        "defaultContentType": envelope::JSON,
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": components.collect::<Map<_, _>>(),
            "messageTraits": { "cloudevent": { "headers": headers() } },
        },
    })
}

/// Every event that is said or heard, in the order of the participants.
fn messages(choreography: &Choreography) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for part in &choreography.parts {
        let said = part.says().filter_map(|spec| match spec.kind {
            OutputKind::Event {
                topic,
                version,
                key,
                refuses,
            } => Some(Message {
                topic,
                name: spec.name,
                version,
                key,
                refuses,
            }),
            OutputKind::Effect { .. } | OutputKind::Timer => None,
        });
        messages.extend(said);
    }
    for part in &choreography.parts {
        for spec in part.hears() {
            let is_known = messages.iter().any(|message| message.name == spec.name);
            if let (InputKind::Event { topic, version, key }, false) = (spec.kind, is_known) {
                messages.push(Message {
                    topic,
                    name: spec.name,
                    version,
                    key,
                    refuses: false,
                });
            }
        }
    }
    messages
}

fn channel(topic: &Topic, messages: Map<String, Value>) -> Value {
    json!({
        "address": topic.name,
        "messages": messages,
        "bindings": { "kafka": {
            "topic": topic.name,
            "partitions": topic.partitions,
            "topicConfiguration": { "retention.ms": topic.retention.as_millis().try_into().unwrap_or(u64::MAX) },
            "bindingVersion": "0.5.0",
        } },
    })
}

fn says(part: &Part, topic: &str) -> Vec<&'static str> {
    let said = part.says();
    let here = said.filter(|spec| matches!(spec.kind, OutputKind::Event { topic: at, .. } if at == topic));
    here.map(|spec| spec.name).collect()
}

fn hears(part: &Part, topic: &str) -> Vec<&'static str> {
    let heard = part.hears();
    let here = heard.filter(|spec| matches!(spec.kind, InputKind::Event { topic: at, .. } if at == topic));
    here.map(|spec| spec.name).collect()
}

fn operation(
    operations: &mut Map<String, Value>,
    part: &Part,
    action: &str,
    verb: &str,
    topic: &str,
    names: Vec<&str>,
) {
    if names.is_empty() {
        return;
    }
    let messages: Vec<_> = names
        .iter()
        .map(|name| reference(&["channels", topic, "messages", name]))
        .collect();
    operations.insert(
        format!("{}-{verb}-{topic}", part.name),
        json!({
            "action": action,
            "summary": format!("{} {verb} {}", part.name, names.join(", ")),
            "channel": reference(&["channels", topic]),
            "messages": messages,
            "tags": [{ "name": part.name }],
        }),
    );
}

fn component(message: &Message, about: &About<'_>) -> Value {
    let Message {
        name, version, key, ..
    } = *message;
    let tags = match message.refuses {
        true => json!([{ "name": "refusal", "description": "It says no: the saga turns back." }]),
        false => json!([]),
    };
    json!({
        "name": name,
        "title": format!("{name}/{version}"),
        "contentType": envelope::JSON,
        "traits": [reference(&["components", "messageTraits", "cloudevent"])],
        "correlationId": {
            "description": "The saga.",
            "location": format!("$message.header#/{}", envelope::CE_CORRELATIONID),
        },
        "payload": {
            "schemaFormat": SCHEMA_FORMAT,
            "schema": { "$ref": (about.schema)(name, version) },
        },
        "tags": tags,
        "bindings": { "kafka": {
            "key": { "type": "string", "description": key },
            "bindingVersion": "0.5.0",
        } },
    })
}

/// The schemas are of draft 2020-12. Documents of AsyncAPI can name draft 07 only, and what we use of the later one
/// reads the same there: `$defs` is found by its path.
const SCHEMA_FORMAT: &str = "application/schema+json;version=draft-07";

/// What stands in the headers of every event.
fn headers() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "required": [envelope::CE_ID, envelope::CE_SOURCE, envelope::CE_TYPE, envelope::CE_SPECVERSION],
        "properties": {
            envelope::CE_ID: { "type": "string", "format": "uuid", "description": "The event, derived from its cause." },
            envelope::CE_SOURCE: text("The outbox that published it, as /order."),
            envelope::CE_TYPE: text("Its name, as order.created."),
            envelope::CE_SUBJECT: text("The Kafka key."),
            envelope::CE_TIME: {
                "type": "string",
                "format": "date-time",
                "description": "When the transaction that wrote it began.",
            },
            envelope::CE_SPECVERSION: { "type": "string", "const": envelope::SPECVERSION },
            envelope::CE_DATASCHEMA: text("Name and version of the payload, as order.created/1."),
            envelope::CE_CORRELATIONID: text("The saga."),
            envelope::CE_CAUSATIONID: text("The input that caused it."),
            envelope::CE_TRACEPARENT: text("W3C trace context of the transaction that wrote it."),
            envelope::CE_TRACESTATE: text("Vendor part of the trace context."),
            envelope::CE_SEQUENCE: text("Its position in its outbox; it grows along each partition."),
            envelope::CE_PREVIOUSSEQUENCE: text("The position that was sent to this partition before it."),
        },
    })
}

/// A reference within the document.
fn reference(path: &[&str]) -> Value {
    let escaped: Vec<_> = path
        .iter()
        .map(|part| part.replace('~', "~0").replace('/', "~1"))
        .collect();
    json!({ "$ref": format!("#/{}", escaped.join("/")) })
}
