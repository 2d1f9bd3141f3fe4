//! Runs of plans' tasks that there have been: each is bound to the instant at which it was due, so that none runs twice.

use super::prelude::*;

impl Database {
    /// When runs of a task were due that there have been, after `from`, the earliest first.
    pub async fn occurrences_after(
        &self,
        repository: RepositoryId,
        task: &str,
        from: DateTime<Utc>,
    ) -> Result<Vec<DateTime<Utc>>> {
        in_read!(self, tx => { tx.occurrences_after(repository, task, from).await? })
    }

    /// Tasks of which there were runs that were due before `before`.
    pub async fn tasks_with_occurrences(&self, before: DateTime<Utc>) -> Result<Vec<(RepositoryId, String)>> {
        in_read!(self, tx => {
            let rows = tx.tasks_with_occurrences(before).await?.into_iter();
            rows.map(|(repository, task)| (RepositoryId(repository), task)).collect()
        })
    }

    /// Removes runs of a task that were due before `before`; answers how many. The newest run, the newest that succeeded and those
    /// whose job is not over stay. What is removed is remembered by its end: nothing that was due by then runs again.
    pub async fn remove_occurrences(&self, repository: RepositoryId, task: &str, before: DateTime<Utc>) -> Result<u64> {
        in_write!(self, tx => {
            let newest = tx.newest_occurrence(repository, task).await?;
            let good = tx.newest_good_occurrence(repository, task).await?;
            let Some(newest) = newest else { return Ok(0) };
            let before = before.min(newest);
            let Some((until, job)) = tx.newest_removable(repository, task, before, good).await? else { return Ok(0) };
            tx.remember_removed(repository, task, until, job).await?;
            tx.remove_occurrences(repository, task, until, good).await?
        })
    }
}

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    /// Binds the occurrence to the job and moves the schedule on; the job to which it is bound where it is.
    pub(super) async fn take_occurrence(&mut self, occurrence: &Occurrence, job: JobId) -> Sql<Option<JobId>> {
        let Occurrence { repository, task, due, next_run } = occurrence;
        let inserted = sqlx::query(
            "INSERT INTO occurrences (repository_id, task, due_at, job_id) VALUES ($1, $2, $3, $4)
             ON CONFLICT (repository_id, task, due_at) DO NOTHING",
        )
        .bind(repository.0)
        .bind(task)
        .bind(due)
        .bind(job.0)
        .execute(&mut *self.0)
        .await?;
        let standing = if inserted.rows_affected() == 1 {
            // Asked after the row was written: a removal that was under way is over then, and is seen.
            self.removed_occurrence(*repository, task, *due).await?
        } else {
            Some(self.job_of_occurrence(*repository, task, *due).await?)
        };
        let Some(standing) = standing else {
            self.move_on(*repository, task, *due, *next_run, Some(*due)).await?;
            return Ok(None);
        };
        if inserted.rows_affected() == 1 {
            self.drop_occurrence(*repository, task, *due).await?;
        }
        // After the clock went back, a schedule can stand on a run that there was already: it must not stay there.
        self.move_on(*repository, task, *due, *next_run, None).await?;
        Ok(Some(JobId(standing)))
    }

    async fn job_of_occurrence(&mut self, repository: RepositoryId, task: &str, due: DateTime<Utc>) -> Sql<Uuid> {
        Ok(sqlx::query_scalar("SELECT job_id FROM occurrences WHERE repository_id = $1 AND task = $2 AND due_at = $3")
            .bind(repository.0)
            .bind(task)
            .bind(due)
            .fetch_one(&mut *self.0)
            .await?)
    }

    async fn removed_occurrence(
        &mut self,
        repository: RepositoryId,
        task: &str,
        due: DateTime<Utc>,
    ) -> Sql<Option<Uuid>> {
        Ok(sqlx::query_scalar(
            "SELECT job_id FROM occurrences_removed WHERE repository_id = $1 AND task = $2 AND until_at >= $3",
        )
        .bind(repository.0)
        .bind(task)
        .bind(due)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    async fn drop_occurrence(&mut self, repository: RepositoryId, task: &str, due: DateTime<Utc>) -> Sql<()> {
        sqlx::query("DELETE FROM occurrences WHERE repository_id = $1 AND task = $2 AND due_at = $3")
            .bind(repository.0)
            .bind(task)
            .bind(due)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    async fn occurrences_after(
        &mut self,
        repository: RepositoryId,
        task: &str,
        from: DateTime<Utc>,
    ) -> Sql<Vec<DateTime<Utc>>> {
        Ok(sqlx::query_scalar(
            "SELECT due_at FROM occurrences WHERE repository_id = $1 AND task = $2 AND due_at > $3 ORDER BY due_at",
        )
        .bind(repository.0)
        .bind(task)
        .bind(from)
        .fetch_all(&mut *self.0)
        .await?)
    }

    async fn tasks_with_occurrences(&mut self, before: DateTime<Utc>) -> Sql<Vec<(Uuid, String)>> {
        Ok(sqlx::query_as(
            "SELECT DISTINCT repository_id, task FROM occurrences WHERE due_at < $1 ORDER BY repository_id, task",
        )
        .bind(before)
        .fetch_all(&mut *self.0)
        .await?)
    }

    async fn newest_occurrence(&mut self, repository: RepositoryId, task: &str) -> Sql<Option<DateTime<Utc>>> {
        Ok(sqlx::query_scalar(
            "SELECT due_at FROM occurrences WHERE repository_id = $1 AND task = $2 ORDER BY due_at DESC LIMIT 1",
        )
        .bind(repository.0)
        .bind(task)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    async fn newest_good_occurrence(&mut self, repository: RepositoryId, task: &str) -> Sql<Option<DateTime<Utc>>> {
        Ok(sqlx::query_scalar(
            "SELECT o.due_at FROM occurrences o JOIN jobs j ON j.id = o.job_id AND j.state = 'succeeded'
             WHERE o.repository_id = $1 AND o.task = $2 ORDER BY o.due_at DESC LIMIT 1",
        )
        .bind(repository.0)
        .bind(task)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    async fn newest_removable(
        &mut self,
        repository: RepositoryId,
        task: &str,
        before: DateTime<Utc>,
        but: Option<DateTime<Utc>>,
    ) -> Sql<Option<(DateTime<Utc>, Uuid)>> {
        Ok(sqlx::query_as(
            "SELECT o.due_at, o.job_id FROM occurrences o
             WHERE o.repository_id = $1 AND o.task = $2 AND o.due_at < $3 AND ($4 IS NULL OR o.due_at <> $4)
               AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = o.job_id AND j.finished_at IS NULL)
             ORDER BY o.due_at DESC LIMIT 1",
        )
        .bind(repository.0)
        .bind(task)
        .bind(before)
        .bind(but)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    async fn remember_removed(
        &mut self,
        repository: RepositoryId,
        task: &str,
        until: DateTime<Utc>,
        job: Uuid,
    ) -> Sql<()> {
        sqlx::query(
            "INSERT INTO occurrences_removed (repository_id, task, until_at, job_id) VALUES ($1, $2, $3, $4)
             ON CONFLICT (repository_id, task) DO UPDATE SET until_at = excluded.until_at, job_id = excluded.job_id
             WHERE occurrences_removed.until_at < excluded.until_at",
        )
        .bind(repository.0)
        .bind(task)
        .bind(until)
        .bind(job)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn remove_occurrences(
        &mut self,
        repository: RepositoryId,
        task: &str,
        until: DateTime<Utc>,
        but: Option<DateTime<Utc>>,
    ) -> Sql<u64> {
        let removed = sqlx::query(
            "DELETE FROM occurrences
             WHERE repository_id = $1 AND task = $2 AND due_at <= $3 AND ($4 IS NULL OR due_at <> $4)
               AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = occurrences.job_id AND j.finished_at IS NULL)",
        )
        .bind(repository.0)
        .bind(task)
        .bind(until)
        .bind(but)
        .execute(&mut *self.0)
        .await?;
        Ok(removed.rows_affected())
    }
}
