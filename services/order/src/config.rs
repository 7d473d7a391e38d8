use quadrille_process::config::Env;
use saga_runtime::ServiceConfig;
use saga_runtime::grpc::GrpcConfig;

use crate::participant::Orders;

/// Everything that order is told by its environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// Database, broker, engine.
    pub service: ServiceConfig,
    /// The gRPC server.
    pub grpc: GrpcConfig,
    /// Deadlines.
    pub orders: Orders,
    /// Orders that are watched at the same time, over all callers.
    pub watchers_max: usize,
}

impl Config {
    /// Reads it; `None` if a problem was noted.
    pub fn read(env: &mut Env) -> Option<Config> {
        let service = ServiceConfig::from_env(env);
        let grpc = GrpcConfig::from_env(env);
        let default = Orders::default();
        let orders = Orders {
            card_deadline: env.duration_ms("CARD_DEADLINE_MS", default.card_deadline),
            page_deadline: env.duration_ms("PAGE_DEADLINE_MS", default.page_deadline),
        };
        let watchers_max = env.bounded("WATCHERS_MAX", 4096, 1..=100_000);
        Some(Config {
            service: service?,
            grpc: grpc?,
            orders,
            watchers_max,
        })
    }
}
