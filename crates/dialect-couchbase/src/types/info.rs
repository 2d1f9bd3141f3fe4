//! What is in a repository.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// `GET .../info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Info {
    /// The repository's `repo`, not its id.
    pub name: String,
    /// Bytes that all backups take in the store.
    pub size: u64,
    /// All backups, not only those of this page.
    pub count: usize,
    /// Oldest first.
    pub backups: Vec<Backup>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Backup {
    /// The backup's name.
    #[schema(example = "2020-09-29T11_28_16.197951+01_00")]
    pub date: String,
    #[serde(rename = "type")]
    pub backup_type: BackupType,
    /// Where the data came from: this cluster's URL; `Merge` for merges.
    pub source: String,
    /// Merges only: the names of all merged backups, oldest first, its own last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub range: Option<Vec<String>>,
    /// Eventing functions: always 0.
    pub events: u64,
    /// Search aliases: always 0.
    pub fts_alias: u64,
    /// Bytes that this backup added to the store.
    pub size: u64,
    pub buckets: Vec<Bucket>,
    /// False while it runs, when it was interrupted, and when what is stored of it was found to be damaged.
    pub complete: bool,
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub source_cluster_uuid: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub enum BackupType {
    #[serde(rename = "FULL")]
    Full,
    #[serde(rename = "INCR")]
    Incremental,
    #[serde(rename = "MERGE - FULL")]
    MergedFull,
    #[serde(rename = "MERGE - INCR")]
    MergedIncremental,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Bucket {
    pub name: String,
    pub size: u64,
    /// Live rows or files.
    pub items: u64,
    /// What a full backup carries; 0 for an incremental one whose source cannot tell.
    pub mutations: u64,
    pub tombstones: u64,
    pub views_count: u64,
    pub fts_count: u64,
    pub index_count: u64,
    pub analytics_count: u64,
    /// By decimal scope id.
    pub scopes: BTreeMap<String, Scope>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Scope {
    pub uid: u32,
    pub name: String,
    pub mutations: u64,
    pub tombstones: u64,
    /// By decimal collection id.
    pub collections: BTreeMap<String, Collection>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Collection {
    pub id: u32,
    pub name: String,
    pub mutations: u64,
    pub tombstones: u64,
}
