use quadrille_proto::order::v1::order_service_server::SERVICE_NAME;
use quadrille_proto::order::v1::{ListOrdersRequest, Order, OrderStatus, PlaceOrderRequest};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use uuid::Uuid;

use crate::harness::{Shop, fields, order_of, reason};

async fn page(shop: &Shop, request: ListOrdersRequest) -> Result<(Vec<Order>, String), Status> {
    let page = shop.client.clone().list_orders(request).await?.into_inner();
    Ok((page.orders, page.next_page_token))
}

/// Every page of the list, and how many there were.
async fn pages(shop: &Shop, mut request: ListOrdersRequest) -> (Vec<String>, usize) {
    let (mut seen, mut count) = (Vec::new(), 0);
    loop {
        let (orders, next) = page(shop, request.clone()).await.unwrap();
        count += 1;
        seen.extend(orders.into_iter().map(|order| order.order_id));
        if next.is_empty() {
            return (seen, count);
        }
        request.page_token = next;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_listed_newest_first_by_owner_and_status() {
    let shop = Shop::open().await;
    let tea = shop.product(250, "EUR").await;
    let mut newest_first = Vec::new();
    for n in 0..7 {
        let owner = if n % 2 == 0 { "ann" } else { "bob" }.to_owned();
        let order = shop
            .place(PlaceOrderRequest {
                owner,
                ..order_of(&[(tea, 1)])
            })
            .await
            .unwrap();
        newest_first.insert(0, order);
    }
    let cancelled = newest_first[2].order_id.clone();
    shop.cancel(&cancelled, "c").await.unwrap();
    let id = |order: &Order| order.order_id.clone();
    let all: Vec<_> = newest_first.iter().map(id).collect();
    let of_ann: Vec<_> = newest_first
        .iter()
        .filter(|order| order.owner == "ann")
        .map(id)
        .collect();
    let pending: Vec<_> = all
        .iter()
        .filter(|order_id| **order_id != cancelled)
        .cloned()
        .collect();

    let list = ListOrdersRequest {
        page_size: 3,
        ..Default::default()
    };
    assert_eq!(pages(&shop, list.clone()).await, (all.clone(), 3));
    let ann = ListOrdersRequest {
        owner: "ann".into(),
        page_size: 2,
        ..Default::default()
    };
    assert_eq!(pages(&shop, ann.clone()).await, (of_ann.clone(), 2));
    let mut by_status = ListOrdersRequest {
        status: OrderStatus::Pending.into(),
        ..list.clone()
    };
    assert_eq!(pages(&shop, by_status.clone()).await, (pending, 2));
    by_status.owner = newest_first[2].owner.clone();
    by_status.status = OrderStatus::Cancelled.into();
    assert_eq!(pages(&shop, by_status).await, (vec![cancelled], 1));
    let nobody = ListOrdersRequest {
        owner: "carol".into(),
        ..list
    };
    assert_eq!(pages(&shop, nobody).await, (vec![], 1));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_belongs_to_its_list() {
    let shop = Shop::open().await;
    let tea = shop.product(250, "EUR").await;
    for _ in 0..2 {
        shop.place(order_of(&[(tea, 1)])).await.unwrap();
    }
    let list = ListOrdersRequest {
        page_size: 1,
        ..Default::default()
    };
    let (_, page_token) = page(&shop, list).await.unwrap();
    let wrong = [
        ListOrdersRequest {
            owner: "ann".into(),
            page_token: page_token.clone(),
            ..Default::default()
        },
        ListOrdersRequest {
            page_token: page_token[1..].to_owned(),
            ..Default::default()
        },
        ListOrdersRequest {
            page_token: "made up".into(),
            ..Default::default()
        },
    ];
    for request in wrong {
        let status = page(&shop, request).await.unwrap_err();
        assert_eq!(
            (status.code(), fields(&status)),
            (Code::InvalidArgument, vec!["page_token".to_owned()])
        );
    }
    let wrong = ListOrdersRequest {
        owner: "a\0".into(),
        status: 77,
        page_size: -1,
        page_token: String::new(),
    };
    assert_eq!(
        fields(&page(&shop, wrong).await.unwrap_err()),
        ["owner", "status", "page_size"]
    );
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() {
    let shop = Shop::open().await;
    let order_id = Uuid::new_v4().to_string();
    let status = shop.get(&order_id).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::NotFound, "ORDER_NOT_FOUND")
    );
    assert_eq!(
        reason(&shop.cancel(&order_id, "c").await.unwrap_err()),
        "ORDER_NOT_FOUND"
    );
    // What was asked for is still not there.
    assert_eq!(shop.get(&order_id).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(page(&shop, ListOrdersRequest::default()).await.unwrap().0, []);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_answer_beside_it() {
    let shop = Shop::open().await;
    let mut health = HealthClient::new(shop.channel.clone());
    for service in ["", SERVICE_NAME] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(shop.channel.clone())
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("no list of services: {answer:?}");
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(
        names.contains(&SERVICE_NAME) && names.contains(&"grpc.health.v1.Health"),
        "{names:?}"
    );
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_when_it_is_told_to() {
    let shop = Shop::open().await;
    shop.placed().await;
    shop.close().await;
}
