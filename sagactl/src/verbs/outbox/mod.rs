/// Who publishes, and what waits.
mod status;

/// What cannot be sent.
mod unsent;

/// The same, for people.
mod view;

use std::time::Duration;

use uuid::Uuid;

use crate::failure::{Code, Failure};
use crate::ops::Account;
use crate::ops::unsent::Subject;
use crate::screen::Output;
use crate::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  sagactl outbox status
  sagactl outbox status --output json | jq '.[] | select(.waiting > 0)'
  sagactl outbox parked
  sagactl outbox show order order-events 0192…
  sagactl outbox replay order order-events 0192… --reason 'max.message.bytes is raised'
  sagactl outbox discard order order-events 0192… --event 7d9c… --reason 'a test of ours'

An event waits until the broker has acknowledged it. The relay notes acknowledgements about once a second, so a few
that are younger than that mean nothing. Exit code 1: nobody serves an outbox, or one is held up, or keys are parked.

A key is parked when the broker refuses one of its events for the event's own sake; its later events wait behind it,
in order, and other keys flow. Where the fault is the topic's (there is none, or it is not ours to write to), the whole
topic is parked and tried again by itself. A replay sends what waits under new positions. To discard is to lose, for
every consumer; what was discarded is kept in saga.outbox_discarded.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Shows who publishes each outbox, and what waits in it.
    Status,
    /// Lists keys and topics whose events cannot be sent.
    Parked,
    /// Shows the events of one, in their order.
    Show {
        #[command(flatten)]
        named: Named,
    },
    /// Lets the relay send them again.
    Replay {
        #[command(flatten)]
        named: Named,
        /// How long to wait for the relay.
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        wait: u64,
        #[command(flatten)]
        account: Account,
    },
    /// Throws events away and lets what waits behind them go.
    Discard {
        #[command(flatten)]
        named: Named,
        /// Only this event, by its id in `outbox show`.
        #[arg(long, value_name = "ID")]
        event: Option<Uuid>,
        /// Does not ask.
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        account: Account,
    },
}

/// Whose events.
#[derive(Debug, clap::Args)]
struct Named {
    /// product, order, inventory or payment.
    service: String,
    /// The topic, with its prefix if there is one.
    topic: String,
    /// The key; left out if the whole topic is parked.
    key: Option<String>,
}

impl Named {
    fn subject(&self) -> Subject<'_> {
        Subject {
            service: &self.service,
            topic: &self.topic,
            key: self.key.as_deref(),
        }
    }
}

pub(crate) async fn run(arguments: Arguments, settings: Settings, output: Output) -> Result<Code, Failure> {
    match arguments.verb {
        Verb::Status => status::run(&settings, output).await,
        Verb::Parked => unsent::list(&settings, output).await,
        Verb::Show { named } => unsent::show(&settings, named.subject(), output).await,
        Verb::Replay { named, wait, account } => {
            unsent::replay(&settings, named.subject(), Duration::from_secs(wait), &account).await
        }
        Verb::Discard {
            named,
            event,
            yes,
            account,
        } => unsent::discard(&settings, named.subject(), event, yes, &account).await,
    }
}
