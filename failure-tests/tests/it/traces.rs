use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use failure_tests::customer::Pays;
use failure_tests::system::PROGRAMS;
use failure_tests::{Accountant, Customer, System, SystemOptions, until};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use quadrille_proto::order::v1::OrderStatus;
use quadrille_proto::order::v1::order_service_client::OrderServiceClient;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::stage::{runtime, servers};

/// The context of a caller who has a trace of its own.
const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const CALLER: u64 = 0x00f0_67aa_0ba9_02b7;

/// Who has to be seen doing what: the name of a span begins and ends so.
const STEPS: &[(&str, &str, &str)] = &[
    ("order", "", "PlaceOrder"),
    ("order", "decide", "PlaceOrder"),
    ("outbox-relay", "send", "order-events"),
    ("inventory", "process", "order-events"),
    ("outbox-relay", "send", "stock-events"),
    ("payment", "process", "stock-events"),
    ("outbox-relay", "send", "payment-events"),
    ("order", "process", "payment-events"),
];

/// The context of whoever places an order goes through gRPC, outboxes, topics and every participant.
#[test]
fn an_order_is_one_trace_which_its_caller_began() {
    runtime().block_on(async { one_trace().await.unwrap_or_else(|error| panic!("{error:#}")) });
}

async fn one_trace() -> Result<()> {
    let collector = Collector::start().await?;
    let endpoint = format!("http://{}", collector.address);
    let setting = |program: &&'static str| {
        let own = [("QUADRILLE_OTLP_ENDPOINT".to_owned(), endpoint.clone())];
        (*program, own.into())
    };
    let options = SystemOptions {
        settings: PROGRAMS.iter().map(setting).collect(),
        ..SystemOptions::default()
    };
    let shop = System::start(servers()?, &options).await?;
    let customer = Customer::of(&shop)?;
    let tea = customer.product(450, 10).await?;

    let basket = customer.basket(&[(tea, 1)], Pays::Card("tok_ok"));
    let mut request = Request::new(basket.clone());
    let context = format!("00-{TRACE:032x}-{CALLER:016x}-01");
    request.metadata_mut().insert("traceparent", context.parse()?);
    request
        .metadata_mut()
        .insert("idempotency-key", "traced".parse()?);
    let mut client = OrderServiceClient::connect(shop.address("order")).await?;
    let placed = client.place_order(request).await?.into_inner().order;
    let order = placed.context("an answer without an order")?.order_id.parse()?;
    // So that it is the customer's: the answer is the first one.
    let again = customer.try_place(basket, Some("traced")).await?;
    ensure!(again.order_id.parse() == Ok(order), "another order: {again:?}");
    ensure!(customer.watch(order).await?.status() == OrderStatus::Confirmed);

    until("the whole trace", async || collector.spans().judge()).await?;
    Accountant::new(&shop, &customer).audit().await?;
    Ok(())
}

/// An OTLP collector that keeps the spans of the one trace.
struct Collector {
    address: SocketAddr,
    kept: Arc<Mutex<Spans>>,
}

struct Receiver(Arc<Mutex<Spans>>);

#[derive(Clone, Debug, Default)]
struct Spans {
    /// Who, what.
    steps: BTreeSet<(String, String)>,
    known: BTreeSet<Vec<u8>>,
    parents: BTreeSet<Vec<u8>>,
}

impl Collector {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let kept = Arc::default();
        let service = TraceServiceServer::new(Receiver(Arc::clone(&kept)));
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok(Self { address, kept })
    }

    fn spans(&self) -> Spans {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Spans {
    /// Each step is there, and each span hangs on another one or on the caller's.
    fn judge(&self) -> Result<()> {
        for (who, begins, ends) in STEPS {
            let seen = self
                .steps
                .iter()
                .any(|(by, name)| by == who && name.starts_with(begins) && name.ends_with(ends));
            ensure!(
                seen,
                "{who} is not seen doing '{begins} … {ends}' among {:?}",
                self.steps
            );
        }
        let mut known = self.known.clone();
        known.insert(CALLER.to_be_bytes().to_vec());
        let orphans = self.parents.difference(&known).count();
        ensure!(
            orphans == 0,
            "{orphans} spans hang on one that is not there: {:?}",
            self.steps
        );
        Ok(())
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for process in request.into_inner().resource_spans {
            let attributes = process.resource.unwrap_or_default().attributes;
            let name = attributes.into_iter().find(|one| one.key == "service.name");
            let name = match name.and_then(|one| one.value?.value) {
                Some(Value::StringValue(name)) => name,
                other => {
                    return Err(Status::invalid_argument(format!(
                        "a process without a name: {other:?}"
                    )));
                }
            };
            let spans = process.scope_spans.into_iter().flat_map(|scope| scope.spans);
            for span in spans.filter(|span| span.trace_id == TRACE.to_be_bytes()) {
                kept.steps.insert((name.clone(), span.name));
                kept.known.insert(span.span_id);
                kept.parents.insert(span.parent_span_id);
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
