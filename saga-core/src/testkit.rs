//! Table tests: given a state, when an input comes, then these outputs and that state.
//!
//! ```ignore
//! given(&inventory()).shared([(p1, shelf(3))])
//!     .when(In::Created(order_of(2)))
//!     .emits(&[Out::Reserved(..)])
//!     .leaves(&Hold::Held { .. })
//!     .shared_is(&p1, &shelf(1));
//! ```

use chrono::{DateTime, TimeZone, Utc};
use uuid::Uuid;

use crate::input::At;
use crate::participant::{Decision, Fault, Participant};
use crate::view::Rows;

/// Begins a test of `participant` with a saga of which nothing was heard, and no shared rows.
pub fn given<P: Participant>(participant: &P) -> Given<'_, P> {
    Given {
        participant,
        state: P::State::default(),
        shared: Vec::new(),
    }
}

/// The instant that all tests of this kit happen at.
pub fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 1, 12, 0, 0)
        .single()
        .expect("a valid instant")
}

/// What was so before.
#[derive(Debug)]
pub struct Given<'p, P: Participant> {
    participant: &'p P,
    state: P::State,
    shared: Vec<(P::SharedKey, Option<P::Shared>)>,
}

/// What came of it.
#[derive(Debug)]
pub struct Then<'p, P: Participant> {
    participant: &'p P,
    rows: Rows<P::SharedKey, P::Shared>,
    result: Result<Decision<P>, Fault>,
}

impl<'p, P: Participant> Given<'p, P> {
    /// The saga is in this state.
    #[must_use]
    pub fn state(mut self, state: P::State) -> Self {
        self.state = state;
        self
    }

    /// These shared rows are there.
    #[must_use]
    pub fn shared(mut self, rows: impl IntoIterator<Item = (P::SharedKey, P::Shared)>) -> Self {
        self.shared
            .extend(rows.into_iter().map(|(key, row)| (key, Some(row))));
        self
    }

    /// An input comes. Only rows that `touches` and `reads` name are loaded, as in production.
    #[must_use]
    pub fn when(self, input: P::Input) -> Then<'p, P> {
        self.when_as(Uuid::from_u128(1), input)
    }

    /// An input with a certain id comes.
    #[must_use]
    pub fn when_as(self, id: Uuid, input: P::Input) -> Then<'p, P> {
        let touched = self.participant.touches(&self.state, &input);
        let read = self.participant.reads(&self.state, &input);
        let there = self.shared;
        let find = |key| {
            let row = there
                .iter()
                .find(|(k, _)| *k == key)
                .and_then(|(_, row)| row.clone());
            (key, row)
        };
        let mut rows = Rows::new(touched.into_iter().map(find)).reading(read.into_iter().map(find));
        let mut view = rows.view();
        let result = self.participant.decide(
            self.state,
            &mut view,
            At {
                input,
                id,
                now: noon(),
            },
        );
        if result.is_ok() {
            view.keep();
        }
        Then {
            participant: self.participant,
            rows,
            result,
        }
    }
}

impl<'p, P: Participant> Then<'p, P>
where
    P::Output: PartialEq,
{
    /// Exactly these outputs, in this order.
    #[track_caller]
    #[must_use]
    pub fn emits(self, outputs: &[P::Output]) -> Self {
        assert_eq!(self.decision().outputs, outputs);
        self
    }

    /// The saga is in this state now.
    #[track_caller]
    pub fn leaves(self, state: &P::State) -> Self {
        assert_eq!(&self.decision().state, state);
        self
    }

    /// A shared row is this now.
    #[track_caller]
    pub fn shared_is(self, key: &P::SharedKey, row: &P::Shared) -> Self {
        assert_eq!(self.rows.get(key), Some(row));
        self
    }

    /// The key would be parked.
    #[track_caller]
    pub fn parks(&self) -> &str {
        match &self.result {
            Err(Fault::Impossible(why)) => why,
            other => panic!("expected a fault that parks the key, got {other:?}"),
        }
    }

    /// The decision, for what the other methods do not ask.
    #[track_caller]
    pub fn decision(&self) -> &Decision<P> {
        self.result.as_ref().expect("a decision")
    }

    /// Goes on from here: the state that was left, and the shared rows.
    #[track_caller]
    #[must_use]
    pub fn and(self, shared: impl IntoIterator<Item = P::SharedKey>) -> Given<'p, P> {
        let shared = shared
            .into_iter()
            .map(|key| (key.clone(), self.rows.get(&key).cloned()))
            .collect();
        let state = self.result.expect("a decision").state;
        Given {
            participant: self.participant,
            state,
            shared,
        }
    }
}
