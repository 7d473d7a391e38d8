use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use prost::Message;
use prost_types::FileDescriptorProto;
use quadrille_proto::{order, reflection};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic_reflection::pb::{v1, v1alpha};

const SERVICES: [&str; 2] = [
    order::v1::order_service_server::SERVICE_NAME,
    "grpc.health.v1.Health",
];

/// A server with reflection alone; it ends with the test's runtime.
async fn serve() -> Result<Channel> {
    let (v1, v1alpha) = reflection(&SERVICES)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(
        Server::builder()
            .add_service(v1)
            .add_service(v1alpha)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    Ok(Channel::from_shared(format!("http://{address}"))?
        .connect()
        .await?)
}

fn listed() -> BTreeSet<String> {
    let own = [
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ];
    own.iter()
        .chain(&SERVICES)
        .map(|name| (*name).to_owned())
        .collect()
}

async fn ask(
    channel: Channel,
    question: v1::server_reflection_request::MessageRequest,
) -> Result<v1::server_reflection_response::MessageResponse> {
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(question),
    };
    v1::server_reflection_client::ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::once(request))
        .await?
        .into_inner()
        .message()
        .await?
        .and_then(|answer| answer.message_response)
        .context("the stream ended without an answer")
}

#[tokio::test]
async fn lists_the_services_that_the_server_has_and_no_others() -> Result<()> {
    use v1::{server_reflection_request::MessageRequest, server_reflection_response};

    let question = MessageRequest::ListServices(String::new());
    let answer = ask(serve().await?, question).await?;
    let server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        bail!("unexpected answer: {answer:?}");
    };
    let names: BTreeSet<_> = list.service.into_iter().map(|s| s.name).collect();
    assert_eq!(names, listed());
    Ok(())
}

#[tokio::test]
async fn lists_them_to_older_clients_too() -> Result<()> {
    use v1alpha::{server_reflection_request::MessageRequest, server_reflection_response};

    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answer = v1alpha::server_reflection_client::ServerReflectionClient::new(serve().await?)
        .server_reflection_info(tokio_stream::once(request))
        .await?
        .into_inner()
        .message()
        .await?
        .and_then(|answer| answer.message_response);
    let Some(server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer else {
        bail!("unexpected answer: {answer:?}");
    };
    let names: BTreeSet<_> = list.service.into_iter().map(|s| s.name).collect();
    assert_eq!(names, listed());
    Ok(())
}

#[tokio::test]
async fn finds_every_symbol_that_a_client_needs_to_print_a_call_and_its_errors() -> Result<()> {
    use v1::{server_reflection_request::MessageRequest, server_reflection_response};

    let channel = serve().await?;
    let symbols = listed().into_iter().chain(
        [
            "quadrille.order.v1.OrderService.WatchOrder",
            "quadrille.type.v1.Money",
            "google.protobuf.Timestamp",
            "google.rpc.BadRequest",
            "google.rpc.ErrorInfo",
            "google.rpc.PreconditionFailure",
        ]
        .map(str::to_owned),
    );
    for symbol in symbols {
        let question = MessageRequest::FileContainingSymbol(symbol.clone());
        let answer = ask(channel.clone(), question)
            .await
            .with_context(|| format!("no file for {symbol}"))?;
        let server_reflection_response::MessageResponse::FileDescriptorResponse(files) = answer else {
            bail!("unexpected answer for {symbol}: {answer:?}");
        };
        let bytes = files.file_descriptor_proto.first().context("no file")?;
        let file = FileDescriptorProto::decode(bytes.as_slice())?;
        assert!(symbol.starts_with(file.package()), "{symbol}: {file:?}");
    }
    Ok(())
}
