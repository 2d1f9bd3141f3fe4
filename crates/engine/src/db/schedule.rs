//! When plans' tasks run next.

use super::prelude::*;

impl Database {
    /// Of one repository, in the plan's order.
    pub async fn schedule(&self, repository: RepositoryId) -> Result<Vec<ScheduleEntry>> {
        let _ = (repository,);
        unfinished()
    }

    /// Tasks of active, unpaused repositories whose time has come, most overdue first.
    pub async fn due_tasks(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<DueTask>> {
        let _ = (now, limit);
        unfinished()
    }

    /// When the next task is due, over all repositories.
    pub async fn next_due(&self) -> Result<Option<DateTime<Utc>>> {
        unfinished()
    }

    /// Moves a task on without running it; `false` when it had been moved meanwhile.
    pub async fn set_next_run(
        &self,
        repository: RepositoryId,
        task: &str,
        due: DateTime<Utc>,
        next_run: Option<DateTime<Utc>>,
    ) -> Result<bool> {
        let _ = (repository, task, due, next_run);
        unfinished()
    }
}
