//! Jobs: enqueued, read, cancelled.

use super::prelude::*;

impl Database {
    /// Everything of one request in one transaction.
    pub async fn enqueue(&self, request: &Enqueue) -> Result<Enqueued> {
        let _ = (request,);
        unfinished()
    }

    /// Newest first.
    pub async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>> {
        let _ = (filter,);
        unfinished()
    }

    pub async fn job(&self, id: JobId) -> Result<Option<Job>> {
        let _ = (id,);
        unfinished()
    }

    /// What the kind needs.
    pub async fn job_params(&self, id: JobId) -> Result<Option<serde_json::Value>> {
        let _ = (id,);
        unfinished()
    }

    /// Queued or running jobs that need the resource, for refusals.
    pub async fn live_jobs_on(&self, resource: Resource, id: Uuid) -> Result<Vec<Job>> {
        let _ = (resource, id);
        unfinished()
    }

    /// Queued ones end at once, with their backup; running ones get the flag. Answers the job as it is then.
    pub async fn cancel_job(&self, id: JobId, now: DateTime<Utc>, audit: &AuditEntry) -> Result<Option<Job>> {
        let _ = (id, now, audit);
        unfinished()
    }

    /// Oldest first.
    pub async fn job_log(&self, id: JobId, limit: u32) -> Result<Vec<LogLine>> {
        let _ = (id, limit);
        unfinished()
    }

    pub async fn append_log(&self, id: JobId, lines: &[LogLine]) -> Result<()> {
        let _ = (id, lines);
        unfinished()
    }
}
