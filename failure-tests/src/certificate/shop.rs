use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result};
use local_stack::Addresses;
use quadrille_contracts::OrderId;
use saga_proof::certificate::{self, Certified, Saga, Setting, UNSENDABLE_TYPES, Words};
use saga_proof::stage::{Outboxes, RELAY};
use uuid::Uuid;

use crate::accountant::{Accountant, lives};
use crate::books;
use crate::certificate::path::{Path, Stage};
use crate::system::{System, SystemOptions};

/// How long payment waits for its provider. A call that is given up is a step of its own, which is on one path alone: so
/// long none takes by itself, on no machine.
const CALL: Duration = Duration::from_secs(10);

const HOLD: &str = "select state from hold where order_id = $1";

/// The shop, with a customer and a shelf for each path.
#[derive(Debug)]
pub struct Shop {
    stages: BTreeMap<Path, Stage>,
    databases: crate::accountant::Databases,
    outboxes: Outboxes,
    // The last field: whoever talks to it ends before it.
    system: System,
}

impl Certified for Shop {
    const WORDS: Words = Words {
        saga: "order saga",
        command: "just certificate",
        books: "what the provider has taken and given back, what payment says and what the order says is the same, nobody paid twice, and the stock\n  \
                is sold, put back or never held, as it should be",
        points: "../process/src/fault/point.rs",
        more: "A saga is an order. After the last case an accountant looks at all orders together, shelf by shelf and topic by topic.\n\n\
               That it can fail, and on what: [broken on purpose](failure-model.md#broken-on-purpose).",
    };

    // What payment is told: how long a call may take, and a margin of half a second.
    const CLAIM: Duration = CALL.saturating_add(Duration::from_millis(500));

    fn paths() -> Vec<certificate::Path> {
        Path::ALL.iter().map(|path| path.certified()).collect()
    }

    async fn open(servers: &Addresses) -> Result<Self> {
        let call = (
            "PAYMENT_PROVIDER_CALL_TIMEOUT_MS".to_owned(),
            CALL.as_millis().to_string(),
        );
        // A neighbour that crashes payment costs everybody an attempt who is being called. The usual three are not enough for who
        // is refused once, outlasts a claim and has such a neighbour.
        let attempts = ("PAYMENT_CHARGE_ATTEMPTS".to_owned(), "10".to_owned());
        let options = SystemOptions {
            settings: [("payment", [call, attempts].into())].into(),
            ..SystemOptions::default()
        };
        let system = System::start(servers, &options).await?;
        let stages = futures::future::try_join_all(
            Path::ALL
                .iter()
                .map(async |path| anyhow::Ok((*path, Stage::of(&system, *path).await?))),
        );
        Ok(Self {
            stages: stages.await?.into_iter().collect(),
            databases: crate::accountant::Databases::open(&system).await?,
            outboxes: Outboxes::open(system.outbox_urls()).await?,
            system,
        })
    }

    fn setting(&self) -> Setting<'_> {
        let topics = quadrille_contracts::TOPICS.iter();
        Setting {
            programs: self.system.programs().iter().collect(),
            relay: RELAY,
            outboxes: self.system.outbox_urls().collect(),
            brokers: self.system.brokers(),
            topics: topics.map(|topic| self.system.topic(topic.name)).collect(),
            logs: self.system.dir(),
            unsendable: ("inventory".to_owned(), self.system.topic("stock-events")),
        }
    }

    fn key(&self, path: &'static str, token: Uuid) -> String {
        let (_, stage) = self.stage(path);
        stage.customer.order_under(&token.to_string()).to_string()
    }

    async fn walk(&self, saga: &Saga) -> Result<()> {
        let (path, stage) = self.stage(saga.path);
        let id = saga.key.parse().context("an order's id")?;
        stage.walk(path, &saga.token.to_string(), id).await
    }

    async fn balance(&self, saga: &Saga) -> Result<Vec<String>> {
        let (path, stage) = self.stage(saga.path);
        let id: OrderId = saga.key.parse().context("an order's id")?;
        let order = stage.customer.order(id).await?;
        let mut wrong = Vec::new();
        wrong.extend(path.is_end(&order).err());
        wrong.extend(books::ended(&order).err());
        wrong.extend(lives(&self.outboxes.committed(&saga.key).await?, &[id].into()));
        let payments = self.databases.payments(&[id].into()).await?;
        let entries: Vec<books::Entry> = stage.provider.entries(id).await?;
        wrong.extend(books::money(&[order], &BTreeSet::new(), &payments, &entries));
        wrong.extend(self.goods(path, id).await?);
        Ok(wrong)
    }

    async fn audit(&self) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        for (path, stage) in &self.stages {
            let accountant = Accountant::new(&self.system, &stage.customer).leaving_out(UNSENDABLE_TYPES);
            if let Err(error) = accountant.audit().await {
                wrong.push(format!("{} orders: {error:#}", path.name()));
            }
        }
        Ok(wrong)
    }
}

impl Shop {
    fn stage(&self, name: &str) -> (Path, &Stage) {
        let found = self.stages.iter().find(|(path, _)| path.name() == name);
        let (path, stage) = found.expect("each path has a stage");
        (*path, stage)
    }

    /// Stock: sold to a confirmed order, put back for any other, never held for one that has ended.
    async fn goods(&self, path: Path, id: OrderId) -> Result<Option<String>> {
        let state: Option<String> = sqlx::query_scalar(HOLD)
            .bind(id.0)
            .fetch_optional(self.databases.named("inventory"))
            .await?;
        let state = state.as_deref().unwrap_or("absent");
        let wanted = path.hold();
        Ok((state != wanted).then(|| format!("its stock is {state} and not {wanted}")))
    }
}
