//! When plans' tasks run next.

use super::{prelude::*, text::from_json};

impl Database {
    /// Of one repository, in the plan's order.
    pub async fn schedule(&self, repository: RepositoryId) -> Result<Vec<ScheduleEntry>> {
        in_read!(self, tx => { tx.schedule(repository).await? })
    }

    /// Tasks of active, unpaused repositories whose time has come, most overdue first.
    pub async fn due_tasks(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<DueTask>> {
        in_read!(self, tx => {
            let mut due_tasks = Vec::new();
            for (repository, plan, name, due, tasks) in tx.due_tasks(now, limit).await? {
                let tasks: Vec<PlanTask> = from_json(&tasks)?;
                // A row whose task the plan no longer has cannot stand: plan and schedule change together.
                if let Some(task) = tasks.into_iter().find(|task| task.name == name) {
                    due_tasks.push(DueTask { repository: RepositoryId(repository), plan: PlanId(plan), task, due });
                }
            }
            due_tasks
        })
    }

    /// When the next task is due, over all repositories.
    pub async fn next_due(&self) -> Result<Option<DateTime<Utc>>> {
        in_read!(self, tx => { tx.next_due().await? })
    }

    /// Moves a task on without running it; `false` when it had been moved meanwhile.
    pub async fn set_next_run(
        &self,
        repository: RepositoryId,
        task: &str,
        due: DateTime<Utc>,
        next_run: Option<DateTime<Utc>>,
    ) -> Result<bool> {
        in_write!(self, tx => { tx.move_on(repository, task, due, next_run, None).await? })
    }
}

type DueRow = (Uuid, Uuid, String, DateTime<Utc>, String);

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    async fn schedule(&mut self, repository: RepositoryId) -> Sql<Vec<ScheduleEntry>> {
        let rows: Vec<(String, DateTime<Utc>, Option<DateTime<Utc>>)> = sqlx::query_as(
            "SELECT task, next_run, last_run FROM schedule WHERE repository_id = $1 ORDER BY position, task",
        )
        .bind(repository.0)
        .fetch_all(&mut *self.0)
        .await?;
        Ok(rows.into_iter().map(|(task, next_run, last_run)| ScheduleEntry { task, next_run, last_run }).collect())
    }

    async fn due_tasks(&mut self, now: DateTime<Utc>, limit: u32) -> Sql<Vec<DueRow>> {
        Ok(sqlx::query_as(
            "SELECT s.repository_id, p.id, s.task, s.next_run, p.tasks
             FROM schedule s
             JOIN repositories r ON r.id = s.repository_id AND r.state = 'active' AND NOT r.paused
             JOIN plans p ON p.id = r.plan_id
             WHERE s.next_run <= $1
             ORDER BY s.next_run, s.repository_id, s.position
             LIMIT $2",
        )
        .bind(now)
        .bind(i64::from(limit))
        .fetch_all(&mut *self.0)
        .await?)
    }

    async fn next_due(&mut self) -> Sql<Option<DateTime<Utc>>> {
        Ok(sqlx::query_scalar(
            "SELECT s.next_run FROM schedule s
             JOIN repositories r ON r.id = s.repository_id AND r.state = 'active' AND NOT r.paused
             ORDER BY s.next_run LIMIT 1",
        )
        .fetch_optional(&mut *self.0)
        .await?)
    }

    pub(super) async fn replace_schedule(&mut self, repository: RepositoryId, entries: &[ScheduleEntry]) -> Sql<()> {
        sqlx::query("DELETE FROM schedule WHERE repository_id = $1").bind(repository.0).execute(&mut *self.0).await?;
        for (position, entry) in (0_i64..).zip(entries) {
            let ScheduleEntry { task, next_run, last_run } = entry;
            sqlx::query(
                "INSERT INTO schedule (repository_id, task, position, next_run, last_run) VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(repository.0)
            .bind(task)
            .bind(position)
            .bind(next_run)
            .bind(last_run)
            .execute(&mut *self.0)
            .await?;
        }
        Ok(())
    }

    /// Gives tasks whose next run has passed the one in `entries`.
    pub(super) async fn pass_over_missed(
        &mut self,
        repository: RepositoryId,
        entries: &[ScheduleEntry],
        now: DateTime<Utc>,
    ) -> Sql<()> {
        for entry in entries {
            sqlx::query("UPDATE schedule SET next_run = $3 WHERE repository_id = $1 AND task = $2 AND next_run < $4")
                .bind(repository.0)
                .bind(&entry.task)
                .bind(entry.next_run)
                .bind(now)
                .execute(&mut *self.0)
                .await?;
        }
        Ok(())
    }

    /// From the run that was due to the next, or out of the schedule. `false` when it stands elsewhere by now.
    pub(super) async fn move_on(
        &mut self,
        repository: RepositoryId,
        task: &str,
        due: DateTime<Utc>,
        next_run: Option<DateTime<Utc>>,
        last_run: Option<DateTime<Utc>>,
    ) -> Sql<bool> {
        let changed = match next_run {
            Some(next_run) => sqlx::query(
                "UPDATE schedule SET next_run = $4, last_run = COALESCE($5, last_run)
                 WHERE repository_id = $1 AND task = $2 AND next_run = $3",
            )
            .bind(repository.0)
            .bind(task)
            .bind(due)
            .bind(next_run)
            .bind(last_run)
            .execute(&mut *self.0)
            .await?
            .rows_affected(),
            None => sqlx::query("DELETE FROM schedule WHERE repository_id = $1 AND task = $2 AND next_run = $3")
                .bind(repository.0)
                .bind(task)
                .bind(due)
                .execute(&mut *self.0)
                .await?
                .rows_affected(),
        };
        Ok(changed == 1)
    }
}
