//! Sources.

use trivault_sources::SourceConfig;

use super::{
    prelude::*,
    text::{askable, from_json, from_word, json, word},
};

impl Database {
    pub async fn insert_source(
        &self,
        source: &Source,
        sealed_secret: Option<&[u8]>,
        labels: &Labels,
        audit: &AuditEntry,
    ) -> Result<()> {
        in_write!(self, tx => {
            tx.insert_source(source, sealed_secret).await?;
            tx.label(labels, source.created_at).await?;
            tx.audit(audit).await?;
        })
    }

    /// By name; attached before detached.
    pub async fn sources(&self) -> Result<Vec<Source>> {
        in_read!(self, tx => { tx.sources().await?.into_iter().map(SourceRow::into_source).collect::<Sql<_>>()? })
    }

    pub async fn source(&self, id: SourceId) -> Result<Option<Source>> {
        in_read!(self, tx => { tx.source(id).await?.map(SourceRow::into_source).transpose()? })
    }

    /// The attached one.
    pub async fn source_named(&self, name: &str) -> Result<Option<Source>> {
        if !askable(name) {
            return Ok(None);
        }
        in_read!(self, tx => { tx.source_named(name).await?.map(SourceRow::into_source).transpose()? })
    }

    /// The sealed password of a source that has one.
    pub async fn source_secret(&self, id: SourceId) -> Result<Option<Vec<u8>>> {
        in_read!(self, tx => { tx.source_secret(id).await?.flatten() })
    }

    /// All or nothing.
    pub async fn change_sources(&self, changes: &[SourceChange], audit: &AuditEntry) -> Result<()> {
        in_write!(self, tx => {
            for change in changes {
                match change {
                    SourceChange::Create { source, sealed_secret, labels } => {
                        tx.insert_source(source, sealed_secret.as_deref()).await?;
                        tx.label(labels, source.created_at).await?;
                    }
                    SourceChange::Attach(id) => tx.set_source_status(*id, SourceStatus::Attached, audit.at).await?,
                    SourceChange::Detach(id) => tx.set_source_status(*id, SourceStatus::Detached, audit.at).await?,
                    SourceChange::Configure(id, config) => tx.set_source_config(*id, config, audit.at).await?,
                    SourceChange::Seal(id, sealed) => tx.set_source_secret(*id, sealed, audit.at).await?,
                }
            }
            tx.audit(audit).await?;
        })
    }

    /// Detaches `old` and attaches `new` under the same name.
    pub async fn replace_source(
        &self,
        old: SourceId,
        new: &Source,
        sealed_secret: Option<&[u8]>,
        labels: &Labels,
        audit: &AuditEntry,
    ) -> Result<()> {
        in_write!(self, tx => {
            tx.set_source_status(old, SourceStatus::Detached, audit.at).await?;
            tx.insert_source(new, sealed_secret).await?;
            tx.label(labels, new.created_at).await?;
            tx.audit(audit).await?;
        })
    }
}

#[derive(sqlx::FromRow)]
struct SourceRow {
    id: Uuid,
    name: String,
    config: String,
    status: String,
    managed: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl SourceRow {
    fn into_source(self) -> Sql<Source> {
        let Self { id, name, config, status, managed, created_at, updated_at } = self;
        Ok(Source {
            id: SourceId(id),
            name,
            config: from_json(&config)?,
            status: from_word(status)?,
            managed,
            created_at,
            updated_at,
        })
    }
}

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    pub(super) async fn insert_source(&mut self, source: &Source, sealed_secret: Option<&[u8]>) -> Sql<()> {
        let Source { id, name, config, status, managed, created_at, updated_at } = source;
        sqlx::query(
            "INSERT INTO sources (id, name, config, sealed_secret, status, managed, generation, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $8)",
        )
        .bind(id.0)
        .bind(name)
        .bind(json(config)?)
        .bind(sealed_secret)
        .bind(word(status)?)
        .bind(managed)
        .bind(created_at)
        .bind(updated_at)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn sources(&mut self) -> Sql<Vec<SourceRow>> {
        Ok(sqlx::query_as(
            "SELECT id, name, config, status, managed, created_at, updated_at
             FROM sources ORDER BY name, status, created_at",
        )
        .fetch_all(&mut *self.0)
        .await?)
    }

    async fn source(&mut self, id: SourceId) -> Sql<Option<SourceRow>> {
        Ok(sqlx::query_as(
            "SELECT id, name, config, status, managed, created_at, updated_at FROM sources WHERE id = $1",
        )
        .bind(id.0)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    async fn source_named(&mut self, name: &str) -> Sql<Option<SourceRow>> {
        Ok(sqlx::query_as(
            "SELECT id, name, config, status, managed, created_at, updated_at
             FROM sources WHERE name = $1 AND status = 'attached'",
        )
        .bind(name)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    async fn source_secret(&mut self, id: SourceId) -> Sql<Option<Option<Vec<u8>>>> {
        Ok(sqlx::query_scalar("SELECT sealed_secret FROM sources WHERE id = $1")
            .bind(id.0)
            .fetch_optional(&mut *self.0)
            .await?)
    }

    async fn set_source_config(&mut self, id: SourceId, config: &SourceConfig, now: DateTime<Utc>) -> Sql<()> {
        sqlx::query("UPDATE sources SET config = $2, updated_at = $3, generation = generation + 1 WHERE id = $1")
            .bind(id.0)
            .bind(json(config)?)
            .bind(now)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    async fn set_source_secret(&mut self, id: SourceId, sealed: &[u8], now: DateTime<Utc>) -> Sql<()> {
        sqlx::query(
            "UPDATE sources SET sealed_secret = $2, updated_at = $3, generation = generation + 1 WHERE id = $1",
        )
        .bind(id.0)
        .bind(sealed)
        .bind(now)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn set_source_status(&mut self, id: SourceId, status: SourceStatus, now: DateTime<Utc>) -> Sql<()> {
        sqlx::query(
            "UPDATE sources SET status = $2, updated_at = $3, generation = generation + 1
             WHERE id = $1 AND status <> $2",
        )
        .bind(id.0)
        .bind(word(&status)?)
        .bind(now)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}
