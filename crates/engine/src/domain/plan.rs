//! Plans: named rules for what runs and when.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Attribute, JobId, JobKind, JobState, PlanId, RepositoryId, Schedule, VerifyLevel};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub id: PlanId,
    pub owner: String,
    /// Unique within its owner.
    pub name: String,
    pub description: Option<String>,
    /// Shipped with the product; cannot be changed or deleted.
    pub builtin: bool,
    /// In the order given.
    pub tasks: Vec<PlanTask>,
    pub attributes: Vec<Attribute>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanTask {
    /// Unique in the plan.
    pub name: String,
    /// Backup, merge, prune or verify.
    pub kind: JobKind,
    pub schedule: Schedule,
    pub full: bool,
    /// Days counted back from today that a merge folds: newest, then how many more.
    pub merge_window: Option<MergeWindow>,
    /// What a verification looks at; every task of that kind has it, and no other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<VerifyTask>,
}

/// What a plan's verification looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyTask {
    /// Structure and data are those of the vault in which the server keeps the repository's backups; a restore is that of the newest
    /// good backup of each of the repository's sources.
    pub level: VerifyLevel,
    /// Of the level data: each run reads one of so many shares, in turn; 1 is everything.
    pub shares: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeWindow {
    pub offset_start: u32,
    pub offset_end: u32,
}

#[derive(Clone, Debug)]
pub struct NewPlan {
    pub owner: &'static str,
    pub name: String,
    pub description: Option<String>,
    pub builtin: bool,
    pub tasks: Vec<PlanTask>,
    pub attributes: Vec<Attribute>,
}

/// One run of a plan's task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRun {
    pub job: JobId,
    pub state: JobState,
    /// When it should have begun.
    pub due: DateTime<Utc>,
    /// When it was enqueued: later than due after a downtime.
    pub began: DateTime<Utc>,
    pub ended: Option<DateTime<Utc>>,
}

/// How a task stands of the plan that is attached to an active repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskStanding {
    pub repository: RepositoryId,
    pub repository_name: String,
    pub owner: String,
    /// Nothing of the repository runs, and nothing is overdue.
    pub paused: bool,
    pub plan: PlanId,
    pub plan_name: String,
    pub task: PlanTask,
    /// Since when this schedule holds for the repository.
    pub holds_since: DateTime<Utc>,
    pub last_run: Option<TaskRun>,
    pub last_success: Option<TaskRun>,
    /// `None`: the series has ended.
    pub next_run: Option<DateTime<Utc>>,
    /// Since when it should have succeeded: its time and a grace have passed. Only for what proves or makes backups.
    pub overdue_since: Option<DateTime<Utc>>,
}

/// A run that is ahead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpcomingRun {
    pub at: DateTime<Utc>,
    pub task: String,
    pub kind: JobKind,
    pub zone: chrono_tz::Tz,
}

/// When a task of an attached plan runs next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledTask {
    pub name: String,
    pub kind: JobKind,
    pub next_run: DateTime<Utc>,
}
