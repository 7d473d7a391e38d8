use std::collections::HashMap;
use std::fmt::{self, Display, Write as _};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::{Invalid, Problem, Secret};

/// The environment of one process, and what was wrong with it so far.
///
/// See the [module](super) for how a configuration is built from it.
pub struct Env {
    prefix: String,
    values: HashMap<String, String>,
    keys: Vec<Key>,
    problems: Vec<Problem>,
    /// While describing, nothing is looked up and nothing is wrong.
    describing: bool,
}

/// A key that was asked for: what `--help` shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The bare key, e.g. `GRPC_LISTEN`.
    pub name: String,
    /// What a value looks like, with its unit.
    pub expected: String,
    /// What is used if it is not set; `None` if it must be set.
    pub default: Option<String>,
    /// Whether it can be given as the content of a file, by `<KEY>_FILE`.
    pub secret: bool,
}

impl Env {
    /// The environment that this process was started with. `prefix` is the service's own, e.g. `ORDER`.
    pub fn from_process(prefix: &str) -> Env {
        // A variable that is not UTF-8 is none of ours.
        let text =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Env::from_pairs(prefix, text)
    }

    /// An environment made of pairs, for tests.
    pub fn from_pairs<K, V>(prefix: &str, pairs: impl IntoIterator<Item = (K, V)>) -> Env
    where
        K: Into<String>,
        V: Into<String>,
    {
        Env {
            prefix: prefix.to_owned(),
            values: pairs
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
            keys: Vec::new(),
            problems: Vec::new(),
            describing: false,
        }
    }

    /// A value that must be there. `None` means that a problem was noted.
    pub fn required<T: FromStr>(&mut self, key: &str, expected: &str) -> Option<T> {
        self.note(key, expected, None, false);
        if self.describing {
            return None;
        }
        let Some((name, text)) = self.look_up(key) else {
            self.missing(key, expected);
            return None;
        };
        self.parse(name, &text, expected)
    }

    /// A value that may be absent. A value that is there and wrong is a problem all the same.
    pub fn optional<T: FromStr>(&mut self, key: &str, expected: &str) -> Option<T> {
        self.note(key, expected, Some("none"), false);
        let (name, text) = self.look_up(key)?;
        self.parse(name, &text, expected)
    }

    /// As [`optional`](Self::optional), for a value of which a part may be a secret: what was found is never shown.
    pub fn optional_unshown<T: FromStr>(&mut self, key: &str, expected: &str) -> Option<T> {
        self.note(key, expected, Some("none"), false);
        let (name, text) = self.look_up(key)?;
        let value = text.parse().ok();
        if value.is_none() {
            self.wrong(name, "***", expected);
        }
        value
    }

    /// A value with a default.
    pub fn or<T: FromStr + Display>(&mut self, key: &str, default: T, expected: &str) -> T {
        self.note(key, expected, Some(&default.to_string()), false);
        let Some((name, text)) = self.look_up(key) else {
            return default;
        };
        self.parse(name, &text, expected).unwrap_or(default)
    }

    /// A number with a default, and the bounds within which it makes sense.
    pub fn bounded<T>(&mut self, key: &str, default: T, bounds: RangeInclusive<T>) -> T
    where
        T: FromStr + Display + PartialOrd + Copy,
    {
        let expected = format!("a number from {} to {}", bounds.start(), bounds.end());
        self.note(key, &expected, Some(&default.to_string()), false);
        let Some((name, text)) = self.look_up(key) else {
            return default;
        };
        match text.parse::<T>() {
            Ok(value) if bounds.contains(&value) => value,
            _ => {
                self.wrong(name, &text, &expected);
                default
            }
        }
    }

    /// A time span in milliseconds, more than zero; the key's name should end in `_MS`.
    pub fn duration_ms(&mut self, key: &str, default: Duration) -> Duration {
        // Keeps `Instant + Duration` from overflowing. A century is for ever.
        const CENTURY_MS: u64 = 100 * 366 * 24 * 3600 * 1000;
        let expected = "milliseconds, more than 0";
        self.note(key, expected, Some(&default.as_millis().to_string()), false);
        let Some((name, text)) = self.look_up(key) else {
            return default;
        };
        match text.parse() {
            Ok(value @ 1..=CENTURY_MS) => Duration::from_millis(value),
            _ => {
                self.wrong(name, &text, expected);
                default
            }
        }
    }

    /// A secret that must be there, either as `K` or as the content of the file that `K_FILE` names.
    pub fn secret(&mut self, key: &str, expected: &str) -> Option<Secret<String>> {
        self.note(key, expected, None, true);
        if self.describing {
            return None;
        }
        match self.look_up_secret(key) {
            Ok(Some((_, text))) => Some(Secret::new(text)),
            Ok(None) => {
                self.missing(key, expected);
                None
            }
            Err(()) => None,
        }
    }

    /// A secret that may be absent.
    pub fn optional_secret(&mut self, key: &str, expected: &str) -> Option<Secret<String>> {
        self.note(key, expected, Some("none"), true);
        let (_, text) = self.look_up_secret(key).ok()??;
        Some(Secret::new(text))
    }

    /// A secret of a form of its own, e.g. a key in base64. What was found is never shown.
    pub fn secret_as<T: FromStr>(&mut self, key: &str, expected: &str) -> Option<T> {
        self.note(key, expected, None, true);
        if self.describing {
            return None;
        }
        match self.look_up_secret(key) {
            Ok(Some((name, text))) => match text.parse() {
                Ok(value) => Some(value),
                Err(_) => {
                    self.wrong(name, "***", expected);
                    None
                }
            },
            Ok(None) => {
                self.missing(key, expected);
                None
            }
            Err(()) => None,
        }
    }

    /// Notes a problem that no single reader can see, e.g. two keys that contradict each other.
    pub fn problem(&mut self, key: &str, found: Option<&str>, expected: &str) {
        if !self.describing {
            let key = self.own(key);
            self.problems.push(Problem {
                key,
                found: found.map(str::to_owned),
                expected: expected.to_owned(),
            });
        }
    }

    /// Runs a constructor and returns what it made, or every problem that there was.
    ///
    /// # Errors
    /// When any reader noted a problem.
    pub fn build<C>(&mut self, read: impl FnOnce(&mut Env) -> Option<C>) -> Result<C, Invalid> {
        let made = read(self);
        self.finish()?;
        made.ok_or_else(|| Invalid {
            problems: vec![Problem {
                key: self.prefix.clone(),
                found: None,
                expected: "a configuration; it gave up without saying why, which is our mistake".to_owned(),
            }],
        })
    }

    /// Whether everything that was read so far was right.
    ///
    /// # Errors
    /// Every problem that was noted since the last call.
    pub fn finish(&mut self) -> Result<(), Invalid> {
        match std::mem::take(&mut self.problems) {
            problems if problems.is_empty() => Ok(()),
            problems => Err(Invalid { problems }),
        }
    }

    /// The keys that a constructor asks for, without looking any of them up.
    pub fn describe<C>(prefix: &str, read: impl FnOnce(&mut Env) -> Option<C>) -> Vec<Key> {
        let mut env = Env::from_pairs::<String, String>(prefix, []);
        env.describing = true;
        drop(read(&mut env));
        env.keys
    }

    /// The keys as a table for `--help`.
    pub fn help(prefix: &str, keys: &[Key]) -> String {
        let name = |key: &Key| {
            if key.secret {
                format!("{}[_FILE]", key.name)
            } else {
                key.name.clone()
            }
        };
        let width = keys.iter().map(|key| name(key).len()).max().unwrap_or(0);
        let mut text = String::new();
        for key in keys {
            let default = match &key.default {
                None => "required".to_owned(),
                Some(default) if default.is_empty() => "default: empty".to_owned(),
                Some(default) => format!("default: {default}"),
            };
            // Writing to a String cannot fail.
            writeln!(text, "  {:width$}  {} ({default})", name(key), key.expected).ok();
        }
        writeln!(
            text,
            "\nA key K is read from {prefix}_K, then from QUADRILLE_K; empty counts as absent."
        )
        .ok();
        text
    }

    /// Variables with our own prefix that no reader asked for: most likely typing mistakes.
    ///
    /// What Kubernetes injects for a service of our name (`ORDER_PORT_…`, `ORDER_SERVICE_HOST`) is not
    /// listed.
    pub fn unread(&self) -> Vec<String> {
        let start = format!("{}_", self.prefix);
        let mut unread: Vec<String> = self
            .values
            .keys()
            .filter_map(|name| name.strip_prefix(&start))
            .filter(|key| {
                let asked = self
                    .keys
                    .iter()
                    .any(|known| known.name == *key || format!("{}_FILE", known.name) == *key);
                let injected = *key == "PORT" || key.starts_with("PORT_") || key.starts_with("SERVICE_");
                !asked && !injected
            })
            .map(|key| self.own(key))
            .collect();
        unread.sort();
        unread
    }

    fn note(&mut self, key: &str, expected: &str, default: Option<&str>, secret: bool) {
        if !self.keys.iter().any(|known| known.name == key) {
            self.keys.push(Key {
                name: key.to_owned(),
                expected: expected.to_owned(),
                default: default.map(str::to_owned),
                secret,
            });
        }
    }

    fn own(&self, key: &str) -> String {
        format!("{}_{key}", self.prefix)
    }

    /// The full name under which the key was found, and its value.
    fn look_up(&self, key: &str) -> Option<(String, String)> {
        [self.own(key), format!("QUADRILLE_{key}")]
            .into_iter()
            .find_map(|name| {
                let value = self.values.get(&name).filter(|value| !value.trim().is_empty())?;
                Some((name, value.trim().to_owned()))
            })
    }

    fn look_up_secret(&mut self, key: &str) -> Result<Option<(String, String)>, ()> {
        if let Some(found) = self.look_up(key) {
            return Ok(Some(found));
        }
        let Some((name, path)) = self.look_up(&format!("{key}_FILE")) else {
            return Ok(None);
        };
        match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => Ok(Some((name, text.trim().to_owned()))),
            Ok(_) => {
                self.wrong(name, &path, "the path of a file that is not empty");
                Err(())
            }
            Err(error) => {
                self.wrong(
                    name,
                    &path,
                    &format!("the path of a file that can be read ({error})"),
                );
                Err(())
            }
        }
    }

    fn parse<T: FromStr>(&mut self, name: String, text: &str, expected: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(_) => {
                self.wrong(name, text, expected);
                None
            }
        }
    }

    fn missing(&mut self, key: &str, expected: &str) {
        let key = self.own(key);
        self.problems.push(Problem {
            key,
            found: None,
            expected: expected.to_owned(),
        });
    }

    fn wrong(&mut self, name: String, found: &str, expected: &str) {
        self.problems.push(Problem {
            key: name,
            found: Some(found.to_owned()),
            expected: expected.to_owned(),
        });
    }
}

/// The values may hold secrets, so only names are shown.
impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env")
            .field("prefix", &self.prefix)
            .field("keys", &self.keys)
            .field("problems", &self.problems)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[derive(Debug)]
    #[allow(dead_code, reason = "only built")]
    struct Config {
        listen: SocketAddr,
        url: Secret<String>,
        pool_max: u32,
        grace: Duration,
    }

    fn read(env: &mut Env) -> Option<Config> {
        let listen = env.required("GRPC_LISTEN", "address:port");
        let url = env.secret("DATABASE_URL", "postgres://user:password@host/database");
        let pool_max = env.bounded("DATABASE_POOL_MAX", 8, 1..=100);
        let grace = env.duration_ms("SHUTDOWN_GRACE_MS", Duration::from_secs(20));
        Some(Config {
            listen: listen?,
            url: url?,
            pool_max,
            grace,
        })
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let pairs = [
            ("ORDER_GRPC_LISTEN", "here"),
            ("QUADRILLE_DATABASE_POOL_MAX", "0"),
            ("ORDER_SHUTDOWN_GRACE_MS", "20s"),
        ];
        let invalid = Env::from_pairs("ORDER", pairs).build(read).unwrap_err();
        assert_eq!(
            invalid.to_string(),
            "ORDER_GRPC_LISTEN is `here`; expected address:port\n\
             ORDER_DATABASE_URL is not set; expected postgres://user:password@host/database\n\
             QUADRILLE_DATABASE_POOL_MAX is `0`; expected a number from 1 to 100\n\
             ORDER_SHUTDOWN_GRACE_MS is `20s`; expected milliseconds, more than 0"
        );
    }

    #[test]
    fn own_key_wins_over_the_shared_one_and_empty_is_absent() {
        let pairs = [
            ("ORDER_A", "1"),
            ("QUADRILLE_A", "2"),
            ("ORDER_B", " "),
            ("QUADRILLE_B", "3"),
        ];
        let mut env = Env::from_pairs("ORDER", pairs);
        assert_eq!(env.required::<u8>("A", "n"), Some(1));
        assert_eq!(env.required::<u8>("B", "n"), Some(3));
        assert_eq!(env.optional::<u8>("C", "n"), None);
        assert_eq!(env.or("C", 4_u8, "n"), 4);
        env.finish().unwrap();
    }

    #[test]
    fn a_secret_is_hidden_wherever_it_could_show() {
        #[derive(Debug)]
        struct Never;
        impl FromStr for Never {
            type Err = ();
            fn from_str(_: &str) -> Result<Never, ()> {
                Err(())
            }
        }
        let mut env = Env::from_pairs("ORDER", [("ORDER_KEY", "hunter2")]);
        let secret = env.secret("KEY", "text");
        assert!(env.secret_as::<Never>("KEY", "something else").is_none());
        let shown = format!("{env:?} {secret:?} {}", env.finish().unwrap_err());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("ORDER_KEY is `***`"), "{shown}");
    }

    #[test]
    fn a_secret_may_come_from_a_file() {
        let path = std::env::temp_dir().join(format!("quadrille-secret-{}", std::process::id()));
        std::fs::write(&path, "hunter2\n").unwrap();
        let pairs = [
            ("ORDER_KEY_FILE", path.to_str().unwrap()),
            ("ORDER_OTHER_FILE", "/does/not/exist"),
        ];
        let mut env = Env::from_pairs("ORDER", pairs);
        assert!(env.secret("KEY", "text").unwrap().matches("hunter2"));
        assert!(env.secret("OTHER", "text").is_none());
        let problems = env.finish().unwrap_err().problems;
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "ORDER_OTHER_FILE");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn help_is_made_from_the_readers() {
        let help = Env::help(
            "ORDER",
            &Env::describe("ORDER", |env| {
                // A constructor must read everything before it gives up.
                let config = read(env);
                env.optional_secret("KAFKA_SASL_PASSWORD", "text");
                config
            }),
        );
        assert_eq!(
            help,
            "  GRPC_LISTEN                 address:port (required)\n\
             \x20 DATABASE_URL[_FILE]         postgres://user:password@host/database (required)\n\
             \x20 DATABASE_POOL_MAX           a number from 1 to 100 (default: 8)\n\
             \x20 SHUTDOWN_GRACE_MS           milliseconds, more than 0 (default: 20000)\n\
             \x20 KAFKA_SASL_PASSWORD[_FILE]  text (default: none)\n\
             \n\
             A key K is read from ORDER_K, then from QUADRILLE_K; empty counts as absent.\n"
        );
    }

    #[test]
    fn a_mistyped_key_is_noticed() {
        let pairs = [
            ("ORDER_DATABSE_URL", "x"),
            ("ORDER_SERVICE_HOST", "10.0.0.1"),
            ("QUADRILLE_OTHER", "x"),
        ];
        let mut env = Env::from_pairs("ORDER", pairs);
        drop(env.build(read));
        assert_eq!(env.unread(), ["ORDER_DATABSE_URL"]);
    }
}
