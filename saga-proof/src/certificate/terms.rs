use std::time::Duration;

use anyhow::Result;
use quadrille_process::fault::Point;
use uuid::Uuid;

use super::certified::{Certified, Setting, Words};
use super::path::{Path, Saga};

/// What is known before anything is started.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) words: Words,
    pub(crate) paths: Vec<Path>,
    /// Points that no saga passes on any path, and why not.
    pub(crate) never: Vec<(&'static [Point], &'static str)>,
    /// How long a call stays claimed by who crashed.
    pub(crate) claim: Duration,
}

impl Terms {
    pub(crate) fn of<C: Certified>() -> Self {
        Self {
            words: C::WORDS,
            paths: C::paths(),
            never: C::NEVER.to_vec(),
            claim: C::CLAIM,
        }
    }
}

/// What is at work: somebody's own [`Certified`], or what a [`Script`](super::Script) has started.
pub(crate) trait Plays {
    fn setting(&self) -> Setting<'_>;
    fn key(&self, path: &'static str, token: Uuid) -> String;
    async fn walk(&self, saga: &Saga) -> Result<()>;
    async fn balance(&self, saga: &Saga) -> Result<Vec<String>>;
    async fn audit(&self) -> Result<Vec<String>>;
}

impl<C: Certified> Plays for C {
    fn setting(&self) -> Setting<'_> {
        Certified::setting(self)
    }

    fn key(&self, path: &'static str, token: Uuid) -> String {
        Certified::key(self, path, token)
    }

    async fn walk(&self, saga: &Saga) -> Result<()> {
        Certified::walk(self, saga).await
    }

    async fn balance(&self, saga: &Saga) -> Result<Vec<String>> {
        Certified::balance(self, saga).await
    }

    async fn audit(&self) -> Result<Vec<String>> {
        Certified::audit(self).await
    }
}
