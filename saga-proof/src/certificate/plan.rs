use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use quadrille_process::fault::{Kind, Point, Scope};

use super::drawer::Step;
use super::path::Path;
use crate::stage::LEASE;

/// One fault at one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) subject: Subject,
    pub(crate) step: Step,
    pub(crate) kind: Kind,
    /// Only some sagas pass the step: how often the fault is tried follows from it.
    pub(crate) is_rare: bool,
}

/// Whom a fault hits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// One saga on the path of this name.
    Saga(&'static str),
    /// A process, while sagas run: by the name of a participant or of an outbox.
    Process(String),
}

/// What was seen before any fault.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rehearsal {
    /// On each path.
    pub(crate) steps: BTreeMap<&'static str, BTreeSet<Step>>,
    /// Those of them that not every saga on the path passed: a retry, or one event that overtakes another.
    pub(crate) rare: BTreeMap<&'static str, BTreeSet<Step>>,
    /// Outboxes to which the sagas write.
    pub(crate) outboxes: BTreeSet<String>,
}

/// Points that no saga passes on any path, and why not.
pub(crate) type Never = [(&'static [Point], &'static str)];

/// Why no saga passes a point on any path.
pub(crate) fn never(never: &Never, point: Point) -> Option<&'static str> {
    let found = never.iter().find(|(points, _)| points.contains(&point));
    found.map(|(_, why)| *why)
}

/// What brings a process to a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// Work, or a clock within a second.
    Work,
    /// Its end and its start.
    Restart,
    /// The next minute: leaves are by minute.
    Minute,
}

impl fmt::Display for Case {
    /// `confirmed/payment/effect::after_call/charge/lost answer`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Saga(path) => f.write_str(path)?,
            Subject::Process(_) => f.write_str("process")?,
        }
        let Step {
            program,
            point,
            occasion,
        } = &self.step;
        write!(f, "/{program}/{point}")?;
        match &self.subject {
            Subject::Saga(_) => write!(f, "/{occasion}")?,
            Subject::Process(name) => write!(f, "/{name}")?,
        }
        write!(f, "/{}", self.kind.name())
    }
}

/// All pairs of the steps that were passed and the faults that each can have.
pub(crate) fn sagas(rehearsal: &Rehearsal) -> Vec<Case> {
    let mut cases = Vec::new();
    for (path, steps) in &rehearsal.steps {
        let rare = rehearsal.rare.get(path);
        for step in steps.iter().filter(|step| step.point.scope() == Scope::Saga) {
            cases.extend(step.point.faults().iter().map(|kind| Case {
                subject: Subject::Saga(path),
                step: step.clone(),
                kind: *kind,
                is_rare: rare.is_some_and(|rare| rare.contains(step)),
            }));
        }
    }
    cases
}

/// All pairs of the points that a process passes by itself, whom for, and the faults that each can have.
pub(crate) fn processes(rehearsal: &Rehearsal, relay: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for point in Point::ALL {
        for (program, name) in owners(*point, rehearsal, relay) {
            cases.extend(point.faults().iter().map(|kind| Case {
                subject: Subject::Process(name.clone()),
                step: Step {
                    program: program.clone(),
                    point: *point,
                    occasion: "_".to_owned(),
                },
                kind: *kind,
                is_rare: false,
            }));
        }
    }
    cases
}

/// Which programs pass a point by themselves, and for whom.
fn owners(point: Point, rehearsal: &Rehearsal, relay: &str) -> Vec<(String, String)> {
    if point.scope() == Scope::Saga {
        return Vec::new();
    }
    // Who consumes passes what every consumer passes, and who makes calls what everybody passes who makes calls.
    let of_those_who_pass = |sign: Point| -> BTreeSet<&str> {
        let steps = rehearsal.steps.values().flatten();
        let passed = steps.filter(|step| step.point == sign);
        passed.map(|step| step.program.as_str()).collect()
    };
    let name = point.name();
    let programs = if name.starts_with("relay::") {
        let outboxes = rehearsal.outboxes.iter();
        return outboxes
            .map(|outbox| (relay.to_owned(), outbox.clone()))
            .collect();
    } else if name.starts_with("effect::") {
        of_those_who_pass(Point::EffectAfterClaim)
    } else {
        of_those_who_pass(Point::ConsumerAfterBatch)
    };
    let of_itself = |name: &str| (name.to_owned(), name.to_owned());
    programs.into_iter().map(of_itself).collect()
}

/// What brings a process to one of its points.
pub(crate) fn trigger(point: Point) -> Trigger {
    match point {
        Point::RelayBeforeAcquire
        | Point::RelayAfterAcquire
        | Point::RelayBeforeRelease
        | Point::ConsumerBeforePlaces => Trigger::Restart,
        Point::RelayBeforeRotate | Point::RelayAfterRotate => Trigger::Minute,
        _ => Trigger::Work,
    }
}

/// How long a delay is: where it stops one call, longer than the call's claim; where it stops a lease, longer than
/// that; where it stops a worker and everybody behind it, short.
pub(crate) fn delay(point: Point, claim: Duration) -> Duration {
    match point {
        Point::EffectBeforeCall | Point::EffectAfterCall | Point::EffectBeforeAnswer => {
            claim + Duration::from_millis(500)
        }
        Point::RelayBeforePersist | Point::RelayAfterPersist | Point::RelayAfterAcquire => {
            LEASE + Duration::from_secs(1)
        }
        _ => Duration::from_millis(400),
    }
}

/// A few of them: each point once, with each of its faults in turn, no waiting for a minute to pass, and nothing that only
/// some sagas pass where something is that all do.
pub(crate) fn sample(cases: Vec<Case>) -> Vec<Case> {
    let mut seen: BTreeMap<Point, usize> = BTreeMap::new();
    for case in &cases {
        seen.entry(case.step.point).or_default();
    }
    let mut taken = Vec::new();
    for (number, point) in seen.into_keys().enumerate() {
        if trigger(point) == Trigger::Minute {
            continue;
        }
        let kind = point.faults()[number % point.faults().len()];
        let of_it = cases
            .iter()
            .filter(|case| case.step.point == point && case.kind == kind);
        let (rare, steady): (Vec<&Case>, Vec<&Case>) = of_it.partition(|case| case.is_rare);
        let fitting = if steady.is_empty() { rare } else { steady };
        taken.extend(
            fitting
                .get(number * 7 % fitting.len().max(1))
                .map(|case| (*case).clone()),
        );
    }
    taken
}

/// Points that should have been passed and were not, and the reverse.
pub(crate) fn gaps(
    paths: &[Path],
    never_passed: &Never,
    rehearsal: &Rehearsal,
    cases: &[Case],
) -> Vec<String> {
    let mut wrong = Vec::new();
    for path in paths {
        let name = path.name;
        let Some(steps) = rehearsal.steps.get(name) else {
            continue;
        };
        let passed: BTreeSet<Point> = steps.iter().map(|step| step.point).collect();
        for point in Point::ALL.iter().filter(|point| point.scope() == Scope::Saga) {
            let why_not = path.why_not(*point).or_else(|| never(never_passed, *point));
            match (why_not, passed.contains(point)) {
                (None, false) if path.is_strict() => {
                    wrong.push(format!("{name} does not pass {point}, and nothing says why not"));
                }
                (Some(why), true) => wrong.push(format!("{name} passes {point}, of which it is said: {why}")),
                _ => {}
            }
        }
    }
    for point in Point::ALL {
        let reached = cases.iter().any(|case| case.step.point == *point);
        match (never(never_passed, *point), reached) {
            (None, false) => wrong.push(format!("no case reaches {point}")),
            (Some(why), true) if point.scope() == Scope::Process => {
                wrong.push(format!("a case reaches {point}, of which it is said: {why}"));
            }
            _ => {}
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::unsendable;

    const NEVER: &Never = &[(Point::WEBHOOKS, "nobody reports")];

    fn paths() -> Vec<Path> {
        vec![
            Path::new("done", "").spares(&[Point::TimerBeforeFire], "nothing takes that long"),
            Path::new("expired", "").and_nothing_else(),
            Path::new("late", ""),
            unsendable::path(),
        ]
    }

    /// Every path passes what it should, once.
    fn complete() -> Rehearsal {
        let steps = |path: Path| {
            let points = Point::ALL
                .iter()
                .filter(|point| path.why_not(**point).or_else(|| never(NEVER, **point)).is_none());
            let steps = points.map(|point| Step {
                program: "payment".to_owned(),
                point: *point,
                occasion: "x".to_owned(),
            });
            (path.name, steps.collect())
        };
        Rehearsal {
            steps: paths().into_iter().map(steps).collect(),
            rare: BTreeMap::new(),
            outboxes: ["payment".to_owned()].into(),
        }
    }

    fn planned(rehearsal: &Rehearsal) -> Vec<Case> {
        let processes = processes(rehearsal, "relay");
        sagas(rehearsal).into_iter().chain(processes).collect()
    }

    fn found(rehearsal: &Rehearsal) -> Vec<String> {
        gaps(&paths(), NEVER, rehearsal, &planned(rehearsal))
    }

    #[test]
    fn a_point_that_is_not_passed_is_named() {
        let mut rehearsal = complete();
        assert_eq!(found(&rehearsal), Vec::<String>::new());
        for steps in rehearsal.steps.values_mut() {
            steps.retain(|step| step.point != Point::TimerBeforeFire);
        }
        let found = found(&rehearsal);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("expired does not pass timer::before_fire"));
        assert!(found[1].starts_with("no case reaches timer::before_fire"));
    }

    #[test]
    fn a_point_that_is_passed_where_it_should_not_be_is_named() {
        let mut rehearsal = complete();
        let mut stray = |point| {
            let step = Step {
                program: "payment".to_owned(),
                point,
                occasion: "x".to_owned(),
            };
            rehearsal.steps.entry("done").or_default().insert(step);
        };
        stray(Point::TimerBeforeFire);
        stray(Point::WebhookAfterNote);
        let found = found(&rehearsal);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("done passes webhook::after_note, of which it is said: nobody reports"));
        assert!(found[1].starts_with("done passes timer::before_fire"));
    }

    #[test]
    fn who_makes_no_call_claims_none() {
        let mut rehearsal = complete();
        assert!(
            planned(&rehearsal)
                .iter()
                .any(|case| case.step.point == Point::EffectBeforeClaim)
        );
        for steps in rehearsal.steps.values_mut() {
            steps.retain(|step| step.point != Point::EffectAfterClaim);
        }
        assert!(found(&rehearsal).contains(&"no case reaches effect::before_claim".to_owned()));
    }

    #[test]
    fn what_only_some_sagas_pass_is_a_case_and_in_no_sample() {
        let mut rehearsal = complete();
        for (path, steps) in &rehearsal.steps {
            let rare = steps.iter().filter(|_| *path != "late").cloned();
            rehearsal.rare.insert(path, rare.collect());
        }
        let planned = planned(&rehearsal);
        let on = |cases: &[Case], point: Point| -> BTreeSet<Subject> {
            let of_it = cases.iter().filter(|case| case.step.point == point);
            of_it.map(|case| case.subject.clone()).collect()
        };
        let late: BTreeSet<Subject> = [Subject::Saga("late")].into();
        assert!(on(&planned, Point::EngineAfterCommit).len() > 1);
        let sample = sample(planned);
        assert_eq!(on(&sample, Point::EngineAfterCommit), late);
        // There it is rare on every path: better that than no case.
        assert_eq!(on(&sample, unsendable::ONLY[0]).len(), 1);
    }

    #[test]
    fn a_sample_has_each_point_that_need_not_be_waited_for() {
        let rehearsal = complete();
        let sample = sample(planned(&rehearsal));
        let points: BTreeSet<Point> = sample.iter().map(|case| case.step.point).collect();
        let left_out = Point::ALL
            .iter()
            .filter(|point| trigger(**point) == Trigger::Minute || never(NEVER, **point).is_some())
            .count();
        assert_eq!(points.len() + left_out, Point::ALL.len());
        assert_eq!(sample.len(), points.len());
        let kinds: BTreeSet<Kind> = sample.iter().map(|case| case.kind).collect();
        assert_eq!(kinds.len(), 4);
    }
}
