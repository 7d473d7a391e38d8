use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use local_stack::services::{SERVICES, Service};
use local_stack::stack::{self, LocalStack};
use local_stack::{Part, Programs, Report, StackError, Way, Wishes, forget_outer_cargo};
use rustix::process::Signal;

type Outcome = anyhow::Result<ExitCode>;

pub(crate) fn up(wishes: Wishes, servers_only: bool) -> Outcome {
    let stack = LocalStack::prepare(wishes)?;
    eprintln!("servers:");
    stack.start_servers()?;
    let started = if servers_only {
        Ok(())
    } else {
        build_and_start(&stack)
    };
    eprintln!();
    println!("{}", Report::take(&stack));
    started.map(|()| ExitCode::SUCCESS)
}

pub(crate) fn down() -> Outcome {
    stack::down()?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn reset() -> Outcome {
    stack::reset()?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn status() -> Outcome {
    let report = Report::take(&LocalStack::kept()?);
    println!("{report}");
    Ok(if report.is_healthy() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

pub(crate) fn logs(part: Option<&str>, follow: bool, lines: u32) -> Outcome {
    let stack = LocalStack::kept()?;
    let names: Vec<&str> = match part {
        Some(name) => vec![known(name)?],
        None => Part::ALL
            .iter()
            .map(|p| p.name())
            .chain(SERVICES.iter().map(|s| s.name))
            .collect(),
    };
    let logs: Vec<PathBuf> = names
        .iter()
        .map(|name| stack.daemon(name).log().to_owned())
        .collect();
    let there: Vec<&PathBuf> = logs.iter().filter(|log| log.exists()).collect();
    if there.is_empty() {
        let containers = if stack.placement().all(Way::Compose).next().is_some() {
            format!("; of containers: {} logs", compose(&stack))
        } else {
            String::new()
        };
        bail!(StackError::Unavailable(format!(
            "{} has no log here{containers}",
            part.unwrap_or("the stack")
        )));
    }
    let mut tail = Command::new("tail");
    tail.arg("-n").arg(lines.to_string());
    if follow {
        tail.arg("-F");
    }
    // From here on we are `tail`: Ctrl-C is its business.
    Err(tail.args(there).exec()).context("run tail")
}

pub(crate) fn env() -> Outcome {
    for (key, value) in LocalStack::kept()?.environment() {
        println!("export {key}='{}'", value.replace('\'', r"'\''"));
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn run(command: &[OsString]) -> Outcome {
    let stack = LocalStack::kept()?;
    let (program, arguments) = command.split_first().context("no command given")?;
    let programs = Programs::find(stack.checkout(), stack.placement().release)?;
    let before = std::env::var_os("PATH").unwrap_or_default();
    // The second entry is where `local-stack` itself is: a demo that kills a service starts it again with it.
    let own = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.to_owned()));
    let folders = std::iter::once(programs.folder().to_owned())
        .chain(own)
        .chain(std::env::split_paths(&before));
    let path = std::env::join_paths(folders).context("put the services' programs on PATH")?;
    // exec would look in our own PATH, not in the one that the command gets.
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file());
    let mut command = Command::new(found.unwrap_or_else(|| program.into()));
    let error = forget_outer_cargo(&mut command)
        .args(arguments)
        .envs(stack.environment())
        .env("PATH", path)
        .exec();
    Err(error).with_context(|| format!("run {}", program.display()))
}

pub(crate) fn start(name: &str) -> Outcome {
    start_one(&LocalStack::held()?, name)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn restart(name: &str) -> Outcome {
    let stack = LocalStack::held()?;
    must_be_ours(&stack, name)?;
    stack.stop(name)?;
    start_one(&stack, name)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn kill(name: &str, nine: bool) -> Outcome {
    let stack = LocalStack::held()?;
    must_be_ours(&stack, name)?;
    let (signal, said) = if nine {
        (Signal::KILL, "SIGKILL")
    } else {
        (Signal::TERM, "SIGTERM")
    };
    if !stack.kill(name, signal)? {
        eprintln!("  {name}: does not run");
        return Ok(ExitCode::FAILURE);
    }
    eprintln!("  {name}: sent {said}");
    Ok(ExitCode::SUCCESS)
}

fn build_and_start(stack: &LocalStack) -> anyhow::Result<()> {
    eprintln!("build:");
    let programs = stack.build()?;
    eprintln!("databases and topics:");
    stack.migrate(&programs)?;
    eprintln!("services:");
    stack.start_services(&programs)?;
    Ok(())
}

fn start_one(stack: &LocalStack, name: &str) -> anyhow::Result<()> {
    must_be_ours(stack, name)?;
    match (Part::named(name), Service::named(name)) {
        (Some(part), _) => stack.start_native(part)?,
        (None, Some(service)) => stack.start_service(service)?,
        (None, None) => unreachable!("must_be_ours knows all names"),
    }
    Ok(())
}

fn must_be_ours(stack: &LocalStack, name: &str) -> anyhow::Result<()> {
    known(name)?;
    let way = Part::named(name).map(|part| stack.placement().way(part));
    match way {
        None | Some(Way::Native) => Ok(()),
        Some(Way::Compose) => bail!(StackError::Unavailable(format!(
            "{name} is a container; use {} …",
            compose(stack)
        ))),
        Some(Way::Given) => bail!(StackError::Unavailable(format!(
            "{name} was given, it is not ours to touch"
        ))),
        Some(Way::Absent) => bail!(StackError::Unavailable(format!(
            "{name} is not part of this stack"
        ))),
    }
}

/// What people call to get at the containers.
fn compose(stack: &LocalStack) -> String {
    format!("docker compose --project-name quadrille-{}", stack.ports().base())
}

fn known(name: &str) -> Result<&str, StackError> {
    if Part::named(name).is_some() || Service::named(name).is_some() {
        return Ok(name);
    }
    Err(StackError::Config {
        key: "part".to_owned(),
        value: name.to_owned(),
        expected: "postgres, kafka, redis, product, order, inventory, payment, payment-sandbox or outbox-relay",
    })
}
