use super::causes::Causes;
use super::finding::{Check, Finding};
use super::observed::Observed;
use super::{Choreography, Reasoned};

/// Whether what is declared happens, and what happens is declared.
mod happens;
/// Whether keys and partitions fit.
mod keys;
/// Whether loops end.
mod loops;
/// Whether what is said is heard, and what is heard is said.
mod meeting;
/// Whether waits end.
mod waits;
/// Whether what was done can be undone.
mod way_back;

pub(super) fn all(choreography: &Choreography, observed: &Observed) -> Vec<Finding> {
    let causes = Causes::of(&choreography.parts, observed);
    let mut found = Vec::new();
    meeting::check(choreography, &mut found);
    happens::check(choreography, observed, &mut found);
    keys::check(choreography, observed, &mut found);
    loops::check(&causes, observed, &mut found);
    way_back::check(choreography, &causes, observed, &mut found);
    waits::check(choreography, &causes, observed, &mut found);
    found
}

/// A permission that nothing asked for.
fn unused<'n>(
    allowed: &[Reasoned],
    needed: impl Fn(&str) -> bool + 'n,
    what: &str,
    found: &mut Vec<Finding>,
) {
    for permission in allowed.iter().filter(|permission| !needed(permission.name)) {
        found.push(Finding::new(
            Check::Stale,
            permission.name,
            what,
            "remove it from the choreography",
        ));
    }
}
