use std::time::Duration;

use saga_core::{Event, Inputs, Outputs, Step, Timer, steps};
use serde::{Deserialize, Serialize};

use crate::play::Play;

pub(super) const SOUND: u8 = 0;
/// The desk sets no deadline.
pub(super) const NO_DEADLINE: u8 = 1;
/// The desk gives up and tells nobody.
pub(super) const SILENT: u8 = 2;
/// The shelf puts a copy back, and does not say that this undoes.
pub(super) const NOT_UNDOING: u8 = 3;
/// The shelf says that it is short, and does not declare it.
pub(super) const UNDECLARED: u8 = 4;
/// The desk declares that it withdraws when a copy is held, and does not.
pub(super) const BOASTING: u8 = 5;
/// The desk names its deadline as what a shortage undoes.
pub(super) const UNDOES_NOTHING: u8 = 6;
/// The desk cancels its deadline where it should set it.
pub(super) const CANCELS_ONLY: u8 = 8;
/// The desk's withdrawal goes out under another key.
pub(super) const ASTRAY: u8 = 7;

macro_rules! event {
    ($name:ident, $topic:literal, $wire:literal $(, $refusal:ident)?) => {
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
        #[event(topic = $topic, name = $wire, key = loan $(, $refusal)?)]
        pub(super) struct $name {
            pub(super) loan: String,
        }

        impl $name {
            pub(super) fn it() -> Self {
                Self { loan: "l-1".into() }
            }
        }
    };
}
pub(super) use event;

event!(Withdrawn, "desk-events", "loan.withdrawn");
event!(Lent, "desk-events", "loan.lent");
event!(Held, "shelf-events", "copy.held");
event!(Short, "shelf-events", "copy.short", refusal);
event!(Back, "shelf-events", "copy.back");

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "desk-events", name = "loan.requested", key = loan)]
pub(super) struct Requested {
    pub(super) loan: String,
    pub(super) is_there: bool,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lend;

#[derive(Clone, Debug, PartialEq, Eq, Inputs)]
pub(super) enum DeskIn {
    #[command]
    Lend(Lend),
    #[event]
    Held(Held),
    #[event]
    Short(Short),
    #[timer]
    Deadline,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
pub(super) enum DeskOut {
    #[event]
    Requested(Requested),
    #[event]
    Withdrawn(Withdrawn),
    #[event]
    Lent(Lent),
    #[timer]
    Deadline(Timer),
}

/// 1: asked for; 2: lent; 3: not.
#[derive(Debug)]
pub(super) struct Desk<const FLAW: u8>;

impl<const FLAW: u8> Play for Desk<FLAW> {
    const NAME: &'static str = "desk";
    const STEPS: &'static [Step] = match FLAW {
        NO_DEADLINE => steps! { DeskIn, DeskOut;
            Lend     => [Requested];
            Held     => [Lent];
            Short    => [] undoes [Requested];
            Deadline => [Withdrawn] undoes [Requested];
        },
        SILENT => steps! { DeskIn, DeskOut;
            Lend     => [Requested, Deadline];
            Held     => [Lent, Deadline];
            Short    => [Deadline] undoes [Requested];
            Deadline => [] undoes [Requested];
        },
        BOASTING => steps! { DeskIn, DeskOut;
            Lend     => [Requested, Deadline];
            Held     => [Lent, Deadline, Withdrawn];
            Short    => [Deadline] undoes [Requested];
            Deadline => [Withdrawn] undoes [Requested];
        },
        UNDOES_NOTHING => steps! { DeskIn, DeskOut;
            Lend     => [Requested, Deadline];
            Held     => [Lent, Deadline];
            Short    => [Deadline] undoes [Requested, Withdrawn];
            Deadline => [Withdrawn] undoes [Requested];
        },
        _ => steps! { DeskIn, DeskOut;
            Lend     => [Requested, Deadline];
            Held     => [Lent, Deadline];
            Short    => [Deadline] undoes [Requested];
            Deadline => [Withdrawn] undoes [Requested];
        },
    };
    type In = DeskIn;
    type Out = DeskOut;

    fn play(at: u8, input: &DeskIn) -> Option<(u8, Vec<DeskOut>)> {
        let requested = DeskOut::Requested(Requested {
            loan: "l-1".into(),
            is_there: true,
        });
        let loan = if FLAW == ASTRAY { "l-2" } else { "l-1" }.to_owned();
        let withdrawn = DeskOut::Withdrawn(Withdrawn { loan });
        let (set, cancel) = match FLAW {
            NO_DEADLINE => (None, None),
            CANCELS_ONLY => (Some(DeskOut::Deadline(Timer::Cancel)), None),
            _ => (
                Some(DeskOut::Deadline(Timer::In(Duration::from_secs(1)))),
                Some(DeskOut::Deadline(Timer::Cancel)),
            ),
        };
        Some(match (at, input) {
            (0, DeskIn::Lend(_)) => (1, [requested].into_iter().chain(set).collect()),
            (1, DeskIn::Held(_)) => {
                let lent = DeskOut::Lent(Lent::it());
                (2, [lent].into_iter().chain(cancel).collect())
            }
            (1, DeskIn::Short(_)) => (3, cancel.into_iter().collect()),
            (1, DeskIn::Deadline) if FLAW == SILENT => (3, vec![]),
            (1, DeskIn::Deadline) => (3, vec![withdrawn]),
            _ => return None,
        })
    }

    fn ended(at: u8) -> bool {
        at >= 2
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Inputs)]
pub(super) enum ShelfIn {
    #[event]
    Requested(Requested),
    #[event]
    Withdrawn(Withdrawn),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
pub(super) enum ShelfOut {
    #[event]
    Held(Held),
    #[event]
    Short(Short),
    #[event]
    Back(Back),
}

/// 1: a copy is held; 2: there was none; 3: none is held any more, and none will be.
#[derive(Debug)]
pub(super) struct Shelf<const FLAW: u8>;

impl<const FLAW: u8> Play for Shelf<FLAW> {
    const NAME: &'static str = "shelf";
    const STEPS: &'static [Step] = match FLAW {
        NOT_UNDOING => steps! { ShelfIn, ShelfOut;
            Requested => [Held, Short];
            Withdrawn => [Back];
        },
        UNDECLARED => steps! { ShelfIn, ShelfOut;
            Requested => [Held];
            Withdrawn => [Back] undoes [Held];
        },
        _ => steps! { ShelfIn, ShelfOut;
            Requested => [Held, Short];
            Withdrawn => [Back] undoes [Held];
        },
    };
    type In = ShelfIn;
    type Out = ShelfOut;

    fn play(at: u8, input: &ShelfIn) -> Option<(u8, Vec<ShelfOut>)> {
        Some(match (at, input) {
            (0, ShelfIn::Requested(Requested { is_there: true, .. })) => {
                (1, vec![ShelfOut::Held(Held::it())])
            }
            (0, ShelfIn::Requested(_)) => (2, vec![ShelfOut::Short(Short::it())]),
            (1, ShelfIn::Withdrawn(_)) => (3, vec![ShelfOut::Back(Back::it())]),
            (0, ShelfIn::Withdrawn(_)) => (3, vec![]),
            _ => return None,
        })
    }

    fn ended(at: u8) -> bool {
        at >= 2
    }
}

pub(super) fn desk_inputs() -> Vec<DeskIn> {
    vec![
        DeskIn::Lend(Lend),
        DeskIn::Held(Held::it()),
        DeskIn::Short(Short::it()),
        DeskIn::Deadline,
    ]
}

pub(super) fn shelf_inputs() -> Vec<ShelfIn> {
    let requested = |is_there| {
        ShelfIn::Requested(Requested {
            loan: "l-1".into(),
            is_there,
        })
    };
    vec![
        requested(true),
        requested(false),
        ShelfIn::Withdrawn(Withdrawn::it()),
    ]
}
