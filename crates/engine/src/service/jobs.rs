//! Jobs.

use std::time::{Duration, Instant};

use super::Engine;
use crate::{db::AuditEntry, domain::*};

/// How often a waiting caller looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Lines of a job's log that are answered.
const MOST_LOG_LINES: u32 = 100_000;

impl Engine {
    pub async fn jobs(&self, caller: &Caller, filter: JobFilter) -> Result<Vec<Job>> {
        caller.require(Role::Reader)?;
        caller.require_everything()?;
        self.inner().db.jobs(&filter).await
    }

    pub async fn job(&self, caller: &Caller, id: JobId) -> Result<Job> {
        caller.require(Role::Reader)?;
        let job = self.inner().db.job(id).await?;
        let job = job.ok_or_else(|| Error::not_found(Noun::Job, "There is no such job."))?;
        self.require_job(caller, &job).await?;
        Ok(job)
    }

    /// A caller that is limited to a source sees the jobs of that source's backups only.
    async fn require_job(&self, caller: &Caller, job: &Job) -> Result<()> {
        let Scope::Source(source) = caller.principal.scope else { return caller.require_everything() };
        let missing = || Error::not_found(Noun::Job, "There is no such job.");
        let backup = match job.backup {
            Some(id) => self.inner().db.backup(id).await?,
            None => None,
        };
        let is_seen = backup.is_some_and(|backup| backup.parts.iter().any(|part| part.source == source));
        if is_seen { Ok(()) } else { Err(missing()) }
    }

    /// The job's log, oldest line first, redacted.
    pub async fn job_log(&self, caller: &Caller, id: JobId) -> Result<Vec<LogLine>> {
        self.job(caller, id).await?;
        self.inner().db.job_log(id, MOST_LOG_LINES).await
    }

    /// Asks a job to stop. Queued ones end at once; running ones within two seconds. Terminal ones stay as they are.
    pub async fn cancel_job(&self, caller: &Caller, id: JobId) -> Result<Job> {
        caller.require(Role::Operator)?;
        self.job(caller, id).await?;
        let now = self.now();
        let audit = AuditEntry::of(caller, now, "job.cancel", Some(ObjectRef::new(ObjectKind::Job, id.0)));
        let job = self.inner().db.cancel_job(id, now, &audit).await?;
        let job = job.ok_or_else(|| Error::not_found(Noun::Job, "There is no such job."))?;
        match job.state.is_terminal() {
            true => self.inner().work.drop_passcode(id),
            false => self.inner().work.cancel(id),
        }
        Ok(job)
    }

    /// Waits until the job is terminal, at most `limit`; answers its state then.
    pub async fn wait_for_job(&self, caller: &Caller, id: JobId, limit: Duration) -> Result<Job> {
        let begin = Instant::now();
        loop {
            let job = self.job(caller, id).await?;
            if job.state.is_terminal() || begin.elapsed() >= limit {
                return Ok(job);
            }
            tokio::time::sleep(LOOK_EVERY.min(limit)).await;
        }
    }
}
