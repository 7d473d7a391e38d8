//! How many charges a running sandbox books in a second, and what one costs.
//!
//! ```text
//! cargo run --release -p payment-sandbox --example load -- 127.0.0.1:17420 <API_KEY> [connections] [seconds] [per_second]
//! ```
//!
//! Plain HTTP/1.1 over as many connections as given, one charge after the other on each; with `per_second`
//! at that pace, and then the latencies are those of a sandbox that is not saturated. The client is as plain
//! as it is, so that on a small machine it leaves the processor to what is measured.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, key, numbers @ ..] = arguments.as_slice() else {
        panic!("load <address:port> <api key> [connections] [seconds] [per_second]");
    };
    let number =
        |index: usize, default: u32| numbers.get(index).map_or(default, |text| text.parse().unwrap());
    let (connections, seconds, per_second) = (number(0, 64), number(1, 10), number(2, 0));
    let pace = (per_second > 0).then(|| Duration::from_secs(1) * connections / per_second);

    let end = Instant::now() + Duration::from_secs(seconds.into());
    let run = uuid::Uuid::new_v4().simple().to_string();
    let callers: Vec<_> = (0..connections)
        .map(|caller| {
            let (address, key, run) = (address.clone(), key.clone(), run.clone());
            tokio::spawn(
                async move { call_until(end, pace, &address, &key, &format!("{run}-{caller}")).await },
            )
        })
        .collect();
    let began = Instant::now();
    let mut latencies = Vec::new();
    for caller in callers {
        latencies.extend(caller.await.unwrap());
    }
    let took = began.elapsed();
    latencies.sort();
    let at = |per_mille: usize| latencies[(latencies.len() - 1) * per_mille / 1000];
    println!(
        "{} charges in {took:.1?}: {}/s; p50 {:.1?}, p99 {:.1?}, max {:.1?}",
        latencies.len(),
        latencies.len() as u128 * 1000 / took.as_millis(),
        at(500),
        at(990),
        at(1000),
    );
}

async fn call_until(
    end: Instant,
    pace: Option<Duration>,
    address: &str,
    key: &str,
    name: &str,
) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 4096];
    let mut latencies = Vec::new();
    let mut next = Instant::now();
    let mut n = 0;
    while Instant::now() < end {
        if let Some(pace) = pace {
            tokio::time::sleep_until(next.into()).await;
            next += pace;
        }
        n += 1;
        let body =
            format!(r#"{{"reference":"{name}-{n}","amount_minor":1999,"currency":"EUR","token":"tok_ok"}}"#);
        let request = format!(
            "POST /v1/charges HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\nidempotency-key: {name}-{n}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let began = Instant::now();
        stream.write_all(request.as_bytes()).await.unwrap();
        let read = stream.read(&mut buffer).await.unwrap();
        latencies.push(began.elapsed());
        let answer = String::from_utf8_lossy(&buffer[..read]);
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("succeeded"),
            "{answer}"
        );
    }
    latencies
}
