/// Keys and messages, for people.
mod view;

/// Asking a service to decide again.
mod replay;

use std::time::Duration;

use serde_json::json;

use crate::failure::{Code, Failure};
use crate::ops::{Account, Ops, cut, effects, parked, say_if_cut};
use crate::screen::{self, Output};
use crate::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  sagactl parked list
  sagactl parked show inventory 0192…
  sagactl parked replay inventory 0192… --reason 'fixed in 1.4.2'
  sagactl parked discard inventory 0192… --message 17 --reason 'garbage of a load test'

A key is parked when one of its messages cannot be decoded or decided; later messages wait behind it, in order. A
replay lets the service decide them again, which is safe at any time. To discard is to lose: the books of that
saga may not balance afterwards. Either is written down (saga.operator_action).";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Lists parked keys and exhausted effects.
    List {
        /// Only those of this participant.
        participant: Option<String>,
    },
    /// Shows a key's messages, in their order.
    Show {
        /// product, order, inventory or payment.
        participant: String,
        /// The key: the order's id, most of the time.
        key: String,
    },
    /// Lets the service decide a key's messages again.
    Replay {
        /// product, order, inventory or payment.
        participant: String,
        /// The key.
        #[arg(required_unless_present = "all")]
        key: Option<String>,
        /// Every key that is parked there.
        #[arg(long, conflicts_with = "key")]
        all: bool,
        /// How long to wait for the service.
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        wait: u64,
        #[command(flatten)]
        account: Account,
    },
    /// Throws a key's messages away and lets later ones through.
    Discard {
        /// product, order, inventory or payment.
        participant: String,
        /// The key.
        key: String,
        /// Only this message, by its number in `parked show`.
        #[arg(long, value_name = "NUMBER")]
        message: Option<i64>,
        /// Does not ask.
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        account: Account,
    },
}

pub(crate) async fn run(arguments: Arguments, settings: Settings, output: Output) -> Result<Code, Failure> {
    match arguments.verb {
        Verb::List { participant } => list(&settings, participant.as_deref(), output).await,
        Verb::Show { participant, key } => show(&settings, &participant, &key, output).await,
        Verb::Replay {
            participant,
            key,
            all: _,
            wait,
            account,
        } => {
            let person = account.person()?;
            let mut service = Ops::of(&settings, &participant).await?;
            let request = replay::Request {
                participant: &participant,
                reason: &account.reason,
                person: &person,
                wait: Duration::from_secs(wait),
            };
            match key {
                Some(key) => replay::one(&mut service, &request, &key).await,
                None => replay::all(&mut service, &request).await,
            }
        }
        Verb::Discard {
            participant,
            key,
            message,
            yes,
            account,
        } => discard(&settings, &participant, &key, message, yes, &account).await,
    }
}

async fn list(settings: &Settings, participant: Option<&str>, output: Output) -> Result<Code, Failure> {
    let mut ops = Ops::connect(settings).await?;
    let (mut keys, mut exhausted, mut more) = (Vec::new(), Vec::new(), false);
    for service in &mut ops.services {
        let failed = service.failed("list what is parked");
        let mut parked = parked::list(&mut service.connection, participant)
            .await
            .map_err(&failed)?;
        more |= cut(&mut parked);
        keys.extend(parked);
        let mut effects = effects::list(&mut service.connection, false)
            .await
            .map_err(failed)?;
        more |= cut(&mut effects);
        exhausted.extend(
            effects
                .into_iter()
                .filter(|effect| participant.is_none_or(|participant| participant == effect.participant)),
        );
    }
    keys.sort_by_key(|key| key.parked_at);
    let now = chrono::Utc::now();
    screen::show(
        output,
        &json!({ "keys": keys, "exhausted_effects": exhausted }),
        |_| view::list(&keys, &exhausted, now),
    );
    say_if_cut(more);
    Ok(ops.conclude())
}

async fn show(settings: &Settings, participant: &str, key: &str, output: Output) -> Result<Code, Failure> {
    let mut service = Ops::of(settings, participant).await?;
    let failed = service.failed("read what is parked");
    let parked = parked::get(&mut service.connection, participant, key)
        .await
        .map_err(&failed)?
        .ok_or_else(|| not_parked(participant, key))?;
    let messages = parked::messages(&mut service.connection, participant, key)
        .await
        .map_err(failed)?;
    let now = chrono::Utc::now();
    let views: Vec<_> = messages.iter().map(view::message_json).collect();
    screen::show(output, &json!({ "key": parked, "messages": views }), |_| {
        view::key(&parked, &messages, now)
    });
    Ok(Code::Ok)
}

async fn discard(
    settings: &Settings,
    participant: &str,
    key: &str,
    message: Option<i64>,
    yes: bool,
    account: &Account,
) -> Result<Code, Failure> {
    let person = account.person()?;
    let mut service = Ops::of(settings, participant).await?;
    let failed = service.failed("discard what is parked");
    let parked = parked::get(&mut service.connection, participant, key)
        .await
        .map_err(&failed)?
        .ok_or_else(|| not_parked(participant, key))?;
    let what = match message {
        Some(seq) => format!("message {seq} of {participant}/{key}"),
        None => format!("all {} message(s) of {participant}/{key}", parked.messages),
    };
    if !yes
        && !screen::confirmed(&format!(
            "Throw away {what}? They are lost to {participant}. [y/N] "
        ))?
    {
        return Err(Failure::new(Code::No, "nothing was discarded"));
    }
    let gone = parked::discard(
        &mut service.connection,
        participant,
        key,
        message,
        &account.reason,
        &person,
    )
    .await
    .map_err(failed)?;
    match (gone, message) {
        (None, _) => Err(not_parked(participant, key)),
        (Some(0), Some(seq)) => Err(Failure::not_found(format!(
            "{participant}/{key} has no message {seq}"
        ))),
        (Some(count), _) => {
            screen::say(format!("discarded {count} message(s) of {participant}/{key}"));
            Ok(Code::Ok)
        }
    }
}

fn not_parked(participant: &str, key: &str) -> Failure {
    Failure::not_found(format!("{participant}/{key} is not parked"))
}
