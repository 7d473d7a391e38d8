use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

use crate::chaos::audit::{self, Books, Findings};
use crate::chaos::fault::Kind;
use crate::chaos::ground::Ground;
use crate::chaos::injector::Injector;
use crate::chaos::keeper::Keeper;
use crate::chaos::pace::Pace;
use crate::chaos::page;
use crate::chaos::poison::Poison;
use crate::chaos::schedule::Schedule;
use crate::chaos::shoppers::Shoppers;
use crate::chaos::watch::{Seen, Watch};
use crate::customer::Customer;

/// So many orders for each fault beyond one of each kind: faults last seconds, and always some are under way.
const ORDERS_PER_FAULT: usize = 200;
/// A schedule of more than this is not printed whole.
const PRINTED: usize = 120;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Orders.
    pub sagas: usize,
    /// What faults and wishes are drawn from.
    pub seed: u64,
    /// Faults; in proportion to the orders if it is not said.
    pub faults: Option<usize>,
    /// Who order at the same time.
    pub shoppers: usize,
    /// A folder with released programs; those with fault points, which are slower, if there is none.
    pub finished: Option<PathBuf>,
}

impl Options {
    /// What will go wrong when.
    pub fn schedule(&self) -> Schedule {
        let faults = self
            .faults
            .unwrap_or(2 * Kind::ALL.len() + self.sagas / ORDERS_PER_FAULT);
        Schedule::draw(self.seed, self.sagas, faults)
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub(crate) options: Options,
    /// From the first order to the last of the faults.
    pub(crate) load: Duration,
    pub(crate) seen: Seen,
    pub(crate) found: Findings,
    pub(crate) sagas: usize,
    pub(crate) ended_by_themselves: u64,
    pub(crate) postgres: String,
    wrong: Vec<String>,
}

impl Outcome {
    /// Everything that must not be.
    pub fn wrong(&self) -> Vec<String> {
        let all = self.seen.wrong.iter().chain(&self.found.wrong).chain(&self.wrong);
        all.cloned().collect()
    }

    /// How many faults there were.
    pub fn faults(&self) -> usize {
        self.seen.injected.values().map(Vec::len).sum()
    }

    /// Kinds of faults that never came.
    pub fn spared(&self) -> Vec<&'static str> {
        let all = Kind::ALL.iter().map(|(kind, _)| *kind);
        all.filter(|kind| !self.seen.injected.contains_key(kind))
            .map(Kind::name)
            .collect()
    }

    /// `docs/chaos.md`.
    pub fn page(&self) -> String {
        page::write(self)
    }

    /// In a few lines.
    pub fn summary(&self) -> String {
        page::summary(self)
    }

    /// The last line.
    pub fn sum(&self) -> String {
        format!(
            "{} sagas, {} faults, {} violations",
            self.sagas,
            self.faults(),
            self.wrong().len()
        )
    }
}

/// Opens a shop, orders from it while everything breaks, and reads the books.
///
/// # Errors
/// If the shop does not open, or cannot be broken as it should be, or cannot be audited.
pub async fn run(options: &Options) -> Result<Outcome> {
    let schedule = options.schedule();
    eprintln!(
        "seed {}: {} orders, {} faults; the same again: --sagas {} --seed {} --faults {} --shoppers {}",
        options.seed,
        options.sagas,
        schedule.faults.len(),
        options.sagas,
        options.seed,
        schedule.faults.len(),
        options.shoppers,
    );
    for line in schedule.to_string().lines().take(PRINTED) {
        eprintln!("{line}");
    }
    if schedule.faults.len() > PRINTED {
        eprintln!("  … all of them: --schedule");
    }
    eprintln!("starting PostgreSQL, Apache Kafka and the shop");
    let ground = Arc::new(Ground::prepare(options.finished.clone()).await?);
    let played = play(&ground, options, &schedule).await;
    if !matches!(&played, Ok(outcome) if outcome.wrong().is_empty()) {
        ground.system.keep();
    }
    played
}

async fn play(ground: &Arc<Ground>, options: &Options, schedule: &Schedule) -> Result<Outcome> {
    let keeper_of_shelves = Customer::of(&ground.system)?;
    let shoppers = Shoppers::enter(ground, &keeper_of_shelves, options.seed, options.sagas).await?;
    let (shoppers, pace) = (
        Arc::new(shoppers),
        Arc::new(Pace::new(&schedule.faults, options.shoppers)),
    );
    let (keeper, watch) = (Arc::new(Keeper::new()), Arc::new(Watch::over(ground).await?));
    let poison = Arc::new(Poison::prepare(ground).await?);

    // They end with the set.
    let mut around = JoinSet::new();
    {
        let (keeper, ground) = (Arc::clone(&keeper), Arc::clone(ground));
        around.spawn(async move {
            if let Err(error) = keeper.keep(&ground).await {
                eprintln!("nobody starts again what has ended: {error:#}");
            }
        });
        let (counting, counted) = (Arc::clone(&watch), Arc::clone(&pace));
        around.spawn(async move { counting.count(&counted).await });
        let looking = Arc::clone(&watch);
        around.spawn(async move { looking.look().await });
        let telling = Arc::clone(&watch).tell(Arc::clone(&pace), options.sagas, schedule.faults.len());
        around.spawn(telling);
    }
    let injector = Injector::new(
        Arc::clone(ground),
        Arc::clone(&keeper),
        Arc::clone(&poison),
        Arc::clone(&watch),
        Arc::clone(&pace),
    )?;
    let begun = Instant::now();
    let played = tokio::try_join!(
        Arc::clone(&shoppers).shop(options.sagas, options.shoppers, Arc::clone(&pace)),
        Arc::new(injector).run(schedule),
    );
    let load = begun.elapsed();
    let mut wrong = Vec::new();
    if let Err(error) = &played {
        wrong.push(format!("it did not come to its end: {error:#}"));
        eprintln!("VIOLATION: {}", wrong[0]);
    }
    eprintln!("all orders taken and all faults over after {load:.0?}; waiting for rest");
    ground.stack.postgres().resume();
    ground.stack.kafka().resume();
    ground.ready().await?;
    let mut delivered = keeper_of_shelves.delivered();
    delivered.extend(poison.delivered());
    let mut accepted = shoppers.accepted();
    accepted.extend(poison.accepted());
    let books = Books {
        whole: played.is_ok(),
        accepted,
        poisoned: poison.orders(),
        delivered,
    };
    let found = audit::audit(ground, &books).await?;
    around.shutdown().await;
    let postgres = ground.system.database("order").await?;
    Ok(Outcome {
        options: Options {
            faults: Some(schedule.faults.len()),
            ..options.clone()
        },
        load,
        seen: watch.seen(),
        found,
        sagas: books.accepted.len(),
        ended_by_themselves: keeper.ended_by_themselves(),
        postgres: sqlx::query_scalar("select split_part(current_setting('server_version'), ' ', 1)")
            .fetch_one(&postgres)
            .await?,
        wrong,
    })
}
