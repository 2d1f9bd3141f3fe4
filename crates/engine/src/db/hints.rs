//! Word between nodes that there may be something to do. Only a hint: who misses it looks by itself before long.

use sqlx::postgres::PgListener;

use super::{Pools, failure::engine_error, prelude::*, tx::within};

const CHANNEL: &str = "trivault_queue";

/// Hears the other nodes; a connection of its own.
pub struct Hints {
    listener: PgListener,
}

impl Hints {
    /// Waits for another node's word.
    ///
    /// # Errors
    /// `DatabaseUnavailable`.
    pub async fn next(&mut self, node: Uuid) -> Result<()> {
        let own = node.to_string();
        loop {
            // A connection that was lost is made again, and may have missed something.
            match self.listener.try_recv().await.map_err(engine_error)? {
                Some(word) if word.payload() == own => {}
                Some(_) | None => return Ok(()),
            }
        }
    }
}

impl Database {
    /// `None` where there is one node alone.
    pub async fn hints(&self) -> Result<Option<Hints>> {
        let Pools::Postgres(pool) = &*self.pools else { return Ok(None) };
        within(self.patience, async {
            let mut listener = PgListener::connect_with(&pool.pool).await.map_err(engine_error)?;
            listener.listen(CHANNEL).await.map_err(engine_error)?;
            Ok(Some(Hints { listener }))
        })
        .await
    }

    /// Tells the other nodes that there may be something to do. Nothing waits for its durability.
    pub async fn hint(&self, node: Uuid) -> Result<()> {
        let Pools::Postgres(pool) = &*self.pools else { return Ok(()) };
        // The text is a constant and an id.
        let text =
            format!("BEGIN; SET LOCAL synchronous_commit = off; SELECT pg_notify('{CHANNEL}', '{node}'); COMMIT");
        let told = sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&pool.pool);
        within(self.patience, async { told.await.map(drop).map_err(engine_error) }).await
    }
}
