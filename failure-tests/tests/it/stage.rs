use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, anyhow};
use failure_tests::load::{self, Load, Progress};
use failure_tests::{Accountant, Audit, Customer, System, SystemOptions};
use local_stack::{Addresses, TestStack};
use quadrille_contracts::ProductId;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// Plays a scenario in the shop that nobody breaks, beside others.
pub(crate) fn everyday(scenario: impl AsyncFnOnce(&System) -> Result<()>) {
    static SHOP: OnceCell<System> = OnceCell::const_new();
    runtime().block_on(async {
        let shop = SHOP
            .get_or_try_init(async || System::start(servers()?, &SystemOptions::default()).await)
            .await;
        let shop = shop.unwrap_or_else(|error| panic!("the shop does not open: {error:#}"));
        play(shop, scenario).await;
    });
}

/// Plays a scenario that may kill any process, and has the shop for itself. Afterwards everything runs again.
pub(crate) fn alone(scenario: impl AsyncFnOnce(&System) -> Result<()>) {
    static SHOP: Mutex<Option<System>> = Mutex::new(None);
    let mut guard = SHOP.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = Instant::now();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        runtime().block_on(async {
            if guard.is_none() {
                *guard = Some(open(servers().expect("servers"), &SystemOptions::default()).await);
            }
            let shop = guard.as_ref().expect("it was opened");
            shop.restore().await.expect("the shop opens again");
            play(shop, scenario).await;
        });
    }));
    eprintln!("{}: {:.1?}", name(), begun.elapsed());
    if let Err(panic) = ended {
        // What is left of it would spoil the next scenario.
        *guard = None;
        drop(guard);
        resume_unwind(panic);
    }
}

/// Plays a scenario in a shop of its own, which nobody uses afterwards.
pub(crate) fn damaged(scenario: impl AsyncFnOnce(&System) -> Result<()>) {
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock();
    let begun = Instant::now();
    runtime().block_on(async {
        let shop = open(servers().expect("servers"), &SystemOptions::default()).await;
        play(&shop, scenario).await;
    });
    eprintln!("{}: {:.1?}", name(), begun.elapsed());
    drop(one);
}

/// Plays a scenario that stops servers: with a PostgreSQL and a Kafka of its own.
pub(crate) fn with_servers(
    options: SystemOptions,
    scenario: impl AsyncFnOnce(&System, &TestStack) -> Result<()>,
) {
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = Instant::now();
    let stack = TestStack::private().unwrap_or_else(|error| panic!("{error}"));
    runtime().block_on(async {
        let shop = open(&stack.addresses(), &options).await;
        play(&shop, async |shop| scenario(shop, &stack).await).await;
    });
    eprintln!("{}: {:.1?}", name(), begun.elapsed());
    drop(one);
}

/// The servers that all shops share.
pub(crate) fn servers() -> Result<&'static Addresses> {
    tokio::task::block_in_place(TestStack::shared).map_err(|error| anyhow!("{error}"))
}

/// What the accountant finds of a customer: all in order, and this.
pub(crate) async fn audit(shop: &System, customer: &Customer) -> Result<Audit> {
    let audit = Accountant::new(shop, customer).audit().await?;
    eprintln!("{}: {audit}", name());
    Ok(audit)
}

/// A customer's load with its shelves, and what counts it.
pub(crate) struct Busy {
    pub(crate) customer: Customer,
    pub(crate) shelves: Vec<ProductId>,
    pub(crate) progress: Progress,
    load: Load,
}

impl Busy {
    /// So many orders to come, which follow from the seed.
    pub(crate) async fn new(shop: &System, orders: usize, seed: u64) -> Result<Self> {
        let customer = Customer::of(shop)?;
        let shelves = load::shelves(&customer).await?;
        let load = Load {
            orders,
            at_once: 24,
            seed,
        };
        Ok(Self {
            customer,
            shelves,
            progress: Progress::default(),
            load,
        })
    }

    /// Places them all.
    pub(crate) async fn order(&self) -> Result<()> {
        self.load.run(&self.customer, &self.shelves, &self.progress).await
    }
}

async fn open(servers: &Addresses, options: &SystemOptions) -> System {
    let opened = System::start(servers, options).await;
    opened.unwrap_or_else(|error| panic!("the shop does not open: {error:#}"))
}

async fn play(shop: &System, scenario: impl AsyncFnOnce(&System) -> Result<()>) {
    let keep = Keep(shop);
    if let Err(error) = scenario(shop).await {
        panic!("{error:#}");
    }
    std::mem::forget(keep);
}

/// Keeps the logs if a scenario fails.
struct Keep<'s>(&'s System);

impl Drop for Keep<'_> {
    fn drop(&mut self) {
        self.0.keep();
    }
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn name() -> String {
    std::thread::current().name().unwrap_or("a scenario").to_owned()
}
