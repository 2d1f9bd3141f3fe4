//! Merges: what they look at, and letting go of a backup that was folded into a newer one.

use std::collections::{HashMap, HashSet};

use sqlx::{Postgres, QueryBuilder, Sqlite};

use super::{
    prelude::*,
    runs::fence,
    text::{from_json, from_word, json, word},
};

/// Objects in one query; both databases take more parameters than that.
const OBJECTS_PER_QUERY: usize = 1_000;

impl Database {
    /// Backups of a repository that were begun, as a merge looks at them.
    pub async fn merge_candidates(&self, repository: RepositoryId) -> Result<Vec<MergeCandidate>> {
        let filter = BackupFilter { repository: Some(repository), ..BackupFilter::default() };
        let backups = self.backups(&filter).await?;
        let ids: Vec<BackupId> = backups.iter().map(|backup| backup.id).collect();
        let mut unusable: HashSet<PartId> = self.damage_of(&ids).await?.iter().map(|damage| damage.part).collect();
        unusable.extend(self.parts_being_removed().await?.iter().map(|removal| removal.part.id));
        let candidate = |backup: Backup| {
            let good = backup.parts.iter().filter(|part| part.state == BackupState::Succeeded);
            Some(MergeCandidate {
                id: backup.id,
                at: backup.point?,
                state: backup.state,
                protected: backup.protected,
                damaged: backup.parts.iter().any(|part| unusable.contains(&part.id)),
                sources: good.map(|part| part.source).collect(),
            })
        };
        Ok(backups.into_iter().filter_map(candidate).collect())
    }

    /// What a run needs in addition, found out while it runs. `Held(false)`: another live job needs it too, and nothing was taken.
    pub async fn take_scopes(&self, run: Run, scopes: &[JobScope], now: DateTime<Utc>) -> Result<Fenced<bool>> {
        in_write!(self, tx => {
            tx.one_at_a_time().await?;
            if !tx.hold(run, now).await? {
                return Ok(Fenced::Lost);
            }
            for scope in scopes {
                if tx.is_needed_by_another(run.job, scope).await? {
                    return Ok(Fenced::Held(false));
                }
            }
            for scope in scopes {
                tx.take_scope(run.job, scope).await?;
            }
            Fenced::Held(true)
        })
    }

    /// What the job is about, oldest first, with the names that it has now.
    pub async fn record_job_backups(&self, run: Run, backups: &[BackupId], now: DateTime<Utc>) -> Result<Fenced<()>> {
        let mut named = Vec::new();
        for backup in backups {
            let object = ObjectRef::new(ObjectKind::Backup, backup.0);
            named.push((*backup, self.names_of(&[object]).await?.into_iter().map(|(_, alias)| alias).collect()));
        }
        in_write!(self, tx => {
            if !tx.hold(run, now).await? {
                return Ok(Fenced::Lost);
            }
            tx.clear_job_backups(run.job).await?;
            for (position, (backup, names)) in (0_i64..).zip(&named) {
                tx.insert_job_backup(run.job, position, *backup, names).await?;
            }
            Fenced::Held(())
        })
    }

    /// The backup leaves the catalogue, folded into `into` with all that was folded into itself.
    pub async fn fold_backup(
        &self,
        run: Run,
        backup: BackupId,
        into: BackupId,
        now: DateTime<Utc>,
    ) -> Result<Fenced<()>> {
        let object = ObjectRef::new(ObjectKind::Backup, backup.0);
        let names: Vec<Alias> = self.names_of(&[object]).await?.into_iter().map(|(_, alias)| alias).collect();
        in_write!(self, tx => {
            let held = tx.hold(run, now).await?;
            if held && let Some(found) = tx.backup(backup).await? {
                tx.inherit_merged(backup, into).await?;
                tx.insert_merged(into, &found, &names).await?;
                tx.inherit_date(&found, into).await?;
                tx.delete_backup(backup, now).await?;
            }
            fence(held)
        })
    }

    /// What was folded into each of these backups; those into which nothing was are left out.
    pub async fn merged_into(&self, backups: &[BackupId]) -> Result<HashMap<BackupId, Merged>> {
        in_read!(self, tx => {
            let mut merged: HashMap<BackupId, Merged> = HashMap::new();
            for some in backups.chunks(OBJECTS_PER_QUERY) {
                for (into, backup, kind, names) in tx.merged_into(some).await? {
                    let former = FormerBackup { id: BackupId(backup), names: from_json(&names)? };
                    let kind = from_word(kind)?;
                    let entry = merged.entry(BackupId(into)).or_insert(Merged { backups: Vec::new(), kind });
                    entry.backups.push(former);
                }
            }
            merged
        })
    }

    /// What each of these jobs was about; jobs that recorded nothing are left out.
    pub async fn backups_of_jobs(&self, jobs: &[JobId]) -> Result<HashMap<JobId, Vec<FormerBackup>>> {
        in_read!(self, tx => {
            let mut found: HashMap<JobId, Vec<FormerBackup>> = HashMap::new();
            for some in jobs.chunks(OBJECTS_PER_QUERY) {
                for (job, backup, names) in tx.backups_of_jobs(some).await? {
                    let former = FormerBackup { id: BackupId(backup), names: from_json(&names)? };
                    found.entry(JobId(job)).or_default().push(former);
                }
            }
            found
        })
    }
}

#[duplicate_item(
    Tx           Db;
    [SqliteTx]   [Sqlite];
    [PostgresTx] [Postgres];
)]
impl Tx {
    async fn is_needed_by_another(&mut self, job: JobId, scope: &JobScope) -> Sql<bool> {
        let JobScope { resource, id, exclusive } = scope;
        let other: Option<Uuid> = sqlx::query_scalar(
            "SELECT job_id FROM job_scopes
             WHERE resource_id = $1 AND resource = $2 AND job_id <> $3 AND (exclusive OR $4) LIMIT 1",
        )
        .bind(id)
        .bind(word(resource)?)
        .bind(job.0)
        .bind(exclusive)
        .fetch_optional(&mut *self.0)
        .await?;
        Ok(other.is_some())
    }

    pub(super) async fn take_scope(&mut self, job: JobId, scope: &JobScope) -> Sql<()> {
        self.insert_scope(job, scope).await?;
        sqlx::query("UPDATE job_scopes SET running = TRUE WHERE job_id = $1").bind(job.0).execute(&mut *self.0).await?;
        Ok(())
    }

    async fn clear_job_backups(&mut self, job: JobId) -> Sql<()> {
        sqlx::query("DELETE FROM job_backups WHERE job_id = $1").bind(job.0).execute(&mut *self.0).await?;
        Ok(())
    }

    async fn insert_job_backup(&mut self, job: JobId, position: i64, backup: BackupId, names: &Vec<Alias>) -> Sql<()> {
        sqlx::query("INSERT INTO job_backups (job_id, position, backup_id, names) VALUES ($1, $2, $3, $4)")
            .bind(job.0)
            .bind(position)
            .bind(backup.0)
            .bind(json(names)?)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    async fn inherit_merged(&mut self, from: BackupId, into: BackupId) -> Sql<()> {
        sqlx::query("UPDATE merged_backups SET into_id = $2 WHERE into_id = $1")
            .bind(from.0)
            .bind(into.0)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    async fn insert_merged(&mut self, into: BackupId, backup: &Backup, names: &Vec<Alias>) -> Sql<()> {
        sqlx::query("INSERT INTO merged_backups (into_id, backup_id, kind, point, names) VALUES ($1, $2, $3, $4, $5)")
            .bind(into.0)
            .bind(backup.id.0)
            .bind(word(&backup.kind)?)
            .bind(backup.point.unwrap_or(backup.created_at))
            .bind(json(names)?)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    /// Who was promised an older backup until a day finds the newer one until then; one that rules keep is left to the rules.
    async fn inherit_date(&mut self, backup: &Backup, into: BackupId) -> Sql<()> {
        sqlx::query("UPDATE backups SET keep_until = $2 WHERE id = $1 AND keep_until < $2")
            .bind(into.0)
            .bind(backup.keep_until)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    async fn merged_into(&mut self, backups: &[BackupId]) -> Sql<Vec<(Uuid, Uuid, String, String)>> {
        let mut query =
            QueryBuilder::<Db>::new("SELECT into_id, backup_id, kind, names FROM merged_backups WHERE into_id IN (");
        let mut ids = query.separated(", ");
        for backup in backups {
            ids.push_bind(backup.0);
        }
        query.push(") ORDER BY point, backup_id");
        Ok(query.build_query_as().fetch_all(&mut *self.0).await?)
    }

    async fn backups_of_jobs(&mut self, jobs: &[JobId]) -> Sql<Vec<(Uuid, Uuid, String)>> {
        let mut query = QueryBuilder::<Db>::new("SELECT job_id, backup_id, names FROM job_backups WHERE job_id IN (");
        let mut ids = query.separated(", ");
        for job in jobs {
            ids.push_bind(job.0);
        }
        query.push(") ORDER BY job_id, position");
        Ok(query.build_query_as().fetch_all(&mut *self.0).await?)
    }
}
