/// Reads a saga's events from the topics.
mod events;

/// What caused an event that no event is named as the cause of.
mod cause;

/// Events as a tree of causes and effects.
mod story;

/// The tree as a picture.
mod picture;

use quadrille_process::kafka::KafkaSettings;
use serde::Serialize;

use crate::failure::{Code, Failure};
use crate::ops::waits::{self, Wait};
use crate::ops::{Ops, Service};
use crate::screen::{self, Output};
use crate::settings::Settings;

pub(crate) use picture::picture;
pub(crate) use story::Story;

const EXAMPLES: &str = "\
Examples:
  sagactl saga show 0192…
  sagactl saga show 0192… --output json | jq '.events[].type'

The events are read from the topics, so it works for as long as they keep them. What the saga waits for comes
from the services' databases, as their operators' roles (SAGACTL_ORDER_OPS_URL and so on); without them only
the events are shown.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Shows what happened, when, caused by what, and what it waits for.
    Show {
        /// UUID of the order.
        order: String,
    },
}

/// All that is known of a saga.
#[derive(Debug, Serialize)]
struct Saga {
    #[serde(flatten)]
    story: Story,
    waits: Vec<Wait>,
    not_looked_at: Vec<String>,
}

pub(crate) async fn run(arguments: Arguments, settings: Settings, output: Output) -> Result<Code, Failure> {
    let Verb::Show { order } = arguments.verb;
    let kafka = settings.kafka()?;
    let (story, waiting) = tokio::join!(tell(&kafka, &order), wait_for(&settings, &order));
    let story = story?;
    let (waits, not_looked_at) = match waiting {
        Ok(found) => found,
        Err(failure) => (Vec::new(), vec![failure.to_string()]),
    };
    if story.events.is_empty() && waits.iter().all(|wait| matches!(wait, Wait::Paused { .. })) {
        return Err(Failure::not_found(format!(
            "no topic has an event of saga {order}"
        )));
    }
    let saga = Saga {
        story,
        waits,
        not_looked_at,
    };
    screen::show(output, &saga, text);
    Ok(Code::Ok)
}

/// The story of a saga as the topics have it.
///
/// # Errors
/// If they cannot be read.
pub(crate) async fn tell(kafka: &KafkaSettings, saga: &str) -> Result<Story, Failure> {
    Ok(Story::of(saga, events::read(kafka, saga).await?))
}

async fn wait_for(settings: &Settings, saga: &str) -> Result<(Vec<Wait>, Vec<String>), Failure> {
    let Ops {
        services,
        mut missing,
    } = Ops::connect(settings).await?;
    let mut found = Vec::new();
    for mut service in services {
        match waits::of(&mut service.connection, service.name, saga).await {
            Ok(waits) => found.extend(waits),
            Err(error) => {
                missing.push(Service::failed(&service, "look for what the saga waits for")(error).to_string())
            }
        }
    }
    Ok((found, missing))
}

fn text(saga: &Saga) -> String {
    let mut text = picture(&saga.story);
    text.push_str("\n\n");
    if saga.waits.is_empty() {
        text.push_str(if saga.not_looked_at.is_empty() {
            "waits for nothing"
        } else {
            "waits for nothing that we can see"
        });
    } else {
        text.push_str("waits:");
        for wait in &saga.waits {
            text.push_str("\n  ");
            text.push_str(&wait.line(&saga.story.saga));
        }
    }
    for missing in &saga.not_looked_at {
        text.push_str("\nnot looked at: ");
        text.push_str(missing);
    }
    text
}
