//! Backups of one database.

use serde::Serialize;
use utoipa::ToSchema;

use super::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BackupList {
    /// Newest first, all states, complete.
    pub database_backups: Vec<Backup>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BackupAnswer {
    pub database_backup: Backup,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Backup {
    /// 24 hexadecimal digits; the first eight are the seconds of its creation.
    pub id: String,
    /// When it was requested or came due.
    pub created_at: Timestamp,
    #[schema(required)]
    pub started_at: Option<Timestamp>,
    /// `YYYYMMDDHHMMSS_<resource id>`, in UTC.
    pub name: String,
    /// Bytes of the download; null until the backup has ended, 0 when it failed.
    #[schema(required)]
    pub size: Option<u64>,
    pub status: BackupStatus,
    /// 24 hexadecimal digits: the database's id, not the addon's.
    pub database_id: String,
    pub method: BackupMethod,
    /// Own extension: when it ended.
    #[schema(required)]
    pub ended_at: Option<Timestamp>,
    /// Own extension: why there is nothing to download.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Own extension: what `error` stands for here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<BackupErrorCode>,
    /// Own extension: what a person should know about a backup that succeeded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub warnings: Vec<String>,
    /// Own extension: made under a passcode, which this API has no place for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub protected: bool,
}

/// The states that end a client's wait are `done` and `error` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackupStatus {
    Scheduled,
    Running,
    Done,
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackupMethod {
    Periodic,
    Manual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackupErrorCode {
    Failed,
    Cancelled,
    /// It was there, and has vanished from the store.
    Lost,
    /// What is stored of it is not what was captured.
    Damaged,
}

/// `GET /api/databases/:db/backups/:id/archive`, without a root.
#[derive(Serialize, ToSchema)]
pub struct Archive {
    /// Absolute; needs no header; one parameter of `[A-Za-z0-9._-]`.
    pub download_url: String,
}
