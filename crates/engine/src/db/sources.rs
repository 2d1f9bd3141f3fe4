//! Sources.

use super::prelude::*;

impl Database {
    pub async fn insert_source(
        &self,
        source: &Source,
        sealed_secret: Option<&[u8]>,
        labels: &Labels,
        audit: &AuditEntry,
    ) -> Result<()> {
        let _ = (source, sealed_secret, labels, audit);
        unfinished()
    }

    /// By name; attached before detached.
    pub async fn sources(&self) -> Result<Vec<Source>> {
        unfinished()
    }

    pub async fn source(&self, id: SourceId) -> Result<Option<Source>> {
        let _ = (id,);
        unfinished()
    }

    /// The attached one.
    pub async fn source_named(&self, name: &str) -> Result<Option<Source>> {
        let _ = (name,);
        unfinished()
    }

    pub async fn source_secret(&self, id: SourceId) -> Result<Option<Vec<u8>>> {
        let _ = (id,);
        unfinished()
    }

    /// All or nothing.
    pub async fn change_sources(&self, changes: &[SourceChange], audit: &AuditEntry) -> Result<()> {
        let _ = (changes, audit);
        unfinished()
    }

    /// Detaches `old` and attaches `new` under the same name.
    pub async fn replace_source(
        &self,
        old: SourceId,
        new: &Source,
        sealed_secret: Option<&[u8]>,
        labels: &Labels,
        audit: &AuditEntry,
    ) -> Result<()> {
        let _ = (old, new, sealed_secret, labels, audit);
        unfinished()
    }
}
