use std::collections::{BTreeMap, BTreeSet};

use super::super::Choreography;
use super::super::causes::{Causes, Said, StepId};
use super::super::course::Ways;
use super::super::finding::{Check, Finding};
use super::super::observed::Observed;
use super::unused;
use crate::effect::Role;
use crate::input::InputKind;
use crate::output::OutputKind;

/// Something that can go wrong after a deed.
struct Danger {
    what: String,
    /// The steps that follow if it does.
    follows: BTreeSet<StepId>,
}

struct Paths<'c> {
    causes: &'c Causes<'c>,
    ways: BTreeMap<&'static str, Ways<'c>>,
    /// What a step puts out that undoes something.
    undoing: BTreeSet<Said>,
}

pub(super) fn check(
    choreography: &Choreography,
    causes: &Causes<'_>,
    observed: &Observed,
    found: &mut Vec<Finding>,
) {
    let ways = observed
        .parts
        .iter()
        .map(|(name, course)| (*name, Ways::of(course)))
        .collect();
    let undoing = causes
        .steps()
        .filter(|step| !causes.step(*step).undoes.is_empty());
    let undoing = undoing.flat_map(|step| causes.puts(step)).copied().collect();
    let paths = Paths {
        causes,
        ways,
        undoing,
    };
    let mut needed = BTreeSet::new();
    for deed in causes.all_said().into_iter().filter(|said| paths.is_deed(*said)) {
        let dangers = paths.dangers(deed);
        let name = paths.name(deed);
        if dangers.is_empty() {
            continue;
        }
        needed.insert(name);
        if choreography.holds_nothing.iter().any(|event| event.name == name) {
            continue;
        }
        found.extend(paths.judge(deed, &dangers));
    }
    unused(
        &choreography.holds_nothing,
        |name| needed.contains(name),
        "it is declared to hold nothing, and would not have to be undone anyway",
        found,
    );
}

impl Paths<'_> {
    fn judge(&self, deed: Said, dangers: &[Danger]) -> Option<Finding> {
        let undone_by = self.undone_by(deed);
        let danger = dangers
            .iter()
            .find(|danger| danger.follows.is_disjoint(&undone_by))?;
        let part = self.causes.part(deed.part).name;
        let what = match undone_by.first() {
            None => format!("after it, {}; and no step of {part} undoes it", danger.what),
            Some(step) => format!(
                "after it, {}; and what follows does not reach {}, which undoes it",
                danger.what,
                self.causes.name(*step)
            ),
        };
        let advice = match self.is_event(deed) {
            true => {
                "let what follows reach a step that undoes it, and say so with undoes [..]; mark it as refusal if it \
                 says no; or say with holds_nothing why there is nothing to undo"
            }
            false => {
                "let what follows reach a step that undoes it, and say so with undoes [..]; or let its ROLE say that \
                 it only asks or tells"
            }
        };
        let at = format!("{part}'s {}", self.name(deed));
        Some(Finding::new(Check::NoWayBack, at, what, advice))
    }

    /// All that can go wrong after a deed: see [`Choreography::check`].
    fn dangers(&self, deed: Said) -> Vec<Danger> {
        let own = self.own_answers(deed);
        let passes = |step, said| self.goes_on(step, said) && !(own.contains(&step) && self.refuses(said));
        let after = self
            .causes
            .reach_by(self.causes.takers(deed).iter().copied(), passes);
        let mut dangers = Vec::new();
        for step in after.iter().copied() {
            if self.undoes(step) {
                let signals = self.causes.before(step);
                let signals = signals
                    .filter(|(from, said)| *said == deed || (after.contains(from) && passes(*from, *said)));
                dangers.extend(signals.map(|(_, said)| Danger {
                    what: format!("{} turns the saga back", self.causes.name(step)),
                    follows: self.causes.reach(self.causes.takers(said).iter().copied()),
                }));
                continue;
            }
            for said in self
                .causes
                .puts(step)
                .iter()
                .copied()
                .filter(|said| passes(step, *said))
            {
                let what = match self.acts(said) || self.refuses(said) {
                    true if self.refuses(said) => format!("{} may be said", self.name(said)),
                    true if said != deed => format!("{} may be refused", self.name(said)),
                    _ => continue,
                };
                let follows = self.causes.reach(self.causes.takers(said).iter().copied());
                dangers.push(Danger { what, follows });
            }
        }
        dangers.extend(self.at_any_time(deed));
        dangers
    }

    /// Steps that undo at any time, on a command or a timer, what the deed was done on account of.
    fn at_any_time(&self, deed: Said) -> Vec<Danger> {
        let mut dangers = Vec::new();
        for step in self.causes.steps().filter(|step| self.undoes(*step)) {
            let part = self.causes.part(step.part);
            let declared = self.causes.step(step);
            let kind = part.input(declared.on).map(|spec| spec.kind);
            if !matches!(kind, Some(InputKind::Command | InputKind::Timer)) {
                continue;
            }
            // Once this was put out, the step does nothing any more.
            let is_over = |said: Said| {
                let ways = self.ways.get(part.name);
                said.part == step.part && ways.is_some_and(|ways| !ways.acts_after(said.output, declared.on))
            };
            if is_over(deed) {
                continue;
            }
            let undone = declared.undoes.iter().map(|output| Said {
                part: step.part,
                output,
            });
            let takers = undone
                .filter(|said| *said != deed)
                .flat_map(|said| self.causes.takers(said));
            let passes = |step, said| self.goes_on(step, said) && !is_over(said);
            let downstream = self.causes.reach_by(takers.copied(), passes);
            let done = |step: &StepId| !self.undoes(*step) && self.causes.puts(*step).contains(&deed);
            if downstream.iter().any(done) {
                dangers.push(Danger {
                    what: format!("{} may turn the saga back at any time", self.causes.name(step)),
                    follows: self.causes.reach([step]),
                });
            }
        }
        dangers
    }

    /// The steps that undo a deed.
    fn undone_by(&self, deed: Said) -> BTreeSet<StepId> {
        let ways = self.ways.get(self.causes.part(deed.part).name);
        let steps = self
            .causes
            .steps()
            .filter(|step| step.part == deed.part && self.undoes(*step));
        let undo = steps.filter(|step| {
            let declared = self.causes.step(*step);
            declared.undoes.contains(&deed.output)
                || (self.is_event(deed) && ways.is_some_and(|ways| ways.acts_after(deed.output, declared.on)))
        });
        undo.collect()
    }

    /// The steps on which an effect is answered: by its own outcome, or by that of a question that was asked then. A
    /// refusal that is said there means that the deed itself was not done.
    fn own_answers(&self, deed: Said) -> BTreeSet<StepId> {
        if self.is_event(deed) {
            return BTreeSet::new();
        }
        let asks = |_, said: Said| self.role(said) == Some(Role::Asks);
        self.causes
            .reach_by(self.causes.takers(deed).iter().copied(), asks)
    }

    /// Whether the saga goes forward over this output.
    fn goes_on(&self, step: StepId, said: Said) -> bool {
        !self.undoes(step) && !self.undoing.contains(&said)
    }

    fn is_deed(&self, said: Said) -> bool {
        let is_event = self.is_event(said) && !self.refuses(said);
        (is_event || self.acts(said)) && !self.undoing.contains(&said)
    }

    fn undoes(&self, step: StepId) -> bool {
        !self.causes.step(step).undoes.is_empty()
    }

    fn acts(&self, said: Said) -> bool {
        self.role(said) == Some(Role::Acts)
    }

    fn role(&self, said: Said) -> Option<Role> {
        match self.causes.spec(said)?.kind {
            OutputKind::Effect { role, .. } => Some(role),
            OutputKind::Event { .. } | OutputKind::Timer => None,
        }
    }

    fn refuses(&self, said: Said) -> bool {
        let kind = self.causes.spec(said).map(|spec| spec.kind);
        matches!(kind, Some(OutputKind::Event { refuses: true, .. }))
    }

    fn is_event(&self, said: Said) -> bool {
        let kind = self.causes.spec(said).map(|spec| spec.kind);
        matches!(kind, Some(OutputKind::Event { .. }))
    }

    fn name(&self, said: Said) -> &'static str {
        self.causes.spec(said).map_or(said.output, |spec| spec.name)
    }
}
