use std::net::SocketAddr;
use std::time::Duration;

use quadrille_process::config::Env;
use quadrille_process::webhook::WebhookSecret;
use saga_core::RetryPolicy;
use saga_runtime::ServiceConfig;
use saga_runtime::grpc::GrpcConfig;

use crate::participant::Payments;
use crate::provider::ProviderConfig;

/// No provider keeps a page open for longer.
const PAGE_DEADLINE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Everything that payment is told by its environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// Database, broker, engine.
    pub service: ServiceConfig,
    /// The gRPC server.
    pub grpc: GrpcConfig,
    /// The provider.
    pub provider: ProviderConfig,
    /// The provider's reports.
    pub webhook: WebhookConfig,
    /// The participant's policy.
    pub payments: Payments,
    /// How often the provider is asked, and how patiently.
    pub policies: Policies,
}

/// How the provider's webhooks are taken in.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// Where.
    pub listen: SocketAddr,
    /// What they are signed with.
    pub secret: WebhookSecret,
}

/// Retry policies of the effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policies {
    /// A charge or a page: a customer waits.
    pub charge: RetryPolicy,
    /// Questions, and closing: their answer decides over money.
    pub query: RetryPolicy,
    /// Refunds.
    pub refund: RetryPolicy,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            charge: RetryPolicy::INTERACTIVE,
            query: RetryPolicy::PERSISTENT,
            refund: RetryPolicy::PERSISTENT,
        }
    }
}

impl Config {
    /// Reads it; `None` if a problem was noted.
    pub fn read(env: &mut Env) -> Option<Config> {
        let service = ServiceConfig::from_env(env);
        let grpc = GrpcConfig::from_env(env);
        let provider = ProviderConfig::from_env(env);
        let webhook = WebhookConfig::from_env(env);
        let page_deadline = env.duration_ms("PAGE_DEADLINE_MS", Payments::default().page_deadline);
        if page_deadline > PAGE_DEADLINE_MAX {
            let found = page_deadline.as_millis().to_string();
            env.problem("PAGE_DEADLINE_MS", Some(&found), "milliseconds, at most 30 days");
        }
        let policies = Policies::from_env(env);
        Some(Config {
            service: service?,
            grpc: grpc?,
            provider: provider?,
            webhook: webhook?,
            payments: Payments { page_deadline },
            policies,
        })
    }
}

impl WebhookConfig {
    fn from_env(env: &mut Env) -> Option<Self> {
        let listen = env.required("WEBHOOK_LISTEN", "address:port of the provider's webhooks");
        let secret = env.secret_as("WEBHOOK_SECRET", "whsec_ and the base64 of 24 to 64 bytes");
        Some(Self {
            listen: listen?,
            secret: secret?,
        })
    }
}

impl Policies {
    fn from_env(env: &mut Env) -> Self {
        let default = Self::default();
        let call_timeout = env.duration_ms("PROVIDER_CALL_TIMEOUT_MS", RetryPolicy::INTERACTIVE.call_timeout);
        let forgotten_after = env.duration_ms(
            "PROVIDER_FORGETS_AFTER_MS",
            RetryPolicy::INTERACTIVE.forgotten_after,
        );
        let mut policy = |name: &str, default: RetryPolicy| RetryPolicy {
            attempts: env.bounded(&format!("{name}_ATTEMPTS"), default.attempts, 1..=10_000),
            initial: env.duration_ms(&format!("{name}_RETRY_INITIAL_MS"), default.initial),
            max: env.duration_ms(&format!("{name}_RETRY_MAX_MS"), default.max),
            call_timeout,
            forgotten_after,
        };
        Self {
            charge: policy("CHARGE", default.charge),
            query: policy("QUERY", default.query),
            refund: policy("REFUND", default.refund),
        }
    }
}
