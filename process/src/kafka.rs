use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::config::{Env, Secret};

/// Where the brokers are and how to log in, in librdkafka's terms but without librdkafka.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// `host:port`, comma separated.
    pub brokers: String,
    /// Whether the connection is encrypted, and whether we log in.
    pub security: SecurityProtocol,
    /// How we log in; present exactly if the protocol says so.
    pub sasl: Option<Sasl>,
    /// Certificates to trust instead of the system's, as a PEM file.
    pub ca_file: Option<PathBuf>,
    /// Further librdkafka properties. Ours that keep a promise are set after them, see DESIGN §6.
    pub properties: Properties,
    /// Comes before the names of topics and groups, so that several installations share one cluster.
    pub prefix: String,
}

/// `security.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// No encryption, no login.
    Plaintext,
    /// TLS.
    Ssl,
    /// A login without encryption.
    SaslPlaintext,
    /// A login over TLS.
    SaslSsl,
}

/// A login at the broker.
#[derive(Debug, Clone)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// User.
    pub username: String,
    /// Its password.
    pub password: Secret<String>,
}

/// `k=v,k=v`. Values are not shown, since one of them may be a password.
#[derive(Clone, Default)]
pub struct Properties(pub Vec<(String, String)>);

impl KafkaSettings {
    /// Reads the keys `KAFKA_…` and `PREFIX`.
    pub fn from_env(env: &mut Env) -> Option<KafkaSettings> {
        let brokers = env.required("KAFKA_BROKERS", "host:port[,host:port…]");
        let security = env.or(
            "KAFKA_SECURITY_PROTOCOL",
            SecurityProtocol::Plaintext,
            "plaintext, ssl, sasl_plaintext or sasl_ssl",
        );
        let mechanism: Option<String> =
            env.optional("KAFKA_SASL_MECHANISM", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512");
        let username: Option<String> = env.optional("KAFKA_SASL_USERNAME", "a user of the brokers");
        let password = env.optional_secret("KAFKA_SASL_PASSWORD", "that user's password");
        let ca_file = env.optional(
            "KAFKA_CA_FILE",
            "path of a PEM file with the certificates to trust",
        );
        let properties = env
            .optional_unshown(
                "KAFKA_PROPERTIES",
                "further librdkafka properties as name=value[,name=value…]",
            )
            .unwrap_or_default();
        let prefix = env.or(
            "PREFIX",
            String::new(),
            "what comes before the names of topics, groups and databases",
        );

        let sasl = if security.logs_in() {
            if mechanism.is_none() {
                env.problem(
                    "KAFKA_SASL_MECHANISM",
                    None,
                    "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
                );
            }
            if username.is_none() {
                env.problem("KAFKA_SASL_USERNAME", None, "a user of the brokers");
            }
            if password.is_none() {
                env.problem("KAFKA_SASL_PASSWORD", None, "that user's password");
            }
            Some(Sasl {
                mechanism: mechanism?,
                username: username?,
                password: password?,
            })
        } else {
            None
        };
        Some(KafkaSettings {
            brokers: brokers?,
            security,
            sasl,
            ca_file,
            properties,
            prefix,
        })
    }

    /// Plain settings for brokers without encryption or login, for tests and local stacks.
    pub fn plaintext(brokers: &str, prefix: &str) -> KafkaSettings {
        KafkaSettings {
            brokers: brokers.to_owned(),
            security: SecurityProtocol::Plaintext,
            sasl: None,
            ca_file: None,
            properties: Properties::default(),
            prefix: prefix.to_owned(),
        }
    }

    /// What every client of the brokers is configured with, the user's own properties first.
    ///
    /// Holds the password: not for logs.
    pub fn client_properties(&self) -> Vec<(String, String)> {
        let mut properties = self.properties.0.clone();
        let mut set = |name: &str, value: &str| properties.push((name.to_owned(), value.to_owned()));
        set("bootstrap.servers", &self.brokers);
        set("security.protocol", &self.security.to_string());
        if let Some(sasl) = &self.sasl {
            set("sasl.mechanism", &sasl.mechanism);
            set("sasl.username", &sasl.username);
            set("sasl.password", sasl.password.expose());
        }
        if let Some(ca_file) = &self.ca_file {
            set("ssl.ca.location", &ca_file.to_string_lossy());
        }
        properties
    }

    /// The name of a topic or group as the cluster knows it.
    pub fn prefixed(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl SecurityProtocol {
    fn logs_in(self) -> bool {
        matches!(self, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl)
    }
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SecurityProtocol::Plaintext => "plaintext",
            SecurityProtocol::Ssl => "ssl",
            SecurityProtocol::SaslPlaintext => "sasl_plaintext",
            SecurityProtocol::SaslSsl => "sasl_ssl",
        })
    }
}

/// Not one of the four protocols.
#[derive(Debug, thiserror::Error)]
#[error("no such security protocol")]
pub struct UnknownProtocol;

impl FromStr for SecurityProtocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<SecurityProtocol, UnknownProtocol> {
        match text.to_ascii_lowercase().as_str() {
            "plaintext" => Ok(SecurityProtocol::Plaintext),
            "ssl" => Ok(SecurityProtocol::Ssl),
            "sasl_plaintext" => Ok(SecurityProtocol::SaslPlaintext),
            "sasl_ssl" => Ok(SecurityProtocol::SaslSsl),
            _ => Err(UnknownProtocol),
        }
    }
}

/// An item of the list has no `=`.
#[derive(Debug, thiserror::Error)]
#[error("not of the form name=value[,name=value…]")]
pub struct MalformedProperties;

impl FromStr for Properties {
    type Err = MalformedProperties;

    fn from_str(text: &str) -> Result<Properties, MalformedProperties> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let pairs = items.map(|item| match item.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                Ok((name.trim().to_owned(), value.trim().to_owned()))
            }
            _ => Err(MalformedProperties),
        });
        pairs.collect::<Result<_, _>>().map(Properties)
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_over_tls() {
        let pairs = [
            ("QUADRILLE_KAFKA_BROKERS", "a:9092,b:9092"),
            ("QUADRILLE_KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
            ("QUADRILLE_KAFKA_SASL_MECHANISM", "SCRAM-SHA-512"),
            ("QUADRILLE_KAFKA_SASL_USERNAME", "order"),
            ("QUADRILLE_KAFKA_SASL_PASSWORD", "hunter2"),
            ("ORDER_KAFKA_CA_FILE", "/etc/ca.pem"),
            ("ORDER_KAFKA_PROPERTIES", "linger.ms=0, ssl.key.password=hunter2"),
            ("QUADRILLE_PREFIX", "test."),
        ];
        let settings = Env::from_pairs("ORDER", pairs)
            .build(KafkaSettings::from_env)
            .unwrap();
        let shown: Vec<String> = settings
            .client_properties()
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            shown,
            [
                "linger.ms=0",
                "ssl.key.password=hunter2",
                "bootstrap.servers=a:9092,b:9092",
                "security.protocol=sasl_ssl",
                "sasl.mechanism=SCRAM-SHA-512",
                "sasl.username=order",
                "sasl.password=hunter2",
                "ssl.ca.location=/etc/ca.pem",
            ]
        );
        assert_eq!(settings.prefixed("order-events"), "test.order-events");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn a_login_without_its_parts_names_each_of_them() {
        let pairs = [
            ("ORDER_KAFKA_SECURITY_PROTOCOL", "sasl_ssl"),
            ("ORDER_KAFKA_PROPERTIES", "linger.ms"),
        ];
        let invalid = Env::from_pairs("ORDER", pairs)
            .build(KafkaSettings::from_env)
            .unwrap_err();
        let keys: Vec<&str> = invalid
            .problems
            .iter()
            .map(|problem| problem.key.as_str())
            .collect();
        assert_eq!(
            keys,
            [
                "ORDER_KAFKA_BROKERS",
                "ORDER_KAFKA_PROPERTIES",
                "ORDER_KAFKA_SASL_MECHANISM",
                "ORDER_KAFKA_SASL_USERNAME",
                "ORDER_KAFKA_SASL_PASSWORD",
            ]
        );
    }

    #[test]
    fn a_password_among_properties_that_cannot_be_read_is_not_shown() {
        let pairs = [
            ("ORDER_KAFKA_BROKERS", "a:9092"),
            ("ORDER_KAFKA_PROPERTIES", "ssl.key.password=hunter2,linger.ms"),
        ];
        let invalid = Env::from_pairs("ORDER", pairs)
            .build(KafkaSettings::from_env)
            .unwrap_err();
        assert_eq!(invalid.problems[0].found.as_deref(), Some("***"));
        assert!(!format!("{invalid} {invalid:?}").contains("hunter2"));
    }
}
