use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use outbox_relay::{Handle, SourceName};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

/// The longest name of an outbox is one shorter. What does not fit is cut, and nobody's name.
const LONGEST: usize = 64;
/// What the system refuses to read is not asked for again at once.
const PAUSE: Duration = Duration::from_secs(1);

/// Where writers ring: a datagram with the name of their outbox, after a commit.
///
/// It is a hint. One that is lost, or comes from nobody in particular, costs a look or saves none: the relay looks by
/// itself soon enough.
#[derive(Default)]
pub(crate) struct Doorbell {
    relays: Mutex<BTreeMap<String, Handle>>,
}

impl Doorbell {
    /// This relay answers from now on.
    pub(crate) fn answered_by(&self, source: &SourceName, relay: Handle) {
        let mut relays = self.relays.lock().unwrap_or_else(PoisonError::into_inner);
        relays.insert(source.as_str().to_owned(), relay);
    }

    /// Listens until `stop`.
    ///
    /// # Errors
    /// If the address is not to be had.
    pub(crate) async fn listen(&self, at: SocketAddr, stop: &CancellationToken) -> io::Result<()> {
        let socket = UdpSocket::bind(at).await?;
        tracing::info!(%at, "listening for writers that ring");
        let mut name = [0; LONGEST];
        loop {
            let heard = tokio::select! {
                heard = socket.recv_from(&mut name) => heard,
                () = stop.cancelled() => return Ok(()),
            };
            match heard {
                Ok((length, _)) => self.ring(&name[..length]),
                Err(error) => {
                    tracing::warn!(%error, "cannot hear who rings; events wait for the next look");
                    tokio::select! {
                        () = tokio::time::sleep(PAUSE) => {}
                        () = stop.cancelled() => return Ok(()),
                    }
                }
            }
        }
    }

    fn ring(&self, name: &[u8]) {
        let relays = self.relays.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(relay) = std::str::from_utf8(name).ok().and_then(|name| relays.get(name)) {
            relay.ring();
        }
    }
}
