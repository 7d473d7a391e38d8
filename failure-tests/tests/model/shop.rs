//! The whole shop as a `stateright` model: the decisions of production, and everything that can come in
//! between.

use std::collections::BTreeMap;

use inventory::participant::{Hold, Inventory, ReceiveStock, Shelf};
use order::participant::{Basket, Cancel, Item, Order, Orders, PlaceOrder};
use payment::participant::effects::{Charge, Close, OpenPage, Refund};
use payment::participant::{PageEvent, PageReport, Payment, Payments};
use quadrille_contracts::order::PaymentMethod;
use quadrille_contracts::{OrderId, PaymentId, ProductId};
use saga_core::{Currency, Effect, Inputs, Money, Participant};
use stateright::{Model, Property};
use uuid::Uuid;

use crate::provider::{Page, Provider};
use crate::seat::{Logs, Observed, Row, Seat, Stage, Told, read};

pub(crate) const PRICE: Money = Money::new(1400, Currency::EUR);

/// What is run.
#[derive(Debug)]
pub(crate) struct Shop {
    /// How each order is paid.
    pub(crate) orders: Vec<PaymentMethod>,
    /// Units on the shelf; each order wants one.
    pub(crate) stock: u64,
    pub(crate) faults: Faults,
    pub(crate) properties: fn() -> Vec<Property<Shop>>,
    pub(crate) observed: Observed,
}

/// How often each thing may happen to one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    /// An event is published again under a new position, as after a restore.
    pub(crate) republished: u8,
    /// A record of `order-events` is heard before the one in front of it.
    pub(crate) overtaken: u8,
    /// The provider did it, and its answer was lost.
    pub(crate) lost: u8,
    /// An operator replays what is exhausted.
    pub(crate) replayed: u8,
    /// Reports of one kind.
    pub(crate) reports: u8,
    /// Effects are exhausted.
    pub(crate) exhausted: u8,
    /// Somebody pays on a closed page.
    pub(crate) late: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) sagas: Vec<Saga>,
    pub(crate) shelf: Shelf,
    /// A participant said "impossible", or the engine would have.
    pub(crate) fault: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Saga {
    pub(crate) order: Seat<Order>,
    pub(crate) inventory: Seat<Hold>,
    pub(crate) payment: Seat<Payment>,
    pub(crate) logs: Logs,
    pub(crate) provider: Provider,
    pub(crate) left: Faults,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    Order,
    Inventory,
    Payment,
}

/// What happens next, and to which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) saga: usize,
    pub(crate) happens: Happens,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Happens {
    Hears(Who, usize),
    HearsSecondNext(Who),
    HearsHeldBack(Who),
    Republished {
        topic: usize,
        index: usize,
    },
    CustomerCancels,
    Fires(Who, &'static str),
    /// The provider is called, and answers unless the answer is lost.
    Call {
        willing: bool,
        lost: bool,
    },
    /// The answer is decided.
    Answer,
    /// It was tried often enough. A call may still be under way.
    Exhausted,
    Arrives {
        index: usize,
        willing: bool,
    },
    OperatorReplays,
    CustomerPays,
    PageEnds(Page),
    Reported(Page),
}

const EVERYBODY: [Who; 3] = [Who::Order, Who::Inventory, Who::Payment];
const ORDERS: Orders = Orders {
    card_deadline: std::time::Duration::from_secs(1),
    page_deadline: std::time::Duration::from_secs(3),
};
const PAYMENTS: Payments = Payments {
    page_deadline: std::time::Duration::from_secs(2),
};

pub(crate) fn order_id(saga: usize) -> OrderId {
    OrderId(Uuid::from_u128(1 + saga as u128))
}

fn product() -> ProductId {
    ProductId(Uuid::from_u128(99))
}

impl Saga {
    fn skip_foreign(&mut self) {
        self.order.skip_foreign::<Orders>(&self.logs);
        self.inventory.skip_foreign::<Inventory>(&self.logs);
        self.payment.skip_foreign::<Payments>(&self.logs);
    }

    fn actions(&self, saga: usize, actions: &mut Vec<Action>) {
        let mut may = |happens| actions.push(Action { saga, happens });
        for who in EVERYBODY {
            let (reading, second, timers) = match who {
                Who::Order => (
                    &self.order.reading,
                    self.order.second_next::<Orders>(0, &self.logs),
                    &self.order.timers,
                ),
                Who::Inventory => (
                    &self.inventory.reading,
                    self.inventory.second_next::<Inventory>(0, &self.logs),
                    &self.inventory.timers,
                ),
                Who::Payment => (
                    &self.payment.reading,
                    self.payment.second_next::<Payments>(0, &self.logs),
                    &self.payment.timers,
                ),
            };
            for (topic, cursor) in reading.iter().enumerate() {
                if cursor.next < self.logs.0[topic].len() {
                    may(Happens::Hears(who, topic));
                }
            }
            if reading[0].held_back.is_some() {
                may(Happens::HearsHeldBack(who));
            } else if second.is_some() && self.left.overtaken > 0 {
                may(Happens::HearsSecondNext(who));
            }
            for timer in timers {
                may(Happens::Fires(who, timer));
            }
        }
        if self.left.republished > 0 {
            for (topic, log) in self.logs.0.iter().enumerate() {
                for index in 0..log.len() {
                    may(Happens::Republished { topic, index });
                }
            }
        }
        if matches!(self.order.state, Order::Pending { .. }) {
            may(Happens::CustomerCancels);
        }
        if let Some(Row { kind, data, stage }) = &self.payment.effect {
            match stage {
                Stage::Ready => {
                    for willing in [true, false] {
                        if willing || self.provider.may_refuse(kind) {
                            may(Happens::Call { willing, lost: false });
                            if self.left.lost > 0 && self.provider.would_change(kind, data) {
                                may(Happens::Call { willing, lost: true });
                            }
                        }
                    }
                    if self.left.exhausted > 0 {
                        may(Happens::Exhausted);
                    }
                }
                Stage::Answered(_) => may(Happens::Answer),
                Stage::Exhausted if self.left.replayed > 0 => may(Happens::OperatorReplays),
                Stage::Exhausted => {}
            }
        }
        for (index, (kind, _)) in self.provider.under_way.iter().enumerate() {
            may(Happens::Arrives { index, willing: true });
            if self.provider.may_refuse(kind) {
                may(Happens::Arrives {
                    index,
                    willing: false,
                });
            }
        }
        match self.provider.page {
            Some(Page::Open) => {
                may(Happens::CustomerPays);
                may(Happens::PageEnds(Page::Declined));
                may(Happens::PageEnds(Page::Closed));
            }
            Some(page @ (Page::Closed | Page::Declined)) => {
                if self.left.late && page == Page::Closed {
                    may(Happens::CustomerPays);
                }
                if self.provider.reported_ended < self.left.reports {
                    may(Happens::Reported(page));
                }
            }
            Some(Page::Paid) if self.provider.reported_paid < self.left.reports => {
                may(Happens::Reported(Page::Paid));
            }
            Some(Page::Paid | Page::Refused) | None => {}
        }
    }

    /// Nothing is left that must happen. A late payment is only known by its report, which a provider
    /// repeats until it is taken.
    pub(crate) fn is_at_rest(&self) -> bool {
        let busy = self
            .payment
            .effect
            .as_ref()
            .is_some_and(|row| row.stage != Stage::Exhausted);
        let read = self.order.has_read_all(&self.logs)
            && self.inventory.has_read_all(&self.logs)
            && self.payment.has_read_all(&self.logs);
        let timers = self.order.timers.len() + self.inventory.timers.len() + self.payment.timers.len();
        let report = self.provider.paid_late && self.provider.reported_paid == 0;
        read && !busy && timers == 0 && !report
    }
}

impl Shop {
    fn on_order(&self, saga: &mut Saga, input: <Orders as Participant>::Input) -> Result<Told, String> {
        let mut prices = BTreeMap::from([(product(), PRICE)]);
        saga.order
            .decide(&ORDERS, &mut prices, &mut saga.logs, &self.observed, input)
    }

    fn on_inventory(
        &self,
        saga: &mut Saga,
        shelf: &mut Shelf,
        input: <Inventory as Participant>::Input,
    ) -> Result<Told, String> {
        let mut shelves = BTreeMap::from([(product(), *shelf)]);
        let inventory = Inventory::default();
        let told = saga
            .inventory
            .decide(&inventory, &mut shelves, &mut saga.logs, &self.observed, input)?;
        *shelf = shelves[&product()];
        Ok(told)
    }

    fn on_payment(&self, saga: &mut Saga, input: <Payments as Participant>::Input) -> Result<Told, String> {
        saga.payment.decide(
            &PAYMENTS,
            &mut BTreeMap::new(),
            &mut saga.logs,
            &self.observed,
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

    /// `None`: it was refused, and nothing changed.
    fn happen(
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
                let record = saga.logs.0[topic][index].clone();
                saga.logs.0[topic].push(record);
            }
            Happens::CustomerCancels => {
                let cancel = order::participant::In::Cancel(Cancel { order_id: id });
                self.on_order(saga, cancel)?;
            }
            Happens::Fires(who, timer) => match who {
                Who::Order => {
                    saga.order.timers.remove(timer);
                    let input = order::participant::In::from_timer(timer).expect("its own timer");
                    self.on_order(saga, input)?;
                }
                Who::Payment => {
                    saga.payment.timers.remove(timer);
                    let input = payment::participant::In::from_timer(timer).expect("its own timer");
                    self.on_payment(saga, input)?;
                }
                Who::Inventory => unreachable!("inventory sets no timer"),
            },
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
    fn reading(&mut self, who: Who) -> &mut [crate::seat::Cursor; 3] {
        match who {
            Who::Order => &mut self.order.reading,
            Who::Inventory => &mut self.inventory.reading,
            Who::Payment => &mut self.payment.reading,
        }
    }
}

impl Model for Shop {
    type State = World;
    type Action = Action;

    /// The goods are there, and each order is placed.
    fn init_states(&self) -> Vec<World> {
        let mut shelf = Shelf::default();
        let mut sagas = Vec::new();
        for (i, method) in self.orders.iter().enumerate() {
            let mut saga = Saga {
                order: Seat::default(),
                inventory: Seat::default(),
                payment: Seat::default(),
                logs: Logs::default(),
                provider: Provider::default(),
                left: self.faults,
            };
            if i == 0 && self.stock > 0 {
                let receive = ReceiveStock {
                    product_id: product(),
                    quantity: self.stock,
                };
                let told = self.on_inventory(
                    &mut saga,
                    &mut shelf,
                    inventory::participant::In::ReceiveStock(receive),
                );
                assert_eq!(told, Ok(Told::Decided));
            }
            let place = PlaceOrder {
                order_id: order_id(i),
                owner: "ada".into(),
                basket: Basket::new(vec![Item {
                    product_id: product(),
                    quantity: 1,
                }])
                .expect("a basket"),
                payment_method: method.clone(),
                expected_currency: None,
            };
            let told = self.on_order(&mut saga, order::participant::In::PlaceOrder(place));
            assert_eq!(told, Ok(Told::Decided));
            saga.skip_foreign();
            sagas.push(saga);
        }
        vec![World {
            sagas,
            shelf,
            fault: None,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.fault.is_none() {
            for (i, saga) in world.sagas.iter().enumerate() {
                saga.actions(i, actions);
            }
        }
    }

    fn next_state(&self, last: &World, Action { saga: i, happens }: Action) -> Option<World> {
        let mut world = last.clone();
        let saga = &mut world.sagas[i];
        match self.happen(saga, &mut world.shelf, order_id(i), happens) {
            Ok(Some(())) => saga.skip_foreign(),
            Ok(None) => return None,
            Err(fault) => world.fault = Some(fault),
        }
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        (self.properties)()
    }
}
