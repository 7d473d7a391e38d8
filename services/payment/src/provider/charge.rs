use quadrille_contracts::PaymentId;
use saga_runtime::{Call, Failure, Perform};
use serde::{Deserialize, Serialize};

use super::client::{Said, code};
use super::{Amount, NO_CURRENCY, Provider, not_final};
use crate::participant::effects::{Charge, ChargeFound, Charged, QueryCharge};

const PATH: &str = "/v1/charges";

#[derive(Serialize)]
struct NewCharge<'a> {
    reference: PaymentId,
    amount_minor: i64,
    currency: &'a str,
    token: &'a str,
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
enum Known {
    Succeeded(Amount),
    Declined {
        decline_code: Option<String>,
    },
    /// Our own call, or one that somebody has given up waiting for, is being answered.
    Processing,
}

impl Known {
    /// What can no longer change.
    fn charged(self) -> Result<Charged, Failure> {
        match self {
            Known::Succeeded(amount) => Ok(Charged::Captured {
                amount: amount.into(),
            }),
            Known::Declined { decline_code } => Ok(Charged::Declined {
                code: decline_code.unwrap_or_else(|| "declined".to_owned()),
            }),
            Known::Processing => Err(not_final("charge", "processing")),
        }
    }
}

impl Perform<Charge> for Provider {
    async fn perform(&self, call: Call<Charge>) -> Result<Charged, Failure> {
        let charge = call.effect;
        if call.ask_first
            && let Some(charged) = self.charged(charge.payment_id).await?
        {
            return Ok(charged);
        }
        let body = NewCharge {
            reference: charge.payment_id,
            amount_minor: charge.amount.minor,
            currency: charge.amount.currency.code(),
            token: &charge.token.0,
        };
        match self.charge(&charge.idempotency_key(), &body).await? {
            Ok(charged) => Ok(charged),
            Err(refusal) if refusal.code == code::INVALID_REQUEST => {
                Ok(Charged::Declined { code: refusal.code })
            }
            Err(refusal) => Err(refusal.failure()),
        }
    }
}

impl Perform<QueryCharge> for Provider {
    async fn perform(&self, call: Call<QueryCharge>) -> Result<ChargeFound, Failure> {
        Ok(match self.charged(call.effect.payment_id).await? {
            Some(Charged::Captured { amount }) => ChargeFound::Captured { amount },
            Some(Charged::Declined { code }) => ChargeFound::Declined { code },
            None => ChargeFound::NotFound,
        })
    }
}

impl Provider {
    /// What became of the charge under this reference; `None` if it has not arrived.
    pub(super) async fn charged(&self, payment_id: PaymentId) -> Result<Option<Charged>, Failure> {
        let known: Option<Known> = self.client.find(PATH, payment_id.0).await?;
        known.map(Known::charged).transpose()
    }

    /// Uses up the key of a charge with one that moves nothing: a charge that is still under way finds its key
    /// taken, for as long as the provider remembers keys, which is far longer than a call can be under way.
    /// Whichever of the two comes first is the one that there is, and the provider decides which.
    pub(super) async fn charge_nothing(&self, payment_id: PaymentId) -> Result<Charged, Failure> {
        let nothing = NewCharge {
            reference: payment_id,
            amount_minor: 1,
            currency: NO_CURRENCY,
            // A token that nobody has: it is declined.
            token: "closed",
        };
        match self.charge(&Charge::key_of(payment_id), &nothing).await? {
            Ok(charged) => Ok(charged),
            Err(refusal) => Err(refusal.failure()),
        }
    }

    /// Charges once per key. If another charge has the key, that one is the answer.
    async fn charge(&self, key: &str, charge: &NewCharge<'_>) -> Said<Charged> {
        match self.client.post::<Known>(PATH, key, charge).await? {
            Ok(known) => known.charged().map(Ok),
            Err(refusal) if refusal.code == code::KEY_REUSED => {
                let charged = self.charged(charge.reference).await?;
                Ok(charged.ok_or(refusal))
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }
}
