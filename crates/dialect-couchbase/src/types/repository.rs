//! Repositories and the cluster that holds them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{TaskRun, TaskType};
use crate::json::{Fields, FromJson, Mismatch};

/// `GET /cluster/self`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Cluster {
    /// `self`
    pub name: String,
    pub imported: BTreeMap<String, Repository>,
    pub archived: BTreeMap<String, Repository>,
    pub active: BTreeMap<String, Repository>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Repository {
    pub id: String,
    /// Empty for imported ones.
    pub plan_name: String,
    /// Only of repositories of a single bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub bucket: Option<BucketRef>,
    pub state: RepositoryState,
    /// As it was given.
    pub archive: String,
    /// The series' own id.
    #[schema(format = Uuid)]
    pub repo: String,
    /// Absent when paused, archived or imported.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub scheduled: BTreeMap<String, ScheduledTask>,
    /// Absent when nothing runs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub running_one_off: BTreeMap<String, TaskRun>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub running_tasks: BTreeMap<String, TaskRun>,
    pub version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub health: Option<Health>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub cloud_info: Option<CloudInfo>,
    #[schema(format = DateTime)]
    pub creation_time: String,
    #[schema(format = DateTime)]
    pub update_time: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RepositoryState {
    Active,
    Paused,
    Archived,
    Imported,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BucketRef {
    pub name: String,
    /// 32 hexadecimal digits; another one when the bucket was made anew.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub uuid: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ScheduledTask {
    pub name: String,
    pub task_type: TaskType,
    #[schema(format = DateTime)]
    pub next_run: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Health {
    pub healthy: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub health_issue: Option<String>,
}

/// Of repositories in an object store; never a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CloudInfo {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub credentials_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub staging_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub endpoint: Option<String>,
    pub force_path_style: bool,
    /// `AWS`
    pub provider: String,
}

/// `POST .../repository/active/<id>`. Unknown members are ignored; credentials are checked to be there and not kept: the
/// configured store has its own.
#[derive(Clone, PartialEq, Eq, ToSchema)]
pub struct RepositoryRequest {
    #[schema(required)]
    pub plan: Option<String>,
    /// An absolute path, or `s3://bucket/prefix` of a configured store.
    #[schema(required)]
    pub archive: Option<String>,
    /// Empty or absent: all buckets.
    pub bucket_name: Option<String>,
    pub cloud_credential_name: Option<String>,
    pub cloud_staging_dir: Option<String>,
    pub cloud_credentials_id: Option<String>,
    pub cloud_credentials_key: Option<String>,
    pub cloud_credentials_refresh_token: Option<String>,
    /// `cloud_credentials_region` is another name of it.
    pub cloud_region: Option<String>,
    pub cloud_endpoint: Option<String>,
    pub cloud_force_path_style: Option<bool>,
}

impl FromJson for RepositoryRequest {
    fn from_json(value: &Value) -> Result<Self, Mismatch> {
        let fields = Fields::of(value)?;
        let old_region = fields.text("cloud_credentials_region")?;
        Ok(Self {
            plan: fields.text("plan")?,
            archive: fields.text("archive")?,
            bucket_name: fields.text("bucket_name")?,
            cloud_credential_name: fields.text("cloud_credential_name")?,
            cloud_staging_dir: fields.text("cloud_staging_dir")?,
            cloud_credentials_id: fields.text("cloud_credentials_id")?,
            cloud_credentials_key: fields.text("cloud_credentials_key")?,
            cloud_credentials_refresh_token: fields.text("cloud_credentials_refresh_token")?,
            cloud_region: fields.text("cloud_region")?.or(old_region),
            cloud_endpoint: fields.text("cloud_endpoint")?,
            cloud_force_path_style: fields.flag_or_text("cloud_force_path_style")?,
        })
    }
}

impl std::fmt::Debug for RepositoryRequest {
    /// Without the credentials.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("RepositoryRequest")
            .field("plan", &self.plan)
            .field("archive", &self.archive)
            .field("bucket_name", &self.bucket_name)
            .finish_non_exhaustive()
    }
}
