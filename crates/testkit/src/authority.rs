//! Certificate authorities of a test's own.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A certificate and its key, PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub certificate: String,
    pub key: String,
}

/// Makes certificates.
#[derive(Debug)]
pub struct Authority {
    /// Its own certificate, PEM.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// # Panics
    /// When no key can be made.
    pub fn new() -> Self {
        let mut own = params(&[], "authority");
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = good(KeyPair::generate());
        let pem = good(own.self_signed(&key)).pem();
        Self { pem, issuer: Issuer::new(own, key) }
    }

    /// A server's certificate, for names or addresses.
    ///
    /// # Panics
    /// When no key can be made.
    pub fn server(&self, names: &[&str]) -> Certificate {
        self.sign(&params(names, names.first().copied().unwrap_or_default()))
    }

    /// A client's certificate, for a user.
    ///
    /// # Panics
    /// When no key can be made.
    pub fn client(&self, user: &str) -> Certificate {
        self.sign(&params(&[], user))
    }

    fn sign(&self, params: &CertificateParams) -> Certificate {
        let key = good(KeyPair::generate());
        let certificate = good(params.signed_by(&key, &self.issuer)).pem();
        Certificate { certificate, key: key.serialize_pem() }
    }
}

fn params(names: &[&str], common_name: &str) -> CertificateParams {
    let mut params = good(CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()));
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn good<T>(made: Result<T, rcgen::Error>) -> T {
    made.unwrap_or_else(|error| panic!("a certificate cannot be made: {error}"))
}
