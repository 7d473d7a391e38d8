//! More partitions for a topic, without its keys losing their order.
//!
//! The relay spreads keys over the number of partitions that it met a topic with. When the broker has more of them, the
//! new ones get nothing until somebody asks for it here: then the relay waits until everything it has published is
//! acknowledged and the consumer groups that are named have read it, and moves the keys. Events wait meanwhile, for as
//! long as [`Options::grow_within`] at most; if a group does not get there, they go on as before, and the relay
//! tries again.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use crate::kafka::config::client;
use crate::kafka::readers::Readers;
use crate::options::Options;
use crate::outbox::connection::connect;
use crate::outbox::error::{OutboxError, within};
use crate::outbox::growth::{ASK_FOR_GROWTH, GROWTH};

/// Why a topic does not grow.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The broker refused, or did not answer.
    #[error("{doing}")]
    Kafka {
        /// What it was asked.
        doing: &'static str,
        /// What it said.
        #[source]
        source: KafkaError,
    },
    /// The outbox's database did.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
}

/// A topic as the broker has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// How many partitions; 0 if there is no such topic.
    pub partitions: usize,
    /// The consumer groups that have read it and told the broker so, in alphabetical order.
    pub readers: Vec<String>,
}

/// What an outbox spreads a topic's keys over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spread {
    /// Partitions.
    pub partitions: i32,
    /// How many it shall be, if that was asked for and not done yet.
    pub wanted: Option<i32>,
    /// What that waits for, as the relay says.
    pub note: Option<String>,
    /// Whether a relay serves the outbox.
    pub served: bool,
}

const PATIENCE: Duration = Duration::from_secs(15);

/// Looks at a topic.
///
/// # Errors
/// [`Error::Kafka`], also when one of the groups may not be looked at: then nobody knows who has read what.
pub async fn look(options: &Options, topic: &str) -> Result<Found, Error> {
    let kafka = |doing| move |source| Error::Kafka { doing, source };
    let mut readers = Readers::new(options.kafka.clone());
    let partitions = readers
        .partitions(topic)
        .await
        .map_err(kafka("asking the broker about the topic"))?;
    let readers = match i32::try_from(partitions) {
        Ok(0) | Err(_) => Vec::new(),
        Ok(count) => readers
            .of(topic, count)
            .await
            .map_err(kafka("asking the broker who reads the topic"))?,
    };
    Ok(Found { partitions, readers })
}

/// Has the broker make partitions, up to a number. Keys stay where they are.
///
/// # Errors
/// [`Error::Kafka`]: the relay's user needs the right to alter the topic for this.
pub async fn add_partitions(options: &Options, topic: &str, partitions: usize) -> Result<(), Error> {
    let failed = |source| Error::Kafka {
        doing: "having the broker make partitions",
        source,
    };
    let admin: AdminClient<DefaultClientContext> = client(&options.kafka).create().map_err(failed)?;
    let request = AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE));
    let made = admin
        .create_partitions([&NewPartitions::new(topic, partitions)], &request)
        .await;
    // Its threads are joined, which an async worker has no time for.
    std::thread::spawn(move || drop(admin));
    for result in made.map_err(failed)? {
        result.map_err(|(_, code)| failed(KafkaError::AdminOp(code)))?;
    }
    Ok(())
}

/// Asks the outbox's relay, whoever that is, to spread a topic's keys over more partitions once these groups have
/// read what was published before. `false`: the outbox has never published to the topic, or spreads over as many already.
///
/// # Errors
/// [`Error::Outbox`].
pub async fn ask(
    options: &Options,
    topic: &str,
    partitions: i32,
    wait_for: &[String],
) -> Result<bool, Error> {
    let mut connection = open(options).await?;
    let asked = within(
        PATIENCE,
        "asking for a topic's growth",
        sqlx::query(ASK_FOR_GROWTH)
            .bind(topic)
            .bind(partitions)
            .bind(wait_for)
            .execute(&mut connection),
    )
    .await?;
    connection.close().await.ok();
    Ok(asked.rows_affected() == 1)
}

/// What the outbox spreads a topic's keys over. `None`: it has never published to the topic.
///
/// # Errors
/// [`Error::Outbox`].
pub async fn spread(options: &Options, topic: &str) -> Result<Option<Spread>, Error> {
    let mut connection = open(options).await?;
    let row: Option<(i32, Option<i32>, Option<String>, bool)> = within(
        PATIENCE,
        "looking at a topic's growth",
        sqlx::query_as(GROWTH).bind(topic).fetch_optional(&mut connection),
    )
    .await?;
    connection.close().await.ok();
    Ok(row.map(|(partitions, wanted, note, served)| Spread {
        partitions,
        wanted,
        note,
        served,
    }))
}

async fn open(options: &Options) -> Result<PgConnection, Error> {
    Ok(connect(&options.database.primary().await?, PATIENCE).await?)
}
