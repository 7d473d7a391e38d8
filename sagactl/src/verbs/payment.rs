use chrono::{DateTime, Utc};
use quadrille_proto::payment::v1::payment_service_client::PaymentServiceClient;
use quadrille_proto::payment::v1::{self as wire, GetPaymentRequest};
use saga_core::Money;
use serde::Serialize;
use tonic::transport::Channel;

use crate::failure::{Code, Failure};
use crate::screen::{self, Output};
use crate::settings::Settings;
use crate::{grpc, moment, money};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sagactl payment get 0190…")]
pub(crate) struct Arguments {
    /// The payment service, http://host:port  [SAGACTL_PAYMENT_GRPC]
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Shows the payment of an order.
    Get {
        /// UUID of the order.
        order: String,
    },
}

/// A payment, for people and scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Payment {
    pub(crate) payment_id: String,
    pub(crate) order_id: String,
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) amount: Option<Money>,
    pub(crate) captured: Option<Money>,
    pub(crate) refunded: Option<Money>,
    pub(crate) page_url: String,
    pub(crate) updated_at: Option<DateTime<Utc>>,
}

pub(crate) async fn run(
    arguments: Arguments,
    mut settings: Settings,
    output: Output,
) -> Result<Code, Failure> {
    settings.flag("PAYMENT_GRPC", arguments.server.as_deref());
    let mut payments = Payments::connect(&settings).await?;
    let Verb::Get { order } = arguments.verb;
    let payment = payments.get(order).await?;
    screen::show(output, &payment, text);
    Ok(Code::Ok)
}

fn text(payment: &Payment) -> String {
    let mut lines = vec![
        format!("payment   {}", payment.payment_id),
        format!("order     {}", payment.order_id),
        format!("status    {} {}", payment.status, payment.reason)
            .trim_end()
            .to_owned(),
        format!(
            "amount    {}, captured {}, refunded {}",
            money::cell(payment.amount),
            money::cell(payment.captured),
            money::cell(payment.refunded)
        ),
    ];
    if !payment.page_url.is_empty() {
        lines.push(format!("page      {}", payment.page_url));
    }
    lines.push(format!("changed   {}", moment::cell(payment.updated_at)));
    lines.join("\n")
}

/// The payment service.
pub(crate) struct Payments(PaymentServiceClient<Channel>);

impl Payments {
    pub(crate) async fn connect(settings: &Settings) -> Result<Self, Failure> {
        let channel = grpc::connect(settings, "PAYMENT_GRPC").await?;
        Ok(Self(PaymentServiceClient::new(channel)))
    }

    pub(crate) async fn get(&mut self, order_id: String) -> Result<Payment, Failure> {
        let request = grpc::question(GetPaymentRequest { order_id });
        let answer = self.0.get_payment(request).await.map_err(grpc::refused)?;
        let payment = answer.into_inner().payment;
        payment
            .map(Payment::from)
            .ok_or_else(|| Failure::new(Code::Internal, "the payment service answered without a payment"))
    }
}

impl From<wire::Payment> for Payment {
    fn from(payment: wire::Payment) -> Self {
        let status = payment.status().as_str_name();
        Self {
            status: status
                .strip_prefix("PAYMENT_STATUS_")
                .unwrap_or(status)
                .to_owned(),
            amount: money::from_wire(payment.amount.as_ref()),
            captured: money::from_wire(payment.captured.as_ref()),
            refunded: money::from_wire(payment.refunded.as_ref()),
            updated_at: moment::from_wire(payment.updated_at.as_ref()),
            payment_id: payment.payment_id,
            order_id: payment.order_id,
            reason: payment.reason,
            page_url: payment.page_url,
        }
    }
}
