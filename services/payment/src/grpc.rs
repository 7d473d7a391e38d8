use quadrille_contracts::OrderId;
use quadrille_proto::payment::v1 as proto;
use quadrille_proto::payment::v1::payment_service_server::PaymentService;
use quadrille_proto::r#type::v1 as r#type;
use saga_core::Money;
use saga_runtime::grpc::{self, Violations};
use sqlx::PgPool;
use tonic::{Code, Request, Response, Status};

use crate::participant::{Payment, Status as Standing};
use crate::store::{self, Shown};

/// `quadrille.payment.v1.PaymentService`.
#[derive(Clone, Debug)]
pub struct Api {
    /// For reads.
    pub pool: PgPool,
}

#[tonic::async_trait]
impl PaymentService for Api {
    async fn get_payment(
        &self,
        request: Request<proto::GetPaymentRequest>,
    ) -> Result<Response<proto::GetPaymentResponse>, Status> {
        let mut violations = Violations::default();
        let order_id = request.get_ref().order_id.parse::<OrderId>();
        let order_id = violations.check("order_id", order_id, "has to be a UUID");
        let order_id = violations.finish(order_id)?;
        let shown = store::show(&self.pool, order_id)
            .await
            .map_err(|error| grpc::of_database("show a payment", &error))?;
        let payment = shown.and_then(|shown| message(order_id, &shown)).ok_or_else(|| {
            let message = format!("nothing was heard of order {order_id}");
            grpc::failure(Code::NotFound, "PAYMENT_NOT_FOUND", message)
        })?;
        Ok(Response::new(proto::GetPaymentResponse {
            payment: Some(payment),
        }))
    }
}

/// `None` as long as nothing was heard of the order itself.
fn message(order_id: OrderId, shown: &Shown) -> Option<proto::Payment> {
    let Shown {
        payment,
        created_at,
        updated_at,
    } = shown;
    let standing = payment.status()?;
    let bill = payment.bill();
    let amount = bill.as_ref().map(|bill| bill.amount);
    let of = |is_all: bool| {
        amount.map(|amount| match is_all {
            true => money(amount),
            false => money(Money::zero(amount.currency)),
        })
    };
    Some(proto::Payment {
        payment_id: quadrille_contracts::PaymentId::of(order_id).to_string(),
        order_id: order_id.to_string(),
        status: status(standing).into(),
        amount: amount.map(money),
        captured: of(payment.is_captured()),
        refunded: of(standing == Standing::Refunded),
        page_url: bill
            .as_ref()
            .and_then(|bill| bill.page_url())
            .unwrap_or_default()
            .to_owned(),
        reason: reason(payment),
        created_at: Some(grpc::timestamp(*created_at)),
        updated_at: Some(grpc::timestamp(*updated_at)),
    })
}

/// The code in capital letters; the provider's are not all written like that.
fn reason(payment: &Payment) -> String {
    match payment {
        Payment::RefundParked(_) => "REFUND_NOT_CONFIRMED".to_owned(),
        payment => payment
            .reason()
            .unwrap_or_default()
            .chars()
            .map(|letter| match letter {
                'a'..='z' | 'A'..='Z' | '0'..='9' => letter.to_ascii_uppercase(),
                _ => '_',
            })
            .collect(),
    }
}

fn status(standing: Standing) -> proto::PaymentStatus {
    match standing {
        Standing::Waiting => proto::PaymentStatus::Waiting,
        Standing::Charging => proto::PaymentStatus::Charging,
        Standing::Unknown => proto::PaymentStatus::Unknown,
        Standing::PageOpen => proto::PaymentStatus::PageOpen,
        Standing::Captured => proto::PaymentStatus::Captured,
        Standing::Failed => proto::PaymentStatus::Failed,
        Standing::Expired => proto::PaymentStatus::Expired,
        Standing::Voiding => proto::PaymentStatus::Voiding,
        Standing::Voided => proto::PaymentStatus::Voided,
        Standing::Refunding => proto::PaymentStatus::Refunding,
        Standing::Refunded => proto::PaymentStatus::Refunded,
        Standing::RefundParked => proto::PaymentStatus::RefundParked,
    }
}

fn money(money: Money) -> r#type::Money {
    r#type::Money {
        currency_code: money.currency.code().to_owned(),
        minor_units: money.minor,
    }
}
