use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};

use super::Finding;
use crate::kafka::config;
use crate::kafka::transactions::Transactions;
use crate::options::Options;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Whether the broker lets the relay make transactions, if it is to make any.
///
/// Who begins under an id shuts out whoever has it. So it is tried under a name beside it, which the broker forgets by
/// itself after some days, and a relay at work is not disturbed.
pub(super) async fn look(options: &Options, topics: Vec<String>, findings: &mut Vec<Finding>) {
    let Some(id) = &options.transactional_id else {
        return;
    };
    findings.push(judge_reading(id, committed(options, id, topics).await));
    findings.push(judge_making(id, begin(options, &beside(id)).await));
}

fn beside(id: &str) -> String {
    format!("{id}-check")
}

async fn committed(options: &Options, id: &str, topics: Vec<String>) -> Result<(), KafkaError> {
    let transactions = Transactions::of(&options.kafka, id)?;
    transactions.committed(topics).await.map(drop)
}

async fn begin(options: &Options, id: &str) -> Result<(), KafkaError> {
    let config = config::producer(&options.kafka, None, Some(id));
    let tried = tokio::task::spawn_blocking(move || {
        let producer: BaseProducer = config.create()?;
        producer.init_transactions(ANSWER_WITHIN)
    });
    tried.await.unwrap_or(Err(KafkaError::Canceled))
}

fn judge_reading(id: &str, asked: Result<(), KafkaError>) -> Finding {
    match asked {
        Ok(()) => Finding::fine(format!("group {id} tells what was committed")),
        Err(error) => Finding::wrong(
            format!("the broker does not tell what was committed in the name of group {id}: {error}"),
            "allow the relay's user to read that group",
        ),
    }
}

fn judge_making(id: &str, tried: Result<(), KafkaError>) -> Finding {
    let tried_as = beside(id);
    match tried {
        Ok(()) => Finding::fine(format!("transactions can be made (tried as {tried_as})")),
        Err(error) if is_refusal(&error) => Finding::doubtful(
            format!(
                "the relay's user may not use the transactional id {tried_as}, which was tried in place of {id}"
            ),
            format!("see that it may write and describe {id}, or allow all ids with that prefix"),
        ),
        Err(error) => Finding::wrong(
            format!("the broker makes no transactions: {error}"),
            "see that there are as many brokers as its transaction.state.log.replication.factor and .min.isr ask for",
        ),
    }
}

fn is_refusal(error: &KafkaError) -> bool {
    let code = match error {
        KafkaError::Transaction(error) => Some(error.code()),
        other => other.rdkafka_error_code(),
    };
    code == Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed)
}
