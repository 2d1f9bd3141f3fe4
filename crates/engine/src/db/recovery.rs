//! What a store's copy of the catalogue is made of, and how it comes back into an empty database.
//!
//! Everything that is written here is written only where it is not there yet, so that a recovery can be run again.

use std::collections::{BTreeMap, HashMap};

use sqlx::{Postgres, QueryBuilder, Sqlite};

use super::{
    backup_rows::BackupRow,
    prelude::*,
    text::{from_json, from_word, json, word},
};

/// Lines of a job's log that a store keeps: the first and the last ones.
pub const LOG_BEGIN: i64 = 50;
pub const LOG_END: i64 = 150;

impl Database {
    /// Changes whenever somebody changed something or a job came or went: the newest audit record and the number of live jobs.
    pub async fn capture_mark(&self) -> Result<(i64, i64)> {
        in_read!(self, tx => { (tx.newest_audit().await?, tx.live_jobs().await?) })
    }

    /// Sealed passwords, by source.
    pub async fn source_secrets(&self) -> Result<Vec<(SourceId, Vec<u8>)>> {
        in_read!(self, tx => {
            tx.source_secrets().await?.into_iter().map(|(id, sealed)| (SourceId(id), sealed)).collect()
        })
    }

    pub async fn password_hashes(&self) -> Result<Vec<(UserId, String)>> {
        in_read!(self, tx => { tx.password_hashes().await?.into_iter().map(|(id, hash)| (UserId(id), hash)).collect() })
    }

    /// Everybody who has a plan.
    pub async fn plan_owners(&self) -> Result<Vec<String>> {
        in_read!(self, tx => { tx.plan_owners().await? })
    }

    /// The rules of every repository that has some.
    pub async fn all_retention(&self) -> Result<Vec<(RepositoryId, Retention)>> {
        in_read!(self, tx => {
            let rows = tx.all_retention().await?;
            rows.into_iter().map(|(id, rules)| Ok((RepositoryId(id), from_json(&rules)?))).collect::<Sql<Vec<_>>>()?
        })
    }

    /// Names and attributes of everything but backups, parts, jobs and tokens.
    pub async fn standing_labels(&self) -> Result<LabelSet> {
        in_read!(self, tx => {
            let mut labels = LabelSet::default();
            for (kind, id, namespace, name) in tx.standing_names().await? {
                labels.names.push((ObjectRef::new(from_word(kind)?, id), Alias { namespace, name }));
            }
            for (kind, id, namespace, key, value) in tx.standing_attributes().await? {
                let attribute = Attribute { namespace, key, value: from_json(&value)? };
                labels.attributes.push((ObjectRef::new(from_word(kind)?, id), attribute));
            }
            labels
        })
    }

    /// Names and attributes of these objects.
    pub async fn labels_of(&self, objects: &[ObjectRef]) -> Result<LabelSet> {
        in_read!(self, tx => { tx.labels_of(objects).await? })
    }

    /// Finished jobs of a store, newest first, each with the backup that it made and the beginning and end of its log.
    pub async fn history(&self, store: StoreId, limit: u32, offset: u32) -> Result<Vec<HistoryEntry>> {
        let states = vec![JobState::Succeeded, JobState::Failed, JobState::Cancelled, JobState::Skipped];
        let filter = JobFilter { store: Some(store), states, limit: Some(limit), offset, ..JobFilter::default() };
        let jobs = self.jobs(&filter).await?;
        in_read!(self, tx => {
            let ids: Vec<Uuid> = jobs.iter().map(|job| job.id.0).collect();
            let rows = tx.made_by_jobs(&ids).await?;
            let mut backups: HashMap<JobId, Backup> =
                tx.with_parts(rows).await?.into_iter().map(|backup| (backup.job, backup)).collect();
            let mut logs = tx.logs_of(&ids).await?;
            let mut entries = Vec::with_capacity(jobs.len());
            for job in jobs {
                let backup = backups.remove(&job.id);
                let labels = tx.labels_of(&objects_of(&job, backup.as_ref())).await?;
                let log = logs.remove(&job.id.0).unwrap_or_default();
                let about = tx.job_backups(job.id).await?;
                let merged = match &backup {
                    Some(backup) => tx.folded_into(backup.id).await?,
                    None => Vec::new(),
                };
                entries.push(HistoryEntry { job, backup, labels, log, about, merged });
            }
            entries
        })
    }

    /// Whether nobody has used this database yet.
    pub async fn is_unused(&self) -> Result<bool> {
        in_read!(self, tx => { tx.rows_in_use().await? == 0 })
    }

    /// A store with its vaults, those that stand left as they are. Answers whether the store is new.
    pub async fn recover_store(&self, row: &StoreRow, vaults: &[VaultRow]) -> Result<bool> {
        in_write!(self, tx => {
            let new = !tx.stands(ObjectKind::Store, row.store.id.0).await?;
            if new {
                tx.insert_store(row).await?;
            }
            for vault in vaults {
                tx.insert_vault(vault).await?;
            }
            new
        })
    }

    /// `false` where it stands, or where another one is attached under its name.
    pub async fn recover_source(&self, source: &Source, sealed_secret: Option<&[u8]>) -> Result<bool> {
        in_write!(self, tx => {
            if tx.stands(ObjectKind::Source, source.id.0).await? {
                return Ok(false);
            }
            tx.insert_source(source, sealed_secret).await?;
            true
        })
    }

    /// `false` where a user of that name stands.
    pub async fn recover_user(&self, user: &User, password_hash: &str) -> Result<bool> {
        in_write!(self, tx => {
            if tx.user_stands(user.id.0, &user.name).await? {
                return Ok(false);
            }
            tx.insert_user(user, password_hash).await?;
            true
        })
    }

    /// `false` where a plan of that owner and name stands.
    pub async fn recover_plan(&self, plan: &Plan) -> Result<bool> {
        in_write!(self, tx => {
            if tx.stands(ObjectKind::Plan, plan.id.0).await? || !tx.insert_plan(plan).await? {
                return Ok(false);
            }
            tx.put_plan_attributes(plan.id, &plan.attributes).await?;
            true
        })
    }

    /// With its rules and its schedule. `false` where it stands. A plan that is not there is left out.
    pub async fn recover_repository(
        &self,
        repository: &Repository,
        retention: Option<&Retention>,
        schedule: &[ScheduleEntry],
    ) -> Result<bool> {
        in_write!(self, tx => {
            if tx.stands(ObjectKind::Repository, repository.id.0).await? {
                return Ok(false);
            }
            let mut repository = repository.clone();
            if let Some(plan) = repository.plan && !tx.stands(ObjectKind::Plan, plan.0).await? {
                repository.plan = None;
            }
            if !tx.insert_repository(&repository).await? {
                return Ok(false);
            }
            if let Some(rules) = retention {
                tx.write_retention(repository.id, &json(rules)?, repository.updated_at).await?;
            }
            if repository.plan.is_some() {
                tx.replace_schedule(repository.id, schedule).await?;
            }
            true
        })
    }

    /// Names that are taken by others get a number.
    pub async fn recover_labels(&self, labels: &LabelSet, now: DateTime<Utc>) -> Result<()> {
        in_write!(self, tx => { tx.recover_labels(labels, now).await? })
    }

    /// Backups with their jobs, logs and names; those that stand are left as they are. Answers the backups and jobs that are new.
    pub async fn recover_history(&self, entries: &[HistoryEntry]) -> Result<RecoveredRows> {
        in_write!(self, tx => {
            let mut rows = RecoveredRows::default();
            for HistoryEntry { job, backup, labels, log, about, merged } in entries {
                let new_job = !tx.stands(ObjectKind::Job, job.id.0).await?;
                if new_job {
                    tx.insert_job(&finished(job)).await?;
                    tx.append_log(job.id, log).await?;
                    tx.recover_job_backups(job.id, about).await?;
                    rows.jobs += 1;
                }
                let mut new_backup = false;
                if let Some(backup) = backup && !tx.stands(ObjectKind::Backup, backup.id.0).await? {
                    tx.insert_backup(backup).await?;
                    tx.pass_point(backup).await?;
                    tx.recover_merged(backup.id, merged).await?;
                    new_backup = true;
                    rows.backups += 1;
                    rows.parts += backup.parts.len() as u64;
                }
                if new_job || new_backup {
                    tx.recover_labels(labels, job.created_at).await?;
                }
            }
            rows
        })
    }
}

/// Everything that a job's entry in the history can have names of.
pub(crate) fn objects_of(job: &Job, backup: Option<&Backup>) -> Vec<ObjectRef> {
    let mut objects = vec![ObjectRef::new(ObjectKind::Job, job.id.0)];
    if let Some(backup) = backup {
        objects.push(ObjectRef::new(ObjectKind::Backup, backup.id.0));
        objects.extend(backup.parts.iter().map(|part| ObjectRef::new(ObjectKind::Part, part.id.0)));
    }
    objects
}

/// A job that is over, as it is enqueued: nothing runs it again.
fn finished(job: &Job) -> NewJob {
    NewJob {
        job: job.clone(),
        params: serde_json::Value::Object(serde_json::Map::new()),
        scopes: Vec::new(),
        priority: 0,
        not_before: None,
        retry_limit: 0,
        held_by: None,
        alone_in: None,
    }
}

type NameRow = (String, Uuid, String, String);

#[duplicate_item(
    Tx           Db;
    [SqliteTx]   [Sqlite];
    [PostgresTx] [Postgres];
)]
impl Tx {
    async fn newest_audit(&mut self) -> Sql<i64> {
        let newest: Option<i64> = sqlx::query_scalar("SELECT MAX(seq) FROM audit").fetch_one(&mut *self.0).await?;
        Ok(newest.unwrap_or(0))
    }

    async fn live_jobs(&mut self) -> Sql<i64> {
        Ok(sqlx::query_scalar("SELECT COUNT(*) FROM jobs WHERE finished_at IS NULL").fetch_one(&mut *self.0).await?)
    }

    async fn source_secrets(&mut self) -> Sql<Vec<(Uuid, Vec<u8>)>> {
        Ok(sqlx::query_as("SELECT id, sealed_secret FROM sources WHERE sealed_secret IS NOT NULL ORDER BY id")
            .fetch_all(&mut *self.0)
            .await?)
    }

    async fn password_hashes(&mut self) -> Sql<Vec<(Uuid, String)>> {
        Ok(sqlx::query_as("SELECT id, password_hash FROM users ORDER BY id").fetch_all(&mut *self.0).await?)
    }

    async fn plan_owners(&mut self) -> Sql<Vec<String>> {
        Ok(sqlx::query_scalar("SELECT DISTINCT owner FROM plans ORDER BY owner").fetch_all(&mut *self.0).await?)
    }

    async fn all_retention(&mut self) -> Sql<Vec<(Uuid, String)>> {
        Ok(sqlx::query_as("SELECT repository_id, rules FROM retention_rules ORDER BY repository_id")
            .fetch_all(&mut *self.0)
            .await?)
    }

    async fn standing_names(&mut self) -> Sql<Vec<NameRow>> {
        Ok(sqlx::query_as(
            "SELECT object_kind, object_id, namespace, name FROM aliases
             WHERE object_kind IN ('source', 'store', 'repository', 'plan', 'user') ORDER BY seq",
        )
        .fetch_all(&mut *self.0)
        .await?)
    }

    async fn standing_attributes(&mut self) -> Sql<Vec<(String, Uuid, String, String, String)>> {
        Ok(sqlx::query_as(
            "SELECT object_kind, object_id, namespace, key, value FROM attributes
             WHERE object_kind IN ('source', 'store', 'repository', 'plan', 'user')
             ORDER BY object_id, namespace, key",
        )
        .fetch_all(&mut *self.0)
        .await?)
    }

    async fn labels_of(&mut self, objects: &[ObjectRef]) -> Sql<LabelSet> {
        let mut labels = LabelSet::default();
        for (kind, id, namespace, name) in self.names_of(objects).await? {
            labels.names.push((ObjectRef::new(from_word(kind)?, id), Alias { namespace, name }));
        }
        for row in self.attributes(None, objects).await? {
            labels.attributes.push(row.into_attribute()?);
        }
        Ok(labels)
    }

    async fn made_by_jobs(&mut self, jobs: &[Uuid]) -> Sql<Vec<BackupRow>> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = QueryBuilder::<Db>::new("SELECT * FROM backups WHERE job_id IN (");
        let mut ids = query.separated(", ");
        for job in jobs {
            ids.push_bind(*job);
        }
        query.push(")");
        Ok(query.build_query_as().fetch_all(&mut *self.0).await?)
    }

    async fn logs_of(&mut self, jobs: &[Uuid]) -> Sql<BTreeMap<Uuid, Vec<LogLine>>> {
        let mut logs: BTreeMap<Uuid, Vec<LogLine>> = BTreeMap::new();
        if jobs.is_empty() {
            return Ok(logs);
        }
        let mut query = QueryBuilder::<Db>::new(
            "SELECT job_id, at, text FROM (
                 SELECT job_id, seq, at, text,
                     ROW_NUMBER() OVER (PARTITION BY job_id ORDER BY seq) AS from_begin,
                     ROW_NUMBER() OVER (PARTITION BY job_id ORDER BY seq DESC) AS from_end
                 FROM job_log WHERE job_id IN (",
        );
        let mut ids = query.separated(", ");
        for job in jobs {
            ids.push_bind(*job);
        }
        query.push(")) AS lines WHERE from_begin <= ").push_bind(LOG_BEGIN);
        query.push(" OR from_end <= ").push_bind(LOG_END).push(" ORDER BY job_id, seq");
        let rows: Vec<(Uuid, DateTime<Utc>, String)> = query.build_query_as().fetch_all(&mut *self.0).await?;
        for (job, at, text) in rows {
            logs.entry(job).or_default().push(LogLine { at, text });
        }
        Ok(logs)
    }

    async fn rows_in_use(&mut self) -> Sql<i64> {
        Ok(sqlx::query_scalar(
            "SELECT (SELECT COUNT(*) FROM stores) + (SELECT COUNT(*) FROM sources) + (SELECT COUNT(*) FROM users)
                 + (SELECT COUNT(*) FROM repositories)",
        )
        .fetch_one(&mut *self.0)
        .await?)
    }

    async fn stands(&mut self, kind: ObjectKind, id: Uuid) -> Sql<bool> {
        let text = match kind {
            ObjectKind::Source => "SELECT COUNT(*) FROM sources WHERE id = $1",
            ObjectKind::Store => "SELECT COUNT(*) FROM stores WHERE id = $1",
            ObjectKind::Repository => "SELECT COUNT(*) FROM repositories WHERE id = $1",
            ObjectKind::Plan => "SELECT COUNT(*) FROM plans WHERE id = $1",
            ObjectKind::Backup => "SELECT COUNT(*) FROM backups WHERE id = $1",
            ObjectKind::Part => "SELECT COUNT(*) FROM parts WHERE id = $1",
            ObjectKind::Job => "SELECT COUNT(*) FROM jobs WHERE id = $1",
            ObjectKind::User => "SELECT COUNT(*) FROM users WHERE id = $1",
            ObjectKind::Token => "SELECT COUNT(*) FROM tokens WHERE id = $1",
        };
        let count: i64 = sqlx::query_scalar(text).bind(id).fetch_one(&mut *self.0).await?;
        Ok(count > 0)
    }

    async fn user_stands(&mut self, id: Uuid, name: &str) -> Sql<bool> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM users WHERE id = $1 OR name = $2")
            .bind(id)
            .bind(name)
            .fetch_one(&mut *self.0)
            .await?;
        Ok(count > 0)
    }

    async fn recover_labels(&mut self, labels: &LabelSet, now: DateTime<Utc>) -> Sql<()> {
        for (object, Alias { namespace, name }) in &labels.names {
            let proposal = Proposal { namespace: namespace.clone(), name: name.clone(), number_if_taken: true };
            self.name(*object, &proposal, now).await?;
        }
        for (object, attribute) in &labels.attributes {
            self.put_attribute(*object, attribute).await?;
        }
        Ok(())
    }

    async fn job_backups(&mut self, job: JobId) -> Sql<Vec<FormerBackup>> {
        let rows: Vec<(Uuid, String)> =
            sqlx::query_as("SELECT backup_id, names FROM job_backups WHERE job_id = $1 ORDER BY position")
                .bind(job.0)
                .fetch_all(&mut *self.0)
                .await?;
        rows.into_iter().map(|(id, names)| Ok(FormerBackup { id: BackupId(id), names: from_json(&names)? })).collect()
    }

    async fn folded_into(&mut self, backup: BackupId) -> Sql<Vec<FoldedBackup>> {
        let rows: Vec<(Uuid, String, DateTime<Utc>, String)> = sqlx::query_as(
            "SELECT backup_id, kind, point, names FROM merged_backups WHERE into_id = $1 ORDER BY point, backup_id",
        )
        .bind(backup.0)
        .fetch_all(&mut *self.0)
        .await?;
        let folded = |(id, kind, point, names): (Uuid, String, DateTime<Utc>, String)| {
            let former = FormerBackup { id: BackupId(id), names: from_json(&names)? };
            Ok(FoldedBackup { former, kind: from_word(kind)?, point })
        };
        rows.into_iter().map(folded).collect()
    }

    async fn recover_job_backups(&mut self, job: JobId, about: &[FormerBackup]) -> Sql<()> {
        for (position, FormerBackup { id, names }) in (0_i64..).zip(about) {
            sqlx::query("INSERT INTO job_backups (job_id, position, backup_id, names) VALUES ($1, $2, $3, $4)")
                .bind(job.0)
                .bind(position)
                .bind(id.0)
                .bind(json(names)?)
                .execute(&mut *self.0)
                .await?;
        }
        Ok(())
    }

    async fn recover_merged(&mut self, into: BackupId, merged: &[FoldedBackup]) -> Sql<()> {
        for FoldedBackup { former: FormerBackup { id, names }, kind, point } in merged {
            sqlx::query(
                "INSERT INTO merged_backups (into_id, backup_id, kind, point, names) VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(into.0)
            .bind(id.0)
            .bind(word(kind)?)
            .bind(point)
            .bind(json(names)?)
            .execute(&mut *self.0)
            .await?;
        }
        Ok(())
    }

    /// The next backup of the repository lies after this one.
    async fn pass_point(&mut self, backup: &Backup) -> Sql<()> {
        let Some(point) = backup.point else { return Ok(()) };
        sqlx::query(
            "UPDATE repositories SET last_point = $2 WHERE id = $1 AND (last_point IS NULL OR last_point < $2)",
        )
        .bind(backup.repository.0)
        .bind(point)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}
