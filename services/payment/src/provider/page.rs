use std::time::Duration;

use quadrille_contracts::PaymentId;
use saga_runtime::{Call, Failure, Perform};
use serde::{Deserialize, Serialize};

use super::client::{Said, code};
use super::{Amount, NO_CURRENCY, Provider};
use crate::participant::effects::{OpenPage, PageFound, PageOpened, QueryPage};

const PATH: &str = "/v1/pages";

#[derive(Serialize)]
struct NewPage<'a> {
    reference: PaymentId,
    amount_minor: i64,
    currency: &'a str,
    expires_in_s: u64,
}

/// A page as the provider knows it.
#[derive(Deserialize)]
pub(super) struct Page {
    status: Status,
    url: String,
    #[serde(flatten)]
    amount: Amount,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Open,
    Paid,
    Declined,
    Closed,
    Expired,
}

impl Page {
    pub(super) fn found(self) -> PageFound {
        match self.status {
            Status::Open => PageFound::Open { url: self.url },
            Status::Paid => PageFound::Paid {
                amount: self.amount.into(),
            },
            Status::Declined => PageFound::Declined,
            Status::Closed | Status::Expired => PageFound::Closed,
        }
    }
}

impl Perform<OpenPage> for Provider {
    async fn perform(&self, call: Call<OpenPage>) -> Result<PageOpened, Failure> {
        let effect = call.effect;
        if call.ask_first
            && let Some(page) = self.page(effect.payment_id).await?
        {
            return Ok(PageOpened::Opened { url: page.url });
        }
        let opened = self
            .open_page(
                &effect.idempotency_key(),
                &NewPage {
                    reference: effect.payment_id,
                    amount_minor: effect.amount.minor,
                    currency: effect.amount.currency.code(),
                    expires_in_s: whole_seconds(effect.expires_after),
                },
            )
            .await?;
        match opened {
            Ok(page) => Ok(PageOpened::Opened { url: page.url }),
            Err(refusal) if refusal.code == code::INVALID_REQUEST => {
                Ok(PageOpened::Refused { code: refusal.code })
            }
            // Whatever page there is under the key, it is ours.
            Err(refusal) if refusal.code == code::KEY_REUSED => {
                let page = self.page(effect.payment_id).await?;
                let page = page.ok_or_else(|| refusal.failure())?;
                Ok(PageOpened::Opened { url: page.url })
            }
            Err(refusal) => Err(refusal.failure()),
        }
    }
}

impl Perform<QueryPage> for Provider {
    async fn perform(&self, call: Call<QueryPage>) -> Result<PageFound, Failure> {
        let page = self.page(call.effect.payment_id).await?;
        Ok(page.map_or(PageFound::NotFound, Page::found))
    }
}

impl Provider {
    /// Uses up the key of a page, as [`Self::charge_nothing`] does that of a charge: with one for no money that
    /// nobody hears of. It is to be closed at once.
    pub(super) async fn open_nothing(&self, payment_id: PaymentId) -> Result<(), Failure> {
        let nothing = NewPage {
            reference: payment_id,
            amount_minor: 1,
            currency: NO_CURRENCY,
            expires_in_s: 1,
        };
        match self.open_page(&OpenPage::key_of(payment_id), &nothing).await? {
            Ok(_) => Ok(()),
            // The customer's page has arrived meanwhile, and can be closed.
            Err(refusal) if refusal.code == code::KEY_REUSED => Ok(()),
            Err(refusal) => Err(refusal.failure()),
        }
    }

    /// Closes what is open under this reference, and says what there is; `None` if no page has arrived.
    pub(super) async fn close_page(&self, payment_id: PaymentId, key: &str) -> Result<Option<Page>, Failure> {
        let path = format!("{PATH}/{payment_id}/close");
        match self.client.post(&path, key, &serde_json::json!({})).await? {
            Ok(page) => Ok(Some(page)),
            Err(refusal) if refusal.code == code::NOT_FOUND => Ok(None),
            Err(refusal) => Err(refusal.failure()),
        }
    }

    async fn open_page(&self, key: &str, page: &NewPage<'_>) -> Said<Page> {
        self.client.post(PATH, key, page).await
    }

    async fn page(&self, payment_id: PaymentId) -> Result<Option<Page>, Failure> {
        self.client.find(PATH, payment_id.0).await
    }
}

/// At least one: a page that is never open cannot be asked for.
fn whole_seconds(time: Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}
