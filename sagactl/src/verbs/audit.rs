use std::time::Duration;

use chrono::TimeDelta;

use crate::audit::{self, Options};
use crate::failure::{Code, Failure};
use crate::ops::Ops;
use crate::screen::{self, Output};
use crate::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  sagactl audit                                # everything that the topics hold
  sagactl audit --hours 26 --output json       # a nightly job

The system may go on running: what is on its way is counted and not judged. Exit code 1 if something does not add up,
69 if a database or the broker does not answer.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only the last so many hours of the topics.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=24 * 366))]
    hours: Option<u32>,
    /// How late a deadline or a call may be.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    grace: u32,
    /// How long to wait for what moves.
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    wait: u32,
    /// How many orders to keep in memory, about 200 bytes each. Of more than that, the topics are read more than once.
    #[arg(long, value_name = "N", default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(1..))]
    orders_at_once: u32,
}

pub(crate) async fn run(arguments: Arguments, settings: Settings, output: Output) -> Result<Code, Failure> {
    let kafka = settings.kafka()?;
    let mut ops = Ops::connect(&settings).await?;
    if !ops.missing.is_empty() {
        ops.conclude();
        return Err(Failure::new(
            Code::Unavailable,
            "an audit needs every service's database: half of one is none",
        ));
    }
    let options = Options {
        back: arguments.hours.map(|hours| TimeDelta::hours(hours.into())),
        grace: TimeDelta::seconds(arguments.grace.into()),
        patience: Duration::from_secs(arguments.wait.into()),
        orders_at_once: arguments.orders_at_once,
    };
    let report = audit::run(&mut ops, &kafka, &options).await?;
    match output {
        Output::Table => screen::say(&report),
        Output::Json => screen::show(output, &report.to_json(), |_| ""),
    }
    Ok(if report.is_clean() { Code::Ok } else { Code::No })
}
