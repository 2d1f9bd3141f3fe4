//! Why queued jobs wait. Asks what a claim asks, one question after the other.

use super::{
    prelude::*,
    text::{from_word, printable},
};

impl Database {
    /// Why this job does not run yet on a node with these limits; `None` when it is not queued.
    pub async fn why_waiting(
        &self,
        id: JobId,
        now: DateTime<Utc>,
        node: Uuid,
        limits: &ClaimLimits,
    ) -> Result<Option<Waiting>> {
        in_read!(self, tx => {
            let Some(queued) = tx.queued(id).await? else { return Ok(None) };
            Some(tx.why_waiting(id, &queued, now, node, limits).await?)
        })
    }

    /// The first of the queue that came before then.
    pub async fn queued_before(&self, before: DateTime<Utc>, limit: u32) -> Result<Vec<JobId>> {
        in_read!(self, tx => { tx.queued_before(before, limit).await? })
    }

    /// Notes why a job waits, with a line in its log, unless it stands there already.
    /// Unless it `replaces` what was said before, only where nothing was.
    pub async fn note_waiting(&self, id: JobId, sentence: &str, replaces: bool, now: DateTime<Utc>) -> Result<()> {
        in_write!(self, tx => {
            if tx.note_waiting(id, sentence, replaces).await? {
                let line = LogLine { at: now, text: format!("Waits: {sentence}") };
                tx.append_log(id, &[line]).await?;
            }
        })
    }
}

#[derive(sqlx::FromRow)]
struct Queued {
    rank_at: DateTime<Utc>,
    not_before: Option<DateTime<Utc>>,
    held_by: Option<Uuid>,
    priority: i64,
    store_id: Option<Uuid>,
}

/// A job in the way, its kind, and the resource.
type InTheWay = Option<(Uuid, String, String)>;

fn noun(resource: &str) -> &'static str {
    match resource {
        "repository" => "repository",
        "vault" | "care" => "vault",
        "source" => "source",
        _ => "part of a backup",
    }
}

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    async fn queued(&mut self, id: JobId) -> Sql<Option<Queued>> {
        Ok(sqlx::query_as(
            "SELECT rank_at, not_before, held_by, priority, store_id FROM jobs WHERE id = $1 AND state = 'queued'",
        )
        .bind(id.0)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    async fn why_waiting(
        &mut self,
        id: JobId,
        queued: &Queued,
        now: DateTime<Utc>,
        node: Uuid,
        limits: &ClaimLimits,
    ) -> Sql<Waiting> {
        let hold = self.maintenance().await?.hold(now);
        let passes = |hold: &Hold| hold.restores_run && queued.priority >= RESTORE_PRIORITY;
        let least_priority = hold.as_ref().map(|_| RESTORE_PRIORITY);
        if let Some(hold) = hold.filter(|hold| !passes(hold)) {
            return Ok(Waiting::Maintenance(hold));
        }
        if let Some(at) = queued.not_before.filter(|at| *at > now) {
            return Ok(Waiting::Until(at));
        }
        if let Some((job, kind, resource)) = self.running_in_the_way(id).await? {
            return Ok(Waiting::Running { job: JobId(job), kind: from_word(kind)?, what: noun(&resource) });
        }
        if let Some((job, kind, resource)) = self.older_in_the_way(id, queued.rank_at, now, least_priority).await? {
            return Ok(Waiting::Older { job: JobId(job), kind: from_word(kind)?, what: noun(&resource) });
        }
        if let (Some(most), Some(store)) = (limits.per_store, queued.store_id)
            && self.running_in_store(store).await? >= i64::from(most)
        {
            return Ok(Waiting::Store(most));
        }
        if let Some(most) = limits.per_source
            && self.running_on_its_sources(id).await? >= i64::from(most)
        {
            return Ok(Waiting::Source(most));
        }
        if let Some(holder) = queued.held_by.filter(|holder| *holder != node) {
            return Ok(Waiting::Node(self.node_name(holder).await?));
        }
        Ok(Waiting::Worker)
    }

    async fn running_in_the_way(&mut self, id: JobId) -> Sql<InTheWay> {
        Ok(sqlx::query_as(
            "SELECT r.id, r.kind, theirs.resource FROM job_scopes mine
             JOIN job_scopes theirs ON theirs.resource_id = mine.resource_id AND theirs.resource = mine.resource
             JOIN jobs r ON r.id = theirs.job_id
             WHERE mine.job_id = $1 AND theirs.running AND (mine.exclusive OR theirs.exclusive)
             ORDER BY r.started_at, r.id LIMIT 1",
        )
        .bind(id.0)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    async fn older_in_the_way(
        &mut self,
        id: JobId,
        rank_at: DateTime<Utc>,
        now: DateTime<Utc>,
        least_priority: Option<i64>,
    ) -> Sql<InTheWay> {
        Ok(sqlx::query_as(
            "SELECT older.id, older.kind, theirs.resource FROM job_scopes mine
             JOIN job_scopes theirs ON theirs.resource_id = mine.resource_id AND theirs.resource = mine.resource
             JOIN jobs older ON older.id = theirs.job_id
             WHERE mine.job_id = $1 AND NOT theirs.running AND (mine.exclusive OR theirs.exclusive)
               AND theirs.rank_at <= $2 AND (older.rank_at < $2 OR older.id < $1)
               AND older.state = 'queued' AND (older.not_before IS NULL OR older.not_before <= $3)
               AND ($4 IS NULL OR older.priority >= $4)
             ORDER BY older.rank_at, older.id LIMIT 1",
        )
        .bind(id.0)
        .bind(rank_at)
        .bind(now)
        .bind(least_priority)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    async fn running_in_store(&mut self, store: Uuid) -> Sql<i64> {
        Ok(sqlx::query_scalar("SELECT count(*) FROM jobs WHERE state = 'running' AND store_id = $1")
            .bind(store)
            .fetch_one(&mut *self.0)
            .await?)
    }

    /// Of the source on which most jobs run.
    async fn running_on_its_sources(&mut self, id: JobId) -> Sql<i64> {
        let most: Option<i64> = sqlx::query_scalar(
            "SELECT count(*) FROM job_scopes mine
             JOIN job_scopes theirs ON theirs.resource_id = mine.resource_id AND theirs.resource = mine.resource
             WHERE mine.job_id = $1 AND mine.resource = 'source' AND theirs.running
             GROUP BY mine.resource_id ORDER BY count(*) DESC LIMIT 1",
        )
        .bind(id.0)
        .fetch_optional(&mut *self.0)
        .await?;
        Ok(most.unwrap_or(0))
    }

    async fn node_name(&mut self, node: Uuid) -> Sql<Option<String>> {
        Ok(sqlx::query_scalar("SELECT name FROM nodes WHERE id = $1").bind(node).fetch_optional(&mut *self.0).await?)
    }

    async fn queued_before(&mut self, before: DateTime<Utc>, limit: u32) -> Sql<Vec<JobId>> {
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "SELECT id FROM jobs WHERE state = 'queued' AND updated_at < $1 ORDER BY rank_at, id LIMIT $2",
        )
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(&mut *self.0)
        .await?;
        Ok(ids.into_iter().map(JobId).collect())
    }

    /// The row's `updated_at` stays: waiting is no change of the job.
    async fn note_waiting(&mut self, id: JobId, sentence: &str, replaces: bool) -> Sql<bool> {
        let changed = sqlx::query(
            "UPDATE jobs SET waiting = $2
             WHERE id = $1 AND state = 'queued' AND (waiting IS NULL OR ($3 AND waiting <> $2))",
        )
        .bind(id.0)
        .bind(printable(sentence))
        .bind(replaces)
        .execute(&mut *self.0)
        .await?;
        Ok(changed.rows_affected() == 1)
    }
}
