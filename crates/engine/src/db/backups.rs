//! Backups and parts, read; and what is changed outside of a job.

use super::prelude::*;

impl Database {
    /// Newest first, with parts.
    pub async fn backups(&self, filter: &BackupFilter) -> Result<Vec<Backup>> {
        let _ = (filter,);
        unfinished()
    }

    pub async fn backup(&self, id: BackupId) -> Result<Option<Backup>> {
        let _ = (id,);
        unfinished()
    }

    pub async fn backup_of_part(&self, part: PartId) -> Result<Option<Backup>> {
        let _ = (part,);
        unfinished()
    }

    /// `false` when there is no such backup.
    pub async fn set_keep_until(
        &self,
        id: BackupId,
        keep_until: Option<DateTime<Utc>>,
        audit: &AuditEntry,
    ) -> Result<bool> {
        let _ = (id, keep_until, audit);
        unfinished()
    }

    /// The newest succeeded part of a source in a vault: what an incremental backup builds on.
    pub async fn previous_part(&self, source: SourceId, vault: VaultId) -> Result<Option<Part>> {
        let _ = (source, vault);
        unfinished()
    }

    /// Succeeded parts of a vault, for the reconciler that compares them with the snapshots there.
    pub async fn parts_in_vault(&self, vault: VaultId) -> Result<Vec<Part>> {
        let _ = (vault,);
        unfinished()
    }

    /// Its snapshot has vanished from the store: part and backup become `Lost`. `false` when it was not `Succeeded`.
    pub async fn mark_part_lost(&self, part: PartId, sentence: &str, now: DateTime<Utc>) -> Result<bool> {
        let _ = (part, sentence, now);
        unfinished()
    }
}
