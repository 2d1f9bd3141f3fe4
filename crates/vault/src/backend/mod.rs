//! Where a vault's files lie: one small blocking trait, implemented for a local folder and for S3.

use crate::error::Result;
use std::fmt::Debug;

/// The kinds of files a vault is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// `config`, the birth mark; its name is ignored.
    Config,
    /// `keys/<id>`
    Key,
    /// `index/<id>`
    Index,
    /// `snapshots/<id>`
    Snapshot,
    /// `locks/<id>`
    Lock,
    /// `data/<2 hex>/<id>`
    Pack,
}

/// One listed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// 64 lower-case hex digits (`config` for the config).
    pub name: String,
    /// Bytes.
    pub length: u64,
}

/// A place for a vault's files. Every call blocks and may come from any thread.
pub trait Backend: Send + Sync + Debug {
    /// The place as a person (and `restic -r`) would write it; never a secret.
    fn location(&self) -> String;
    /// All files of a kind; other names are left out.
    fn list(&self, kind: FileKind) -> Result<Vec<Entry>>;
    /// Bytes of one file.
    fn length(&self, kind: FileKind, name: &str) -> Result<u64>;
    /// A whole file.
    fn read(&self, kind: FileKind, name: &str) -> Result<Vec<u8>>;
    /// Exactly `length` bytes from `offset`; a shorter file is an error.
    fn read_range(&self, kind: FileKind, name: &str, offset: u64, length: u64) -> Result<Vec<u8>>;
    /// Durable, its directory included, when it returns; idempotent, names being digests of the content.
    fn write(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<()>;
    /// Like `write`, but only where there is no such file yet: `false` when there is.
    fn create(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<bool>;
    /// A missing file is a success.
    fn remove(&self, kind: FileKind, name: &str) -> Result<()>;
    /// Makes the directories of a new vault.
    fn prepare(&self) -> Result<()>;
    /// Asks the machine to forget cached bytes of this file, so that the next read comes from the device.
    fn discard_cache(&self, kind: FileKind, name: &str);
}
