use std::collections::BTreeMap;

use chrono::SecondsFormat;
use quadrille_contracts::TOPICS;
use quadrille_process::kafka::KafkaSettings;
use saga_core::envelope::CE_TYPE;
use saga_core::topic::PARTITIONS;

use super::migrate::topics_failure;
use crate::failure::{Code, Failure};
use crate::migrate::topics as registry;
use crate::records::{self, Begin, Range, Record, TopicInfo};
use crate::screen::{self, Output};
use crate::settings::Settings;
use crate::table::{Column, Table};

const EXAMPLES: &str = "\
Examples:
  sagactl topics list
  sagactl topics create trip-events hotel-events         # of a system of your own
  sagactl topics tail order-events                       # the last ten records
  sagactl topics tail order-events -f                    # and what is added, until Ctrl-C
  sagactl topics tail payment-events --key 0192… --from-beginning
  sagactl topics tail order-events-dlt -n 1 --output json";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Lists the topics and how much is in them.
    List,
    /// Makes the topics that are missing: those of the shop, or those that are named.
    Create(Create),
    /// Shows the records of a topic.
    Tail(Tail),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Names without the prefix. Each gets a topic for dead letters, too.
    names: Vec<String>,
    /// How many partitions each has; topics of one saga need the same number.
    #[arg(long, value_name = "N", requires = "names", default_value_t = PARTITIONS, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    partitions: u32,
}

#[derive(Debug, clap::Args)]
struct Tail {
    /// Name of the topic, without the prefix.
    topic: String,
    /// Only records with this key.
    #[arg(long)]
    key: Option<String>,
    /// From the oldest record that is kept.
    #[arg(long)]
    from_beginning: bool,
    /// How many: the last so many, or with --from-beginning the first. Default 10; all with --from-beginning.
    #[arg(short = 'n', long = "lines", value_name = "N")]
    lines: Option<usize>,
    /// Goes on with what is added.
    #[arg(short, long)]
    follow: bool,
}

pub(crate) async fn run(arguments: Arguments, settings: Settings, output: Output) -> Result<Code, Failure> {
    let kafka = settings.kafka()?;
    match arguments.verb {
        Verb::List => {
            let topics = records::topics(&kafka).await?;
            screen::show(output, &topics, |topics| table(topics));
            Ok(Code::Ok)
        }
        Verb::Create(Create { names, partitions }) => {
            let wanted = match names.is_empty() {
                true => registry::wanted(TOPICS, &kafka.prefix),
                false => registry::usual(&names, partitions, &kafka.prefix),
            };
            registry::create(&kafka, &wanted, &|line| screen::say(line))
                .await
                .map_err(topics_failure)?;
            Ok(Code::Ok)
        }
        Verb::Tail(tail) => {
            show(&kafka, tail, output).await?;
            Ok(Code::Ok)
        }
    }
}

fn table(topics: &[TopicInfo]) -> Table {
    let mut table = Table::new([
        Column::Left("TOPIC"),
        Column::Right("PARTITIONS"),
        Column::Right("RECORDS"),
        Column::Right("REPLICAS"),
        Column::Right("IN SYNC"),
    ]);
    for topic in topics {
        table.row([
            topic.topic.clone(),
            topic.partitions.to_string(),
            topic.records.to_string(),
            topic.replicas.to_string(),
            topic.in_sync_min.to_string(),
        ]);
    }
    table
}

async fn show(kafka: &KafkaSettings, tail: Tail, output: Output) -> Result<(), Failure> {
    let topic = kafka.prefixed(&tail.topic);
    let partitions: Vec<i32> = match &tail.key {
        Some(key) => records::partitions_of(kafka, &topic, key).await?,
        None => (0..records::partitions(kafka, &topic).await?).collect(),
    };
    let range = |begin, follow| Range {
        topic: topic.clone(),
        partitions: partitions.clone(),
        begin,
        follow,
    };
    let wanted = |record: &Record| {
        tail.key
            .as_ref()
            .is_none_or(|key| record.key.as_deref() == Some(key.as_bytes()))
    };
    let print = |record: &Record| match output {
        Output::Table => screen::say(line(record)),
        Output::Json => screen::say(record.to_json()),
    };

    if tail.follow && tail.from_beginning {
        return follow(kafka, range(Begin::Beginning, true), tail.lines, wanted, print).await;
    }
    // A key's last records may be anywhere in its partition.
    let count = tail.lines.unwrap_or(10);
    let begin = if tail.from_beginning || tail.key.is_some() {
        Begin::Beginning
    } else {
        Begin::Last(i64::try_from(count).unwrap_or(i64::MAX))
    };
    let mut next = if tail.follow {
        records::ends(kafka, &topic, &range(Begin::Beginning, true).partitions).await?
    } else {
        BTreeMap::new()
    };
    let mut found: Vec<Record> = records::read_all(kafka, range(begin, false)).await?;
    for record in &found {
        let next = next.entry(record.partition).or_default();
        *next = (*next).max(record.offset + 1);
    }
    found.retain(wanted);
    // Within a partition offsets tell the order, across partitions only time does.
    found.sort_by_key(|record| (record.timestamp, record.partition, record.offset));
    let shown = if tail.from_beginning {
        &found[..tail.lines.unwrap_or(found.len()).min(found.len())]
    } else {
        &found[found.len().saturating_sub(count)..]
    };
    shown.iter().for_each(print);
    if tail.follow {
        return follow(kafka, range(Begin::At(next), true), None, wanted, print).await;
    }
    Ok(())
}

async fn follow(
    kafka: &KafkaSettings,
    range: Range,
    lines: Option<usize>,
    wanted: impl Fn(&Record) -> bool,
    print: impl Fn(&Record),
) -> Result<(), Failure> {
    let mut receiver = records::read(kafka, range)?;
    let mut left = lines.unwrap_or(usize::MAX);
    while left > 0
        && let Some(record) = receiver.recv().await
    {
        let record = record?;
        if wanted(&record) {
            print(&record);
            left -= 1;
        }
    }
    Ok(())
}

fn line(record: &Record) -> String {
    let at = record.timestamp.map_or_else(
        || "-".to_owned(),
        |at| at.to_rfc3339_opts(SecondsFormat::Millis, true),
    );
    let payload = record.payload.as_deref().map_or_else(
        || "(nothing)".to_owned(),
        |bytes| records::payload(bytes).to_string(),
    );
    let kind = record.header(CE_TYPE).unwrap_or("-");
    let mut line = format!(
        "{at}  {}  {}  {kind}  {payload}",
        record.place(),
        record.key_text()
    );
    if let Some(why) = record.header("kafka_dlt-exception-message") {
        line.push_str(&format!("  parked: {why}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn a_record_is_a_line() {
        let record = Record {
            topic: "order-events-dlt".to_owned(),
            partition: 3,
            offset: 17,
            timestamp: DateTime::from_timestamp_millis(1_785_585_600_123),
            key: Some(b"o-1".to_vec()),
            headers: vec![
                (CE_TYPE.to_owned(), b"quadrille.dead_letter".to_vec()),
                (
                    "kafka_dlt-exception-message".to_owned(),
                    b"no such order".to_vec(),
                ),
            ],
            payload: Some(b"{\"order_id\": \"o-1\"}".to_vec()),
        };
        assert_eq!(
            line(&record),
            "2026-08-01T12:00:00.123Z  order-events-dlt/3@17  o-1  quadrille.dead_letter  {\"order_id\":\"o-1\"}  \
             parked: no such order"
        );
    }
}
