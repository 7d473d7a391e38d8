//! A participant whose types the model does not know.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;

use saga_core::choreography::Recorder;
use saga_core::testkit::noon;
use saga_core::{At, Emission, InputKind, Inputs, Outputs, Participant, RawOutcome, Rows};
use uuid::Uuid;

use super::erased::Erased;
use super::log::Record;

/// What comes to a participant. Everything crosses as it does in production: events and answers through their codecs,
/// timers by their wire names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Comes<'a> {
    Event(&'a Record),
    Timer(&'a str),
    Outcome {
        kind: &'a str,
        raw: &'a RawOutcome,
    },
    /// A command, as the participant's own input.
    Command(&'a (dyn Any + Send + Sync)),
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) state: Erased,
    pub(crate) shared: Erased,
    pub(crate) puts: Vec<Emission>,
    /// A command was refused: nothing has changed.
    pub(crate) refused: bool,
}

pub(crate) trait Part: Debug + Send + Sync {
    fn name(&self) -> &'static str;
    /// The topics that it hears or speaks on.
    fn topics(&self) -> Vec<&'static str>;
    /// A saga of which nothing was heard.
    fn untouched(&self) -> Erased;
    /// No shared rows.
    fn no_rows(&self) -> Erased;
    fn hears(&self, record: &Record) -> bool;
    fn is_ended(&self, state: &Erased) -> bool;
    /// # Errors
    /// A fault: the key would be parked, or the engine would refuse the decision.
    fn decide(
        &self,
        state: &Erased,
        shared: &Erased,
        comes: Comes<'_>,
        recorder: &Recorder,
    ) -> Result<Decided, String>;
}

/// The shared rows of one participant.
pub(crate) type SharedRows<P> = BTreeMap<<P as Participant>::SharedKey, <P as Participant>::Shared>;

impl<P: Participant> Part for P {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn topics(&self) -> Vec<&'static str> {
        let mut topics = saga_core::input::topics::<P::Input>();
        topics.extend(P::Output::SPEC.iter().filter_map(|spec| match spec.kind {
            saga_core::OutputKind::Event { topic, .. } => Some(topic),
            saga_core::OutputKind::Effect { .. } | saga_core::OutputKind::Timer => None,
        }));
        topics
    }

    fn untouched(&self) -> Erased {
        Erased::new(P::State::default())
    }

    fn no_rows(&self) -> Erased {
        Erased::new(SharedRows::<P>::new())
    }

    fn hears(&self, record: &Record) -> bool {
        let mut inputs = P::Input::SPEC.iter();
        inputs.any(|spec| {
            matches!(spec.kind, InputKind::Event { topic, .. } if topic == record.topic)
                && spec.name == record.name
        })
    }

    fn is_ended(&self, state: &Erased) -> bool {
        Participant::is_ended(self, state.get())
    }

    fn decide(
        &self,
        state: &Erased,
        shared: &Erased,
        comes: Comes<'_>,
        recorder: &Recorder,
    ) -> Result<Decided, String> {
        let before: &P::State = state.get();
        let there: &SharedRows<P> = shared.get();
        let input = read::<P>(comes)?;
        let on = input.spec().name;
        let find = |key: P::SharedKey| {
            let row = there.get(&key).cloned();
            (key, row)
        };
        let touched = self.touches(before, &input).into_iter().map(find);
        let read = self.reads(before, &input).into_iter().map(find);
        let mut rows = Rows::new(touched).reading(read);
        let mut view = rows.view();
        let at = At {
            input: input.clone(),
            id: Uuid::nil(),
            now: noon(),
        };
        let decision = Participant::decide(self, before.clone(), &mut view, at)
            .map_err(|fault| format!("{} on {on}: {fault}", P::NAME))?;
        view.keep();
        let changed = rows.changed();
        if let Some(Err(_)) = decision.reply {
            if decision.state != *before || !decision.outputs.is_empty() || !changed.is_empty() {
                return Err(format!("{} refused {on} and changed something", P::NAME));
            }
            return Ok(Decided {
                state: state.clone(),
                shared: shared.clone(),
                puts: Vec::new(),
                refused: true,
            });
        }
        recorder.note(self, before, &input, &decision);
        let puts: Result<Vec<_>, _> = decision.outputs.iter().map(Outputs::emission).collect();
        let shared = match changed.is_empty() {
            true => shared.clone(),
            false => {
                let mut rows = there.clone();
                rows.extend(changed);
                Erased::new(rows)
            }
        };
        Ok(Decided {
            state: Erased::new(decision.state),
            shared,
            puts: puts.map_err(|error| format!("{} on {on}: an output is no JSON: {error}", P::NAME))?,
            refused: false,
        })
    }
}

fn read<P: Participant>(comes: Comes<'_>) -> Result<P::Input, String> {
    let unread = |error: saga_core::DecodeError| format!("{}: {error}", P::NAME);
    let (input, what) = match comes {
        Comes::Event(record) => {
            let input = P::Input::from_event(record.name, record.version, &record.data);
            (input.map_err(unread)?, record.name)
        }
        Comes::Timer(name) => (P::Input::from_timer(name), name),
        Comes::Outcome { kind, raw } => (P::Input::from_result(kind, raw).map_err(unread)?, kind),
        Comes::Command(input) => (input.downcast_ref::<P::Input>().cloned(), "a command"),
    };
    input.ok_or_else(|| format!("{} has no input for {what}", P::NAME))
}
