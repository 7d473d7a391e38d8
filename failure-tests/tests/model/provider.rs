//! The provider with its own books: it keeps the promises of `payment::participant::effects`, and no others.

use std::collections::BTreeSet;

use payment::participant::effects::{
    Charge, ChargeFound, Charged, Close, Closed, OpenPage, PageFound, PageOpened, QueryCharge, QueryPage,
    Refund, Refunded,
};
use saga_core::effect::decode;
use saga_core::{Effect, Money};
use serde::Serialize;
use uuid::Uuid;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Provider {
    /// By idempotency key: whether the money was taken.
    charges: std::collections::BTreeMap<String, bool>,
    pub(crate) page: Option<Page>,
    /// The reference was closed: what arrives under it later is refused.
    closed: bool,
    /// Somebody paid on a page that was closed before: a bank transfer, a voucher.
    pub(crate) paid_late: bool,
    refunds: BTreeSet<Uuid>,
    /// Money that went back without having come.
    pub(crate) refunded_nothing: bool,
    amount: Option<Money>,
    /// Calls that timed out on our side and may still arrive.
    pub(crate) under_way: Vec<(&'static str, Vec<u8>)>,
    /// Reports that reached us: of a payment, of another end.
    pub(crate) reported_paid: u8,
    pub(crate) reported_ended: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Page {
    Refused,
    Open,
    Paid,
    Declined,
    Closed,
}

impl Provider {
    /// How often the price was taken.
    pub(crate) fn captured(&self) -> usize {
        self.charges.values().filter(|taken| **taken).count() + usize::from(self.page == Some(Page::Paid))
    }

    /// How often it was given back.
    pub(crate) fn refunded(&self) -> usize {
        self.refunds.len()
    }

    pub(crate) fn amount(&self) -> Money {
        self.amount.expect("there was a call")
    }

    /// Whether a call of this kind still has two possible answers.
    pub(crate) fn may_refuse(&self, kind: &str) -> bool {
        match kind {
            Charge::KIND => self.charges.is_empty() && !self.closed,
            OpenPage::KIND => self.page.is_none() && !self.closed,
            _ => false,
        }
    }

    /// Whether this call would change the books.
    pub(crate) fn would_change(&self, kind: &'static str, data: &[u8]) -> bool {
        let mut after = self.clone();
        after.perform(kind, data, true);
        after != *self
    }

    /// Processes a call; what it answers, as JSON.
    pub(crate) fn perform(&mut self, kind: &str, data: &[u8], willing: bool) -> String {
        match kind {
            Charge::KIND => {
                let charge: Charge = read(data);
                self.amount = Some(charge.amount);
                if self.closed {
                    return json(&Charged::Declined {
                        code: "closed".into(),
                    });
                }
                let taken = *self.charges.entry(charge.idempotency_key()).or_insert(willing);
                json(&match taken {
                    true => Charged::Captured {
                        amount: charge.amount,
                    },
                    false => Charged::Declined {
                        code: "declined".into(),
                    },
                })
            }
            QueryCharge::KIND => json(&match self.charges.values().next() {
                Some(true) => ChargeFound::Captured {
                    amount: self.amount(),
                },
                Some(false) => ChargeFound::Declined {
                    code: "declined".into(),
                },
                None => ChargeFound::NotFound,
            }),
            OpenPage::KIND => {
                self.amount = Some(read::<OpenPage>(data).amount);
                let page = match (self.page, self.closed, willing) {
                    (Some(page), _, _) => page,
                    (None, false, true) => Page::Open,
                    (None, true, _) | (None, _, false) => Page::Refused,
                };
                self.page = Some(page);
                json(&match page {
                    Page::Refused => PageOpened::Refused {
                        code: "refused".into(),
                    },
                    // The idempotency key brings the first answer back.
                    Page::Open | Page::Paid | Page::Declined | Page::Closed => {
                        PageOpened::Opened { url: "url".into() }
                    }
                })
            }
            QueryPage::KIND => json(&match self.page {
                Some(Page::Open) => PageFound::Open { url: "url".into() },
                Some(Page::Paid) => PageFound::Paid {
                    amount: self.amount(),
                },
                Some(Page::Declined) => PageFound::Declined,
                Some(Page::Closed | Page::Refused) => PageFound::Closed,
                None => PageFound::NotFound,
            }),
            Close::KIND => {
                if self.captured() > 0 {
                    return json(&Closed::AlreadyPaid {
                        amount: self.amount(),
                    });
                }
                self.closed = true;
                if self.page == Some(Page::Open) {
                    self.page = Some(Page::Closed);
                }
                json(&Closed::Closed)
            }
            Refund::KIND => {
                let refund: Refund = read(data);
                self.refunded_nothing |= self.captured() == 0 || self.amount != Some(refund.amount);
                self.refunds.insert(refund.refund_id.0);
                json(&Refunded::Refunded)
            }
            _ => unreachable!("{kind} is no call of payment"),
        }
    }
}

fn read<E: Effect>(data: &[u8]) -> E {
    decode(data).expect("an effect is read as it was written")
}

fn json<T: Serialize>(answer: &T) -> String {
    serde_json::to_string(answer).expect("answers are JSON")
}
