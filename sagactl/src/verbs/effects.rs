use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::failure::{Code, Failure};
use crate::moment;
use crate::ops::effects::{self, Effect, Replayed};
use crate::ops::{Account, Ops, cut, say_if_cut};
use crate::screen::{self, Output};
use crate::settings::Settings;
use crate::table::{Column, Table};

const EXAMPLES: &str = "\
Examples:
  sagactl effects list
  sagactl effects replay 0192… --reason 'the provider is back'

An effect is a call to the outside world. Exhausted means: called as often as its policy allows, without a definite
answer. It may have been done, so a replay asks the provider what became of it before it calls again.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Lists exhausted effects.
    List {
        /// Those that are under way, too.
        #[arg(long)]
        all: bool,
    },
    /// Lets an exhausted effect begin again.
    Replay {
        /// Id of the effect.
        id: Uuid,
        #[command(flatten)]
        account: Account,
    },
}

pub(crate) async fn run(arguments: Arguments, settings: Settings, output: Output) -> Result<Code, Failure> {
    match arguments.verb {
        Verb::List { all } => {
            let mut ops = Ops::connect(&settings).await?;
            let (mut found, mut more) = (Vec::new(), false);
            for service in &mut ops.services {
                let failed = service.failed("list effects");
                let mut effects = effects::list(&mut service.connection, all)
                    .await
                    .map_err(failed)?;
                more |= cut(&mut effects);
                found.extend(effects);
            }
            found.sort_by_key(|effect| effect.created_at);
            screen::show(output, &found, |found| match found.is_empty() {
                true if all => "no effect is outstanding".to_owned(),
                true => "no effect is exhausted".to_owned(),
                false => table(found, Utc::now()).to_string(),
            });
            say_if_cut(more);
            Ok(ops.conclude())
        }
        Verb::Replay { id, account } => {
            let person = account.person()?;
            let mut ops = Ops::connect(&settings).await?;
            for service in &mut ops.services {
                let failed = service.failed("replay an effect");
                let replayed = effects::replay(&mut service.connection, id, &account.reason, &person)
                    .await
                    .map_err(failed)?;
                match replayed {
                    Replayed::NotHere => {}
                    Replayed::Due => {
                        screen::say(format!("effect {id} of {} begins again", service.name));
                        return Ok(Code::Ok);
                    }
                    Replayed::NotExhausted => {
                        return Err(Failure::new(
                            Code::No,
                            format!(
                                "effect {id} of {} is not exhausted; it is tried by itself",
                                service.name
                            ),
                        ));
                    }
                }
            }
            if ops.conclude() == Code::Ok {
                Err(Failure::not_found(format!("there is no effect {id}")))
            } else {
                Err(Failure::new(
                    Code::Unavailable,
                    format!("effect {id} is not in the databases that answer"),
                ))
            }
        }
    }
}

/// Effects as a table.
pub(crate) fn table(effects: &[Effect], now: DateTime<Utc>) -> Table {
    let mut table = Table::new([
        Column::Left("EFFECT"),
        Column::Left("PARTICIPANT"),
        Column::Left("KIND"),
        Column::Left("SAGA"),
        Column::Right("CALLS"),
        Column::Right("AGE"),
        Column::Left("STATE"),
    ]);
    for effect in effects {
        let state = if effect.exhausted {
            "exhausted".to_owned()
        } else if effect.due_in_ms > 0 {
            format!(
                "due in {}",
                moment::span(TimeDelta::milliseconds(effect.due_in_ms))
            )
        } else {
            "due".to_owned()
        };
        let state = match &effect.last_error {
            Some(error) => format!("{state}: {error}"),
            None => state,
        };
        table.row([
            effect.id.to_string(),
            effect.participant.clone(),
            effect.kind.clone(),
            effect.saga.clone(),
            effect.attempt.to_string(),
            moment::span(now - effect.created_at),
            state,
        ]);
    }
    table
}
