//! All that is checked before anything runs, in one call: every interleaving, and the choreography that was seen in them.

use std::fmt;
use std::path::Path;

use saga_core::Choreography;
use saga_core::choreography::{Observed, Unsound};

use crate::model::{Model, Outside, Violation};
use crate::page::{self, Outdated};
use crate::record::RecordError;

/// Something that is not proven. Its `Debug` is its `Display`, so that a test which returns it tells the story.
#[derive(thiserror::Error)]
#[error(transparent)]
pub enum Unproven {
    /// A claim of a model does not hold.
    Model(#[from] Violation),
    /// The choreography is not sound, as far as the models have shown it.
    Choreography(#[from] Unsound),
    /// The page is not of today.
    Page(#[from] Outdated),
    /// What was recorded would be decided otherwise, or does not add up.
    Record(#[from] RecordError),
}

impl fmt::Debug for Unproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        fmt::Display::fmt(self, f)
    }
}

/// Checks models of one choreography, then the choreography against what was seen in any of them, and draws it on a page that has to be
/// of today; beside the page, with `json` in place of its extension, stands the same for other tools.
///
/// Several models, since each fault more and each saga more multiplies the states: one saga under every fault, say, and two without any
/// that want the same thing.
///
/// # Errors
/// The first of these that fails: [`Model::check`], [`Choreography::check`], [`page::draw`], [`page::data`].
pub fn prove<O: Outside>(
    page: impl AsRef<Path>,
    choreography: &Choreography,
    models: impl IntoIterator<Item = Model<O>>,
) -> Result<(), Unproven> {
    let mut seen = Observed::default();
    for model in models {
        seen.merge(model.check()?.observed);
    }
    choreography.check(&seen)?;
    let page = page.as_ref();
    page::draw(page, choreography, &seen)?;
    Ok(page::data(page.with_extension("json"), choreography, &seen)?)
}
