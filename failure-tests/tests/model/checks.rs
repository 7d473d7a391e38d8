//! What has to hold, and what has to happen at least once, so that a check cannot be empty.

use inventory::participant::{Closing, Hold};
use order::participant::{Held, Order};
use payment::participant::{Asked, Payment, Standing, Status, UNREACHABLE};
use quadrille_contracts::order::CancelReason;
use saga_core::Participant;
use stateright::Property;

use crate::provider::Page;
use crate::shop::{Saga, Shop, World};

/// Holds in every run.
pub(crate) fn always() -> Vec<Property<Shop>> {
    vec![
        Property::always("nothing impossible happens", |_, world: &World| {
            world.fault.is_none()
        }),
        Property::always("stock: on hand + held + sold = received", stock_balances),
        Property::always(
            "money: it goes back at most once, and only after it came",
            |_, world: &World| {
                all(world, |saga| {
                    let provider = &saga.provider;
                    !provider.refunded_nothing
                        && provider.refunded() <= provider.captured()
                        && provider.captured() <= 1
                })
            },
        ),
        Property::always("a confirmed order is paid and stays so", |_, world: &World| {
            all(world, |saga| match saga.order.state {
                Order::Confirmed { .. } => (saga.provider.captured(), saga.provider.refunded()) == (1, 0),
                _ => true,
            })
        }),
        Property::always("what payment says of the money is true", |_, world: &World| {
            all(world, payment_is_right)
        }),
        Property::always("that money came is told, once", |_, world: &World| {
            all(world, success_is_told)
        }),
        Property::always(
            "at rest, every saga has ended or is parked",
            |_, world: &World| all(world, |saga| !saga.is_at_rest() || ended(saga)),
        ),
        Property::always("at rest, the books balance", |_, world: &World| {
            all(world, |saga| !saga.is_at_rest() || books_balance(saga))
        }),
        // An order is cancelled once, whatever comes again: so nothing that undoes it is done twice.
        Property::always(
            "that stock is put back is told at most once",
            |_, world: &World| all(world, |saga| saga.logs.told("stock.released") <= 1),
        ),
        Property::always("that money went back is told at most once", |_, world: &World| {
            all(world, |saga| saga.logs.told("payment.refunded") <= 1)
        }),
    ]
}

fn all(world: &World, holds: fn(&Saga) -> bool) -> bool {
    world.fault.is_some() || world.sagas.iter().all(holds)
}

fn stock_balances(shop: &Shop, world: &World) -> bool {
    let count = |what: fn(&Hold) -> bool| -> u64 {
        world
            .sagas
            .iter()
            .map(|saga| u64::from(what(&saga.inventory.state)))
            .sum()
    };
    world.shelf.balances()
        && world.shelf.received == shop.stock
        && world.shelf.held == count(|hold| matches!(hold, Hold::Held { .. }))
        && world.shelf.sold == count(|hold| matches!(hold, Hold::Closed(Closing::Sold)))
}

fn payment_is_right(saga: &Saga) -> bool {
    let books = (saga.provider.captured(), saga.provider.refunded());
    match saga.payment.state.status() {
        Some(Status::Captured) => books == (1, 0),
        Some(Status::Refunding | Status::RefundParked) => books.0 == 1,
        Some(Status::Refunded) => books == (1, 1),
        // Said definitely: only who pays on a closed page makes it untrue, until that is reported.
        Some(Status::Failed | Status::Expired | Status::Voided) => books == (0, 0) || saga.provider.paid_late,
        Some(Status::Waiting) | None => books == (0, 0),
        Some(Status::Charging | Status::Unknown | Status::PageOpen | Status::Voiding) => books.1 == 0,
    }
}

/// As soon as payment counts it as captured for an order that waits.
fn success_is_told(saga: &Saga) -> bool {
    let told = saga.logs.told("payment.succeeded");
    let captured = saga.payment.state.status() == Some(Status::Captured);
    told <= 1 && (told > 0 || !captured)
}

/// G5: confirmed, fully compensated, or parked where somebody sees it.
fn ended(saga: &Saga) -> bool {
    let parked = saga.payment.is_parked();
    let order = match &saga.order.state {
        Order::Confirmed { .. } => saga.inventory.state == Hold::Closed(Closing::Sold),
        Order::Rejected { .. } => saga.inventory.state == Hold::Closed(Closing::Rejected),
        Order::Cancelled { money, .. } => {
            matches!(
                saga.inventory.state,
                Hold::Closed(Closing::Cancelled | Closing::Rejected)
            ) && match money {
                Held::Nothing => !parked,
                Held::Owed => parked && matches!(saga.payment.state, Payment::RefundParked(_)),
                Held::Unknown => parked && matches!(saga.payment.state, Payment::Asking { .. }),
            }
        }
        Order::Refunded { .. } => saga.inventory.state == Hold::Closed(Closing::Cancelled),
        Order::Absent | Order::Pending { .. } => false,
    };
    let all_ended = order::participant::Orders::default().is_ended(&saga.order.state)
        && inventory::participant::Inventory::default().is_ended(&saga.inventory.state)
        && payment::participant::Payments::default().is_ended(&saga.payment.state);
    order && (all_ended || parked)
}

/// Everything may stay as it is.
pub(crate) fn is_over(world: &World) -> bool {
    world.fault.is_none() && world.sagas.iter().all(|saga| saga.is_at_rest() && ended(saga))
}

/// Captured − refunded is the price of a confirmed order, 0 of any other, or parked and visible.
fn books_balance(saga: &Saga) -> bool {
    let kept = saga.provider.captured() - saga.provider.refunded();
    match saga.order.state {
        Order::Confirmed { .. } => kept == 1,
        _ => kept == 0 || saga.payment.is_parked(),
    }
}

/// Ends that any order can come to.
fn ends() -> Vec<Property<Shop>> {
    vec![
        Property::sometimes("confirmed", |_, world: &World| {
            rests(world, |saga| matches!(saga.order.state, Order::Confirmed { .. }))
        }),
        Property::sometimes("cancelled by the customer, nothing held", |_, world: &World| {
            rests(world, |saga| settled(saga, CancelReason::Customer))
        }),
        Property::sometimes("cancelled by the deadline, nothing held", |_, world: &World| {
            rests(world, |saga| settled(saga, CancelReason::Deadline))
        }),
        Property::sometimes("payment failed", |_, world: &World| {
            rests(world, |saga| settled(saga, CancelReason::PaymentFailed))
        }),
        Property::sometimes("refunded", |_, world: &World| {
            rests(world, |saga| matches!(saga.order.state, Order::Refunded { .. }))
        }),
    ]
}

/// What faults at the provider lead to.
fn unknowns() -> Vec<Property<Shop>> {
    vec![
        Property::sometimes("failed, because it never arrived", |_, world: &World| {
            rests(world, |saga| saga.payment.state.reason() == Some(UNREACHABLE))
        }),
        Property::sometimes("money is owed and the refund is parked", |_, world: &World| {
            rests(world, |saga| {
                saga.order.state.is_money_owed() && saga.payment.is_parked()
            })
        }),
        Property::sometimes("refunded by an operator's replay", |_, world: &World| {
            rests(world, |saga| {
                matches!(saga.order.state, Order::Refunded { .. })
                    && saga.left.replayed == 0
                    && saga.left.exhausted == 0
            })
        }),
        Property::sometimes("a call arrives after it was asked after", |_, world: &World| {
            world.sagas.iter().any(|saga| {
                matches!(
                    saga.payment.state,
                    Payment::Asking {
                        asked: Asked::Close(_),
                        ..
                    }
                ) && saga.provider.captured() == 1
            })
        }),
        Property::sometimes("a question stays open", |_, world: &World| {
            rests(world, |saga| {
                saga.payment.is_parked() && matches!(saga.payment.state, Payment::Asking { .. })
            })
        }),
    ]
}

pub(crate) fn card() -> Vec<Property<Shop>> {
    let mut properties = always();
    properties.extend(ends());
    properties.extend(unknowns());
    properties.push(Property::sometimes(
        "a cancel waits for the charge",
        |_, world: &World| {
            world.sagas.iter().any(|saga| {
                matches!(
                    saga.payment.state,
                    Payment::Asking {
                        asked: Asked::Charge,
                        standing: Standing::Cancelled,
                        ..
                    }
                ) && saga.provider.captured() == 1
            })
        },
    ));
    properties
}

pub(crate) fn page() -> Vec<Property<Shop>> {
    let mut properties = always();
    properties.extend(ends());
    properties.extend(unknowns());
    properties.extend([
        Property::sometimes("payment expired", |_, world: &World| {
            rests(world, |saga| settled(saga, CancelReason::PaymentExpired))
        }),
        Property::sometimes(
            "a report comes before the answer that opened the page",
            |_, world: &World| {
                world.sagas.iter().any(|saga| {
                    matches!(
                        saga.payment.state,
                        Payment::Asking {
                            asked: Asked::Page | Asked::WhatOfPage,
                            standing: Standing::Paid,
                            ..
                        }
                    )
                })
            },
        ),
        Property::sometimes("declined on the page", |_, world: &World| {
            rests(world, |saga| {
                matches!(saga.payment.state, Payment::Failed { .. })
                    && saga.provider.page == Some(Page::Declined)
            })
        }),
        Property::sometimes("a report comes twice", |_, world: &World| {
            world.sagas.iter().any(|saga| saga.provider.reported_paid == 2)
        }),
        Property::sometimes(
            "a report of paid and a cancel meet in an open question",
            |_, world: &World| {
                world.sagas.iter().any(|saga| {
                    matches!(
                        saga.payment.state,
                        Payment::Asking {
                            standing: Standing::RefundDue,
                            ..
                        }
                    )
                })
            },
        ),
    ]);
    properties
}

/// Somebody pays on a page that was closed before.
pub(crate) fn late() -> Vec<Property<Shop>> {
    let mut properties = always();
    properties.push(Property::sometimes(
        "what was paid after the page expired goes back",
        |_, world: &World| {
            rests(world, |saga| {
                matches!(
                    saga.order.state,
                    Order::Refunded {
                        reason: CancelReason::PaymentExpired,
                        ..
                    }
                ) && saga.provider.paid_late
            })
        },
    ));
    properties
}

pub(crate) fn nothing_in_stock() -> Vec<Property<Shop>> {
    let mut properties = always();
    properties.extend([
        Property::sometimes("rejected", |_, world: &World| {
            rests(world, |saga| matches!(saga.order.state, Order::Rejected { .. }))
        }),
        Property::sometimes(
            "cancelled while its rejection was on the way",
            |_, world: &World| {
                rests(world, |saga| {
                    settled(saga, CancelReason::Customer)
                        && saga.inventory.state == Hold::Closed(Closing::Rejected)
                })
            },
        ),
    ]);
    properties
}

/// Several orders, one item.
pub(crate) fn always_one_sold() -> Vec<Property<Shop>> {
    let mut properties = always();
    properties.push(Property::always("it is not sold twice", |_, world: &World| {
        let confirmed = |saga: &&Saga| matches!(saga.order.state, Order::Confirmed { .. });
        world.sagas.iter().filter(confirmed).count() <= 1
    }));
    properties.push(Property::sometimes("somebody gets it", |_, world: &World| {
        rests(world, |saga| matches!(saga.order.state, Order::Confirmed { .. }))
    }));
    properties
}

/// Orders that compete for one item.
pub(crate) fn last_item() -> Vec<Property<Shop>> {
    let mut properties = always_one_sold();
    properties.extend([
        Property::sometimes("one gets it, the other is rejected", |_, world: &World| {
            world.sagas.iter().all(Saga::is_at_rest)
                && matches!(world.sagas[0].order.state, Order::Confirmed { .. })
                && matches!(world.sagas[1].order.state, Order::Rejected { .. })
        }),
        Property::sometimes("the second gets what the first gave back", |_, world: &World| {
            world.sagas.iter().all(Saga::is_at_rest)
                && settled(&world.sagas[0], CancelReason::PaymentFailed)
                && matches!(world.sagas[1].order.state, Order::Confirmed { .. })
        }),
    ]);
    properties
}

fn rests(world: &World, at: fn(&Saga) -> bool) -> bool {
    world.sagas.iter().any(|saga| saga.is_at_rest() && at(saga))
}

fn settled(saga: &Saga, why: CancelReason) -> bool {
    matches!(&saga.order.state, Order::Cancelled { reason, money: Held::Nothing, .. } if *reason == why)
}
