//! Jobs as rows.

use std::collections::BTreeMap;

use sqlx::{Postgres, QueryBuilder, Sqlite};
use trivault_sources::Progress;

use super::{
    claims::rank,
    prelude::*,
    text::{from_json, from_word, json, signed, small, unsigned, word},
};

/// Rows of one insert; both databases take more parameters than that.
const SCOPES_PER_STATEMENT: usize = 1_000;

#[derive(sqlx::FromRow)]
pub(super) struct JobRow {
    pub id: Uuid,
    kind: String,
    pub state: String,
    repository_id: Option<Uuid>,
    store_id: Option<Uuid>,
    backup_id: Option<Uuid>,
    task: Option<String>,
    principal: String,
    via: String,
    params: String,
    attempt: i64,
    retries: i64,
    retry_limit: i64,
    lease_until: Option<DateTime<Utc>>,
    cancel_requested: bool,
    bytes_read: i64,
    bytes_total: Option<i64>,
    items: i64,
    items_total: Option<i64>,
    bytes_stored: i64,
    percent: i64,
    steps: String,
    warnings: String,
    failure: Option<String>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    updated_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    estimated_end: Option<DateTime<Utc>>,
}

impl JobRow {
    pub(super) fn into_job(self) -> Sql<Job> {
        Ok(self.into_claimed(Vec::new())?.job)
    }

    pub(super) fn into_claimed(self, scopes: Vec<JobScope>) -> Sql<ClaimedJob> {
        let Self {
            id,
            kind,
            state,
            repository_id,
            store_id,
            backup_id,
            task,
            principal,
            via,
            params,
            attempt,
            retries,
            retry_limit,
            lease_until,
            cancel_requested,
            bytes_read,
            bytes_total,
            items,
            items_total,
            bytes_stored,
            percent,
            steps,
            warnings,
            failure,
            created_at,
            started_at,
            updated_at,
            finished_at,
            estimated_end,
        } = self;
        let attempt = small(attempt);
        let job = Job {
            id: JobId(id),
            kind: from_word(kind)?,
            state: from_word(state)?,
            repository: repository_id.map(RepositoryId),
            store: store_id.map(StoreId),
            backup: backup_id.map(BackupId),
            task,
            principal,
            via,
            attempt,
            cancel_requested,
            progress: Progress {
                bytes_read: unsigned(bytes_read),
                bytes_total: bytes_total.map(unsigned),
                items: unsigned(items),
                items_total: items_total.map(unsigned),
            },
            bytes_stored: unsigned(bytes_stored),
            percent: u8::try_from(percent).unwrap_or(100),
            steps: from_json(&steps)?,
            warnings: from_json(&warnings)?,
            failure: failure.as_deref().map(from_json).transpose()?,
            created_at,
            started_at,
            updated_at,
            finished_at,
            estimated_end,
        };
        Ok(ClaimedJob {
            run: Run { job: JobId(id), attempt },
            params: from_json(&params)?,
            scopes,
            retries: small(retries),
            retry_limit: small(retry_limit),
            lease_until: lease_until.unwrap_or(job.updated_at),
            job,
        })
    }
}

#[duplicate_item(
    Tx           Db;
    [SqliteTx]   [Sqlite];
    [PostgresTx] [Postgres];
)]
impl Tx {
    pub(super) async fn job(&mut self, id: JobId) -> Sql<Option<JobRow>> {
        Ok(sqlx::query_as("SELECT * FROM jobs WHERE id = $1").bind(id.0).fetch_optional(&mut *self.0).await?)
    }

    pub(super) async fn insert_job(&mut self, new: &NewJob) -> Sql<()> {
        let NewJob { job, params, scopes, priority, not_before, retry_limit, held_by, alone_in: _ } = new;
        let Job {
            id,
            kind,
            state,
            repository,
            store,
            backup,
            task,
            principal,
            via,
            attempt,
            cancel_requested,
            progress,
            bytes_stored,
            percent,
            steps,
            warnings,
            failure,
            created_at,
            started_at,
            updated_at,
            finished_at,
            estimated_end,
        } = job;
        let Progress { bytes_read, bytes_total, items, items_total } = progress;
        sqlx::query(
            "INSERT INTO jobs (id, kind, state, repository_id, store_id, backup_id, task, principal, via, params,
                 priority, attempt, retries, retry_limit, not_before, held_by, cancel_requested, bytes_read,
                 bytes_total, items, items_total, bytes_stored, percent, steps, warnings, failure, created_at,
                 started_at, updated_at, finished_at, estimated_end, rank_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, $13, $14, $15, $16, $17, $18, $19, $20, $21,
                 $22, $23, $24, $25, $26, $27, $28, $29, $30, $31)",
        )
        .bind(id.0)
        .bind(word(kind)?)
        .bind(word(state)?)
        .bind(repository.map(|repository| repository.0))
        .bind(store.map(|store| store.0))
        .bind(backup.map(|backup| backup.0))
        .bind(task)
        .bind(principal)
        .bind(via)
        .bind(json(params)?)
        .bind(priority)
        .bind(i64::from(*attempt))
        .bind(i64::from(*retry_limit))
        .bind(not_before)
        .bind(held_by)
        .bind(cancel_requested)
        .bind(signed(*bytes_read))
        .bind(bytes_total.map(signed))
        .bind(signed(*items))
        .bind(items_total.map(signed))
        .bind(signed(*bytes_stored))
        .bind(i64::from(*percent))
        .bind(json(steps)?)
        .bind(json(warnings)?)
        .bind(failure.as_ref().map(json).transpose()?)
        .bind(created_at)
        .bind(started_at)
        .bind(updated_at)
        .bind(finished_at)
        .bind(estimated_end)
        .bind(rank(*created_at, *priority))
        .execute(&mut *self.0)
        .await?;
        if *state == JobState::Queued {
            self.insert_scopes(*id, scopes, rank(*created_at, *priority)).await?;
        }
        Ok(())
    }

    /// All in one statement. A resource that is named twice is needed once, alone where one of them says so.
    async fn insert_scopes(&mut self, job: JobId, scopes: &[JobScope], rank_at: DateTime<Utc>) -> Sql<()> {
        let mut needed = BTreeMap::new();
        for JobScope { resource, id, exclusive } in scopes {
            *needed.entry((*id, word(resource)?)).or_insert(false) |= exclusive;
        }
        let needed: Vec<_> = needed.into_iter().collect();
        for some in needed.chunks(SCOPES_PER_STATEMENT) {
            let mut query = QueryBuilder::<Db>::new(
                "INSERT INTO job_scopes (job_id, resource, resource_id, exclusive, running, rank_at) ",
            );
            query.push_values(some, |mut row, ((id, resource), exclusive)| {
                row.push_bind(job.0).push_bind(resource).push_bind(*id).push_bind(*exclusive);
                row.push("FALSE").push_bind(rank_at);
            });
            query.build().execute(&mut *self.0).await?;
        }
        Ok(())
    }

    /// One more, of a job that runs.
    pub(super) async fn insert_scope(&mut self, job: JobId, scope: &JobScope) -> Sql<()> {
        let JobScope { resource, id, exclusive } = scope;
        sqlx::query(
            "INSERT INTO job_scopes (job_id, resource, resource_id, exclusive, running, rank_at)
             SELECT $1, $2, $3, $4, FALSE, rank_at FROM jobs WHERE id = $1
             ON CONFLICT (job_id, resource, resource_id)
             DO UPDATE SET exclusive = CASE WHEN excluded.exclusive THEN excluded.exclusive ELSE job_scopes.exclusive END",
        )
        .bind(job.0)
        .bind(word(resource)?)
        .bind(id)
        .bind(exclusive)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}
