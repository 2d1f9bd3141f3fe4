//! Jobs: one run of one kind of work.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use trivault_sources::{Progress, Warning};

use super::{BackupId, JobId, RepositoryId, SourceId, StoreId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    Backup,
    Restore,
    /// Deletes one backup from catalogue and vault.
    Forget,
    Merge,
    Prune,
    Verify,
    Import,
    Export,
    Drill,
}

/// `queued → running → succeeded | failed | cancelled`; `queued → cancelled | failed | skipped`; `running → queued` on
/// retry or lost lease. Terminal states never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    Skipped,
}

impl JobState {
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Skipped => true,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    Pending,
    Running,
    Succeeded,
    Failed,
    Skipped,
}

/// Steps of a kind are declared in order and recorded as they happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// `validate`, `capture`, `commit`, `verify`, `clean_up` ...
    pub name: String,
    /// The source, for steps that run once per part.
    pub source: Option<SourceId>,
    pub state: StepState,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub id: JobId,
    pub kind: JobKind,
    pub state: JobState,
    pub repository: Option<RepositoryId>,
    pub store: Option<StoreId>,
    /// The backup it makes, restores or deletes.
    pub backup: Option<BackupId>,
    /// Name of the plan's task for scheduled jobs.
    pub task: Option<String>,
    /// Who asked for it.
    pub principal: String,
    /// Through which door (`Caller::via`).
    pub via: String,
    pub attempt: u32,
    pub cancel_requested: bool,
    pub progress: Progress,
    /// Bytes added to the vault so far.
    pub bytes_stored: u64,
    /// 0..=100; 100 only when succeeded.
    pub percent: u8,
    pub steps: Vec<Step>,
    pub warnings: Vec<Warning>,
    pub failure: Option<Failure>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub updated_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    /// Estimated end, where it can be told.
    pub estimated_end: Option<DateTime<Utc>>,
}

/// Why a job failed or was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable word: `source_unavailable`, `store_full`, `interrupted` ...
    pub code: String,
    pub sentence: String,
    pub hint: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub at: DateTime<Utc>,
    pub text: String,
}

/// All given conditions must hold. Newest first (by creation).
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    pub repository: Option<RepositoryId>,
    pub store: Option<StoreId>,
    pub backup: Option<BackupId>,
    pub kinds: Vec<JobKind>,
    pub states: Vec<JobState>,
    /// Started (or, while queued, created) at or after.
    pub started_from: Option<DateTime<Utc>>,
    /// Exact: the plan's task name, or the job's alias in this namespace.
    pub name: Option<super::Alias>,
    pub limit: Option<u32>,
    pub offset: u32,
}
