//! Repositories.

use super::{Engine, unfinished};
use crate::domain::*;

impl Engine {
    /// Oldest first.
    pub async fn repositories(&self, caller: &Caller, filter: RepositoryFilter) -> Result<Vec<Repository>> {
        let _ = (caller, filter);
        unfinished()
    }

    pub async fn repository(&self, caller: &Caller, id: RepositoryId) -> Result<Repository> {
        let _ = (caller, id);
        unfinished()
    }

    /// # Errors
    /// `AlreadyExists(Repository)`: an active one of this owner has the name. `NotFound(Plan | Source | Store)`.
    pub async fn create_repository(&self, caller: &Caller, repository: NewRepository) -> Result<Repository> {
        let _ = (caller, repository);
        unfinished()
    }

    /// The active repository of that owner and name; created as given when there is none. Safe under races.
    pub async fn ensure_repository(&self, caller: &Caller, repository: NewRepository) -> Result<Repository> {
        let _ = (caller, repository);
        unfinished()
    }

    /// Stops what is scheduled; what runs goes on. Idempotent.
    pub async fn pause_repository(&self, caller: &Caller, id: RepositoryId) -> Result<Repository> {
        let _ = (caller, id);
        unfinished()
    }

    /// Idempotent. Scheduled tasks keep a next run that is still ahead, and else get the next of their series.
    pub async fn resume_repository(&self, caller: &Caller, id: RepositoryId) -> Result<Repository> {
        let _ = (caller, id);
        unfinished()
    }

    /// Attaches a plan (or none); its tasks are scheduled from now.
    pub async fn attach_plan(&self, caller: &Caller, id: RepositoryId, plan: Option<PlanId>) -> Result<Repository> {
        let _ = (caller, id, plan);
        unfinished()
    }

    /// Next runs of an active, unpaused repository, in the plan's order; empty otherwise.
    pub async fn scheduled_tasks(&self, caller: &Caller, id: RepositoryId) -> Result<Vec<ScheduledTask>> {
        let _ = (caller, id);
        unfinished()
    }
}
