use std::collections::BTreeMap;

use serde_json::Value;

use super::act::{Act, Ask};
use super::end::{self, End};
use super::{Scene, Script};
use crate::certificate::unsendable;

/// What a script does not say, or says wrongly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// There is no saga to be begun.
    #[error(
        "nothing begins a saga; say .begins(put(\"desk\", \"/trips/{{key}}\").json(…)) before the first path"
    )]
    NoBeginning,
    /// There is no path.
    #[error("there is no path; say .path(\"booked\", \"what happens on it\").ends(…)")]
    NoPath,
    /// Something is said of a path, and there is none yet.
    #[error(".{what}(…) is said of a path; say .path(…) before it")]
    BeforeAnyPath {
        /// What.
        what: &'static str,
    },
    /// Two paths have one name; `unsendable` is that of one which is always there.
    #[error("there are two paths '{path}'; give yours another name")]
    TwoPaths {
        /// Their name.
        path: &'static str,
    },
    /// A path has no end.
    #[error(
        "path '{path}' has no end; say .ends(\"desk settled, hotel cancelled\"), with everybody who knows of the saga then"
    )]
    NoEnd {
        /// Which.
        path: &'static str,
    },
    /// An end that cannot be read.
    #[error(
        "path '{path}' ends with \"{end}\"; write each part once with its state in one word, and commas between them: \"desk settled, hotel cancelled\""
    )]
    UnreadEnd {
        /// Of which path.
        path: &'static str,
        /// What is written there.
        end: &'static str,
    },
    /// There is no part of this name.
    #[error("{place} names '{part}'; the parts are {parts}")]
    NoPart {
        /// Where it is named.
        place: String,
        /// What is named.
        part: &'static str,
        /// What there is.
        parts: String,
    },
    /// It is a stranger's, of whom we have no tables.
    #[error("{place} wants the database of '{part}', who has none here; only a Part::service has one")]
    NoDatabase {
        /// Where.
        place: String,
        /// Whose.
        part: &'static str,
    },
    /// A stranger is said to know of a saga, and shows nothing.
    #[error(
        "path '{path}' says how '{part}' has the saga in the end, who does not show it; say .shows(\"{part}\", \"/path\", \"/pointer/to/{{key}}\")"
    )]
    NotShown {
        /// Which path.
        path: &'static str,
        /// Who.
        part: &'static str,
    },
    /// The body has no field of this name, so a slip of the pen would go unnoticed.
    #[error(
        "path '{path}' begins with another '{field}', and the body of .begins(…) has no such field; it has {fields}"
    )]
    NoField {
        /// Which path.
        path: &'static str,
        /// Which field.
        field: &'static str,
        /// What there is.
        fields: String,
    },
}

/// A script without a mistake.
#[derive(Clone, Debug)]
pub(super) struct Play {
    pub(super) script: Script,
    pub(super) begins: Ask,
    /// By path.
    pub(super) ends: BTreeMap<&'static str, End>,
}

/// Looks for mistakes, so that nobody waits for databases to learn of one.
///
/// # Errors
/// The first that is found.
pub(super) fn checked(script: Script) -> Result<Play, Mistake> {
    if let Some(what) = script.stray {
        return Err(Mistake::BeforeAnyPath { what });
    }
    let begins = script.begins.clone().ok_or(Mistake::NoBeginning)?;
    if script.scenes.is_empty() {
        return Err(Mistake::NoPath);
    }
    for ask in script.first.iter().chain([&begins]) {
        known(&script, ask.part, ".first(…) or .begins(…)")?;
    }
    for part in script.shows.keys() {
        known(&script, part, ".shows(…) or .reads(…)")?;
    }
    let mut ends = BTreeMap::new();
    for scene in &script.scenes {
        let end = path(&script, &begins, scene)?;
        if ends.insert(scene.name, end).is_some() || scene.name == unsendable::NAME {
            return Err(Mistake::TwoPaths { path: scene.name });
        }
    }
    Ok(Play { script, begins, ends })
}

fn path(script: &Script, begins: &Ask, scene: &Scene) -> Result<End, Mistake> {
    let (path, place) = (scene.name, format!("path '{}'", scene.name));
    let fields = begins.body.as_ref().and_then(Value::as_object);
    for (field, _) in &scene.with {
        if !fields.is_some_and(|fields| fields.contains_key(*field)) {
            let fields = fields
                .into_iter()
                .flat_map(|fields| fields.keys().map(String::as_str));
            let fields = fields.collect::<Vec<_>>().join(", ");
            return Err(Mistake::NoField { path, field, fields });
        }
    }
    for (held, act) in &scene.acts {
        match act {
            Act::Ask(ask) => known(script, ask.part, &place)?,
            Act::Due(part) => with_database(script, part, &place)?,
        }
        if let Some(part) = held {
            with_database(script, part, &place)?;
        }
    }
    let text = scene.end.ok_or(Mistake::NoEnd { path })?;
    let end = end::read(text).ok_or(Mistake::UnreadEnd { path, end: text })?;
    for part in end.keys() {
        known(script, part, &place)?;
        if !script.parts.has_database(part) && !script.shows.contains_key(part) {
            return Err(Mistake::NotShown { path, part });
        }
    }
    Ok(end)
}

fn known(script: &Script, part: &'static str, place: &str) -> Result<(), Mistake> {
    let parts: Vec<&str> = script.parts.names().collect();
    match parts.contains(&part) {
        true => Ok(()),
        false => Err(Mistake::NoPart {
            place: place.to_owned(),
            part,
            parts: parts.join(", "),
        }),
    }
}

fn with_database(script: &Script, part: &'static str, place: &str) -> Result<(), Mistake> {
    known(script, part, place)?;
    match script.parts.has_database(part) {
        true => Ok(()),
        false => Err(Mistake::NoDatabase {
            place: place.to_owned(),
            part,
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{delete, due, put};
    use super::*;
    use crate::stage::{Part, Parts};

    fn script() -> Script {
        let parts = Parts::of_workspace(".")
            .with(Part::stranger("airline"))
            .services(["desk", "hotel"]);
        Script::of("trip saga", parts)
    }

    fn begun() -> Script {
        script().begins(put("desk", "/trips/{key}").json(json!({"hotel": "Alpenhof"})))
    }

    fn booked() -> Script {
        begun().path("booked", "All is well.")
    }

    #[test]
    fn a_script_without_a_mistake_has_its_ends() {
        let script = booked()
            .with("hotel", "Nowhere")
            .before("hotel", delete("desk", "/trips/{key}"))
            .then(due("desk"))
            .ends("desk settled");
        let play = checked(script).expect("no mistake");
        assert_eq!(play.ends["booked"], End::from([("desk", "settled")]));
    }

    #[test]
    fn each_mistake_says_what_to_do() {
        let end = "desk settled";
        let cases = [
            (script().path("booked", "").ends(end), ".begins("),
            (begun(), "say .path("),
            (begun().ends(end), ".ends(…) is said of a path"),
            (
                booked().ends(end).path("booked", "").ends(end),
                "two paths 'booked'",
            ),
            (begun().path("unsendable", "").ends(end), "two paths 'unsendable'"),
            (booked(), "say .ends("),
            (booked().ends("desk"), "write each part once"),
            (
                booked().ends("dekk settled"),
                "the parts are airline, desk, hotel",
            ),
            (booked().ends("airline issued"), "say .shows(\"airline\""),
            (
                booked().before("airline", due("desk")).ends(end),
                "only a Part::service",
            ),
            (booked().then(due("airline")).ends(end), "only a Part::service"),
            (booked().then(delete("dekk", "/")).ends(end), "the parts are"),
            (
                booked().with("hottel", "").ends(end),
                "no such field; it has hotel",
            ),
            (booked().ends(end).first(put("hottel", "/")), "the parts are"),
            (booked().ends(end).shows("airlane", "/", "/"), "the parts are"),
        ];
        for (script, advice) in cases {
            let mistake = checked(script).expect_err(advice).to_string();
            assert!(mistake.contains(advice), "{mistake} has no '{advice}'");
        }
    }
}
