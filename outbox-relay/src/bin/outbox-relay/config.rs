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
    spans: bool,
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
        let spans = env
            .optional::<String>("OTLP_ENDPOINT", "where spans are sent to")
            .is_some();
        Some(Config {
            sources: sources?,
            kafka: kafka?,
            lease,
            poll: (shortest, longest),
            spans,
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
            // What is left of the grace is for giving the lease back.
            options.finish_within = options.finish_within.min(grace / 2);
            options
        };
        self.sources.0.into_iter().map(relay).collect()
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

/// Not a list of outboxes. Says no more, since the text holds passwords.
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
