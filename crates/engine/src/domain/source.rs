//! Sources: live data that can be captured and put back.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use trivault_sources::SourceConfig;

use super::SourceId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceStatus {
    Attached,
    /// Managed by a configuration that no longer names it; its backups stay.
    Detached,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    pub id: SourceId,
    /// `[A-Za-z0-9][A-Za-z0-9_.-]{0,63}`, unique among attached sources.
    pub name: String,
    pub config: SourceConfig,
    pub status: SourceStatus,
    /// Comes from the configuration or `--source`: not editable elsewhere.
    pub managed: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct NewSource {
    pub name: String,
    pub config: SourceConfig,
    pub managed: bool,
}
