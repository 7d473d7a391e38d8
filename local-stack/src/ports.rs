use std::net::TcpListener;

use crate::StackError;
use crate::secrets::random_hex;

/// Below the range from which Linux (32768) and macOS (49152) take ports of outgoing connections: while a server of ours is
/// down, nobody gets its port by chance, and no client connects to itself.
const FREE_FROM: u16 = 20_000;
const FREE_COUNT: u32 = 12_000;
const TRIES: usize = 200;

/// `N` ports on 127.0.0.1 that nobody listens on right now.
///
/// # Errors
/// If 200 random picks were all taken.
pub(crate) fn free<const N: usize>() -> Result<[u16; N], StackError> {
    let mut found = Vec::with_capacity(N);
    // Bound until all are found, so that none is picked twice.
    let mut held = Vec::with_capacity(N);
    for _ in 0..TRIES {
        let random = u32::from_str_radix(&random_hex()?[..8], 16).unwrap_or_default();
        let port = FREE_FROM + u16::try_from(random % FREE_COUNT).unwrap_or_default();
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            held.push(listener);
            found.push(port);
        }
        if let Ok(ports) = <[u16; N]>::try_from(found.as_slice()) {
            return Ok(ports);
        }
    }
    Err(StackError::Unavailable(format!(
        "no free ports on 127.0.0.1 from {FREE_FROM} upwards"
    )))
}
