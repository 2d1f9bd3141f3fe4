//! A store: the folder or S3 prefix that holds `trivault.json`, the server's vault and the vaults of passcodes.

use super::Backend;
use crate::error::{Result, VaultError, VaultErrorKind};
use std::fmt::Debug;
use std::sync::Arc;

/// Directory of the vault whose key the server holds, relative to its store.
pub const SERVER_VAULT: &str = "vault";
/// Directory above the vaults of passcodes, relative to the store: `p/<random id>`.
pub const PASSCODE_VAULTS: &str = "p";

/// The small files of a store and the way to its vaults. All methods block; names are relative, with `/` between their parts.
pub trait StoreRoot: Send + Sync + Debug {
    /// The place as a person and the stock restic name it.
    fn location(&self) -> String;

    /// Makes the folder itself where that has a meaning.
    fn prepare(&self) -> Result<()>;

    /// A small file; [`VaultErrorKind::Missing`] when it is not there.
    fn read(&self, name: &str) -> Result<Vec<u8>>;

    /// Stores a small file whole and durably, over an older one.
    fn write_atomic(&self, name: &str, bytes: &[u8]) -> Result<()>;

    /// Stores a small file only when none is there; `false` says that there was one.
    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool>;

    /// Removes a small file; one that is not there is a success.
    fn remove(&self, name: &str) -> Result<()>;

    /// The names of the directories right below `prefix` (empty: the store itself), sorted.
    fn list_dirs(&self, prefix: &str) -> Result<Vec<String>>;

    /// Removes everything below `prefix`, which must not be empty; nothing there is a success.
    fn remove_tree(&self, prefix: &str) -> Result<()>;

    /// The vault at `prefix`, which need not exist yet. Below [`PASSCODE_VAULTS`] its pack directories are made as they are needed.
    fn vault(&self, prefix: &str) -> Result<Arc<dyn Backend>>;

    /// Writes, reads back and removes one small file, and looks at the room left.
    fn probe(&self) -> Result<Probe>;
}

/// What a probe of a store found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Room that the server's user may fill, in bytes, where the store can tell.
    pub free_bytes: Option<u64>,
    /// Whether the store refuses to create what exists already. Without this, two servers could make a vault at the same place at once.
    pub exclusive_create: bool,
}

/// The part of a probe that every store has: write, read back, create again, remove.
pub(super) fn probe_by_writing(store: &dyn StoreRoot) -> Result<bool> {
    let mut random = [0u8; 16];
    getrandom::fill(&mut random).map_err(|error| VaultError::internal(format!("no randomness: {error}")))?;
    let name = format!("trivault-probe-{}", hex::encode(random));
    let outcome = write_and_compare(store, &name, &random);
    let removed = store.remove(&name);
    let exclusive = outcome?;
    removed?;
    Ok(exclusive)
}

fn write_and_compare(store: &dyn StoreRoot, name: &str, bytes: &[u8]) -> Result<bool> {
    store.write_atomic(name, bytes)?;
    if store.read(name)? != bytes {
        let sentence = format!("the store at {} gives back other bytes than were written", store.location());
        return Err(VaultError::new(VaultErrorKind::StoreUnavailable, sentence)
            .with_hint("do not use this store: its disk or server is faulty"));
    }
    let exclusive = !store.create(name, b"second")?;
    Ok(exclusive && store.read(name)? == bytes)
}

/// Refuses names that would leave the store or mean nothing.
pub(super) fn checked_name(name: &str) -> Result<&str> {
    let good = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\0', '\\']);
    if name.split('/').all(good) {
        return Ok(name);
    }
    Err(VaultError::internal(format!("{name:?} cannot name a file of a store")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_store_are_refused() {
        for name in ["", "/", "/etc/passwd", "a/../b", "..", ".", "a//b", "a/", "a\0"] {
            assert!(checked_name(name).is_err(), "{name:?}");
        }
        for name in ["trivault.json", "p/0123abcd", "vault"] {
            assert!(checked_name(name).is_ok(), "{name:?}");
        }
    }
}
