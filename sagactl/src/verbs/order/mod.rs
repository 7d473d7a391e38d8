/// The order service.
mod client;

/// An order for people and scripts.
mod view;

use std::time::{Duration, Instant};

use quadrille_proto::order::v1::payment_method::Method;
use quadrille_proto::order::v1::{Card, HostedPage, OrderStatus, PlaceOrderItem, PlaceOrderRequest};

use crate::failure::{Code, Failure};
use crate::grpc;
use crate::screen::{self, Output};
use crate::settings::Settings;

pub(crate) use client::Orders;
use view::Order;

const EXAMPLES: &str = "\
Examples:
  sagactl order place --item 0190…:2 --card tok_ok --watch
  sagactl order place --owner ann --item 0190…:1 --item 0191…:3 --page
  sagactl order list --owner ann --status pending
  sagactl order cancel 0192…

Tokens of the local stack's payment provider: tok_ok, tok_declined, tok_insufficient_funds, tok_answer_lost,
tok_error_then_ok, tok_slow, tok_never, tok_refund_fails, tok_refund_error_then_ok.

With --watch, and for `watch`, the exit code is 0 if the order is confirmed and 1 if it ends in any other way.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The order service, http://host:port  [SAGACTL_ORDER_GRPC]
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Places an order.
    Place(Place),
    /// Shows one order.
    Get {
        /// UUID of the order.
        order: String,
    },
    /// Lists orders, newest first.
    List {
        /// Only those of this owner.
        #[arg(long)]
        owner: Option<String>,
        /// Only those in this status.
        #[arg(long, value_parser = status)]
        status: Option<OrderStatus>,
        /// How many at most.
        #[arg(short = 'n', long, default_value_t = 20)]
        limit: usize,
    },
    /// Follows an order until its saga has ended.
    Watch {
        /// UUID of the order.
        order: String,
    },
    /// Cancels an order that is still pending.
    Cancel {
        /// UUID of the order.
        order: String,
        /// The same key is the same call.
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct Place {
    /// Who orders.
    #[arg(long, default_value = "guest")]
    owner: String,
    /// What, and how many of it. May be repeated.
    #[arg(long = "item", value_name = "PRODUCT:QUANTITY", required = true, value_parser = item)]
    items: Vec<(String, i64)>,
    /// Pays with a card: its token.
    #[arg(long, value_name = "TOKEN", required_unless_present = "page")]
    card: Option<String>,
    /// Pays on a page of the provider.
    #[arg(long, conflicts_with = "card")]
    page: bool,
    /// Refuses to order in any other currency.
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
    /// The same key is the same call.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Follows the order until its saga has ended.
    #[arg(long)]
    watch: bool,
}

pub(crate) async fn run(
    arguments: Arguments,
    mut settings: Settings,
    output: Output,
) -> Result<Code, Failure> {
    settings.flag("ORDER_GRPC", arguments.server.as_deref());
    let mut orders = Orders::connect(&settings).await?;
    match arguments.verb {
        Verb::Place(place) => {
            let watch = place.watch;
            let key = grpc::idempotency_key(place.idempotency_key.clone());
            let (order, trace) = orders.place(request(place), &key).await?;
            if watch {
                screen::hint(format!("order {}, trace {}", order.order_id, trace.id));
                return watch_to_the_end(&mut orders, order.order_id, output).await;
            }
            let placed = view::Placed {
                trace_id: trace.id,
                order,
            };
            screen::show(output, &placed, view::placed);
        }
        Verb::Get { order } => {
            let order = orders.get(order).await?;
            screen::show(output, &order, view::text);
        }
        Verb::List { owner, status, limit } => {
            let listed = orders.list(owner.unwrap_or_default(), status, limit).await?;
            screen::show(output, &listed, |orders| view::table(orders));
        }
        Verb::Watch { order } => return watch_to_the_end(&mut orders, order, output).await,
        Verb::Cancel {
            order,
            idempotency_key,
        } => {
            let key = grpc::idempotency_key(idempotency_key);
            let order = orders.cancel(order, &key).await?;
            screen::show(output, &order, view::text);
        }
    }
    Ok(Code::Ok)
}

/// How long the service may be away while we watch.
const AWAY_MAX: Duration = Duration::from_secs(60);

async fn watch_to_the_end(orders: &mut Orders, order: String, output: Output) -> Result<Code, Failure> {
    let mut last: Option<Order> = None;
    let mut heard = Instant::now();
    loop {
        match watch(orders, &order, output, &mut last, &mut heard).await {
            Ok(()) => {}
            // A service that was restarted: the order goes on without it, and so do we.
            Err(failure) if failure.code == Code::Unavailable && heard.elapsed() < AWAY_MAX => {
                screen::hint(format!("{failure}; watching again"));
            }
            Err(failure) => return Err(failure),
        }
        match &last {
            Some(order) if order.is_confirmed() => return Ok(Code::Ok),
            Some(order) if order.ended => return Ok(Code::No),
            _ if heard.elapsed() >= AWAY_MAX => {
                return Err(Failure::new(
                    Code::Unavailable,
                    "the service does not tell any more, and the saga has not ended",
                ));
            }
            _ => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

/// One stream. Its first message is skipped if it shows what was shown last.
async fn watch(
    orders: &mut Orders,
    order: &str,
    output: Output,
    last: &mut Option<Order>,
    heard: &mut Instant,
) -> Result<(), Failure> {
    let mut changes = orders.watch(order.to_owned()).await?;
    loop {
        let change = changes.next().await;
        // Even if it says that the stream broke: an order may be silent for a day, and the service was there until now.
        *heard = Instant::now();
        let Some(change) = change? else {
            break;
        };
        if change.event.is_some() || last.as_ref() != Some(&change.order) {
            screen::show_line(output, &change, view::change);
        }
        *last = Some(change.order);
    }
    Ok(())
}

fn request(place: Place) -> PlaceOrderRequest {
    let method = match place.card {
        Some(token) => Method::Card(Card { token }),
        None => Method::HostedPage(HostedPage {}),
    };
    let items = place.items.into_iter();
    order_request(
        place.owner,
        items.map(|(product_id, quantity)| PlaceOrderItem { product_id, quantity }),
        method,
        place.currency,
    )
}

/// A request from its parts.
pub(crate) fn order_request(
    owner: String,
    items: impl IntoIterator<Item = PlaceOrderItem>,
    method: Method,
    currency: Option<String>,
) -> PlaceOrderRequest {
    PlaceOrderRequest {
        owner,
        items: items.into_iter().collect(),
        payment_method: Some(quadrille_proto::order::v1::PaymentMethod { method: Some(method) }),
        expected_currency_code: currency,
    }
}

fn item(text: &str) -> Result<(String, i64), String> {
    let (product, quantity) = text.rsplit_once(':').ok_or("expected PRODUCT:QUANTITY")?;
    let quantity = quantity
        .parse()
        .map_err(|_| format!("'{quantity}' is no quantity"))?;
    Ok((product.to_owned(), quantity))
}

fn status(text: &str) -> Result<OrderStatus, String> {
    let name = format!("ORDER_STATUS_{}", text.to_ascii_uppercase());
    OrderStatus::from_str_name(&name)
        .ok_or_else(|| "expected pending, confirmed, rejected, cancelled or refunded".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_a_product_and_a_quantity() {
        assert_eq!(item("0190:2"), Ok(("0190".to_owned(), 2)));
        assert!(item("0190").is_err());
        assert!(item("0190:two").is_err());
        assert_eq!(status("Pending"), Ok(OrderStatus::Pending));
        assert!(status("lost").is_err());
    }
}
