//! Backups.

use super::{Engine, delete_backup, start_backup, start_backup::Start, unfinished};
use crate::domain::*;

impl Engine {
    /// Newest first, with their parts.
    pub async fn backups(&self, caller: &Caller, filter: BackupFilter) -> Result<Vec<Backup>> {
        let _ = (caller, filter);
        unfinished()
    }

    pub async fn backup(&self, caller: &Caller, id: BackupId) -> Result<Backup> {
        let _ = (caller, id);
        unfinished()
    }

    /// The backup that a part belongs to.
    pub async fn backup_of_part(&self, caller: &Caller, part: PartId) -> Result<Backup> {
        let _ = (caller, part);
        unfinished()
    }

    /// Enqueues a backup; it, its parts, its job and all their names exist durably when this returns.
    ///
    /// # Errors
    /// `NotFound(Repository)`, `NotReady(Repository)` (archived, imported), `SourceDetached`, `InvalidInput` (passcode too
    /// short, nothing to back up), `AlreadyExists(Backup)` (an alias is taken).
    pub async fn start_backup(&self, caller: &Caller, request: StartBackup) -> Result<StartedBackup> {
        let missing = || Error::internal("A backup that belongs to no occurrence was taken for one.");
        start_backup::start(self.inner(), caller, request, Start::default()).await?.ok_or_else(missing)
    }

    /// Whether this is the passcode the backup was made with. Costs a key derivation; limited in parallelism and rate.
    pub async fn check_passcode(&self, caller: &Caller, backup: BackupId, passcode: &SecretText) -> Result<bool> {
        delete_backup::check_passcode(self.inner(), caller, backup, passcode).await
    }

    /// Enqueues the deletion of a backup, with all its parts.
    ///
    /// # Errors
    /// `InUse(Backup)` while it is being written or restored.
    pub async fn delete_backup(&self, caller: &Caller, id: BackupId, job_attributes: Vec<Attribute>) -> Result<Job> {
        delete_backup::delete(self.inner(), caller, id, job_attributes).await
    }

    pub async fn set_keep_until(
        &self,
        caller: &Caller,
        id: BackupId,
        keep_until: Option<chrono::DateTime<chrono::Utc>>,
    ) -> Result<()> {
        let _ = (caller, id, keep_until);
        unfinished()
    }
}
