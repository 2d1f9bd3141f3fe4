use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Stage;

/// Answer of an operation that runs on (section 6.12).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Submitted {
    /// Absolute.
    pub jobs_url: String,
    pub jobid: String,
    /// `SUBMITTED`
    pub status: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Jobs {
    /// Ids, newest first.
    pub jobs: Vec<String>,
}

/// A job (section 10.1): names are all lower case. Instants are milliseconds since 1970, UTC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Job {
    pub jobid: String,
    /// `SUBMITTED`, `EXECUTING`, `COMPLETED`, `FAILED`, `CANCELLING`, `CANCELLED`
    pub status: String,
    #[serde(rename = "operationURI")]
    pub operation_uri: String,
    pub username: String,
    pub starttime: i64,
    pub updatedtime: i64,
    /// 0 until it ends.
    pub endtime: i64,
    pub messages: Vec<String>,
    /// For scripts of service jobs, which read `resource.name`.
    pub resource: JobResource,
    /// Absent until the job ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub result: Option<JobResult>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobResource {
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobResult {
    /// `success`, `completed_with_warnings`, `failed`
    pub state: String,
    pub code: u8,
    pub message: String,
    pub stages: Vec<Stage>,
}
