//! Vaults of passcodes: held by the backups that write to them, and retired with their last backup.
//!
//! Nobody knows which vault a job under a passcode needs before it runs, so the queue cannot keep its vault for it. A run says that it
//! works in a vault when it has found it, and a vault is retired when nobody does: both under the lock of the claims, so that one comes
//! first and the other sees it. What a retired vault holds is nobody's; its passcode finds it no more, and begins anew in another folder.

use super::{prelude::*, stores::VaultColumns};

impl Database {
    /// The vault under this locator. Until the run ends, nobody retires it.
    pub async fn hold_passcode_vault(
        &self,
        run: Run,
        store: StoreId,
        locator: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Fenced<Option<VaultRow>>> {
        in_write!(self, tx => {
            tx.one_at_a_time().await?;
            if !tx.hold(run, now).await? {
                return Ok(Fenced::Lost);
            }
            let found = tx.vault_by_locator(store, locator).await?.map(VaultColumns::into_row).transpose()?;
            if let Some(row) = &found {
                tx.take_scope(run.job, &works_in(row.vault.id)).await?;
            }
            Fenced::Held(found)
        })
    }

    /// Enters a new vault, or finds the one that another job has entered under its locator meanwhile. Until the run ends, nobody retires
    /// it.
    pub async fn enter_passcode_vault(&self, run: Run, row: &VaultRow, now: DateTime<Utc>) -> Result<Fenced<VaultRow>> {
        let locator = row.locator.as_deref().unwrap_or_default();
        in_write!(self, tx => {
            tx.one_at_a_time().await?;
            if !tx.hold(run, now).await? {
                return Ok(Fenced::Lost);
            }
            tx.insert_vault(row).await?;
            let Some(standing) = tx.vault_by_locator(row.vault.store, locator).await? else {
                return Err(Error::internal("A vault was neither written nor there."));
            };
            let standing = standing.into_row()?;
            tx.take_scope(run.job, &works_in(standing.vault.id)).await?;
            Fenced::Held(standing)
        })
    }

    /// Retires a vault from which the last backup goes: its locator is free, and its folder is to be removed. `Held(false)`: a backup lies
    /// in it that stays, or a backup or restore works in it; nothing was changed. One that is retired already is so.
    pub async fn retire_passcode_vault(&self, run: Run, vault: VaultId, now: DateTime<Utc>) -> Result<Fenced<bool>> {
        in_write!(self, tx => {
            tx.one_at_a_time().await?;
            if !tx.hold(run, now).await? {
                return Ok(Fenced::Lost);
            }
            tx.retire_vault(vault, now).await?;
            let standing = tx.vault(vault).await?.map(VaultColumns::into_row).transpose()?;
            Fenced::Held(standing.is_some_and(|row| row.retired_at.is_some()))
        })
    }

    /// Oldest first.
    pub async fn retired_vaults(&self) -> Result<Vec<VaultRow>> {
        in_read!(self, tx => {
            tx.retired_vaults().await?.into_iter().map(VaultColumns::into_row).collect::<Sql<_>>()?
        })
    }

    /// Of a retired vault, whose folder is gone, the row goes too: once it was retired before then, and nothing names it any more. Answers
    /// whether it went.
    pub async fn strike_off_vault(&self, vault: VaultId, before: DateTime<Utc>) -> Result<bool> {
        in_write!(self, tx => { tx.strike_off_vault(vault, before).await? })
    }
}

/// What a job needs of the vault that it works in.
fn works_in(vault: VaultId) -> JobScope {
    JobScope { resource: Resource::Vault, id: vault.0, exclusive: false }
}

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    /// One statement: a backup that ends meanwhile is seen at work or, when it succeeded, with its part. Jobs that are queued look for
    /// their vault when they run, and find another one or none.
    async fn retire_vault(&mut self, vault: VaultId, now: DateTime<Utc>) -> Sql<()> {
        sqlx::query(
            "UPDATE vaults SET locator = NULL, retired_at = $2
             WHERE id = $1 AND kind = 'passcode' AND retired_at IS NULL
               AND NOT EXISTS (
                 SELECT 1 FROM parts p
                 WHERE p.vault_id = $1 AND p.state = 'succeeded' AND p.removal_begun_at IS NULL)
               AND NOT EXISTS (
                 SELECT 1 FROM job_scopes s JOIN jobs j ON j.id = s.job_id
                 WHERE s.resource_id = $1 AND s.resource = 'vault' AND s.running AND j.kind IN ('backup', 'restore'))",
        )
        .bind(vault.0)
        .bind(now)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn retired_vaults(&mut self) -> Sql<Vec<VaultColumns>> {
        Ok(sqlx::query_as("SELECT * FROM vaults WHERE retired_at IS NOT NULL ORDER BY retired_at, id")
            .fetch_all(&mut *self.0)
            .await?)
    }

    async fn strike_off_vault(&mut self, vault: VaultId, before: DateTime<Utc>) -> Sql<bool> {
        let struck = sqlx::query(
            "DELETE FROM vaults WHERE id = $1 AND retired_at < $2
               AND NOT EXISTS (SELECT 1 FROM parts p WHERE p.vault_id = $1)
               AND NOT EXISTS (SELECT 1 FROM locks l WHERE l.vault_id = $1)",
        )
        .bind(vault.0)
        .bind(before)
        .execute(&mut *self.0)
        .await?;
        Ok(struck.rows_affected() == 1)
    }
}
