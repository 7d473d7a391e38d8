//! The whole that nobody leads: all participants of a system, drawn and checked.
//!
//! The reproach to choreography is that nobody sees the whole. Here it is data: what each participant hears and says
//! is in its types, what it does on which input in its [`steps!`](crate::steps!), and what it really does is
//! [`Observed`](crate::choreography::Observed) while a model checker, or a test, runs its `decide`.
//!
//! ```ignore
//! let shop = Choreography::new("shop")
//!     .participant::<Orders>()
//!     .participant::<Inventory>()
//!     .topics(TOPICS)
//!     .entry::<Orders>("PlaceOrder", "a customer")
//!     .for_observers("stock.released", "the shelf is a shared row; nobody waits for it");
//! let recorder = Recorder::default();
//! // … run the participants: `recorder.watch(Orders::default())`, or `recorder.note(…)` after each `decide` …
//! let observed = recorder.observed();
//! shop.check(&observed)?;
//! println!("{}", shop.mermaid(&observed));
//! ```

use crate::participant::Participant;
use crate::topic::Topic;

pub use asyncapi::About;
pub use finding::{Check, Finding, Unsound};
pub use graph::{Act, Awaited, Called, Edge, FORMAT, Graph, Heard, Member, Reaction, Told, Undone};
pub use observed::Observed;
pub use recorder::{Recorder, TooManyStates};
pub use watched::Watched;

/// As an AsyncAPI document.
mod asyncapi;
/// What leads to what.
mod causes;
/// What is looked for.
mod checks;
/// The ways of one participant between its states.
mod course;
/// What was found.
mod finding;
/// As plain data.
mod graph;
/// As a picture.
mod mermaid;
/// What was seen.
mod observed;
/// What the types say of a participant.
mod part;
/// Who sees it.
mod recorder;
/// As tables, for people.
mod tables;
/// A participant that is watched.
mod watched;

use part::Part;

/// All participants of a system, and what has to be said of the whole because no participant knows it.
#[derive(Clone, Debug)]
pub struct Choreography {
    name: &'static str,
    parts: Vec<Part>,
    topics: Vec<Topic>,
    entries: Vec<Entry>,
    observers: Vec<Reasoned>,
    elsewhere: Vec<Reasoned>,
    holds_nothing: Vec<Reasoned>,
    may_wait: Vec<Reasoned>,
}

/// A command, and who gives it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    participant: &'static str,
    command: &'static str,
    who: &'static str,
}

/// Something that is said of the whole, and why.
#[derive(Clone, Copy, Debug)]
struct Reasoned {
    name: &'static str,
    why: &'static str,
}

impl Choreography {
    /// One without participants.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            parts: Vec::new(),
            topics: Vec::new(),
            entries: Vec::new(),
            observers: Vec::new(),
            elsewhere: Vec::new(),
            holds_nothing: Vec::new(),
            may_wait: Vec::new(),
        }
    }

    /// Takes in a participant.
    #[must_use]
    pub fn participant<P: Participant>(mut self) -> Self {
        self.parts.push(Part::of::<P>());
        self
    }

    /// The registry of topics: each that is spoken of has to be in it.
    #[must_use]
    pub fn topics(mut self, topics: &[Topic]) -> Self {
        self.topics.extend_from_slice(topics);
        self
    }

    /// A command of `P`, by its variant, and who gives it: `.entry::<Orders>("PlaceOrder", "a customer")`. A webhook
    /// is one, too.
    #[must_use]
    pub fn entry<P: Participant>(mut self, command: &'static str, who: &'static str) -> Self {
        let participant = P::NAME;
        self.entries.push(Entry {
            participant,
            command,
            who,
        });
        self
    }

    /// An event, by its wire name, that no participant hears on purpose, and who reads it.
    #[must_use]
    pub fn for_observers(mut self, event: &'static str, why: &'static str) -> Self {
        self.observers.push(Reasoned { name: event, why });
        self
    }

    /// An event, by its wire name, that no participant of this choreography says, and who says it.
    #[must_use]
    pub fn published_elsewhere(mut self, event: &'static str, who: &'static str) -> Self {
        self.elsewhere.push(Reasoned {
            name: event,
            why: who,
        });
        self
    }

    /// An event, by its wire name, behind which nothing stands that would have to be undone: a price that was told.
    #[must_use]
    pub fn holds_nothing(mut self, event: &'static str, why: &'static str) -> Self {
        self.holds_nothing.push(Reasoned { name: event, why });
        self
    }

    /// A participant that may wait without a deadline, since its states are not a saga's: a product that is for sale.
    #[must_use]
    pub fn may_wait<P: Participant>(mut self, why: &'static str) -> Self {
        self.may_wait.push(Reasoned { name: P::NAME, why });
        self
    }

    /// Checks everything that [`Check`] names, over what is declared and what was observed.
    ///
    /// The rule of [`Check::NoWayBack`]. A *deed* is an effect that acts, or an event that tells of something done;
    /// not a refusal, nor what a step puts out that undoes. *After* a deed is what its takers do, and what comes of
    /// that, until something is undone; of an effect's answer only what comes of a yes. Four things can go wrong after
    /// a deed: another effect acts, and may be refused; a refusal is said; something is undone; or something may be
    /// undone at any time, by a command or a timer, on whose account the deed was done. Whichever it is, what follows
    /// has to reach a step that undoes the deed: for an effect, one that names it in `undoes`; for an event, also one
    /// of its participant that undoes something and was seen to do so after the event.
    ///
    /// # Errors
    /// [`Unsound`], with every finding.
    pub fn check(&self, observed: &Observed) -> Result<(), Unsound> {
        let mut findings = checks::all(self, observed);
        findings.sort();
        findings.dedup();
        match findings.is_empty() {
            true => Ok(()),
            false => Err(Unsound { findings }),
        }
    }

    /// A picture, as a Mermaid flowchart: who tells whom what, with each participant's timers and effects. What was
    /// observed tells where a timer is set.
    pub fn mermaid(&self, observed: &Observed) -> String {
        mermaid::draw(&self.graph(observed))
    }

    /// A table for each participant, as Markdown: what it does on which input.
    pub fn tables(&self, observed: &Observed) -> String {
        tables::write(&self.graph(observed))
    }

    /// The same as data, which other tools read as JSON ([`Graph::json`]).
    pub fn graph(&self, observed: &Observed) -> Graph {
        graph::of(self, observed)
    }

    /// An AsyncAPI 3 document: topics as channels, events as messages, what each participant sends and receives as
    /// operations.
    pub fn asyncapi(&self, about: &About<'_>) -> serde_json::Value {
        asyncapi::document(self, about)
    }
}
