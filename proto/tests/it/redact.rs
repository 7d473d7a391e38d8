use quadrille_proto::order::v1::{Card, PaymentMethod, PlaceOrderRequest, payment_method::Method};

#[test]
fn a_printed_request_does_not_show_the_token_of_its_card() {
    let card = Card {
        token: "tok_4242".to_owned(),
    };
    let request = PlaceOrderRequest {
        owner: "somebody".to_owned(),
        payment_method: Some(PaymentMethod {
            method: Some(Method::Card(card)),
        }),
        ..Default::default()
    };
    let printed = format!("{request:?}");
    assert!(printed.contains("somebody"), "{printed}");
    assert!(printed.contains("Card { .. }"), "{printed}");
    assert!(!printed.contains("tok_4242"), "{printed}");
}
