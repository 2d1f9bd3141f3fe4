//! Stores and their vaults.

use super::{Engine, unfinished};
use crate::domain::*;

impl Engine {
    /// By name.
    pub async fn stores(&self, caller: &Caller) -> Result<Vec<Store>> {
        let _ = caller;
        unfinished()
    }

    pub async fn store(&self, caller: &Caller, id: StoreId) -> Result<Store> {
        let _ = (caller, id);
        unfinished()
    }

    pub async fn store_named(&self, caller: &Caller, name: &str) -> Result<Store> {
        let _ = (caller, name);
        unfinished()
    }

    /// # Errors
    /// `NotFound(Store)` when no store is default.
    pub async fn default_store(&self, caller: &Caller) -> Result<Store> {
        let _ = caller;
        unfinished()
    }

    /// Attaches a store: probes the place, writes or reads its `trivault.json`, makes its server vault when it has none.
    ///
    /// # Errors
    /// `AlreadyExists(Store)`, `InvalidInput` (nested in another store, a source or the data directory), `StoreUnavailable`.
    pub async fn create_store(&self, caller: &Caller, store: NewStore) -> Result<Store> {
        let _ = (caller, store);
        unfinished()
    }

    /// Writes, reads back and deletes one small object.
    pub async fn probe_store(&self, caller: &Caller, id: StoreId) -> Result<()> {
        let _ = (caller, id);
        unfinished()
    }

    pub async fn vaults(&self, caller: &Caller) -> Result<Vec<VaultRecord>> {
        let _ = caller;
        unfinished()
    }

    /// The stock restic location of a vault (a path, or `s3:endpoint/bucket/prefix`).
    pub async fn vault_location(&self, caller: &Caller, id: VaultId) -> Result<String> {
        let _ = (caller, id);
        unfinished()
    }

    /// The password of a server vault, with which the stock `restic` opens it.
    ///
    /// # Errors
    /// `PasscodeRequired` for a passcode vault: only the passcode opens it.
    pub async fn export_vault_password(&self, caller: &Caller, id: VaultId) -> Result<SecretText> {
        let _ = (caller, id);
        unfinished()
    }
}
