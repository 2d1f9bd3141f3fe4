//! Stores: places with bytes, and the vaults in them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{StoreId, VaultId};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StoreLocation {
    /// Absolute path of a directory.
    Local { path: String },
    /// Credentials are sealed beside, never here.
    S3 {
        bucket: String,
        prefix: String,
        region: Option<String>,
        endpoint: Option<String>,
        path_style: bool,
        allow_http: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    pub id: StoreId,
    /// `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`, unique.
    pub name: String,
    pub location: StoreLocation,
    pub is_default: bool,
    /// Belongs to another installation: attached read-only until adopted.
    pub read_only: bool,
    pub managed: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub struct NewStore {
    pub name: String,
    pub location: StoreLocation,
    pub credentials: Option<StoreCredentials>,
    pub is_default: bool,
    pub managed: bool,
}

/// Of an S3 store; sealed under the server key.
#[derive(Clone, Debug)]
pub struct StoreCredentials {
    pub access_key: String,
    pub secret_key: super::SecretText,
    pub session_token: Option<super::SecretText>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VaultKind {
    /// `<store>/vault`, key held by the server.
    Server,
    /// `<store>/p/<random id>`, key known only by its passcode.
    Passcode,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultRecord {
    pub id: VaultId,
    pub store: StoreId,
    pub kind: VaultKind,
    /// Below the store: `vault`, `p/<random id>`.
    pub path: String,
    pub created_at: DateTime<Utc>,
}
