//! What has to be true of one order when nothing of it is under way. Pure.

use quadrille_contracts::{order, payment, stock};
use saga_core::Event;

use super::finding::{Class, Finding};
use super::life::{Events, Hold, Life, Notes, Order, Payment};

/// What came of looking at an order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All of it adds up.
    Right,
    /// Something of it is still on its way: another day.
    Moves,
    /// It waits for a person, visibly.
    Parked,
    /// A person threw a part of it away, and said why.
    Discarded,
    /// It does not add up.
    Wrong(Vec<Finding>),
}

/// Judges an order. `unread`: somebody has yet to read an event of it.
pub(super) fn judge(id: &str, life: &Life, unread: bool) -> Verdict {
    if life.notes.has(Notes::DISCARDED) {
        return Verdict::Discarded;
    }
    if life.notes.has(Notes::PARKED) {
        return Verdict::Parked;
    }
    if unread || life.notes.has(Notes::UNPUBLISHED) {
        return Verdict::Moves;
    }
    let mut found = lost(id, life);
    found.extend(unapplied(id, life));
    // What a lost event leads to is not a discrepancy of its own.
    if found.is_empty() {
        found.extend(unbalanced(id, life));
        found.extend(endless(id, life));
    }
    if found.is_empty() {
        Verdict::Right
    } else {
        Verdict::Wrong(found)
    }
}

/// Whether an order's payment may be in this state once both have come to rest. `owed`: a refund is parked.
///
/// The words are those of the services' tables, so that whoever has them can ask: this audit, and the accountant of the
/// failure tests.
pub fn payment_fits(order: &str, owed: bool, payment: &str) -> bool {
    match order {
        "confirmed" => payment == "captured",
        "refunded" => payment == "refunded",
        "rejected" => payment == "rejected",
        "cancelled" if owed => payment == "refund_parked",
        "cancelled" => matches!(payment, "voided" | "failed" | "expired"),
        _ => false,
    }
}

/// What must have been told for the tables to be as they are.
fn told(life: &Life) -> Events {
    let mut told = Events::default();
    let mut need = |name: &str| told.add(Events::of(name));
    match life.order {
        Order::Absent => {}
        Order::Pending => need(order::Created::NAME),
        Order::Confirmed => {
            need(order::Created::NAME);
            need(order::Confirmed::NAME);
        }
        Order::Rejected => {
            need(order::Created::NAME);
            need(order::Rejected::NAME);
        }
        Order::Cancelled | Order::CancelledNothing => {
            need(order::Created::NAME);
            need(order::Cancelled::NAME);
        }
        Order::CancelledOwed => {
            need(order::Created::NAME);
            need(order::Cancelled::NAME);
            need(payment::RefundFailed::NAME);
        }
        Order::Refunded => {
            need(order::Created::NAME);
            need(order::Cancelled::NAME);
            need(order::Refunded::NAME);
        }
    }
    match life.hold {
        Hold::Absent => {}
        Hold::Held => need(stock::Reserved::NAME),
        Hold::Rejected => need(stock::Rejected::NAME),
        Hold::Sold => {
            need(stock::Reserved::NAME);
            need(stock::Committed::NAME);
        }
        // A cancel that came first held nothing, and put nothing back.
        Hold::Cancelled if life.seen.has(Events::of(stock::Reserved::NAME)) => need(stock::Released::NAME),
        Hold::Cancelled => {}
    }
    use Payment as P;
    match life.payment {
        P::Absent | P::StockFirst | P::AwaitingStock | P::Rejected => {}
        P::Asking | P::PageOpen | P::Refunding => {}
        P::Captured => need(payment::Succeeded::NAME),
        P::RefundParked => need(payment::RefundFailed::NAME),
        P::Refunded => need(payment::Refunded::NAME),
        P::Failed => need(payment::Failed::NAME),
        P::Expired => need(payment::Expired::NAME),
        P::Voided => need(payment::Voided::NAME),
    }
    // A page is announced once it is open, which may be after it was paid or given up; a charge when it begins.
    let charged = matches!(
        life.payment,
        P::Asking | P::Captured | P::Refunding | P::RefundParked | P::Refunded | P::Failed
    );
    if life.payment == P::PageOpen || charged && life.notes.has(Notes::CARD) {
        need(payment::Created::NAME);
    }
    told
}

fn lost(id: &str, life: &Life) -> Vec<Finding> {
    let mut found = Vec::new();
    let acknowledged = life.acknowledged.without(life.seen);
    for name in acknowledged.names() {
        found.push(Finding::new(
            Class::Lost,
            "not_in_topic",
            format!("order {id}"),
            format!("{name} is in the outbox and acknowledged, and its topic does not have it"),
        ));
    }
    if life.notes.has(Notes::WHOLE) {
        let never = told(life).without(life.seen).without(acknowledged);
        for name in never.names() {
            found.push(Finding::new(
                Class::Lost,
                "never_told",
                format!("order {id}"),
                format!(
                    "{name} is in no topic, outbox or quarantine, and {}",
                    states(life)
                ),
            ));
        }
    }
    found
}

/// Everybody who has read an event has acted on it.
fn unapplied(id: &str, life: &Life) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut say = |detail: String| {
        found.push(Finding::new(
            Class::Unapplied,
            "unapplied",
            format!("order {id}"),
            detail,
        ));
    };
    if life.order == Order::Absent {
        if let Some(first) = life.seen.names().next() {
            say(format!("{first} is in its topic, and order has no such order"));
        }
        return found;
    }
    let after: Vec<_> = life.seen.names().map(|name| (name, after(name, life))).collect();
    // Of each table the first is enough.
    let first = |is_wrong: fn(&(bool, bool, bool)) -> bool| after.iter().find(|(_, fits)| is_wrong(fits));
    if let Some((name, _)) = first(|(order, _, _)| !order) {
        say(format!(
            "{name} was told or read by order, whose row is {}",
            life.order
        ));
    }
    let pruned = life.hold == Hold::Absent && life.notes.has(Notes::LONG_ENDED);
    if let Some((name, _)) = first(|(_, hold, _)| !hold).filter(|_| !pruned) {
        say(format!(
            "{name} was told or read by inventory, whose hold is {}",
            life.hold
        ));
    }
    if let Some((name, _)) = first(|(_, _, payment)| !payment) {
        say(format!(
            "{name} was told or read by payment, whose row is {}",
            life.payment
        ));
    }
    found
}

/// Whether order, hold and payment can be in their states after this event was told and read.
fn after(event: &str, life: &Life) -> (bool, bool, bool) {
    use Payment as P;
    let (order, hold, payment) = (life.order, life.hold, life.payment);
    let cancelled = matches!(
        order,
        Order::Cancelled | Order::CancelledNothing | Order::CancelledOwed | Order::Refunded
    );
    let undone = matches!(payment, P::Refunding | P::RefundParked | P::Refunded);
    match event {
        order::Created::NAME => (
            true,
            hold != Hold::Absent,
            !matches!(payment, P::Absent | P::StockFirst),
        ),
        order::Confirmed::NAME => (order == Order::Confirmed, hold == Hold::Sold, true),
        order::Rejected::NAME => (order == Order::Rejected, true, payment == P::Rejected),
        order::Cancelled::NAME => (
            cancelled,
            matches!(hold, Hold::Rejected | Hold::Cancelled),
            undone || matches!(payment, P::Asking | P::Failed | P::Expired | P::Voided),
        ),
        order::Refunded::NAME => (order == Order::Refunded, true, true),
        stock::Reserved::NAME => (
            true,
            matches!(hold, Hold::Held | Hold::Sold | Hold::Cancelled),
            !matches!(payment, P::Absent | P::AwaitingStock),
        ),
        stock::Rejected::NAME => (
            cancelled || order == Order::Rejected,
            hold == Hold::Rejected,
            true,
        ),
        stock::Committed::NAME => (true, hold == Hold::Sold, true),
        stock::Released::NAME => (true, hold == Hold::Cancelled, true),
        payment::Succeeded::NAME => (
            cancelled || order == Order::Confirmed,
            true,
            undone || matches!(payment, P::Asking | P::Captured),
        ),
        payment::Failed::NAME | payment::Expired::NAME => (
            cancelled,
            true,
            undone || matches!(payment, P::Failed | P::Expired),
        ),
        payment::Voided::NAME => (
            cancelled && order != Order::Cancelled,
            true,
            undone || payment == P::Voided,
        ),
        payment::Refunded::NAME => (order == Order::Refunded, true, payment == P::Refunded),
        payment::RefundFailed::NAME => (
            matches!(order, Order::CancelledOwed | Order::Refunded),
            true,
            undone,
        ),
        _ => (true, true, true),
    }
}

/// Goods and money of an order that has ended.
fn unbalanced(id: &str, life: &Life) -> Vec<Finding> {
    use Payment as P;
    let mut found = Vec::new();
    let mut say = |name: &'static str, detail: String| {
        found.push(Finding::new(
            Class::Unbalanced,
            name,
            format!("order {id}"),
            detail,
        ));
    };
    let (word, owed) = match life.order {
        Order::Absent | Order::Pending | Order::Cancelled => return found,
        Order::Confirmed => ("confirmed", false),
        Order::Rejected => ("rejected", false),
        Order::CancelledNothing => ("cancelled", false),
        Order::CancelledOwed => ("cancelled", true),
        Order::Refunded => ("refunded", false),
    };
    // The provider has been asked for something more; what it answers is acted upon.
    let under_way = matches!(life.payment, P::Asking | P::Refunding) && life.notes.has(Notes::WAITS);
    if !under_way && !payment_fits(word, owed, &life.payment.to_string()) {
        say(
            "money",
            format!("it is {}, and its payment is {}", life.order, life.payment),
        );
    }
    let goods = match life.order {
        Order::Confirmed => life.hold == Hold::Sold,
        Order::Rejected => life.hold == Hold::Rejected,
        _ => matches!(life.hold, Hold::Cancelled | Hold::Rejected),
    };
    let pruned = life.hold == Hold::Absent && life.notes.has(Notes::LONG_ENDED);
    if !(goods || pruned) {
        say(
            "goods",
            format!("it is {}, and its goods are {}", life.order, life.hold),
        );
    }
    if life.notes.has(Notes::OTHER_AMOUNT) {
        say(
            "money",
            "its payment is of another amount than the order".to_owned(),
        );
    }
    found
}

/// What is open waits for something that will end it.
fn endless(id: &str, life: &Life) -> Option<Finding> {
    let say = |detail: String| {
        Some(Finding::new(
            Class::Overdue,
            "waits_for_nothing",
            format!("order {id}"),
            detail,
        ))
    };
    match life.order {
        Order::Pending if !life.notes.has(Notes::DEADLINE) => {
            say("it is pending, and has no deadline".to_owned())
        }
        Order::Cancelled if !life.notes.has(Notes::WAITS) => say(format!(
            "it is cancelled, nobody knows where its money is, and its payment ({}) waits for nothing",
            life.payment
        )),
        _ => None,
    }
}

fn states(life: &Life) -> String {
    format!(
        "the order is {}, its goods are {}, its payment is {}",
        life.order, life.hold, life.payment
    )
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
