//! When plans' tasks run next.

use super::{
    prelude::*,
    text::{from_json, from_word},
};

impl Database {
    /// Of one repository, in the plan's order.
    pub async fn schedule(&self, repository: RepositoryId) -> Result<Vec<ScheduleEntry>> {
        in_read!(self, tx => { tx.schedule(repository).await? })
    }

    /// Tasks of active, unpaused repositories whose time has come, most overdue first.
    pub async fn due_tasks(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<DueTask>> {
        in_read!(self, tx => {
            let mut due_tasks = Vec::new();
            for (repository, plan, name, due, tasks, plan_changed_at) in tx.due_tasks(now, limit).await? {
                let tasks: Vec<PlanTask> = from_json(&tasks)?;
                // A row whose task the plan no longer has cannot stand: plan and schedule change together.
                if let Some(task) = tasks.into_iter().find(|task| task.name == name) {
                    let (repository, plan) = (RepositoryId(repository), PlanId(plan));
                    due_tasks.push(DueTask { repository, plan, task, due, plan_changed_at });
                }
            }
            due_tasks
        })
    }

    /// When the next task is due, over all repositories.
    pub async fn next_due(&self) -> Result<Option<DateTime<Utc>>> {
        in_read!(self, tx => { tx.next_due().await? })
    }

    /// All tasks that stand in the schedule, or those of one repository, with their newest run and success.
    pub async fn task_histories(&self, repository: Option<RepositoryId>) -> Result<Vec<TaskHistory>> {
        in_read!(self, tx => {
            let rows = tx.task_histories(repository).await?;
            rows.into_iter().map(HistoryRow::into_history).collect::<Sql<_>>()?
        })
    }

    /// The newest run and the newest success of a task that need not stand in the schedule any more.
    pub async fn last_runs(&self, repository: RepositoryId, task: &str) -> Result<(Option<TaskRun>, Option<TaskRun>)> {
        in_read!(self, tx => {
            let newest = tx.newest_run(repository, task).await?;
            let good = tx.newest_success(repository, task).await?;
            (newest.map(RunRow::into_run).transpose()?, good.map(RunRow::into_run).transpose()?)
        })
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

type DueRow = (Uuid, Uuid, String, DateTime<Utc>, String, DateTime<Utc>);

#[derive(sqlx::FromRow)]
struct HistoryRow {
    repository_id: Uuid,
    task: String,
    next_run: DateTime<Utc>,
    last_run: Option<DateTime<Utc>>,
    newest_job: Option<Uuid>,
    newest_state: Option<String>,
    newest_due: Option<DateTime<Utc>>,
    newest_began: Option<DateTime<Utc>>,
    newest_ended: Option<DateTime<Utc>>,
    good_job: Option<Uuid>,
    good_due: Option<DateTime<Utc>>,
    good_began: Option<DateTime<Utc>>,
    good_ended: Option<DateTime<Utc>>,
}

impl HistoryRow {
    fn into_history(self) -> Sql<TaskHistory> {
        let Self {
            repository_id,
            task,
            next_run,
            last_run,
            newest_job,
            newest_state,
            newest_due,
            newest_began,
            newest_ended,
            good_job,
            good_due,
            good_began,
            good_ended,
        } = self;
        let newest = match (newest_job, newest_state, newest_due, newest_began) {
            (Some(job), Some(state), Some(due), Some(began)) => {
                Some(TaskRun { job: JobId(job), state: from_word(state)?, due, began, ended: newest_ended })
            }
            _ => None,
        };
        let good = match (good_job, good_due, good_began) {
            (Some(job), Some(due), Some(began)) => {
                Some(TaskRun { job: JobId(job), state: JobState::Succeeded, due, began, ended: good_ended })
            }
            _ => None,
        };
        Ok(TaskHistory {
            repository: RepositoryId(repository_id),
            entry: ScheduleEntry { task, next_run, last_run },
            last_run: newest,
            last_success: good,
        })
    }
}

#[derive(sqlx::FromRow)]
struct RunRow {
    id: Uuid,
    state: String,
    due_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

impl RunRow {
    fn into_run(self) -> Sql<TaskRun> {
        let Self { id, state, due_at, created_at, finished_at } = self;
        Ok(TaskRun { job: JobId(id), state: from_word(state)?, due: due_at, began: created_at, ended: finished_at })
    }
}

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    async fn newest_run(&mut self, repository: RepositoryId, task: &str) -> Sql<Option<RunRow>> {
        Ok(sqlx::query_as(
            "SELECT j.id, j.state, o.due_at, j.created_at, j.finished_at
             FROM occurrences o JOIN jobs j ON j.id = o.job_id
             WHERE o.repository_id = $1 AND o.task = $2 ORDER BY o.due_at DESC LIMIT 1",
        )
        .bind(repository.0)
        .bind(task)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    async fn newest_success(&mut self, repository: RepositoryId, task: &str) -> Sql<Option<RunRow>> {
        Ok(sqlx::query_as(
            "SELECT j.id, j.state, o.due_at, j.created_at, j.finished_at
             FROM occurrences o JOIN jobs j ON j.id = o.job_id AND j.state = 'succeeded'
             WHERE o.repository_id = $1 AND o.task = $2 ORDER BY o.due_at DESC LIMIT 1",
        )
        .bind(repository.0)
        .bind(task)
        .fetch_optional(&mut *self.0)
        .await?)
    }

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
            "SELECT s.repository_id, p.id, s.task, s.next_run, p.tasks, p.updated_at
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

    async fn task_histories(&mut self, repository: Option<RepositoryId>) -> Sql<Vec<HistoryRow>> {
        Ok(sqlx::query_as(
            "SELECT s.repository_id, s.task, s.next_run, s.last_run,
                    nj.id AS newest_job, nj.state AS newest_state, n.due_at AS newest_due,
                    nj.created_at AS newest_began, nj.finished_at AS newest_ended,
                    gj.id AS good_job, g.due_at AS good_due, gj.created_at AS good_began, gj.finished_at AS good_ended
             FROM schedule s
             LEFT JOIN occurrences n ON n.repository_id = s.repository_id AND n.task = s.task AND n.due_at = (
                 SELECT o.due_at FROM occurrences o
                 WHERE o.repository_id = s.repository_id AND o.task = s.task
                 ORDER BY o.due_at DESC LIMIT 1)
             LEFT JOIN jobs nj ON nj.id = n.job_id
             LEFT JOIN occurrences g ON g.repository_id = s.repository_id AND g.task = s.task AND g.due_at = (
                 SELECT o.due_at FROM occurrences o JOIN jobs j ON j.id = o.job_id AND j.state = 'succeeded'
                 WHERE o.repository_id = s.repository_id AND o.task = s.task
                 ORDER BY o.due_at DESC LIMIT 1)
             LEFT JOIN jobs gj ON gj.id = g.job_id
             WHERE $1 IS NULL OR s.repository_id = $1
             ORDER BY s.repository_id, s.position",
        )
        .bind(repository.map(|repository| repository.0))
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
