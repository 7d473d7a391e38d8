use std::sync::Arc;
use std::time::Duration;

use outbox_relay::{Health, Instance, Options, Relay};
use quadrille_process::{Failure, Process, Status};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::doorbell::Doorbell;

/// Publishes every outbox until the process is told to stop.
pub(crate) async fn serve(config: Config, process: Process) -> Result<(), Failure> {
    let mut relays = JoinSet::new();
    let instance = Instance::new();
    let doorbell = Arc::new(Doorbell::default());
    if let Some(at) = config.doorbell {
        let (doorbell, stop) = (Arc::clone(&doorbell), process.shutdown.clone());
        relays.spawn(async move {
            let heard = doorbell.listen(at, &stop).await;
            heard.map_err(|error| Failure::unavailable(format!("RELAY_DOORBELL_LISTEN {at}: {error}")))
        });
    }
    for options in config.options(&process.instance, process.grace) {
        let running = keep_running(options, instance.clone(), Arc::clone(&doorbell), process.clone());
        relays.spawn(async move {
            running.await;
            Ok(())
        });
    }
    while let Some(ended) = relays.join_next().await {
        ended??;
    }
    Ok(())
}

/// One outbox's relay. Should it panic, the others do not notice, and it begins anew.
async fn keep_running(options: Options, instance: Instance, doorbell: Arc<Doorbell>, process: Process) {
    const PAUSE: Duration = Duration::from_secs(5);
    let check = format!("outbox-{}", options.source);
    // Not required: a broken outbox must not take the others out of service.
    process.health.informative(&check);
    loop {
        let relay = Relay::new(options.clone()).of(&instance);
        let handle = relay.handle();
        doorbell.answered_by(&options.source, relay.handle());
        let mut running = tokio::spawn(relay.run(process.shutdown.clone()));
        let mut look = tokio::time::interval(Duration::from_millis(500));
        let ended = loop {
            tokio::select! {
                ended = &mut running => break ended,
                _ = look.tick() => process.health.set(&check, status(handle.health())),
            }
        };
        let Err(error) = ended else { return };
        tracing::error!(source = %options.source, %error, "relay panicked; it begins anew");
        process
            .health
            .set(&check, Status::Down("the relay panicked".to_owned()));
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = process.shutdown.cancelled() => return,
        }
    }
}

fn status(health: Health) -> Status {
    match health {
        Health::Up => Status::Up,
        Health::Down(reason) => Status::Down(reason),
    }
}
