//! Stores and their vaults.

use std::sync::Arc;

use super::{Engine, attach_store, blocking};
use crate::{db::VaultRow, domain::*, failure::from_vault};

impl Engine {
    /// By name.
    pub async fn stores(&self, caller: &Caller) -> Result<Vec<Store>> {
        caller.require(Role::Reader)?;
        self.inner().db.stores().await
    }

    pub async fn store(&self, caller: &Caller, id: StoreId) -> Result<Store> {
        caller.require(Role::Reader)?;
        self.inner().db.store(id).await?.ok_or_else(no_store)
    }

    pub async fn store_named(&self, caller: &Caller, name: &str) -> Result<Store> {
        caller.require(Role::Reader)?;
        self.inner().db.store_named(name).await?.ok_or_else(no_store)
    }

    /// # Errors
    /// `NotFound(Store)` when no store is default.
    pub async fn default_store(&self, caller: &Caller) -> Result<Store> {
        caller.require(Role::Reader)?;
        self.inner().db.default_store().await?.ok_or_else(|| {
            Error::not_found(Noun::Store, "No store is the default one.")
                .hint("Attach one with `trivault store add --default`.")
        })
    }

    /// Attaches a store: probes the place, writes or reads its `trivault.json`, makes its server vault when it has none.
    ///
    /// # Errors
    /// `AlreadyExists(Store)`, `InvalidInput` (nested in another store, a source or the data directory), `StoreUnavailable`.
    pub async fn create_store(&self, caller: &Caller, store: NewStore) -> Result<Store> {
        attach_store::attach(self.inner(), caller, store).await
    }

    /// Makes a store of another installation this one's own. `password` is that of its server vault (`vault export-key` there), and
    /// can be left out where both installations have the same server key.
    ///
    /// # Errors
    /// `InvalidInput` when a password is needed or is not the vault's.
    pub async fn adopt_store(&self, caller: &Caller, id: StoreId, password: Option<SecretText>) -> Result<Store> {
        attach_store::adopt(self.inner(), caller, id, password).await
    }

    /// Writes, reads back and deletes one small object.
    pub async fn probe_store(&self, caller: &Caller, id: StoreId) -> Result<()> {
        caller.require(Role::Admin)?;
        let row = self.inner().db.store_row(id).await?.ok_or_else(no_store)?;
        let inner = Arc::clone(self.inner());
        blocking(move || inner.storage.root_of(&row)?.probe().map(drop).map_err(from_vault)).await
    }

    pub async fn vaults(&self, caller: &Caller) -> Result<Vec<VaultRecord>> {
        caller.require(Role::Reader)?;
        self.inner().db.vaults().await
    }

    /// The stock restic location of a vault (a path, or `s3:endpoint/bucket/prefix`).
    pub async fn vault_location(&self, caller: &Caller, id: VaultId) -> Result<String> {
        caller.require(Role::Reader)?;
        let inner = self.inner();
        let row = inner.db.vault_row(id).await?.ok_or_else(no_vault)?;
        let store = inner.db.store_row(row.vault.store).await?.ok_or_else(no_store)?;
        let vault = inner.storage.root_of(&store)?.vault(&row.vault.path).map_err(from_vault)?;
        Ok(vault.location())
    }

    /// The password of a server vault, with which the stock `restic` opens it.
    ///
    /// # Errors
    /// `PasscodeRequired` for a passcode vault: only the passcode opens it.
    pub async fn export_vault_password(&self, caller: &Caller, id: VaultId) -> Result<SecretText> {
        caller.require(Role::Admin)?;
        caller.require_everything()?;
        let inner = self.inner();
        let row: VaultRow = inner.db.vault_row(id).await?.ok_or_else(no_vault)?;
        let password = inner.storage.password(&row)?;
        inner.audit(caller, "vault.export-key", Some(ObjectRef::new(ObjectKind::Store, row.vault.store.0))).await?;
        Ok(password)
    }
}

fn no_store() -> Error {
    Error::not_found(Noun::Store, "There is no such store.")
}

fn no_vault() -> Error {
    Error::not_found(Noun::Vault, "There is no such vault.")
}
