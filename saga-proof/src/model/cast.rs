//! Several participants at once, as a tuple.

use saga_core::Participant;

use super::{Model, Outside};

/// Participants of a choreography, in a tuple: `(Desk::default(), Hotels, Flights)`.
pub trait Participants {
    /// Takes all of them in.
    fn join<O: Outside>(self, model: Model<O>) -> Model<O>;
}

macro_rules! tuples {
    ($($first:ident $($rest:ident)*)?) => {
        $(
            impl<$first: Participant, $($rest: Participant),*> Participants for ($first, $($rest,)*) {
                fn join<O: Outside>(self, model: Model<O>) -> Model<O> {
                    #[allow(non_snake_case)]
                    let ($first, $($rest,)*) = self;
                    model.participant($first)$(.participant($rest))*
                }
            }
            tuples!($($rest)*);
        )?
    };
}

tuples!(A B C D E F G H I J K L);
