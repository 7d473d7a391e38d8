use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::{Code, Failure};
use crate::screen::Output;
use crate::settings::Settings;
use crate::{screen, verbs};

const AFTER_HELP: &str = "\
Exit codes:
  0   done
  1   it works, and the answer is no: the order ended badly, the books do not balance
  2   there is no such thing
  64  called or configured wrongly
  69  something that we need does not answer
  70  anything that should not have happened
  73  something is where a file should be written

Where things are comes from flags, then from the environment (SAGACTL_K, then QUADRILLE_K), then from the
local stack of the checkout that you are in; `eval \"$(local-stack env)\"` sets the environment.";

/// The command line of Quadrille: places and watches orders, shows sagas, mends what is stuck.
#[derive(Debug, Parser)]
// In an image the program has another name.
#[command(name = "sagactl", bin_name = "sagactl", version, about, after_help = AFTER_HELP, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    verb: Verb,
}

/// Options of every verb.
#[derive(Debug, clap::Args)]
struct Shared {
    /// For people or for scripts.
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Brokers, host:port[,host:port…]  [SAGACTL_KAFKA_BROKERS]
    #[arg(long, global = true, value_name = "LIST", hide_short_help = true)]
    kafka_brokers: Option<String>,
    /// What comes before the names of topics and databases  [SAGACTL_PREFIX]
    #[arg(long, global = true, hide_short_help = true)]
    prefix: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Creates, prices and lists products.
    Product(verbs::product::Arguments),
    /// Receives and shows stock.
    Stock(verbs::stock::Arguments),
    /// Places, watches and cancels orders.
    Order(verbs::order::Arguments),
    /// Shows payments.
    Payment(verbs::payment::Arguments),
    /// Shows what happened in a saga, and what it waits for.
    Saga(verbs::saga::Arguments),
    /// Lists, shows, replays and discards what is parked.
    Parked(verbs::parked::Arguments),
    /// Lists and replays calls to the outside world that have no answer.
    Effects(verbs::effects::Arguments),
    /// Stops what a participant does by itself, or one kind of its effects.
    Pause(verbs::pause::Arguments),
    /// Lets it go on.
    Resume(verbs::pause::Arguments),
    /// Lists what is paused.
    Paused,
    /// Shows what has yet to be published.
    Outbox(verbs::outbox::Arguments),
    /// Says whether anything was lost, reordered, unbalanced, or waits for too long.
    Audit(verbs::audit::Arguments),
    /// Puts what the topics hold to the decisions of another build.
    Replay(verbs::replay::Arguments),
    /// Lists topics and shows what is in them.
    Topics(verbs::topics::Arguments),
    /// Plays three orders on a running stack and tells what happens.
    Demo(verbs::demo::Arguments),
    /// Writes the rooms of a new service.
    New(verbs::new::Arguments),
    /// Makes databases, roles, tables and topics, or brings them up to date.
    Migrate(verbs::migrate::Arguments),
}

/// Does what the arguments say.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // There is nothing to be done about a closed terminal.
            error.print().ok();
            let code = if error.use_stderr() { Code::Usage } else { Code::Ok };
            return ExitCode::from(code as u8);
        }
    };
    quadrille_process::tls::install_crypto();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            screen::hint(format!("sagactl: starting the runtime: {error}"));
            return ExitCode::from(Code::Internal as u8);
        }
    };
    let code = runtime.block_on(act(cli)).unwrap_or_else(|failure| {
        screen::hint(format!("sagactl: {failure}"));
        failure.code
    });
    runtime.shutdown_background();
    ExitCode::from(code as u8)
}

async fn act(cli: Cli) -> Result<Code, Failure> {
    let mut settings = Settings::find(cli.shared.prefix.as_deref());
    settings.flag("KAFKA_BROKERS", cli.shared.kafka_brokers.as_deref());
    let output = cli.shared.output;
    match cli.verb {
        Verb::Product(arguments) => verbs::product::run(arguments, settings, output).await,
        Verb::Stock(arguments) => verbs::stock::run(arguments, settings, output).await,
        Verb::Order(arguments) => verbs::order::run(arguments, settings, output).await,
        Verb::Payment(arguments) => verbs::payment::run(arguments, settings, output).await,
        Verb::Saga(arguments) => verbs::saga::run(arguments, settings, output).await,
        Verb::Parked(arguments) => verbs::parked::run(arguments, settings, output).await,
        Verb::Effects(arguments) => verbs::effects::run(arguments, settings, output).await,
        Verb::Pause(arguments) => verbs::pause::pause(arguments, settings).await,
        Verb::Resume(arguments) => verbs::pause::resume(arguments, settings).await,
        Verb::Paused => verbs::pause::list(settings, output).await,
        Verb::Outbox(arguments) => verbs::outbox::run(arguments, settings, output).await,
        Verb::Audit(arguments) => verbs::audit::run(arguments, settings, output).await,
        Verb::Replay(arguments) => verbs::replay::run(arguments, settings, output).await,
        Verb::Topics(arguments) => verbs::topics::run(arguments, settings, output).await,
        Verb::Demo(arguments) => verbs::demo::run(arguments, settings).await,
        Verb::New(arguments) => verbs::new::run(arguments),
        Verb::Migrate(arguments) => verbs::migrate::run(arguments, settings).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
