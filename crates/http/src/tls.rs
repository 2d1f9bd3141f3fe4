//! TLS by rustls on aws-lc-rs.

use std::{path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::{StartError, TlsFiles};

/// Reads certificate chain and key.
///
/// # Errors
/// A file cannot be read, holds no PEM of its kind, or the key does not fit the certificate.
pub(crate) fn load(files: &TlsFiles) -> Result<ServerConfig, StartError> {
    let TlsFiles { certificate, key } = files;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| refused(certificate, &error))?;
    if chain.is_empty() {
        return Err(refused(certificate, &"it holds no certificate"));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| refused(key, &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(certificate, &error))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| refused(certificate, &error))
}

fn refused(path: &Path, error: &dyn std::fmt::Display) -> StartError {
    StartError::Tls { path: path.to_owned(), reason: error.to_string() }
}
