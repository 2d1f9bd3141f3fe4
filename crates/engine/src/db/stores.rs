//! Stores and their vaults.

use super::{
    prelude::*,
    text::{askable, from_json, from_word, json, word},
};

impl Database {
    /// With its server vault. A default store takes that from the one that was.
    pub async fn insert_store(
        &self,
        row: &StoreRow,
        vault: Option<&VaultRow>,
        labels: &Labels,
        audit: &AuditEntry,
    ) -> Result<()> {
        in_write!(self, tx => {
            if row.store.is_default {
                tx.no_default_store(audit.at).await?;
            }
            tx.insert_store(row).await?;
            if let Some(vault) = vault {
                tx.insert_vault(vault).await?;
            }
            tx.label(labels, row.store.created_at).await?;
            tx.audit(audit).await?;
        })
    }

    /// By name.
    pub async fn stores(&self) -> Result<Vec<Store>> {
        in_read!(self, tx => {
            tx.stores().await?.into_iter().map(|row| Ok(row.into_row()?.store)).collect::<Sql<_>>()?
        })
    }

    pub async fn store(&self, id: StoreId) -> Result<Option<Store>> {
        Ok(self.store_row(id).await?.map(|row| row.store))
    }

    pub async fn store_named(&self, name: &str) -> Result<Option<Store>> {
        if !askable(name) {
            return Ok(None);
        }
        in_read!(self, tx => {
            tx.store_named(name).await?.map(StoreColumns::into_row).transpose()?.map(|row| row.store)
        })
    }

    pub async fn default_store(&self) -> Result<Option<Store>> {
        in_read!(self, tx => {
            tx.default_store().await?.map(StoreColumns::into_row).transpose()?.map(|row| row.store)
        })
    }

    pub async fn store_row(&self, id: StoreId) -> Result<Option<StoreRow>> {
        in_read!(self, tx => { tx.store(id).await?.map(StoreColumns::into_row).transpose()? })
    }

    pub async fn set_store_read_only(&self, id: StoreId, read_only: bool, audit: &AuditEntry) -> Result<()> {
        in_write!(self, tx => {
            tx.set_store_read_only(id, read_only, audit.at).await?;
            tx.audit(audit).await?;
        })
    }

    pub async fn set_store_credentials(&self, id: StoreId, sealed: Option<&[u8]>, audit: &AuditEntry) -> Result<()> {
        in_write!(self, tx => {
            tx.set_store_credentials(id, sealed, audit.at).await?;
            tx.audit(audit).await?;
        })
    }

    /// The vault itself, or the one that stands under the same locator (or as the store's server vault) already.
    pub async fn insert_vault(&self, row: &VaultRow) -> Result<VaultRow> {
        in_write!(self, tx => {
            tx.insert_vault(row).await?;
            let standing = match &row.locator {
                Some(locator) => tx.vault_by_locator(row.vault.store, locator).await?,
                None => tx.vault_at(row.vault.store, &row.vault.path).await?,
            };
            match standing {
                Some(standing) => standing.into_row()?,
                None => return Err(Error::internal("A vault was neither written nor there.")),
            }
        })
    }

    /// Without those that are retired.
    pub async fn vaults(&self) -> Result<Vec<VaultRecord>> {
        in_read!(self, tx => {
            tx.vaults().await?.into_iter().map(|row| Ok(row.into_row()?.vault)).collect::<Sql<_>>()?
        })
    }

    pub async fn vault_row(&self, id: VaultId) -> Result<Option<VaultRow>> {
        in_read!(self, tx => { tx.vault(id).await?.map(VaultColumns::into_row).transpose()? })
    }

    pub async fn server_vault(&self, store: StoreId) -> Result<Option<VaultRow>> {
        in_read!(self, tx => { tx.server_vault(store).await?.map(VaultColumns::into_row).transpose()? })
    }

    pub async fn vault_by_locator(&self, store: StoreId, locator: &[u8]) -> Result<Option<VaultRow>> {
        in_read!(self, tx => { tx.vault_by_locator(store, locator).await?.map(VaultColumns::into_row).transpose()? })
    }
}

#[derive(sqlx::FromRow)]
struct StoreColumns {
    id: Uuid,
    name: String,
    location: String,
    sealed_credentials: Option<Vec<u8>>,
    salt: Vec<u8>,
    is_default: bool,
    read_only: bool,
    managed: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl StoreColumns {
    fn into_row(self) -> Sql<StoreRow> {
        let Self {
            id,
            name,
            location,
            sealed_credentials,
            salt,
            is_default,
            read_only,
            managed,
            created_at,
            updated_at,
        } = self;
        let location = from_json(&location)?;
        let store = Store { id: StoreId(id), name, location, is_default, read_only, managed, created_at, updated_at };
        Ok(StoreRow { store, sealed_credentials, salt })
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct VaultColumns {
    id: Uuid,
    store_id: Uuid,
    kind: String,
    path: String,
    sealed_password: Option<Vec<u8>>,
    locator: Option<Vec<u8>>,
    created_at: DateTime<Utc>,
    retired_at: Option<DateTime<Utc>>,
}

impl VaultColumns {
    pub(super) fn into_row(self) -> Sql<VaultRow> {
        let Self { id, store_id, kind, path, sealed_password, locator, created_at, retired_at } = self;
        let vault = VaultRecord { id: VaultId(id), store: StoreId(store_id), kind: from_word(kind)?, path, created_at };
        Ok(VaultRow { vault, sealed_password, locator, retired_at })
    }
}

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    async fn no_default_store(&mut self, now: DateTime<Utc>) -> Sql<()> {
        sqlx::query("UPDATE stores SET is_default = FALSE, updated_at = $1 WHERE is_default")
            .bind(now)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    pub(super) async fn insert_store(&mut self, row: &StoreRow) -> Sql<()> {
        let StoreRow { store, sealed_credentials, salt } = row;
        let Store { id, name, location, is_default, read_only, managed, created_at, updated_at } = store;
        sqlx::query(
            "INSERT INTO stores (id, name, location, sealed_credentials, salt, is_default, read_only, managed,
                 created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(id.0)
        .bind(name)
        .bind(json(location)?)
        .bind(sealed_credentials)
        .bind(salt)
        .bind(is_default)
        .bind(read_only)
        .bind(managed)
        .bind(created_at)
        .bind(updated_at)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn stores(&mut self) -> Sql<Vec<StoreColumns>> {
        Ok(sqlx::query_as("SELECT * FROM stores ORDER BY name").fetch_all(&mut *self.0).await?)
    }

    async fn store(&mut self, id: StoreId) -> Sql<Option<StoreColumns>> {
        Ok(sqlx::query_as("SELECT * FROM stores WHERE id = $1").bind(id.0).fetch_optional(&mut *self.0).await?)
    }

    async fn store_named(&mut self, name: &str) -> Sql<Option<StoreColumns>> {
        Ok(sqlx::query_as("SELECT * FROM stores WHERE name = $1").bind(name).fetch_optional(&mut *self.0).await?)
    }

    async fn default_store(&mut self) -> Sql<Option<StoreColumns>> {
        Ok(sqlx::query_as("SELECT * FROM stores WHERE is_default").fetch_optional(&mut *self.0).await?)
    }

    async fn set_store_read_only(&mut self, id: StoreId, read_only: bool, now: DateTime<Utc>) -> Sql<()> {
        sqlx::query("UPDATE stores SET read_only = $2, updated_at = $3 WHERE id = $1")
            .bind(id.0)
            .bind(read_only)
            .bind(now)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    async fn set_store_credentials(&mut self, id: StoreId, sealed: Option<&[u8]>, now: DateTime<Utc>) -> Sql<()> {
        sqlx::query("UPDATE stores SET sealed_credentials = $2, updated_at = $3 WHERE id = $1")
            .bind(id.0)
            .bind(sealed)
            .bind(now)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    /// Nothing where one stands under the same path or locator.
    pub(super) async fn insert_vault(&mut self, row: &VaultRow) -> Sql<()> {
        let VaultRow { vault, sealed_password, locator, retired_at } = row;
        let VaultRecord { id, store, kind, path, created_at } = vault;
        sqlx::query(
            "INSERT INTO vaults (id, store_id, kind, path, sealed_password, locator, created_at, retired_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        )
        .bind(id.0)
        .bind(store.0)
        .bind(word(kind)?)
        .bind(path)
        .bind(sealed_password)
        .bind(locator)
        .bind(created_at)
        .bind(retired_at)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn vaults(&mut self) -> Sql<Vec<VaultColumns>> {
        let text = "SELECT * FROM vaults WHERE retired_at IS NULL ORDER BY created_at, id";
        Ok(sqlx::query_as(text).fetch_all(&mut *self.0).await?)
    }

    pub(super) async fn vault(&mut self, id: VaultId) -> Sql<Option<VaultColumns>> {
        Ok(sqlx::query_as("SELECT * FROM vaults WHERE id = $1").bind(id.0).fetch_optional(&mut *self.0).await?)
    }

    async fn server_vault(&mut self, store: StoreId) -> Sql<Option<VaultColumns>> {
        Ok(sqlx::query_as("SELECT * FROM vaults WHERE store_id = $1 AND kind = 'server'")
            .bind(store.0)
            .fetch_optional(&mut *self.0)
            .await?)
    }

    async fn vault_at(&mut self, store: StoreId, path: &str) -> Sql<Option<VaultColumns>> {
        Ok(sqlx::query_as("SELECT * FROM vaults WHERE store_id = $1 AND path = $2")
            .bind(store.0)
            .bind(path)
            .fetch_optional(&mut *self.0)
            .await?)
    }

    pub(super) async fn vault_by_locator(&mut self, store: StoreId, locator: &[u8]) -> Sql<Option<VaultColumns>> {
        Ok(sqlx::query_as("SELECT * FROM vaults WHERE store_id = $1 AND locator = $2")
            .bind(store.0)
            .bind(locator)
            .fetch_optional(&mut *self.0)
            .await?)
    }
}
