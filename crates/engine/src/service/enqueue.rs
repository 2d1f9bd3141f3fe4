//! What the use cases that enqueue a job have in common.

use uuid::Uuid;

use super::Inner;
use crate::{
    db::Labels,
    domain::{
        Attribute, BackupId, Caller, Job, JobId, JobKind, JobState, NewObject, ObjectKind, ObjectRef, RepositoryId,
        StoreId,
    },
};

/// Order in the queue, higher first.
pub(super) mod priority {
    /// Work of plans.
    pub(in crate::service) const SCHEDULED: i64 = 0;
    /// Somebody waits for it.
    pub(in crate::service) const ASKED_FOR: i64 = 10;
    /// A restore waits for it.
    pub(in crate::service) const SAFETY_BACKUP: i64 = 30;
    pub(in crate::service) const RESTORE: i64 = crate::domain::RESTORE_PRIORITY;
}

/// What a job is about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct About {
    pub(super) repository: Option<RepositoryId>,
    pub(super) store: Option<StoreId>,
    pub(super) backup: Option<BackupId>,
}

/// A job that is about to be enqueued.
pub(super) fn new_job(inner: &Inner, caller: &Caller, kind: JobKind, about: About, task: Option<String>) -> Job {
    let now = inner.clock.now();
    let About { repository, store, backup } = about;
    Job {
        id: JobId(Uuid::now_v7()),
        kind,
        state: JobState::Queued,
        repository,
        store,
        backup,
        task,
        principal: caller.principal.name.clone(),
        via: caller.via.to_owned(),
        attempt: 0,
        cancel_requested: false,
        progress: trivault_sources::Progress::default(),
        bytes_stored: 0,
        percent: 0,
        steps: Vec::new(),
        warnings: Vec::new(),
        failure: None,
        created_at: now,
        started_at: None,
        updated_at: now,
        finished_at: None,
        estimated_end: None,
    }
}

/// The job's names and wire fields.
pub(super) fn label_job(inner: &Inner, job: &Job, attributes: Vec<Attribute>) -> Labels {
    let at = ObjectRef::new(ObjectKind::Job, job.id.0);
    let mut labels = Labels::default();
    labels.propose(&inner.namers, at, NewObject::Job(job));
    labels.attach(at, attributes);
    labels
}
