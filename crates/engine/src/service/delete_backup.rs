//! Deleting a backup, and telling whether a passcode is its own.

use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::{
    Inner, blocking,
    enqueue::{About, label_job, new_job, priority},
};
use crate::{
    db::{AuditEntry, Enqueue, JobScope, NewJob, Resource},
    domain::*,
    kinds::{forget, reading_vault},
};

/// Enqueues the deletion of a backup.
pub(super) async fn delete(
    inner: &Arc<Inner>,
    caller: &Caller,
    id: BackupId,
    attributes: Vec<Attribute>,
) -> Result<Job> {
    caller.require(Role::Operator)?;
    let backup = found(inner, caller, id).await?;
    let in_use = |sentence: &str| Error::new(ErrorCode::InUse(Noun::Backup), sentence);
    match backup.state {
        BackupState::Queued | BackupState::Running => {
            return Err(in_use("The backup is still being made.").hint("Cancel its job first, or wait for its end."));
        }
        BackupState::Succeeded | BackupState::Failed | BackupState::Cancelled | BackupState::Lost => {}
    }
    for part in &backup.parts {
        if !inner.db.live_jobs_on(Resource::Part, part.id.0).await?.is_empty() {
            return Err(in_use("The backup is being restored or deleted.").hint("Wait for that job's end."));
        }
    }
    let now = inner.clock.now();
    let about = About { repository: Some(backup.repository), store: Some(backup.store), backup: Some(id) };
    let job = new_job(inner, caller, JobKind::Forget, about, None);
    let alone = backup.parts.first().map(|part| JobScope { resource: Resource::Part, id: part.id.0, exclusive: true });
    let enqueue = Enqueue {
        labels: label_job(inner, &job, attributes),
        job: NewJob {
            scopes: forget::scopes(&backup.parts),
            params: serde_json::Value::Null,
            priority: priority::ASKED_FOR,
            not_before: None,
            retry_limit: inner.options.retry.attempts.saturating_sub(1),
            held_by: None,
            alone_in: alone.map(|scope| (JobKind::Forget, scope)),
            job: job.clone(),
        },
        backup: None,
        occurrence: None,
        audit: AuditEntry::of(caller, now, "backup.delete", Some(ObjectRef::new(ObjectKind::Backup, id.0))),
    };
    inner.db.enqueue(&enqueue).await?;
    inner.enqueued(JobKind::Forget);
    inner.work.wake.notify_waiters();
    let missing = || Error::internal("A job vanished right after it was enqueued.");
    inner.db.job(job.id).await?.ok_or_else(missing)
}

/// Whether this is the backup's passcode. A backup without one takes any.
pub(super) async fn check_passcode(
    inner: &Arc<Inner>,
    caller: &Caller,
    id: BackupId,
    passcode: &SecretText,
) -> Result<bool> {
    caller.require(Role::Operator)?;
    let backup = found(inner, caller, id).await?;
    if !backup.protected {
        return Ok(true);
    }
    let part = backup.parts.iter().find(|part| part.vault.is_some()).ok_or_else(|| {
        Error::new(ErrorCode::NotReady(Noun::Backup), "The backup holds nothing that a passcode could open.")
    })?;
    is_passcode_of(inner, caller, part, passcode).await
}

/// What the throttle calls guesses at passcodes, beside the names of users.
const PASSCODES: &str = "a passcode";

/// Whether a passcode opens the vault of a part. Who has given too many wrong ones has to wait, whichever backup they were for.
///
/// # Errors
/// `Throttled`.
pub(super) async fn is_passcode_of(
    inner: &Arc<Inner>,
    caller: &Caller,
    part: &Part,
    passcode: &SecretText,
) -> Result<bool> {
    let (who, now) = (caller.principal.user.to_string(), inner.clock.now());
    if inner.access.throttle.is_closed(&who, PASSCODES, now) {
        return Err(Error::new(ErrorCode::Throttled, "Too many wrong passcodes; try again in a minute."));
    }
    let is_right = opens(inner, part, passcode).await?;
    if is_right {
        inner.access.throttle.succeeded(&who, PASSCODES);
    } else {
        inner.access.throttle.failed(&who, PASSCODES, now);
        tracing::info!(user = caller.principal.name, "a passcode was wrong");
    }
    Ok(is_right)
}

async fn opens(inner: &Arc<Inner>, part: &Part, passcode: &SecretText) -> Result<bool> {
    let (store, row) = reading_vault(inner, part).await?;
    let (inner, passcode) = (Arc::clone(inner), passcode.clone());
    blocking(move || match &row.locator {
        Some(locator) => {
            let given = inner.storage.locators.locate(&store.salt, &passcode)?;
            Ok(bool::from(given.as_slice().ct_eq(locator.as_slice())))
        }
        // The locator was lost with an older catalogue: the vault itself knows.
        None => match inner.storage.passcode_vault(&store, &row, &passcode) {
            Ok(_) => Ok(true),
            Err(error) if error.code == ErrorCode::WrongPasscode => Ok(false),
            Err(error) => Err(error),
        },
    })
    .await
}

async fn found(inner: &Inner, caller: &Caller, id: BackupId) -> Result<Backup> {
    let backup =
        inner.db.backup(id).await?.ok_or_else(|| Error::not_found(Noun::Backup, "There is no such backup."))?;
    for part in &backup.parts {
        caller.require_source(part.source)?;
    }
    Ok(backup)
}
