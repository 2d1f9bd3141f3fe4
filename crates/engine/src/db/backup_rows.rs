//! Backups and parts as rows.

use super::{
    prelude::*,
    text::{from_json, from_word, json, kept, signed, unsigned, word},
};

#[derive(sqlx::FromRow)]
pub(super) struct BackupRow {
    pub id: Uuid,
    repository_id: Uuid,
    store_id: Uuid,
    job_id: Uuid,
    state: String,
    kind: String,
    triggered_by: String,
    description: String,
    keep_until: Option<DateTime<Utc>>,
    protected: bool,
    point: Option<DateTime<Utc>>,
    error: Option<String>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl BackupRow {
    pub(super) fn into_backup(self, parts: Vec<Part>) -> Sql<Backup> {
        let Self {
            id,
            repository_id,
            store_id,
            job_id,
            state,
            kind,
            triggered_by,
            description,
            keep_until,
            protected,
            point,
            error,
            created_at,
            started_at,
            finished_at,
        } = self;
        Ok(Backup {
            id: BackupId(id),
            repository: RepositoryId(repository_id),
            store: StoreId(store_id),
            job: JobId(job_id),
            state: from_word(state)?,
            kind: from_word(kind)?,
            trigger: from_word(triggered_by)?,
            description,
            keep_until,
            protected,
            point,
            created_at,
            started_at,
            finished_at,
            error,
            parts,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct PartRow {
    id: Uuid,
    pub backup_id: Uuid,
    source_id: Uuid,
    source_name: String,
    source_kind: String,
    state: String,
    vault_id: Option<Uuid>,
    snapshot: Option<String>,
    size: Option<i64>,
    stored_size: Option<i64>,
    items: Option<i64>,
    download_size: Option<i64>,
    manifest: Option<String>,
    warnings: String,
    error: Option<String>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl PartRow {
    pub(super) fn into_part(self) -> Sql<Part> {
        let Self {
            id,
            backup_id,
            source_id,
            source_name,
            source_kind,
            state,
            vault_id,
            snapshot,
            size,
            stored_size,
            items,
            download_size,
            manifest,
            warnings,
            error,
            started_at,
            finished_at,
        } = self;
        Ok(Part {
            id: PartId(id),
            backup: BackupId(backup_id),
            source: SourceId(source_id),
            source_name,
            source_kind,
            state: from_word(state)?,
            vault: vault_id.map(VaultId),
            snapshot,
            size: size.map(unsigned),
            stored_size: stored_size.map(unsigned),
            items: items.map(unsigned),
            download_size: download_size.map(unsigned),
            manifest: manifest.as_deref().map(from_json).transpose()?,
            warnings: from_json(&warnings)?,
            error,
            started_at,
            finished_at,
        })
    }
}

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    pub(super) async fn insert_backup(&mut self, backup: &Backup) -> Sql<()> {
        let Backup {
            id,
            repository,
            store,
            job,
            state,
            kind,
            trigger,
            description,
            keep_until,
            protected,
            point,
            created_at,
            started_at,
            finished_at,
            error,
            parts,
        } = backup;
        sqlx::query(
            "INSERT INTO backups (id, repository_id, store_id, job_id, state, kind, triggered_by, description,
                 keep_until, protected, point, error, created_at, started_at, finished_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        )
        .bind(id.0)
        .bind(repository.0)
        .bind(store.0)
        .bind(job.0)
        .bind(word(state)?)
        .bind(word(kind)?)
        .bind(word(trigger)?)
        .bind(description)
        .bind(kept(*keep_until)?)
        .bind(protected)
        .bind(point)
        .bind(error)
        .bind(created_at)
        .bind(started_at)
        .bind(finished_at)
        .execute(&mut *self.0)
        .await?;
        for (position, part) in (0_i64..).zip(parts) {
            self.insert_part(part, position).await?;
        }
        Ok(())
    }

    async fn insert_part(&mut self, part: &Part, position: i64) -> Sql<()> {
        let Part {
            id,
            backup,
            source,
            source_name,
            source_kind,
            state,
            vault,
            snapshot,
            size,
            stored_size,
            items,
            download_size,
            manifest,
            warnings,
            error,
            started_at,
            finished_at,
        } = part;
        sqlx::query(
            "INSERT INTO parts (id, backup_id, position, source_id, source_name, source_kind, state, vault_id, snapshot,
                 size, stored_size, items, download_size, manifest, warnings, error, started_at, finished_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
        )
        .bind(id.0)
        .bind(backup.0)
        .bind(position)
        .bind(source.0)
        .bind(source_name)
        .bind(source_kind)
        .bind(word(state)?)
        .bind(vault.map(|vault| vault.0))
        .bind(snapshot)
        .bind(size.map(signed))
        .bind(stored_size.map(signed))
        .bind(items.map(signed))
        .bind(download_size.map(signed))
        .bind(manifest.as_ref().map(json).transpose()?)
        .bind(json(warnings)?)
        .bind(error)
        .bind(started_at)
        .bind(finished_at)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}
