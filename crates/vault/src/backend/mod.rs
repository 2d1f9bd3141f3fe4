//! Where a vault's files lie: one small trait, a local directory and an S3 prefix behind it.
//!
//! A backend promises four things, and `tests/backend_contract.rs` holds every implementation to them: a file is there whole or not at
//! all; when [`Backend::write`] returns, the file and its directory entry survive a power cut; exactly one of several racing
//! [`Backend::create`] calls wins; removing what is not there succeeds. It knows nothing of keys, packs or snapshots: bytes in, bytes out.

mod failure;
mod local;
mod local_files;
mod local_root;
mod object;
mod object_failure;
mod object_root;
mod observed;
#[cfg(test)]
pub(crate) mod recorder;
mod runtime;
mod s3;
mod store_root;

pub use local::LocalBackend;
pub use local_root::LocalRoot;
pub use object::ObjectBackend;
pub use object_root::ObjectRoot;
#[cfg(test)]
pub(crate) use observed::DiskOperation;
pub use s3::{S3Credentials, S3Location, S3Patience};
pub use store_root::{PASSCODE_VAULTS, Probe, SERVER_VAULT, StoreRoot};

use crate::error::{Result, VaultError};
use std::fmt::Debug;

/// The kinds of files that restic's layout knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// The birth mark of a vault: one file, whose name is not looked at.
    Config,
    /// A password's way to the master key, in plain JSON.
    Key,
    /// A list of packs and the blobs in them.
    Index,
    /// One backup.
    Snapshot,
    /// A sign that somebody writes or removes.
    Lock,
    /// Many blobs in one file.
    Pack,
}

impl FileKind {
    /// Every kind, in the order of the layout.
    pub const ALL: [FileKind; 6] =
        [FileKind::Config, FileKind::Key, FileKind::Index, FileKind::Snapshot, FileKind::Lock, FileKind::Pack];

    /// The directory below the vault that holds files of this kind; empty for the config.
    pub fn directory(self) -> &'static str {
        match self {
            FileKind::Config => "",
            FileKind::Key => "keys",
            FileKind::Index => "index",
            FileKind::Snapshot => "snapshots",
            FileKind::Lock => "locks",
            FileKind::Pack => "data",
        }
    }

    /// The word for one such file in sentences.
    pub fn noun(self) -> &'static str {
        match self {
            FileKind::Config => "config",
            FileKind::Key => "key file",
            FileKind::Index => "index file",
            FileKind::Snapshot => "snapshot",
            FileKind::Lock => "lock",
            FileKind::Pack => "pack",
        }
    }

    /// The path of a file relative to its vault, with `/` between its parts.
    ///
    /// A name that is not 64 lower-case hexadecimal digits is refused as damage: names come out of stored files, and one such as
    /// `../../etc/passwd` must not reach a file system.
    pub fn path(self, name: &str) -> Result<String> {
        if self == FileKind::Config {
            return Ok("config".to_owned());
        }
        if !is_content_name(name) {
            return Err(VaultError::damaged(format!("{name:?} cannot be the name of a {}", self.noun())));
        }
        Ok(match self {
            FileKind::Pack => format!("data/{}/{name}", &name[..2]),
            _ => format!("{}/{name}", self.directory()),
        })
    }
}

/// Whether this is the name of a content-named file: the lower-case hexadecimal SHA-256 of its bytes.
pub fn is_content_name(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// One file of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The file's name, without its directory; `config` for the config.
    pub name: String,
    /// Its length in bytes as stored.
    pub length: u64,
}

/// The files of one vault.
///
/// All methods block. Errors are [`crate::VaultErrorKind::Missing`] for a file that is not there, `Damaged` for one that is shorter than
/// it must be, `StoreFull` when there is no room, `StoreRefused` when the store says no, and `StoreUnavailable` for everything that keeps it from
/// answering.
pub trait Backend: Send + Sync + Debug {
    /// The place as the stock `restic -r` takes it: an absolute path, or `s3:http://host/bucket/prefix`.
    fn location(&self) -> String;

    /// All files of a kind, in no particular order. Temporary and foreign names are left out.
    fn list(&self, kind: FileKind) -> Result<Vec<Entry>>;

    /// A file's length in bytes.
    fn length(&self, kind: FileKind, name: &str) -> Result<u64>;

    /// A whole file.
    fn read(&self, kind: FileKind, name: &str) -> Result<Vec<u8>>;

    /// Exactly `length` bytes from `offset` on; a file that ends before is damaged.
    fn read_range(&self, kind: FileKind, name: &str, offset: u64, length: u64) -> Result<Vec<u8>>;

    /// Stores a file whole, over an older one of that name. When this returns, the file and its directory entry are durable.
    fn write(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<()>;

    /// Stores a file only when none of that name is there; `false` says that there was one, which is then untouched. Of several calls at once
    /// exactly one hears `true`, whatever their bytes are.
    fn create(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<bool>;

    /// Removes a file; one that is not there is a success.
    fn remove(&self, kind: FileKind, name: &str) -> Result<()>;

    /// Makes the folders that the layout needs, the vault's own included. Only for a new vault: where one is expected and missing, a disk
    /// may not be mounted.
    fn prepare(&self) -> Result<()>;

    /// Removes temporary files that crashed writers left more than a day ago; fails when the vault's folder is not there. For the start of
    /// each writer.
    fn sweep(&self) -> Result<()>;

    /// Whether everybody lists a file as soon as it is written, and so of two that write and then list at least one sees the other.
    fn lists_at_once(&self) -> bool {
        false
    }

    /// Asks the machine to forget its cached copy of a file, so that the next read comes from the store. Advice only.
    fn discard_cache(&self, kind: FileKind, name: &str);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_the_layout_of_restic() {
        let name = "ab".repeat(32);
        assert_eq!(FileKind::Config.path("anything").unwrap(), "config");
        assert_eq!(FileKind::Pack.path(&name).unwrap(), format!("data/ab/{name}"));
        assert_eq!(FileKind::Key.path(&name).unwrap(), format!("keys/{name}"));
        assert_eq!(FileKind::Index.path(&name).unwrap(), format!("index/{name}"));
        assert_eq!(FileKind::Snapshot.path(&name).unwrap(), format!("snapshots/{name}"));
        assert_eq!(FileKind::Lock.path(&name).unwrap(), format!("locks/{name}"));
    }

    #[test]
    fn a_name_that_could_leave_the_vault_is_refused() {
        for name in
            ["", "..", "../../etc/passwd", "AB", &"AB".repeat(32), &format!("{}\0", "a".repeat(63)), &"é".repeat(32)]
        {
            for kind in [FileKind::Key, FileKind::Index, FileKind::Snapshot, FileKind::Lock, FileKind::Pack] {
                assert!(kind.path(name).is_err(), "{name:?} as a {}", kind.noun());
            }
        }
    }
}
