use quadrille_contracts::payment;
use quadrille_proto::order::v1::{
    Order, OrderStatus, PlaceOrderRequest, WatchOrderRequest, WatchOrderResponse,
};
use saga_core::{Currency, Money};
use tonic::{Code, Request, Status, Streaming};
use uuid::Uuid;

use crate::harness::{Shop, hosted_page, ids, order_of, reason};

const PRICE: Money = Money::new(250, Currency::EUR);

async fn watch(shop: &Shop, order: &Order) -> Result<Streaming<WatchOrderResponse>, Status> {
    let order_id = order.order_id.clone();
    let answer = shop
        .client
        .clone()
        .watch_order(WatchOrderRequest { order_id })
        .await?;
    Ok(answer.into_inner())
}

/// The next message: status, and the name of the event.
async fn next(stream: &mut Streaming<WatchOrderResponse>) -> Option<(Order, String)> {
    let message = stream.message().await.unwrap()?;
    Some((
        message.order.unwrap(),
        message.event.map(|event| event.name).unwrap_or_default(),
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_the_order_as_it_is_and_each_change_until_the_end() {
    let shop = Shop::open().await;
    let tea = shop.product(250, "EUR").await;
    let page = PlaceOrderRequest {
        payment_method: hosted_page(),
        ..order_of(&[(tea, 1)])
    };
    let placed = shop.place(page).await.unwrap();
    let (order_id, payment_id) = ids(&placed);
    let mut stream = watch(&shop, &placed).await.unwrap();
    assert_eq!(next(&mut stream).await, Some((placed, String::new())));

    let page_url = "https://pay.example/1";
    shop.send(&payment::Created {
        order_id,
        payment_id,
        amount: PRICE,
        page_url: Some(page_url.to_owned()),
    })
    .await;
    let (order, event) = next(&mut stream).await.unwrap();
    assert_eq!(
        (order.payment_page_url.as_str(), event.as_str()),
        (page_url, "payment.created")
    );

    shop.send(&payment::Succeeded {
        order_id,
        payment_id,
        amount: PRICE,
    })
    .await;
    let (order, event) = next(&mut stream).await.unwrap();
    assert_eq!(
        (order.status(), order.ended, event.as_str()),
        (OrderStatus::Confirmed, true, "order.confirmed")
    );
    assert_eq!(next(&mut stream).await, None);

    // Whoever comes later sees the end, and nothing more.
    let mut late = watch(&shop, &order).await.unwrap();
    assert_eq!(next(&mut late).await, Some((order, String::new())));
    assert_eq!(next(&mut late).await, None);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_watcher_of_an_order_sees_its_change_whoever_made_it() {
    let shop = Shop::open().await;
    let (placed, other) = (shop.placed().await, shop.placed().await);
    let mut streams = Vec::new();
    for order in [&placed, &placed, &other] {
        let mut stream = watch(&shop, order).await.unwrap();
        next(&mut stream).await.unwrap();
        streams.push(stream);
    }
    // Another process of the service, of which this one is told nothing.
    sqlx::query("update orders set status = 'rejected', version = version + 1 where id = $1")
        .bind(ids(&placed).0.0)
        .execute(&shop.world.pool)
        .await
        .unwrap();
    for stream in &mut streams[..2] {
        let (order, event) = next(stream).await.unwrap();
        assert_eq!(
            (order.status(), event.as_str()),
            (OrderStatus::Rejected, "order.rejected")
        );
        assert_eq!(next(stream).await, None);
    }
    shop.cancel(&other.order_id, "c").await.unwrap();
    let (order, event) = next(&mut streams[2]).await.unwrap();
    assert_eq!(
        (order.status(), event.as_str()),
        (OrderStatus::Cancelled, "order.cancelled")
    );
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_room_for_so_many_watchers_and_a_place_becomes_free_again() {
    let shop = Shop::open_with(&[("WATCHERS_MAX", "1")]).await;
    let placed = shop.placed().await;
    let mut first = watch(&shop, &placed).await.unwrap();
    next(&mut first).await.unwrap();
    let status = watch(&shop, &placed).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::ResourceExhausted, "OVERLOADED")
    );
    drop(first);
    service_testing::until("a place is free", async || {
        Ok(watch(&shop, &placed).await.is_ok())
    })
    .await
    .unwrap();
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_at_its_deadline_and_at_the_shutdown() {
    let shop = Shop::open().await;
    let placed = shop.placed().await;
    let mut request = Request::new(WatchOrderRequest {
        order_id: placed.order_id.clone(),
    });
    // In the header alone, and long enough to hear the beginning.
    request
        .metadata_mut()
        .insert("grpc-timeout", "3S".parse().unwrap());
    let mut bounded = shop
        .client
        .clone()
        .watch_order(request)
        .await
        .unwrap()
        .into_inner();
    next(&mut bounded).await.unwrap();
    assert_eq!(
        bounded.message().await.unwrap_err().code(),
        Code::DeadlineExceeded
    );

    let mut stream = watch(&shop, &placed).await.unwrap();
    next(&mut stream).await.unwrap();
    let closing = tokio::spawn(shop.close());
    let status = stream.message().await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unavailable, "STOPPING")
    );
    closing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_watched() {
    let shop = Shop::open().await;
    let order = Order {
        order_id: Uuid::new_v4().to_string(),
        ..Order::default()
    };
    assert_eq!(watch(&shop, &order).await.unwrap_err().code(), Code::NotFound);
    let order = Order {
        order_id: "?".to_owned(),
        ..order
    };
    assert_eq!(
        watch(&shop, &order).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    shop.close().await;
}
