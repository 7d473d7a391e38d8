use quadrille_proto::product::v1::product_service_server::SERVICE_NAME;
use quadrille_proto::product::v1::{
    ChangePriceRequest, CreateProductRequest, GetProductRequest, ListProductsRequest,
};
use serde_json::json;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::harness::{Shop, euro, id, keyed, tea};

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_created_once_and_shown_as_it_was_answered() {
    let shop = Shop::open().await;
    let created = shop.create(keyed("one", tea(250))).await.unwrap();
    let again = shop.create(keyed("one", tea(250))).await.unwrap();
    assert_eq!(created, again);
    let request = GetProductRequest {
        product_id: created.product_id.clone(),
    };
    let shown = shop
        .client
        .clone()
        .get_product(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(shown.product.as_ref(), Some(&created));
    let price = json!({"minor": 250, "currency": "EUR"});
    let event = json!({"product_id": created.product_id, "name": "tea", "price": price});
    assert_eq!(shop.events().await, [("product.created".to_owned(), event)]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_each_call_counts() {
    let shop = Shop::open().await;
    let one = shop.create(Request::new(tea(250))).await.unwrap();
    let two = shop.create(Request::new(tea(250))).await.unwrap();
    assert_ne!(one.product_id, two.product_id);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_taken_once() {
    let shop = Shop::open().await;
    let request = CreateProductRequest {
        product_id: Some(id().to_string()),
        ..tea(250)
    };
    shop.create(Request::new(request.clone())).await.unwrap();
    let status = shop.create(Request::new(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    assert_eq!(shop.traces().await, (1, 1, 1));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_price_is_shown_and_told() {
    let shop = Shop::open().await;
    let created = shop.create(Request::new(tea(250))).await.unwrap();
    let change = |minor_units| ChangePriceRequest {
        product_id: created.product_id.clone(),
        price: Some(euro(minor_units)),
    };
    let changed = shop
        .client
        .clone()
        .change_price(keyed("c", change(300)))
        .await
        .unwrap()
        .into_inner();
    let changed = changed.product.unwrap();
    assert_eq!(
        (changed.price.as_ref(), &changed.created_at),
        (Some(&euro(300)), &created.created_at)
    );
    // What it costs already is no news; the first answer to a key stays the answer.
    shop.client.clone().change_price(change(300)).await.unwrap();
    shop.client.clone().change_price(change(310)).await.unwrap();
    let again = shop
        .client
        .clone()
        .change_price(keyed("c", change(300)))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again.product, Some(changed));
    let events = shop.events().await;
    let told: Vec<_> = events
        .iter()
        .map(|(name, data)| (name.as_str(), &data["price"]["minor"]))
        .collect();
    assert_eq!(
        told,
        [
            ("product.created", &json!(250)),
            ("product.price_changed", &json!(300)),
            ("product.price_changed", &json!(310)),
        ]
    );
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_is_listed_page_by_page() {
    let shop = Shop::open().await;
    let mut ids = Vec::new();
    for n in 1..=5 {
        ids.push(shop.create(Request::new(tea(n))).await.unwrap().product_id);
    }
    ids.sort_unstable();
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    let mut pages = 0;
    loop {
        let request = ListProductsRequest {
            page_size: 2,
            page_token,
        };
        let page = shop
            .client
            .clone()
            .list_products(request)
            .await
            .unwrap()
            .into_inner();
        pages += 1;
        seen.extend(page.products.into_iter().map(|product| product.product_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!((seen, pages), (ids, 3));
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
    let requests = tokio_stream::once(request);
    let mut answers = ServerReflectionClient::new(shop.channel.clone())
        .server_reflection_info(requests)
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
    shop.close().await;
}
