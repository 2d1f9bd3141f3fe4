//! Repositories.

use super::prelude::*;

impl Database {
    /// `AlreadyExists(Repository)` when the owner has one of that name and state.
    pub async fn insert_repository(
        &self,
        repository: &Repository,
        schedule: &[ScheduleEntry],
        labels: &Labels,
        audit: &AuditEntry,
    ) -> Result<()> {
        let _ = (repository, schedule, labels, audit);
        unfinished()
    }

    /// As [`Self::insert_repository`], but answers the one that stands where there is one.
    pub async fn ensure_repository(
        &self,
        repository: &Repository,
        schedule: &[ScheduleEntry],
        labels: &Labels,
        audit: &AuditEntry,
    ) -> Result<Repository> {
        let _ = (repository, schedule, labels, audit);
        unfinished()
    }

    /// Oldest first.
    pub async fn repositories(&self, filter: &RepositoryFilter) -> Result<Vec<Repository>> {
        let _ = (filter,);
        unfinished()
    }

    pub async fn repository(&self, id: RepositoryId) -> Result<Option<Repository>> {
        let _ = (id,);
        unfinished()
    }

    /// Zero rows (not active) is `None`.
    pub async fn pause_repository(&self, id: RepositoryId, audit: &AuditEntry) -> Result<Option<Repository>> {
        let _ = (id, audit);
        unfinished()
    }

    /// Next runs that have passed meanwhile are replaced by those of `schedule`.
    pub async fn resume_repository(
        &self,
        id: RepositoryId,
        schedule: &[ScheduleEntry],
        audit: &AuditEntry,
    ) -> Result<Option<Repository>> {
        let _ = (id, schedule, audit);
        unfinished()
    }

    pub async fn attach_plan(
        &self,
        id: RepositoryId,
        plan: Option<PlanId>,
        schedule: &[ScheduleEntry],
        audit: &AuditEntry,
    ) -> Result<Option<Repository>> {
        let _ = (id, plan, schedule, audit);
        unfinished()
    }
}
