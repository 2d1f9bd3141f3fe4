use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The administrator root. Versions are strings of dot-separated integers, because clients split them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdminRoot {
    pub current_version: String,
    pub full_version: String,
    pub resources: Vec<String>,
    pub status: RootStatus,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RootStatus {
    pub state: String,
    pub stages: Vec<String>,
}

/// A resource that only leads on: `/admin/system`, `/admin/system/disasterrecovery`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    pub operations: Vec<String>,
    pub resources: Vec<String>,
}
