use futures::future::join_all;
use quadrille_contracts::{ProductId, product};
use quadrille_proto::order::v1::{OrderStatus, PlaceOrderRequest};
use saga_core::{Currency, Money};
use service_testing::until;
use tonic::Code;
use uuid::Uuid;

use crate::harness::{Shop, hosted_page, keyed, money, order_of, reason};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_priced_by_the_catalogue_and_shown_as_it_was_answered() {
    let shop = Shop::open().await;
    let (tea, pot) = (ProductId(Uuid::new_v4()), ProductId(Uuid::new_v4()));
    for (product_id, price) in [(tea, 250), (pot, 1999)] {
        let (name, price) = ("a product".to_owned(), Money::new(price, Currency::EUR));
        shop.send(&product::Created {
            product_id,
            name,
            price,
        })
        .await;
    }
    let prices = "select count(*) from price where price_minor is not null";
    until("both prices are known", async || {
        let known: i64 = sqlx::query_scalar(prices).fetch_one(&shop.world.pool).await?;
        Ok(known == 2)
    })
    .await
    .unwrap();

    let request = PlaceOrderRequest {
        expected_currency_code: Some("EUR".to_owned()),
        ..order_of(&[(pot, 1), (tea, 3)])
    };
    let order = shop.place(request).await.unwrap();
    assert_eq!(order.status(), OrderStatus::Pending);
    assert_eq!(
        (order.owner.as_str(), &order.total, order.ended),
        ("ann", &money(2749, "EUR"), false)
    );
    let items: Vec<_> = order
        .items
        .iter()
        .map(|item| (&item.product_id, item.quantity, &item.line_total))
        .collect();
    let (tea_id, pot_id) = (tea.to_string(), pot.to_string());
    assert_eq!(
        items,
        [
            (&pot_id, 1, &money(1999, "EUR")),
            (&tea_id, 3, &money(750, "EUR"))
        ]
    );
    assert_eq!(order.created_at, order.updated_at);
    assert_eq!(shop.get(&order.order_id).await.unwrap(), order);

    let published = shop.world.published(&order.order_id).await.unwrap();
    let [(name, created)] = published.as_slice() else {
        panic!("one event, not {published:?}");
    };
    assert_eq!(
        (name.as_str(), &created["total"]["minor"]),
        ("order.created", &2749.into())
    );
    assert_eq!(created["payment_method"]["token"], "tok_visa");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_price_is_that_of_later_orders() {
    let shop = Shop::open().await;
    let tea = shop.product(250, "EUR").await;
    let before = shop.place(order_of(&[(tea, 2)])).await.unwrap();
    let price = Money::new(300, Currency::EUR);
    shop.send(&product::PriceChanged {
        product_id: tea,
        price,
    })
    .await;
    let new = "select count(*) from price where price_minor = 300";
    until("the price is known", async || {
        let known: i64 = sqlx::query_scalar(new).fetch_one(&shop.world.pool).await?;
        Ok(known == 1)
    })
    .await
    .unwrap();
    let after = shop.place(order_of(&[(tea, 2)])).await.unwrap();
    assert_eq!(
        (after.total, shop.get(&before.order_id).await.unwrap().total),
        (money(600, "EUR"), money(500, "EUR"))
    );
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_call_is_the_same_order_however_many_come_at_once() {
    let shop = Shop::open().await;
    let tea = shop.product(250, "EUR").await;
    let request = order_of(&[(tea, 1)]);
    let answers = join_all((0..20).map(|_| shop.place(keyed("one", request.clone())))).await;
    let first = shop.place(keyed("\"one\"", request.clone())).await.unwrap();
    for answer in answers {
        assert_eq!(answer.unwrap(), first);
    }
    assert_eq!(shop.traces().await, (1, 1, 1, 1));
    // Another owner's key is another key.
    let other = shop
        .place(keyed(
            "one",
            PlaceOrderRequest {
                owner: "bob".into(),
                ..request
            },
        ))
        .await
        .unwrap();
    assert_ne!(other.order_id, first.order_id);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_each_call_counts() {
    let shop = Shop::open().await;
    let tea = shop.product(250, "EUR").await;
    let one = shop.place(order_of(&[(tea, 1)])).await.unwrap();
    let two = shop.place(order_of(&[(tea, 1)])).await.unwrap();
    assert_ne!(one.order_id, two.order_id);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_comes_after_its_key_was_forgotten_makes_no_second_order() {
    let shop = Shop::open().await;
    let tea = shop.product(250, "EUR").await;
    shop.place(keyed("one", order_of(&[(tea, 1)]))).await.unwrap();
    sqlx::query("delete from saga.command")
        .execute(&shop.world.pool)
        .await
        .unwrap();
    let status = shop.place(keyed("one", order_of(&[(tea, 1)]))).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::AlreadyExists, "ORDER_EXISTS")
    );
    assert_eq!(shop.traces().await, (1, 1, 0, 1));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_orders_of_the_same_product_are_all_taken() {
    let shop = Shop::open().await;
    let tea = shop.product(250, "EUR").await;
    let page = PlaceOrderRequest {
        payment_method: hosted_page(),
        ..order_of(&[(tea, 1)])
    };
    let orders = join_all((0..300).map(|_| shop.place(page.clone()))).await;
    for order in orders {
        assert_eq!(order.unwrap().total, money(250, "EUR"));
    }
    assert_eq!(shop.traces().await, (300, 300, 300, 300));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_s_token_is_kept_by_nobody_here() {
    let shop = Shop::open().await;
    let order = shop.placed().await;
    let kept: bool = sqlx::query_scalar(
        "select exists (select from orders o where o::text like '%tok_visa%')
             or exists (select from saga.command c where c::text like '%tok_visa%')",
    )
    .fetch_one(&shop.world.pool)
    .await
    .unwrap();
    assert!(!kept);
    assert!(!format!("{:?}", shop.get(&order.order_id).await.unwrap()).contains("tok_visa"));
    shop.close().await;
}
