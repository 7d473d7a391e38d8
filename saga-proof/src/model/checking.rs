//! Runs a model, and says what was found.

use std::fmt::{self, Display};
use std::time::{Duration, Instant};

use saga_core::choreography::Observed;
use stateright::{Checker, Expectation, HasDiscoveries, Model as _, Path, Property};

use super::erased::digest;
use super::happens::Action;
use super::way::Ways;
use super::world::World;
use super::{Inner, Model, Outside, claim, story};

/// Where the explorer is served.
const EXPLORER: &str = "localhost:3060";

/// Everything that can happen was looked at, and every claim holds.
#[derive(Clone, Debug)]
pub struct Checked {
    /// How many states there are.
    pub states: usize,
    /// How long it took.
    pub taken: Duration,
    /// What the participants were seen to do, for [`Choreography::check`](saga_core::Choreography::check).
    pub observed: Observed,
}

/// A claim that does not hold, with a way on which it does not. Its `Debug` is its `Display`, so that a test which
/// unwraps it tells the story.
#[derive(thiserror::Error)]
pub enum Violation {
    /// It does not even begin.
    #[error("{model} does not begin: {why}")]
    NoBeginning {
        /// Of which model.
        model: &'static str,
        /// What was refused, or is impossible.
        why: String,
    },
    /// Something that has to hold always does not.
    #[error("{model}: not always: {claim}\n{story}")]
    NotAlways {
        /// Of which model.
        model: &'static str,
        /// What does not hold.
        claim: &'static str,
        /// Who heard what, and which states that changed.
        story: String,
    },
    /// Something that has to be possible is not.
    #[error("{model}: never: {claim} ({states} states were looked at)")]
    Never {
        /// Of which model.
        model: &'static str,
        /// What never comes about.
        claim: &'static str,
        /// How many states there are.
        states: usize,
    },
    /// There is a state from which no end can be reached.
    #[error("{model}: from here on it never ends, whatever happens\n{story}")]
    Astray {
        /// Of which model.
        model: &'static str,
        /// How it comes to that.
        story: String,
    },
    /// It has more states than it may have.
    #[error(
        "{model} takes more than {steps} steps; does a participant count without a bound? If not, allow fewer faults, or \
         more steps with at_most"
    )]
    TooManyStates {
        /// Of which model.
        model: &'static str,
        /// As many as were taken.
        steps: usize,
    },
}

/// A model as `stateright` runs it.
pub(crate) struct Run<O> {
    pub(crate) inner: Inner<O>,
    beginning: World<O>,
    ways: Option<Ways>,
}

impl<O: Outside> stateright::Model for Run<O> {
    type State = World<O>;
    type Action = Action;

    fn init_states(&self) -> Vec<World<O>> {
        vec![self.beginning.clone()]
    }

    fn actions(&self, world: &World<O>, actions: &mut Vec<Action>) {
        if world.fault.is_none() {
            for saga in 0..world.sagas.len() {
                self.inner.possible(world, saga, actions);
            }
        }
    }

    fn next_state(&self, last: &World<O>, action: Action) -> Option<World<O>> {
        let mut world = last.clone();
        match self.inner.happen(&mut world, action.saga, &action.happens) {
            Ok(true) => world.sagas[action.saga].tidy(&self.inner.parts),
            Ok(false) => return None,
            Err(fault) => world.fault = Some(fault),
        }
        if world == *last {
            return None;
        }
        if let Some(ways) = &self.ways {
            let to = digest(&world);
            ways.step(digest(last), to);
            if self.inner.is_over(&world) {
                ways.end(to);
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        claim::properties(&self.inner.claims)
    }
}

impl<O: Outside> Model<O> {
    /// Looks at everything that can happen, the shortest ways first, and says on standard output how much that was.
    ///
    /// # Errors
    /// [`Violation`], with its story.
    pub fn check(self) -> Result<Checked, Violation> {
        let (model, steps_max) = (self.inner.name, self.steps_max);
        let run = self.run(true)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let begun = Instant::now();
        let checker = run
            .checker()
            .threads(threads)
            .target_state_count(steps_max)
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        let states = checker.unique_state_count();
        let run = checker.model();
        let found = |wanted| {
            let claims = run.inner.claims.iter();
            let claims = claims.filter(move |claim| claim.expectation == wanted);
            claims.map(|claim| (claim.what, checker.discovery(claim.what)))
        };
        for (claim, path) in found(Expectation::Always) {
            if let Some(path) = path {
                let story = run.tell(path);
                return Err(Violation::NotAlways { model, claim, story });
            }
        }
        if checker.state_count() >= steps_max {
            return Err(Violation::TooManyStates {
                model,
                steps: steps_max,
            });
        }
        if let Some(story) = run.astray() {
            return Err(Violation::Astray { model, story });
        }
        for (claim, path) in found(Expectation::Sometimes) {
            if path.is_none() {
                return Err(Violation::Never { model, claim, states });
            }
        }
        let checked = Checked {
            states,
            taken: begun.elapsed(),
            observed: run.inner.recorder.observed(),
        };
        println!("{model}: {checked}");
        Ok(checked)
    }

    /// Serves stateright's explorer at <http://localhost:3060>, which shows each state and what may happen next; until it
    /// is stopped. A counterexample says where in it it is.
    ///
    /// # Errors
    /// [`Violation::NoBeginning`].
    pub fn explore(self) -> Result<(), Violation> {
        let name = self.inner.name;
        let run = self.run(false)?;
        println!("'{name}' is at http://{EXPLORER}; stop it with Ctrl-C");
        run.checker().serve(EXPLORER);
        Ok(())
    }

    fn run(self, notes_ways: bool) -> Result<Run<O>, Violation> {
        let model = self.inner.name;
        let beginning = self.beginning();
        let beginning = beginning.map_err(|why| Violation::NoBeginning { model, why })?;
        Ok(Run {
            inner: self.inner,
            beginning,
            ways: notes_ways.then(Ways::default),
        })
    }
}

impl<O: Outside> Run<O> {
    fn tell(&self, path: Path<World<O>, Action>) -> String {
        let there = path.encode(self);
        format!(
            "{}to walk through it: explore(), then http://{EXPLORER}/#/steps/{there}\n",
            story::tell(&self.inner, path.into_vec())
        )
    }

    /// The story of a state from which no end can be reached.
    fn astray(&self) -> Option<String> {
        let path = self.ways.as_ref()?.path_astray(self, &self.beginning)?;
        Some(self.tell(path))
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        Display::fmt(self, f)
    }
}

impl Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} states, {:.1?}", self.states, self.taken)
    }
}
