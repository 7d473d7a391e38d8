//! Every interleaving of a choreography's decisions under faults.
//!
//! Not a model of the code: the code. `decide` of production runs for all participants; what is modelled is what
//! surrounds it: topics with a cursor for each participant, effects and timers as rows, and the world outside, of which a
//! user says what may come of each call. The checker (`stateright`) takes every order of what may happen, as often as
//! [`Faults`] allow.
//!
//! ```ignore
//! let checked = Model::new("trip", Airline::default())
//!     .participants((Desk::default(), Flights))
//!     .effect(|airline: &Airline, call: &BuyTicket| airline.may_answer(call))
//!     .saga::<Desk>(TripId(1), In::Book(plan()))
//!     .command::<Desk>("the traveller cancels", |trip| Some(In::Cancel(trip.key())))
//!     .always("no ticket for a cancelled trip", |trip| !cancelled(trip) || !trip.outside().has_ticket())
//!     .comes_to("confirmed", |trip| matches!(trip.of::<Desk>(), Trip::Confirmed { .. }))
//!     .check()?;
//! choreography.check(&checked.observed)?;
//! ```
//!
//! What is checked beside one's own claims: nothing that a participant calls impossible ever comes to it; no effect is put
//! out while another is outstanding; at rest every participant says that the saga has ended, or it is parked where
//! somebody sees it; and from everything that can happen a way leads there.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use saga_core::choreography::Recorder;
use saga_core::{Effect, Inputs as _, Participant};
use uuid::Uuid;

pub use cast::Participants;
pub use checking::{Checked, Violation};
pub use erased::digest;
pub use way::Ways;
pub use world::Saga;

use claim::Claim;
use erased::Erased;
use part::{Comes, Part};
use world::{Given, Life, Seat, World};

/// Several participants at once.
mod cast;
/// Runs it, and says what was found.
mod checking;
/// What has to hold, or has to be possible.
mod claim;
/// Values of types that the model does not know.
mod erased;
/// What may happen next, and what it does.
mod happens;
/// Topics.
mod log;
/// Participants whose types the model does not know.
mod part;
/// A counterexample, for people.
mod story;
/// Whether the end can be reached from everywhere.
mod way;
/// A state of the whole.
mod world;

/// The world outside: what a provider has in its books. `()` if nothing is done there.
pub trait Outside: Clone + Eq + Hash + Debug + Send + Sync + 'static {}
impl<T: Clone + Eq + Hash + Debug + Send + Sync + 'static> Outside for T {}

/// How often each thing may go wrong for one saga. Each more makes the whole several times as large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Faults {
    /// An event is published again under a new position, as after a restore: positions do not recognise it, so the
    /// states have to.
    pub republished: u8,
    /// A record is heard before one in front of it, which was parked and is replayed later.
    pub overtaken: u8,
    /// A call is done, and its answer is lost.
    pub lost: u8,
    /// A call gets no answer as often as its policy allows. It may be under way still, and arrive later.
    pub exhausted: u8,
    /// An operator has an exhausted effect tried again.
    pub replayed: u8,
    /// A timer fires that was cancelled: somebody had taken it up before that.
    pub late_timers: u8,
}

impl Faults {
    /// Everything works; only the order of things is free.
    pub const NONE: Faults = Faults {
        republished: 0,
        overtaken: 0,
        lost: 0,
        exhausted: 0,
        replayed: 0,
        late_timers: 0,
    };

    /// Each thing goes wrong once.
    pub const EACH_ONCE: Faults = Faults {
        republished: 1,
        overtaken: 1,
        lost: 1,
        exhausted: 1,
        replayed: 1,
        late_timers: 1,
    };

    /// Each thing goes wrong once, and calls get no answer twice: one, and the question what became of it.
    pub const USUAL: Faults = Faults {
        exhausted: 2,
        ..Self::EACH_ONCE
    };
}

impl Default for Faults {
    fn default() -> Self {
        Self::USUAL
    }
}

/// A choreography that is about to be checked.
#[derive(Debug)]
pub struct Model<O> {
    inner: Inner<O>,
    outside: O,
    shared: Vec<Erased>,
    first: Vec<First>,
    faults: Faults,
    steps_max: usize,
}

/// A command that comes before everything that is left to chance.
#[derive(Debug)]
struct First {
    part: usize,
    /// The place of its saga, if it has one.
    saga: Option<usize>,
    name: &'static str,
    given: Given,
}

/// What does not change while it is checked.
pub(crate) struct Inner<O> {
    pub(crate) name: &'static str,
    pub(crate) parts: Vec<Arc<dyn Part>>,
    pub(crate) topics: Vec<&'static str>,
    pub(crate) keys: Vec<String>,
    pub(crate) effects: BTreeMap<&'static str, Perform<O>>,
    pub(crate) commands: Vec<Command<O>>,
    pub(crate) acts: Vec<Act<O>>,
    pub(crate) claims: Vec<Claim<O>>,
    /// Beside what the participants say.
    pub(crate) ends: Vec<Holds<O>>,
    pub(crate) recorder: Recorder,
}

/// Something that follows from where a saga is.
pub(crate) type Of<O, T> = Box<dyn Fn(Saga<'_, O>) -> T + Send + Sync>;
pub(crate) type Holds<O> = Of<O, bool>;
type Perform<O> = Box<dyn Fn(&O, &[u8]) -> Vec<(O, serde_json::Value)> + Send + Sync>;

/// A command that somebody may give at any time.
pub(crate) struct Command<O> {
    pub(crate) who: &'static str,
    pub(crate) part: usize,
    pub(crate) give: Of<O, Option<Given>>,
}

/// Something that may happen outside at any time.
pub(crate) struct Act<O> {
    pub(crate) what: &'static str,
    pub(crate) ways: Of<O, Vec<O>>,
}

/// A state that counts without a bound ends here.
const STEPS_MAX: usize = 20_000_000;

impl<O: Outside> Model<O> {
    /// One without participants, in a world that is like this at the beginning.
    pub fn new(name: &'static str, outside: O) -> Self {
        Self {
            inner: Inner {
                name,
                parts: Vec::new(),
                topics: Vec::new(),
                keys: Vec::new(),
                effects: BTreeMap::new(),
                commands: Vec::new(),
                acts: Vec::new(),
                claims: claim::of_every_model(),
                ends: Vec::new(),
                recorder: Recorder::default(),
            },
            outside,
            shared: Vec::new(),
            first: Vec::new(),
            faults: Faults::default(),
            steps_max: STEPS_MAX,
        }
    }

    /// Takes in a participant, as it runs in production.
    #[must_use]
    pub fn participant<P: Participant>(mut self, participant: P) -> Self {
        self.shared.push(Part::no_rows(&participant));
        for topic in Part::topics(&participant) {
            if !self.inner.topics.contains(&topic) {
                self.inner.topics.push(topic);
            }
        }
        self.inner.parts.push(Arc::new(participant));
        self
    }

    /// Takes in several, as a tuple: `(Desk::default(), Hotels)`.
    #[must_use]
    pub fn participants(self, participants: impl Participants) -> Self {
        participants.join(self)
    }

    /// Says what may come of a call: the world outside afterwards, with the answer. Several, if it is not for us to know; the
    /// same again for a call that was made before, if the other side keeps its word about idempotency keys.
    #[must_use]
    pub fn effect<E: Effect>(
        mut self,
        may: impl Fn(&O, &E) -> Vec<(O, E::Answer)> + Send + Sync + 'static,
    ) -> Self {
        let perform = move |outside: &O, data: &[u8]| {
            let call: E = saga_core::effect::decode(data).expect("an effect is read as it was written");
            let ways = may(outside, &call).into_iter();
            ways.map(|(outside, answer)| {
                let answer = serde_json::to_value(answer).expect("answers are JSON");
                (outside, answer)
            })
            .collect()
        };
        self.inner.effects.insert(E::KIND, Box::new(perform));
        self
    }

    /// A command that comes before everything else and belongs to no saga: goods are delivered, a hotel opens.
    #[must_use]
    pub fn before<P: Participant>(self, input: P::Input) -> Self {
        self.begin::<P>(None, input)
    }

    /// One saga more, which begins with this command.
    #[must_use]
    pub fn saga<P: Participant>(mut self, key: P::Key, input: P::Input) -> Self {
        let saga = self.inner.keys.len();
        self.inner.keys.push(key.to_string());
        self.begin::<P>(Some(saga), input)
    }

    /// One saga more for each of these, with the command that it begins with. Their keys are drawn here: UUIDs that are the same in every
    /// run.
    ///
    /// # Panics
    /// If a UUID cannot be read as a key of this participant; say each [`saga`](Self::saga) with its key then.
    #[must_use]
    pub fn sagas<P: Participant, T>(
        self,
        of: impl IntoIterator<Item = T>,
        begins: impl Fn(P::Key, T) -> P::Input,
    ) -> Self {
        let drawn = |n: usize| {
            let key = Uuid::from_u128(n as u128 + 1).to_string();
            let key = key.parse::<P::Key>();
            key.unwrap_or_else(|_| panic!("{} has no UUIDs for keys; say .saga(key, …) for each", P::NAME))
        };
        of.into_iter().fold(self, |model, of| {
            let key = drawn(model.inner.keys.len());
            model.saga::<P>(key.clone(), begins(key, of))
        })
    }

    /// A command that somebody may give at any time, if there is one to give: a traveller who cancels, a provider that
    /// reports. One that is refused changes nothing.
    #[must_use]
    pub fn command<P: Participant>(
        mut self,
        who: &'static str,
        gives: impl Fn(Saga<'_, O>) -> Option<P::Input> + Send + Sync + 'static,
    ) -> Self {
        let give = move |saga: Saga<'_, O>| gives(saga).map(|input| Box::new(input) as Given);
        self.inner.commands.push(Command {
            who,
            part: self.part::<P>(),
            give: Box::new(give),
        });
        self
    }

    /// Something that may happen outside at any time, and how the world is then: somebody pays on a page.
    #[must_use]
    pub fn outside(
        mut self,
        what: &'static str,
        ways: impl Fn(Saga<'_, O>) -> Vec<O> + Send + Sync + 'static,
    ) -> Self {
        let ways = Box::new(ways);
        self.inner.acts.push(Act { what, ways });
        self
    }

    /// How often each thing may go wrong for one saga; [`Faults::USUAL`] unless said otherwise.
    #[must_use]
    pub fn faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// More steps from state to state than this are not taken: the check fails. Twenty million unless said otherwise.
    #[must_use]
    pub fn at_most(self, steps: usize) -> Self {
        Self {
            steps_max: steps,
            ..self
        }
    }

    /// Holds for every saga in every state.
    #[must_use]
    pub fn always(
        self,
        what: &'static str,
        holds: impl Fn(Saga<'_, O>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.claim(Claim::always(what, holds))
    }

    /// Holds for every saga for which nothing is left that must happen.
    #[must_use]
    pub fn at_rest(
        self,
        what: &'static str,
        holds: impl Fn(Saga<'_, O>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.claim(Claim::always(what, move |saga| !saga.is_at_rest() || holds(saga)))
    }

    /// Is so for some saga in some state: what never happens is checked by nothing.
    #[must_use]
    pub fn sometimes(
        self,
        what: &'static str,
        holds: impl Fn(Saga<'_, O>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.claim(Claim::sometimes(what, holds))
    }

    /// Is so for some saga at rest: an end that has to be possible.
    #[must_use]
    pub fn comes_to(
        self,
        what: &'static str,
        holds: impl Fn(Saga<'_, O>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.claim(Claim::sometimes(what, move |saga| {
            saga.is_at_rest() && holds(saga)
        }))
    }

    /// What an end is, beside what every participant says in `is_ended`: that they agree about it.
    #[must_use]
    pub fn ends(mut self, holds: impl Fn(Saga<'_, O>) -> bool + Send + Sync + 'static) -> Self {
        self.inner.ends.push(Box::new(holds));
        self
    }

    fn begin<P: Participant>(mut self, saga: Option<usize>, input: P::Input) -> Self {
        self.first.push(First {
            part: self.part::<P>(),
            saga,
            name: input.spec().name,
            given: Box::new(input),
        });
        self
    }

    fn claim(mut self, claim: Claim<O>) -> Self {
        self.inner.claims.push(claim);
        self
    }

    fn part<P: Participant>(&self) -> usize {
        let mut parts = self.inner.parts.iter();
        let found = parts.position(|part| part.name() == P::NAME);
        found.unwrap_or_else(|| panic!("take {} in with .participant(…) first", P::NAME))
    }

    /// Everything before anything is left to chance.
    ///
    /// # Errors
    /// If a command at the beginning is refused, or is impossible.
    fn beginning(&self) -> Result<World<O>, String> {
        let inner = &self.inner;
        let cursors = vec![log::Cursor::default(); inner.topics.len()];
        let seat = |part: &Arc<dyn Part>| Seat {
            state: part.untouched(),
            effect: None,
            timers: Default::default(),
            cancelled_timers: Default::default(),
            reading: cursors.clone(),
        };
        let life = |_| Life {
            seats: inner.parts.iter().map(seat).collect(),
            logs: vec![Vec::new(); inner.topics.len()],
            under_way: Vec::new(),
            left: self.faults,
        };
        let mut world = World {
            sagas: inner.keys.iter().map(life).collect(),
            shared: self.shared.clone(),
            outside: self.outside.clone(),
            fault: None,
        };
        for First {
            part,
            saga,
            name,
            given,
        } in &self.first
        {
            let comes = Comes::Command(&**given);
            let decided = match saga {
                Some(saga) => inner.decide(&mut world, *saga, *part, comes)?,
                None => {
                    let who = &inner.parts[*part];
                    let decided =
                        who.decide(&who.untouched(), &world.shared[*part], comes, &inner.recorder)?;
                    world.shared[*part] = decided.shared;
                    !decided.refused
                }
            };
            if !decided {
                return Err(format!(
                    "{who} refused {name}, and what is refused tells nobody: there would be no saga to look at. Begin with what {who} \
                     takes, and look at the refusal in a test of that decision alone (saga_core::testkit::given)",
                    who = inner.parts[*part].name()
                ));
            }
        }
        for life in &mut world.sagas {
            life.tidy(&inner.parts);
        }
        Ok(world)
    }
}

impl<O: Debug> Debug for Inner<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("name", &self.name)
            .field("parts", &self.parts)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}
