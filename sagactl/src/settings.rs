use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use quadrille_process::config::Env;
use quadrille_process::kafka::KafkaSettings;
use serde_json::Value;

use crate::failure::{Code, Failure};

/// What a verb is told about the world: flags, then `SAGACTL_K`, then `QUADRILLE_K`, then the local stack of
/// the checkout that we are in.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pairs: BTreeMap<String, String>,
}

/// What comes before the names of our own variables.
const PREFIX: &str = "SAGACTL";

impl Settings {
    /// Reads the environment and looks for a local stack, whose databases are named with the prefix.
    pub(crate) fn find(prefix: Option<&str>) -> Self {
        // A variable that is not UTF-8 is none of ours.
        let own = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(_, value)| !value.trim().is_empty());
        let mut settings = Self { pairs: own.collect() };
        settings.flag("PREFIX", prefix);
        if let Some(stack) = std::env::current_dir().ok().and_then(|here| checkout(&here)) {
            for (key, value) in local_stack(&stack, settings.prefix()) {
                settings.pairs.entry(key).or_insert(value);
            }
        }
        settings
    }

    /// A flag wins over everything.
    pub(crate) fn flag(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.pairs.insert(format!("{PREFIX}_{key}"), value.to_owned());
        }
    }

    /// The value of a key, if there is one.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        [PREFIX, "QUADRILLE"]
            .iter()
            .find_map(|prefix| self.pairs.get(&format!("{prefix}_{key}")))
            .map(|value| value.trim())
    }

    /// The value of a key that a verb cannot do without.
    pub(crate) fn required(&self, key: &str, expected: &str) -> Result<&str, Failure> {
        self.get(key).ok_or_else(|| {
            Failure::usage(format!(
                "{PREFIX}_{key} is not set; expected {expected} (inside a checkout with a local stack it is found by itself)"
            ))
        })
    }

    /// Where the brokers are.
    pub(crate) fn kafka(&self) -> Result<KafkaSettings, Failure> {
        Env::from_pairs(PREFIX, self.pairs.clone())
            .build(KafkaSettings::from_env)
            .map_err(|invalid| Failure::caused(Code::Usage, &invalid))
    }

    /// What comes before the names of databases and topics.
    pub(crate) fn prefix(&self) -> &str {
        self.get("PREFIX").unwrap_or_default()
    }
}

/// The folder `.local` of the checkout around `here`.
fn checkout(here: &Path) -> Option<PathBuf> {
    here.ancestors()
        .map(|folder| folder.join(".local"))
        .find(|state| state.join("ports.json").is_file())
}

/// What `local-stack env` would print, as far as its files tell. Servers that were given to it are known to
/// `local-stack run` alone.
fn local_stack(state: &Path, prefix: &str) -> Vec<(String, String)> {
    let read = |name: &str| -> Value {
        std::fs::read_to_string(state.join(name))
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default()
    };
    let (ports, secrets) = (read("ports.json"), read("secrets.json"));
    let Some(base) = ports["base"].as_u64() else {
        return Vec::new();
    };
    defaults(base, &secrets, prefix)
}

/// (service, distance of its gRPC port from the base)
const GRPC: [(&str, u64); 4] = [("product", 10), ("order", 12), ("inventory", 14), ("payment", 16)];

fn defaults(base: u64, secrets: &Value, prefix: &str) -> Vec<(String, String)> {
    let at = |offset: u64| format!("127.0.0.1:{}", base + offset);
    let mut pairs = vec![
        ("QUADRILLE_KAFKA_BROKERS".to_owned(), at(1)),
        ("QUADRILLE_RELAY_ADMIN".to_owned(), format!("http://{}", at(22))),
        ("QUADRILLE_SANDBOX_URL".to_owned(), format!("http://{}", at(20))),
    ];
    if let Some(key) = secrets["provider_key"].as_str() {
        pairs.push(("QUADRILLE_SANDBOX_KEY".to_owned(), key.to_owned()));
    }
    for (service, offset) in GRPC {
        let own = service.to_ascii_uppercase();
        pairs.push((format!("QUADRILLE_{own}_GRPC"), format!("http://{}", at(offset))));
        if let Some(password) = secrets["roles"][format!("{service}_ops")].as_str() {
            let url = format!("postgres://{service}_ops:{password}@{}/{prefix}{service}", at(0));
            pairs.push((format!("QUADRILLE_{own}_OPS_URL"), url));
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_our_variable_and_that_over_the_shared_one() {
        let mut settings = Settings::default();
        let pairs = [
            ("QUADRILLE_A", "shared"),
            ("SAGACTL_A", "ours"),
            ("QUADRILLE_B", "shared"),
        ];
        settings
            .pairs
            .extend(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(settings.get("A"), Some("ours"));
        assert_eq!(settings.get("B"), Some("shared"));
        settings.flag("A", Some("flag"));
        settings.flag("B", None);
        assert_eq!(settings.get("A"), Some("flag"));
        assert_eq!(settings.get("B"), Some("shared"));
        let missing = settings.required("C", "a value").unwrap_err();
        assert!(
            missing
                .to_string()
                .starts_with("SAGACTL_C is not set; expected a value")
        );
    }

    #[test]
    fn a_local_stack_says_where_it_is() {
        let secrets = serde_json::json!({"roles": {"order_ops": "geheim"}, "provider_key": "key"});
        let pairs: BTreeMap<_, _> = defaults(17_500, &secrets, "").into_iter().collect();
        assert_eq!(pairs["QUADRILLE_ORDER_GRPC"], "http://127.0.0.1:17512");
        assert_eq!(
            pairs["QUADRILLE_ORDER_OPS_URL"],
            "postgres://order_ops:geheim@127.0.0.1:17500/order"
        );
        assert!(!pairs.contains_key("QUADRILLE_PAYMENT_OPS_URL"));
        let pairs: BTreeMap<_, _> = defaults(17_500, &secrets, "mine-").into_iter().collect();
        assert_eq!(
            pairs["QUADRILLE_ORDER_OPS_URL"],
            "postgres://order_ops:geheim@127.0.0.1:17500/mine-order"
        );
    }
}
