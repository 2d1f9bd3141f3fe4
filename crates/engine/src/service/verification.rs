//! Verification: started, and what it has found.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    Engine, Inner,
    delete_backup::is_passcode_of,
    enqueue::{About, label_job, new_job, priority},
    overdue_care::overdue_since,
};
use crate::{
    db::{AuditEntry, Enqueue, Enqueued, JobScope, NewJob, Occurrence, Resource, VerificationRow},
    domain::*,
    kinds::verify::{self, Params},
};

impl Engine {
    /// Enqueues a check.
    ///
    /// # Errors
    /// `InUse(Vault)` while another check of that vault is queued or running; `NotReady(Backup)` where there is nothing to read back;
    /// `PasscodeRequired`, `WrongPasscode`; `InvalidInput` for a share that there is not.
    pub async fn start_verify(&self, caller: &Caller, request: StartVerify) -> Result<Job> {
        start(self.inner(), caller, request).await
    }

    /// Damage that is known of these backups, by part. One query, for lists.
    pub async fn damage_of(&self, backups: &[BackupId]) -> Result<HashMap<PartId, PartDamage>> {
        let found = self.inner().db.damage_of(backups).await?;
        Ok(found.into_iter().map(|damage| (damage.part, damage)).collect())
    }

    /// The backups of each repository of which a part is known to be damaged. One query.
    pub async fn damaged_backups(&self, caller: &Caller) -> Result<HashMap<RepositoryId, Vec<BackupId>>> {
        caller.require(Role::Reader)?;
        let mut found: HashMap<RepositoryId, Vec<BackupId>> = HashMap::new();
        for (repository, backup) in self.inner().db.damaged_backups().await? {
            found.entry(repository).or_default().push(backup);
        }
        if !found.is_empty() && caller.require_everything().is_err() {
            let seen = self.repositories(caller, RepositoryFilter::default()).await?;
            found.retain(|id, _| seen.iter().any(|repository| repository.id == *id));
        }
        Ok(found)
    }

    /// When each level last ran on each vault and repository that holds backups; those that never ran, too.
    pub async fn verify_status(&self, caller: &Caller) -> Result<Vec<VerifyStatus>> {
        caller.require(Role::Reader)?;
        caller.require_everything()?;
        status(self.inner()).await
    }
}

/// How often a level runs by itself.
pub(crate) fn rhythm(inner: &Inner, level: VerifyLevel) -> Option<Duration> {
    let options = &inner.options.care;
    match level {
        VerifyLevel::Structure => options.structure_every.or(options.data_every),
        VerifyLevel::Data => options.data_every,
        VerifyLevel::Restore => options.restore_every,
    }
}

pub(crate) async fn start(inner: &Arc<Inner>, caller: &Caller, request: StartVerify) -> Result<Job> {
    let missing = || Error::internal("A verification that belongs to no occurrence was taken for one.");
    start_of(inner, caller, request, None, None).await?.ok_or_else(missing)
}

/// The same for a plan's task. `None`: another node has started this occurrence already.
pub(crate) async fn start_of(
    inner: &Arc<Inner>,
    caller: &Caller,
    request: StartVerify,
    task: Option<String>,
    occurrence: Option<Occurrence>,
) -> Result<Option<Job>> {
    caller.require(Role::Operator)?;
    let (about, params, work) = prepared(inner, caller, request).await?;
    enqueue(inner, caller, new_job(inner, caller, JobKind::Verify, about, task), &params, work, occurrence).await
}

/// What is checked, looked up and allowed.
async fn prepared(inner: &Arc<Inner>, caller: &Caller, request: StartVerify) -> Result<(About, Params, Work)> {
    match request {
        StartVerify::Vault { vault, read } => {
            caller.require_everything()?;
            check_share(read)?;
            let row = inner.db.vault_row(vault).await?;
            let row = row.ok_or_else(|| Error::not_found(Noun::Vault, "There is no such vault."))?;
            let about = About { repository: None, store: Some(row.vault.store), backup: None };
            let alone = JobScope { resource: Resource::Care, id: vault.0, exclusive: true };
            let work = Work { scopes: verify::scopes_of_vault(vault), alone: Some(alone), passcode: None };
            Ok((about, Params::Vault { vault, read }, work))
        }
        StartVerify::VaultOf { repository, read } => {
            caller.require_everything()?;
            check_share(read)?;
            let repository = found_repository(inner, repository).await?;
            let row = inner.db.server_vault(repository.store).await?;
            let row = row.ok_or_else(|| Error::not_found(Noun::Vault, "The repository's store has no vault yet."))?;
            if !inner.db.oldest_backups().await?.contains_key(&row.vault.id.0) {
                let sentence = "There is no backup yet in the vault of the repository.";
                return Err(Error::new(ErrorCode::NotReady(Noun::Backup), sentence));
            }
            let about = About { repository: Some(repository.id), store: Some(repository.store), backup: None };
            let work = Work { scopes: verify::scopes_of_vault(row.vault.id), alone: None, passcode: None };
            Ok((about, Params::Vault { vault: row.vault.id, read }, work))
        }
        StartVerify::Repository(id) => {
            let repository = found_repository(inner, id).await?;
            match repository.sources {
                SourceSelection::All => caller.require_everything()?,
                SourceSelection::One(source) => caller.require_source(source)?,
            }
            let parts = newest_good(inner, id).await?;
            if parts.is_empty() {
                let sentence = format!("The repository {} holds no good backup that has no passcode.", repository.name);
                return Err(Error::new(ErrorCode::NotReady(Noun::Backup), sentence));
            }
            let about = About { repository: Some(id), store: Some(repository.store), backup: None };
            let work = Work { scopes: verify::scopes_of_parts(&parts), alone: None, passcode: None };
            let params = Params::Parts { of: Some(id), parts: parts.iter().map(|part| part.id).collect() };
            Ok((about, params, work))
        }
        StartVerify::Backup { backup, passcode } => {
            let found = inner.db.backup(backup).await?;
            let found = found.ok_or_else(|| Error::not_found(Noun::Backup, "There is no such backup."))?;
            for part in &found.parts {
                caller.require_source(part.source)?;
            }
            let is_whole = |part: &&Part| part.state == BackupState::Succeeded;
            let parts: Vec<Part> = found.parts.iter().filter(is_whole).cloned().collect();
            let Some(first) = parts.first() else {
                let sentence = "The backup holds no finished copy of a source.";
                return Err(Error::new(ErrorCode::NotReady(Noun::Backup), sentence));
            };
            let passcode = if found.protected { Some(proven(inner, caller, first, passcode).await?) } else { None };
            let about = About { repository: Some(found.repository), store: Some(found.store), backup: Some(backup) };
            let work = Work { scopes: verify::scopes_of_parts(&parts), alone: None, passcode };
            let params = Params::Parts { of: None, parts: parts.iter().map(|part| part.id).collect() };
            Ok((about, params, work))
        }
    }
}

async fn found_repository(inner: &Inner, id: RepositoryId) -> Result<Repository> {
    let missing = || Error::not_found(Noun::Repository, "There is no such repository.");
    inner.db.repository(id).await?.ok_or_else(missing)
}

fn check_share(read: ReadShare) -> Result<()> {
    match read {
        ReadShare::Share { part, of } if of == 0 || of > MOST_SHARES || part >= of => {
            Err(Error::invalid(format!("A share is N/T with T from 1 to {MOST_SHARES} and N from 0 to T-1.")))
        }
        ReadShare::None | ReadShare::Share { .. } | ReadShare::All => Ok(()),
    }
}

async fn proven(inner: &Arc<Inner>, caller: &Caller, part: &Part, passcode: Option<SecretText>) -> Result<SecretText> {
    let passcode = passcode.ok_or_else(|| {
        Error::new(ErrorCode::PasscodeRequired, "The backup is protected by a passcode.")
            .hint("Give the passcode it was made with; the server does not keep it.")
    })?;
    if is_passcode_of(inner, caller, part, &passcode).await? {
        return Ok(passcode);
    }
    Err(Error::new(ErrorCode::WrongPasscode, "The passcode is not the one that the backup was made with."))
}

/// Of each source that the repository holds, the newest part that is finished, not marked and not under a passcode.
async fn newest_good(inner: &Inner, repository: RepositoryId) -> Result<Vec<Part>> {
    let filter = BackupFilter { repository: Some(repository), protected: Some(false), ..BackupFilter::default() };
    let backups = inner.db.backups(&filter).await?;
    let ids: Vec<BackupId> = backups.iter().map(|backup| backup.id).collect();
    let damaged = inner.db.damage_of(&ids).await?;
    let mut newest: Vec<Part> = Vec::new();
    for part in backups.into_iter().flat_map(|backup| backup.parts) {
        let is_good = part.state == BackupState::Succeeded && !damaged.iter().any(|damage| damage.part == part.id);
        if is_good && !newest.iter().any(|known| known.source == part.source) {
            newest.push(part);
        }
    }
    Ok(newest)
}

/// What the queue has to know beside the parameters.
struct Work {
    scopes: Vec<JobScope>,
    alone: Option<JobScope>,
    passcode: Option<SecretText>,
}

async fn enqueue(
    inner: &Arc<Inner>,
    caller: &Caller,
    job: Job,
    params: &Params,
    work: Work,
    occurrence: Option<Occurrence>,
) -> Result<Option<Job>> {
    let Work { scopes, alone, passcode } = work;
    let object = match (job.backup, job.repository, job.store) {
        (Some(id), _, _) => Some(ObjectRef::new(ObjectKind::Backup, id.0)),
        (None, Some(id), _) => Some(ObjectRef::new(ObjectKind::Repository, id.0)),
        (None, None, id) => id.map(|id| ObjectRef::new(ObjectKind::Store, id.0)),
    };
    let is_scheduled = caller.via == super::scheduler().via;
    let enqueue = Enqueue {
        labels: label_job(inner, &job, Vec::new()),
        job: NewJob {
            scopes,
            params: serde_json::to_value(params)
                .map_err(|error| Error::internal("A job could not be written.").because(error))?,
            priority: if is_scheduled { priority::SCHEDULED } else { priority::ASKED_FOR },
            not_before: None,
            retry_limit: if passcode.is_some() { 0 } else { inner.options.retry.attempts.saturating_sub(1) },
            held_by: passcode.as_ref().map(|_| inner.node),
            alone_in: alone.map(|scope| (JobKind::Verify, scope)),
            job: job.clone(),
        },
        backup: None,
        occurrence,
        audit: AuditEntry::of(caller, inner.clock.now(), "verify.start", object),
    };
    if let Some(passcode) = passcode {
        inner.work.keep_passcode(job.id, passcode);
    }
    match inner.db.enqueue(&enqueue).await {
        Ok(Enqueued::New) => {}
        Ok(Enqueued::Already(_)) => return Ok(None),
        Err(error) => {
            inner.work.drop_passcode(job.id);
            return Err(error);
        }
    }
    inner.enqueued(JobKind::Verify);
    inner.work.wake.notify_waiters();
    let missing = || Error::internal("A job vanished right after it was enqueued.");
    inner.db.job(job.id).await?.map(Some).ok_or_else(missing)
}

async fn status(inner: &Inner) -> Result<Vec<VerifyStatus>> {
    let (rows, oldest) = (inner.db.verifications().await?, inner.db.oldest_backups().await?);
    let mut all = Vec::new();
    for vault in inner.db.vaults().await? {
        let Some(first) = oldest.get(&vault.id.0) else { continue };
        let damaged = inner.db.damage_in(vault.id).await?.len() as u64;
        for level in [VerifyLevel::Structure, VerifyLevel::Data] {
            let of = Of { of: Verified::Vault(vault.id), store: vault.store, name: vault.path.clone(), damaged };
            all.push(of.status(inner, level, row(&rows, vault.id.0, level), *first));
        }
    }
    for repository in inner.db.repositories(&RepositoryFilter::default()).await? {
        let Some(first) = oldest.get(&repository.id.0) else { continue };
        let candidates = inner.db.retention_candidates(repository.id).await?;
        let damaged = candidates.iter().filter(|candidate| candidate.damaged).count() as u64;
        let (of, name) = (Verified::Repository(repository.id), repository.name);
        let of = Of { of, store: repository.store, name, damaged };
        all.push(of.status(inner, VerifyLevel::Restore, row(&rows, repository.id.0, VerifyLevel::Restore), *first));
    }
    Ok(all)
}

fn row(rows: &HashMap<Uuid, Vec<VerificationRow>>, object: Uuid, level: VerifyLevel) -> Option<VerificationRow> {
    rows.get(&object)?.iter().find(|row| row.level == level).copied()
}

/// What a status is of.
struct Of {
    of: Verified,
    store: StoreId,
    name: String,
    damaged: u64,
}

impl Of {
    fn status(
        self,
        inner: &Inner,
        level: VerifyLevel,
        row: Option<VerificationRow>,
        first_backup: DateTime<Utc>,
    ) -> VerifyStatus {
        let Self { of, store, name, damaged } = self;
        let last = row.and_then(|row| row.concluded_at).unwrap_or(first_backup);
        let overdue_since = overdue_since(rhythm(inner, level), last, inner.clock.now());
        VerifyStatus {
            of,
            store,
            name,
            level,
            attempted_at: row.map(|row| row.attempted_at),
            concluded_at: row.and_then(|row| row.concluded_at),
            succeeded_at: row.and_then(|row| row.succeeded_at),
            overdue: overdue_since.is_some(),
            overdue_since,
            damaged,
        }
    }
}
