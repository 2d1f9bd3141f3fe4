//! Opening the database and bringing its schema up to date.

use std::{sync::Arc, time::Duration};

use sqlx::{
    Connection as _, Executor as _,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    Database, DatabaseOptions, Pools,
    failure::engine_error,
    tx::{PostgresPool, SqlitePools, within},
};
use crate::domain::{Error, ErrorCode, Result};

static SQLITE: Migrator = sqlx::migrate!("../../migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("../../migrations/postgres");

/// How long SQLite waits for another process's transaction, and a caller for a connection.
const PATIENCE: Duration = Duration::from_secs(15);
/// Connections that read a SQLite file at once.
const SQLITE_READERS: u32 = 4;
/// Connections of one node to PostgreSQL.
const POSTGRES_CONNECTIONS: u32 = 12;
/// How long one use of PostgreSQL may take, unless an engine is told otherwise.
const POSTGRES_PATIENCE: Duration = Duration::from_secs(60);
/// How long a connection that comes back to the pool may take to say that it is in order.
const LAST_WORD: Duration = Duration::from_secs(5);
/// What the server of each connection is told: a transaction of ours never rests for long, so that one which does belongs to a connection
/// that is gone, and must not keep its locks; and silent connections are asked whether they live. In effect for this connection alone.
const POSTGRES_SESSION: &str = "SELECT set_config('idle_in_transaction_session_timeout', '10s', FALSE),
    set_config('tcp_keepalives_idle', '30', FALSE), set_config('tcp_keepalives_interval', '10', FALSE),
    set_config('tcp_keepalives_count', '3', FALSE)";

impl Database {
    /// # Errors
    /// `DatabaseUnavailable`; `InvalidInput` for a URL that is none.
    pub async fn connect(options: &DatabaseOptions) -> Result<Self> {
        let pools = match options {
            DatabaseOptions::Sqlite { path } => Pools::Sqlite(open_sqlite(path).await.map_err(engine_error)?),
            DatabaseOptions::Postgres { url } => {
                let options = postgres_options(url.expose())?;
                let pool = PgPoolOptions::new()
                    .max_connections(POSTGRES_CONNECTIONS)
                    .acquire_timeout(PATIENCE)
                    .after_connect(|connection, _| {
                        Box::pin(async move { connection.execute(POSTGRES_SESSION).await.map(drop) })
                    })
                    // A use that was given up leaves its connection in the middle of something. One that does not come out of it is closed,
                    // and its place in the pool is free.
                    .after_release(|connection, _| {
                        Box::pin(async move {
                            let said = tokio::time::timeout(LAST_WORD, connection.ping()).await;
                            said.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map(|()| true)
                        })
                    })
                    .connect_with(options.application_name("trivault"))
                    .await
                    .map_err(engine_error)?;
                Pools::Postgres(PostgresPool { pool })
            }
        };
        Ok(Self { pools: Arc::new(pools), together: Arc::default(), patience: POSTGRES_PATIENCE })
    }

    /// With another limit of time for one use of a database on the network.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Brings the schema up to this binary's version.
    ///
    /// # Errors
    /// `Unsupported` when the schema is newer than the binary.
    pub async fn migrate(&self) -> Result<()> {
        let outcome = match &*self.pools {
            Pools::Sqlite(pools) => SQLITE.run(&pools.writer).await,
            Pools::Postgres(pool) => POSTGRES.run(&pool.pool).await,
        };
        outcome.map_err(|error| match error {
            MigrateError::VersionMissing(version) => Error::new(
                ErrorCode::Unsupported,
                format!("The metadata database was written by a newer trivault (its schema has version {version})."),
            )
            .hint("Run that version or a later one; or bring back the copy of the database made before the upgrade."),
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => engine_error(error),
            other => Error::internal("The metadata database's schema cannot be brought up to date.").because(other),
        })
    }

    /// # Errors
    /// `DatabaseUnavailable`.
    pub async fn ping(&self) -> Result<()> {
        match &*self.pools {
            Pools::Sqlite(pools) => {
                sqlx::query("SELECT 1").execute(&pools.readers).await.map(drop).map_err(engine_error)
            }
            Pools::Postgres(pool) => {
                let asked = sqlx::query("SELECT 1").execute(&pool.pool);
                within(self.patience, async { asked.await.map(drop).map_err(engine_error) }).await
            }
        }
    }

    /// Closes all connections, after those in use have come back; one that has fallen silent never does, and is not waited for.
    pub async fn close(&self) {
        match &*self.pools {
            Pools::Sqlite(pools) => {
                pools.readers.close().await;
                pools.writer.close().await;
            }
            Pools::Postgres(pool) => {
                if tokio::time::timeout(LAST_WORD, pool.pool.close()).await.is_err() {
                    tracing::warn!(
                        "connections to the metadata database have fallen silent; they are left to the system"
                    );
                }
            }
        }
    }
}

/// The parser takes any scheme, and its own message could repeat the password.
fn postgres_options(url: &str) -> Result<PgConnectOptions> {
    let is_postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
    url.parse()
        .ok()
        .filter(|_| is_postgres)
        .ok_or_else(|| Error::invalid("The metadata database's URL is not of the form postgres://user@host/database."))
}

async fn open_sqlite(path: &std::path::Path) -> sqlx::Result<SqlitePools> {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE).foreign_keys(true);
    let for_writing = options
        .clone()
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // What a client was told of is on disk, also after a power cut.
        .synchronous(SqliteSynchronous::Full);
    // The file and its journal exist when the readers come: they could not make them.
    let writer = usable_again()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(PATIENCE)
        .connect_with(for_writing)
        .await?;
    let readers = usable_again()
        .max_connections(SQLITE_READERS)
        .acquire_timeout(PATIENCE)
        .connect_lazy_with(options.read_only(true));
    Ok(SqlitePools { writer, readers })
}

/// On a full disk SQLite undoes a transaction by itself. sqlx then fails to undo it once more and holds that it goes on for ever: such
/// a connection takes no other transaction, and is replaced.
fn usable_again() -> SqlitePoolOptions {
    SqlitePoolOptions::new().before_acquire(|connection, _| {
        let is_free = !connection.is_in_transaction();
        Box::pin(async move { Ok(is_free) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_transaction_that_sqlite_undid_by_itself_does_not_spoil_those_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let pools = open_sqlite(&directory.path().join("a.db")).await.unwrap();
        let mut spoilt = pools.writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
        // As SQLite does when the disk is full.
        sqlx::query("ROLLBACK").execute(&mut *spoilt).await.unwrap();
        assert!(spoilt.commit().await.is_err());
        for _ in 0..2 {
            pools.writer.begin_with("BEGIN IMMEDIATE").await.unwrap().commit().await.unwrap();
        }
    }
}
