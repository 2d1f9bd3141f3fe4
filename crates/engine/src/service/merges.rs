//! Merges: a range of a repository's backups is folded into the newest of them.

use std::{collections::HashMap, sync::Arc};

use super::{
    Engine, Inner,
    enqueue::{About, label_job, new_job, priority},
    start_backup::ready_repository,
};
use crate::{
    db::{AuditEntry, Enqueue, Enqueued, NewJob, Occurrence},
    domain::*,
    kinds::merge,
};

impl Engine {
    /// Enqueues a merge. Which backups the range holds is decided when it begins; a range that cannot be merged fails the job.
    ///
    /// # Errors
    /// `NotFound(Repository)`, `NotReady(Repository | Store)`; `InvalidInput` for ends that are known to be in the wrong order.
    pub async fn start_merge(&self, caller: &Caller, request: StartMerge) -> Result<Job> {
        let missing = || Error::internal("A merge that belongs to no occurrence was taken for one.");
        start(self.inner(), caller, request, None).await?.ok_or_else(missing)
    }

    /// What was folded into each of these backups; those into which nothing was are left out. One query, for lists.
    pub async fn merged_into(&self, backups: &[BackupId]) -> Result<HashMap<BackupId, Merged>> {
        self.inner().db.merged_into(backups).await
    }

    /// The backups that each of these merges and prunes was about, oldest first, with the names that they had. One query, for lists.
    pub async fn backups_of_jobs(&self, jobs: &[JobId]) -> Result<HashMap<JobId, Vec<FormerBackup>>> {
        self.inner().db.backups_of_jobs(jobs).await
    }
}

/// `None`: another node has started this occurrence already.
pub(crate) async fn start(
    inner: &Arc<Inner>,
    caller: &Caller,
    request: StartMerge,
    occurrence: Option<Occurrence>,
) -> Result<Option<Job>> {
    caller.require(Role::Operator)?;
    let StartMerge { repository, task, range, zone, as_of, job_attributes } = request;
    let (repository, store) = ready_repository(inner, caller, repository).await?;
    check_order(inner, &range).await?;
    let priority = if occurrence.is_some() { priority::SCHEDULED } else { priority::ASKED_FOR };
    let about = About { repository: Some(repository.id), store: Some(store.id), backup: None };
    let job = new_job(inner, caller, JobKind::Merge, about, task);
    let vault = inner.db.server_vault(store.id).await?.map(|row| row.vault.id);
    let at = ObjectRef::new(ObjectKind::Repository, repository.id.0);
    let params = merge::Params { range, zone, as_of, decided: None };
    let enqueue = Enqueue {
        labels: label_job(inner, &job, job_attributes),
        job: NewJob {
            scopes: merge::scopes(repository.id, vault),
            params: serde_json::to_value(params)
                .map_err(|error| Error::internal("A job could not be written.").because(error))?,
            priority,
            not_before: None,
            retry_limit: inner.options.retry.attempts.saturating_sub(1),
            held_by: None,
            alone_in: None,
            job: job.clone(),
        },
        backup: None,
        occurrence,
        audit: AuditEntry::of(caller, inner.clock.now(), "repository.merge", Some(at)),
    };
    if let Enqueued::Already(_) = inner.db.enqueue(&enqueue).await? {
        return Ok(None);
    }
    inner.enqueued(JobKind::Merge);
    inner.work.wake.notify_waiters();
    let missing = || Error::internal("A job vanished right after it was enqueued.");
    inner.db.job(job.id).await?.map(Some).ok_or_else(missing)
}

async fn check_order(inner: &Inner, range: &MergeRange) -> Result<()> {
    let MergeRange::Between { from: MergeEnd::Backup(from), to: MergeEnd::Backup(to) } = range else { return Ok(()) };
    let (from, to) = (inner.db.backup(*from).await?, inner.db.backup(*to).await?);
    match (from.and_then(|backup| backup.point), to.and_then(|backup| backup.point)) {
        (Some(from), Some(to)) if from > to => Err(Error::invalid("The range of the merge ends before it begins.")),
        _ => Ok(()),
    }
}
