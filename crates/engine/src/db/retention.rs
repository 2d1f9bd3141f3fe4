//! What repositories keep, and what retention looks at of their backups.

use std::collections::HashSet;

use chrono::TimeDelta;

use super::{
    prelude::*,
    text::{from_json, from_word, json},
};

impl Database {
    /// The repository's own rules.
    pub async fn retention(&self, repository: RepositoryId) -> Result<Option<Retention>> {
        in_read!(self, tx => {
            let rules = tx.retention(repository).await?;
            rules.as_deref().map(from_json).transpose()?
        })
    }

    /// `None` takes the rules away.
    pub async fn set_retention(
        &self,
        repository: RepositoryId,
        rules: Option<&Retention>,
        audit: &AuditEntry,
    ) -> Result<()> {
        in_write!(self, tx => {
            match rules {
                Some(rules) => tx.write_retention(repository, &json(rules)?, audit.at).await?,
                None => tx.clear_retention(repository).await?,
            }
            tx.audit(audit).await?;
        })
    }

    /// Oldest first. Backups that have no point yet count from when they were asked for.
    pub async fn retention_candidates(&self, repository: RepositoryId) -> Result<Vec<RetentionCandidate>> {
        in_read!(self, tx => {
            let rows = tx.retention_candidates(repository).await?;
            rows.into_iter().map(CandidateRow::into_candidate).collect::<Sql<_>>()?
        })
    }

    /// Backups of a repository whose deletion has failed since then.
    pub async fn failed_forgets(&self, repository: RepositoryId, since: DateTime<Utc>) -> Result<HashSet<BackupId>> {
        in_read!(self, tx => { tx.failed_forgets(repository, since).await?.into_iter().map(BackupId).collect() })
    }
}

#[derive(sqlx::FromRow)]
struct CandidateRow {
    id: Uuid,
    made_at: DateTime<Utc>,
    state: String,
    triggered_by: String,
    keep_until: Option<DateTime<Utc>>,
    damaged: bool,
    restorable: bool,
    lost_at: Option<DateTime<Utc>>,
    is_removed: Option<bool>,
}

impl CandidateRow {
    fn into_candidate(self) -> Sql<RetentionCandidate> {
        let Self { id, made_at, state, triggered_by, keep_until, damaged, restorable, lost_at, is_removed } = self;
        let used = |is_removed| if is_removed { CandidateUse::Removed } else { CandidateUse::Read };
        Ok(RetentionCandidate {
            id: BackupId(id),
            at: made_at,
            state: from_word(state)?,
            trigger: from_word(triggered_by)?,
            keep_until,
            damaged,
            restorable,
            lost_at,
            in_use: is_removed.map(used),
        })
    }
}

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    async fn retention(&mut self, repository: RepositoryId) -> Sql<Option<String>> {
        Ok(sqlx::query_scalar("SELECT rules FROM retention_rules WHERE repository_id = $1")
            .bind(repository.0)
            .fetch_optional(&mut *self.0)
            .await?)
    }

    pub(super) async fn write_retention(
        &mut self,
        repository: RepositoryId,
        rules: &str,
        now: DateTime<Utc>,
    ) -> Sql<()> {
        sqlx::query(
            "INSERT INTO retention_rules (repository_id, rules, updated_at) VALUES ($1, $2, $3)
             ON CONFLICT (repository_id) DO UPDATE SET rules = excluded.rules, updated_at = excluded.updated_at",
        )
        .bind(repository.0)
        .bind(rules)
        .bind(now)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn clear_retention(&mut self, repository: RepositoryId) -> Sql<()> {
        sqlx::query("DELETE FROM retention_rules WHERE repository_id = $1")
            .bind(repository.0)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    /// Those that failed were made within their retries before: by when they were made a day more is looked at.
    async fn failed_forgets(&mut self, repository: RepositoryId, since: DateTime<Utc>) -> Sql<Vec<Uuid>> {
        Ok(sqlx::query_scalar(
            "SELECT backup_id FROM jobs WHERE repository_id = $1 AND created_at > $2 AND kind = 'forget'
               AND state = 'failed' AND finished_at > $3 AND backup_id IS NOT NULL",
        )
        .bind(repository.0)
        .bind(since - TimeDelta::days(1))
        .bind(since)
        .fetch_all(&mut *self.0)
        .await?)
    }

    async fn retention_candidates(&mut self, repository: RepositoryId) -> Sql<Vec<CandidateRow>> {
        // What makes, deletes or folds a backup has its parts alone; what reads it shares them.
        Ok(sqlx::query_as(
            "WITH used AS (
                 SELECT p.backup_id, s.exclusive FROM backups b JOIN parts p ON p.backup_id = b.id
                 JOIN job_scopes s ON s.resource = 'part' AND s.resource_id = p.id
                 JOIN jobs j ON j.id = s.job_id AND j.state IN ('queued', 'running')
                 WHERE b.repository_id = $1)
             SELECT b.id, COALESCE(b.point, b.created_at) AS made_at, b.state, b.triggered_by, b.keep_until, b.lost_at,
                 EXISTS (SELECT 1 FROM parts p WHERE p.backup_id = b.id AND p.state = 'succeeded') AS restorable,
                 EXISTS (SELECT 1 FROM parts p JOIN part_damage d ON d.part_id = p.id WHERE p.backup_id = b.id) AS damaged,
                 CASE WHEN EXISTS (SELECT 1 FROM parts p WHERE p.backup_id = b.id AND p.removal_begun_at IS NOT NULL)
                           OR EXISTS (SELECT 1 FROM used u WHERE u.backup_id = b.id AND u.exclusive) THEN TRUE
                      WHEN EXISTS (SELECT 1 FROM used u WHERE u.backup_id = b.id) THEN FALSE END AS is_removed
             FROM backups b WHERE b.repository_id = $1 ORDER BY made_at, id",
        )
        .bind(repository.0)
        .fetch_all(&mut *self.0)
        .await?)
    }
}
