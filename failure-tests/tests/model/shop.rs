//! The whole shop as a `stateright` model: the decisions of production, and everything that can come in
//! between.

use inventory::participant::{Hold, Inventory, ReceiveStock, Shelf};
use order::participant::{Basket, Item, Order, Orders, PlaceOrder};
use payment::participant::{Payment, Payments};
use quadrille_contracts::order::PaymentMethod;
use quadrille_contracts::{OrderId, ProductId};
use saga_core::choreography::Recorder;
use saga_core::{Currency, Money};
use saga_proof::model::{Ways, digest};
use stateright::{Model, Property};
use uuid::Uuid;

use crate::checks;
use crate::provider::{Page, Provider};
use crate::seat::{Logs, Row, Seat, Stage, Told};

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
    pub(crate) recorder: Recorder,
    /// Where steps are noted, if whether an end can be reached from everywhere is to be looked at.
    pub(crate) ways: Option<Ways>,
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
    /// A timer fires that was cancelled.
    pub(crate) fired_late: u8,
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
    FiresLate(Who, &'static str),
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
pub(crate) const ORDERS: Orders = Orders {
    card_deadline: std::time::Duration::from_secs(1),
    page_deadline: std::time::Duration::from_secs(3),
};
pub(crate) const PAYMENTS: Payments = Payments {
    page_deadline: std::time::Duration::from_secs(2),
};

pub(crate) fn order_id(saga: usize) -> OrderId {
    OrderId(Uuid::from_u128(1 + saga as u128))
}

pub(crate) fn product() -> ProductId {
    ProductId(Uuid::from_u128(99))
}

impl Saga {
    /// Forgets what makes no difference any more, so that it makes no states either.
    pub(crate) fn tidy(&mut self) {
        self.order.skip_foreign::<Orders>(&self.logs);
        self.inventory.skip_foreign::<Inventory>(&self.logs);
        self.payment.skip_foreign::<Payments>(&self.logs);
        if self.left.fired_late == 0 {
            self.order.cancelled_timers.clear();
            self.payment.cancelled_timers.clear();
        }
    }

    fn actions(&self, saga: usize, actions: &mut Vec<Action>) {
        let mut may = |happens| actions.push(Action { saga, happens });
        for who in EVERYBODY {
            let (reading, second, timers, cancelled) = match who {
                Who::Order => (
                    &self.order.reading,
                    self.order.second_next::<Orders>(0, &self.logs),
                    &self.order.timers,
                    &self.order.cancelled_timers,
                ),
                Who::Inventory => (
                    &self.inventory.reading,
                    self.inventory.second_next::<Inventory>(0, &self.logs),
                    &self.inventory.timers,
                    &self.inventory.cancelled_timers,
                ),
                Who::Payment => (
                    &self.payment.reading,
                    self.payment.second_next::<Payments>(0, &self.logs),
                    &self.payment.timers,
                    &self.payment.cancelled_timers,
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
            for timer in cancelled.iter().filter(|_| self.left.fired_late > 0) {
                may(Happens::FiresLate(who, timer));
            }
        }
        if self.left.republished > 0 {
            for (topic, log) in self.logs.0.iter().enumerate() {
                for index in 0..log.len() {
                    may(Happens::Republished { topic, index });
                }
            }
        }
        may(Happens::CustomerCancels);
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
            saga.tidy();
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
            Ok(Some(())) => saga.tidy(),
            Ok(None) => return None,
            Err(fault) => world.fault = Some(fault),
        }
        if world == *last {
            return None;
        }
        if let Some(ways) = &self.ways {
            let to = digest(&world);
            ways.step(digest(last), to);
            if checks::is_over(&world) {
                ways.end(to);
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        (self.properties)()
    }
}
