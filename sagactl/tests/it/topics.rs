use std::sync::Mutex;

use quadrille_contracts::TOPICS;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use sagactl::migrate::topics::{self, Error};

use crate::place::Place;

fn admin(place: &Place) -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.extend(place.kafka.client_properties());
    config.create().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_once_with_what_the_registry_says() {
    let place = Place::new();
    let wanted = topics::wanted(TOPICS, &place.kafka.prefix);
    let lines = Mutex::new(Vec::new());
    let say = |line: &str| lines.lock().unwrap().push(line.to_owned());
    let (a, b) = tokio::join!(
        topics::create(&place.kafka, &wanted, &|_| {}),
        topics::create(&place.kafka, &wanted, &|_| {}),
    );
    a.unwrap();
    b.unwrap();
    topics::create(&place.kafka, &wanted, &say).await.unwrap();
    assert_eq!(
        lines.lock().unwrap().as_slice(),
        [format!(
            "topics: 0 made, {} there already; 1 broker(s), 1 replica(s)",
            2 * TOPICS.len()
        )]
    );

    let admin = admin(&place);
    for topic in &wanted {
        let metadata = admin
            .inner()
            .fetch_metadata(Some(&topic.name), std::time::Duration::from_secs(10))
            .unwrap();
        assert_eq!(
            metadata.topics()[0].partitions().len(),
            usize::try_from(topic.partitions).unwrap()
        );
        let described = admin
            .describe_configs(&[ResourceSpecifier::Topic(&topic.name)], &AdminOptions::new())
            .await
            .unwrap()
            .remove(0)
            .unwrap();
        let setting = |key: &str| described.get(key).unwrap().value.clone().unwrap();
        assert_eq!(
            setting("retention.ms"),
            topic.retention.as_millis().to_string(),
            "{}",
            topic.name
        );
        assert_eq!(
            setting("max.message.bytes"),
            topic.message_max_bytes.to_string(),
            "{}",
            topic.name
        );
        assert_eq!(setting("cleanup.policy"), "delete", "{}", topic.name);
        assert_eq!(setting("min.insync.replicas"), "1", "{}", topic.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_other_partitions_is_refused_and_another_retention_is_told() {
    let place = Place::new();
    let mut wanted = topics::wanted(&TOPICS[..1], &place.kafka.prefix);
    topics::create(&place.kafka, &wanted, &|_| {}).await.unwrap();

    wanted[0].retention /= 2;
    let lines = Mutex::new(Vec::new());
    let say = |line: &str| lines.lock().unwrap().push(line.to_owned());
    topics::create(&place.kafka, &wanted, &say).await.unwrap();
    let told = lines.lock().unwrap().join("\n");
    assert!(
        told.contains("retention.ms is 1209600000, new ones get 604800000; left as it is"),
        "{told}"
    );

    wanted[0].partitions = 3;
    topics::create(&place.kafka, &wanted, &say).await.unwrap();
    let told = lines.lock().unwrap().join("\n");
    assert!(
        told.contains("it has grown to 12 partitions, new ones get 3"),
        "{told}"
    );

    wanted[0].partitions = 24;
    match topics::create(&place.kafka, &wanted, &|_| {}).await {
        Err(Error::Partitions {
            found: 12,
            expected: 24,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
}
