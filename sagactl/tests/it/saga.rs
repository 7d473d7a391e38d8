use std::time::Duration;

use quadrille_contracts::TOPICS;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use saga_core::id::{of_outcome, of_output};
use saga_core::partitioner::partition_for;
use sagactl::migrate::{Duty, topics};
use uuid::Uuid;

use crate::place::Place;
use crate::program::sagactl;

struct Publisher<'p> {
    place: &'p Place,
    producer: FutureProducer,
}

impl<'p> Publisher<'p> {
    fn new(place: &'p Place) -> Self {
        let mut config = ClientConfig::new();
        config.extend(place.kafka.client_properties());
        Self {
            place,
            producer: config.create().unwrap(),
        }
    }

    async fn publish(&self, topic: &str, source: &str, name: &str, key: &str, id: Uuid, cause: Uuid) {
        let topic = self.place.kafka.prefixed(topic);
        let (id, cause) = (id.to_string(), cause.to_string());
        let attributes = [
            ("ce_id", id.as_str()),
            ("ce_source", source),
            ("ce_type", name),
            ("ce_specversion", "1.0"),
            ("ce_time", "2026-08-01T12:00:00Z"),
            ("ce_causationid", &cause),
            (
                "ce_traceparent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            ),
        ];
        let headers = attributes
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: Some(*value),
                })
            });
        let record = FutureRecord::to(&topic)
            .key(key)
            .partition(partition_for(key.as_bytes(), 12))
            .headers(headers)
            .payload(r#"{"token": "tok_ok"}"#);
        self.producer.send(record, Duration::from_secs(10)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_is_told_from_its_topics() {
    let place = Place::migrated(&["payment"]).await;
    let wanted = topics::wanted(TOPICS, &place.kafka.prefix);
    topics::create(&place.kafka, &wanted, &|_| {}).await.unwrap();
    let saga = Uuid::from_u128(7).to_string();
    let other = Uuid::from_u128(8).to_string();
    let id = Uuid::from_u128;
    let charged = of_outcome(of_output("payment", &saga, id(2), "charge", 0), 1);
    let publisher = Publisher::new(&place);
    let events = [
        ("order-events", "/order", "order.created", &saga, id(1), id(99)),
        ("order-events", "/order", "order.created", &other, id(50), id(98)),
        (
            "stock-events",
            "/inventory",
            "stock.reserved",
            &saga,
            id(2),
            id(1),
        ),
        // Published twice, as it may be.
        (
            "stock-events",
            "/inventory",
            "stock.reserved",
            &saga,
            id(2),
            id(1),
        ),
        (
            "payment-events",
            "/payment",
            "payment.succeeded",
            &saga,
            id(3),
            charged,
        ),
    ];
    for (topic, source, name, key, id, cause) in events {
        publisher.publish(topic, source, name, key, id, cause).await;
    }
    let mut payment = place.connect("payment", Duty::Work).await;
    let sql = "insert into saga.effect (id, participant, saga, kind, payload) values (gen_random_uuid(), 'payment', $1, 'refund', '{}')";
    sqlx::query(sql).bind(&saga).execute(&mut payment).await.unwrap();

    let settings = place.settings(&["payment"]);
    let shown = sagactl(&settings, &["saga", "show", &saga]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    let lines: Vec<&str> = shown.out.lines().collect();
    assert!(
        lines[0].starts_with(&format!("saga {saga}  order.created  3 events")),
        "{shown:?}"
    );
    assert!(
        lines[2].contains("order.created") && lines[2].ends_with("← PlaceOrder"),
        "{shown:?}"
    );
    assert!(lines[3].contains("└─ stock.reserved"), "{shown:?}");
    assert!(
        lines[4].contains("   └─ payment.succeeded") && lines[4].ends_with("← charge answered"),
        "{shown:?}"
    );
    assert!(
        shown.out.contains("payment: effect refund, about to be called"),
        "{shown:?}"
    );
    assert!(shown.out.contains("not looked at: order"), "{shown:?}");

    let json = sagactl(&settings, &["saga", "show", &saga, "--output", "json"])
        .await
        .json();
    assert_eq!(json["events"][2]["caused_by"], id(2).to_string());
    assert_eq!(json["waits"][0]["wait"], "effect");
    let nobody = sagactl(&settings, &["saga", "show", "o-unknown"]).await;
    assert_eq!(nobody.code, 2, "{nobody:?}");

    let tail = |more: &'static [&'static str]| {
        let settings = settings.clone();
        let key = other.clone();
        async move {
            let mut arguments = vec!["topics", "tail", "order-events", "--key", &key];
            arguments.extend(more);
            sagactl(&settings, &arguments).await
        }
    };
    let tailed = tail(&[]).await;
    assert_eq!(tailed.code, 0, "{tailed:?}");
    assert_eq!(tailed.out.lines().count(), 1, "{tailed:?}");
    assert!(
        tailed.out.ends_with(r#"order.created  {"token":"***"}"#),
        "{tailed:?}"
    );
    let all = sagactl(
        &settings,
        &[
            "topics",
            "tail",
            "stock-events",
            "--from-beginning",
            "--output",
            "json",
        ],
    )
    .await;
    assert_eq!(all.out.lines().count(), 2, "{all:?}");
    let last = sagactl(&settings, &["topics", "tail", "stock-events", "-n", "1"]).await;
    assert_eq!(last.out.lines().count(), 1, "{last:?}");
    let followed = sagactl(
        &settings,
        &[
            "topics",
            "tail",
            "stock-events",
            "--from-beginning",
            "-f",
            "-n",
            "2",
        ],
    )
    .await;
    assert_eq!(
        (followed.code, followed.out.lines().count()),
        (0, 2),
        "{followed:?}"
    );
    let unknown = sagactl(&settings, &["topics", "tail", "dragon-events"]).await;
    assert_eq!(unknown.code, 2, "{unknown:?}");
    let listed = sagactl(&settings, &["topics", "list", "--output", "json"])
        .await
        .json();
    assert_eq!(listed.as_array().unwrap().len(), wanted.len());
    assert_eq!(listed[0]["records"], 2);
}
