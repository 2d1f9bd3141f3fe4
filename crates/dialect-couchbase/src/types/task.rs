//! One-off tasks, running tasks and the history.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::TaskType;
use crate::json::{Fields, FromJson, Mismatch};

/// The answer to a one-off task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"task_name":"BACKUP-6230b85e-f925-401d-a632-8688929263e2"}))]
pub struct TaskName {
    pub task_name: String,
}

/// `POST .../backup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
pub struct BackupRequest {
    /// Default: false.
    pub full_backup: Option<bool>,
}

impl FromJson for BackupRequest {
    fn from_json(value: &Value) -> Result<Self, Mismatch> {
        Ok(Self { full_backup: Fields::of(value)?.flag("full_backup")? })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TaskRun {
    /// Only of running tasks: the vendor's client reads this name there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub name: Option<String>,
    pub task_name: String,
    pub status: TaskStatus,
    #[schema(format = DateTime)]
    pub start: String,
    /// `0001-01-01T00:00:00Z` while it runs.
    #[schema(format = DateTime)]
    pub end: String,
    pub node_runs: Vec<NodeRun>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub error: Option<String>,
    pub error_code: u32,
    #[serde(rename = "type")]
    pub task_type: TaskType,
    /// Only of restores.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub target_cluster: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    Unknown,
    Failed,
    Done,
    Running,
    Waiting,
    Skipped,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct NodeRun {
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub node_id: String,
    pub status: TaskStatus,
    #[schema(format = DateTime)]
    pub start: String,
    #[schema(format = DateTime)]
    pub end: String,
    #[schema(minimum = 0, maximum = 100)]
    pub progress: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub stats: Option<Stats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub error: Option<String>,
    pub error_code: u32,
    /// What a person should know: warnings and hints.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub out: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Stats {
    #[schema(format = Uuid)]
    pub id: String,
    pub current_transfer: usize,
    pub total_transfers: usize,
    pub transfers: Vec<Transfer>,
    pub progress: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    pub eta: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Transfer {
    /// Names the backup: `Backing up to <name>`.
    pub description: String,
    pub stats: TransferStats,
    pub progress: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    pub eta: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TransferStats {
    /// Nanoseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub started_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub finished_at: Option<i64>,
    pub buckets: BTreeMap<String, BucketStats>,
    pub complete: bool,
}

/// Counters that are zero are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct BucketStats {
    #[serde(skip_serializing_if = "is_zero")]
    pub estimated_total_items: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub total_items: u64,
    /// Steps of the work, and how many are done.
    #[serde(skip_serializing_if = "is_zero")]
    pub total_vbuckets: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub vbuckets_complete: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_received: u64,
    pub complete: bool,
    pub errored: bool,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
