//! Transactions on either database, and the macros that run one method's statements on the one that is there.
//!
//! Statements are methods of `SqliteTx` and `PostgresTx`, written once and stamped for both by `duplicate_item`; the files of the
//! nouns hold them. A method of [`super::Database`] puts them together in one transaction.

use std::time::Duration;

use duplicate::duplicate_item;
use sqlx::{Pool, Postgres, Sqlite, Transaction};

use super::failure::{Sql, engine_error};

/// One writer (SQLite has no more) and several readers that never wait for it.
pub(super) struct SqlitePools {
    pub writer: Pool<Sqlite>,
    pub readers: Pool<Sqlite>,
}

pub(super) struct PostgresPool {
    pub pool: Pool<Postgres>,
}

pub(super) struct SqliteTx(pub Transaction<'static, Sqlite>);
pub(super) struct PostgresTx(pub Transaction<'static, Postgres>);

impl SqliteTx {
    pub async fn begin_read(pools: &SqlitePools) -> Sql<Self> {
        Ok(Self(pools.readers.begin().await?))
    }

    /// Takes the write lock at once: a transaction that reads first and then wants to write could not wait for it.
    pub async fn begin_write(pools: &SqlitePools) -> Sql<Self> {
        Ok(Self(pools.writer.begin_with("BEGIN IMMEDIATE").await?))
    }

    /// The write lock is exclusive anyway.
    pub async fn one_at_a_time(&mut self) -> Sql<()> {
        Ok(())
    }

    pub async fn claims_one_at_a_time(&mut self) -> Sql<()> {
        Ok(())
    }
}

/// Key of the advisory lock under which resources are given to jobs: `trivault` in ASCII.
const CLAIM_LOCK: i64 = 0x7472_6976_6175_6c74;

impl PostgresTx {
    /// All statements see one state.
    pub async fn begin_read(pool: &PostgresPool) -> Sql<Self> {
        Ok(Self(pool.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?))
    }

    pub async fn begin_write(pool: &PostgresPool) -> Sql<Self> {
        Ok(Self(pool.pool.begin().await?))
    }

    /// Until this transaction ends, no other one passes here: two nodes can look for conflicting jobs at the same instant, and
    /// neither would see what the other is about to do.
    pub async fn one_at_a_time(&mut self) -> Sql<()> {
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(CLAIM_LOCK).execute(&mut *self.0).await?;
        Ok(())
    }

    /// As [`PostgresTx::one_at_a_time`], and until this transaction ends plans are made once and kept, and go by indexes: to plan the
    /// search for the next job takes many times as long as to carry it out, and its plan must not depend on how full the queue
    /// was when it was made.
    pub async fn claims_one_at_a_time(&mut self) -> Sql<()> {
        sqlx::query(
            "SELECT set_config('plan_cache_mode', 'force_generic_plan', TRUE), set_config('jit', 'off', TRUE),
                 set_config('enable_seqscan', 'off', TRUE), set_config('enable_hashjoin', 'off', TRUE),
                 set_config('enable_mergejoin', 'off', TRUE), pg_advisory_xact_lock($1)",
        )
        .bind(CLAIM_LOCK)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    pub async fn commit(self) -> Sql<()> {
        Ok(self.0.commit().await?)
    }
}

/// One use of a database on the network. A connection that has fallen silent would be waited for until the machine gives it up, which
/// takes a quarter of an hour and more. What becomes of a transaction whose answer did not come is not known; its connection is
/// looked at when it comes back to the pool.
pub(super) async fn within<T>(
    patience: Duration,
    used: impl Future<Output = crate::domain::Result<T>>,
) -> crate::domain::Result<T> {
    tokio::time::timeout(patience, used).await.unwrap_or_else(|_| Err(engine_error(sqlx::Error::PoolTimedOut)))
}

/// Runs the block with a read transaction; the block's value is the answer.
macro_rules! in_read {
    ($database:expr, $tx:ident => $block:block) => {
        in_read!(@run $database, begin_read, $tx => $block)
    };
    (@run $database:expr, $begin:ident, $tx:ident => $block:block) => {
        match &*$database.pools {
            $crate::db::Pools::Sqlite(pools) => {
                let mut $tx = $crate::db::tx::SqliteTx::$begin(pools).await?;
                let answer = $block;
                $tx.commit().await?;
                Ok(answer)
            }
            $crate::db::Pools::Postgres(pool) => {
                let used = async {
                    let mut $tx = $crate::db::tx::PostgresTx::$begin(pool).await?;
                    let answer = $block;
                    $tx.commit().await?;
                    Ok::<_, $crate::domain::Error>(answer)
                };
                $crate::db::tx::within($database.patience, used).await
            }
        }
    };
}

/// Runs the block with a write transaction that is committed at its end. Leaving it early, with an error or an answer, undoes it.
macro_rules! in_write {
    ($database:expr, $tx:ident => $block:block) => {
        in_read!(@run $database, begin_write, $tx => $block)
    };
}

pub(super) use {in_read, in_write};
