use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::StackError;
use crate::checkout::Checkout;
use crate::daemon::write_whole;
use crate::secrets::random_hex;

/// Names the base port of a checkout.
pub(crate) const BASE_VARIABLE: &str = "QUADRILLE_PORT_BASE";
const DEFAULT_BASE: u16 = 17_400;
/// From one base to the next; the highest offset in use is below this.
const BASE_STEP: u16 = 100;
const BASE_TRIES: u16 = 50;

/// Below the range from which Linux (32768) and macOS (49152) take ports of outgoing connections: while a server of ours
/// is down, nobody gets its port by chance, and no client connects to itself.
const FREE_FROM: u16 = 20_000;
const FREE_COUNT: u32 = 12_000;
const FREE_TRIES: usize = 200;

/// The ports of one stack, all counted from one base, so that two checkouts run side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    base: u16,
}

/// What a port is for: the distance from the base. Those of the services stand in their table.
pub(crate) mod offset {
    pub(crate) const POSTGRES: u16 = 0;
    pub(crate) const KAFKA: u16 = 1;
    pub(crate) const KAFKA_CONTROLLER: u16 = 2;
    pub(crate) const REDIS: u16 = 3;
    pub(crate) const JAEGER: u16 = 4;
    pub(crate) const OTLP: u16 = 5;
    pub(crate) const KAFDROP: u16 = 6;
    pub(crate) const PAYMENT_WEBHOOK: u16 = 18;
    pub(crate) const SANDBOX: u16 = 20;
    /// The highest that anything uses.
    pub(crate) const LAST: u16 = 22;
}

impl Ports {
    /// The port at a distance from the base.
    pub fn at(self, offset: u16) -> u16 {
        self.base + offset
    }

    /// `127.0.0.1` and the port at a distance from the base.
    pub fn address(self, offset: u16) -> String {
        format!("127.0.0.1:{}", self.at(offset))
    }

    /// The first of all of them.
    pub fn base(self) -> u16 {
        self.base
    }

    /// The ports of this checkout, if it has been started before.
    ///
    /// # Errors
    /// If the file that keeps them cannot be understood.
    pub fn kept(checkout: &Checkout) -> Result<Option<Self>, StackError> {
        let path = checkout.state().join("ports.json");
        let Ok(text) = fs::read_to_string(&path) else {
            return Ok(None);
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|_| StackError::Config {
                key: path.display().to_string(),
                value: text,
                expected: r#"{"base": 17400}, or no such file"#,
            })
    }

    /// The ports that `QUADRILLE_PORT_BASE` names, or those of the last start, or the first base from 17400 upwards where
    /// nobody listens. Kept in `.local/ports.json`.
    ///
    /// # Errors
    /// If the variable holds no usable port, or everything is taken.
    pub fn choose(checkout: &Checkout, is_running: bool) -> Result<Self, StackError> {
        let (named, kept) = (Self::named()?, Self::kept(checkout)?);
        if let (Some(named), Some(kept)) = (named, kept)
            && named != kept
            && is_running
        {
            return Err(StackError::Config {
                key: BASE_VARIABLE.to_owned(),
                value: named.base.to_string(),
                expected: "the base that this checkout's stack runs on right now (or `down` first)",
            });
        }
        let chosen = named.or(kept).map_or_else(Self::first_free, Ok)?;
        let text = serde_json::json!({ "base": chosen.base }).to_string();
        write_whole(&checkout.state().join("ports.json"), text.as_bytes())?;
        Ok(chosen)
    }

    fn named() -> Result<Option<Self>, StackError> {
        let Some(value) = env::var(BASE_VARIABLE).ok().filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let highest = u16::MAX - offset::LAST;
        match value.parse() {
            Ok(base) if (1024..=highest).contains(&base) => Ok(Some(Self { base })),
            _ => Err(StackError::Config {
                key: BASE_VARIABLE.to_owned(),
                value,
                expected: "a port from 1024 to 65513; the 22 ports above it are used as well",
            }),
        }
    }

    fn first_free() -> Result<Self, StackError> {
        let bases = (0..BASE_TRIES).map(|n| Self {
            base: DEFAULT_BASE + n * BASE_STEP,
        });
        let mut free = bases.filter(|ports| (0..=offset::LAST).all(|offset| is_free(ports.at(offset))));
        let chosen = free.next().ok_or_else(|| {
            StackError::Unavailable(format!(
                "no free ports: something listens within each hundred from {DEFAULT_BASE} upwards; set {BASE_VARIABLE}"
            ))
        })?;
        if chosen.base != DEFAULT_BASE {
            eprintln!(
                "  ports from {DEFAULT_BASE} are taken by others, using those from {}",
                chosen.base
            );
        }
        Ok(chosen)
    }
}

/// `N` ports on 127.0.0.1 that nobody listens on right now, and that this process has not been given before: whoever
/// was given one may need a while until it listens.
///
/// # Errors
/// If 200 random picks were all taken.
pub fn free<const N: usize>() -> Result<[u16; N], StackError> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = Vec::with_capacity(N);
    for _ in 0..FREE_TRIES {
        let random = u32::from_str_radix(&random_hex()?[..8], 16).unwrap_or_default();
        let port = FREE_FROM + u16::try_from(random % FREE_COUNT).unwrap_or_default();
        if is_free(port) && given.insert(port) {
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

/// Whether nobody listens on this port of 127.0.0.1.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_once() {
        let mut given = BTreeSet::new();
        // As many as would hardly ever differ if each were drawn alone.
        for _ in 0..100 {
            given.extend(free::<6>().expect("there are thousands"));
        }
        assert_eq!(given.len(), 600);
    }
}
