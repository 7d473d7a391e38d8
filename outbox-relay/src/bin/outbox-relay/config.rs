use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use outbox_relay::{Hosts, Options, SourceName};
use quadrille_process::config::Env;
use quadrille_process::kafka::KafkaSettings;

/// What `run` is configured with.
pub(crate) struct Config {
    sources: Sources,
    kafka: KafkaSettings,
    lease: Duration,
    poll: (Duration, Duration),
    /// Where writers ring, if they do.
    pub(crate) doorbell: Option<SocketAddr>,
    spans: bool,
    transactional_ids: Option<TransactionalIds>,
}

const SOURCES: &str = "name=postgres://role:password@host[:port]/database[,name=…]; with ';' after each if a URL holds commas: host,host";

impl Config {
    pub(crate) fn read(env: &mut Env) -> Option<Config> {
        let sources = sources(env);
        let kafka = KafkaSettings::from_env(env);
        let lease = env.duration_ms("LEASE_MS", Duration::from_secs(10));
        let shortest = env.duration_ms("POLL_MIN_MS", Duration::from_millis(1));
        let longest = env.duration_ms("POLL_MAX_MS", Duration::from_millis(25));
        if lease < Duration::from_secs(1) {
            env.problem(
                "LEASE_MS",
                Some(&lease.as_millis().to_string()),
                "1000 or more: it is renewed three times as often",
            );
        }
        if longest < shortest {
            env.problem(
                "POLL_MAX_MS",
                Some(&longest.as_millis().to_string()),
                "no less than RELAY_POLL_MIN_MS",
            );
        }
        let doorbell = env.optional(
            "DOORBELL_LISTEN",
            "ip:port for datagrams of writers that have committed; they set RELAY_DOORBELLS",
        );
        let spans = env
            .optional::<String>("OTLP_ENDPOINT", "where spans are sent to")
            .is_some();
        let transactional_ids = env.optional(
            "TRANSACTIONAL_ID_PREFIX",
            "a name like shop: up to 100 of A-Z, a-z, 0-9, '-', '_' and '.'",
        );
        Some(Config {
            sources: sources?,
            kafka: kafka?,
            lease,
            poll: (shortest, longest),
            doorbell,
            spans,
            transactional_ids,
        })
    }

    /// One relay's options per outbox.
    pub(crate) fn options(self, owner: &str, grace: Duration) -> Vec<Options> {
        let kafka = self.kafka.client_properties();
        let relay = |Source { name, database }| {
            let mut options = Options::new(name, database, kafka.clone());
            owner.clone_into(&mut options.owner);
            options.lease = self.lease;
            options.poll = self.poll;
            options.spans = self.spans;
            options.transactional_id = self.transactional_ids.as_ref().map(|ids| ids.of(&options.source));
            // What is left of the grace is for giving the lease back.
            options.finish_within = options.finish_within.min(grace / 2);
            options
        };
        self.sources.0.into_iter().map(relay).collect()
    }
}

/// What transactional ids begin with. Two installations on one cluster that have the same would shut each other out.
#[derive(Debug, PartialEq, Eq)]
struct TransactionalIds(String);

impl TransactionalIds {
    fn of(&self, source: &SourceName) -> String {
        format!("{}-{source}", self.0)
    }
}

impl FromStr for TransactionalIds {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if (1..=100).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Malformed)
        }
    }
}

/// What `drain` is configured with.
pub(crate) struct Draining {
    pub(crate) config: Config,
    /// How long it may take.
    pub(crate) within: Duration,
}

impl Draining {
    pub(crate) fn read(env: &mut Env) -> Option<Self> {
        let within = env.duration_ms("DRAIN_WITHIN_MS", Duration::from_secs(600));
        Config::read(env).map(|config| Self { config, within })
    }
}

/// Outboxes and where they are.
pub(crate) struct Sources(pub(crate) Vec<Source>);

/// One of them.
pub(crate) struct Source {
    pub(crate) name: SourceName,
    pub(crate) database: Hosts,
}

/// `RELAY_SOURCES`.
pub(crate) fn sources(env: &mut Env) -> Option<Sources> {
    env.secret_as("SOURCES", SOURCES)
}

/// `RELAY_MIGRATE_SOURCES`.
pub(crate) fn migrate_sources(env: &mut Env) -> Option<Sources> {
    env.secret_as("MIGRATE_SOURCES", SOURCES)
}

/// Not what is expected. Says no more, since the text holds passwords.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl FromStr for Sources {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let separator = if text.contains(';') { ';' } else { ',' };
        let mut sources: Vec<Source> = Vec::new();
        for item in text
            .split(separator)
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            let (name, url) = item.split_once('=').ok_or(Malformed)?;
            let name: SourceName = name.trim().parse().map_err(|_| Malformed)?;
            let database = url.trim().parse().map_err(|_| Malformed)?;
            if sources.iter().any(|known| known.name == name) {
                return Err(Malformed);
            }
            sources.push(Source { name, database });
        }
        if sources.is_empty() {
            Err(Malformed)
        } else {
            Ok(Sources(sources))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, Malformed> {
        let sources: Sources = text.parse()?;
        let pair = |source: &Source| (source.name.to_string(), format!("{:?}", source.database));
        Ok(sources.0.iter().map(pair).collect())
    }

    #[test]
    fn each_outbox_has_a_transactional_id_of_its_own() {
        let ids: TransactionalIds = "eu.shop_2".parse().expect("a prefix");
        assert_eq!(ids.of(&"order".parse().expect("a source")), "eu.shop_2-order");
        for wrong in ["", "a b", "ä", &"x".repeat(101)] {
            assert_eq!(wrong.parse::<TransactionalIds>(), Err(Malformed), "{wrong}");
        }
    }

    #[test]
    fn one_or_many_outboxes() {
        let pair = |name: &str, hosts: &[&str]| {
            let hosts: Vec<String> = hosts.iter().map(|host| format!("{host}/{name}")).collect();
            (name.to_owned(), format!("{hosts:?}"))
        };
        let order = pair("order", &["a:5432"]);
        assert_eq!(read("order=postgres://r:p@a/order"), Ok(vec![order.clone()]));
        let two = Ok(vec![order, pair("payment", &["b:5432"])]);
        assert_eq!(
            read("order=postgres://r@a/order, payment=postgres://r@b/payment"),
            two
        );
        assert_eq!(
            read("order=postgres://r@a/order;payment=postgres://r@b/payment;"),
            two
        );
        assert_eq!(
            read("order=postgres://r:p@a:1,b:2/order?sslmode=disable;"),
            Ok(vec![pair("order", &["a:1", "b:2"])])
        );
        for wrong in [
            "",
            "order",
            "Order=postgres://a/b",
            "o=mysql://a/b",
            "o=postgres://a/b,o=postgres://a/c",
            "o=postgres://a:port/b",
        ] {
            assert_eq!(read(wrong), Err(Malformed), "{wrong}");
        }
    }
}
