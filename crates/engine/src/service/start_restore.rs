//! Restores are previewed and enqueued here. What can be refused without reading the store is refused before anything is written.

use std::{collections::HashSet, sync::Arc};

use super::{
    Inner, blocking,
    delete_backup::is_passcode_of,
    enqueue::{About, label_job, new_job, priority},
    start_backup::{self, Start},
};
use crate::{
    capture::NoEvents,
    db::{AuditEntry, Enqueue, JobScope, NewJob, Resource},
    domain::*,
    kinds::{
        restore::{self, Params},
        restore_part::{self, Resolved},
    },
};

/// Parts of one restore.
const MOST_ITEMS: usize = 200;

/// What a restore would do.
pub(super) async fn preview(inner: &Arc<Inner>, caller: &Caller, request: &StartRestore) -> Result<RestorePreview> {
    let resolved = checked(inner, caller, request).await?;
    let stores = inner.db.stores().await?;
    let (inner, passcode) = (Arc::clone(inner), request.passcode.clone());
    let (conflict, selection) = (request.conflict, request.selection.clone());
    blocking(move || {
        let mut parts = Vec::new();
        for (index, item) in resolved.into_iter().enumerate() {
            let how = (conflict, &selection);
            let plan = restore_part::preview(&inner, index, &item, how, passcode.as_ref(), &stores, NoEvents)?;
            parts.push((item.item, plan));
        }
        Ok(RestorePreview { parts })
    })
    .await
}

/// Enqueues a restore, and before it the safety backup that was asked for.
pub(super) async fn start(inner: &Arc<Inner>, caller: &Caller, request: StartRestore) -> Result<Job> {
    let resolved = checked(inner, caller, &request).await?;
    let parts: Vec<Part> = resolved.iter().map(|item| item.part.clone()).collect();
    let targets = targets(&resolved);
    for target in &targets {
        refuse_second(inner, *target).await?;
    }
    let StartRestore { items, conflict, selection, safety_backup, passcode, job_attributes } = request;
    let safety = if safety_backup { start_safety_backups(inner, caller, &resolved, &passcode).await? } else { vec![] };

    let now = inner.clock.now();
    let first = inner.db.backup_of_part(items[0].part).await?;
    let about = About {
        repository: first.as_ref().map(|backup| backup.repository),
        store: first.as_ref().map(|backup| backup.store),
        backup: first.as_ref().map(|backup| backup.id),
    };
    let job = new_job(inner, caller, JobKind::Restore, about, None);
    let alone = targets.first().map(|source| JobScope { resource: Resource::Source, id: source.0, exclusive: true });
    let protected = resolved.iter().any(|item| item.vault.vault.kind == VaultKind::Passcode);
    let passcode_ignored = passcode.is_some() && resolved.iter().any(|item| item.vault.vault.kind == VaultKind::Server);
    let params = Params { items, conflict, selection, safety, passcode_ignored, plans: Vec::new() };
    let enqueue = Enqueue {
        labels: label_job(inner, &job, job_attributes),
        job: NewJob {
            scopes: restore::scopes(&parts, &targets),
            params: serde_json::to_value(&params)
                .map_err(|error| Error::internal("A job could not be written.").because(error))?,
            priority: priority::RESTORE,
            not_before: None,
            // An interrupted restore is finished or undone, never begun again by itself.
            retry_limit: 0,
            held_by: protected.then_some(inner.node),
            alone_in: alone.map(|scope| (JobKind::Restore, scope)),
            job: job.clone(),
        },
        backup: None,
        occurrence: None,
        audit: AuditEntry::of(caller, now, "restore.start", Some(ObjectRef::new(ObjectKind::Part, parts[0].id.0))),
    };
    if let Some(passcode) = passcode.filter(|_| protected) {
        inner.work.keep_passcode(job.id, passcode);
    }
    if let Err(error) = inner.db.enqueue(&enqueue).await {
        inner.work.drop_passcode(job.id);
        return Err(error);
    }
    inner.enqueued(JobKind::Restore);
    inner.work.wake.notify_waiters();
    let missing = || Error::internal("A job vanished right after it was enqueued.");
    inner.db.job(job.id).await?.ok_or_else(missing)
}

/// Everything that a restore needs, looked up and allowed.
async fn checked(inner: &Arc<Inner>, caller: &Caller, request: &StartRestore) -> Result<Vec<Resolved>> {
    caller.require(Role::Operator)?;
    let StartRestore { items, conflict: _, selection, safety_backup: _, passcode, job_attributes: _ } = request;
    if items.is_empty() || items.len() > MOST_ITEMS {
        return Err(Error::invalid(format!("A restore takes 1 to {MOST_ITEMS} parts of backups.")));
    }
    for (name, pattern) in [("keys", &selection.keys), ("values", &selection.values)] {
        if let Some(pattern) = pattern {
            regex::Regex::new(pattern).map_err(|error| {
                Error::invalid(format!("The filter of {name} is not a regular expression.")).because(error)
            })?;
        }
    }
    let mut resolved = Vec::new();
    let mut proven = HashSet::new();
    for item in items {
        allowed(inner, caller, item).await?;
        let found = restore_part::resolve(inner, item).await?;
        let vault = &found.vault.vault;
        if vault.kind == VaultKind::Passcode && proven.insert(vault.id) {
            let passcode = passcode.as_ref().ok_or_else(|| {
                Error::new(ErrorCode::PasscodeRequired, "The backup is protected by a passcode.")
                    .hint("Restore it with the passcode it was made with; the server does not keep it.")
            })?;
            if !is_passcode_of(inner, caller, &found.part, passcode).await? {
                let sentence = "The passcode is not the one that the backup was made with.";
                return Err(Error::new(ErrorCode::WrongPasscode, sentence));
            }
        }
        resolved.push(found);
    }
    Ok(resolved)
}

/// Refuses what this caller may not restore, and parts that are not there to be restored.
async fn allowed(inner: &Inner, caller: &Caller, item: &RestoreItem) -> Result<()> {
    let missing = || Error::not_found(Noun::Part, "The backup is not in the catalogue.");
    let backup = inner.db.backup_of_part(item.part).await?.ok_or_else(missing)?;
    let part = backup.parts.iter().find(|part| part.id == item.part).ok_or_else(missing)?;
    caller.require_source(part.source)?;
    match &item.into {
        RestoreInto::InPlace => {}
        RestoreInto::Source(other) => caller.require_source(*other)?,
        RestoreInto::NewSource(name) => {
            caller.require_everything()?;
            check_source_name(name)?;
        }
        RestoreInto::NewPath(_) | RestoreInto::NewDatabase(_) => {
            // Any path of this machine, any name on a server: nothing for callers that may only work with backups.
            caller.require_everything()?;
            caller.require(Role::Admin)?;
        }
    }
    if part.state == BackupState::Succeeded {
        return Ok(());
    }
    let why = match part.state {
        BackupState::Lost => "its snapshot has vanished from the store",
        BackupState::Queued | BackupState::Running => "it is still being made",
        BackupState::Failed | BackupState::Cancelled => "it was not finished",
        BackupState::Succeeded => "it is whole",
    };
    let sentence = format!("The backup of {} cannot be restored: {why}.", part.source_name);
    Err(Error::new(ErrorCode::NotReady(Noun::Part), sentence))
}

fn check_source_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain) {
        return Ok(());
    }
    Err(Error::invalid(format!("{name:?} cannot be the name of a source."))
        .hint("A name has up to 64 letters, digits, dots, dashes and underscores, and begins with a letter or digit."))
}

/// Sources that are written to.
fn targets(resolved: &[Resolved]) -> Vec<SourceId> {
    let mut targets: Vec<SourceId> = Vec::new();
    for item in resolved {
        let target = match item.item.into {
            RestoreInto::InPlace => item.part.source,
            RestoreInto::Source(other) => other,
            RestoreInto::NewSource(_) | RestoreInto::NewPath(_) | RestoreInto::NewDatabase(_) => continue,
        };
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    targets
}

async fn refuse_second(inner: &Inner, target: SourceId) -> Result<()> {
    let live = inner.db.live_jobs_on(Resource::Source, target.0).await?;
    if live.iter().any(|job| job.kind == JobKind::Restore) {
        return Err(Error::new(
            ErrorCode::InUse(Noun::Source),
            "Another restore into this source is queued or running.",
        )
        .hint("Wait for its end."));
    }
    Ok(())
}

/// One backup of each repository that a part comes from; under the passcode where the part is.
async fn start_safety_backups(
    inner: &Arc<Inner>,
    caller: &Caller,
    resolved: &[Resolved],
    passcode: &Option<SecretText>,
) -> Result<Vec<JobId>> {
    let mut started = Vec::new();
    let mut seen = HashSet::new();
    for item in resolved {
        let Some(backup) = inner.db.backup_of_part(item.part.id).await? else { continue };
        if !seen.insert(backup.repository) {
            continue;
        }
        let request = StartBackup {
            repository: backup.repository,
            trigger: Trigger::Manual,
            task: None,
            full: false,
            description: "Safety backup before a restore".to_owned(),
            keep_until: None,
            passcode: passcode.clone().filter(|_| backup.protected),
            aliases: Vec::new(),
            attributes: Vec::new(),
            job_attributes: Vec::new(),
        };
        let circumstances = Start { occurrence: None, safety: true };
        if let Some(backup) = start_backup::start(inner, caller, request, circumstances).await? {
            started.push(backup.job.id);
        }
    }
    Ok(started)
}
