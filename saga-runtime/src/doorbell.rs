//! Tells relays that something was committed, so that they do not wait for their next look.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What is committed within this time after a ring is told with the next one.
const GAP: Duration = Duration::from_millis(1);
/// How long the address of a name is taken to be the same; a relay may have moved.
const KNOWN_FOR: Duration = Duration::from_secs(10);
/// How long a look-up may hold up the rings for others.
const LOOK_UP: Duration = Duration::from_secs(1);
/// Who would ring more relays than this has something else in mind.
const MOST: usize = 16;

/// The doorbells of relays: `host:port,host:port`. All are rung, since which of them serves the outbox changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doorbells(Vec<String>);

/// Not the addresses of doorbells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 16 of host:port, with commas in between")]
pub struct BadDoorbells;

impl FromStr for Doorbells {
    type Err = BadDoorbells;

    fn from_str(text: &str) -> Result<Self, BadDoorbells> {
        let is_address = |address: &String| {
            address.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            })
        };
        let all: Vec<String> = text.split(',').map(|one| one.trim().to_owned()).collect();
        if all.len() <= MOST && all.iter().all(is_address) {
            Ok(Self(all))
        } else {
            Err(BadDoorbells)
        }
    }
}

/// What commits ring.
#[derive(Debug, Default)]
pub(crate) struct Doorbell(Notify);

impl Doorbell {
    /// Something was committed. Costs the caller nothing.
    pub(crate) fn ring(&self) {
        self.0.notify_one();
    }

    /// Carries each ring to the relays until `stop`. `outbox` is the name by which they know it. A ring that is lost is
    /// no loss: a relay looks by itself soon enough.
    pub(crate) async fn carry(self: Arc<Self>, to: Doorbells, outbox: String, stop: CancellationToken) {
        let mut relays: Vec<Relay> = to.0.into_iter().map(Relay::at).collect();
        loop {
            tokio::select! {
                () = self.0.notified() => {}
                () = stop.cancelled() => return,
            }
            for relay in &mut relays {
                relay.hear(&outbox).await;
            }
            tokio::time::sleep(GAP).await;
        }
    }
}

/// One of those that are rung.
#[derive(Debug)]
struct Relay {
    name: String,
    /// Where it is, if that is known, with a socket of that family.
    door: Option<(UdpSocket, SocketAddr)>,
    looked_up: Option<Instant>,
}

impl Relay {
    fn at(name: String) -> Self {
        Self {
            name,
            door: None,
            looked_up: None,
        }
    }

    async fn hear(&mut self, outbox: &str) {
        if self.looked_up.is_none_or(|then| then.elapsed() > KNOWN_FOR) {
            self.looked_up = Some(Instant::now());
            match tokio::time::timeout(LOOK_UP, open(&self.name)).await {
                Ok(Ok(door)) => self.door = Some(door),
                Ok(Err(error)) => {
                    tracing::debug!(relay = self.name, %error, "cannot find a relay's doorbell")
                }
                Err(_) => tracing::debug!(relay = self.name, "a relay's doorbell is not found in time"),
            }
        }
        if let Some((socket, at)) = &self.door
            && let Err(error) = socket.try_send_to(outbox.as_bytes(), *at)
        {
            tracing::debug!(relay = self.name, %error, "cannot ring a relay's doorbell");
        }
    }
}

async fn open(name: &str) -> std::io::Result<(UdpSocket, SocketAddr)> {
    let at = tokio::net::lookup_host(name)
        .await?
        .next()
        .ok_or(std::io::ErrorKind::NotFound)?;
    let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    // Only what was just made ready may be written to without waiting.
    socket.writable().await?;
    Ok((socket, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_doorbells() {
        let read = |text: &str| text.parse::<Doorbells>().map(|doorbells| doorbells.0);
        assert_eq!(read("relay:9480"), Ok(vec!["relay:9480".to_owned()]));
        assert_eq!(
            read("127.0.0.1:1, [::1]:2"),
            Ok(vec!["127.0.0.1:1".to_owned(), "[::1]:2".to_owned()])
        );
        for wrong in [
            "",
            "relay",
            ":1",
            "relay:0",
            "relay:99999",
            "a:1,,b:2",
            &"a:1,".repeat(20),
        ] {
            assert_eq!(read(wrong), Err(BadDoorbells), "{wrong}");
        }
    }

    #[tokio::test]
    async fn commits_in_quick_succession_ring_few_times_and_the_last_is_not_forgotten() {
        let (here, stop) = (
            UdpSocket::bind("127.0.0.1:0").await.unwrap(),
            CancellationToken::new(),
        );
        // Nobody is at the second.
        let to = format!("{},127.0.0.1:9", here.local_addr().unwrap())
            .parse()
            .unwrap();
        let bell = Arc::new(Doorbell::default());
        let carrying = tokio::spawn(Arc::clone(&bell).carry(to, "order".to_owned(), stop.clone()));
        let mut name = [0; 64];
        for _ in 0..3 {
            for _ in 0..1_000 {
                bell.ring();
            }
            let length = here.recv(&mut name).await.unwrap();
            assert_eq!(&name[..length], b"order");
        }
        stop.cancel();
        carrying.await.unwrap();
        let mut more = 0;
        while here.try_recv(&mut name).is_ok() {
            more += 1;
        }
        assert!(more <= 3, "{more} more");
    }
}
