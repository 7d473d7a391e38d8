use quadrille_process::fault::{self, Injected};

/// A point at which a test may make relays crash, wait or fail: all those of the process
/// (`relay::after_window_commit`), or the one of an owner (`relay::after_window_commit/pod-7`).
pub(crate) async fn point(name: &'static str, owner: &str) -> Result<(), Injected> {
    if fault::POSSIBLE {
        fault::reach(name).await?;
        fault::reach(&format!("{name}/{owner}")).await?;
    }
    Ok(())
}
