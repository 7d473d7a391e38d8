//! A database and topics of its own for each test, and a service that runs in them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use quadrille_process::config::Env;
use quadrille_process::telemetry::{Telemetry, TelemetryConfig};
use quadrille_process::{About, Health, Process};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::groups::{GroupInfo, GroupMemberInfo};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use saga_core::envelope;
use saga_core::partitioner::partition_for;
use saga_core::{Event, Position};
use saga_runtime::{Handle, Service, ServiceConfig};
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::kiosk::{Greeter, Kiosk, Made, Pg};

pub(crate) const PARTITIONS: i32 = 4;
pub(crate) static MIGRATOR: Migrator = sqlx::migrate!("./tests/it/migrations");
/// How many transactions wait for a lock.
pub(crate) const WAITING: &str =
    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

type Plain = ThreadedProducer<DefaultProducerContext>;

pub(crate) struct World {
    pub(crate) prefix: String,
    pub(crate) url: String,
    pub(crate) admin: PgPool,
    brokers: String,
    producer: Plain,
    pub(crate) greeter: Arc<Greeter>,
}

pub(crate) struct Running {
    pub(crate) handle: Handle<Kiosk>,
    pub(crate) health: Health,
    telemetry: Telemetry,
    stop: CancellationToken,
    task: JoinHandle<Result<(), saga_runtime::service::Error>>,
}

impl World {
    pub(crate) async fn new() -> Result<Self> {
        let stack = tokio::task::spawn_blocking(local_stack::TestStack::shared)
            .await?
            .map_err(|e| anyhow::anyhow!("{e}"))?;
        Self::on(stack).await
    }

    pub(crate) async fn on(stack: &local_stack::Addresses) -> Result<Self> {
        let prefix = format!("t{}-", Uuid::new_v4().simple());
        let root = PgPool::connect(&stack.postgres_admin_url).await?;
        let create = sqlx::AssertSqlSafe(format!("create database \"{prefix}kiosk\""));
        sqlx::query(create).execute(&root).await?;
        let (server, _) = stack
            .postgres_admin_url
            .rsplit_once('/')
            .context("a URL with a database")?;
        let url = format!("{server}/{prefix}kiosk");
        let admin = PgPool::connect(&url).await?;
        saga_runtime::migrate::apply(&admin, &MIGRATOR).await?;

        let kafka: AdminClient<_> = ClientConfig::new()
            .set("bootstrap.servers", &stack.kafka_brokers)
            .create()?;
        let name = format!("{prefix}visits");
        let topic = NewTopic::new(&name, PARTITIONS, TopicReplication::Fixed(1));
        for result in kafka.create_topics([&topic], &AdminOptions::new()).await? {
            result.map_err(|(name, code)| anyhow::anyhow!("{name}: {code}"))?;
        }
        let producer = producer(&stack.kafka_brokers)?;
        Ok(Self {
            prefix,
            url,
            admin,
            brokers: stack.kafka_brokers.clone(),
            producer,
            greeter: Arc::default(),
        })
    }

    pub(crate) async fn start(&self, instance: &str) -> Result<Running> {
        self.start_with(instance, &[]).await
    }

    pub(crate) async fn start_with(&self, instance: &str, settings: &[(&str, &str)]) -> Result<Running> {
        let mut env = Env::from_pairs(
            "KIOSK",
            [
                ("KIOSK_DATABASE_URL", self.url.as_str()),
                ("QUADRILLE_KAFKA_BROKERS", self.brokers.as_str()),
                ("QUADRILLE_PREFIX", self.prefix.as_str()),
                ("KIOSK_INSTANCE", instance),
                ("KIOSK_KAFKA_SESSION_TIMEOUT_MS", "2000"),
            ]
            .into_iter()
            .chain(settings.iter().copied()),
        );
        let config = env.build(ServiceConfig::from_env)?;
        let (telemetry, _) = Telemetry::build(&TelemetryConfig::quiet("kiosk"))?;
        let process = Process {
            about: About {
                name: "kiosk",
                prefix: "KIOSK",
                version: "0",
                summary: "a test",
            },
            instance: instance.to_owned(),
            shutdown: CancellationToken::new(),
            grace: Duration::from_secs(10),
            health: Health::new(),
            telemetry,
            admin: None,
        };
        let mut service = Service::connect(config, &MIGRATOR, &process).await?;
        let handle = service
            .participant(Kiosk, Pg)
            .effect(Arc::clone(&self.greeter))
            .start();
        let task = tokio::spawn(service.run());
        Ok(Running {
            handle,
            health: process.health,
            telemetry: process.telemetry,
            stop: process.shutdown,
            task,
        })
    }

    /// As a producer without an outbox of ours would send it.
    pub(crate) fn send(&self, made: &Made) -> Result<Uuid> {
        let id = Uuid::new_v4();
        self.send_as(id, made, None, None)?;
        Ok(id)
    }

    /// As the relay would send it.
    pub(crate) fn send_at(&self, made: &Made, position: u64, previous: Option<u64>) -> Result<()> {
        let at = |position| Position::new(1, 1, position);
        self.send_as(
            Uuid::from_u128(u128::from(position)),
            made,
            Some(at(position)),
            previous.map(at),
        )
    }

    pub(crate) fn send_as(
        &self,
        id: Uuid,
        made: &Made,
        at: Option<Position>,
        previous: Option<Position>,
    ) -> Result<()> {
        let mut headers = vec![
            (envelope::CE_ID, id.to_string()),
            (envelope::CE_SOURCE, "/elsewhere".to_owned()),
            (envelope::CE_TYPE, Made::NAME.to_owned()),
            (envelope::CE_SPECVERSION, "1.0".to_owned()),
            (envelope::CE_DATASCHEMA, Made::SCHEMA.to_owned()),
        ];
        headers.extend(at.map(|at| (envelope::CE_SEQUENCE, at.to_string())));
        headers.extend(previous.map(|previous| (envelope::CE_PREVIOUSSEQUENCE, previous.to_string())));
        let headers: Vec<(&str, String)> = headers;
        self.send_raw(&made.id, &serde_json::to_vec(made)?, &headers)
    }

    pub(crate) fn send_raw(&self, key: &str, payload: &[u8], headers: &[(&str, String)]) -> Result<()> {
        let topic = format!("{}visits", self.prefix);
        let headers = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header {
                key,
                value: Some(value.as_str()),
            })
        });
        let record = BaseRecord::to(&topic)
            .key(key)
            .payload(payload)
            .partition(partition_for(key.as_bytes(), PARTITIONS))
            .headers(headers);
        self.producer.send(record).map_err(|(error, _)| error)?;
        Ok(())
    }

    /// What is sent from here on comes from another producer.
    pub(crate) fn connect_anew(&mut self) -> Result<()> {
        self.producer = producer(&self.brokers)?;
        Ok(())
    }

    /// Deletes what is below an offset in a key's partition, as retention does.
    pub(crate) async fn delete_records(&self, key: &str, below: i64) -> Result<()> {
        let kafka: AdminClient<_> = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .create()?;
        let topic = format!("{}visits", self.prefix);
        let partition = partition_for(key.as_bytes(), PARTITIONS);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, partition, Offset::Offset(below))?;
        let deleted = kafka.delete_records(&list, &AdminOptions::new()).await?;
        for one in deleted.elements() {
            one.error()?;
        }
        Ok(())
    }

    pub(crate) fn flush(&self) -> Result<()> {
        Ok(self.producer.flush(Duration::from_secs(30))?)
    }

    pub(crate) async fn seen(&self, id: &str) -> Result<Vec<i32>> {
        let seen: Option<Vec<i32>> = sqlx::query_scalar("select seen from visit where id = $1")
            .bind(id)
            .fetch_optional(&self.admin)
            .await?;
        Ok(seen.unwrap_or_default())
    }

    pub(crate) async fn told(&self, id: &str) -> Result<Vec<String>> {
        let told: Option<Vec<String>> = sqlx::query_scalar("select told from visit where id = $1")
            .bind(id)
            .fetch_optional(&self.admin)
            .await?;
        Ok(told.unwrap_or_default())
    }

    pub(crate) async fn number(&self, sql: &'static str) -> Result<i64> {
        Ok(sqlx::query_scalar(sql).fetch_one(&self.admin).await?)
    }

    pub(crate) async fn run(&self, sql: &'static str) -> Result<()> {
        sqlx::query(sql).execute(&self.admin).await?;
        Ok(())
    }

    /// Waits until the consumer group is at rest and has so many members, each with partitions.
    pub(crate) async fn members(&self, wanted: usize) -> Result<()> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .create()?;
        let begun = Instant::now();
        loop {
            let is: Vec<(String, usize)> = tokio::task::block_in_place(|| {
                let groups = match consumer.fetch_group_list(None, PATIENCE) {
                    Ok(groups) => groups,
                    // The broker knows its groups when it has read where it keeps them: for the first consumers it makes that.
                    Err(error)
                        if error.rdkafka_error_code()
                            == Some(RDKafkaErrorCode::CoordinatorLoadInProgress) =>
                    {
                        return anyhow::Ok(Vec::new());
                    }
                    Err(error) => return Err(error.into()),
                };
                let ours = groups
                    .groups()
                    .iter()
                    .filter(|group| group.name().starts_with(&self.prefix));
                // An assignment without partitions is ten bytes long.
                let busy = |group: &GroupInfo| {
                    let members = group.members().iter();
                    let has_some =
                        |member: &&GroupMemberInfo| member.assignment().is_some_and(|a| a.len() > 10);
                    members.filter(has_some).count()
                };
                anyhow::Ok(
                    ours.map(|group| (group.state().to_owned(), busy(group)))
                        .collect(),
                )
            })?;
            if is == [("Stable".to_owned(), wanted)] {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("the consumer group is {is:?}, not stable with {wanted}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Joins the kiosk's group under the name of an instance, until the group throws it out for another one or has given
    /// it partitions and waited for nobody.
    pub(crate) async fn pose_as(&self, instance: &str) -> Result<()> {
        let group = format!("{}kiosk", self.prefix);
        let double: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", &group)
            .set("group.instance.id", format!("{group}-{instance}"))
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "6000")
            .create()?;
        let topic = format!("{}visits", self.prefix);
        tokio::task::block_in_place(|| {
            double.subscribe(&[topic.as_str()])?;
            let begun = Instant::now();
            while double.client().fatal_error().is_none() && double.assignment()?.count() == 0 {
                if begun.elapsed() > PATIENCE {
                    bail!("nobody took notice of the double of {instance}");
                }
                drop(double.poll(Duration::from_millis(50)));
            }
            Ok(())
        })
    }

    /// Waits until `number(sql)` is `wanted`.
    pub(crate) async fn until(&self, sql: &'static str, wanted: i64) -> Result<()> {
        let begun = Instant::now();
        let mut is = self.number(sql).await?;
        while is != wanted {
            if begun.elapsed() > PATIENCE {
                bail!("'{sql}' is {is}, not {wanted}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            is = self.number(sql).await?;
        }
        Ok(())
    }
}

impl Running {
    /// Waits until a metric of this consumer has this value.
    pub(crate) async fn until_metric(&self, world: &World, name: &str, wanted: &str) -> Result<()> {
        let consumer = format!("consumer=\"{}", world.prefix);
        let begun = Instant::now();
        loop {
            let text = self.telemetry.metrics_text();
            let is = text
                .lines()
                .find(|line| line.starts_with(name) && line.contains(&consumer))
                .and_then(|line| line.rsplit(' ').next());
            if is == Some(wanted) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("{name} is {is:?}, not {wanted}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the health report holds these words.
    pub(crate) async fn until_down(&self, words: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            let report = format!("{:?}", self.health.report());
            if report.contains(words) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("nobody says '{words}': {report}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Drops the handle, as a service does that takes no commands; then stops.
    pub(crate) async fn without_handle(self, meanwhile: impl Future<Output = Result<()>>) -> Result<()> {
        let Self {
            handle, task, stop, ..
        } = self;
        drop(handle);
        meanwhile.await?;
        stop.cancel();
        Ok(tokio::time::timeout(PATIENCE, task)
            .await
            .context("the service did not stop")???)
    }

    /// As SIGTERM would.
    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        Ok(tokio::time::timeout(PATIENCE, self.task)
            .await
            .context("the service did not stop")???)
    }
}

fn producer(brokers: &str) -> Result<Plain> {
    Ok(ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "1")
        .create()?)
}
