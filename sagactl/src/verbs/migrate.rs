use std::path::PathBuf;
use std::time::Duration;

use quadrille_contracts::TOPICS;
use saga_runtime::database::DatabaseUrl;

use crate::failure::{Code, Failure};
use crate::migrate::{DATABASES, Database, Error, Passwords, Target, databases, tables, topics};
use crate::screen;
use crate::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  # Everything, as somebody who may create databases and roles:
  sagactl migrate --admin-url postgres://postgres:…@db/postgres --secrets secrets.json --kafka-brokers kafka:9092

  # Tables only, in databases that somebody else made:
  sagactl migrate --no-topics --database order=postgres://order_migrate:…@db/order

The secrets are a file of the form {\"roles\": {\"order\": \"…\", \"order_migrate\": \"…\", …}}; roles that are there
already get the password that stands there. Each step may be repeated, and several may run at once.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// PostgreSQL, as somebody who may create databases and roles  [SAGACTL_ADMIN_URL]
    #[arg(long, value_name = "URL", hide = false)]
    admin_url: Option<String>,
    /// A JSON file with the password of each role  [SAGACTL_SECRETS]
    #[arg(long, value_name = "FILE", conflicts_with = "database")]
    secrets: Option<PathBuf>,
    /// Without an administrator: a database, as the role that owns its schemas. May be repeated.
    #[arg(long, value_name = "NAME=URL", conflicts_with = "admin_url")]
    database: Vec<String>,
    /// Leaves the topics alone.
    #[arg(long)]
    no_topics: bool,
    /// Leaves the databases alone.
    #[arg(long, conflicts_with_all = ["admin_url", "database", "no_topics"])]
    topics_only: bool,
}

pub(crate) async fn run(mut arguments: Arguments, mut settings: Settings) -> Result<Code, Failure> {
    settings.flag("ADMIN_URL", arguments.admin_url.take().as_deref());
    let secrets = arguments
        .secrets
        .take()
        .map(|path| path.to_string_lossy().into_owned());
    settings.flag("SECRETS", secrets.as_deref());
    // Everything that is wrong with the settings is said before anything is done.
    let kafka = if arguments.no_topics {
        None
    } else {
        Some(settings.kafka()?)
    };
    let say = |line: &str| screen::say(format!("  {line}"));
    if !arguments.topics_only {
        if arguments.database.is_empty() {
            let target = target(&settings)?;
            databases(&target, DATABASES, &say).await.map_err(failure)?;
        } else {
            for (url, database) in given(&arguments.database)? {
                let owner = url
                    .primary(Duration::from_secs(10))
                    .await
                    .map_err(|error| Failure::caused(Code::Unavailable, &error))?;
                tables(&owner, database, &say).await.map_err(failure)?;
            }
        }
    }
    if let Some(kafka) = kafka {
        let wanted = topics::wanted(TOPICS, &kafka.prefix);
        topics::create(&kafka, &wanted, &say)
            .await
            .map_err(topics_failure)?;
    }
    Ok(Code::Ok)
}

fn target(settings: &Settings) -> Result<Target, Failure> {
    const FORM: &str = "postgres://user:password@host[:port]/postgres, of somebody who may create databases";
    let admin_url: DatabaseUrl = settings
        .required("ADMIN_URL", FORM)?
        .parse()
        .map_err(|error| Failure::usage(format!("SAGACTL_ADMIN_URL is {error}; expected {FORM}")))?;
    let secrets = settings.required("SECRETS", "the path of a JSON file with the roles' passwords")?;
    let passwords = Passwords::from_file(std::path::Path::new(secrets))
        .map_err(|error| Failure::caused(Code::Usage, &error))?;
    Ok(Target {
        admin_url,
        prefix: settings.prefix().to_owned(),
        passwords,
    })
}

fn given(databases: &[String]) -> Result<Vec<(DatabaseUrl, &'static Database)>, Failure> {
    let parse = |given: &String| {
        let (name, url) = given
            .split_once('=')
            .ok_or_else(|| Failure::usage("--database is NAME=URL"))?;
        let database = Database::named(name).ok_or_else(|| failure(Error::Unknown(name.to_owned())))?;
        let url = url
            .parse()
            .map_err(|error| Failure::usage(format!("the URL of --database {name} is {error}")))?;
        Ok((url, database))
    };
    databases.iter().map(parse).collect()
}

fn failure(error: Error) -> Failure {
    let code = match &error {
        Error::Passwords(_) | Error::Unknown(_) => Code::Usage,
        Error::Connect(_) | Error::ConnectAs { .. } => Code::Unavailable,
        Error::Refused { .. } | Error::Migrate { .. } => Code::Internal,
    };
    Failure::caused(code, &error)
}

/// What `migrate` and `topics create` say when there are no topics.
pub(crate) fn topics_failure(error: topics::Error) -> Failure {
    let code = match &error {
        topics::Error::Client(_) => Code::Usage,
        topics::Error::Unreachable { .. } | topics::Error::Leaderless { .. } => Code::Unavailable,
        topics::Error::Partitions { .. } => Code::No,
        topics::Error::Refused { .. } => Code::Internal,
    };
    Failure::caused(code, &error)
}
