//! Which queued jobs run next.
//!
//! The queue's order is a job's `rank_at`: its creation, brought forward by its priority ([`HEAD_START`]). Nothing changes it later, so
//! a job of low priority passes, in time, those of higher priority that come after it.

use chrono::TimeDelta;

use super::{job_rows::JobRow, prelude::*, text::from_word};

/// How much earlier than it came a job counts as come, for each point of its priority: ten points are half an hour.
const HEAD_START: TimeDelta = TimeDelta::minutes(3);

/// The place in the queue.
pub(super) fn rank(created_at: DateTime<Utc>, priority: i64) -> DateTime<Utc> {
    let points = i32::try_from(priority).unwrap_or(if priority < 0 { i32::MIN } else { i32::MAX });
    HEAD_START.checked_mul(points).and_then(|start| created_at.checked_sub_signed(start)).unwrap_or(created_at)
}

impl Database {
    /// As [`Database::claim_some`], one at most.
    pub async fn claim(
        &self,
        node: Uuid,
        now: DateTime<Utc>,
        lease_until: DateTime<Utc>,
        limits: &ClaimLimits,
    ) -> Result<Option<ClaimedJob>> {
        Ok(self.claim_some(node, now, lease_until, limits, 1).await?.pop())
    }

    /// The first queued jobs that may run now on this node, at most so many, each set running as a new attempt in one guarded
    /// statement.
    ///
    /// Two jobs never run at once that need the same resource, unless both share it. A job waits behind every older one that waits
    /// for something which the two cannot share: nobody is passed for ever. While maintenance holds jobs back, none is claimed, or
    /// those alone that it lets pass.
    pub async fn claim_some(
        &self,
        node: Uuid,
        now: DateTime<Utc>,
        lease_until: DateTime<Utc>,
        limits: &ClaimLimits,
        most: usize,
    ) -> Result<Vec<ClaimedJob>> {
        in_write!(self, tx => {
            tx.one_at_a_time().await?;
            let least_priority = match tx.maintenance().await?.hold(now) {
                None => None,
                Some(Hold { restores_run: true, .. }) => Some(RESTORE_PRIORITY),
                Some(Hold { restores_run: false, .. }) => return Ok(Vec::new()),
            };
            let mut claimed = Vec::new();
            while claimed.len() < most {
                let Some(row) = tx.claim(node, now, lease_until, limits, least_priority).await? else { break };
                let scopes = tx.hold_scopes(JobId(row.id)).await?;
                claimed.push(row.into_claimed(scopes)?);
            }
            claimed
        })
    }
}

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    async fn claim(
        &mut self,
        node: Uuid,
        now: DateTime<Utc>,
        lease_until: DateTime<Utc>,
        limits: &ClaimLimits,
        least_priority: Option<i64>,
    ) -> Sql<Option<JobRow>> {
        let ClaimLimits { per_node, per_store, per_source } = limits;
        Ok(sqlx::query_as(
            "UPDATE jobs SET state = 'running', attempt = attempt + 1, lease_owner = $1, lease_until = $3,
                 not_before = NULL, waiting = NULL, started_at = COALESCE(started_at, $2), updated_at = $2
             WHERE state = 'queued' AND id = (
                 SELECT q.id FROM jobs q
                 WHERE q.state = 'queued'
                   AND (q.not_before IS NULL OR q.not_before <= $2)
                   AND (q.held_by IS NULL OR q.held_by = $1)
                   AND ($7 IS NULL OR q.priority >= $7)
                   AND ($4 IS NULL OR $4 > (
                     SELECT count(*) FROM jobs r WHERE r.state = 'running' AND r.lease_owner = $1))
                   AND ($5 IS NULL OR q.store_id IS NULL OR $5 > (
                     SELECT count(*) FROM jobs r WHERE r.state = 'running' AND r.store_id = q.store_id))
                   AND ($6 IS NULL OR NOT EXISTS (
                     SELECT 1 FROM job_scopes mine WHERE mine.job_id = q.id AND mine.resource = 'source' AND $6 <= (
                       SELECT count(*) FROM job_scopes theirs WHERE theirs.running AND theirs.resource = 'source'
                         AND theirs.resource_id = mine.resource_id)))
                   -- nothing that runs stands in its way
                   AND NOT EXISTS (
                     SELECT 1 FROM job_scopes mine
                     JOIN job_scopes theirs ON theirs.resource_id = mine.resource_id AND theirs.resource = mine.resource
                     WHERE mine.job_id = q.id AND theirs.running AND (mine.exclusive OR theirs.exclusive)
                     LIMIT 1 OFFSET 0)
                   -- nor an older one that waits to have alone what this one needs
                   AND NOT EXISTS (
                     SELECT 1 FROM job_scopes mine
                     JOIN job_scopes theirs ON theirs.resource_id = mine.resource_id AND theirs.resource = mine.resource
                     JOIN jobs older ON older.id = theirs.job_id
                     WHERE mine.job_id = q.id AND theirs.exclusive AND NOT theirs.running
                       AND theirs.rank_at <= q.rank_at AND (older.rank_at < q.rank_at OR older.id < q.id)
                       AND older.state = 'queued' AND (older.not_before IS NULL OR older.not_before <= $2)
                       AND ($7 IS NULL OR older.priority >= $7)
                     LIMIT 1 OFFSET 0)
                   -- nor an older one that waits to share what this one needs alone
                   AND NOT EXISTS (
                     SELECT 1 FROM job_scopes mine
                     JOIN job_scopes theirs ON theirs.resource_id = mine.resource_id AND theirs.resource = mine.resource
                     JOIN jobs older ON older.id = theirs.job_id
                     WHERE mine.job_id = q.id AND mine.exclusive AND NOT theirs.exclusive AND NOT theirs.running
                       AND theirs.rank_at <= q.rank_at AND (older.rank_at < q.rank_at OR older.id < q.id)
                       AND older.state = 'queued' AND (older.not_before IS NULL OR older.not_before <= $2)
                       AND ($7 IS NULL OR older.priority >= $7)
                     LIMIT 1 OFFSET 0)
                 ORDER BY q.rank_at, q.id
                 LIMIT 1)
             RETURNING *",
        )
        .bind(node)
        .bind(now)
        .bind(lease_until)
        .bind(per_node.map(i64::from))
        .bind(per_store.map(i64::from))
        .bind(per_source.map(i64::from))
        .bind(least_priority)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    /// Notes that the job's resources are in use, and answers them in a fixed order.
    async fn hold_scopes(&mut self, job: JobId) -> Sql<Vec<JobScope>> {
        let rows: Vec<(String, Uuid, bool)> = sqlx::query_as(
            "UPDATE job_scopes SET running = TRUE WHERE job_id = $1 RETURNING resource, resource_id, exclusive",
        )
        .bind(job.0)
        .fetch_all(&mut *self.0)
        .await?;
        let mut scopes = rows
            .into_iter()
            .map(|(resource, id, exclusive)| Ok(JobScope { resource: from_word(resource)?, id, exclusive }))
            .collect::<Sql<Vec<_>>>()?;
        scopes.sort_by_key(|scope| (scope.resource as u8, scope.id));
        Ok(scopes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_is_a_head_start_that_time_makes_up_for() {
        let noon: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        assert_eq!(rank(noon, 0), noon);
        assert_eq!(rank(noon, 10), noon - TimeDelta::minutes(30));
        assert!(rank(noon, 0) < rank(noon + TimeDelta::minutes(31), 10), "the older one comes first at last");
        assert!(rank(noon, i64::MAX) <= noon && rank(noon, i64::MIN) >= noon, "absurd ones do no harm");
    }
}
