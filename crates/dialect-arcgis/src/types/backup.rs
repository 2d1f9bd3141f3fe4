use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Backups {
    /// `[]` when empty, never absent.
    pub backups: Vec<Backup>,
}

/// One backup of a store (section 6.10). Instants are milliseconds since 1970, UTC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backup {
    pub backup_name: String,
    pub backup_store: String,
    /// Always `FULL`: every backup restores alone.
    pub backup_type: String,
    /// `MANUAL` or `SCHEDULED`
    pub schedule_type: String,
    /// `running`, `completed`, `failed`; `failed` too where what is stored was found to be damaged
    pub status: String,
    pub description: String,
    pub start_time: i64,
    /// 0 until it ends.
    pub complete_time: i64,
    /// -1: for ever.
    pub retention_date: i64,
    pub release: String,
    pub site_name: String,
    pub namespace: String,
    /// Always redacted; empty where no passcode protects the backup.
    pub encrypt_key: String,
    /// Databases.
    pub relational_store: Vec<RelationalStore>,
    /// Directories.
    pub object_store: Vec<ObjectStore>,
    pub infrastructures: Infrastructures,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RelationalStore {
    /// The source's name.
    #[serde(rename = "clusterID")]
    pub cluster_id: String,
    pub status: String,
    pub start_time: i64,
    pub end_time: i64,
    pub system_databases: Vec<String>,
    pub geodatabases: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectStore {
    /// The source's name.
    #[serde(rename = "clusterID")]
    pub cluster_id: String,
    pub status: String,
    pub start_time: i64,
    pub end_time: i64,
    pub buckets: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Infrastructures {
    pub status: String,
    pub start_time: i64,
    pub end_time: i64,
}

/// Answer of delete: at once, or with its job when `async=true`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Deleted {
    Submitted(super::Submitted),
    Done(super::Success),
}

/// `{"status": "success"}`, as documented, and the job beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestoreStarted {
    /// Always `success`.
    pub status: String,
    pub jobs_url: String,
    pub jobid: String,
}
