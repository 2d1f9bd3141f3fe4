//! Backups and parts, read; and what is changed outside of a job.

use std::collections::HashMap;

use sqlx::{Postgres, QueryBuilder, Sqlite};

use super::{
    LIST_LIMIT,
    backup_rows::{BackupRow, PartRow},
    prelude::*,
    text::{kept, printable, word},
};

/// Backups whose parts are fetched in one query.
const BACKUPS_PER_QUERY: usize = 1_000;

impl Database {
    /// Newest first, with parts.
    pub async fn backups(&self, filter: &BackupFilter) -> Result<Vec<Backup>> {
        in_read!(self, tx => {
            let rows = tx.backups(filter).await?;
            tx.with_parts(rows).await?
        })
    }

    pub async fn backup(&self, id: BackupId) -> Result<Option<Backup>> {
        in_read!(self, tx => { tx.backup(id).await? })
    }

    pub async fn backup_of_part(&self, part: PartId) -> Result<Option<Backup>> {
        in_read!(self, tx => {
            let Some(row) = tx.part(part).await? else { return Ok(None) };
            tx.backup(BackupId(row.backup_id)).await?
        })
    }

    /// `false` when there is no such backup.
    pub async fn set_keep_until(
        &self,
        id: BackupId,
        keep_until: Option<DateTime<Utc>>,
        audit: &AuditEntry,
    ) -> Result<bool> {
        in_write!(self, tx => {
            if !tx.set_keep_until(id, keep_until).await? {
                return Ok(false);
            }
            tx.audit(audit).await?;
            true
        })
    }

    /// The newest succeeded part of a source in a vault: what an incremental backup builds on.
    pub async fn previous_part(&self, source: SourceId, vault: VaultId) -> Result<Option<Part>> {
        in_read!(self, tx => { tx.previous_part(source, vault).await?.map(PartRow::into_part).transpose()? })
    }

    /// Succeeded parts of a vault, for the reconciler that compares them with the snapshots there.
    pub async fn parts_in_vault(&self, vault: VaultId) -> Result<Vec<Part>> {
        in_read!(self, tx => {
            tx.parts_in_vault(vault, "succeeded").await?.into_iter().map(PartRow::into_part).collect::<Sql<_>>()?
        })
    }

    /// Parts of a vault whose snapshots have vanished.
    pub async fn lost_parts_in_vault(&self, vault: VaultId) -> Result<Vec<Part>> {
        in_read!(self, tx => {
            tx.parts_in_vault(vault, "lost").await?.into_iter().map(PartRow::into_part).collect::<Sql<_>>()?
        })
    }

    /// Its snapshot has vanished from the store: part and backup become `Lost`. `false` when it was not `Succeeded`.
    pub async fn mark_part_lost(&self, part: PartId, sentence: &str, now: DateTime<Utc>) -> Result<bool> {
        in_write!(self, tx => {
            let Some(backup) = tx.lose_part(part, sentence, now).await? else { return Ok(false) };
            tx.lose_backup(BackupId(backup), sentence, now).await?;
            true
        })
    }

    /// Its snapshot is there again: the part is no longer `Lost`, nor is a backup that has lost no other. `false` when it was not lost.
    pub async fn mark_part_found(&self, part: PartId) -> Result<bool> {
        in_write!(self, tx => {
            let Some(backup) = tx.find_part(part).await? else { return Ok(false) };
            tx.find_backup(BackupId(backup)).await?;
            true
        })
    }
}

#[duplicate_item(
    Tx           Db;
    [SqliteTx]   [Sqlite];
    [PostgresTx] [Postgres];
)]
impl Tx {
    async fn backups(&mut self, filter: &BackupFilter) -> Sql<Vec<BackupRow>> {
        let BackupFilter { repository, store, source, states, protected, limit, offset } = filter;
        let mut query = QueryBuilder::<Db>::new("SELECT * FROM backups WHERE TRUE");
        if let Some(repository) = repository {
            query.push(" AND repository_id = ").push_bind(repository.0);
        }
        if let Some(store) = store {
            query.push(" AND store_id = ").push_bind(store.0);
        }
        if let Some(source) = source {
            query.push(" AND id IN (SELECT backup_id FROM parts WHERE source_id = ").push_bind(source.0).push(")");
        }
        if !states.is_empty() {
            query.push(" AND state IN (");
            let mut words = query.separated(", ");
            for state in states {
                words.push_bind(word(state)?);
            }
            query.push(")");
        }
        if let Some(protected) = protected {
            query.push(" AND protected = ").push_bind(*protected);
        }
        query
            .push(" ORDER BY created_at DESC, id DESC LIMIT ")
            .push_bind(i64::from(limit.unwrap_or(LIST_LIMIT).min(LIST_LIMIT)))
            .push(" OFFSET ")
            .push_bind(i64::from(*offset));
        Ok(query.build_query_as().fetch_all(&mut *self.0).await?)
    }

    /// Joins the parts, in the order in which they are captured.
    pub(super) async fn with_parts(&mut self, rows: Vec<BackupRow>) -> Sql<Vec<Backup>> {
        let mut parts: HashMap<Uuid, Vec<Part>> = HashMap::with_capacity(rows.len());
        for some in rows.chunks(BACKUPS_PER_QUERY) {
            let mut query = QueryBuilder::<Db>::new("SELECT * FROM parts WHERE backup_id IN (");
            let mut ids = query.separated(", ");
            for row in some {
                ids.push_bind(row.id);
            }
            query.push(") ORDER BY backup_id, position");
            let found: Vec<PartRow> = query.build_query_as().fetch_all(&mut *self.0).await?;
            for row in found {
                parts.entry(row.backup_id).or_default().push(row.into_part()?);
            }
        }
        rows.into_iter()
            .map(|row| {
                let parts = parts.remove(&row.id).unwrap_or_default();
                row.into_backup(parts)
            })
            .collect()
    }

    pub(super) async fn backup(&mut self, id: BackupId) -> Sql<Option<Backup>> {
        let rows: Vec<BackupRow> =
            sqlx::query_as("SELECT * FROM backups WHERE id = $1").bind(id.0).fetch_all(&mut *self.0).await?;
        Ok(self.with_parts(rows).await?.pop())
    }

    /// The backup that a job makes.
    pub(super) async fn backup_of_job(&mut self, job: JobId) -> Sql<Option<Backup>> {
        let rows: Vec<BackupRow> =
            sqlx::query_as("SELECT * FROM backups WHERE job_id = $1").bind(job.0).fetch_all(&mut *self.0).await?;
        Ok(self.with_parts(rows).await?.pop())
    }

    async fn part(&mut self, id: PartId) -> Sql<Option<PartRow>> {
        Ok(sqlx::query_as("SELECT * FROM parts WHERE id = $1").bind(id.0).fetch_optional(&mut *self.0).await?)
    }

    async fn previous_part(&mut self, source: SourceId, vault: VaultId) -> Sql<Option<PartRow>> {
        Ok(sqlx::query_as(
            "SELECT p.* FROM parts p JOIN backups b ON b.id = p.backup_id
             WHERE p.vault_id = $1 AND p.source_id = $2 AND p.state = 'succeeded' AND p.removal_begun_at IS NULL
             ORDER BY p.started_at DESC, b.point DESC LIMIT 1",
        )
        .bind(vault.0)
        .bind(source.0)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    async fn parts_in_vault(&mut self, vault: VaultId, state: &str) -> Sql<Vec<PartRow>> {
        // The state is a word of ours; written out, so that the index of those that succeeded serves.
        let text = match state {
            "lost" => "SELECT * FROM parts WHERE vault_id = $1 AND state = 'lost' ORDER BY id",
            _ => "SELECT * FROM parts WHERE vault_id = $1 AND state = 'succeeded' ORDER BY id",
        };
        Ok(sqlx::query_as(text).bind(vault.0).fetch_all(&mut *self.0).await?)
    }

    async fn set_keep_until(&mut self, id: BackupId, keep_until: Option<DateTime<Utc>>) -> Sql<bool> {
        let changed = sqlx::query("UPDATE backups SET keep_until = $2 WHERE id = $1")
            .bind(id.0)
            .bind(kept(keep_until)?)
            .execute(&mut *self.0)
            .await?;
        Ok(changed.rows_affected() == 1)
    }

    async fn lose_part(&mut self, id: PartId, sentence: &str, now: DateTime<Utc>) -> Sql<Option<Uuid>> {
        Ok(sqlx::query_scalar(
            "UPDATE parts SET state = 'lost', error = $2, finished_at = COALESCE(finished_at, $3), removal_begun_at = NULL
             WHERE id = $1 AND state = 'succeeded' RETURNING backup_id",
        )
        .bind(id.0)
        .bind(printable(sentence))
        .bind(now)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    async fn find_part(&mut self, id: PartId) -> Sql<Option<Uuid>> {
        let text =
            "UPDATE parts SET state = 'succeeded', error = NULL WHERE id = $1 AND state = 'lost' RETURNING backup_id";
        Ok(sqlx::query_scalar(text).bind(id.0).fetch_optional(&mut *self.0).await?)
    }

    async fn find_backup(&mut self, id: BackupId) -> Sql<()> {
        sqlx::query(
            "UPDATE backups SET state = 'succeeded', error = NULL, lost_at = NULL WHERE id = $1 AND state = 'lost'
               AND NOT EXISTS (SELECT 1 FROM parts p WHERE p.backup_id = $1 AND p.state <> 'succeeded')",
        )
        .bind(id.0)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn lose_backup(&mut self, id: BackupId, sentence: &str, now: DateTime<Utc>) -> Sql<()> {
        sqlx::query(
            "UPDATE backups SET state = 'lost', error = $2, lost_at = $3, finished_at = COALESCE(finished_at, $3)
             WHERE id = $1 AND state = 'succeeded'",
        )
        .bind(id.0)
        .bind(printable(sentence))
        .bind(now)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    /// The backup leaves the catalogue with everything that hangs on it.
    pub(super) async fn delete_backup(&mut self, id: BackupId, now: DateTime<Utc>) -> Sql<()> {
        if let Some(backup) = self.backup(id).await? {
            self.bytes_are_unused(&backup, now).await?;
            for part in &backup.parts {
                self.forget_labels(ObjectRef::new(ObjectKind::Part, part.id.0)).await?;
            }
        }
        self.forget_labels(ObjectRef::new(ObjectKind::Backup, id.0)).await?;
        // The parts go with it.
        sqlx::query("DELETE FROM backups WHERE id = $1").bind(id.0).execute(&mut *self.0).await?;
        Ok(())
    }
}
