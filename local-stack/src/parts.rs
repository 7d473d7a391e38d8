use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::checkout::Checkout;
use crate::jaeger::Jaeger;
use crate::ports::{Ports, offset};
use crate::redis::Redis;
use crate::secrets::write_private;
use crate::{StackError, artifacts, compose, probe};

/// A server that the services stand on, or look out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The databases.
    Postgres,
    /// The broker.
    Kafka,
    /// A cache; nothing needs it yet that would not do without.
    Redis,
    /// Traces.
    Jaeger,
    /// A page that shows topics.
    Kafdrop,
}

/// How a part came to be here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Its address was in the environment: it is somebody else's, never started or stopped by us.
    Given,
    /// A container.
    Compose,
    /// A process of this machine.
    Native,
    /// It is not here.
    Absent,
}

/// One part of one stack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Placed {
    /// How it came to be here.
    pub way: Way,
    /// Its address if it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given: Option<String>,
}

/// All parts of a stack and how each came to be here; kept in `.local/stack.json` until `reset`, so that data made one way
/// is not looked for in another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Placement {
    /// The parts.
    pub parts: BTreeMap<Part, Placed>,
    /// Whether the services' release builds run.
    pub release: bool,
}

/// What whoever starts the stack may ask for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// Services with optimisation.
    pub release: bool,
    /// No containers, even if an engine answers.
    pub native: bool,
}

impl Part {
    /// All of them, in the order in which they start.
    pub const ALL: [Self; 5] = [
        Self::Postgres,
        Self::Kafka,
        Self::Redis,
        Self::Jaeger,
        Self::Kafdrop,
    ];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Kafka => "kafka",
            Self::Redis => "redis",
            Self::Jaeger => "jaeger",
            Self::Kafdrop => "kafdrop",
        }
    }

    /// The part of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }

    /// The environment variable that gives its address.
    pub fn variable(self) -> Option<&'static str> {
        match self {
            Self::Postgres => Some("QUADRILLE_POSTGRES_URL"),
            Self::Kafka => Some("QUADRILLE_KAFKA_BROKERS"),
            Self::Redis => Some("QUADRILLE_REDIS_URL"),
            Self::Jaeger => Some("QUADRILLE_OTLP_ENDPOINT"),
            Self::Kafdrop => None,
        }
    }

    /// The port for those who use it, where it is ours.
    pub fn offset(self) -> u16 {
        match self {
            Self::Postgres => offset::POSTGRES,
            Self::Kafka => offset::KAFKA,
            Self::Redis => offset::REDIS,
            Self::Jaeger => offset::JAEGER,
            Self::Kafdrop => offset::KAFDROP,
        }
    }

    /// Asks the server at `host:port` a question of its protocol.
    ///
    /// # Errors
    /// Why it is not ready.
    pub fn probe(self, address: &str) -> Result<(), String> {
        match self {
            Self::Postgres => probe::postgres(address),
            Self::Kafka => probe::kafka(address),
            Self::Redis => probe::redis(address),
            Self::Jaeger => probe::jaeger(address),
            Self::Kafdrop => probe::http(address, "/"),
        }
    }

    fn has_a_native_way(self, checkout: &Checkout) -> bool {
        match self {
            Self::Postgres | Self::Kafka => true,
            Self::Redis => Redis::is_installed(),
            Self::Jaeger => Jaeger::is_installed(checkout),
            Self::Kafdrop => false,
        }
    }

    /// What to tell who misses it.
    pub fn how_to_get(self, ports: Ports) -> String {
        let address = ports.address(self.offset());
        match self {
            Self::Postgres | Self::Kafka => "`up` starts it".to_owned(),
            Self::Redis => {
                "not here (nothing needs it yet); get it with: sudo apt-get install redis-tools".to_owned()
            }
            Self::Jaeger => format!(
                "not here natively: put the program `jaeger` (2.x) on PATH or into .local/bin, or set \
                 QUADRILLE_OTLP_ENDPOINT; with Docker it comes up at http://{address}"
            ),
            Self::Kafdrop => format!(
                "not here natively; with Docker it comes up at http://{address}; `sagactl topics tail` shows the same"
            ),
        }
    }
}

impl Placed {
    fn new(way: Way) -> Self {
        Self { way, given: None }
    }
}

impl Placement {
    /// That of the last start.
    ///
    /// # Errors
    /// If the file cannot be understood.
    pub fn kept(checkout: &Checkout) -> Result<Option<Self>, StackError> {
        let path = path(checkout);
        let Ok(text) = fs::read_to_string(&path) else {
            return Ok(None);
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|_| StackError::Config {
                key: path.display().to_string(),
                value: text,
                expected: "what local-stack wrote there; `local-stack reset` begins anew",
            })
    }

    /// Part by part: an address in the environment, else what the last start took, else Docker Compose if an engine
    /// answers, else a process of this machine. Says which, and keeps the choice.
    ///
    /// # Errors
    /// If containers hold the data, and no engine answers.
    pub fn choose(checkout: &Checkout, ports: Ports, wishes: Wishes) -> Result<Self, StackError> {
        let kept = Self::kept(checkout)?
            .map(|placement| placement.parts)
            .unwrap_or_default();
        let is_first = kept.is_empty();
        let engine = !wishes.native && compose::engine_answers();
        let mut parts = BTreeMap::new();
        for part in Part::ALL {
            let before = kept.get(&part).filter(|placed| placed.way != Way::Absent);
            let placed = match (part.given(ports), before) {
                (Some(address), _) => Placed {
                    way: Way::Given,
                    given: Some(address),
                },
                (None, Some(before)) if before.way == Way::Compose && !engine => {
                    return Err(StackError::Unavailable(format!(
                        "{} was started with Docker Compose before, and no engine answers now; start Docker, or \
                         `local-stack reset` to begin anew without it",
                        part.name()
                    )));
                }
                (None, Some(before)) => before.clone(),
                (None, None) if engine => Placed::new(Way::Compose),
                (None, None) => Placed::new(part.native_or_absent(checkout)),
            };
            parts.insert(part, placed);
        }
        if is_first && !engine && !wishes.native {
            eprintln!("  no Docker engine answers, so the servers run natively");
        }
        let placement = Self {
            parts,
            release: wishes.release,
        };
        let text = serde_json::to_string_pretty(&placement).expect("names and strings have a JSON form");
        // An address that was given may hold a password.
        write_private(&path(checkout), &text)?;
        Ok(placement)
    }

    /// How this part came to be here.
    pub fn way(&self, part: Part) -> Way {
        self.parts.get(&part).map_or(Way::Absent, |placed| placed.way)
    }

    /// The address of a part that was given.
    pub fn given(&self, part: Part) -> Option<&str> {
        self.parts.get(&part)?.given.as_deref()
    }

    /// The parts that came this way.
    pub fn all(&self, way: Way) -> impl Iterator<Item = Part> {
        self.parts
            .iter()
            .filter(move |(_, placed)| placed.way == way)
            .map(|(&part, _)| part)
    }
}

impl Part {
    /// The address in the environment, unless it is our own one that `local-stack env` put there.
    fn given(self, ports: Ports) -> Option<String> {
        let address = env::var(self.variable()?)
            .ok()
            .filter(|value| !value.is_empty())?;
        let ours = [ports.address(self.offset()), ports.address(offset::OTLP)];
        (!ours.iter().any(|own| address.contains(own.as_str()))).then_some(address)
    }

    fn native_or_absent(self, checkout: &Checkout) -> Way {
        // Nothing needs Redis so much that its absence should keep the rest from starting.
        let installed = self.has_a_native_way(checkout)
            || self == Self::Redis
                && artifacts::require(checkout, &["redis"]).is_ok()
                && self.has_a_native_way(checkout);
        if installed { Way::Native } else { Way::Absent }
    }
}

fn path(checkout: &Checkout) -> PathBuf {
    checkout.state().join("stack.json")
}
