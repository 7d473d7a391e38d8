use chrono::{DateTime, Utc};

use crate::failure::{Code, Failure};
use crate::moment;
use crate::ops::pauses::{self, EVERYTHING, Pause};
use crate::ops::{Account, Ops};
use crate::screen::{self, Output};
use crate::settings::Settings;
use crate::table::{Column, Table};

/// Of `pause` and of `resume`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sagactl pause payment --effect refund --reason 'the bank has trouble'
  sagactl resume payment --effect refund --reason 'it is back'
  sagactl paused

Without --effect everything stops that the participant does by itself: events, timers and effects. Commands are still
taken. Nothing is lost meanwhile. It counts within about a second.")]
pub(crate) struct Arguments {
    /// product, order, inventory or payment.
    participant: String,
    /// Only effects of this kind.
    #[arg(long, value_name = "KIND")]
    effect: Option<String>,
    #[command(flatten)]
    account: Account,
}

impl Arguments {
    fn what(&self) -> &str {
        self.effect.as_deref().unwrap_or(EVERYTHING)
    }

    fn subject(&self) -> String {
        match &self.effect {
            Some(kind) => format!("effect {kind} of {}", self.participant),
            None => self.participant.clone(),
        }
    }
}

pub(crate) async fn pause(arguments: Arguments, settings: Settings) -> Result<Code, Failure> {
    let person = arguments.account.person()?;
    let mut service = Ops::of(&settings, &arguments.participant).await?;
    let changed = pauses::pause(
        &mut service.connection,
        &arguments.participant,
        arguments.what(),
        &arguments.account.reason,
        &person,
    )
    .await
    .map_err(service.failed("pause"))?;
    let how = if changed { "paused" } else { "was paused already" };
    screen::say(format!("{}: {how}", arguments.subject()));
    Ok(Code::Ok)
}

pub(crate) async fn resume(arguments: Arguments, settings: Settings) -> Result<Code, Failure> {
    let person = arguments.account.person()?;
    let mut service = Ops::of(&settings, &arguments.participant).await?;
    let changed = pauses::resume(
        &mut service.connection,
        &arguments.participant,
        arguments.what(),
        &arguments.account.reason,
        &person,
    )
    .await
    .map_err(service.failed("resume"))?;
    if !changed {
        return Err(Failure::not_found(format!(
            "{} is not paused; `sagactl paused` lists what is",
            arguments.subject()
        )));
    }
    screen::say(format!("{}: resumed", arguments.subject()));
    Ok(Code::Ok)
}

pub(crate) async fn list(settings: Settings, output: Output) -> Result<Code, Failure> {
    let mut ops = Ops::connect(&settings).await?;
    let mut found: Vec<Pause> = Vec::new();
    for service in &mut ops.services {
        let failed = service.failed("list what is paused");
        found.extend(pauses::list(&mut service.connection).await.map_err(failed)?);
    }
    screen::show(output, &found, |found| table(found, Utc::now()));
    Ok(ops.conclude())
}

fn table(pauses: &[Pause], now: DateTime<Utc>) -> String {
    if pauses.is_empty() {
        return "nothing is paused".to_owned();
    }
    let mut table = Table::new([
        Column::Left("PARTICIPANT"),
        Column::Left("WHAT"),
        Column::Right("SINCE"),
        Column::Left("WHY"),
    ]);
    for pause in pauses {
        let what = match pause.what.as_str() {
            EVERYTHING => "everything".to_owned(),
            kind => format!("effect {kind}"),
        };
        table.row([
            pause.participant.clone(),
            what,
            moment::span(now - pause.paused_at),
            pause.reason.clone(),
        ]);
    }
    table.to_string()
}
