//! Jobs.

use std::time::Duration;

use super::{Engine, unfinished};
use crate::domain::*;

impl Engine {
    pub async fn jobs(&self, caller: &Caller, filter: JobFilter) -> Result<Vec<Job>> {
        let _ = (caller, filter);
        unfinished()
    }

    pub async fn job(&self, caller: &Caller, id: JobId) -> Result<Job> {
        let _ = (caller, id);
        unfinished()
    }

    /// The job's log, oldest line first, redacted.
    pub async fn job_log(&self, caller: &Caller, id: JobId) -> Result<Vec<LogLine>> {
        let _ = (caller, id);
        unfinished()
    }

    /// Asks a job to stop. Queued ones end at once; running ones within two seconds. Terminal ones stay as they are.
    pub async fn cancel_job(&self, caller: &Caller, id: JobId) -> Result<Job> {
        let _ = (caller, id);
        unfinished()
    }

    /// Waits until the job is terminal, at most `limit`; answers its state then.
    pub async fn wait_for_job(&self, caller: &Caller, id: JobId, limit: Duration) -> Result<Job> {
        let _ = (caller, id, limit);
        unfinished()
    }
}
