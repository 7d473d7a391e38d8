use std::str::FromStr;

use local_stack::TestStack;
use quadrille_process::kafka::KafkaSettings;
use sagactl::migrate::{Database, Duty, Passwords, Target};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};

/// The same for every test, since they share the server's roles.
pub(crate) const PASSWORD: &str = "roles-of-tests";

/// Databases and topics that no other test sees.
pub(crate) struct Place {
    pub(crate) admin_url: String,
    pub(crate) target: Target,
    pub(crate) kafka: KafkaSettings,
}

impl Place {
    pub(crate) fn new() -> Self {
        let servers = TestStack::shared().unwrap();
        let prefix = format!("t{}_", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        Self {
            admin_url: servers.postgres_admin_url.clone(),
            target: Target {
                admin_url: servers.postgres_admin_url.parse().unwrap(),
                prefix: prefix.clone(),
                passwords: Passwords::same(PASSWORD),
            },
            kafka: KafkaSettings::plaintext(&servers.kafka_brokers, &prefix),
        }
    }

    /// A connection to one of its databases, as one of the database's roles or of another one's.
    pub(crate) async fn connect_as(
        &self,
        database: &str,
        of: &str,
        duty: Duty,
    ) -> Result<PgConnection, sqlx::Error> {
        let admin = PgConnectOptions::from_str(&self.admin_url).unwrap();
        let role = Database::named(of).unwrap();
        self.target
            .login(&admin, role, duty)
            .database(&self.target.name(Database::named(database).unwrap()))
            .connect()
            .await
    }

    pub(crate) async fn connect(&self, database: &str, duty: Duty) -> PgConnection {
        self.connect_as(database, database, duty).await.unwrap()
    }
}
