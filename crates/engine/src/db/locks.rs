//! restic's lock files that runs hold in vaults.

use super::{prelude::*, text::small};

impl Database {
    /// Before the lock file is written, so that any node can remove it.
    pub async fn record_lock(&self, lock: &LockRow) -> Result<Fenced<()>> {
        in_write!(self, tx => {
            if !tx.hold(lock.run, lock.created_at).await? {
                return Ok(Fenced::Lost);
            }
            tx.insert_lock(lock).await?;
            Fenced::Held(())
        })
    }

    /// After the lock file is removed.
    pub async fn release_lock(&self, vault: VaultId, lock: &str) -> Result<()> {
        in_write!(self, tx => { tx.delete_lock(vault, lock).await? })
    }

    /// Locks of runs that are over.
    pub async fn stale_locks(&self) -> Result<Vec<LockRow>> {
        in_read!(self, tx => { tx.stale_locks().await?.into_iter().map(LockColumns::into_lock).collect() })
    }
}

#[derive(sqlx::FromRow)]
struct LockColumns {
    vault_id: Uuid,
    lock_id: String,
    job_id: Uuid,
    attempt: i64,
    node_id: Uuid,
    created_at: DateTime<Utc>,
}

impl LockColumns {
    fn into_lock(self) -> LockRow {
        let Self { vault_id, lock_id, job_id, attempt, node_id, created_at } = self;
        let run = Run { job: JobId(job_id), attempt: small(attempt) };
        LockRow { vault: VaultId(vault_id), lock: lock_id, run, node: node_id, created_at }
    }
}

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    async fn insert_lock(&mut self, row: &LockRow) -> Sql<()> {
        let LockRow { vault, lock, run, node, created_at } = row;
        sqlx::query(
            "INSERT INTO locks (vault_id, lock_id, job_id, attempt, node_id, created_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(vault.0)
        .bind(lock)
        .bind(run.job.0)
        .bind(i64::from(run.attempt))
        .bind(node)
        .bind(created_at)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn delete_lock(&mut self, vault: VaultId, lock: &str) -> Sql<()> {
        sqlx::query("DELETE FROM locks WHERE vault_id = $1 AND lock_id = $2")
            .bind(vault.0)
            .bind(lock)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    async fn stale_locks(&mut self) -> Sql<Vec<LockColumns>> {
        Ok(sqlx::query_as(
            "SELECT l.* FROM locks l
             WHERE NOT EXISTS (
               SELECT 1 FROM jobs j WHERE j.id = l.job_id AND j.attempt = l.attempt AND j.state = 'running')
             ORDER BY l.created_at, l.lock_id",
        )
        .fetch_all(&mut *self.0)
        .await?)
    }
}
