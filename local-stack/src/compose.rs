use std::process::{Command, Stdio};
use std::time::Duration;

use crate::StackError;
use crate::checkout::Checkout;
use crate::parts::Part;
use crate::ports::{Ports, offset};
use crate::secrets::{Secrets, write_private};
use crate::services::SERVICES;
use crate::wait::{Look, until};

/// How long an engine may take to answer; one that is stuck is as good as none.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Whether a Docker engine answers and has Compose.
pub(crate) fn engine_answers() -> bool {
    let succeeds = |arguments: &[&str]| {
        let mut command = Command::new("docker");
        succeeds_within(command.args(arguments), ANSWER_WITHIN)
    };
    succeeds(&["info"]) && succeeds(&["compose", "version"])
}

fn succeeds_within(command: &mut Command, limit: Duration) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let Ok(mut child) = quiet.spawn() else {
        return false;
    };
    let mut ended = None;
    let answered = until(
        &format!("{} to answer", command.get_program().display()),
        limit,
        || match child.try_wait() {
            Ok(None) => Look::NotYet("it does not".to_owned()),
            Ok(Some(status)) => {
                ended = Some(status);
                Look::Ready
            }
            Err(_) => Look::Ready,
        },
    );
    if let Err(error) = answered {
        eprintln!("  {error}");
        child.kill().and_then(|()| child.wait()).ok();
    }
    ended.is_some_and(|status| status.success())
}

/// Starts containers and waits until their health checks pass.
pub(crate) fn up(checkout: &Checkout, ports: Ports, parts: &[Part]) -> Result<(), StackError> {
    let mut command = compose(checkout, ports);
    command
        .args(["up", "--detach", "--wait", "--wait-timeout", "180"])
        .args(parts.iter().map(|part| part.name()));
    visibly("start containers", &mut command)
}

/// Removes the containers; their data stays in volumes.
pub(crate) fn down(checkout: &Checkout, ports: Ports, with_data: bool) -> Result<(), StackError> {
    let mut command = compose(checkout, ports);
    command.args(["--profile", "*", "down", "--remove-orphans"]);
    if with_data {
        command.arg("--volumes");
    }
    visibly("remove containers", &mut command)
}

/// Writes ports and passwords where `docker compose --env-file` finds them; no image and no file in git holds one.
pub(crate) fn write_environment(
    checkout: &Checkout,
    ports: Ports,
    secrets: &Secrets,
) -> Result<(), StackError> {
    write_private(
        &checkout.state().join("compose.env"),
        &environment(ports, secrets),
    )
}

fn environment(ports: Ports, secrets: &Secrets) -> String {
    let mut lines = vec![
        "# Written by local-stack. docker compose --env-file .local/compose.env -f deploy/compose.yaml …"
            .to_owned(),
        format!("COMPOSE_PROJECT_NAME={}", project(ports)),
        format!("POSTGRES_PASSWORD={}", secrets.postgres_superuser),
        format!("REDIS_PASSWORD={}", secrets.redis),
        format!("PROVIDER_KEY={}", secrets.provider_key),
        format!("WEBHOOK_SECRET={}", secrets.webhook_secret),
        format!("POSTGRES_PORT={}", ports.at(offset::POSTGRES)),
        format!("KAFKA_PORT={}", ports.at(offset::KAFKA)),
        format!("REDIS_PORT={}", ports.at(offset::REDIS)),
        format!("JAEGER_PORT={}", ports.at(offset::JAEGER)),
        format!("OTLP_PORT={}", ports.at(offset::OTLP)),
        format!("KAFDROP_PORT={}", ports.at(offset::KAFDROP)),
        format!("SANDBOX_PORT={}", ports.at(offset::SANDBOX)),
        format!("PAYMENT_WEBHOOK_PORT={}", ports.at(offset::PAYMENT_WEBHOOK)),
    ];
    for service in SERVICES {
        if let Some(grpc) = service.grpc {
            lines.push(format!("{}_GRPC_PORT={}", service.key_prefix, ports.at(grpc)));
        }
        lines.push(format!(
            "{}_ADMIN_PORT={}",
            service.key_prefix,
            ports.at(service.admin)
        ));
    }
    for (role, password) in &secrets.roles {
        lines.push(format!("ROLE_{}_PASSWORD={password}", role.to_uppercase()));
    }
    // The form that `sagactl migrate --secrets` reads. Single quotes: compose takes the text as it is.
    lines.push(format!(
        "SECRETS_JSON='{}'",
        serde_json::json!({ "roles": secrets.roles })
    ));
    lines.push(String::new());
    lines.join("\n")
}

fn compose(checkout: &Checkout, ports: Ports) -> Command {
    let mut command = Command::new("docker");
    command
        .args(["compose", "--project-name", &project(ports)])
        .arg("--file")
        .arg(checkout.root().join("deploy/compose.yaml"))
        .arg("--env-file")
        .arg(checkout.state().join("compose.env"));
    command
}

/// Two checkouts have different ports, so their containers have different names.
pub(crate) fn project(ports: Ports) -> String {
    format!("quadrille-{}", ports.base())
}

/// Runs a program whose output is progress for people.
pub(crate) fn visibly(doing: &str, command: &mut Command) -> Result<(), StackError> {
    let name = command.get_program().display().to_string();
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(StackError::io(|| format!("{doing} ({name})")))?;
    if status.success() {
        return Ok(());
    }
    let doing = doing.to_owned();
    Err(StackError::Command {
        doing,
        command: name,
        status: status.to_string(),
        output: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_in_time_is_as_good_as_none() {
        let limit = Duration::from_secs(120);
        assert!(succeeds_within(&mut Command::new("true"), limit));
        assert!(!succeeds_within(&mut Command::new("false"), limit));
        assert!(!succeeds_within(
            &mut Command::new("there-is-no-such-program"),
            limit
        ));
        let begun = std::time::Instant::now();
        let stuck = succeeds_within(Command::new("sleep").arg("600"), Duration::from_millis(50));
        assert!(!stuck && begun.elapsed() < limit, "it was waited for");
    }
    use crate::postgres::TEXTS;
    use crate::services::ROLES;

    const FILE: &str = include_str!("../../deploy/compose.yaml");

    #[test]
    fn every_variable_of_the_compose_file_is_written() {
        let word = || "word".to_owned();
        let secrets = Secrets {
            postgres_superuser: word(),
            roles: ROLES.iter().map(|&role| (role.to_owned(), word())).collect(),
            redis: word(),
            provider_key: word(),
            webhook_secret: word(),
        };
        let ports = serde_json::from_str(r#"{"base": 17400}"#).expect("ports");
        let environment = environment(ports, &secrets);
        let written = |key: &str| {
            environment
                .lines()
                .any(|line| line.split_once('=').is_some_and(|(name, _)| name == key))
        };
        let used: Vec<&str> = FILE
            .split("${")
            .skip(1)
            .map(|rest| rest.split([':', '}']).next().unwrap_or_default())
            .chain(["SECRETS_JSON"])
            .collect();
        assert!(used.len() > 30, "{used:?}");
        let missing: Vec<&&str> = used.iter().filter(|key| !written(key)).collect();
        assert!(missing.is_empty(), "{missing:?} have no value in compose.env");
        assert!(!written("DRAGONS"));
    }

    #[test]
    fn databases_are_made_as_they_are_natively() {
        let arguments = format!(
            "POSTGRES_INITDB_ARGS: --auth-host=scram-sha-256 {}\n",
            TEXTS.join(" ")
        );
        assert!(FILE.contains(&arguments), "{arguments}");
    }
}
