use quadrille_contracts::PaymentId;
use saga_runtime::{Call, Failure, Perform};

use super::{Provider, not_final};
use crate::participant::effects::{Charged, Close, Closed, PageFound};

/// The provider closes pages that it knows, and no charges, nor anything that may still arrive. What it does
/// have is a memory for idempotency keys, and a key is a compare-and-set: of two calls with the same key, the
/// first to arrive is done and the other is refused. So where nothing is found, we take the keys ourselves.
///
/// First the charge's, then the page's. A page that is found is therefore either the customer's, and then no
/// card was charged, or ours, and then the charge's key is taken.
impl Perform<Close> for Provider {
    async fn perform(&self, call: Call<Close>) -> Result<Closed, Failure> {
        let key = call.effect.idempotency_key();
        let id = call.effect.payment_id;
        if let Some(closed) = self.close_what_is_there(id, &key).await? {
            return Ok(closed);
        }
        // Asked before its key is taken: of an old charge the provider may have forgotten the key.
        let charged = match self.charged(id).await? {
            Some(charged) => charged,
            None => self.charge_nothing(id).await?,
        };
        if let Charged::Captured { amount } = charged {
            return Ok(Closed::AlreadyPaid { amount });
        }
        self.open_nothing(id).await?;
        self.close_what_is_there(id, &key)
            .await?
            .ok_or_else(|| not_final("page", "not there"))
    }
}

impl Provider {
    /// Closes the page; `None` if there is none.
    async fn close_what_is_there(&self, id: PaymentId, key: &str) -> Result<Option<Closed>, Failure> {
        let Some(page) = self.close_page(id, key).await? else {
            return Ok(None);
        };
        match page.found() {
            PageFound::Paid { amount } => Ok(Some(Closed::AlreadyPaid { amount })),
            PageFound::Declined | PageFound::Closed => Ok(Some(Closed::Closed)),
            page @ (PageFound::Open { .. } | PageFound::NotFound) => Err(not_final("page", page)),
        }
    }
}
