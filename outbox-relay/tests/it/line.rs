use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A line to a broker that can be deaf: what is sent arrives, and no answer comes back.
#[derive(Debug)]
pub struct Line {
    pub port: u16,
    upstream: Arc<OnceLock<SocketAddr>>,
    deaf: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Line {
    /// Listens. Nobody may come before it is known where it leads to.
    pub async fn open() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let upstream = Arc::new(OnceLock::new());
        let (deaf, seen) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, upstream.clone(), seen));
        Ok(Self {
            port,
            upstream,
            deaf,
            accepting,
        })
    }

    /// Where it leads to, once.
    pub fn lead_to(&self, address: &str) -> Result<()> {
        let address = address
            .parse()
            .with_context(|| format!("the address {address}"))?;
        self.upstream
            .set(address)
            .ok()
            .context("it leads somewhere already")
    }

    /// Connections that were deaf end when it hears again: they have missed something.
    pub fn be_deaf(&self, deaf: bool) {
        self.deaf.send_replace(deaf);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, upstream: Arc<OnceLock<SocketAddr>>, deaf: watch::Receiver<bool>) {
    while let Ok((client, _)) = listener.accept().await {
        let (upstream, deaf) = (upstream.clone(), deaf.clone());
        tokio::spawn(async move {
            // However it ends, both sockets are closed with it.
            drop(connection(client, &upstream, deaf).await);
        });
    }
}

async fn connection(
    mut client: TcpStream,
    upstream: &OnceLock<SocketAddr>,
    deaf: watch::Receiver<bool>,
) -> io::Result<()> {
    let address = upstream.get().ok_or(io::ErrorKind::NotConnected)?;
    let mut server = TcpStream::connect(address).await?;
    let ((mut from_client, to_client), (from_server, mut to_server)) = (client.split(), server.split());
    tokio::select! {
        () = hears_again(deaf.clone()) => Ok(()),
        sent = copy(&mut from_client, &mut to_server) => sent.map(drop),
        answered = answers(from_server, to_client, deaf) => answered,
    }
}

async fn answers(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    deaf: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            _ if *deaf.borrow() => {}
            read => to.write_all(&buffer[..read]).await?,
        }
    }
}

/// Also if nobody can say any more whether it is deaf.
async fn hears_again(mut deaf: watch::Receiver<bool>) {
    for state in [true, false] {
        drop(deaf.wait_for(|deaf| *deaf == state).await);
    }
}
