use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use quadrille_process::fault::Kind;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::certified::Setting;
use super::drawer::{Armed, Drawers, Step};
use super::judge::{Judge, Verdict};
use super::path::Saga;
use super::plan::{Case, Subject, Trigger, delay, trigger};
use super::terms::Plays;
use super::unsendable;
use super::warden::Warden;
use crate::stage::wait::until_within;

/// How long a fault may keep us waiting for it. Leaves are emptied by the minute.
const PATIENCE: Duration = Duration::from_secs(200);
/// Sagas for one case: another one's crash may take its step away.
const TRIES: usize = 6;
/// Sagas for a case of a step that not every saga passes.
const TRIES_IF_RARE: usize = 40;
/// Cases of sagas that are under way at the same time.
const AT_ONCE: usize = 24;

/// Where cases are played.
#[derive(Debug)]
pub(crate) struct Theatre<'s, P> {
    pub(crate) company: &'s P,
    /// How long a call stays claimed by who crashed.
    pub(crate) claim: Duration,
    /// The path on which sagas are under way while a fault hits a process by itself.
    pub(crate) everyday: &'static str,
    pub(crate) drawers: Drawers,
    pub(crate) warden: Warden<'s>,
    pub(crate) judge: Judge,
    /// An outbox and a topic for events that cannot be sent.
    pub(crate) unsendable: (String, String),
    pub(crate) free: Semaphore,
}

/// What became of a case.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) case: Case,
    /// From the fault to rest.
    pub(crate) took: Duration,
    /// Records that came more than once.
    pub(crate) twice: usize,
    /// Nothing, if it holds.
    pub(crate) wrong: Vec<String>,
}

impl<'s, P: Plays> Theatre<'s, P> {
    /// On this company's ground, with nothing armed.
    ///
    /// # Errors
    /// If somebody does not answer.
    pub(crate) async fn of(
        company: &'s P,
        setting: &Setting<'s>,
        claim: Duration,
        everyday: &'static str,
    ) -> Result<Self> {
        Ok(Self {
            company,
            claim,
            everyday,
            drawers: Drawers::of(&setting.programs)?,
            warden: Warden::new(&setting.programs),
            judge: Judge::of(setting).await?,
            unsendable: setting.unsendable.clone(),
            free: Semaphore::new(AT_ONCE),
        })
    }

    /// Walks a path with nothing armed, and says which points were passed, and which outboxes were written to.
    pub(crate) async fn rehearse(&self, path: &'static str) -> Result<(BTreeSet<Step>, Vec<String>)> {
        let saga = self.next(path);
        self.drawers.watch(&saga.key)?;
        let verdict = self.walk(&saga).await?;
        if !verdict.wrong.is_empty() {
            bail!(
                "{path} does not hold without any fault: {}",
                verdict.wrong.join("; ")
            );
        }
        Ok((
            self.drawers.passages(&saga.key)?,
            self.judge.wrote(&saga.key).await?,
        ))
    }

    pub(crate) async fn play(&self, case: &Case) -> Outcome {
        let mut outcome = Outcome {
            case: case.clone(),
            took: Duration::ZERO,
            twice: 0,
            wrong: Vec::new(),
        };
        let played = match &case.subject {
            Subject::Saga(path) => self.saga(case, path).await,
            Subject::Process(name) => self.process(case, name).await,
        };
        match played {
            Ok((fired, verdict)) => {
                outcome.took = SystemTime::now().duration_since(fired).unwrap_or_default();
                outcome.twice = verdict.twice;
                outcome.wrong = verdict.wrong;
            }
            Err(error) => outcome.wrong.push(format!("{error:#}")),
        }
        outcome
    }

    /// The fault hits one saga.
    async fn saga(&self, case: &Case, path: &'static str) -> Result<(SystemTime, Verdict)> {
        let program = case.step.program.as_str();
        let turn = match case.kind {
            Kind::Crash => Some(self.warden.turn(program).await),
            _ => None,
        };
        // Who crashes has his turn, and that is enough.
        let _free = match turn {
            None => Some(self.free.acquire().await?),
            Some(_) => None,
        };
        let mut turn = turn;
        let tries = if case.is_rare { TRIES_IF_RARE } else { TRIES };
        for _ in 0..tries {
            let saga = self.next(path);
            let since = self.warden.lives(program);
            let armed = self.arm(case, &saga.key)?;
            let over = AtomicBool::new(false);
            let walked = async {
                let verdict = self.walk(&saga).await;
                over.store(true, Ordering::Relaxed);
                verdict
            };
            let crashed = async {
                while turn.is_some() && !over.load(Ordering::Relaxed) {
                    if armed.fired().is_some() {
                        self.warden.back(program, since).await?;
                        drop(turn.take());
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                anyhow::Ok(())
            };
            let played = tokio::try_join!(walked, crashed);
            armed.disarm();
            // It may have crashed when the saga was over, or no more to be waited for: the next one whose turn it is finds it at work.
            if turn.is_some() && armed.fired().is_some() {
                self.warden.back(program, since).await?;
                drop(turn.take());
            }
            let (verdict, ()) = played?;
            if let Some(fired) = armed.fired() {
                return Ok((fired, verdict));
            }
            if !verdict.wrong.is_empty() {
                bail!("not even without the fault: {}", verdict.wrong.join("; "));
            }
        }
        bail!("{tries} sagas have passed, and the fault has not happened")
    }

    /// The fault hits a process; a saga runs beside it, or after it.
    async fn process(&self, case: &Case, name: &str) -> Result<(SystemTime, Verdict)> {
        let program = case.step.program.as_str();
        let trigger = trigger(case.step.point);
        let saga = self.next(self.everyday);
        // Whoever waits for the minute to pass would keep everybody from his turn.
        let turn = match trigger {
            Trigger::Minute => None,
            _ => Some(self.warden.turn(program).await),
        };
        let since = self.warden.lives(program);
        let armed = self.arm(case, name)?;
        let fired = until_within(PATIENCE, "the fault", async || {
            armed.fired().context("it has not happened")
        });
        let ends = case.kind == Kind::Crash || trigger == Trigger::Restart;
        let happen = async {
            tokio::pin!(fired);
            let fired = loop {
                if trigger != Trigger::Restart {
                    break fired.await?;
                }
                let life = self.warden.lives(program);
                self.warden.stop(program)?;
                // Who only stands by, since another case has just crashed it, has nothing to give back.
                tokio::select! {
                    biased;
                    fired = &mut fired => break fired?,
                    back = self.warden.back(program, life) => back?,
                }
            };
            if ends {
                self.warden.back(program, since).await?;
            }
            anyhow::Ok(fired)
        };
        let happened = if trigger == Trigger::Minute {
            let fired = happen.await;
            match fired {
                Ok(fired) => self.walk(&saga).await.map(|verdict| (fired, verdict)),
                Err(error) => Err(error),
            }
        } else {
            tokio::try_join!(happen, self.walk(&saga))
        };
        armed.disarm();
        // If the saga went wrong, nobody has waited for what has ended.
        if turn.is_some() && ends && armed.fired().is_some() {
            self.warden.back(program, since).await?;
        }
        drop(turn);
        happened
    }

    fn arm(&self, case: &Case, key: &str) -> Result<Armed> {
        self.drawers
            .arm(&case.step, key, case.kind, delay(case.step.point, self.claim))
    }

    async fn walk(&self, saga: &Saga) -> Result<Verdict> {
        if saga.path == unsendable::NAME {
            let (outbox, topic) = &self.unsendable;
            unsendable::walk(self.judge.outboxes.named(outbox)?, topic, &saga.key).await?;
            return self.judge.events(&saga.key, unsendable::LARGE).await;
        }
        self.company.walk(saga).await?;
        let mut verdict = self.judge.saga(&saga.key).await?;
        verdict.wrong.extend(self.company.balance(saga).await?);
        Ok(verdict)
    }

    fn next(&self, path: &'static str) -> Saga {
        let token = Uuid::new_v4();
        let key = match path {
            unsendable::NAME => token.to_string(),
            _ => self.company.key(path, token),
        };
        Saga { path, token, key }
    }
}
