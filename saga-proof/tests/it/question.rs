use std::time::Duration;

use saga_core::{
    At, Decision, Effect, Event, Fault, Inputs, Nothing, Outcome, Outputs, Participant, RetryPolicy, Step,
    Timer, View, steps,
};
use serde::{Deserialize, Serialize};

/// Made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    None,
    /// The answerer does not remember what it has answered.
    NoBarrier,
    /// The asker parks a deadline that fires late.
    LateIsImpossible,
    /// The asker sets no deadline, and the answerer keeps what it was told for itself.
    NoDeadline,
    /// The deadline sets itself again, and the answerer gives up in silence.
    DeadlineForEver,
    /// How often the deadline fired is a part of the state.
    Counts,
    /// The answerer calls two.
    CallsTwice,
    /// It answers another question.
    WrongKey,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "question-events", name = "question.asked", key = id)]
pub(crate) struct Asked {
    id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "answer-events", name = "question.answered", key = id)]
pub(crate) struct Answered {
    id: String,
}

/// Somebody who knows is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Call {
    id: String,
}

impl Effect for Call {
    const KIND: &'static str = "call";
    const POLICY: RetryPolicy = RetryPolicy::INTERACTIVE;
    type Answer = ();
}

/// The telephone. Who is called again says the same again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Line {
    called: bool,
}

impl Line {
    pub(crate) fn may_answer(&self, _: &Call) -> Vec<(Self, ())> {
        vec![(Self { called: true }, ())]
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) mistake: Mistake,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Question {
    #[default]
    Absent,
    Open {
        fired: u32,
    },
    Over,
}

#[derive(Clone, Debug, Inputs)]
pub(crate) enum AskerIn {
    #[command]
    Ask(String),
    #[command]
    GiveUp(String),
    #[event]
    Answered(Answered),
    #[timer]
    Deadline,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
pub(crate) enum AskerOut {
    #[event]
    Asked(Asked),
    #[timer]
    Deadline(Timer),
}

pub(crate) fn ask(id: &str) -> AskerIn {
    AskerIn::Ask(id.to_owned())
}

pub(crate) fn give_up(id: String) -> AskerIn {
    AskerIn::GiveUp(id)
}

const SOON: Timer = Timer::In(Duration::from_secs(1));

impl Participant for Asker {
    const NAME: &'static str = "asker";
    const STEPS: &'static [Step] = steps! { AskerIn, AskerOut;
        Ask      => [Asked, Deadline];
        GiveUp   => [Deadline];
        Answered => [Deadline];
        Deadline => [Deadline];
    };
    type Key = String;
    type State = Question;
    type SharedKey = Nothing;
    type Shared = ();
    type Input = AskerIn;
    type Output = AskerOut;
    type Reply = ();
    type Refusal = &'static str;

    fn key(&self, input: &AskerIn) -> Option<String> {
        match input {
            AskerIn::Ask(id) | AskerIn::GiveUp(id) => Some(id.clone()),
            AskerIn::Answered(event) => Some(event.id.clone()),
            AskerIn::Deadline => None,
        }
    }

    fn decide(
        &self,
        question: Question,
        _: &mut View<'_, Nothing, ()>,
        at: At<AskerIn>,
    ) -> Result<Decision<Self>, Fault> {
        Ok(match (question, at.input) {
            (Question::Absent, AskerIn::Ask(id)) => {
                let asked = AskerOut::Asked(Asked { id });
                let decision = Decision::to(Question::Open { fired: 0 }).emit(asked).reply(());
                match self.mistake {
                    Mistake::NoDeadline => decision,
                    _ => decision.emit(AskerOut::Deadline(SOON)),
                }
            }
            (Question::Open { .. }, AskerIn::Answered(_)) => over(),
            (Question::Open { .. }, AskerIn::GiveUp(_)) if self.mistake != Mistake::DeadlineForEver => {
                over().reply(())
            }
            (Question::Open { fired }, AskerIn::Deadline) => match self.mistake {
                Mistake::DeadlineForEver => {
                    Decision::to(Question::Open { fired: 9 }).emit(AskerOut::Deadline(SOON))
                }
                Mistake::Counts => {
                    Decision::to(Question::Open { fired: fired + 1 }).emit(AskerOut::Deadline(SOON))
                }
                _ => Decision::to(Question::Over),
            },
            (Question::Over, AskerIn::Deadline) if self.mistake == Mistake::LateIsImpossible => {
                return Err(Fault::impossible("it is too late for that"));
            }
            (question, AskerIn::Ask(_) | AskerIn::GiveUp(_)) => Decision::refuse(question, "not now"),
            (question, AskerIn::Answered(_) | AskerIn::Deadline) => Decision::ignore(question),
        })
    }

    fn is_ended(&self, question: &Question) -> bool {
        *question == Question::Over
    }
}

fn over() -> Decision<Asker> {
    Decision::to(Question::Over).emit(AskerOut::Deadline(Timer::Cancel))
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Answerer {
    pub(crate) mistake: Mistake,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    #[default]
    Absent,
    Calling(String),
    Given,
}

#[derive(Clone, Debug, Inputs)]
pub(crate) enum AnswererIn {
    #[event]
    Asked(Asked),
    #[result]
    Called(Outcome<Call>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
pub(crate) enum AnswererOut {
    #[event]
    Answered(Answered),
    #[effect]
    Call(Call),
}

impl Participant for Answerer {
    const NAME: &'static str = "answerer";
    const STEPS: &'static [Step] = steps! { AnswererIn, AnswererOut;
        Asked  => [Call];
        Called => [Answered];
    };
    type Key = String;
    type State = Answer;
    type SharedKey = Nothing;
    type Shared = ();
    type Input = AnswererIn;
    type Output = AnswererOut;
    type Reply = ();
    type Refusal = &'static str;

    fn key(&self, input: &AnswererIn) -> Option<String> {
        match input {
            AnswererIn::Asked(event) => Some(event.id.clone()),
            AnswererIn::Called(_) => None,
        }
    }

    fn decide(
        &self,
        answer: Answer,
        _: &mut View<'_, Nothing, ()>,
        at: At<AnswererIn>,
    ) -> Result<Decision<Self>, Fault> {
        let call = |id: String| AnswererOut::Call(Call { id });
        Ok(match (answer, at.input) {
            (Answer::Absent, AnswererIn::Asked(Asked { id })) => {
                let decision = Decision::to(Answer::Calling(id.clone())).emit(call(id.clone()));
                match self.mistake {
                    Mistake::CallsTwice => decision.emit(call(id)),
                    _ => decision,
                }
            }
            (Answer::Given, AnswererIn::Asked(Asked { id })) if self.mistake == Mistake::NoBarrier => {
                Decision::to(Answer::Calling(id.clone())).emit(call(id))
            }
            (Answer::Calling(_), AnswererIn::Called(Outcome::Answered(())))
                if self.mistake == Mistake::NoDeadline =>
            {
                Decision::to(Answer::Given)
            }
            (Answer::Calling(id), AnswererIn::Called(Outcome::Answered(()))) => {
                let id = match self.mistake {
                    Mistake::WrongKey => "another".to_owned(),
                    _ => id,
                };
                Decision::to(Answer::Given).emit(AnswererOut::Answered(Answered { id }))
            }
            (Answer::Calling(_), AnswererIn::Called(Outcome::Exhausted { .. }))
                if self.mistake == Mistake::DeadlineForEver =>
            {
                Decision::to(Answer::Given)
            }
            (answer, AnswererIn::Called(_) | AnswererIn::Asked(_)) => Decision::ignore(answer),
        })
    }

    fn is_ended(&self, answer: &Answer) -> bool {
        *answer == Answer::Given
    }
}
