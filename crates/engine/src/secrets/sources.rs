//! Passwords of sources: sealed for one source each, so that what stands in one row opens for no other.

use trivault_sources::{Secret, SourceConfig};

use super::ServerKey;
use crate::{
    domain::{Result, SourceId},
    service::Inner,
};

impl ServerKey {
    /// As the catalogue keeps it.
    pub(crate) fn seal_source_secret(&self, source: SourceId, secret: &Secret) -> Result<Vec<u8>> {
        self.seal(&purpose(source), secret.expose().as_bytes())
    }

    /// # Errors
    /// `Damaged` when it was sealed under another server key, or for another source.
    pub(crate) fn open_source_secret(&self, source: SourceId, sealed: &[u8]) -> Result<Secret> {
        Ok(Secret::new(self.open_text(&purpose(source), sealed)?.expose()))
    }
}

impl Inner {
    /// What [`trivault_sources::SourceConfig::secret`] holds, sealed for the catalogue.
    pub(crate) fn sealed_secret(&self, source: SourceId, config: &SourceConfig) -> Result<Option<Vec<u8>>> {
        config.secret.as_ref().map(|secret| self.key.seal_source_secret(source, secret)).transpose()
    }

    /// The configuration as a driver needs it: with the password that the catalogue keeps for this source.
    pub(crate) async fn with_secret(&self, source: SourceId, config: SourceConfig) -> Result<SourceConfig> {
        let sealed = self.db.source_secret(source).await?;
        let secret = sealed.map(|sealed| self.key.open_source_secret(source, &sealed)).transpose()?;
        Ok(SourceConfig { secret, ..config })
    }
}

fn purpose(source: SourceId) -> String {
    format!("source-secret:{source}")
}
