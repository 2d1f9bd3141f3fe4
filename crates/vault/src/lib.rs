//! The vault: a restic repository, format version 2, written and read by our own streaming pipeline.
//!
//! Everything here blocks; callers run it on threads of their own. The vault knows no SQL, no jobs and no sources: streams and trees go
//! in, streams and trees come out.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod backend;
mod blob;
mod budget;
mod cache;
mod capture;
mod capture_state;
mod census;
mod check;
mod chunker;
mod config;
mod core;
mod crypto;
mod directory_writer;
mod error;
mod file_reader;
mod file_writer;
mod go_json;
mod id;
mod index;
mod index_run;
mod index_wire;
mod interrupt;
mod key;
mod lock;
mod lock_refresh;
mod maintenance;
mod marks;
mod node;
mod open_pack;
mod pack;
mod parallel;
mod password;
mod prune;
mod read_group;
mod read_pool;
mod reader;
mod relist;
mod scratch_index;
mod session;
mod session_threads;
mod small_files;
mod snapshot;
mod tally;
mod tree;
mod unpacked;
mod vault;
mod verify;

pub use budget::MemoryBudget;
pub use capture::{Capture, CaptureEvents, Committed, Cutting, FileOptions, FileRecord, VerifyOptions};
pub use check::{CheckOptions, CheckReport, DamagedFile, DamagedIndex, DamagedPack, PackDamage, ReadSubset};
pub use directory_writer::DirectoryWriter;
pub use error::{Result, VaultError, VaultErrorKind};
pub use file_reader::FileReader;
pub use file_writer::FileWriter;
pub use id::Id;
pub use interrupt::{Interrupt, lock_unless_interrupted};
pub use key::Kdf;
pub use lock::{Lock, LockInfo, LockMode};
pub use maintenance::MaintenanceEvents;
pub use node::{Node, NodeKind, NodeMeta, Timestamp};
pub use password::Password;
pub use prune::{PRUNE_POINTS, PackCount, PruneOptions, PrunePlan, PruneReport, SetAside};
pub use reader::TreeReader;
pub use snapshot::{DamagedSnapshot, Snapshot, SnapshotDraft, SnapshotList, SnapshotRecord, Summary};
pub use vault::{Vault, VaultOptions};

#[cfg(test)]
mod tests;
