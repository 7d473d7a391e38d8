//! What operators see and do in the services' databases, as the roles `<service>_ops`.

/// Calls to the outside world.
pub(crate) mod effects;

/// What has yet to be published.
pub(crate) mod outbox;

/// Keys that wait for somebody.
pub(crate) mod parked;

/// What is paused.
pub(crate) mod pauses;

/// What cannot be published.
pub(crate) mod unsent;

/// What a saga waits for.
pub(crate) mod waits;

use std::time::Duration;

use saga_runtime::database::DatabaseUrl;
use serde_json::Value;
use sqlx::{ConnectOptions as _, PgConnection};

use crate::failure::{Code, Failure};
use crate::screen;
use crate::settings::Settings;

/// Services with participants. A participant is named as its service.
const SERVICES: [&str; 4] = ["product", "order", "inventory", "payment"];

const PATIENCE: Duration = Duration::from_secs(5);

/// Every statement of this module by database, module and name: for the test that prepares each as the operator's role. The
/// engine's tables are in every database; `order` stands for all.
pub(crate) fn statements() -> impl Iterator<Item = [&'static str; 4]> {
    let of_services = crate::audit::of_services().map(|(database, name, sql)| [database, "audit", name, sql]);
    [
        ("ops", &[("record", RECORD)][..]),
        ("audit", crate::audit::STATEMENTS),
        ("effects", effects::STATEMENTS),
        ("outbox", outbox::STATEMENTS),
        ("parked", parked::STATEMENTS),
        ("pauses", pauses::STATEMENTS),
        ("unsent", unsent::STATEMENTS),
        ("waits", waits::STATEMENTS),
    ]
    .into_iter()
    .flat_map(|(module, statements)| {
        statements
            .iter()
            .map(move |(name, sql)| ["order", module, name, sql])
    })
    .chain(of_services)
}

const RECORD: &str =
    "insert into saga.operator_action (action, subject, detail, by_person) values ($1, $2, $3, $4)";

/// So many of each service are listed, the oldest first; statements ask for one more.
pub(crate) const LISTED: usize = 1000;

/// Cuts what a service lists, and says whether there was more.
pub(crate) fn cut<T>(rows: &mut Vec<T>) -> bool {
    let more = rows.len() > LISTED;
    rows.truncate(LISTED);
    more
}

/// Says that a list is not all there is. Not in the list: a script counts its rows.
pub(crate) fn say_if_cut(more: bool) {
    if more {
        screen::hint(format!(
            "… and more: of each service the {LISTED} oldest are listed"
        ));
    }
}

/// Who does it, and why: it is written down beside what was done.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Account {
    /// Who you are  [SAGACTL_BY, USER]
    #[arg(long, value_name = "NAME", env = "SAGACTL_BY", hide_env = true)]
    by: Option<String>,
    /// Why you do it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

impl Account {
    /// Who does it.
    pub(crate) fn person(&self) -> Result<String, Failure> {
        let login = || {
            std::env::var("USER")
                .ok()
                .filter(|name| !name.is_empty() && name != "root")
        };
        self.by
            .clone()
            .filter(|name| !name.trim().is_empty())
            .or_else(login)
            .ok_or_else(|| {
                Failure::usage("say who you are: --by NAME; it is written down beside what was done")
            })
    }
}

/// Writes down what an operator does, in the transaction that does it.
pub(crate) async fn record(
    transaction: &mut PgConnection,
    action: &str,
    subject: &str,
    detail: Value,
    person: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(RECORD)
        .bind(action)
        .bind(subject)
        .bind(detail)
        .bind(person)
        .execute(transaction)
        .await
        .map(drop)
}

/// A service's database, as its operator.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) connection: PgConnection,
}

/// The services' databases that we can get into.
pub(crate) struct Ops {
    pub(crate) services: Vec<Service>,
    /// Why we cannot get into the others.
    pub(crate) missing: Vec<String>,
}

impl Ops {
    /// Connects to all services whose address is known.
    ///
    /// # Errors
    /// If none is, or one is malformed.
    pub(crate) async fn connect(settings: &Settings) -> Result<Self, Failure> {
        let mut ops = Self {
            services: Vec::new(),
            missing: Vec::new(),
        };
        let mut known = 0;
        for name in SERVICES {
            let Some(url) = address(settings, name)? else {
                ops.missing
                    .push(format!("{name}: SAGACTL_{} is not set", key(name)));
                continue;
            };
            known += 1;
            match connect(&url).await {
                Ok(connection) => ops.services.push(Service { name, connection }),
                Err(failure) => ops.missing.push(format!("{name}: {failure}")),
            }
        }
        if known == 0 {
            settings.required(&key("order"), "postgres://order_ops:password@host[:port]/order")?;
        }
        Ok(ops)
    }

    /// The database of one participant.
    pub(crate) async fn of(settings: &Settings, participant: &str) -> Result<Service, Failure> {
        let name = SERVICES
            .into_iter()
            .find(|name| *name == participant)
            .ok_or_else(|| {
                Failure::not_found(format!(
                    "there is no participant {participant}; there are {}",
                    SERVICES.join(", ")
                ))
            })?;
        let Some(url) = address(settings, name)? else {
            settings.required(
                &key(name),
                "postgres://<service>_ops:password@host[:port]/database",
            )?;
            return Err(Failure::usage("no address"));
        };
        Ok(Service {
            name,
            connection: connect(&url).await?,
        })
    }

    /// Says which services are not in the picture; the exit code of a verb that looks at all of them.
    pub(crate) fn conclude(&self) -> Code {
        for missing in &self.missing {
            screen::hint(format!("not looked at: {missing}"));
        }
        if self.missing.is_empty() {
            Code::Ok
        } else {
            Code::Unavailable
        }
    }
}

impl Service {
    /// What to say when the database refuses.
    pub(crate) fn failed(&self, doing: &str) -> impl Fn(sqlx::Error) -> Failure + use<> {
        let what = format!("cannot {doing} in the database of {}", self.name);
        move |error| {
            let code = match &error {
                sqlx::Error::Database(_) => Code::Internal,
                _ => Code::Unavailable,
            };
            Failure::new(code, format!("{what}: {}", quadrille_process::Chain(&error)))
        }
    }
}

fn key(service: &str) -> String {
    format!("{}_OPS_URL", service.to_ascii_uppercase())
}

fn address(settings: &Settings, service: &str) -> Result<Option<DatabaseUrl>, Failure> {
    let parse = |url: &str| {
        url.parse()
            .map_err(|error| Failure::usage(format!("SAGACTL_{} is {error}", key(service))))
    };
    settings.get(&key(service)).map(parse).transpose()
}

async fn connect(url: &DatabaseUrl) -> Result<PgConnection, Failure> {
    let host = url
        .primary(PATIENCE)
        .await
        .map_err(|error| Failure::caused(Code::Unavailable, &error))?;
    let options = host.application_name("sagactl").options([
        // What an operator was told is done is on disk.
        ("synchronous_commit", "on"),
        ("lock_timeout", "5s"),
        ("statement_timeout", "30s"),
    ]);
    options
        .connect()
        .await
        .map_err(|error| Failure::caused(Code::Unavailable, &error))
}
