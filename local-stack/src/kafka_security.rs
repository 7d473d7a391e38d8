use std::path::Path;

use crate::StackError;
use crate::secrets::write_private;
use crate::tls::Identity;

/// Listeners of a broker that encrypt, beside the one that does not.
#[derive(Clone, Debug)]
pub struct KafkaSecurity {
    /// Port for clients that encrypt and do not log in.
    pub ssl_port: u16,
    /// Port for clients that encrypt and log in.
    pub sasl_ssl_port: u16,
    /// What the broker shows to both.
    pub identity: Identity,
    /// Who may log in, by PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
    pub users: Vec<KafkaUser>,
}

/// A user of a broker.
#[derive(Clone)]
pub struct KafkaUser {
    /// The name.
    pub name: String,
    /// The password, of letters and digits.
    pub password: String,
}

impl std::fmt::Debug for KafkaUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("KafkaUser").field(&self.name).finish()
    }
}

impl KafkaSecurity {
    /// The listeners as the broker's properties name them.
    pub(crate) fn listeners(&self) -> [String; 2] {
        [
            format!("SSL://127.0.0.1:{}", self.ssl_port),
            format!("SASL_SSL://127.0.0.1:{}", self.sasl_ssl_port),
        ]
    }

    /// The rest of the broker's properties; `folder` is where its identity is kept.
    pub(crate) fn properties(&self, folder: &Path) -> Result<String, StackError> {
        let store = folder.join("identity.pem");
        write_private(
            &store,
            &format!("{}{}", self.identity.key, self.identity.certificate),
        )?;
        let users: String = self
            .users
            .iter()
            .map(|user| format!(" user_{}=\"{}\"", user.name, user.password))
            .collect();
        Ok(format!(
            "ssl.keystore.type=PEM\n\
             ssl.keystore.location={}\n\
             sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
             listener.name.sasl_ssl.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required{users};\n\
             listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             # Rules are the exception: who logs in may do anything until one is made.\n\
             allow.everyone.if.no.acl.found=true\n\
             # Everybody who does not log in, the broker and its controller among them, whom no rule may stop.\n\
             super.users=User:ANONYMOUS\n",
            store.display()
        ))
    }

    /// Arguments that make the formatter of a new folder know the users.
    pub(crate) fn format_arguments(&self) -> impl Iterator<Item = String> {
        self.users.iter().flat_map(|KafkaUser { name, password }| {
            ["SCRAM-SHA-256", "SCRAM-SHA-512"]
                .into_iter()
                .flat_map(move |mechanism| {
                    [
                        "--add-scram".to_owned(),
                        format!("{mechanism}=[name={name},password={password}]"),
                    ]
                })
        })
    }
}
