//! Which queued jobs run next.
//!
//! The queue's order is a job's `rank_at`: its creation, brought forward by its priority ([`HEAD_START`]). Nothing changes it later, so
//! a job of low priority passes, in time, those of higher priority that come after it.

use std::collections::HashMap;

use chrono::TimeDelta;
use sqlx::{Postgres, QueryBuilder, Sqlite};

use super::{job_rows::JobRow, prelude::*, text::from_word};

/// How much earlier than it came a job counts as come, for each point of its priority: ten points are half an hour.
const HEAD_START: TimeDelta = TimeDelta::minutes(3);

/// $1 node, $2 now, $3 the lease's end, $4 and $5 jobs in one store and on one source at most, $6 least priority, $7 jobs at most.
///
/// Questions within questions, each with an `OFFSET`: PostgreSQL would turn them into joins, whose order it chose by what it believed
/// of the tables. So each is one look into one index, however full they are. The guard that a row is still queued is written so that
/// nobody takes it for a way to find the row.
const CLAIM: &str = "UPDATE jobs SET state = 'running', attempt = attempt + 1, lease_owner = $1, lease_until = $3,
     not_before = NULL, waiting = NULL, started_at = COALESCE(started_at, $2), updated_at = $2
 WHERE COALESCE(state, '') = 'queued' AND id IN (
     SELECT q.id FROM jobs q
     WHERE q.state = 'queued'
       AND (q.not_before IS NULL OR q.not_before <= $2)
       AND (q.held_by IS NULL OR q.held_by = $1)
       AND ($6 IS NULL OR q.priority >= $6)
       AND ($4 IS NULL OR q.store_id IS NULL OR $4 > (
         SELECT count(*) FROM jobs r WHERE r.state = 'running' AND r.store_id = q.store_id))
       AND ($5 IS NULL OR NOT EXISTS (
         SELECT 1 FROM job_scopes mine WHERE mine.job_id = q.id AND mine.resource = 'source' AND $5 <= (
           SELECT count(*) FROM job_scopes theirs WHERE theirs.running AND theirs.resource = 'source'
             AND theirs.resource_id = mine.resource_id)))
       -- nothing that runs stands in its way
       AND NOT EXISTS (
         SELECT 1 FROM job_scopes mine WHERE mine.job_id = q.id AND EXISTS (
           SELECT 1 FROM job_scopes theirs
           WHERE theirs.resource_id = mine.resource_id AND theirs.resource = mine.resource
             AND theirs.running AND (mine.exclusive OR theirs.exclusive) LIMIT 1 OFFSET 0) LIMIT 1 OFFSET 0)
       -- nor an older one that waits to have alone what this one needs
       AND NOT EXISTS (
         SELECT 1 FROM job_scopes mine WHERE mine.job_id = q.id AND EXISTS (
           SELECT 1 FROM job_scopes theirs
           WHERE theirs.resource_id = mine.resource_id AND theirs.resource = mine.resource
             AND theirs.exclusive AND NOT theirs.running AND theirs.rank_at <= q.rank_at AND EXISTS (
               SELECT 1 FROM jobs older
               WHERE older.id = theirs.job_id AND (older.rank_at < q.rank_at OR older.id < q.id)
                 AND older.state = 'queued' AND (older.not_before IS NULL OR older.not_before <= $2)
                 AND ($6 IS NULL OR older.priority >= $6) LIMIT 1 OFFSET 0) LIMIT 1 OFFSET 0) LIMIT 1 OFFSET 0)
       -- nor an older one that waits to share what this one needs alone
       AND NOT EXISTS (
         SELECT 1 FROM job_scopes mine WHERE mine.job_id = q.id AND mine.exclusive AND EXISTS (
           SELECT 1 FROM job_scopes theirs
           WHERE theirs.resource_id = mine.resource_id AND theirs.resource = mine.resource
             AND NOT theirs.exclusive AND NOT theirs.running AND theirs.rank_at <= q.rank_at AND EXISTS (
               SELECT 1 FROM jobs older
               WHERE older.id = theirs.job_id AND (older.rank_at < q.rank_at OR older.id < q.id)
                 AND older.state = 'queued' AND (older.not_before IS NULL OR older.not_before <= $2)
                 AND ($6 IS NULL OR older.priority >= $6) LIMIT 1 OFFSET 0) LIMIT 1 OFFSET 0) LIMIT 1 OFFSET 0)
     ORDER BY q.rank_at, q.id
     LIMIT $7)
 RETURNING *";

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
            tx.claims_one_at_a_time().await?;
            let least_priority = match tx.maintenance().await?.hold(now) {
                None => None,
                Some(Hold { restores_run: true, .. }) => Some(RESTORE_PRIORITY),
                Some(Hold { restores_run: false, .. }) => return Ok(Vec::new()),
            };
            let room = match limits.per_node {
                None => most,
                Some(limit) => most.min(usize::try_from(i64::from(limit) - tx.running_on(node).await?).unwrap_or(0)),
            };
            // Jobs of one search never stand in each other's way: the younger one of two would wait behind the older. Only their
            // number in a store and on a source must be counted anew for each.
            let at_once = if limits.per_store.is_none() && limits.per_source.is_none() { room } else { 1 };
            let mut claimed = Vec::new();
            while claimed.len() < room {
                let rows = tx.claim(node, now, lease_until, limits, least_priority, at_once).await?;
                if rows.is_empty() {
                    break;
                }
                let mut scopes = tx.hold_scopes(&rows).await?;
                for row in rows {
                    let scopes = scopes.remove(&row.id).unwrap_or_default();
                    claimed.push(row.into_claimed(scopes)?);
                }
                if at_once > 1 {
                    break;
                }
            }
            claimed
        })
    }
}

#[duplicate_item(
    Tx           Db;
    [SqliteTx]   [Sqlite];
    [PostgresTx] [Postgres];
)]
impl Tx {
    async fn claim(
        &mut self,
        node: Uuid,
        now: DateTime<Utc>,
        lease_until: DateTime<Utc>,
        limits: &ClaimLimits,
        least_priority: Option<i64>,
        most: usize,
    ) -> Sql<Vec<JobRow>> {
        let ClaimLimits { per_node: _, per_store, per_source } = limits;
        Ok(sqlx::query_as(CLAIM)
            .bind(node)
            .bind(now)
            .bind(lease_until)
            .bind(per_store.map(i64::from))
            .bind(per_source.map(i64::from))
            .bind(least_priority)
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(&mut *self.0)
            .await?)
    }

    async fn running_on(&mut self, node: Uuid) -> Sql<i64> {
        Ok(sqlx::query_scalar("SELECT count(*) FROM jobs WHERE state = 'running' AND lease_owner = $1")
            .bind(node)
            .fetch_one(&mut *self.0)
            .await?)
    }

    /// Notes that the jobs' resources are in use, and answers them by job, in a fixed order.
    async fn hold_scopes(&mut self, jobs: &[JobRow]) -> Sql<HashMap<Uuid, Vec<JobScope>>> {
        let mut query = QueryBuilder::<Db>::new("UPDATE job_scopes SET running = TRUE WHERE job_id IN (");
        let mut ids = query.separated(", ");
        for job in jobs {
            ids.push_bind(job.id);
        }
        query.push(") RETURNING job_id, resource, resource_id, exclusive");
        let rows: Vec<(Uuid, String, Uuid, bool)> = query.build_query_as().fetch_all(&mut *self.0).await?;
        let mut scopes: HashMap<Uuid, Vec<JobScope>> = HashMap::new();
        for (job, resource, id, exclusive) in rows {
            scopes.entry(job).or_default().push(JobScope { resource: from_word(resource)?, id, exclusive });
        }
        for of_job in scopes.values_mut() {
            of_job.sort_by_key(|scope| (scope.resource as u8, scope.id));
        }
        Ok(scopes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However long the history and the queue: all but the queue itself is found by an index.
    #[tokio::test]
    async fn a_claim_walks_through_the_queue_in_its_order_and_through_nothing_else() {
        use sqlx::Row as _;
        let folder = tempfile::tempdir().unwrap();
        let options = crate::db::DatabaseOptions::Sqlite { path: folder.path().join("metadata.db") };
        let db = Database::connect(&options).await.unwrap();
        db.migrate().await.unwrap();
        let crate::db::Pools::Sqlite(pools) = &*db.pools else { panic!("not SQLite") };
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {CLAIM}"));
        let steps = sqlx::query(explain).fetch_all(&pools.readers).await.unwrap();
        let steps: Vec<String> = steps.iter().map(|step| step.get("detail")).collect();
        let walks: Vec<&String> = steps.iter().filter(|step| step.starts_with("SCAN")).collect();
        assert_eq!(walks, ["SCAN q USING INDEX jobs_queued"], "{steps:#?}");
        for index in
            ["jobs_running_of_store", "job_scopes_running", "job_scopes_waiting_alone", "job_scopes_waiting_shared"]
        {
            assert!(steps.iter().any(|step| step.contains(index)), "{index}: {steps:#?}");
        }
        assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "nothing is sorted: {steps:#?}");
    }

    #[test]
    fn a_priority_is_a_head_start_that_time_makes_up_for() {
        let noon: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        assert_eq!(rank(noon, 0), noon);
        assert_eq!(rank(noon, 10), noon - TimeDelta::minutes(30));
        assert!(rank(noon, 0) < rank(noon + TimeDelta::minutes(31), 10), "the older one comes first at last");
        assert!(rank(noon, i64::MAX) <= noon && rank(noon, i64::MIN) >= noon, "absurd ones do no harm");
    }
}
