//! Stores and their vaults.

use super::prelude::*;

impl Database {
    /// With its server vault. A default store takes that from the one that was.
    pub async fn insert_store(
        &self,
        row: &StoreRow,
        vault: Option<&VaultRow>,
        labels: &Labels,
        audit: &AuditEntry,
    ) -> Result<()> {
        let _ = (row, vault, labels, audit);
        unfinished()
    }

    /// By name.
    pub async fn stores(&self) -> Result<Vec<Store>> {
        unfinished()
    }

    pub async fn store(&self, id: StoreId) -> Result<Option<Store>> {
        let _ = (id,);
        unfinished()
    }

    pub async fn store_named(&self, name: &str) -> Result<Option<Store>> {
        let _ = (name,);
        unfinished()
    }

    pub async fn default_store(&self) -> Result<Option<Store>> {
        unfinished()
    }

    pub async fn store_row(&self, id: StoreId) -> Result<Option<StoreRow>> {
        let _ = (id,);
        unfinished()
    }

    pub async fn set_store_read_only(&self, id: StoreId, read_only: bool, audit: &AuditEntry) -> Result<()> {
        let _ = (id, read_only, audit);
        unfinished()
    }

    pub async fn set_store_credentials(&self, id: StoreId, sealed: Option<&[u8]>, audit: &AuditEntry) -> Result<()> {
        let _ = (id, sealed, audit);
        unfinished()
    }

    /// The vault itself, or the one that stands under the same locator (or as the store's server vault) already.
    pub async fn insert_vault(&self, row: &VaultRow) -> Result<VaultRow> {
        let _ = (row,);
        unfinished()
    }

    pub async fn vaults(&self) -> Result<Vec<VaultRecord>> {
        unfinished()
    }

    pub async fn vault_row(&self, id: VaultId) -> Result<Option<VaultRow>> {
        let _ = (id,);
        unfinished()
    }

    pub async fn server_vault(&self, store: StoreId) -> Result<Option<VaultRow>> {
        let _ = (store,);
        unfinished()
    }

    pub async fn vault_by_locator(&self, store: StoreId, locator: &[u8]) -> Result<Option<VaultRow>> {
        let _ = (store, locator);
        unfinished()
    }
}
