use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stores {
    /// `[]` when empty, never absent.
    pub backup_stores: Vec<BackupStore>,
}

/// A backup store (section 6.4). Credentials never appear.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackupStore {
    pub name: String,
    pub default: bool,
    /// `HOSTED` or `S3`
    #[serde(rename = "type")]
    pub store_type: String,
    pub root_dir: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub storage_config: Option<StorageConfig>,
    /// S3 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub bucket_name: Option<String>,
    /// S3 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub region: Option<String>,
    /// A stable word for the store; not a secret.
    pub identity: String,
    pub auto_shutdown: bool,
    pub version_created: String,
    #[serde(rename = "providerID")]
    pub provider_id: String,
    #[serde(rename = "serviceID")]
    pub service_id: String,
    #[serde(rename = "supportBDSBackup")]
    pub support_bds_backup: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StorageConfig {
    /// `STATIC` or `DYNAMIC`
    pub provisioning_type: String,
    pub storage_class: String,
    /// A quantity such as `64Gi`.
    pub size: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Object)]
    pub labels: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusResource {
    pub status: Status,
}

/// The last submitted recovery job (section 8). Only `code`, `state` and `messages` when nothing ever ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// 0 nothing ever ran, 1 running, 2 failed, 3 finished well
    pub code: u8,
    /// `no_op`, `in_progress`, `success`, `completed_with_warnings`, `failed`
    pub state: String,
    /// For readers of version 10.9.
    pub messages: Vec<StatusMessage>,
    #[serde(flatten)]
    pub details: Option<StatusDetails>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusDetails {
    /// `Backup` or `Restore`
    pub operation: String,
    /// `MANUAL` or `SCHEDULED`
    pub schedule_type: String,
    pub backup_name: String,
    pub backup_store: String,
    /// Milliseconds since 1970, UTC; 0 until it starts.
    pub start_time: i64,
    /// Milliseconds since 1970, UTC; 0 until it ends.
    pub complete_time: i64,
    /// `00hr:01min:21sec:558millisec`
    pub overall_duration: String,
    pub message: String,
    pub stages: Vec<Stage>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusMessage {
    pub code: u32,
    pub message: String,
    /// Milliseconds since 1970, UTC.
    pub when: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stage {
    pub name: String,
    /// `pending`, `in_progress`, `completed`, `failed`, `skipped`
    pub state: String,
    /// `<n> millis (~ <m> minutes)`
    pub duration: String,
    /// Milliseconds since 1970, UTC; 0 while pending.
    pub last_updated: i64,
}
