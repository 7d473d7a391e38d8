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

impl Place {
    /// A place whose `order` and `payment` databases are migrated.
    pub(crate) async fn migrated(wanted: &[&str]) -> Self {
        let place = Self::new();
        let wanted: Vec<Database> = wanted
            .iter()
            .map(|name| *Database::named(name).unwrap())
            .collect();
        sagactl::migrate::databases(&place.target, &wanted, &|_| {})
            .await
            .unwrap();
        place
    }

    /// What `sagactl` has to know to operate these databases.
    pub(crate) fn settings(&self, databases: &[&str]) -> Vec<(&'static str, String)> {
        let keys = ["SAGACTL_ORDER_OPS_URL", "SAGACTL_PAYMENT_OPS_URL"];
        let host = self.admin_url.rsplit_once('@').unwrap().1;
        let host = host.split('/').next().unwrap();
        let url = |name: &str| {
            let database = Database::named(name).unwrap();
            let role = database.role(Duty::Operate);
            format!(
                "postgres://{role}:{PASSWORD}@{host}/{}",
                self.target.name(database)
            )
        };
        let mut settings = vec![
            ("SAGACTL_KAFKA_BROKERS", self.kafka.brokers.clone()),
            ("SAGACTL_PREFIX", self.kafka.prefix.clone()),
            ("SAGACTL_BY", "the night shift".to_owned()),
        ];
        for name in databases {
            let ending = format!("_{}_OPS_URL", name.to_ascii_uppercase());
            let key = keys.iter().find(|key| key.ends_with(&ending)).unwrap();
            settings.push((key, url(name)));
        }
        settings
    }
}
