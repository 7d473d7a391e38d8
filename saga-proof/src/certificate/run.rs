use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use local_stack::Addresses;
use quadrille_process::fault::Point;

use super::certified::{Certified, Setting};
use super::drawer::Step;
use super::page;
use super::path::Path;
use super::plan::{self, Case, Rehearsal, Subject, Trigger, trigger};
use super::play::{Outcome, Theatre};
use super::terms::{Plays, Terms};
use super::unsendable;
use crate::stage::topics::{Record, Topics};

/// How often somebody who waits hears something.
const NEWS: Duration = Duration::from_secs(10);
/// Sagas that are watched on each path before there is any fault.
const REHEARSALS: usize = 3;

/// Which cases are played.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Each point once, in seconds.
    pub sample: bool,
    /// Cases whose name holds this.
    pub only: Option<String>,
    /// Cases of the path of this name.
    pub path: Option<String>,
}

impl Options {
    /// Whether nothing is left out.
    pub fn is_whole(&self) -> bool {
        !self.sample && self.only.is_none() && self.path.is_none()
    }
}

/// What a run has shown.
#[derive(Debug)]
pub struct Certificate {
    /// With the path of what cannot be sent.
    pub(crate) terms: Terms,
    pub(crate) rehearsal: Rehearsal,
    pub(crate) outcomes: Vec<Outcome>,
    /// What is wrong with the plan, or with all sagas together.
    pub(crate) amiss: Vec<String>,
    pub(crate) took: Duration,
    /// The server's version.
    pub(crate) postgres: String,
}

impl Certificate {
    /// All of it, in Markdown.
    pub fn page(&self) -> String {
        page::write(self)
    }

    /// How many cases hold, and of how many.
    pub fn holding(&self) -> (usize, usize) {
        let holding = self
            .outcomes
            .iter()
            .filter(|outcome| outcome.wrong.is_empty())
            .count();
        (holding, self.outcomes.len())
    }

    /// Everything that is wrong.
    pub fn wrong(&self) -> Vec<String> {
        let cases = self
            .outcomes
            .iter()
            .filter(|outcome| !outcome.wrong.is_empty())
            .map(|outcome| format!("{}: {}", outcome.case, outcome.wrong.join("; ")));
        cases.chain(self.amiss.iter().cloned()).collect()
    }

    /// Whether a saga on this path passes a point.
    pub(crate) fn passes(&self, path: &str, point: Point) -> bool {
        let steps = self.rehearsal.steps.get(path);
        steps.is_some_and(|steps| steps.iter().any(|step| step.point == point))
    }

    /// The last line.
    pub fn sum(&self) -> String {
        let (holding, all) = self.holding();
        format!("{holding} of {all} cases hold")
    }
}

/// Opens a system, rehearses, and plays all cases that are asked for.
///
/// # Errors
/// If the system does not open, a path does not hold without faults, or nothing is left to be played.
pub async fn run<C: Certified>(servers: &Addresses, options: &Options) -> Result<Certificate> {
    played(&C::open(servers).await?, Terms::of::<C>(), options).await
}

/// Rehearses, and plays all cases that are asked for.
///
/// # Errors
/// If a path does not hold without faults, or nothing is left to be played.
pub(crate) async fn played<P: Plays>(company: &P, terms: Terms, options: &Options) -> Result<Certificate> {
    let played = play(company, terms, options).await;
    if !matches!(&played, Ok(certificate) if certificate.wrong().is_empty()) {
        keep(company.setting().logs);
    }
    played
}

fn keep(logs: &FilePath) {
    eprintln!("logs of the programs are kept in {}", logs.display());
    if let Err(error) = std::fs::write(logs.join("keep"), "") {
        eprintln!("they will be removed after all: {error}");
    }
}

async fn play<P: Plays>(company: &P, mut terms: Terms, options: &Options) -> Result<Certificate> {
    let begun = Instant::now();
    let setting: Setting<'_> = company.setting();
    let paths = &mut terms.paths;
    ensure!(!paths.is_empty(), "there is no path");
    let everyday = paths[0].name;
    paths.push(unsendable::path());
    if let Some(only) = &options.path {
        paths.retain(|path| path.name == only || path.name == everyday);
        ensure!(
            paths.iter().any(|path| path.name == only),
            "there is no path {only}"
        );
    }
    let theatre = Theatre::of(company, &setting, terms.claim, everyday).await?;
    let rehearsal = rehearse(&theatre, &terms.paths).await?;
    eprintln!("rehearsed {} paths in {:.0?}", terms.paths.len(), begun.elapsed());

    let mut cases = plan::sagas(&rehearsal);
    cases.extend(plan::processes(&rehearsal, setting.relay));
    let mut amiss = Vec::new();
    if options.is_whole() || options.sample {
        amiss = plan::gaps(&terms.paths, &terms.never, &rehearsal, &cases);
    }
    let all_cases = cases.len();
    if let Some(path) = &options.path {
        cases.retain(|case| matches!(case.subject, Subject::Saga(name) if name == path));
    }
    if let Some(only) = &options.only {
        cases.retain(|case| case.to_string().contains(only.as_str()));
    }
    if options.sample {
        cases = plan::sample(cases);
    }
    ensure!(
        !cases.is_empty(),
        "there is no such case among {all_cases}; a name is path/program/step/with what/fault, as in booked/desk/engine::after_commit/book/crash"
    );
    let outcomes = tokio::select! {
        outcomes = all(&theatre, &cases) => outcomes,
        ended = theatre.warden.watch() => bail!("nobody starts again what has ended: {ended:?}"),
    };
    theatre.warden.restore().await?;
    let together = company.audit().await?.into_iter();
    amiss.extend(together.map(|wrong| format!("all of them together: {wrong}")));
    let (outbox, _) = &setting.unsendable;
    Ok(Certificate {
        terms,
        rehearsal,
        outcomes,
        amiss,
        took: begun.elapsed(),
        postgres: sqlx::query_scalar("select split_part(current_setting('server_version'), ' ', 1)")
            .fetch_one(theatre.judge.outboxes.named(outbox)?)
            .await?,
    })
}

/// Walks each path as a rehearsal does, and hands over all that the topics hold then.
///
/// # Errors
/// If a path does not hold, or the topics cannot be read.
pub(crate) async fn rehearsed<P: Plays>(company: &P, terms: &Terms) -> Result<Vec<Record>> {
    let setting = company.setting();
    let first = terms.paths.first().context("there is no path")?;
    let theatre = Theatre::of(company, &setting, terms.claim, first.name).await?;
    let walked = rehearse(&theatre, &terms.paths).await;
    if walked.is_err() {
        keep(setting.logs);
    }
    walked?;
    let (brokers, names) = (setting.brokers.to_owned(), setting.topics.clone());
    tokio::task::spawn_blocking(move || {
        let mut topics = Topics::open(&brokers, &names)?;
        topics.catch_up()?;
        Ok(topics.records)
    })
    .await?
}

async fn rehearse<P: Plays>(theatre: &Theatre<'_, P>, paths: &[Path]) -> Result<Rehearsal> {
    let rehearsed = futures::future::try_join_all(paths.iter().map(async |path| {
        // What only some sagas pass is a step as well.
        let mut passed: BTreeMap<Step, usize> = BTreeMap::new();
        let mut outboxes = Vec::new();
        for _ in 0..REHEARSALS {
            let (steps, wrote) = theatre.rehearse(path.name).await?;
            for step in steps {
                *passed.entry(step).or_default() += 1;
            }
            outboxes.extend(wrote);
        }
        anyhow::Ok((path.name, passed, outboxes))
    }));
    let mut rehearsal = Rehearsal::default();
    for (path, passed, outboxes) in rehearsed.await? {
        let rare = passed.iter().filter(|(_, times)| **times < REHEARSALS);
        let rare = rare.map(|(step, _)| step.clone()).collect();
        rehearsal.rare.insert(path, rare);
        rehearsal.steps.insert(path, passed.into_keys().collect());
        rehearsal.outboxes.extend(outboxes);
    }
    Ok(rehearsal)
}

async fn all<P: Plays>(theatre: &Theatre<'_, P>, cases: &[Case]) -> Vec<Outcome> {
    let begun = Instant::now();
    let (minutes, others): (Vec<&Case>, Vec<&Case>) = cases
        .iter()
        .partition(|case| trigger(case.step.point) == Trigger::Minute);
    let mut playing: FuturesUnordered<_> = others.into_iter().map(|case| theatre.play(case)).collect();
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(cases.len());
    let (mut broken, mut said) = (0, Instant::now());
    while let Some(outcome) = playing.next().await {
        if !outcome.wrong.is_empty() {
            broken += 1;
            eprintln!("does not hold: {}: {}", outcome.case, outcome.wrong.join("; "));
        }
        outcomes.push(outcome);
        if said.elapsed() > NEWS {
            said = Instant::now();
            let (done, left) = (outcomes.len(), cases.len() - outcomes.len());
            let left = begun.elapsed() * u32::try_from(left).unwrap_or(u32::MAX)
                / u32::try_from(done).unwrap_or(u32::MAX);
            eprintln!(
                "{done} of {} cases, {broken} do not hold, about {left:.0?} left",
                cases.len()
            );
        }
    }
    // A relay that is killed every second never gets as far as to empty a leaf. Of each only one fault can be armed.
    let mut in_turn: BTreeMap<(Point, &Subject), Vec<&Case>> = BTreeMap::new();
    for case in minutes {
        let same = (case.step.point, &case.subject);
        in_turn.entry(same).or_default().push(case);
    }
    let each = in_turn.values().map(async |cases| {
        let mut outcomes = Vec::new();
        for case in cases {
            outcomes.push(theatre.play(case).await);
            eprintln!("played {case}");
        }
        outcomes
    });
    outcomes.extend(futures::future::join_all(each).await.into_iter().flatten());
    outcomes.sort_by_key(|outcome| cases.iter().position(|case| *case == outcome.case));
    outcomes
}
