//! Lets go of what it is no longer good for to know about runs of plans' tasks: each run leaves a row that keeps it from running twice.
//!
//! Jobs stay as the history. Of a task's removed runs the end is kept, and what was due by then does not run again.

use std::collections::HashMap;

use chrono::TimeDelta;

use crate::{
    domain::{Plan, PlanId, RepositoryFilter, RepositoryId, Result},
    schedule,
    service::Inner,
};

/// Runs that were due so long ago are let go of.
const KEPT: TimeDelta = TimeDelta::days(35);

pub(crate) async fn remove_old(inner: &Inner) -> Result<()> {
    let Some(before) = inner.clock.now().checked_sub_signed(KEPT) else { return Ok(()) };
    let tasks = inner.db.tasks_with_occurrences(before).await?;
    if tasks.is_empty() {
        return Ok(());
    }
    let plans: HashMap<PlanId, Plan> = inner.db.all_plans().await?.into_iter().map(|plan| (plan.id, plan)).collect();
    let repositories = inner.db.repositories(&RepositoryFilter::default()).await?;
    let plan_of: HashMap<RepositoryId, &Plan> =
        repositories.iter().filter_map(|repository| Some((repository.id, plans.get(&repository.plan?)?))).collect();
    let mut removed = 0;
    for (repository, task) in tasks {
        // A series of so many runs is counted by them, from when its plan was last changed.
        let plan = plan_of.get(&repository);
        let counted_from = plan
            .filter(|plan| {
                let is_counted = |rule| schedule::most_runs(rule).is_some();
                plan.tasks.iter().any(|one| one.name == task && is_counted(&one.schedule))
            })
            .map_or(before, |plan| plan.updated_at);
        removed += inner.db.remove_occurrences(repository, &task, before.min(counted_from)).await?;
    }
    if removed > 0 {
        tracing::debug!(runs = removed, "let go of what was known about old runs of plans");
    }
    Ok(())
}
