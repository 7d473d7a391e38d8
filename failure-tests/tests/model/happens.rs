//! What each action does: to whom it goes, and what it uses up.

use std::collections::BTreeMap;

use inventory::participant::{Inventory, Shelf};
use order::participant::{Cancel, Orders};
use payment::participant::effects::{Charge, Close, OpenPage, Refund};
use payment::participant::{PageEvent, PageReport, Payments};
use quadrille_contracts::{OrderId, PaymentId};
use saga_core::{Effect, Inputs, Participant};

use crate::provider::Page;
use crate::seat::{Cursor, Stage, Told, read};
use crate::shop::{Happens, ORDERS, PAYMENTS, PRICE, Saga, Shop, Who, product};

impl Shop {
    pub(crate) fn on_order(
        &self,
        saga: &mut Saga,
        input: <Orders as Participant>::Input,
    ) -> Result<Told, String> {
        let mut prices = BTreeMap::from([(product(), PRICE)]);
        saga.order
            .decide(&ORDERS, &mut prices, &mut saga.logs, &self.recorder, input)
    }

    pub(crate) fn on_inventory(
        &self,
        saga: &mut Saga,
        shelf: &mut Shelf,
        input: <Inventory as Participant>::Input,
    ) -> Result<Told, String> {
        let mut shelves = BTreeMap::from([(product(), *shelf)]);
        let inventory = Inventory::default();
        let told = saga
            .inventory
            .decide(&inventory, &mut shelves, &mut saga.logs, &self.recorder, input)?;
        *shelf = shelves[&product()];
        Ok(told)
    }

    fn on_payment(&self, saga: &mut Saga, input: <Payments as Participant>::Input) -> Result<Told, String> {
        saga.payment.decide(
            &PAYMENTS,
            &mut BTreeMap::new(),
            &mut saga.logs,
            &self.recorder,
            input,
        )
    }

    fn hear(
        &self,
        saga: &mut Saga,
        shelf: &mut Shelf,
        who: Who,
        topic: usize,
        index: usize,
    ) -> Result<Told, String> {
        let record = saga.logs.0[topic][index].clone();
        match who {
            Who::Order => self.on_order(saga, read::<Orders>(&record)),
            Who::Inventory => self.on_inventory(saga, shelf, read::<Inventory>(&record)),
            Who::Payment => self.on_payment(saga, read::<Payments>(&record)),
        }
    }

    fn fire(&self, saga: &mut Saga, who: Who, timer: &str) -> Result<Told, String> {
        match who {
            Who::Order => self.on_order(
                saga,
                order::participant::In::from_timer(timer).expect("its own timer"),
            ),
            Who::Payment => self.on_payment(
                saga,
                payment::participant::In::from_timer(timer).expect("its own timer"),
            ),
            Who::Inventory => unreachable!("inventory sets no timer"),
        }
    }

    /// `None`: it was refused, and nothing changed.
    pub(crate) fn happen(
        &self,
        saga: &mut Saga,
        shelf: &mut Shelf,
        id: OrderId,
        happens: Happens,
    ) -> Result<Option<()>, String> {
        match happens {
            Happens::Hears(who, topic) => {
                let cursor = &mut saga.reading(who)[topic];
                let index = cursor.next;
                cursor.next += 1;
                self.hear(saga, shelf, who, topic, index)?;
            }
            Happens::HearsSecondNext(who) => {
                saga.left.overtaken -= 1;
                let second = match who {
                    Who::Order => saga.order.second_next::<Orders>(0, &saga.logs),
                    Who::Inventory => saga.inventory.second_next::<Inventory>(0, &saga.logs),
                    Who::Payment => saga.payment.second_next::<Payments>(0, &saga.logs),
                }
                .expect("there is one");
                let cursor = &mut saga.reading(who)[0];
                cursor.held_back = Some(cursor.next);
                cursor.next = second + 1;
                self.hear(saga, shelf, who, 0, second)?;
            }
            Happens::HearsHeldBack(who) => {
                let index = saga.reading(who)[0].held_back.take().expect("one is held back");
                self.hear(saga, shelf, who, 0, index)?;
            }
            Happens::Republished { topic, index } => {
                saga.left.republished -= 1;
                saga.logs.publish_again(topic, index);
            }
            Happens::CustomerCancels => {
                let cancel = order::participant::In::Cancel(Cancel { order_id: id });
                if self.on_order(saga, cancel)? == Told::Refused {
                    return Ok(None);
                }
            }
            Happens::Fires(who, timer) => {
                match who {
                    Who::Order => saga.order.timers.remove(timer),
                    Who::Inventory => saga.inventory.timers.remove(timer),
                    Who::Payment => saga.payment.timers.remove(timer),
                };
                self.fire(saga, who, timer)?;
            }
            Happens::FiresLate(who, timer) => {
                saga.left.fired_late -= 1;
                self.fire(saga, who, timer)?;
            }
            Happens::Call { willing, lost } => {
                let row = saga.payment.effect.as_mut().expect("an effect is ready");
                let answer = saga.provider.perform(row.kind, &row.data, willing);
                if lost {
                    saga.left.lost -= 1;
                } else {
                    row.stage = Stage::Answered(answer);
                }
            }
            Happens::Answer => {
                let input = saga.payment.take_outcome::<Payments>().expect("an answer");
                self.on_payment(saga, input)?;
            }
            Happens::Exhausted => {
                saga.left.exhausted -= 1;
                let row = saga.payment.effect.clone().expect("an effect is ready");
                let writes = [Charge::KIND, OpenPage::KIND, Close::KIND, Refund::KIND].contains(&row.kind);
                if writes && saga.provider.would_change(row.kind, &row.data) {
                    saga.provider.under_way.push((row.kind, row.data));
                }
                let input = saga.payment.take_outcome::<Payments>().expect("an outcome");
                self.on_payment(saga, input)?;
            }
            Happens::Arrives { index, willing } => {
                let (kind, data) = saga.provider.under_way.remove(index);
                saga.provider.perform(kind, &data, willing);
            }
            Happens::OperatorReplays => {
                saga.left.replayed -= 1;
                saga.payment.effect.as_mut().expect("an exhausted effect").stage = Stage::Ready;
            }
            Happens::CustomerPays => {
                saga.provider.paid_late = saga.provider.page == Some(Page::Closed);
                saga.provider.page = Some(Page::Paid);
            }
            Happens::PageEnds(how) => saga.provider.page = Some(how),
            Happens::Reported(page) => {
                let (event, reported) = match page {
                    Page::Paid => {
                        let amount = saga.provider.amount();
                        (PageEvent::Paid { amount }, &mut saga.provider.reported_paid)
                    }
                    Page::Declined => (PageEvent::Declined, &mut saga.provider.reported_ended),
                    Page::Closed => (PageEvent::Expired, &mut saga.provider.reported_ended),
                    Page::Open | Page::Refused => unreachable!("no page ends like that"),
                };
                *reported += 1;
                let report = PageReport {
                    order_id: id,
                    payment_id: PaymentId::of(id),
                    event,
                };
                if self.on_payment(saga, payment::participant::In::ReportPage(report))? == Told::Refused {
                    return Ok(None);
                }
            }
        }
        Ok(Some(()))
    }
}

impl Saga {
    fn reading(&mut self, who: Who) -> &mut [Cursor; 3] {
        match who {
            Who::Order => &mut self.order.reading,
            Who::Inventory => &mut self.inventory.reading,
            Who::Payment => &mut self.payment.reading,
        }
    }
}
