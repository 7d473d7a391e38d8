//! A server with a service of three methods, over a real socket.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use quadrille_process::{Health, Status as Check};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;
use tower::Layer;

use super::call::CallLayer;
use super::{GrpcConfig, Server};

/// Answers `Ok`, panics in `Panic`, and never answers `Wait`, of whose beginning it tells.
#[derive(Clone)]
struct Desk {
    waiting: mpsc::UnboundedSender<()>,
}

impl NamedService for Desk {
    const NAME: &'static str = "test.v1.Desk";
}

impl Service<http::Request<Body>> for Desk {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = request
            .uri()
            .path()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let waiting = self.waiting.clone();
        let handler = tower::service_fn(move |_: Request<()>| {
            let (method, waiting) = (method.clone(), waiting.clone());
            async move {
                match method.as_str() {
                    "Ok" => Ok::<_, Status>(Response::new(())),
                    "Panic" => panic!("as a test asked for"),
                    "Wait" => {
                        waiting.send(()).expect("the test listens");
                        std::future::pending().await
                    }
                    _ => Err(Status::unimplemented("no such method")),
                }
            }
        });
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<(), ()>::default());
            Ok(grpc.unary(handler, request).await)
        })
    }
}

struct Running {
    channel: Channel,
    health: Health,
    stop: CancellationToken,
    /// One message per call of `Wait` that has begun.
    waiting: mpsc::UnboundedReceiver<()>,
    server: JoinHandle<Result<(), super::Error>>,
}

async fn start(calls_max: usize) -> Running {
    let (sender, waiting) = mpsc::unbounded_channel();
    let config = GrpcConfig {
        listen: "127.0.0.1:0".parse().expect("an address"),
        calls_max,
        call_timeout: Duration::from_secs(60),
    };
    let server = Server::bind(&config)
        .await
        .expect("a free port")
        .add_service(Desk { waiting: sender });
    let address = server.address();
    let (health, stop) = (Health::new(), CancellationToken::new());
    health.required("database");
    health.informative("kafka");
    let server =
        tokio::spawn(server.serve_until(health.clone(), false, stop.clone(), Duration::from_millis(200)));
    let channel = Channel::from_shared(format!("http://{address}"))
        .expect("an address")
        .connect()
        .await
        .expect("it listens");
    Running {
        channel,
        health,
        stop,
        waiting,
        server,
    }
}

impl Running {
    async fn call(&self, method: &'static str, timeout: Option<Duration>) -> Result<(), Status> {
        call(self.channel.clone(), method, timeout).await
    }

    async fn health_of(&self, name: &str) -> Result<ServingStatus, Code> {
        let request = HealthCheckRequest {
            service: name.to_owned(),
        };
        let answer = HealthClient::new(self.channel.clone()).check(request).await;
        answer
            .map(|answer| answer.into_inner().status())
            .map_err(|status| status.code())
    }

    /// Waits until the health service says so, for as long as the test runner lets us.
    async fn until_health_of(&self, name: &str, expected: ServingStatus) {
        while self.health_of(name).await != Ok(expected) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn call(channel: Channel, method: &str, timeout: Option<Duration>) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.expect("the channel is open");
    let mut request = Request::new(());
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    let path = format!("/test.v1.Desk/{method}").parse().expect("a path");
    grpc.unary(request, path, ProstCodec::<(), ()>::default())
        .await
        .map(Response::into_inner)
}

#[tokio::test]
async fn a_panic_is_the_answer_to_its_own_call_only() {
    let running = start(10).await;
    let status = running.call("Panic", None).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("as a test asked for"));
    running.call("Ok", None).await.unwrap();
}

#[tokio::test]
async fn a_caller_s_deadline_ends_its_call() {
    // Without a socket: tonic's client reads the same header and would answer itself.
    let (sender, mut waiting) = mpsc::unbounded_channel();
    let mut calls = CallLayer {
        free: Arc::new(Semaphore::new(1)),
        timeout: Duration::from_secs(60),
        traces: false,
    }
    .layer(Desk { waiting: sender });
    let request = http::Request::post("/test.v1.Desk/Wait")
        .header("grpc-timeout", "20m")
        // An empty message, not compressed.
        .body(Body::new("\0".repeat(5)))
        .unwrap();
    let answer = calls.call(request).await.unwrap();
    waiting.try_recv().expect("the call has begun");
    let status = Status::from_header_map(answer.headers()).expect("an error");
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn one_call_too_many_is_told_to_come_back_and_health_is_not() {
    let mut running = start(1).await;
    let first = tokio::spawn(call(running.channel.clone(), "Wait", None));
    running.waiting.recv().await.unwrap();
    let status = running.call("Ok", None).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_error_details().retry_info().is_some());
    assert!(running.health_of("").await.is_ok());
    // A caller that goes away frees its place.
    first.abort();
    while running.call("Ok", None).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn health_is_the_process_s_own() {
    let running = start(10).await;
    running.until_health_of("", ServingStatus::NotServing).await;
    running.health.set("database", Check::Up);
    running.until_health_of("", ServingStatus::Serving).await;
    running
        .until_health_of("test.v1.Desk", ServingStatus::Serving)
        .await;
    assert_eq!(running.health_of("kafka").await, Ok(ServingStatus::NotServing));
    running.health.set("kafka", Check::Up);
    running.until_health_of("kafka", ServingStatus::Serving).await;
    assert_eq!(running.health_of("nobody").await, Err(Code::NotFound));
}

#[tokio::test]
async fn a_shutdown_waits_neither_for_watchers_of_health_nor_for_ever() {
    let mut running = start(10).await;
    running.health.set("database", Check::Up);
    let watch = HealthCheckRequest {
        service: String::new(),
    };
    let mut watched = HealthClient::new(running.channel.clone())
        .watch(watch)
        .await
        .unwrap()
        .into_inner();
    while watched.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
    running.stop.cancel();
    while let Some(message) = watched.message().await.unwrap() {
        assert_eq!(message.status(), ServingStatus::NotServing);
    }
    (&mut running.server).await.unwrap().unwrap();

    let mut stuck = start(10).await;
    let call = tokio::spawn(call(stuck.channel.clone(), "Wait", None));
    stuck.waiting.recv().await.unwrap();
    stuck.stop.cancel();
    stuck.server.await.unwrap().unwrap();
    call.abort();
}
