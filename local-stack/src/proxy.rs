use std::io;
use std::net::{AddrParseError, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PIECE: usize = 64 * 1024;
/// On a slow line a piece is a tenth of a second's bytes.
const PIECES_PER_SECOND: u64 = 10;

/// How a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weather {
    /// Everything passes.
    #[default]
    Fair,
    /// Nothing passes; connections stay, and new ones seem to succeed.
    Dead,
    /// What clients say arrives, and no answer comes back. Connections on which one was lost are reset when that ends.
    Deaf,
    /// Each piece waits for so long.
    Late(Duration),
    /// So many bytes per second, in each direction of each connection.
    Slow(u64),
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    weather: Weather,
    /// Grows when all connections are to be reset.
    resets: u64,
}

/// A proxy on one line between clients and a server, for tests of what a network does.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    upstream: Arc<OnceLock<SocketAddr>>,
    state: watch::Sender<State>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a port of this machine. Who comes before it is known where it leads to is reset.
    ///
    /// # Errors
    /// If there is no port to be had.
    pub async fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let upstream = Arc::new(OnceLock::new());
        let (state, seen) = watch::channel(State::default());
        let accepting = tokio::spawn(accept(listener, Arc::clone(&upstream), seen));
        Ok(Self {
            port,
            upstream,
            state,
            accepting,
        })
    }

    /// Where clients find it.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it leads to, with `http://` before it or not. What was said first holds.
    ///
    /// # Errors
    /// If it is no address and port.
    pub fn lead_to(&self, address: &str) -> Result<(), AddrParseError> {
        let address = address.strip_prefix("http://").unwrap_or(address).parse()?;
        self.upstream.get_or_init(|| address);
        Ok(())
    }

    /// What happens to everything on it from now on.
    pub fn be(&self, weather: Weather) {
        self.state.send_modify(|state| state.weather = weather);
    }

    /// RST to both ends of every connection.
    pub fn reset(&self) {
        self.state.send_modify(|state| state.resets += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, upstream: Arc<OnceLock<SocketAddr>>, state: watch::Receiver<State>) {
    loop {
        // Too many open files, say: it may pass.
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (upstream, mut state) = (Arc::clone(&upstream), state.clone());
        let resets = state.borrow_and_update().resets;
        tokio::spawn(async move {
            // However it ends, both sockets are closed with it, and that is what its ends have to know.
            drop(connection(client, &upstream, state, resets).await);
        });
    }
}

async fn connection(
    mut client: TcpStream,
    upstream: &OnceLock<SocketAddr>,
    mut state: watch::Receiver<State>,
    resets: u64,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut resetting = state.clone();
    let reset = async {
        // The sender is gone once the proxy is: then everything on it is, too.
        drop(resetting.wait_for(|state| state.resets > resets).await);
    };
    tokio::pin!(reset);
    let server = tokio::select! {
        () = &mut reset => Err(io::ErrorKind::ConnectionReset.into()),
        server = reach(upstream, &mut state) => server,
    };
    let Ok(mut server) = server else {
        return client.set_zero_linger();
    };
    server.set_nodelay(true)?;
    let ended_well = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        tokio::select! {
            () = &mut reset => false,
            ended = async {
                tokio::try_join!(
                    pump(from_client, to_server, state.clone(), false),
                    pump(from_server, to_client, state.clone(), true),
                )
            } => ended.is_ok(),
        }
    };
    if !ended_well {
        client.set_zero_linger()?;
        server.set_zero_linger()?;
    }
    Ok(())
}

async fn reach(upstream: &OnceLock<SocketAddr>, state: &mut watch::Receiver<State>) -> io::Result<TcpStream> {
    passable(state).await?;
    let address = upstream.get().ok_or(io::ErrorKind::NotConnected)?;
    TcpStream::connect(address).await
}

async fn passable(state: &mut watch::Receiver<State>) -> io::Result<()> {
    let gone = |_| io::Error::from(io::ErrorKind::ConnectionAborted);
    state
        .wait_for(|state| state.weather != Weather::Dead)
        .await
        .map_err(gone)?;
    Ok(())
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut state: watch::Receiver<State>,
    answers: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let (mut hears, mut has_missed) = (state.clone(), false);
    loop {
        let most = match state.borrow().weather {
            Weather::Slow(rate) => usize::try_from(rate / PIECES_PER_SECOND)
                .unwrap_or(PIECE)
                .clamp(1, PIECE),
            Weather::Fair | Weather::Dead | Weather::Deaf | Weather::Late(_) => PIECE,
        };
        let read = tokio::select! {
            read = from.read(&mut buffer[..most]) => read?,
            _ = hears.wait_for(|state| state.weather != Weather::Deaf), if has_missed => {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        };
        if read == 0 {
            return to.shutdown().await;
        }
        // What was under way when the line died does not arrive either.
        passable(&mut state).await?;
        let weather = state.borrow().weather;
        match weather {
            Weather::Deaf if answers => {
                has_missed = true;
                continue;
            }
            Weather::Fair | Weather::Dead | Weather::Deaf => {}
            Weather::Late(by) => tokio::time::sleep(by).await,
            Weather::Slow(rate) => {
                let bytes = u64::try_from(read).unwrap_or(u64::MAX);
                // What was read before the line was slow may be much.
                let pause = Duration::from_micros(bytes * 1_000_000 / rate.max(1));
                tokio::time::sleep(pause.min(Duration::from_secs(1))).await;
            }
        }
        to.write_all(&buffer[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(300);

    /// A server that says everything again, a connection to it through a proxy, and how many bytes it has heard.
    async fn echo() -> (Proxy, TcpStream, watch::Receiver<usize>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        let (hears, heard) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let hears = hears.clone();
                tokio::spawn(async move {
                    let mut piece = vec![0; PIECE];
                    loop {
                        let read = socket.read(&mut piece).await?;
                        if read == 0 {
                            return socket.shutdown().await;
                        }
                        hears.send_modify(|bytes| *bytes += read);
                        socket.write_all(&piece[..read]).await?;
                    }
                });
            }
        });
        let proxy = Proxy::open().await.expect("a proxy");
        proxy.lead_to(&address).expect("an address");
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port()))
            .await
            .expect("it listens");
        (proxy, client, heard)
    }

    async fn said(client: &mut TcpStream, what: &[u8]) -> io::Result<()> {
        client.write_all(what).await?;
        let mut heard = vec![0; what.len()];
        client.read_exact(&mut heard).await?;
        assert_eq!(heard, what);
        Ok(())
    }

    #[tokio::test]
    async fn what_is_said_passes_and_the_end_of_it_too() {
        let (_proxy, mut client, _) = echo().await;
        let much: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let (mut from, mut to) = client.split();
        let mut heard = Vec::new();
        let (written, read) = timeout(LONG, async {
            tokio::join!(
                async {
                    to.write_all(&much).await?;
                    to.shutdown().await
                },
                from.read_to_end(&mut heard)
            )
        })
        .await
        .expect("in time");
        written.expect("it is taken");
        read.expect("it comes back");
        assert!(heard == much);
    }

    #[tokio::test]
    async fn nothing_passes_a_dead_line_and_all_of_it_comes_when_it_lives() {
        let (proxy, mut client, _) = echo().await;
        said(&mut client, b"before").await.expect("fair weather");
        proxy.be(Weather::Dead);
        client.write_all(b"meanwhile").await.expect("nobody says so");
        let mut heard = [0; 9];
        assert!(timeout(SHORT, client.read_exact(&mut heard)).await.is_err());
        let mut late = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port()))
            .await
            .expect("it seems to succeed");
        assert!(timeout(SHORT, said(&mut late, b"x")).await.is_err());
        proxy.be(Weather::Fair);
        timeout(LONG, client.read_exact(&mut heard))
            .await
            .expect("in time")
            .expect("it comes");
        assert_eq!(&heard, b"meanwhile");
    }

    #[tokio::test]
    async fn a_deaf_line_takes_everything_and_ends_when_it_hears_again() {
        let (proxy, mut client, mut heard) = echo().await;
        said(&mut client, b"before").await.expect("fair weather");
        proxy.be(Weather::Deaf);
        client.write_all(b"meanwhile").await.expect("nobody says so");
        timeout(LONG, heard.wait_for(|bytes| *bytes == 15))
            .await
            .expect("in time")
            .expect("it arrives");
        assert!(timeout(SHORT, client.read_u8()).await.is_err());
        proxy.be(Weather::Fair);
        let ended = timeout(LONG, client.read_u8()).await.expect("in time");
        assert_eq!(
            ended.expect_err("an answer is missing").kind(),
            io::ErrorKind::ConnectionReset
        );
    }

    #[tokio::test]
    async fn a_reset_is_a_reset_and_the_next_connection_is_well() {
        let (proxy, mut client, _) = echo().await;
        said(&mut client, b"before").await.expect("fair weather");
        proxy.reset();
        let broken = timeout(LONG, client.read_u8()).await.expect("in time");
        assert_eq!(
            broken.expect_err("it is broken").kind(),
            io::ErrorKind::ConnectionReset
        );
        let mut next = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port()))
            .await
            .expect("it listens");
        said(&mut next, b"again").await.expect("fair weather");
    }

    #[tokio::test]
    async fn a_late_line_and_a_slow_one_take_at_least_their_time() {
        let (proxy, mut client, _) = echo().await;
        let begun = Instant::now();
        proxy.be(Weather::Late(Duration::from_millis(50)));
        said(&mut client, b"late").await.expect("it comes");
        assert!(begun.elapsed() >= Duration::from_millis(100), "there and back");
        let begun = Instant::now();
        proxy.be(Weather::Slow(10_000));
        said(&mut client, &[7; 2_000]).await.expect("it comes");
        assert!(begun.elapsed() >= Duration::from_millis(200));
    }

    #[tokio::test]
    async fn nobody_there_is_a_reset() {
        let proxy = Proxy::open().await.expect("a proxy");
        let [nobody] = crate::free_ports().expect("a port");
        proxy.lead_to(&format!("127.0.0.1:{nobody}")).expect("an address");
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port()))
            .await
            .expect("it listens");
        let refused = timeout(LONG, client.read_u8()).await.expect("in time");
        assert!(refused.is_err());
    }
}
