use std::fmt;

/// Who a server says it is, as PEM texts.
#[derive(Clone)]
pub struct Identity {
    /// Its certificate.
    pub certificate: String,
    /// The key of the certificate, PKCS #8 and not encrypted.
    pub key: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// Signs the certificates of servers for tests.
#[cfg(feature = "tls")]
pub struct Authority(rcgen::CertifiedIssuer<'static, rcgen::KeyPair>);

#[cfg(feature = "tls")]
impl Authority {
    /// An authority that nobody trusts yet.
    ///
    /// # Panics
    /// If the system has no random numbers.
    pub fn new(name: &str) -> Self {
        use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyUsagePurpose};
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, key()).expect("the parameters are right"))
    }

    /// What a client has to trust, as PEM.
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// An identity for a server on 127.0.0.1, under this address and no other name.
    ///
    /// # Panics
    /// If the system has no random numbers.
    pub fn identity(&self) -> Identity {
        use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyUsagePurpose};
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("it is an address");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = key();
        let certificate = params.signed_by(&key, &self.0).expect("the parameters are right");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

#[cfg(feature = "tls")]
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

#[cfg(feature = "tls")]
fn key() -> rcgen::KeyPair {
    rcgen::KeyPair::generate().expect("the system has random numbers")
}
