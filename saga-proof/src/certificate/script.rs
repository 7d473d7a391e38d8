//! A certificate that is said, not programmed: how a saga begins, what is done to it on each path, and how every part has
//! it in the end.
//!
//! A table of cases, as in a specification by example; what is done with it is [`troupe`]'s.

use std::collections::BTreeMap;
use std::path::Path as FilePath;

use anyhow::{Result, anyhow};
use quadrille_process::fault::Point;
use serde_json::Value;

use super::certified::{CLAIM, Words};
use super::command::{judged, on_servers, write};
use super::path::Path;
use super::recording;
use super::run::{Options, played, rehearsed};
use super::terms::Terms;
use crate::stage::{Parts, System};

pub use act::{Act, Ask, delete, due, post, put};
pub use mistake::Mistake;

/// What is done to a saga from outside.
mod act;
/// How every part has it in the end.
mod end;
/// What a script does not say, or says wrongly.
mod mistake;
/// The system that plays it.
mod troupe;

/// Which cases [`Script::certify`] plays: all of them, which writes the page, if it is `whole`; none, but each path three times
/// without any fault, and a record of it in [`RECORDED`], if it is `record`; those whose name holds it, if it is anything else; a
/// sample, if it is not set.
pub const CERTIFICATE: &str = "CERTIFICATE";

/// The folder of the record that [`CERTIFICATE`]`=record` writes, beside the manifest of the test: for
/// [`Recorded::in_folder`](crate::Recorded::in_folder).
pub const RECORDED: &str = "recorded";

/// A saga that is begun over HTTP, and what has to become of it: for whoever need not program more ([`Certified`](super::Certified)).
///
/// ```no_run
/// use saga_core::Topic;
/// use saga_proof::certificate::{Point, Script, delete, due, put};
/// use saga_proof::stage::Parts;
/// use serde_json::json;
///
/// # fn main() -> anyhow::Result<()> {
/// let parts = Parts::of_workspace(env!("CARGO_MANIFEST_DIR"))
///     .topics(&[Topic::new("loan-events"), Topic::new("shelf-events")])
///     .services(["desk", "shelf"]);
/// Script::of("loan saga", parts)
///     .first(put("shelf", "/books/Emma").json(json!({"copies": 100_000})))
///     .begins(put("desk", "/loans/{key}").json(json!({"reader": "Ada", "book": "Emma"})))
///     .never(Point::WEBHOOKS, "nobody calls the library")
///     .path("kept", "Lent, and not brought back in time.")
///     .then(due("desk"))
///     .ends("desk overdue, shelf lent")
///     .path("none", "There is no such book.")
///     .with("book", "Emmma")
///     .ends("desk refused, shelf refused")
///     .path("changed", "The reader changes their mind before the shelf has heard of it.")
///     .before("shelf", delete("desk", "/loans/{key}"))
///     .ends("desk cancelled, shelf cancelled")
///     .certify("docs/certificate.md")
/// # }
/// ```
///
/// A path begins like every other, [`with`](Self::with) something else where it says so. Whoever is asked may be away for a
/// moment, so it is asked again until there is an answer: an API has to take the same request twice. When everything is at rest, each
/// part has to have the saga as its path [`ends`](Self::ends), and whoever is not named there may know nothing of it.
#[derive(Clone, Debug)]
pub struct Script {
    saga: &'static str,
    parts: Parts,
    first: Vec<Ask>,
    begins: Option<Ask>,
    shows: BTreeMap<&'static str, Shows>,
    never: Vec<(&'static [Point], &'static str)>,
    scenes: Vec<Scene>,
    /// What was said before there was a path that it could belong to.
    stray: Option<&'static str>,
}

/// How a part shows what it knows of a saga, if not by a document.
#[derive(Clone, Copy, Debug)]
enum Shows {
    /// At this path there is JSON, and at this pointer in it the state.
    Answer(&'static str, &'static str),
    /// This query of its database, of the key, has the state.
    Row(&'static str),
}

/// One path.
#[derive(Clone, Debug)]
struct Scene {
    name: &'static str,
    story: &'static str,
    with: Vec<(&'static str, Value)>,
    /// Each with who is kept from hearing anything before it.
    acts: Vec<(Option<&'static str>, Act)>,
    end: Option<&'static str>,
}

impl Script {
    /// Of the saga of this name, on these parts: `trip saga`.
    pub fn of(saga: &'static str, parts: Parts) -> Self {
        Self {
            saga,
            parts,
            first: Vec::new(),
            begins: None,
            shows: BTreeMap::new(),
            never: Vec::new(),
            scenes: Vec::new(),
            stray: None,
        }
    }

    /// Done once, before there is any saga: goods are delivered, a hotel opens. There will be thousands of sagas.
    #[must_use]
    pub fn first(mut self, ask: Ask) -> Self {
        self.first.push(ask);
        self
    }

    /// Begins each saga. `{key}` is its key, in the path and in the body.
    #[must_use]
    pub fn begins(mut self, ask: Ask) -> Self {
        self.begins = Some(ask);
        self
    }

    /// A part that keeps no documents shows what it knows of a saga at this path of its API, in a JSON that has the state at this
    /// [pointer](Value::pointer): `shows("airline", "/tickets", "/{key}/status")`. Nothing there, or a 404, is nothing known.
    #[must_use]
    pub fn shows(mut self, part: &'static str, path: &'static str, pointer: &'static str) -> Self {
        self.shows.insert(part, Shows::Answer(path, pointer));
        self
    }

    /// A service with a store of its own has the state of a saga where this query finds it, as one text:
    /// `reads("stock", "select status from hold where order_id::text = $1")`. Those that use `saga_runtime::Documents` need not
    /// say so.
    #[must_use]
    pub fn reads(mut self, part: &'static str, query: &'static str) -> Self {
        self.shows.insert(part, Shows::Row(query));
        self
    }

    /// No saga passes these points on any path, and why not. A point that no saga passes is an error otherwise.
    #[must_use]
    pub fn never(mut self, points: &'static [Point], why: &'static str) -> Self {
        self.never.push((points, why));
        self
    }

    /// A way through the saga, in one word, and what happens on it. What follows is said of it, up to the next path.
    ///
    /// On the first one sagas are under way while a fault hits a process by itself, so it is one that needs nobody to do anything
    /// in the middle.
    #[must_use]
    pub fn path(mut self, name: &'static str, story: &'static str) -> Self {
        self.scenes.push(Scene {
            name,
            story,
            with: Vec::new(),
            acts: Vec::new(),
            end: None,
        });
        self
    }

    /// On this path a saga begins with another value in this field of the body.
    #[must_use]
    pub fn with(self, field: &'static str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.of_the_path("with", |scene| scene.with.push((field, value)))
    }

    /// Once it has begun, this is done.
    #[must_use]
    pub fn then(self, act: impl Into<Act>) -> Self {
        let act = act.into();
        self.of_the_path("then", |scene| scene.acts.push((None, act)))
    }

    /// Once it has begun, this is done *before* a service has heard anything of it. Not hoped for: the row that the service has of
    /// the saga is held, so that it has to wait.
    #[must_use]
    pub fn before(self, part: &'static str, act: impl Into<Act>) -> Self {
        let act = act.into();
        self.of_the_path("before", |scene| scene.acts.push((Some(part), act)))
    }

    /// How each part has it in the end: `desk settled, hotel cancelled`. A document has its state in the field `status`, as
    /// `#[serde(tag = "status")]` writes it.
    #[must_use]
    pub fn ends(self, end: &'static str) -> Self {
        self.of_the_path("ends", |scene| scene.end = Some(end))
    }

    /// Plays it in a test, on a PostgreSQL and a Kafka of its own or on those of the environment: each fault point once, in about a
    /// minute; or what [`CERTIFICATE`] asks for. If that is `whole`, it writes the page.
    ///
    /// # Errors
    /// [`Mistake`] if the script is wrong, before anything is started; else whatever does not hold, or what kept it from being played.
    pub fn certify(self, page: impl AsRef<FilePath>) -> Result<()> {
        let asked = std::env::var(CERTIFICATE).ok().filter(|asked| !asked.is_empty());
        if asked.as_deref() == Some("record") {
            return self.record();
        }
        let options = match asked.as_deref() {
            None => Options {
                sample: true,
                ..Options::default()
            },
            Some("whole") => Options::default(),
            Some(_) => Options {
                only: asked,
                ..Options::default()
            },
        };
        let play = mistake::checked(self)?;
        let certificate = on_servers(async |servers| {
            let system = System::start(servers, play.script.parts.clone()).await?;
            let terms = play.script.terms();
            played(&play.on(system).await?, terms, &options).await
        })?;
        if options.is_whole() {
            write(&certificate, page.as_ref())?;
        }
        judged(&certificate).map_err(|wrong| {
            anyhow!("{wrong}\nto play one of them alone, set {CERTIFICATE} to its name, up to the first ': '")
        })
    }

    fn record(self) -> Result<()> {
        let folder = FilePath::new(RECORDED);
        let play = mistake::checked(self)?;
        recording::is_free(folder)?;
        let records = on_servers(async |servers| {
            let system = System::start(servers, play.script.parts.clone()).await?;
            rehearsed(&play.on(system).await?, &play.script.terms()).await
        })?;
        recording::write(folder, records)
    }

    fn of_the_path(mut self, what: &'static str, say: impl FnOnce(&mut Scene)) -> Self {
        match self.scenes.last_mut() {
            Some(scene) => say(scene),
            None => self.stray = self.stray.or(Some(what)),
        }
        self
    }

    fn terms(&self) -> Terms {
        let paths = self.scenes.iter().map(|scene| {
            let mut path = Path::new(scene.name, scene.story);
            path.end = scene.end;
            path
        });
        Terms {
            words: Words {
                saga: self.saga,
                command: "CERTIFICATE=whole cargo test",
                books: "each part has it as its path ends, and whoever is not named there knows nothing of it",
                ..Words::PLAIN
            },
            paths: paths.collect(),
            never: self.never.clone(),
            claim: CLAIM,
        }
    }
}
