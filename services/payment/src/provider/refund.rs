use saga_runtime::{Call, Failure, Perform};
use serde::{Deserialize, Serialize};

use super::client::code;
use super::{Provider, not_final};
use crate::participant::effects::{Refund, RefundId, Refunded};

#[derive(Serialize)]
struct NewRefund {
    reference: RefundId,
    amount_minor: i64,
}

#[derive(Deserialize)]
struct Known {
    status: Status,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Succeeded,
    Processing,
}

impl Known {
    fn refunded(self) -> Result<Refunded, Failure> {
        match self.status {
            Status::Succeeded => Ok(Refunded::Refunded),
            Status::Processing => Err(not_final("refund", "processing")),
        }
    }
}

impl Perform<Refund> for Provider {
    async fn perform(&self, call: Call<Refund>) -> Result<Refunded, Failure> {
        let refund = call.effect;
        if call.ask_first
            && let Some(known) = self.refund(refund.refund_id).await?
        {
            return known.refunded();
        }
        let path = format!("/v1/charges/{}/refunds", refund.payment_id);
        let body = NewRefund {
            reference: refund.refund_id,
            amount_minor: refund.amount.minor,
        };
        match self
            .client
            .post::<Known>(&path, &refund.idempotency_key(), &body)
            .await?
        {
            Ok(known) => known.refunded(),
            // Done before, under a key that the provider has forgotten or with another body? There is no other
            // "no" to a refund: it is owed.
            Err(refusal)
                if [code::REFUND_EXCEEDS_CHARGE, code::KEY_REUSED].contains(&refusal.code.as_str()) =>
            {
                self.refund(refund.refund_id)
                    .await?
                    .ok_or_else(|| refusal.failure())?
                    .refunded()
            }
            Err(refusal) => Err(refusal.failure()),
        }
    }
}

impl Provider {
    async fn refund(&self, refund_id: RefundId) -> Result<Option<Known>, Failure> {
        self.client.find("/v1/refunds", refund_id.0).await
    }
}
