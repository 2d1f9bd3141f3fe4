//! Backups.

use super::{Engine, delete_backup, start_backup, start_backup::Start};
use crate::{db::AuditEntry, domain::*};

impl Engine {
    /// Newest first, with their parts. A caller that is limited to a source sees its backups only.
    pub async fn backups(&self, caller: &Caller, mut filter: BackupFilter) -> Result<Vec<Backup>> {
        caller.require(Role::Reader)?;
        match (caller.principal.scope, filter.source) {
            (Scope::Everything, _) => {}
            (Scope::Source(only), None) => filter.source = Some(only),
            (Scope::Source(_) | Scope::Download(_), Some(source)) => caller.require_source(source)?,
            (Scope::Download(_), None) => caller.require_everything()?,
        }
        let backups = self.inner().db.backups(&filter).await?;
        backups.into_iter().map(|backup| seen(caller, Some(backup))).collect()
    }

    pub async fn backup(&self, caller: &Caller, id: BackupId) -> Result<Backup> {
        caller.require(Role::Reader)?;
        seen(caller, self.inner().db.backup(id).await?)
    }

    /// The backup that a part belongs to.
    pub async fn backup_of_part(&self, caller: &Caller, part: PartId) -> Result<Backup> {
        caller.require(Role::Reader)?;
        let backup = self.inner().db.backup_of_part(part).await?;
        seen(caller, backup)
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
        caller.require(Role::Operator)?;
        self.backup(caller, id).await?;
        let at = ObjectRef::new(ObjectKind::Backup, id.0);
        let audit = AuditEntry::of(caller, self.now(), "backup.keep_until", Some(at));
        let is_there = self.inner().db.set_keep_until(id, keep_until, &audit).await?;
        if is_there { Ok(()) } else { Err(missing()) }
    }
}

/// A backup with those of its parts that the caller's scope covers.
fn seen(caller: &Caller, backup: Option<Backup>) -> Result<Backup> {
    let mut backup = backup.ok_or_else(missing)?;
    match caller.principal.scope {
        Scope::Everything => return Ok(backup),
        Scope::Source(only) => backup.parts.retain(|part| part.source == only),
        Scope::Download(only) => backup.parts.retain(|part| part.id == only),
    }
    if backup.parts.is_empty() { Err(missing()) } else { Ok(backup) }
}

fn missing() -> Error {
    Error::not_found(Noun::Backup, "There is no such backup.")
}
