//! Jobs: enqueued, read, cancelled; and their logs.

use sqlx::{Postgres, QueryBuilder, Sqlite};

use super::{
    LIST_LIMIT,
    job_rows::JobRow,
    prelude::*,
    text::{askable, from_json, printable, word},
    together::{Write, Written},
};

/// Bytes kept of one line of a log.
const LOG_LINE_LIMIT: usize = 4 * 1024;

impl Database {
    /// Everything of one request in one transaction.
    ///
    /// # Errors
    /// `AlreadyExists` of an object whose fixed name is taken; `InUse` where [`NewJob::alone_in`] says so.
    pub async fn enqueue(&self, request: &Enqueue) -> Result<Enqueued> {
        match self.write_together(Write::Enqueue(Box::new(request.clone()))).await? {
            Written::Enqueued(enqueued) => Ok(enqueued),
            Written::Finished(_) => Err(Error::internal("An answer belongs to another write.")),
        }
    }

    /// Newest first.
    pub async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>> {
        if filter.name.as_ref().is_some_and(|alias| !askable(&alias.name)) {
            return Ok(Vec::new());
        }
        in_read!(self, tx => {
            let rows = match &filter.name {
                Some(alias) => {
                    let named = tx.job_named(alias).await?;
                    tx.jobs(filter, named).await?
                }
                None => tx.jobs(filter, None).await?,
            };
            rows.into_iter().map(JobRow::into_job).collect::<Sql<_>>()?
        })
    }

    pub async fn job(&self, id: JobId) -> Result<Option<Job>> {
        in_read!(self, tx => { tx.job(id).await?.map(JobRow::into_job).transpose()? })
    }

    /// What the kind needs.
    pub async fn job_params(&self, id: JobId) -> Result<Option<serde_json::Value>> {
        in_read!(self, tx => {
            match tx.job_params(id).await? {
                Some(params) => Some(from_json(&params)?),
                None => None,
            }
        })
    }

    /// What the newest run of a plan's task needed that was not skipped.
    pub async fn newest_params_of_task(
        &self,
        repository: RepositoryId,
        kind: JobKind,
        task: &str,
    ) -> Result<Option<serde_json::Value>> {
        in_read!(self, tx => {
            match tx.newest_params_of_task(repository, kind, task).await? {
                Some(params) => Some(from_json(&params)?),
                None => None,
            }
        })
    }

    /// Queued or running jobs that need the resource, oldest first, for refusals.
    pub async fn live_jobs_on(&self, resource: Resource, id: Uuid) -> Result<Vec<Job>> {
        in_read!(self, tx => {
            tx.live_jobs_on(resource, id).await?.into_iter().map(JobRow::into_job).collect::<Sql<_>>()?
        })
    }

    /// Queued ones end at once, with their backup; running ones get the flag. Answers the job as it is then.
    pub async fn cancel_job(&self, id: JobId, now: DateTime<Utc>, audit: &AuditEntry) -> Result<Option<Job>> {
        in_write!(self, tx => {
            if tx.cancel_queued(id, now).await? {
                tx.settle(id, JobState::Cancelled, Some("It was cancelled before it began."), now).await?;
            } else {
                tx.request_cancel(id, now).await?;
            }
            tx.audit(audit).await?;
            tx.job(id).await?.map(JobRow::into_job).transpose()?
        })
    }

    /// Oldest first.
    pub async fn job_log(&self, id: JobId, limit: u32) -> Result<Vec<LogLine>> {
        in_read!(self, tx => { tx.job_log(id, limit).await? })
    }

    /// Not fenced: a line of a run that lost its lease is worth reading too. Lines of a job that is gone are dropped.
    pub async fn append_log(&self, id: JobId, lines: &[LogLine]) -> Result<()> {
        in_write!(self, tx => { tx.append_log(id, lines).await? })
    }
}

fn noun_of(resource: Resource) -> Noun {
    match resource {
        Resource::Repository => Noun::Repository,
        Resource::Vault | Resource::Care => Noun::Vault,
        Resource::Source => Noun::Source,
        Resource::Part => Noun::Part,
    }
}

/// A log line that fits: without NUL, cut at a character.
fn fitting(text: &str) -> String {
    let mut text = printable(text);
    if text.len() > LOG_LINE_LIMIT {
        let mut end = LOG_LINE_LIMIT;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[duplicate_item(
    Tx           Db;
    [SqliteTx]   [Sqlite];
    [PostgresTx] [Postgres];
)]
impl Tx {
    pub(super) async fn enqueue(&mut self, request: &Enqueue) -> Sql<Enqueued> {
        let Enqueue { job: new, backup, labels, occurrence, audit } = request;
        if let Some(occurrence) = occurrence
            && let Some(standing) = self.take_occurrence(occurrence, new.job.id).await?
        {
            return Ok(Enqueued::Already(standing));
        }
        if let Some((kind, scope)) = &new.alone_in {
            self.one_at_a_time().await?;
            if self.is_taken_by(*kind, scope).await? {
                return Err(Error::new(
                    ErrorCode::InUse(noun_of(scope.resource)),
                    "A job of the same kind is queued or running there already.",
                )
                .hint("Wait for it to end, or cancel it.")
                .into());
            }
        }
        self.insert_job(new).await?;
        if let Some(backup) = backup {
            self.insert_backup(backup).await?;
        }
        self.label(labels, new.job.created_at).await?;
        self.audit(audit).await?;
        Ok(Enqueued::New)
    }

    async fn is_taken_by(&mut self, kind: JobKind, scope: &JobScope) -> Sql<bool> {
        let standing: Option<Uuid> = sqlx::query_scalar(
            "SELECT j.id FROM job_scopes s JOIN jobs j ON j.id = s.job_id
             WHERE s.resource_id = $1 AND s.resource = $2 AND s.exclusive AND j.kind = $3
             AND j.state IN ('queued', 'running') LIMIT 1",
        )
        .bind(scope.id)
        .bind(word(&scope.resource)?)
        .bind(word(&kind)?)
        .fetch_optional(&mut *self.0)
        .await?;
        Ok(standing.is_some())
    }

    async fn job_named(&mut self, alias: &Alias) -> Sql<Option<Uuid>> {
        let Alias { namespace, name } = alias;
        Ok(sqlx::query_scalar(
            "SELECT object_id FROM aliases WHERE namespace = $1 AND name = $2 AND object_kind = 'job'",
        )
        .bind(namespace)
        .bind(name)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    /// `named`: the job that has the filter's name as its own; else the name is that of a plan's task.
    async fn jobs(&mut self, filter: &JobFilter, named: Option<Uuid>) -> Sql<Vec<JobRow>> {
        let JobFilter { repository, store, backup, kinds, states, started_from, name, limit, offset } = filter;
        let mut query = QueryBuilder::<Db>::new("SELECT * FROM jobs WHERE TRUE");
        if let Some(repository) = repository {
            query.push(" AND repository_id = ").push_bind(repository.0);
        }
        if let Some(store) = store {
            query.push(" AND store_id = ").push_bind(store.0);
        }
        if let Some(backup) = backup {
            query.push(" AND backup_id = ").push_bind(backup.0);
        }
        if !kinds.is_empty() {
            query.push(" AND kind IN (");
            let mut words = query.separated(", ");
            for kind in kinds {
                words.push_bind(word(kind)?);
            }
            query.push(")");
        }
        if !states.is_empty() {
            query.push(" AND state IN (");
            let mut words = query.separated(", ");
            for state in states {
                words.push_bind(word(state)?);
            }
            query.push(")");
            if !states.iter().any(|state| state.is_terminal()) {
                // Said so that the indexes of live jobs are taken: the history may be long.
                query.push(" AND finished_at IS NULL");
            }
        }
        if let Some(from) = started_from {
            query.push(" AND COALESCE(started_at, created_at) >= ").push_bind(*from);
        }
        match (named, name) {
            (Some(id), _) => {
                query.push(" AND id = ").push_bind(id);
            }
            (None, Some(Alias { namespace: _, name })) => {
                query.push(" AND task = ").push_bind(name.clone());
            }
            (None, None) => {}
        }
        query
            .push(" ORDER BY created_at DESC, id DESC LIMIT ")
            .push_bind(i64::from(limit.unwrap_or(LIST_LIMIT).min(LIST_LIMIT)))
            .push(" OFFSET ")
            .push_bind(i64::from(*offset));
        Ok(query.build_query_as().fetch_all(&mut *self.0).await?)
    }

    async fn job_params(&mut self, id: JobId) -> Sql<Option<String>> {
        Ok(sqlx::query_scalar("SELECT params FROM jobs WHERE id = $1").bind(id.0).fetch_optional(&mut *self.0).await?)
    }

    async fn newest_params_of_task(
        &mut self,
        repository: RepositoryId,
        kind: JobKind,
        task: &str,
    ) -> Sql<Option<String>> {
        Ok(sqlx::query_scalar(
            "SELECT params FROM jobs WHERE repository_id = $1 AND kind = $2 AND task = $3 AND state <> 'skipped'
             ORDER BY created_at DESC, id DESC LIMIT 1",
        )
        .bind(repository.0)
        .bind(word(&kind)?)
        .bind(task)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    async fn live_jobs_on(&mut self, resource: Resource, id: Uuid) -> Sql<Vec<JobRow>> {
        Ok(sqlx::query_as(
            "SELECT j.* FROM job_scopes s JOIN jobs j ON j.id = s.job_id
             WHERE s.resource_id = $1 AND s.resource = $2 AND j.state IN ('queued', 'running')
             ORDER BY j.created_at, j.id",
        )
        .bind(id)
        .bind(word(&resource)?)
        .fetch_all(&mut *self.0)
        .await?)
    }

    async fn cancel_queued(&mut self, id: JobId, now: DateTime<Utc>) -> Sql<bool> {
        let changed = sqlx::query(
            "UPDATE jobs SET state = $2, cancel_requested = TRUE, held_by = NULL, updated_at = $3, finished_at = $3
             WHERE id = $1 AND state = 'queued'",
        )
        .bind(id.0)
        .bind(word(&transition(JobState::Queued, JobEvent::Cancelled)?)?)
        .bind(now)
        .execute(&mut *self.0)
        .await?;
        Ok(changed.rows_affected() == 1)
    }

    async fn request_cancel(&mut self, id: JobId, now: DateTime<Utc>) -> Sql<()> {
        sqlx::query("UPDATE jobs SET cancel_requested = TRUE, updated_at = $2 WHERE id = $1 AND state = 'running'")
            .bind(id.0)
            .bind(now)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    async fn job_log(&mut self, id: JobId, limit: u32) -> Sql<Vec<LogLine>> {
        let rows: Vec<(DateTime<Utc>, String)> =
            sqlx::query_as("SELECT at, text FROM job_log WHERE job_id = $1 ORDER BY seq LIMIT $2")
                .bind(id.0)
                .bind(i64::from(limit))
                .fetch_all(&mut *self.0)
                .await?;
        Ok(rows.into_iter().map(|(at, text)| LogLine { at, text }).collect())
    }

    pub(super) async fn append_log(&mut self, id: JobId, lines: &[LogLine]) -> Sql<()> {
        for LogLine { at, text } in lines {
            sqlx::query("INSERT INTO job_log (job_id, at, text) SELECT id, $2, $3 FROM jobs WHERE id = $1")
                .bind(id.0)
                .bind(at)
                .bind(fitting(text))
                .execute(&mut *self.0)
                .await?;
        }
        Ok(())
    }
}
