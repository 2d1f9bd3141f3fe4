//! Plans: named rules for what runs and when.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Attribute, JobKind, PlanId, Schedule};

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
    /// Backup, merge or prune.
    pub kind: JobKind,
    pub schedule: Schedule,
    pub full: bool,
    /// Days counted back from today that a merge folds: newest, then how many more.
    pub merge_window: Option<MergeWindow>,
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

/// When a task of an attached plan runs next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledTask {
    pub name: String,
    pub kind: JobKind,
    pub next_run: DateTime<Utc>,
}
