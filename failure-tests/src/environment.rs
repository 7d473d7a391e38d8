use std::collections::BTreeMap;

use local_stack::Addresses;
use saga_proof::stage::LEASE;

/// The password of every role: the servers are the tests' own.
pub(crate) const PASSWORD: &str = "failure-tests";
pub(crate) const PROVIDER_KEY: &str = "the-merchants-key";
/// `whsec_` and 24 bytes.
pub(crate) const WEBHOOK_SECRET: &str = "whsec_cXVhZHJpbGxlLWZhaWx1cmUtdGVzdHMh";

/// Databases with an outbox.
pub(crate) const OUTBOXES: &[&str] = &["product", "order", "inventory", "payment"];

/// What runs where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    pub(crate) product: u16,
    pub(crate) order: u16,
    pub(crate) inventory: u16,
    pub(crate) payment: u16,
    pub(crate) webhook: u16,
    pub(crate) sandbox: u16,
}

/// Whom a program, or a customer, speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// PostgreSQL.
    Database,
    /// Kafka.
    Broker,
    /// The payment provider's API.
    Provider,
    /// Payment's ear for the provider's reports.
    Webhook,
    /// The order service.
    Order,
}

/// Ports on 127.0.0.1 by which somebody reaches a peer, if not by the peer's own: there stands who may break the line.
/// By the name of an instance, or of its program.
pub type Detours = BTreeMap<(&'static str, Peer), u16>;

/// Further settings of programs, by their name.
pub type Settings = BTreeMap<&'static str, BTreeMap<String, String>>;

/// What a program has to know of the shop around it.
#[derive(Clone, Debug)]
pub(crate) struct Around {
    pub(crate) servers: Addresses,
    /// The provider's database may be on a server of its own: it is another company.
    pub(crate) provider_postgres: String,
    pub(crate) prefix: String,
    pub(crate) places: Places,
    /// Where the first relay hears who rings; to others nobody does.
    pub(crate) doorbell: u16,
    /// What the programs write down.
    pub(crate) log: &'static str,
    pub(crate) detours: Detours,
    pub(crate) settings: Settings,
}

impl Around {
    /// The URL of one of our databases, as a role.
    pub(crate) fn url(&self, role: &str, database: &str) -> String {
        url(
            &self.servers.postgres_admin_url,
            Some(role),
            &format!("{}{database}", self.prefix),
        )
    }

    /// The URL of a database for the superuser.
    pub(crate) fn admin_url(&self, database: &str) -> String {
        let server = if database == "sandbox" {
            &self.provider_postgres
        } else {
            &self.servers.postgres_admin_url
        };
        url(server, None, &format!("{}{database}", self.prefix))
    }

    /// What `sagactl` has to know.
    pub(crate) fn of_operator(&self) -> BTreeMap<String, String> {
        let databases = OUTBOXES.iter().map(|name| {
            let key = format!("SAGACTL_{}_OPS_URL", name.to_ascii_uppercase());
            (key, self.url(&format!("{name}_ops"), name))
        });
        let shared = [
            ("SAGACTL_KAFKA_BROKERS", self.servers.kafka_brokers.clone()),
            ("SAGACTL_PREFIX", self.prefix.clone()),
            ("SAGACTL_BY", "failure-tests".to_owned()),
        ];
        databases
            .chain(shared.map(|(key, value)| (key.to_owned(), value)))
            .collect()
    }

    /// Everything that program `name` finds in its environment when it is called `instance`, with its ports.
    pub(crate) fn of(&self, name: &str, instance: &str, grpc: u16, admin: u16) -> BTreeMap<String, String> {
        let at = |port: u16| format!("127.0.0.1:{port}");
        let by = |peer: Peer, port: u16| at(self.detour(name, instance, peer).unwrap_or(port));
        let brokers = self.detour(name, instance, Peer::Broker).map(at);
        let database = |url: String| match self.detour(name, instance, Peer::Database) {
            Some(port) => through(&url, port),
            None => url,
        };
        let prefix = match name {
            "outbox-relay" => "RELAY",
            "payment-sandbox" => "SANDBOX",
            "product" => "PRODUCT",
            "order" => "ORDER",
            "inventory" => "INVENTORY",
            _ => "PAYMENT",
        };
        let mut all: BTreeMap<String, String> = [
            (
                "QUADRILLE_KAFKA_BROKERS",
                brokers.unwrap_or_else(|| self.servers.kafka_brokers.clone()),
            ),
            ("QUADRILLE_PREFIX", self.prefix.clone()),
            ("QUADRILLE_INSTANCE", instance.to_owned()),
            ("QUADRILLE_SHUTDOWN_GRACE_MS", "6000".to_owned()),
            ("QUADRILLE_LOG", self.log.to_owned()),
            // So that a killed process is missed soon.
            ("QUADRILLE_KAFKA_SESSION_TIMEOUT_MS", "3000".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        let mut own = |key: &str, value: String| drop(all.insert(format!("{prefix}_{key}"), value));
        own("ADMIN_LISTEN", at(admin));
        match name {
            "outbox-relay" => {
                let sources: Vec<String> = OUTBOXES
                    .iter()
                    .map(|source| {
                        format!(
                            "{source}={}",
                            database(self.url(&format!("{source}_relay"), source))
                        )
                    })
                    .collect();
                own("SOURCES", sources.join(","));
                own("LEASE_MS", LEASE.as_millis().to_string());
                own("DOORBELL_LISTEN", at(admin));
            }
            "payment-sandbox" => {
                let books = format!("{}sandbox", self.prefix);
                own(
                    "DATABASE_URL",
                    database(url(&self.provider_postgres, Some("sandbox"), &books)),
                );
                own("LISTEN", at(grpc));
                own("API_KEY", PROVIDER_KEY.to_owned());
                own(
                    "WEBHOOK_URL",
                    format!(
                        "http://{}/webhooks/payments",
                        by(Peer::Webhook, self.places.webhook)
                    ),
                );
                own("WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned());
                own("WEBHOOK_RETRY_MS", "200".to_owned());
                own("SLOW_MS", "400".to_owned());
            }
            _ => {
                own("DATABASE_URL", database(self.url(name, name)));
                own("RELAY_DOORBELLS", at(self.doorbell));
                own("GRPC_LISTEN", at(grpc));
            }
        }
        if name == "payment" {
            own(
                "PROVIDER_URL",
                format!("http://{}", by(Peer::Provider, self.places.sandbox)),
            );
            own("PROVIDER_KEY", PROVIDER_KEY.to_owned());
            own("WEBHOOK_LISTEN", at(self.places.webhook));
            own("WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned());
            // A provider that never answers is given up within seconds; one on a machine that is busy is not.
            own("PROVIDER_CALL_TIMEOUT_MS", "5000".to_owned());
            own("EFFECTS_LEASE_MARGIN_MS", "500".to_owned());
            own("CHARGE_ATTEMPTS", "3".to_owned());
            own("REFUND_ATTEMPTS", "6".to_owned());
            for kind in ["CHARGE", "QUERY", "REFUND"] {
                own(&format!("{kind}_RETRY_INITIAL_MS"), "50".to_owned());
                own(&format!("{kind}_RETRY_MAX_MS"), "500".to_owned());
            }
        }
        all.extend(self.settings.get(name).cloned().unwrap_or_default());
        all
    }

    fn detour(&self, name: &str, instance: &str, peer: Peer) -> Option<u16> {
        let of = |who: &str| self.detours.get(&(who, peer)).copied();
        of(instance).or_else(|| of(name))
    }
}

/// The same URL by way of another port.
fn through(url: &str, port: u16) -> String {
    let host = url.rfind('@').map_or(0, |at| at + 1);
    let path = url[host..].find('/').map_or(url.len(), |at| host + at);
    format!("{}127.0.0.1:{port}{}", &url[..host], &url[path..])
}

/// The URL of a database on the server of the superuser's URL.
fn url(admin: &str, role: Option<&str>, database: &str) -> String {
    let (scheme, rest) = admin.split_once("://").unwrap_or(("postgres", admin));
    let (login, host) = rest.rsplit_once('@').unwrap_or(("", rest));
    let host = host.split('/').next().unwrap_or(host);
    let login = role.map_or_else(|| login.to_owned(), |role| format!("{role}:{PASSWORD}"));
    format!("{scheme}://{login}@{host}/{database}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_gets_its_own_password_and_not_the_superusers() {
        let admin = "postgres://postgres:secret@127.0.0.1:5432/postgres";
        assert_eq!(
            url(admin, Some("order"), "t-order"),
            "postgres://order:failure-tests@127.0.0.1:5432/t-order"
        );
        assert_eq!(
            url(admin, None, "t-order"),
            "postgres://postgres:secret@127.0.0.1:5432/t-order"
        );
    }

    #[test]
    fn a_detour_changes_nothing_but_the_way() {
        assert_eq!(
            through("postgres://order:secret@127.0.0.1:5432/t-order", 7),
            "postgres://order:secret@127.0.0.1:7/t-order"
        );
    }
}
