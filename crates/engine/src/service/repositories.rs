//! Repositories.

use uuid::Uuid;

use super::{Engine, Inner};
use crate::{
    db::{AuditEntry, Labels, ScheduleEntry},
    domain::*,
};

impl Engine {
    /// Oldest first.
    pub async fn repositories(&self, caller: &Caller, filter: RepositoryFilter) -> Result<Vec<Repository>> {
        caller.require(Role::Reader)?;
        let mut repositories = self.inner().db.repositories(&filter).await?;
        repositories.retain(|repository| covers(caller, repository.sources).is_ok());
        Ok(repositories)
    }

    pub async fn repository(&self, caller: &Caller, id: RepositoryId) -> Result<Repository> {
        caller.require(Role::Reader)?;
        self.inner().covered(caller, id).await
    }

    /// # Errors
    /// `AlreadyExists(Repository)`: an active one of this owner has the name. `NotFound(Plan | Source | Store)`.
    pub async fn create_repository(&self, caller: &Caller, repository: NewRepository) -> Result<Repository> {
        caller.require(Role::Operator)?;
        caller.require_everything()?;
        let inner = self.inner();
        let New { repository, retention, schedule, labels } = inner.new_repository(repository).await?;
        let audit = inner.audit_of_repository(caller, "repository.create", repository.id);
        inner.db.insert_repository_keeping(&repository, retention.as_ref(), &schedule, &labels, &audit).await?;
        Ok(repository)
    }

    /// The active repository of that owner and name; created as given when there is none. Safe under races.
    pub async fn ensure_repository(&self, caller: &Caller, repository: NewRepository) -> Result<Repository> {
        caller.require(Role::Operator)?;
        covers(caller, repository.sources)?;
        let inner = self.inner();
        let filter = RepositoryFilter {
            owner: Some(repository.owner.to_owned()),
            name: Some(repository.name.clone()),
            store: None,
        };
        let standing = inner.db.repositories(&filter).await?;
        let is_active = |found: &Repository| matches!(found.state, RepositoryState::Active { .. });
        if let Some(standing) = standing.into_iter().find(is_active) {
            covers(caller, standing.sources)?;
            return Ok(standing);
        }
        let New { repository, retention, schedule, labels } = inner.new_repository(repository).await?;
        let audit = inner.audit_of_repository(caller, "repository.create", repository.id);
        inner.db.ensure_repository_keeping(&repository, retention.as_ref(), &schedule, &labels, &audit).await
    }

    /// Stops what is scheduled; what runs goes on. Idempotent.
    ///
    /// # Errors
    /// `NotFound(Repository)`; `NotReady(Repository)` for one that is not active.
    pub async fn pause_repository(&self, caller: &Caller, id: RepositoryId) -> Result<Repository> {
        let inner = self.inner();
        inner.changeable(caller, id).await?;
        let audit = inner.audit_of_repository(caller, "repository.pause", id);
        inner.db.pause_repository(id, &audit).await?.ok_or_else(missing)
    }

    /// Idempotent. Scheduled tasks keep a next run that is still ahead, and else get the next of their series.
    pub async fn resume_repository(&self, caller: &Caller, id: RepositoryId) -> Result<Repository> {
        let inner = self.inner();
        let repository = inner.changeable(caller, id).await?;
        let schedule = inner.schedule_after_pause(&repository).await?;
        let audit = inner.audit_of_repository(caller, "repository.resume", id);
        inner.db.resume_repository(id, &schedule, &audit).await?.ok_or_else(missing)
    }

    /// Attaches a plan (or none); its tasks are scheduled from now.
    pub async fn attach_plan(&self, caller: &Caller, id: RepositoryId, plan: Option<PlanId>) -> Result<Repository> {
        let inner = self.inner();
        inner.changeable(caller, id).await?;
        let schedule = inner.schedule_of_plan(plan).await?;
        let audit = inner.audit_of_repository(caller, "repository.attach_plan", id);
        inner.db.attach_plan(id, plan, &schedule, &audit).await?.ok_or_else(missing)
    }

    /// Next runs of an active, unpaused repository, in the plan's order; empty otherwise.
    pub async fn scheduled_tasks(&self, caller: &Caller, id: RepositoryId) -> Result<Vec<ScheduledTask>> {
        caller.require(Role::Reader)?;
        let inner = self.inner();
        let repository = inner.covered(caller, id).await?;
        let (RepositoryState::Active { paused: false }, Some(plan)) = (repository.state, repository.plan) else {
            return Ok(Vec::new());
        };
        let Some(plan) = inner.db.plan(plan).await? else { return Ok(Vec::new()) };
        let schedule = inner.db.schedule(id).await?;
        let next = |task: &PlanTask| {
            let entry = schedule.iter().find(|entry| entry.task == task.name)?;
            Some(ScheduledTask { name: task.name.clone(), kind: task.kind, next_run: entry.next_run })
        };
        Ok(plan.tasks.iter().filter_map(next).collect())
    }
}

/// A repository that is about to come into being.
struct New {
    repository: Repository,
    retention: Option<Retention>,
    schedule: Vec<ScheduleEntry>,
    labels: Labels,
}

impl Inner {
    /// A repository that the caller's credential covers.
    async fn covered(&self, caller: &Caller, id: RepositoryId) -> Result<Repository> {
        let repository = self.db.repository(id).await?.ok_or_else(missing)?;
        covers(caller, repository.sources)?;
        Ok(repository)
    }

    /// An active repository that the caller may change.
    async fn changeable(&self, caller: &Caller, id: RepositoryId) -> Result<Repository> {
        caller.require(Role::Operator)?;
        let repository = self.covered(caller, id).await?;
        match repository.state {
            RepositoryState::Active { paused: _ } => Ok(repository),
            RepositoryState::Archived | RepositoryState::Imported => Err(Error::new(
                ErrorCode::NotReady(Noun::Repository),
                format!("The repository {} is not active.", repository.name),
            )),
        }
    }

    async fn new_repository(&self, new: NewRepository) -> Result<New> {
        let NewRepository { owner, name, store, sources, plan, retention, aliases, attributes } = new;
        let store = match store {
            Some(id) => self.db.store(id).await?,
            None => self.db.stores().await?.into_iter().find(|store| store.is_default),
        };
        let store = store.ok_or_else(|| {
            Error::not_found(Noun::Store, "There is no such store, or none is the default.")
                .hint("`trivault store list` shows the stores.")
        })?;
        if let SourceSelection::One(source) = sources
            && self.db.source(source).await?.is_none()
        {
            return Err(Error::not_found(Noun::Source, "There is no such source."));
        }
        let now = self.clock.now();
        let repository = Repository {
            id: RepositoryId(Uuid::now_v7()),
            owner: owner.to_owned(),
            name,
            state: RepositoryState::Active { paused: false },
            store: store.id,
            sources,
            plan,
            created_at: now,
            updated_at: now,
        };
        let at = ObjectRef::new(ObjectKind::Repository, repository.id.0);
        let mut labels = Labels::default();
        labels.propose(&self.namers, at, NewObject::Repository(&repository));
        labels.claim(at, aliases);
        labels.attach(at, attributes);
        Ok(New { schedule: self.schedule_of_plan(plan).await?, repository, retention, labels })
    }

    async fn schedule_of_plan(&self, plan: Option<PlanId>) -> Result<Vec<ScheduleEntry>> {
        let Some(id) = plan else { return Ok(Vec::new()) };
        let plan = self.db.plan(id).await?;
        let plan = plan.ok_or_else(|| Error::not_found(Noun::Plan, "There is no such plan."))?;
        Ok(self.schedule_of(&plan))
    }

    /// The next run of each task's own series: counted on from the run that passed while paused, so that an hourly task
    /// keeps its minute.
    async fn schedule_after_pause(&self, repository: &Repository) -> Result<Vec<ScheduleEntry>> {
        let Some(plan) = repository.plan else { return Ok(Vec::new()) };
        let Some(plan) = self.db.plan(plan).await? else { return Ok(Vec::new()) };
        let now = self.clock.now();
        let standing = self.db.schedule(repository.id).await?;
        let mut schedule = self.schedule_of(&plan);
        for entry in &mut schedule {
            let passed = standing.iter().find(|passed| passed.task == entry.task);
            let task = plan.tasks.iter().find(|task| task.name == entry.task);
            let (Some(passed), Some(task)) = (passed, task) else { continue };
            let next = if passed.next_run > now {
                Some(passed.next_run)
            } else {
                crate::schedule::following(&task.schedule, passed.next_run, now)
            };
            if let Some(next) = next {
                entry.next_run = next;
            }
        }
        Ok(schedule)
    }

    fn audit_of_repository(&self, caller: &Caller, action: &str, id: RepositoryId) -> AuditEntry {
        AuditEntry::of(caller, self.clock.now(), action, Some(ObjectRef::new(ObjectKind::Repository, id.0)))
    }
}

/// A credential that is limited to a source covers the repositories of that source alone.
fn covers(caller: &Caller, sources: SourceSelection) -> Result<()> {
    match sources {
        SourceSelection::One(source) => caller.require_source(source),
        SourceSelection::All => caller.require_everything(),
    }
}

fn missing() -> Error {
    Error::not_found(Noun::Repository, "There is no such repository.")
}
