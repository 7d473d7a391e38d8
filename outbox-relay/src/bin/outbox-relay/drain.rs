use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use outbox_relay::{Handle, Health, Instance, Options, Relay, status};
use quadrille_process::Shutdown;
use tokio::task::JoinSet;

use crate::config::Draining;

/// An outbox that is not empty yet.
struct Filled {
    options: Options,
    handle: Handle,
}

/// As often as acknowledgements are written to the database.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Publishes until every outbox is empty, whoever holds their leases. Exit code 1 if something is parked.
pub(crate) async fn drain(Draining { config, within }: Draining) -> anyhow::Result<ExitCode> {
    let shutdown = Shutdown::new(Duration::from_secs(10));
    let (grace, stop) = (shutdown.grace, shutdown.token.clone());
    let (mut relays, mut filled) = (JoinSet::new(), Vec::new());
    // However many there are, they share what a process may have in flight.
    let instance = Instance::new();
    for options in config.options(&format!("drain-{}", std::process::id()), grace) {
        let relay = Relay::new(options.clone()).of(&instance);
        filled.push(Filled {
            options,
            handle: relay.handle(),
        });
        relays.spawn(relay.run(stop.clone()));
    }
    let listening = tokio::spawn(shutdown.listen());
    let drained = tokio::select! {
        drained = until_empty(filled, within) => drained,
        () = stop.cancelled() => Err(anyhow::anyhow!("told to stop before the outboxes were empty")),
    };
    // Gives the leases back, so that the next relay need not wait.
    stop.cancel();
    while relays.join_next().await.is_some() {}
    listening.abort();
    Ok(ExitCode::from(u8::from(drained? > 0)))
}

/// How many events are parked.
async fn until_empty(mut filled: Vec<Filled>, within: Duration) -> anyhow::Result<i64> {
    let begun = Instant::now();
    let (mut told, mut parked) = (Instant::now(), 0);
    while !filled.is_empty() {
        let tell = told.elapsed() >= TELL_EVERY;
        let mut left = Vec::new();
        let mut says = Vec::new();
        for outbox in filled {
            let source = &outbox.options.source;
            let read = async { status::read(&outbox.options.database.primary().await?).await };
            let says_now = match read.await {
                Ok(Some(status)) if status.unpublished == 0 && !status.in_a_window => {
                    println!("{source} is empty");
                    if status.parked > 0 {
                        println!("{source}: {} event(s) are parked", status.parked);
                        parked += status.parked;
                    }
                    continue;
                }
                Ok(Some(status)) => format!("{source}: {} event(s) left", status.unpublished),
                Ok(None) => format!("{source}: no relay has run yet"),
                Err(error) => format!("{source}: {:#}", anyhow::Error::from(error)),
            };
            let why = match outbox.handle.health() {
                Health::Up => String::new(),
                Health::Down(reason) => format!("; {reason}"),
            };
            says.push(format!("{says_now}{why}"));
            left.push(outbox);
        }
        filled = left;
        if tell && !says.is_empty() {
            told = Instant::now();
            for line in &says {
                eprintln!("{line}");
            }
        }
        if begun.elapsed() > within && !filled.is_empty() {
            bail!("not empty within {} s\n{}", within.as_secs(), says.join("\n"));
        }
        if !filled.is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    Ok(parked)
}
