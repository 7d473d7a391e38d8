use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use anyhow::Context;
use local_stack::{KAFKA_VARIABLE, POSTGRES_VARIABLE, TestStack, forget_outer_cargo};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// Runs a command with servers for tests; its exit code is ours.
pub(crate) fn run(command: &[OsString]) -> anyhow::Result<ExitCode> {
    let (program, arguments) = command.split_first().context("no command given")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(run_between_signals(program, arguments));
    // A start that was interrupted still blocks a thread; the guardian removes what it started.
    runtime.shutdown_background();
    result
}

async fn run_between_signals(program: &OsString, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    // Before anything is started: from here on a signal ends the command, and then the servers.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;

    let started = std::time::Instant::now();
    let mut starting = tokio::task::spawn_blocking(|| match TestStack::given() {
        Some(addresses) => Ok((addresses, None)),
        None => TestStack::private().map(|stack| (stack.addresses(), Some(stack))),
    });
    let (servers, stack) = tokio::select! {
        servers = &mut starting => servers??,
        _ = interrupt.recv() => return Ok(code_of_signal(Signal::INT)),
        _ = terminate.recv() => return Ok(code_of_signal(Signal::TERM)),
        _ = hang_up.recv() => return Ok(code_of_signal(Signal::HUP)),
    };
    let source = stack
        .as_ref()
        .map_or("taken from the environment".to_owned(), |stack| {
            format!(
                "started in {:.1?}, data in {}",
                started.elapsed(),
                stack.dir().display()
            )
        });
    eprintln!("test servers: {source}");

    let mut command = Command::new(program);
    forget_outer_cargo(command.as_std_mut());
    let mut child = command
        .args(arguments)
        .env(POSTGRES_VARIABLE, &servers.postgres_admin_url)
        .env(KAFKA_VARIABLE, &servers.kafka_brokers)
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    loop {
        let passed_on = tokio::select! {
            status = child.wait() => return Ok(code_of(status?)),
            // The terminal sends it to the whole foreground group, the command included.
            _ = interrupt.recv() => None,
            _ = terminate.recv() => Some(Signal::TERM),
            _ = hang_up.recv() => Some(Signal::HUP),
        };
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let (Some(signal), Some(pid)) = (passed_on, pid) {
            kill_process(pid, signal).with_context(|| format!("pass {signal:?} on to the command"))?;
        }
    }
}

fn code_of(status: ExitStatus) -> ExitCode {
    let signal = status.signal().map(|number| 128 + number);
    let code = status.code().or(signal).and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(1))
}

fn code_of_signal(signal: Signal) -> ExitCode {
    ExitCode::from(u8::try_from(128 + signal.as_raw()).unwrap_or(1))
}
