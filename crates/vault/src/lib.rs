//! The vault: a restic repository, format version 2, written and read by our own streaming pipeline.
//!
//! Everything here blocks; callers run it on threads of their own. The vault knows no SQL, no jobs and no sources: streams and trees go
//! in, streams and trees come out.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod backend;
#[allow(dead_code)] // used by the writer
mod budget;
mod capture;
mod error;
mod id;
mod lock;
mod node;
mod password;
mod reader;
mod snapshot;
mod vault;

pub use budget::MemoryBudget;
pub use capture::{
    Capture, CaptureEvents, Committed, Cutting, DirectoryWriter, FileOptions, FileRecord, FileWriter, VerifyOptions,
};
pub use error::{Result, VaultError, VaultErrorKind};
pub use id::Id;
pub use lock::{Lock, LockInfo, LockMode};
pub use node::{Node, NodeKind, NodeMeta, Timestamp};
pub use password::Password;
pub use reader::{FileReader, TreeReader};
pub use snapshot::{DamagedSnapshot, Snapshot, SnapshotDraft, SnapshotList, SnapshotRecord, Summary};
pub use vault::{Kdf, Vault, VaultOptions};
