//! Backups are enqueued here, whoever asks for them: a caller, the scheduler, a restore that wants a safety backup.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    Inner,
    enqueue::{About, label_job, new_job, priority},
};
use crate::{
    db::{AuditEntry, Enqueue, Enqueued, Labels, NewJob, Occurrence},
    domain::*,
    kinds::backup,
    storage::passcodes,
};

/// Characters of a description.
const LONGEST_DESCRIPTION: usize = 2000;

/// Under what circumstances a backup starts.
#[derive(Debug, Default)]
pub(crate) struct Start {
    /// The run of a plan's task that it is.
    pub(crate) occurrence: Option<Occurrence>,
    /// A restore waits for it.
    pub(crate) safety: bool,
}

/// The scheduler as a caller.
pub(crate) fn scheduler() -> Caller {
    let principal = Principal {
        user: UserId(Uuid::nil()),
        name: "scheduler".to_owned(),
        role: Role::Operator,
        scope: Scope::Everything,
        token: None,
    };
    Caller { principal, via: "scheduler", request_id: String::new() }
}

/// Enqueues a backup. `None`: another node has started this occurrence already.
pub(crate) async fn start(
    inner: &Arc<Inner>,
    caller: &Caller,
    request: StartBackup,
    circumstances: Start,
) -> Result<Option<StartedBackup>> {
    caller.require(Role::Operator)?;
    let Start { occurrence, safety } = circumstances;
    let (repository, store) = ready_repository(inner, caller, request.repository).await?;
    if let Some(passcode) = &request.passcode {
        passcodes::check_form(passcode)?;
    }
    if request.description.chars().count() > LONGEST_DESCRIPTION {
        return Err(Error::invalid(format!("The description has more than {LONGEST_DESCRIPTION} characters.")));
    }
    let sources = selected(inner, &repository).await?;
    let StartBackup {
        repository: _,
        trigger,
        task,
        full,
        description,
        keep_until,
        passcode,
        aliases,
        attributes,
        job_attributes,
    } = request;

    let now = inner.clock.now();
    let created_at = after_the_newest(inner, repository.id, now).await?;
    let id = BackupId(Uuid::now_v7());
    let about = About { repository: Some(repository.id), store: Some(store.id), backup: Some(id) };
    let job = new_job(inner, caller, JobKind::Backup, about, task);
    let parts: Vec<Part> = sources
        .iter()
        .map(|Source { id: source, name, config, .. }| {
            let part = PartId(Uuid::now_v7());
            Part::new(part, id, (*source, name, &config.kind), BackupState::Queued)
        })
        .collect();
    let protected = passcode.is_some();
    let backup = Backup {
        id,
        repository: repository.id,
        store: store.id,
        job: job.id,
        state: BackupState::Queued,
        kind: if full { BackupKind::Full } else { BackupKind::Incremental },
        trigger,
        description,
        keep_until,
        protected,
        point: None,
        created_at,
        started_at: None,
        finished_at: None,
        error: None,
        parts,
    };
    let vault = if protected { None } else { inner.db.server_vault(store.id).await?.map(|row| row.vault.id) };
    let mut labels = label_job(inner, &job, job_attributes);
    label_backup(inner, &mut labels, &backup, &sources, now);
    let at = ObjectRef::new(ObjectKind::Backup, id.0);
    labels.claim(at, aliases);
    labels.attach(at, attributes);
    let enqueue = Enqueue {
        job: NewJob {
            scopes: backup::scopes(repository.id, vault, &backup.parts),
            params: serde_json::to_value(backup::Params { full })
                .map_err(|error| Error::internal("A job could not be written.").because(error))?,
            priority: match (safety, trigger) {
                (true, _) => priority::SAFETY_BACKUP,
                (false, Trigger::Manual) => priority::ASKED_FOR,
                (false, Trigger::Scheduled) => priority::SCHEDULED,
            },
            not_before: None,
            retry_limit: if protected { 0 } else { inner.options.retry.attempts.saturating_sub(1) },
            held_by: protected.then_some(inner.node),
            alone_in: None,
            job: job.clone(),
        },
        backup: Some(backup),
        labels,
        occurrence,
        audit: AuditEntry::of(caller, now, "backup.start", Some(at)),
    };
    // Before the job can be claimed.
    if let Some(passcode) = passcode {
        inner.work.keep_passcode(job.id, passcode);
    }
    match inner.db.enqueue(&enqueue).await {
        Ok(Enqueued::New) => inner.enqueued(JobKind::Backup),
        Ok(Enqueued::Already(_)) => return Ok(None),
        Err(error) => {
            inner.work.drop_passcode(job.id);
            return Err(error);
        }
    }
    inner.work.wake.notify_waiters();
    let missing = || Error::internal("A backup vanished right after it was enqueued.");
    let backup = inner.db.backup(id).await?.ok_or_else(missing)?;
    let job = inner.db.job(job.id).await?.ok_or_else(missing)?;
    Ok(Some(StartedBackup { backup, job }))
}

/// When a backup is created, for the order of a repository's backups: after a clock that was set back, the newest would be listed as an
/// old one until the day has come again, and "restore the latest" would bring back older data.
async fn after_the_newest(inner: &Inner, repository: RepositoryId, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
    let filter = BackupFilter { repository: Some(repository), limit: Some(1), ..BackupFilter::default() };
    let newest = inner.db.backups(&filter).await?.first().map(|newest| newest.created_at);
    Ok(newest.filter(|newest| *newest > now).map_or(now, |newest| newest + TimeDelta::microseconds(1)))
}

/// The repository, if it takes backups and the caller may make them, with its store.
pub(super) async fn ready_repository(inner: &Inner, caller: &Caller, id: RepositoryId) -> Result<(Repository, Store)> {
    let repository = inner
        .db
        .repository(id)
        .await?
        .ok_or_else(|| Error::not_found(Noun::Repository, "There is no such repository."))?;
    match repository.sources {
        SourceSelection::All => caller.require_everything()?,
        SourceSelection::One(source) => caller.require_source(source)?,
    }
    match repository.state {
        RepositoryState::Active { paused: _ } => {}
        RepositoryState::Archived | RepositoryState::Imported => {
            let sentence = format!("The repository {} takes no backups: it is not active.", repository.name);
            return Err(Error::new(ErrorCode::NotReady(Noun::Repository), sentence));
        }
    }
    let store = inner
        .db
        .store(repository.store)
        .await?
        .ok_or_else(|| Error::not_found(Noun::Store, "The repository's store is no longer attached."))?;
    if store.read_only {
        let sentence = format!("The store {} belongs to another installation and is read-only.", store.name);
        return Err(Error::new(ErrorCode::NotReady(Noun::Store), sentence)
            .hint("Adopt it with `trivault store adopt`, or use another store."));
    }
    Ok((repository, store))
}

/// The sources that a backup of this repository captures now.
async fn selected(inner: &Inner, repository: &Repository) -> Result<Vec<Source>> {
    match repository.sources {
        SourceSelection::One(id) => {
            let source =
                inner.db.source(id).await?.ok_or_else(|| {
                    Error::not_found(Noun::Source, "The repository's source is not in the catalogue.")
                })?;
            if source.status == SourceStatus::Attached {
                return Ok(vec![source]);
            }
            let sentence = format!("The source {} is no longer attached.", source.name);
            Err(Error::new(ErrorCode::SourceDetached, sentence).hint("Put it back into the configuration."))
        }
        SourceSelection::All => {
            let mut sources = inner.db.sources().await?;
            sources.retain(|source| source.status == SourceStatus::Attached);
            if sources.is_empty() {
                return Err(Error::invalid("There is nothing to back up: no source is attached.")
                    .hint("Add one with `trivault source add`, or start the server with --source."));
            }
            Ok(sources)
        }
    }
}

fn label_backup(inner: &Inner, labels: &mut Labels, backup: &Backup, sources: &[Source], created_at: DateTime<Utc>) {
    for (part, source) in backup.parts.iter().zip(sources) {
        let object = NewObject::Part { part, source, created_at };
        labels.propose(&inner.namers, ObjectRef::new(ObjectKind::Part, part.id.0), object);
    }
}
