use super::*;

fn refunded() -> In {
    In::Refunded(Outcome::Answered(Refunded::Refunded))
}

#[test]
fn what_was_captured_goes_back_when_the_order_is_cancelled() {
    payments()
        .state(Payment::Captured(card_bill()))
        .when(order_cancelled())
        .emits(&[out::refund()])
        .and([])
        .when(refunded())
        .emits(&[out::refunded()])
        .leaves(&Payment::Refunded(card_bill()));
}

#[test]
fn a_refund_without_an_answer_is_parked_and_can_be_replayed() {
    let parked = Payment::RefundParked(card_bill());
    payments()
        .state(Payment::Refunding(card_bill()))
        .when(In::Refunded(unanswered()))
        .emits(&[out::refund_failed()])
        .leaves(&parked);
    assert!(!PAYMENTS.is_ended(&parked));
    // In vain, and the order was told before.
    payments()
        .state(parked.clone())
        .when(In::Refunded(unanswered()))
        .emits(&[])
        .leaves(&parked);
    payments()
        .state(parked)
        .when(refunded())
        .emits(&[out::refunded()])
        .leaves(&Payment::Refunded(card_bill()));
}
