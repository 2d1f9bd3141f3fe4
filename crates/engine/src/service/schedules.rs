//! How plans' tasks stand: what ran, what comes, what is overdue.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::{Engine, Inner};
use crate::{
    db::{ScheduleEntry, TaskHistory},
    domain::*,
    schedule::{self, Success},
};

impl Engine {
    /// Every task of the plans that are attached to active repositories, or to one of them; in the order of the repositories'
    /// making and of their plan.
    ///
    /// # Errors
    /// `Forbidden`, `DatabaseUnavailable`.
    pub async fn task_standings(&self, caller: &Caller, repository: Option<RepositoryId>) -> Result<Vec<TaskStanding>> {
        let mut covered = self.repositories(caller, RepositoryFilter::default()).await?;
        covered.retain(|it| repository.is_none_or(|id| it.id == id));
        self.inner().standings(covered, repository).await
    }

    /// The tasks whose newest success is older than it may be.
    ///
    /// # Errors
    /// As [`Engine::task_standings`].
    pub async fn overdue(&self, caller: &Caller, repository: Option<RepositoryId>) -> Result<Vec<TaskStanding>> {
        let mut standings = self.task_standings(caller, repository).await?;
        standings.retain(|standing| standing.overdue_since.is_some());
        Ok(standings)
    }

    /// The next runs of a repository's tasks, the earliest first; of a paused one, as if it were resumed now.
    ///
    /// # Errors
    /// `NotFound(Repository)`.
    pub async fn upcoming_runs(&self, caller: &Caller, id: RepositoryId, count: usize) -> Result<Vec<UpcomingRun>> {
        let repository = self.repository(caller, id).await?;
        let (RepositoryState::Active { paused: _ }, Some(plan)) = (repository.state, repository.plan) else {
            return Ok(Vec::new());
        };
        let plan = self.plan(caller, plan).await?;
        let entries = self.inner().db.schedule(id).await?;
        let now = self.now();
        let mut runs = Vec::new();
        for task in &plan.tasks {
            let Some(entry) = entries.iter().find(|entry| entry.task == task.name) else { continue };
            let first = if entry.next_run > now || repository.state == (RepositoryState::Active { paused: false }) {
                Some(entry.next_run)
            } else {
                schedule::following(&task.schedule, entry.next_run, now)
            };
            runs.extend(of_task(task, first, count));
        }
        Ok(earliest(runs, count))
    }

    /// The runs that a repository would see to which the plan were attached now, the earliest first.
    ///
    /// # Errors
    /// `NotFound(Plan)`.
    pub async fn upcoming_runs_of_plan(&self, caller: &Caller, id: PlanId, count: usize) -> Result<Vec<UpcomingRun>> {
        let (plan, now) = (self.plan(caller, id).await?, self.now());
        let runs = plan.tasks.iter().flat_map(|task| of_task(task, schedule::first(&task.schedule, now), count));
        Ok(earliest(runs.collect(), count))
    }
}

fn of_task(task: &PlanTask, first: Option<DateTime<Utc>>, count: usize) -> Vec<UpcomingRun> {
    let most = schedule::most_runs(&task.schedule).and_then(|runs| usize::try_from(runs).ok());
    let after = first.into_iter().flat_map(|first| schedule::upcoming(&task.schedule, first));
    let run = |at| UpcomingRun { at, task: task.name.clone(), kind: task.kind, zone: task.schedule.zone };
    first.into_iter().chain(after).take(count.min(most.unwrap_or(count))).map(run).collect()
}

fn earliest(mut runs: Vec<UpcomingRun>, count: usize) -> Vec<UpcomingRun> {
    runs.sort_by_key(|run| run.at);
    runs.truncate(count);
    runs
}

/// Whether people count on this kind's success: what makes or proves backups.
fn is_counted_on(kind: JobKind) -> bool {
    match kind {
        JobKind::Backup | JobKind::Verify | JobKind::Drill => true,
        JobKind::Restore | JobKind::Forget | JobKind::Merge | JobKind::Prune | JobKind::Import | JobKind::Export => {
            false
        }
    }
}

/// A task's runs, past and to come.
struct Runs {
    next_run: Option<DateTime<Utc>>,
    last_run: Option<TaskRun>,
    last_success: Option<TaskRun>,
}

impl Inner {
    /// Of these repositories, which are all or the one that is named.
    pub(crate) async fn standings(
        &self,
        repositories: Vec<Repository>,
        only: Option<RepositoryId>,
    ) -> Result<Vec<TaskStanding>> {
        let plans: HashMap<PlanId, Plan> = self.db.all_plans().await?.into_iter().map(|plan| (plan.id, plan)).collect();
        let mut histories: HashMap<(RepositoryId, String), TaskHistory> = self
            .db
            .task_histories(only)
            .await?
            .into_iter()
            .map(|history| ((history.repository, history.entry.task.clone()), history))
            .collect();
        let mut standings = Vec::new();
        for repository in repositories {
            let RepositoryState::Active { paused } = repository.state else { continue };
            let Some(plan) = repository.plan.and_then(|plan| plans.get(&plan)) else { continue };
            for task in &plan.tasks {
                let runs = match histories.remove(&(repository.id, task.name.clone())) {
                    Some(TaskHistory { repository: _, entry, last_run, last_success }) => {
                        let ScheduleEntry { task: _, next_run, last_run: _ } = entry;
                        Runs { next_run: Some(next_run), last_run, last_success }
                    }
                    // The series has ended: how it did is still of interest.
                    None => {
                        let (last_run, last_success) = self.db.last_runs(repository.id, &task.name).await?;
                        Runs { next_run: None, last_run, last_success }
                    }
                };
                standings.push(self.standing(&repository, paused, plan, task, runs));
            }
        }
        Ok(standings)
    }

    fn standing(
        &self,
        repository: &Repository,
        paused: bool,
        plan: &Plan,
        task: &PlanTask,
        runs: Runs,
    ) -> TaskStanding {
        // Both change with whatever schedules the repository anew.
        let holds_since = plan.updated_at.max(repository.updated_at);
        let Runs { next_run, last_run, last_success } = runs;
        let overdue_since = if paused || next_run.is_none() || !is_counted_on(task.kind) {
            None
        } else {
            let success = last_success.map(|run: TaskRun| Success { due: run.due, began: run.began });
            let (grace, now) = (self.options.overdue_grace, self.clock.now());
            schedule::overdue_since(&task.schedule, holds_since, success, grace, now)
        };
        TaskStanding {
            repository: repository.id,
            repository_name: repository.name.clone(),
            owner: repository.owner.clone(),
            paused,
            plan: plan.id,
            plan_name: plan.name.clone(),
            task: task.clone(),
            holds_since,
            last_run,
            last_success,
            next_run,
            overdue_since,
        }
    }
}
