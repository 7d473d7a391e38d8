use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use saga_core::partitioner::partition_for;

use crate::place::Place;
use crate::program::{Said, sagactl};

const TOPIC: &str = "desk-events";

/// A folder that does not outlive the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("quadrille-recording-{}", uuid::Uuid::new_v4())))
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A topic of three partitions with one record of a key.
async fn written(place: &Place) {
    let mut config = ClientConfig::new();
    config.extend(place.kafka.client_properties());
    let name = place.kafka.prefixed(TOPIC);
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let topic = NewTopic::new(&name, 3, TopicReplication::Fixed(1));
    admin
        .create_topics([&topic], &AdminOptions::new())
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    let producer: BaseProducer = config.create().unwrap();
    let record = BaseRecord::to(&name)
        .key("o-1")
        .payload("{}")
        .partition(partition_for(b"o-1", 3));
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(60)).unwrap();
}

async fn record(place: &Place, folder: &Path) -> Said {
    let folder = folder.display().to_string();
    let arguments = ["replay", "record", &folder, "--topics", TOPIC];
    sagactl(&place.settings(&[]), &arguments).await
}

async fn run(folder: &Path) -> Said {
    let folder = folder.display().to_string();
    sagactl(&[], &["replay", "run", &folder, "--programs", "/nowhere"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_whole_or_is_none_and_has_a_folder_of_its_own() {
    let place = Place::new();
    written(&place).await;
    let folder = Folder::new();
    let recorded = record(&place, &folder.0).await;
    assert_eq!(recorded.code, 0, "{recorded:?}");
    let files: Vec<String> = (0..3).map(|n| format!("partition-{n:03}.jsonl")).collect();
    assert_eq!(folder.files(), files);

    let again = record(&place, &folder.0).await;
    assert_eq!(
        (again.code, again.err.contains("is not empty")),
        (64, true),
        "{again:?}"
    );
    assert_eq!(folder.files(), files);

    // As it looks after somebody has pressed Ctrl-C.
    fs::rename(
        folder.0.join("partition-002.jsonl"),
        folder.0.join("partition-002.draft"),
    )
    .unwrap();
    let half = run(&folder.0).await;
    assert_eq!(
        (half.code, half.err.contains("is not whole")),
        (64, true),
        "{half:?}"
    );
}
