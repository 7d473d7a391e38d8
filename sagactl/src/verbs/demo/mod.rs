/// What is said, and how.
mod stage;

/// Events as they come.
mod feed;

/// The three orders.
mod acts;

/// Killing a service, and starting it again.
mod accident;

/// What has to balance at the end.
mod books;

use crate::failure::{Code, Failure};
use crate::settings::Settings;
use crate::verbs::saga;

const EXAMPLES: &str = "\
It needs a running stack: `just demo` starts one. Exit code 1: something does not balance, or an order did not end
as it should.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Leaves out the third order, during which a service is killed.
    #[arg(long)]
    no_kill: bool,
}

pub(crate) async fn run(arguments: Arguments, settings: Settings) -> Result<Code, Failure> {
    let stage = stage::Stage::new();
    let kafka = settings.kafka()?;
    let accident = if arguments.no_kill {
        None
    } else {
        Some(accident::Accident::find()?)
    };
    let bank = books::Bank::find(&settings)?;
    stage.title("A quadrille for order, stock and payment");
    stage.tell(
        "Three orders, in real processes: each event goes through an outbox in PostgreSQL and Apache Kafka.",
    );

    let mut shop = acts::Shop::open(&settings, &kafka, &stage).await?;
    let mut orders = vec![shop.confirmed(&stage).await?, shop.declined(&stage).await?];
    if let Some(accident) = &accident {
        orders.push(shop.killed(&stage, accident).await?);
    }

    stage.title("What happened, as the topics tell it");
    for order in &orders {
        let story = saga::tell(&kafka, &order.order_id).await?;
        stage.picture(&saga::picture(&story));
    }

    stage.title("The books");
    let balances = books::check(&stage, &mut shop, &bank, &orders).await?;
    let as_planned = orders.iter().all(|order| order.as_planned);
    stage.end(balances && as_planned);
    Ok(if balances && as_planned {
        Code::Ok
    } else {
        Code::No
    })
}
