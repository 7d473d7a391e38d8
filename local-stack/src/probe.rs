//! Each probe asks a server a real question of its own protocol. A port that accepts connections proves little: both
//! PostgreSQL and Kafka listen before they can serve.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether anything accepts a connection there, ready or not.
pub fn listens(address: &str) -> bool {
    ask(address, |_| Ok(Ok(()))).is_ok()
}

/// Sends a startup packet, as `pg_isready` does. Ready is who asks for a password (or lets us in), and who wants us to
/// encrypt first.
///
/// # Errors
/// The reason why the server is not ready, as a sentence for people.
pub fn postgres(address: &str) -> Result<(), String> {
    ask(address, |stream| {
        let mut packet = Vec::from(196_608_u32.to_be_bytes()); // protocol 3.0
        packet.extend_from_slice(
            b"user\0postgres\0database\0postgres\0application_name\0local-stack probe\0\0",
        );
        let length = u32::try_from(packet.len() + 4).unwrap_or(u32::MAX);
        stream.write_all(&length.to_be_bytes())?;
        stream.write_all(&packet)?;
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        // Read to its end, or the server would log a connection that was reset.
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]).clamp(4, 4096) - 4;
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body)?;
        if head[0] == b'R' {
            return Ok(Ok(()));
        }
        // An ErrorResponse: fields of one letter and a text each, 'M' is the message for people, 'C' the SQLSTATE.
        let field = |letter: u8| {
            let mut fields = body.split(|&byte| byte == 0);
            fields.find_map(|field| field.strip_prefix(&[letter]))
        };
        // It has looked into pg_hba.conf, which a server that is still starting does not.
        if field(b'C') == Some(b"28000") {
            return Ok(Ok(()));
        }
        Ok(Err(field(b'M').map_or_else(
            || "it refuses".to_owned(),
            |m| String::from_utf8_lossy(m).into_owned(),
        )))
    })
}

/// Asks for the cluster's metadata without topics. Ready is a broker that knows itself to be registered.
///
/// # Errors
/// The reason why the broker is not ready, as a sentence for people.
pub fn kafka(address: &str) -> Result<(), String> {
    const CLIENT: &[u8] = b"local-stack";
    ask(address, |stream| {
        let mut request = Vec::new();
        request.extend_from_slice(&3_i16.to_be_bytes()); // Metadata
        request.extend_from_slice(&1_i16.to_be_bytes()); // version 1
        request.extend_from_slice(&7_i32.to_be_bytes()); // correlation id
        request.extend_from_slice(&i16::try_from(CLIENT.len()).unwrap_or(0).to_be_bytes());
        request.extend_from_slice(CLIENT);
        request.extend_from_slice(&0_i32.to_be_bytes()); // no topics
        let length = i32::try_from(request.len()).unwrap_or(i32::MAX);
        stream.write_all(&length.to_be_bytes())?;
        stream.write_all(&request)?;
        let mut answer = [0; 12]; // length, correlation id, number of brokers
        stream.read_exact(&mut answer)?;
        let brokers = i32::from_be_bytes([answer[8], answer[9], answer[10], answer[11]]);
        Ok(if brokers > 0 {
            Ok(())
        } else {
            Err("no broker is registered yet".to_owned())
        })
    })
}

/// Sends PING. A demand for a password is an answer, too.
///
/// # Errors
/// The reason why the server is not ready, as a sentence for people.
pub fn redis(address: &str) -> Result<(), String> {
    ask(address, |stream| {
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(match &answer {
            b"+PONG" | b"-NOAU" => Ok(()),
            other => Err(format!("it answers {}", String::from_utf8_lossy(other))),
        })
    })
}

/// Asks which services have sent traces.
///
/// # Errors
/// The reason why the server is not ready, as a sentence for people.
pub fn jaeger(address: &str) -> Result<(), String> {
    http(address, "/api/services")
}

/// GETs a path over plain HTTP. Ready is any 2xx.
///
/// # Errors
/// The reason why the server is not ready, as a sentence for people.
pub fn http(address: &str, path: &str) -> Result<(), String> {
    http_get(address, path).map(drop)
}

/// The beginning of what a path over plain HTTP answers; as an error, if that is not any 2xx.
pub(crate) fn http_get(address: &str, path: &str) -> Result<String, String> {
    request(address, "GET", path)
}

/// PUTs nothing to a path over plain HTTP.
pub(crate) fn http_put(address: &str, path: &str) -> Result<(), String> {
    request(address, "PUT", path).map(drop)
}

fn request(address: &str, method: &str, path: &str) -> Result<String, String> {
    ask(address, |stream| {
        let length = if method == "GET" {
            ""
        } else {
            "Content-Length: 0\r\n"
        };
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{length}Connection: close\r\n\r\n");
        // At once: a server may answer and close on the first piece, and the second would break the pipe.
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.take(4096).read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default().trim();
        if status.starts_with('2') {
            return Ok(Ok(body.to_owned()));
        }
        Ok(Err(format!("{path} answers {status} {body}")
            .trim_end()
            .to_owned()))
    })
}

fn ask<T>(
    address: &str,
    question: impl FnOnce(&mut TcpStream) -> io::Result<Result<T, String>>,
) -> Result<T, String> {
    let resolved = address
        .to_socket_addrs()
        .map_err(|error| format!("{address}: {error}"))?
        .next()
        .ok_or_else(|| format!("{address}: no such host"))?;
    let mut stream =
        TcpStream::connect_timeout(&resolved, CONNECT_TIMEOUT).map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => "nothing listens yet".to_owned(),
            _ => error.to_string(),
        })?;
    stream
        .set_read_timeout(Some(ANSWER_TIMEOUT))
        .and_then(|()| stream.set_write_timeout(Some(ANSWER_TIMEOUT)))
        .and_then(|()| question(&mut stream))
        .unwrap_or_else(|error| {
            Err(match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => "it hung up".to_owned(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    "it listens but does not answer".to_owned()
                }
                _ => error.to_string(),
            })
        })
}
