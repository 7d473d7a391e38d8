//! What has to hold, or has to be possible.

use stateright::{Expectation, Property};

use super::checking::Run;
use super::world::{Saga, World};
use super::{Holds, Inner, Outside};

/// A claim about each saga.
pub(crate) struct Claim<O> {
    pub(crate) what: &'static str,
    pub(crate) expectation: Expectation,
    about: About<O>,
}

enum About<O> {
    /// The participants' and the engine's own.
    NoFault,
    /// Whoever is at rest has ended, or is parked.
    Ended,
    Saga(Holds<O>),
}

impl<O> Claim<O> {
    pub(crate) fn always(
        what: &'static str,
        holds: impl Fn(Saga<'_, O>) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            what,
            expectation: Expectation::Always,
            about: About::Saga(Box::new(holds)),
        }
    }

    pub(crate) fn sometimes(
        what: &'static str,
        holds: impl Fn(Saga<'_, O>) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            what,
            expectation: Expectation::Sometimes,
            about: About::Saga(Box::new(holds)),
        }
    }
}

/// What every model claims.
pub(crate) fn of_every_model<O>() -> Vec<Claim<O>> {
    let claim = |what, about| Claim {
        what,
        expectation: Expectation::Always,
        about,
    };
    vec![
        claim("nothing impossible happens", About::NoFault),
        claim("at rest, every saga has ended or is parked", About::Ended),
    ]
}

impl<O: Outside> Inner<O> {
    fn holds(&self, number: usize, world: &World<O>) -> bool {
        let claim = &self.claims[number];
        let mut sagas = (0..world.sagas.len()).map(|index| self.view(world, index));
        match &claim.about {
            About::NoFault => world.fault.is_none(),
            // A world with a fault is no world: what is wrong with it has its name already.
            _ if world.fault.is_some() => claim.expectation == Expectation::Always,
            About::Ended => sagas.all(|saga| !saga.is_at_rest() || self.has_ended(saga)),
            About::Saga(holds) => match claim.expectation {
                Expectation::Always | Expectation::Eventually => sagas.all(holds),
                Expectation::Sometimes => sagas.any(holds),
            },
        }
    }

    /// Whether a saga that is at rest may stay so. Who never heard of it has nothing to end.
    pub(crate) fn has_ended(&self, saga: Saga<'_, O>) -> bool {
        let seats = saga.world.sagas[saga.index].seats.iter().zip(&self.parts);
        let mut ended =
            seats.map(|(seat, part)| seat.state == part.untouched() || part.is_ended(&seat.state));
        saga.is_parked() || ended.all(|ended| ended) && self.ends.iter().all(|holds| holds(saga))
    }

    /// All sagas have.
    pub(crate) fn is_over(&self, world: &World<O>) -> bool {
        let mut sagas = (0..world.sagas.len()).map(|index| self.view(world, index));
        world.fault.is_none() && sagas.all(|saga| saga.is_at_rest() && self.has_ended(saga))
    }
}

/// As `stateright` wants them: it takes functions and no closures, so each claim has a function of its number.
pub(crate) fn properties<O: Outside>(claims: &[Claim<O>]) -> Vec<Property<Run<O>>> {
    let conditions = conditions::<O>();
    assert!(
        claims.len() <= conditions.len(),
        "a model has {} claims at most, its own two included",
        conditions.len()
    );
    let each = claims.iter().zip(conditions);
    each.map(|(claim, condition)| Property {
        expectation: claim.expectation.clone(),
        name: claim.what,
        condition,
    })
    .collect()
}

type Condition<O> = fn(&Run<O>, &World<O>) -> bool;

macro_rules! numbered {
    ($($number:literal)*) => {
        [$( |run: &Run<O>, world: &World<O>| run.inner.holds($number, world) ),*]
    };
}

#[rustfmt::skip]
fn conditions<O: Outside>() -> [Condition<O>; 48] {
    numbered!(
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23
        24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47
    )
}
