//! How attempts end: finished, handed back, taken back, failed because only a former process could go on.

use chrono::TimeDelta;

use super::{
    prelude::*,
    text::{from_word, json, printable, small, word},
    together::{Write, Written},
};

/// Leases that are looked at in one pass.
const LEASES_AT_ONCE: i64 = 10_000;

impl Database {
    /// # Errors
    /// `Internal` for a state in which no run ends, and for a backup that would succeed without all of its parts.
    pub async fn finish(&self, run: Run, finish: &Finish, now: DateTime<Utc>) -> Result<Fenced<()>> {
        let finish = Box::new(finish.clone());
        match self.write_together(Write::Finish { run, finish, now }).await? {
            Written::Finished(fenced) => Ok(fenced),
            Written::Enqueued(_) => Err(Error::internal("An answer belongs to another write.")),
        }
    }

    /// The job goes back to the queue, unless somebody has asked for its end meanwhile: then it is cancelled.
    pub async fn hand_back(&self, run: Run, back: &HandBack, now: DateTime<Utc>) -> Result<Fenced<()>> {
        in_write!(self, tx => {
            let Some(state) = tx.hand_back(run, back, now).await? else { return Ok(Fenced::Lost) };
            match from_word(state)? {
                JobState::Queued => tx.requeue(run.job).await?,
                state => {
                    tx.settle(run.job, state, Some("It was cancelled."), now).await?;
                    tx.close_steps(run.job, now).await?;
                }
            }
            Fenced::Held(())
        })
    }

    /// Jobs whose lease is over: back to the queue while they may be retried, else failed; cancelled where that was asked for. A job
    /// whose lease was extended meanwhile stays as it is.
    pub async fn take_back(&self, over: &[Lease], now: DateTime<Utc>) -> Result<Vec<TakenBack>> {
        let failure = Failure {
            code: "interrupted".to_owned(),
            sentence: "The server stopped in the middle of this job.".to_owned(),
            hint: Some("Send the request again.".to_owned()),
        };
        in_write!(self, tx => {
            let mut taken = Vec::new();
            for lease in over {
                let Some((kind, state)) = tx.take_back(*lease, &failure, now).await? else { continue };
                let (job, state): (JobId, JobState) = (lease.run.job, from_word(state)?);
                match state {
                    JobState::Queued => tx.requeue(job).await?,
                    _ => {
                        tx.settle(job, state, Some(&failure.sentence), now).await?;
                        tx.close_steps(job, now).await?;
                    }
                }
                taken.push(TakenBack { job, kind: from_word(kind)?, attempt: lease.run.attempt, state });
            }
            taken
        })
    }

    /// At a node's start, when nothing of it runs: its runs whose lease ends after `latest`, as none can, were granted before the clock
    /// was set back. They count as expired. Answers how many.
    pub async fn expire_leases_beyond(&self, node: Uuid, latest: DateTime<Utc>, now: DateTime<Utc>) -> Result<u64> {
        in_write!(self, tx => { tx.expire_leases_beyond(node, latest, now - TimeDelta::seconds(1)).await? })
    }

    /// The leases of all runs there are, by when they end.
    pub async fn leases(&self) -> Result<Vec<Lease>> {
        in_read!(self, tx => {
            let rows = tx.leases().await?;
            rows.into_iter()
                .map(|(job, attempt, owner, until)| {
                    Lease { run: Run { job: JobId(job), attempt: small(attempt) }, owner, until }
                })
                .collect()
        })
    }

    /// A lease counts as having ended then, unless it has been extended meanwhile. Answers whether it was so.
    pub async fn expire_lease(&self, lease: Lease, ended: DateTime<Utc>) -> Result<bool> {
        in_write!(self, tx => { tx.expire_lease(lease, ended).await? })
    }

    /// At a node's start: jobs whose passcode only its former process knew end failed.
    pub async fn fail_held_by(&self, node: Uuid, now: DateTime<Utc>) -> Result<Vec<JobId>> {
        let failure = Failure {
            code: "passcode_not_kept".to_owned(),
            sentence: "The passcode is not kept; send the request again.".to_owned(),
            hint: Some("The server was restarted before the job was done.".to_owned()),
        };
        in_write!(self, tx => {
            let mut failed = Vec::new();
            for id in tx.fail_held_by(node, &failure, now).await? {
                tx.settle(JobId(id), JobState::Failed, Some(&failure.sentence), now).await?;
                tx.close_steps(JobId(id), now).await?;
                failed.push(JobId(id));
            }
            failed
        })
    }
}

type LeaseRow = (Uuid, i64, Uuid, DateTime<Utc>);

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    pub(super) async fn finish(&mut self, run: Run, finish: &Finish, now: DateTime<Utc>) -> Sql<Fenced<()>> {
        let Finish { state, failure, delete_backup } = finish;
        let Some(event) = ending(*state) else {
            return Err(Error::internal(format!("A run cannot end {state:?}.")).into());
        };
        let state = transition(JobState::Running, event)?;
        let Some(backup) = self.end_run(run, state, failure.as_ref(), now).await? else { return Ok(Fenced::Lost) };
        if state == JobState::Succeeded && backup.is_some() && self.unfinished_parts(run.job).await? > 0 {
            return Err(Error::internal("A backup would succeed without all of its parts.").into());
        }
        let sentence = failure.as_ref().map(|failure| failure.sentence.as_str());
        match backup {
            Some(_) => self.settle(run.job, state, sentence, now).await?,
            None => self.free_scopes(run.job).await?,
        }
        if *delete_backup && let Some(backup) = backup {
            self.delete_backup(BackupId(backup), now).await?;
        }
        Ok(Fenced::Held(()))
    }

    /// What the job needed is free.
    async fn free_scopes(&mut self, job: JobId) -> Sql<()> {
        sqlx::query("DELETE FROM job_scopes WHERE job_id = $1").bind(job.0).execute(&mut *self.0).await?;
        Ok(())
    }

    /// The job's backup, within `Some` when the run had its job.
    #[allow(clippy::option_option)]
    async fn end_run(
        &mut self,
        run: Run,
        state: JobState,
        failure: Option<&Failure>,
        now: DateTime<Utc>,
    ) -> Sql<Option<Option<Uuid>>> {
        Ok(sqlx::query_scalar(
            "UPDATE jobs SET state = $3, failure = $4, percent = CASE WHEN $5 THEN 100 ELSE percent END,
                 lease_owner = NULL, lease_until = NULL, held_by = NULL, estimated_end = NULL, updated_at = $6,
                 finished_at = $6
             WHERE id = $1 AND attempt = $2 AND state = 'running' RETURNING backup_id",
        )
        .bind(run.job.0)
        .bind(i64::from(run.attempt))
        .bind(word(&state)?)
        .bind(failure.map(json).transpose()?)
        .bind(state == JobState::Succeeded)
        .bind(now)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    /// Parts of the backup that this job makes which are not there.
    async fn unfinished_parts(&mut self, job: JobId) -> Sql<i64> {
        Ok(sqlx::query_scalar(
            "SELECT count(*) FROM parts p JOIN backups b ON b.id = p.backup_id
             WHERE b.job_id = $1 AND p.state <> 'succeeded'",
        )
        .bind(job.0)
        .fetch_one(&mut *self.0)
        .await?)
    }

    /// After a job's end: what it needed is free, and its backup, with those parts that are not over, ends like it.
    pub(super) async fn settle(
        &mut self,
        job: JobId,
        state: JobState,
        sentence: Option<&str>,
        now: DateTime<Utc>,
    ) -> Sql<()> {
        self.free_scopes(job).await?;
        let state = word(&state)?;
        let sentence = sentence.map(printable);
        sqlx::query(
            "UPDATE parts SET state = $2, error = COALESCE($3, error), finished_at = $4
             WHERE state IN ('queued', 'running') AND backup_id IN (SELECT id FROM backups WHERE job_id = $1)",
        )
        .bind(job.0)
        .bind(&state)
        .bind(&sentence)
        .bind(now)
        .execute(&mut *self.0)
        .await?;
        sqlx::query(
            "UPDATE backups SET state = $2, error = $3, finished_at = $4
             WHERE job_id = $1 AND state IN ('queued', 'running')",
        )
        .bind(job.0)
        .bind(&state)
        .bind(&sentence)
        .bind(now)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    /// The steps of a run that ended without saying so: what was under way failed.
    async fn close_steps(&mut self, job: JobId, now: DateTime<Utc>) -> Sql<()> {
        let Some(row) = self.job(job).await? else { return Ok(()) };
        let mut steps = row.into_job()?.steps;
        for step in steps.iter_mut().filter(|step| step.state == StepState::Running) {
            step.state = StepState::Failed;
            step.finished_at = Some(now);
        }
        sqlx::query("UPDATE jobs SET steps = $2 WHERE id = $1")
            .bind(job.0)
            .bind(json(&steps)?)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    /// After a job's return to the queue: what it needed is free, and its backup waits with it. Parts that are done stay so.
    async fn requeue(&mut self, job: JobId) -> Sql<()> {
        sqlx::query("UPDATE job_scopes SET running = FALSE WHERE job_id = $1")
            .bind(job.0)
            .execute(&mut *self.0)
            .await?;
        sqlx::query(
            "UPDATE parts SET state = 'queued', error = NULL, started_at = NULL, finished_at = NULL
             WHERE state IN ('running', 'failed') AND backup_id IN (SELECT id FROM backups WHERE job_id = $1)",
        )
        .bind(job.0)
        .execute(&mut *self.0)
        .await?;
        sqlx::query("UPDATE backups SET state = 'queued' WHERE job_id = $1 AND state = 'running'")
            .bind(job.0)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    async fn hand_back(&mut self, run: Run, back: &HandBack, now: DateTime<Utc>) -> Sql<Option<String>> {
        let HandBack { not_before, counts } = back;
        Ok(sqlx::query_scalar(
            "UPDATE jobs SET state = CASE WHEN cancel_requested THEN 'cancelled' ELSE $3 END,
                 finished_at = CASE WHEN cancel_requested THEN $6 END,
                 held_by = CASE WHEN cancel_requested THEN NULL ELSE held_by END,
                 not_before = $4, retries = retries + $5, lease_owner = NULL, lease_until = NULL, updated_at = $6
             WHERE id = $1 AND attempt = $2 AND state = 'running' RETURNING state",
        )
        .bind(run.job.0)
        .bind(i64::from(run.attempt))
        .bind(word(&transition(JobState::Running, JobEvent::Requeued)?)?)
        .bind(not_before)
        .bind(i64::from(*counts))
        .bind(now)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    async fn take_back(
        &mut self,
        lease: Lease,
        failure: &Failure,
        now: DateTime<Utc>,
    ) -> Sql<Option<(String, String)>> {
        Ok(sqlx::query_as(
            "UPDATE jobs SET
                 state = CASE WHEN cancel_requested THEN 'cancelled'
                              WHEN retries < retry_limit AND held_by IS NULL THEN 'queued' ELSE 'failed' END,
                 failure = CASE WHEN cancel_requested OR (retries < retry_limit AND held_by IS NULL) THEN NULL
                                ELSE $2 END,
                 finished_at = CASE WHEN NOT cancel_requested AND retries < retry_limit AND held_by IS NULL THEN NULL
                                    ELSE $1 END,
                 retries = retries + 1, lease_owner = NULL, lease_until = NULL, held_by = NULL, updated_at = $1
             WHERE id = $3 AND attempt = $4 AND state = 'running' AND lease_until = $5
             RETURNING kind, state",
        )
        .bind(now)
        .bind(json(failure)?)
        .bind(lease.run.job.0)
        .bind(i64::from(lease.run.attempt))
        .bind(lease.until)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    async fn expire_leases_beyond(&mut self, node: Uuid, latest: DateTime<Utc>, ended: DateTime<Utc>) -> Sql<u64> {
        let text = "UPDATE jobs SET lease_until = $3 WHERE state = 'running' AND lease_owner = $1 AND lease_until > $2";
        let changed = sqlx::query(text).bind(node).bind(latest).bind(ended).execute(&mut *self.0).await?;
        Ok(changed.rows_affected())
    }

    async fn leases(&mut self) -> Sql<Vec<LeaseRow>> {
        let text = "SELECT id, attempt, lease_owner, lease_until FROM jobs WHERE state = 'running' ORDER BY lease_until LIMIT $1";
        Ok(sqlx::query_as(text).bind(LEASES_AT_ONCE).fetch_all(&mut *self.0).await?)
    }

    async fn expire_lease(&mut self, lease: Lease, ended: DateTime<Utc>) -> Sql<bool> {
        let text = "UPDATE jobs SET lease_until = $4
             WHERE id = $1 AND attempt = $2 AND state = 'running' AND lease_until = $3";
        let Lease { run, owner: _, until } = lease;
        let changed = sqlx::query(text)
            .bind(run.job.0)
            .bind(i64::from(run.attempt))
            .bind(until)
            .bind(ended)
            .execute(&mut *self.0)
            .await?;
        Ok(changed.rows_affected() == 1)
    }

    async fn fail_held_by(&mut self, node: Uuid, failure: &Failure, now: DateTime<Utc>) -> Sql<Vec<Uuid>> {
        Ok(sqlx::query_scalar(
            "UPDATE jobs SET state = 'failed', failure = $2, held_by = NULL, lease_owner = NULL, lease_until = NULL,
                 updated_at = $3, finished_at = $3
             WHERE held_by = $1 AND state IN ('queued', 'running') RETURNING id",
        )
        .bind(node)
        .bind(json(failure)?)
        .bind(now)
        .fetch_all(&mut *self.0)
        .await?)
    }
}
