use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Told by SIGTERM or SIGINT, heard by everybody who holds the token.
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// Cancelled when the process should stop taking work and finish what it has.
    pub token: CancellationToken,
    /// How long finishing may take.
    pub grace: Duration,
}

impl Shutdown {
    /// A shutdown that nobody has asked for yet.
    pub fn new(grace: Duration) -> Shutdown {
        Shutdown {
            token: CancellationToken::new(),
            grace,
        }
    }

    /// Waits for the first SIGTERM or SIGINT and cancels the token; then waits for a second one.
    ///
    /// Returns when somebody has lost patience: a second signal, or the end of the grace. Whoever awaits it
    /// beside the work then ends the process.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub async fn listen(self) -> std::io::Result<Impatience> {
        let mut signals = Signals::install()?;
        tokio::select! {
            name = signals.next() => {
                tracing::info!(signal = name, grace_ms = self.grace.as_millis(), "stopping");
                self.token.cancel();
            }
            // Somebody else may stop the process; the grace counts from there as well.
            () = self.token.cancelled() => {}
        }
        tokio::select! {
            name = signals.next() => {
                tracing::warn!(signal = name, "second signal");
                Ok(Impatience::SecondSignal)
            }
            () = tokio::time::sleep(self.grace) => Ok(Impatience::GraceIsOver),
        }
    }
}

/// Why a process stops waiting for its own work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Impatience {
    /// Somebody asked twice.
    SecondSignal,
    /// The work took longer than it may.
    GraceIsOver,
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn install() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn install() -> std::io::Result<Signals> {
        Ok(Signals)
    }

    async fn next(&mut self) -> &'static str {
        // Without handlers Ctrl-C ends the process by itself, which is all that can be had here.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "Ctrl-C"
    }
}
