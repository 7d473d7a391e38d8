use quadrille_process::config::Env;
use saga_runtime::ServiceConfig;
use saga_runtime::grpc::GrpcConfig;

/// Everything that product is told by its environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// Database, broker, engine.
    pub service: ServiceConfig,
    /// The gRPC server.
    pub grpc: GrpcConfig,
}

impl Config {
    /// Reads it; `None` if a problem was noted.
    pub fn read(env: &mut Env) -> Option<Config> {
        let service = ServiceConfig::from_env(env);
        let grpc = GrpcConfig::from_env(env);
        Some(Config {
            service: service?,
            grpc: grpc?,
        })
    }
}
