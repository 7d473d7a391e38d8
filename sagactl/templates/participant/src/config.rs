use quadrille_process::config::Env;
use saga_runtime::ServiceConfig;

use crate::participant::Newcomer;

/// Everything that newcomer is told by its environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// Database, broker, engine.
    pub service: ServiceConfig,
    /// How it decides.
    pub policy: Newcomer,
}

impl Config {
    /// Reads it; `None` if a problem was noted.
    pub fn read(env: &mut Env) -> Option<Config> {
        let service = ServiceConfig::from_env(env);
        let mut policy = Newcomer::default();
        policy.units_max = env.bounded("UNITS_MAX", policy.units_max, 1..=1_000_000);
        Some(Config {
            service: service?,
            policy,
        })
    }
}
