//! Attempts of jobs: kept alive, written. Every write of a run is fenced by its attempt.

use trivault_sources::{Progress, Warning};

use super::{
    NamesAt,
    prelude::*,
    text::{json, printable, signed, word},
};

impl Database {
    pub async fn heartbeat(&self, run: Run, lease_until: DateTime<Utc>) -> Result<Fenced<Heartbeat>> {
        in_write!(self, tx => {
            match tx.heartbeat(run, lease_until).await? {
                Some(cancel_requested) => Fenced::Held(Heartbeat { cancel_requested }),
                None => Fenced::Lost,
            }
        })
    }

    pub async fn write_progress(&self, run: Run, update: &ProgressUpdate, now: DateTime<Utc>) -> Result<Fenced<()>> {
        in_write!(self, tx => { fence(tx.write_progress(run, update, now).await?) })
    }

    pub async fn write_steps(&self, run: Run, steps: &[Step], now: DateTime<Utc>) -> Result<Fenced<()>> {
        in_write!(self, tx => { fence(tx.write_steps(run, steps, now).await?) })
    }

    /// The whole list.
    pub async fn write_warnings(&self, run: Run, warnings: &[Warning], now: DateTime<Utc>) -> Result<Fenced<()>> {
        in_write!(self, tx => { fence(tx.write_warnings(run, warnings, now).await?) })
    }

    /// New parameters, for a kind that records a decision so that a later attempt keeps it.
    pub async fn write_params(&self, run: Run, params: &serde_json::Value, now: DateTime<Utc>) -> Result<Fenced<()>> {
        in_write!(self, tx => { fence(tx.write_params(run, params, now).await?) })
    }

    /// At a backup's first claim: fixes its kind, its point (strictly rising in its repository) and its names; a later
    /// attempt finds them as they are.
    pub async fn begin_backup(
        &self,
        run: Run,
        kind: BackupKind,
        now: DateTime<Utc>,
        names: NamesAt<'_>,
    ) -> Result<Fenced<Backup>> {
        in_write!(self, tx => {
            if !tx.hold(run, now).await? {
                return Ok(Fenced::Lost);
            }
            let Some(backup) = tx.backup_of_job(run.job).await? else {
                return Err(Error::internal("A backup job without a backup."));
            };
            if backup.point.is_none() {
                let point = tx.next_point(backup.repository, now).await?;
                tx.fix_point(backup.id, kind, point).await?;
                let object = ObjectRef::new(ObjectKind::Backup, backup.id.0);
                for proposal in names(point) {
                    tx.name(object, &proposal, now).await?;
                }
            }
            tx.start_backup(backup.id, now).await?;
            match tx.backup(backup.id).await? {
                Some(backup) => Fenced::Held(backup),
                None => return Err(Error::internal("A backup vanished in its own transaction.")),
            }
        })
    }

    pub async fn begin_part(&self, run: Run, part: PartId, now: DateTime<Utc>) -> Result<Fenced<()>> {
        in_write!(self, tx => {
            if !tx.hold(run, now).await? {
                return Ok(Fenced::Lost);
            }
            tx.start_part(run.job, part, now).await?;
            Fenced::Held(())
        })
    }

    /// The one statement after which a part can be restored. Can be repeated when its answer was lost.
    pub async fn part_succeeded(&self, run: Run, done: &PartDone, now: DateTime<Utc>) -> Result<Fenced<()>> {
        in_write!(self, tx => {
            if !tx.hold(run, now).await? {
                return Ok(Fenced::Lost);
            }
            tx.part_succeeded(run.job, done, now).await?;
            Fenced::Held(())
        })
    }

    pub async fn part_failed(
        &self,
        run: Run,
        part: PartId,
        sentence: &str,
        warnings: &[Warning],
        now: DateTime<Utc>,
    ) -> Result<Fenced<()>> {
        in_write!(self, tx => {
            if !tx.hold(run, now).await? {
                return Ok(Fenced::Lost);
            }
            tx.part_failed(run.job, part, sentence, warnings, now).await?;
            Fenced::Held(())
        })
    }
}

/// What the number of changed rows says.
pub(super) fn fence(held: bool) -> Fenced<()> {
    if held { Fenced::Held(()) } else { Fenced::Lost }
}

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    /// Whether the run still has its job. Keeps it so until the transaction ends: who would take it back waits for the row.
    pub(super) async fn hold(&mut self, run: Run, now: DateTime<Utc>) -> Sql<bool> {
        let held = sqlx::query("UPDATE jobs SET updated_at = $3 WHERE id = $1 AND attempt = $2 AND state = 'running'")
            .bind(run.job.0)
            .bind(i64::from(run.attempt))
            .bind(now)
            .execute(&mut *self.0)
            .await?;
        Ok(held.rows_affected() == 1)
    }

    async fn heartbeat(&mut self, run: Run, lease_until: DateTime<Utc>) -> Sql<Option<bool>> {
        Ok(sqlx::query_scalar(
            "UPDATE jobs SET lease_until = $3 WHERE id = $1 AND attempt = $2 AND state = 'running'
             RETURNING cancel_requested",
        )
        .bind(run.job.0)
        .bind(i64::from(run.attempt))
        .bind(lease_until)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    async fn write_progress(&mut self, run: Run, update: &ProgressUpdate, now: DateTime<Utc>) -> Sql<bool> {
        let ProgressUpdate { progress, bytes_stored, percent, estimated_end } = update;
        let Progress { bytes_read, bytes_total, items, items_total } = progress;
        let written = sqlx::query(
            "UPDATE jobs SET bytes_read = $4, bytes_total = $5, items = $6, items_total = $7, bytes_stored = $8,
                 percent = $9, estimated_end = $10, updated_at = $3
             WHERE id = $1 AND attempt = $2 AND state = 'running'",
        )
        .bind(run.job.0)
        .bind(i64::from(run.attempt))
        .bind(now)
        .bind(signed(*bytes_read))
        .bind(bytes_total.map(signed))
        .bind(signed(*items))
        .bind(items_total.map(signed))
        .bind(signed(*bytes_stored))
        .bind(i64::from((*percent).min(99)))
        .bind(estimated_end)
        .execute(&mut *self.0)
        .await?;
        Ok(written.rows_affected() == 1)
    }

    pub(super) async fn write_steps(&mut self, run: Run, steps: &[Step], now: DateTime<Utc>) -> Sql<bool> {
        let written = sqlx::query(
            "UPDATE jobs SET steps = $4, updated_at = $3 WHERE id = $1 AND attempt = $2 AND state = 'running'",
        )
        .bind(run.job.0)
        .bind(i64::from(run.attempt))
        .bind(now)
        .bind(json(&steps)?)
        .execute(&mut *self.0)
        .await?;
        Ok(written.rows_affected() == 1)
    }

    async fn write_warnings(&mut self, run: Run, warnings: &[Warning], now: DateTime<Utc>) -> Sql<bool> {
        let written = sqlx::query(
            "UPDATE jobs SET warnings = $4, updated_at = $3 WHERE id = $1 AND attempt = $2 AND state = 'running'",
        )
        .bind(run.job.0)
        .bind(i64::from(run.attempt))
        .bind(now)
        .bind(json(&warnings)?)
        .execute(&mut *self.0)
        .await?;
        Ok(written.rows_affected() == 1)
    }

    async fn write_params(&mut self, run: Run, params: &serde_json::Value, now: DateTime<Utc>) -> Sql<bool> {
        let written = sqlx::query(
            "UPDATE jobs SET params = $4, updated_at = $3 WHERE id = $1 AND attempt = $2 AND state = 'running'",
        )
        .bind(run.job.0)
        .bind(i64::from(run.attempt))
        .bind(now)
        .bind(json(params)?)
        .execute(&mut *self.0)
        .await?;
        Ok(written.rows_affected() == 1)
    }

    /// `now`, or just after the repository's newest point where the clock does not say later.
    async fn next_point(&mut self, repository: RepositoryId, now: DateTime<Utc>) -> Sql<DateTime<Utc>> {
        // The change that changes nothing keeps other nodes' backups of this repository waiting for ours.
        let last: Option<DateTime<Utc>> =
            sqlx::query_scalar("UPDATE repositories SET last_point = last_point WHERE id = $1 RETURNING last_point")
                .bind(repository.0)
                .fetch_one(&mut *self.0)
                .await?;
        let earliest = last.map_or(now, |last| last + chrono::TimeDelta::microseconds(1));
        let point = now.max(earliest);
        sqlx::query("UPDATE repositories SET last_point = $2 WHERE id = $1")
            .bind(repository.0)
            .bind(point)
            .execute(&mut *self.0)
            .await?;
        Ok(point)
    }

    async fn fix_point(&mut self, backup: BackupId, kind: BackupKind, point: DateTime<Utc>) -> Sql<()> {
        sqlx::query("UPDATE backups SET point = $2, kind = $3 WHERE id = $1 AND point IS NULL")
            .bind(backup.0)
            .bind(point)
            .bind(word(&kind)?)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    async fn start_backup(&mut self, backup: BackupId, now: DateTime<Utc>) -> Sql<()> {
        sqlx::query(
            "UPDATE backups SET state = 'running', started_at = COALESCE(started_at, $2)
             WHERE id = $1 AND state IN ('queued', 'running')",
        )
        .bind(backup.0)
        .bind(now)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn start_part(&mut self, job: JobId, part: PartId, now: DateTime<Utc>) -> Sql<()> {
        let started = sqlx::query(
            "UPDATE parts SET state = 'running', started_at = $3, finished_at = NULL, error = NULL
             WHERE id = $2 AND state IN ('queued', 'running')
               AND backup_id IN (SELECT id FROM backups WHERE job_id = $1)",
        )
        .bind(job.0)
        .bind(part.0)
        .bind(now)
        .execute(&mut *self.0)
        .await?;
        one_part(started.rows_affected())
    }

    async fn part_succeeded(&mut self, job: JobId, done: &PartDone, now: DateTime<Utc>) -> Sql<()> {
        let PartDone { part, vault, snapshot, size, stored_size, items, download_size, manifest, warnings } = done;
        let written = sqlx::query(
            "UPDATE parts SET state = 'succeeded', vault_id = $3, snapshot = $4, size = $5, stored_size = $6, items = $7,
                 download_size = $8, manifest = $9, warnings = $10, error = NULL, finished_at = $11
             WHERE id = $2 AND (state IN ('queued', 'running') OR (state = 'succeeded' AND snapshot = $4))
               AND backup_id IN (SELECT id FROM backups WHERE job_id = $1)",
        )
        .bind(job.0)
        .bind(part.0)
        .bind(vault.0)
        .bind(snapshot)
        .bind(signed(*size))
        .bind(signed(*stored_size))
        .bind(signed(*items))
        .bind(download_size.map(signed))
        .bind(manifest.as_ref().map(json).transpose()?)
        .bind(json(warnings)?)
        .bind(now)
        .execute(&mut *self.0)
        .await?;
        one_part(written.rows_affected())
    }

    async fn part_failed(
        &mut self,
        job: JobId,
        part: PartId,
        sentence: &str,
        warnings: &[Warning],
        now: DateTime<Utc>,
    ) -> Sql<()> {
        let written = sqlx::query(
            "UPDATE parts SET state = 'failed', error = $3, warnings = $4, finished_at = $5
             WHERE id = $2 AND state IN ('queued', 'running')
               AND backup_id IN (SELECT id FROM backups WHERE job_id = $1)",
        )
        .bind(job.0)
        .bind(part.0)
        .bind(printable(sentence))
        .bind(json(&warnings)?)
        .bind(now)
        .execute(&mut *self.0)
        .await?;
        one_part(written.rows_affected())
    }
}

fn one_part(rows: u64) -> Sql<()> {
    if rows == 1 {
        return Ok(());
    }
    Err(Error::internal("A run wrote to a part that is over or not its own.").into())
}
