//! Attempts of jobs: claimed, kept alive, written, ended. Every write is fenced by its attempt.

use super::prelude::*;

impl Database {
    /// The first queued job that may run now on this node, set running as a new attempt in one guarded statement.
    pub async fn claim(
        &self,
        node: Uuid,
        now: DateTime<Utc>,
        lease_until: DateTime<Utc>,
        limits: &ClaimLimits,
    ) -> Result<Option<ClaimedJob>> {
        let _ = (node, now, lease_until, limits);
        unfinished()
    }

    pub async fn heartbeat(&self, run: Run, lease_until: DateTime<Utc>) -> Result<Fenced<Heartbeat>> {
        let _ = (run, lease_until);
        unfinished()
    }

    pub async fn write_progress(&self, run: Run, update: &ProgressUpdate, now: DateTime<Utc>) -> Result<Fenced<()>> {
        let _ = (run, update, now);
        unfinished()
    }

    pub async fn write_steps(&self, run: Run, steps: &[Step], now: DateTime<Utc>) -> Result<Fenced<()>> {
        let _ = (run, steps, now);
        unfinished()
    }

    /// The whole list.
    pub async fn write_warnings(&self, run: Run, warnings: &[Warning], now: DateTime<Utc>) -> Result<Fenced<()>> {
        let _ = (run, warnings, now);
        unfinished()
    }

    /// New parameters, for a kind that records a decision so that a later attempt keeps it.
    pub async fn write_params(&self, run: Run, params: &serde_json::Value, now: DateTime<Utc>) -> Result<Fenced<()>> {
        let _ = (run, params, now);
        unfinished()
    }

    /// At a backup's first claim: fixes its point (strictly rising in its repository) and its names; a later attempt finds them as they are.
    pub async fn begin_backup(
        &self,
        run: Run,
        kind: BackupKind,
        now: DateTime<Utc>,
        names: NamesAt<'_>,
    ) -> Result<Fenced<Backup>> {
        let _ = (run, kind, now, names);
        unfinished()
    }

    pub async fn begin_part(&self, run: Run, part: PartId, now: DateTime<Utc>) -> Result<Fenced<()>> {
        let _ = (run, part, now);
        unfinished()
    }

    pub async fn part_succeeded(&self, run: Run, done: &PartDone, now: DateTime<Utc>) -> Result<Fenced<()>> {
        let _ = (run, done, now);
        unfinished()
    }

    pub async fn part_failed(
        &self,
        run: Run,
        part: PartId,
        sentence: &str,
        warnings: &[Warning],
        now: DateTime<Utc>,
    ) -> Result<Fenced<()>> {
        let _ = (run, part, sentence, warnings, now);
        unfinished()
    }

    pub async fn finish(&self, run: Run, finish: &Finish, now: DateTime<Utc>) -> Result<Fenced<()>> {
        let _ = (run, finish, now);
        unfinished()
    }

    pub async fn hand_back(&self, run: Run, back: &HandBack, now: DateTime<Utc>) -> Result<Fenced<()>> {
        let _ = (run, back, now);
        unfinished()
    }

    /// Jobs whose lease has run out: back to the queue while they may be retried, else failed; cancelled where that was asked for.
    pub async fn take_back_expired(&self, now: DateTime<Utc>) -> Result<Vec<TakenBack>> {
        let _ = (now,);
        unfinished()
    }

    /// At a node's start: jobs whose passcode only its former process knew end failed.
    pub async fn fail_held_by(&self, node: Uuid, now: DateTime<Utc>) -> Result<Vec<JobId>> {
        let _ = (node, now);
        unfinished()
    }
}
