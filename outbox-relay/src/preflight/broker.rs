use std::sync::Arc;

use super::{Finding, Target, transactions};
use crate::kafka::config::{overruled, passed_over};
use crate::kafka::directory::Directory;
use crate::kafka::published::{by_partition, is_refusal};
use crate::options::Options;
use crate::state::Shared;

/// The broker, and the topics that events go to.
pub(super) async fn look(options: &Options, targets: &[Target], findings: &mut Vec<Finding>) {
    for (name, ours) in overruled(&options.kafka) {
        findings.push(Finding::doubtful(
            format!("the Kafka property {name} is set, and does not count: the relay needs {ours}"),
            "leave it out",
        ));
    }
    for (name, instead) in passed_over(&options.kafka) {
        findings.push(Finding::doubtful(
            format!("the Kafka property {name} is set, and does not count"),
            instead,
        ));
    }
    let shared = Arc::new(Shared::new(options.source.clone(), options.owner.clone()));
    let names: Vec<String> = targets.iter().map(|target| target.topic.clone()).collect();
    let asked = match Directory::new(&options.kafka) {
        Ok(directory) => directory.look_up(&names, &shared).await,
        Err(error) => Err(error),
    };
    let found = match asked {
        Ok(found) => found,
        Err(error) => {
            let why = shared.broker_reason().unwrap_or_else(|| error.to_string());
            findings.push(Finding::wrong(
                format!("the broker does not answer: {why}"),
                "see that RELAY_KAFKA_BROKERS, the login and the certificate's authority are right",
            ));
            return;
        }
    };
    findings.push(Finding::fine("the broker answers"));
    let there: Vec<String> = found.keys().cloned().collect();
    match by_partition(&options.kafka, &options.source, there.clone()).await {
        Err(error) if is_refusal(&error) => findings.push(Finding::doubtful(
            format!("the relay's user may not read the topics: {error}"),
            "a database that was restored from an older copy is then recognised by the server's identity alone; allow \
             it to read the topics, and the group outbox-relay-looks",
        )),
        // Whatever else goes wrong has been said, or will be of its topic.
        Ok(_) | Err(_) => {}
    }
    transactions::look(options, there, findings).await;
    for target in targets {
        findings.push(match found.get(&target.topic) {
            None => Finding::wrong(
                format!(
                    "topic {} is not there, or the relay's user may not see it",
                    target.topic
                ),
                "create it, or allow the user to describe and write it; the relay never creates topics",
            ),
            Some(found) => judge(target, found.partitions, found.max_message_bytes),
        });
    }
}

fn judge(target: &Target, partitions: i32, limit: Option<usize>) -> Finding {
    let topic = &target.topic;
    if let Some(recorded) = target.recorded.filter(|recorded| partitions < *recorded) {
        return Finding::wrong(
            format!("topic {topic} has {partitions} partitions, but its keys are spread over {recorded}"),
            "it was made anew: give it its partitions back, or correct saga.relay_topic if its consumers have read \
             everything",
        );
    }
    let largest = target.largest.and_then(|bytes| usize::try_from(bytes).ok());
    if let (Some(limit), Some(largest)) = (limit, largest)
        && largest > limit
    {
        return Finding::wrong(
            format!("an event of {largest} bytes waits for topic {topic}, which takes {limit}"),
            "raise the topic's max.message.bytes; without compression the event's key will be parked",
        );
    }
    if let Some(recorded) = target.recorded.filter(|recorded| partitions > *recorded) {
        return Finding::doubtful(
            format!(
                "topic {topic} has grown to {partitions} partitions, and keys stay on the first {recorded}"
            ),
            format!(
                "that keeps the order of each key; `outbox-relay grow {topic} --partitions {partitions}` spreads them anew \
                 once everything is read"
            ),
        );
    }
    let limit = limit.map_or_else(
        || ", and the relay's user may not see how large events may be".to_owned(),
        |limit| format!(", events of up to {limit} bytes"),
    );
    Finding::fine(format!("topic {topic}: {partitions} partitions{limit}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Verdict;

    #[test]
    fn a_topic_is_judged_by_what_waits_for_it() {
        let target = |recorded, largest| Target {
            topic: "events".to_owned(),
            recorded,
            largest,
        };
        let verdict = |target: Target, partitions, limit| judge(&target, partitions, limit).verdict;
        assert_eq!(verdict(target(None, None), 12, None), Verdict::Fine);
        assert_eq!(verdict(target(Some(12), Some(10)), 12, Some(10)), Verdict::Fine);
        assert_eq!(verdict(target(Some(12), Some(11)), 12, Some(10)), Verdict::Wrong);
        assert_eq!(verdict(target(Some(12), None), 6, Some(10)), Verdict::Wrong);
        assert_eq!(verdict(target(Some(6), None), 12, Some(10)), Verdict::Doubtful);
    }
}
