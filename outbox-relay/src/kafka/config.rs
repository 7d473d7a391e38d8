use rdkafka::ClientConfig;

/// What the promises rest on, set after the user's properties so that it cannot be undone.
const FORCED: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    // Else the events behind a refused one land, and the repaired one comes after them.
    ("enable.gapless.guarantee", "true"),
    ("acks", "all"),
    ("message.send.max.retries", "2147483647"),
    // Never: a timeout leaves a gap, idempotence or not.
    ("message.timeout.ms", "0"),
    ("delivery.report.only.error", "false"),
    // The topic's limit counts, not the client's.
    ("message.max.bytes", "1000000000"),
    // What waits is bounded by the relay, in events and in bytes.
    ("queue.buffering.max.messages", "0"),
    ("queue.buffering.max.kbytes", "2147483647"),
];

/// Defaults that a user may change.
const PREFERRED: &[(&str, &str)] = &[
    ("client.id", "outbox-relay"),
    ("linger.ms", "0"),
    ("socket.nagle.disable", "true"),
    ("socket.keepalive.enable", "true"),
    ("reconnect.backoff.ms", "50"),
    ("reconnect.backoff.max.ms", "1000"),
    ("retry.backoff.ms", "20"),
    // Histograms for a broker that collects them from its clients: a tenth of what an outbox that sleeps has in memory.
    ("enable.metrics.push", "false"),
];

const IN_FLIGHT: &str = "max.in.flight.requests.per.connection";
const MAX_IN_FLIGHT: u32 = 5;

/// Properties that do not count: one that each outbox has for itself, and aliases that would come to the same thing as
/// what is forced by another name.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "transactional.id",
        "set RELAY_TRANSACTIONAL_ID_PREFIX: each outbox needs an id of its own",
    ),
    (
        "request.required.acks",
        "leave it out: the relay waits for all replicas",
    ),
    ("retries", "leave it out: the relay never gives up"),
    ("delivery.timeout.ms", "leave it out: a timeout would leave a gap"),
    (
        "max.in.flight",
        "say max.in.flight.requests.per.connection, up to 5",
    ),
];

/// The default of `batch.size`, and what a batch may need on top of it.
const BATCH_BYTES: usize = 1_000_000;
const BATCH_OVERHEAD: usize = 1024;

/// Properties of the user's that do not count, with what the relay sets them to.
pub(crate) fn overruled(kafka: &[(String, String)]) -> Vec<(&str, &'static str)> {
    let forced = |name: &str| FORCED.iter().find(|(forced, _)| *forced == name);
    kafka
        .iter()
        .filter_map(|(name, value)| {
            let (_, ours) = forced(name)?;
            (value != ours).then_some((name.as_str(), *ours))
        })
        .collect()
}

/// Properties of the user's that are left out, with what to do instead.
pub(crate) fn passed_over(kafka: &[(String, String)]) -> Vec<(&str, &'static str)> {
    let set = |name: &str| kafka.iter().any(|(known, _)| known == name);
    let left_out = LEFT_OUT.iter().filter(|(name, _)| set(name)).copied();
    let asked = kafka
        .iter()
        .rev()
        .find(|(name, _)| name == IN_FLIGHT)
        .and_then(|(_, value)| value.parse::<u32>().ok());
    let clamped = asked.filter(|asked| !(1..=MAX_IN_FLIGHT).contains(asked));
    left_out
        .chain(clamped.map(|_| {
            (
                IN_FLIGHT,
                "the relay keeps it between 1 and 5, or a retry could change the order",
            )
        }))
        .collect()
}

/// A client with the user's properties alone.
pub(crate) fn client(kafka: &[(String, String)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in kafka {
        config.set(name, value);
    }
    config
}

/// Who looks at topics in a group's name: nothing is joined, and nothing committed.
pub(crate) fn looker(kafka: &[(String, String)], group: &str) -> ClientConfig {
    let mut config = client(kafka);
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .remove("transactional.id");
    config
}

/// The group of looks that belong to none.
pub(crate) const NOBODY: &str = "outbox-relay-looks";

/// What a transaction does for the same promises, in another way: what is behind an event that is refused is not
/// committed. A gap would be the end of the producer, instead of the end of its transaction.
const FORCED_IN_TRANSACTIONS: &[(&str, &str)] = &[("enable.gapless.guarantee", "false")];

/// librdkafka's configuration of one producer, under an id if it makes transactions.
///
/// `smallest_limit` is the smallest `max.message.bytes` of the topics: a batch that is larger is refused
/// as a whole, with a hundred small events in it.
pub(crate) fn producer(
    kafka: &[(String, String)],
    smallest_limit: Option<usize>,
    transactional_id: Option<&str>,
) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in PREFERRED {
        config.set(*name, *value);
    }
    for (name, value) in kafka {
        config.set(name, value);
    }
    for (name, _) in LEFT_OUT {
        config.remove(name);
    }
    let in_flight = config
        .get(IN_FLIGHT)
        .and_then(|value| value.parse().ok())
        .unwrap_or(MAX_IN_FLIGHT);
    config.set(IN_FLIGHT, in_flight.clamp(1, MAX_IN_FLIGHT).to_string());
    let batch = config.get("batch.size").and_then(|value| value.parse().ok());
    config.set(
        "batch.size",
        batch_bytes(batch.unwrap_or(BATCH_BYTES), smallest_limit).to_string(),
    );
    for (name, value) in FORCED {
        config.set(*name, *value);
    }
    if let Some(id) = transactional_id {
        config.set("transactional.id", id);
        for (name, value) in FORCED_IN_TRANSACTIONS {
            config.set(*name, *value);
        }
    }
    config
}

/// The largest batch that every topic takes.
pub(crate) fn batch_bytes(wanted: usize, smallest_limit: Option<usize>) -> usize {
    let limit = smallest_limit.map_or(BATCH_BYTES, |limit| limit.saturating_sub(BATCH_OVERHEAD));
    wanted.min(limit).max(1)
}

/// Whether records are compressed, so that an event's size says little about what the broker sees.
pub(crate) fn compresses(kafka: &[(String, String)]) -> bool {
    kafka
        .iter()
        .rev()
        .find(|(name, _)| matches!(name.as_str(), "compression.type" | "compression.codec"))
        .is_some_and(|(_, codec)| codec != "none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_cannot_undo_what_promises_rest_on() {
        let pairs = [
            ("enable.idempotence", "false"),
            ("retries", "0"),
            ("acks", "1"),
            ("delivery.timeout.ms", "100"),
            ("max.in.flight.requests.per.connection", "1000000"),
            ("linger.ms", "20"),
            ("batch.size", "5000000"),
            ("transactional.id", "mine"),
        ];
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        let names: Vec<_> = passed_over(&pairs).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            ["transactional.id", "retries", "delivery.timeout.ms", IN_FLIGHT]
        );
        assert!(passed_over(&[(IN_FLIGHT.to_owned(), "5".to_owned())]).is_empty());
        let config = producer(&pairs, Some(100_000), None);
        for (name, value) in FORCED {
            assert_eq!(config.get(name), Some(*value));
        }
        assert_eq!(config.get("retries"), None);
        assert_eq!(config.get("delivery.timeout.ms"), None);
        assert_eq!(config.get("max.in.flight.requests.per.connection"), Some("5"));
        assert_eq!(config.get("linger.ms"), Some("20"));
        assert_eq!(config.get("batch.size"), Some("98976"));
        assert_eq!(config.get("transactional.id"), None);
        let config = producer(&pairs, None, Some("shop-order"));
        assert_eq!(config.get("transactional.id"), Some("shop-order"));
        assert_eq!(config.get("enable.gapless.guarantee"), Some("false"));
    }
}
