use std::collections::BTreeSet;
use std::time::Duration;

use saga_core::{
    At, Decision, Effect, Event, Fault, Inputs, Outcome, Outputs, Participant, RetryPolicy, Step, Timer,
    View, steps,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "loan-events", name = "loan.requested", key = loan)]
pub(crate) struct Requested {
    pub(crate) loan: String,
    pub(crate) title: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "desk-events", name = "book.lent", version = 2, key = loan, upcast(1 => lent_v1))]
pub(crate) struct Lent {
    pub(crate) loan: String,
    pub(crate) copies: u32,
}

#[derive(Deserialize)]
pub(crate) struct LentV1 {
    loan: String,
}

fn lent_v1(old: LentV1) -> Lent {
    Lent {
        loan: old.loan,
        copies: 1,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Remind {
    pub(crate) loan: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Reminded {
    Delivered,
    NoSuchAddress,
}

impl Effect for Remind {
    const KIND: &'static str = "remind";
    const POLICY: RetryPolicy = RetryPolicy::PERSISTENT;
    type Answer = Reminded;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Return {
    pub(crate) loan: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Inputs)]
pub(crate) enum In {
    #[event]
    Requested(Requested),
    #[command]
    BringBack(Return),
    #[timer]
    LoanIsOver,
    #[result]
    Reminded(Outcome<Remind>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
pub(crate) enum Out {
    #[event]
    Lent(Lent),
    #[effect]
    Remind(Remind),
    #[timer]
    LoanIsOver(Timer),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Loan {
    #[default]
    Unknown,
    Out {
        loan: String,
        title: String,
    },
    Over,
}

#[derive(Debug)]
pub(crate) struct Desk;

impl Participant for Desk {
    const NAME: &'static str = "desk";
    const STEPS: &'static [Step] = steps! { In, Out;
        Requested => [Lent, LoanIsOver];
        BringBack => [LoanIsOver] undoes [Lent];
        LoanIsOver => [Remind];
        Reminded => [];
    };
    type Key = String;
    type State = Loan;
    type SharedKey = String;
    type Shared = u32;
    type Input = In;
    type Output = Out;
    type Reply = u32;
    type Refusal = &'static str;

    fn key(&self, input: &In) -> Option<String> {
        match input {
            In::Requested(event) => Some(event.loan.clone()),
            In::BringBack(command) => Some(command.loan.clone()),
            In::LoanIsOver | In::Reminded(_) => None,
        }
    }

    fn touches(&self, state: &Loan, input: &In) -> BTreeSet<String> {
        match (state, input) {
            (Loan::Unknown, In::Requested(event)) => [event.title.clone()].into(),
            (Loan::Out { title, .. }, In::BringBack(_)) => [title.clone()].into(),
            _ => BTreeSet::new(),
        }
    }

    fn decide(
        &self,
        state: Loan,
        shelf: &mut View<'_, String, u32>,
        at: At<In>,
    ) -> Result<Decision<Self>, Fault> {
        Ok(match (state, at.input) {
            (Loan::Unknown, In::Requested(Requested { loan, title })) => {
                let copies = shelf.get(&title)?.copied().unwrap_or(0);
                let left = copies
                    .checked_sub(1)
                    .ok_or_else(|| Fault::impossible("no copy is left"))?;
                shelf.put(title.clone(), left)?;
                Decision::to(Loan::Out {
                    loan: loan.clone(),
                    title,
                })
                .emit(Out::Lent(Lent { loan, copies: 1 }))
                .emit(Out::LoanIsOver(Timer::In(Duration::from_secs(60))))
            }
            (Loan::Out { title, .. }, In::BringBack(_)) => {
                let copies = shelf.get(&title)?.copied().unwrap_or(0) + 1;
                shelf.put(title, copies)?;
                Decision::to(Loan::Over)
                    .emit(Out::LoanIsOver(Timer::Cancel))
                    .reply(copies)
            }
            (Loan::Out { loan, title }, In::LoanIsOver) => Decision::to(Loan::Out {
                loan: loan.clone(),
                title,
            })
            .emit(Out::Remind(Remind { loan })),
            (state @ (Loan::Unknown | Loan::Over), In::BringBack(_)) => {
                Decision::refuse(state, "no such loan")
            }
            (state, In::Reminded(_)) => Decision::ignore(state),
            (state @ (Loan::Out { .. } | Loan::Over), In::Requested(_)) => Decision::ignore(state),
            (state @ (Loan::Unknown | Loan::Over), In::LoanIsOver) => Decision::ignore(state),
        })
    }

    fn is_ended(&self, state: &Loan) -> bool {
        matches!(state, Loan::Over)
    }
}
