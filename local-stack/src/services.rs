use crate::ports::{Ports, offset};
use crate::secrets::Secrets;

/// A process of ours.
#[derive(Debug)]
pub struct Service {
    /// What people call it; also the crate and its binary.
    pub name: &'static str,
    /// What its configuration's keys begin with.
    pub key_prefix: &'static str,
    /// Where it serves gRPC, if it does.
    pub grpc: Option<u16>,
    /// Where it answers `/live`, `/ready` and `/metrics`.
    pub admin: u16,
    /// Its database and the role of the same name, if it has one.
    pub database: Option<&'static str>,
    /// Keys of its own, without the prefix.
    own: fn(&Surroundings<'_>) -> Vec<(&'static str, String)>,
}

/// All services, in the order in which they start.
pub const SERVICES: &[Service] = &[
    Service {
        name: "payment-sandbox",
        key_prefix: "SANDBOX",
        grpc: None,
        admin: 21,
        database: Some("sandbox"),
        own: |around| {
            vec![
                ("LISTEN", around.ports.address(offset::SANDBOX)),
                ("API_KEY", around.secrets.provider_key.clone()),
                (
                    "WEBHOOK_URL",
                    format!(
                        "http://{}/webhooks/payments",
                        around.ports.address(offset::PAYMENT_WEBHOOK)
                    ),
                ),
                ("WEBHOOK_SECRET", around.secrets.webhook_secret.clone()),
            ]
        },
    },
    Service {
        name: "product",
        key_prefix: "PRODUCT",
        grpc: Some(10),
        admin: 11,
        database: Some("product"),
        own: none,
    },
    Service {
        name: "order",
        key_prefix: "ORDER",
        grpc: Some(12),
        admin: 13,
        database: Some("order"),
        own: none,
    },
    Service {
        name: "inventory",
        key_prefix: "INVENTORY",
        grpc: Some(14),
        admin: 15,
        database: Some("inventory"),
        own: none,
    },
    Service {
        name: "payment",
        key_prefix: "PAYMENT",
        grpc: Some(16),
        admin: 17,
        database: Some("payment"),
        own: |around| {
            vec![
                (
                    "PROVIDER_URL",
                    format!("http://{}", around.ports.address(offset::SANDBOX)),
                ),
                ("PROVIDER_KEY", around.secrets.provider_key.clone()),
                ("WEBHOOK_LISTEN", around.ports.address(offset::PAYMENT_WEBHOOK)),
                ("WEBHOOK_SECRET", around.secrets.webhook_secret.clone()),
            ]
        },
    },
    Service {
        name: "outbox-relay",
        key_prefix: "RELAY",
        grpc: None,
        admin: RELAY,
        database: None,
        own: |around| {
            let sources: Vec<String> = OUTBOXES
                .iter()
                .map(|db| format!("{db}={}", around.url(&format!("{db}_relay"), db)))
                .collect();
            // A URL with several hosts holds commas.
            let separator = if sources.iter().any(|source| source.contains(',')) {
                ";"
            } else {
                ","
            };
            vec![
                ("SOURCES", sources.join(separator)),
                ("DOORBELL_LISTEN", around.ports.address(RELAY)),
            ]
        },
    },
];

/// The relay's port, for its own pages and, as datagrams, for whoever rings.
const RELAY: u16 = 22;

/// Databases with an outbox that the relay serves.
const OUTBOXES: &[&str] = &["product", "order", "inventory", "payment"];

/// The database roles that `sagactl migrate` makes: the service's work, its migrations, its relay, its operator.
#[rustfmt::skip]
pub const ROLES: &[&str] = &[
    "product", "product_migrate", "product_relay", "product_ops",
    "order", "order_migrate", "order_relay", "order_ops",
    "inventory", "inventory_migrate", "inventory_relay", "inventory_ops",
    "payment", "payment_migrate", "payment_relay", "payment_ops",
    "sandbox", "sandbox_migrate",
];

/// What a service has to know of the stack around it.
#[derive(Clone, Debug)]
pub struct Surroundings<'a> {
    /// Ports of this stack.
    pub ports: Ports,
    /// Generated passwords.
    pub secrets: &'a Secrets,
    /// The superuser's URL, of which the host is taken.
    pub postgres_admin_url: &'a str,
    /// Bootstrap servers.
    pub kafka_brokers: &'a str,
    /// Where spans go, if anywhere.
    pub otlp_endpoint: Option<&'a str>,
}

impl Surroundings<'_> {
    /// The URL of a database for a role, on the server of the superuser's URL.
    pub fn url(&self, role: &str, database: &str) -> String {
        let url = self.postgres_admin_url;
        let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
        let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        let host = rest.split(['/', '?']).next().unwrap_or(rest);
        // Settings such as sslmode are the server's.
        let settings = rest
            .split_once('?')
            .map(|(_, settings)| format!("?{settings}"))
            .unwrap_or_default();
        let prefix = std::env::var("QUADRILLE_PREFIX").unwrap_or_default();
        format!(
            "{scheme}://{role}:{}@{host}/{prefix}{database}{settings}",
            self.secrets.role(role)
        )
    }
}

impl Service {
    /// The service of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SERVICES.iter().find(|service| service.name == name)
    }

    /// Everything that it reads from its environment. No other service's secret is in it.
    pub fn environment(&self, around: &Surroundings<'_>) -> Vec<(String, String)> {
        let mut environment = vec![
            (
                "QUADRILLE_KAFKA_BROKERS".to_owned(),
                around.kafka_brokers.to_owned(),
            ),
            ("QUADRILLE_INSTANCE".to_owned(), "local".to_owned()),
            (
                "QUADRILLE_RELAY_DOORBELLS".to_owned(),
                around.ports.address(RELAY),
            ),
        ];
        if let Some(endpoint) = around.otlp_endpoint {
            environment.push(("QUADRILLE_OTLP_ENDPOINT".to_owned(), endpoint.to_owned()));
        }
        let mut own =
            |key: &str, value: String| environment.push((format!("{}_{key}", self.key_prefix), value));
        own("ADMIN_LISTEN", around.ports.address(self.admin));
        if let Some(grpc) = self.grpc {
            own("GRPC_LISTEN", around.ports.address(grpc));
        }
        if let Some(database) = self.database {
            own("DATABASE_URL", around.url(database, database));
        }
        for (key, value) in (self.own)(around) {
            own(key, value);
        }
        environment
    }
}

fn none(_: &Surroundings<'_>) -> Vec<(&'static str, String)> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn secrets() -> Secrets {
        Secrets {
            postgres_superuser: "superuser-password".into(),
            roles: ROLES
                .iter()
                .map(|role| ((*role).into(), format!("password-of-{role}.")))
                .collect::<BTreeMap<_, _>>(),
            redis: "redis-password".into(),
            provider_key: "provider-key".into(),
            webhook_secret: "webhook-secret".into(),
        }
    }

    fn environment_of(name: &str, admin_url: &str) -> BTreeMap<String, String> {
        let secrets = secrets();
        let around = Surroundings {
            ports: serde_json::from_str(r#"{"base": 17400}"#).expect("ports"),
            secrets: &secrets,
            postgres_admin_url: admin_url,
            kafka_brokers: "127.0.0.1:17401",
            otlp_endpoint: None,
        };
        Service::named(name)
            .expect("a service")
            .environment(&around)
            .into_iter()
            .collect()
    }

    #[test]
    fn a_service_gets_its_own_secrets_only() {
        for service in SERVICES {
            let environment = environment_of(
                service.name,
                "postgres://postgres:superuser-password@h:1/postgres",
            );
            let all = environment
                .values()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join("\n");
            assert!(!all.contains("superuser-password"), "{}: {all}", service.name);
            let wanted = |role: &&&str| match service.name {
                "outbox-relay" => role.ends_with("_relay"),
                _ => service.database == Some(**role),
            };
            for role in ROLES {
                let has = all.contains(&format!("password-of-{role}."));
                assert_eq!(has, wanted(&role), "{}: password of {role}", service.name);
            }
        }
    }

    #[test]
    fn settings_of_the_server_are_kept_and_its_credentials_are_not() {
        let environment = environment_of(
            "order",
            "postgres://boss:p%40ss@db.example:5433/postgres?sslmode=require",
        );
        assert_eq!(
            environment["ORDER_DATABASE_URL"],
            "postgres://order:password-of-order.@db.example:5433/order?sslmode=require"
        );
    }

    #[test]
    fn no_two_things_share_a_port() {
        let mut offsets: Vec<u16> = SERVICES
            .iter()
            .flat_map(|s| s.grpc.into_iter().chain([s.admin]))
            .collect();
        offsets.extend([
            offset::POSTGRES,
            offset::KAFKA,
            offset::KAFKA_CONTROLLER,
            offset::REDIS,
            offset::JAEGER,
        ]);
        offsets.extend([
            offset::OTLP,
            offset::KAFDROP,
            offset::PAYMENT_WEBHOOK,
            offset::SANDBOX,
        ]);
        let count = offsets.len();
        offsets.sort_unstable();
        offsets.dedup();
        assert_eq!(offsets.len(), count);
        assert_eq!(offsets.last(), Some(&offset::LAST));
    }
}
