//! Repositories: named series of backups in a store.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Alias, Attribute, PlanId, RepositoryId, Retention, SourceId, StoreId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepositoryState {
    /// Takes backups. While paused, nothing that is scheduled runs.
    Active {
        paused: bool,
    },
    Archived,
    Imported,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceSelection {
    /// Every source that is attached when a backup begins.
    All,
    One(SourceId),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repository {
    pub id: RepositoryId,
    /// Who made it: a dialect's name; opaque to the engine. Names are unique within (owner, active | archived | imported).
    pub owner: String,
    pub name: String,
    pub state: RepositoryState,
    pub store: StoreId,
    pub sources: SourceSelection,
    pub plan: Option<PlanId>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub struct NewRepository {
    pub owner: &'static str,
    pub name: String,
    /// `None`: the default store.
    pub store: Option<StoreId>,
    pub sources: SourceSelection,
    pub plan: Option<PlanId>,
    /// What it keeps; `None`: everything.
    pub retention: Option<Retention>,
    pub aliases: Vec<Alias>,
    pub attributes: Vec<Attribute>,
}

/// All given conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct RepositoryFilter {
    pub owner: Option<String>,
    pub store: Option<StoreId>,
    pub name: Option<String>,
}
