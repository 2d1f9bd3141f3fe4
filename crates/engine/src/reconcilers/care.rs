//! Checks of vaults and backups in their rhythm, and prunes after backups were forgotten. Jobs like all others, started by the scheduler.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    db::{PruningRow, VerificationRow},
    domain::*,
    service::{Inner, scheduler, start_prune, start_verify},
};

/// After an attempt that came to no verdict (the store was away), so long nothing is tried.
const AFTER_ATTEMPT: TimeDelta = TimeDelta::hours(1);
const SECONDS_OF_A_DAY: i64 = 24 * 3600;

pub(super) async fn start_due(inner: &Arc<Inner>) -> Result<()> {
    let checks = verify_due(inner).await;
    checks.and(prune_due(inner).await)
}

async fn verify_due(inner: &Arc<Inner>) -> Result<()> {
    let (rows, oldest) = (inner.db.verifications().await?, inner.db.oldest_backups().await?);
    let (now, options) = (inner.clock.now(), &inner.options.care);
    let due = |object: uuid::Uuid, level, every| {
        let row = rows.get(&object).and_then(|rows| rows.iter().find(|row| row.level == level));
        oldest.get(&object).is_some_and(|first| is_due(row, *first, every, now))
    };
    for vault in inner.db.vaults().await? {
        let read = if due(vault.id.0, VerifyLevel::Data, options.data_every) {
            share_of_the_day(now, options.data_shares)
        } else if due(vault.id.0, VerifyLevel::Structure, options.structure_every) {
            ReadShare::None
        } else {
            continue;
        };
        begin(inner, StartVerify::Vault { vault: vault.id, read }).await?;
    }
    for repository in inner.db.repositories(&RepositoryFilter::default()).await? {
        if !due(repository.id.0, VerifyLevel::Restore, options.restore_every) {
            continue;
        }
        let filter = JobFilter {
            repository: Some(repository.id),
            kinds: vec![JobKind::Verify],
            states: vec![JobState::Queued, JobState::Running],
            ..JobFilter::default()
        };
        if inner.db.jobs(&filter).await?.is_empty() {
            begin(inner, StartVerify::Repository(repository.id)).await?;
        }
    }
    Ok(())
}

async fn prune_due(inner: &Arc<Inner>) -> Result<()> {
    let (now, every) = (inner.clock.now(), inner.options.care.prune_every);
    for (vault, row) in inner.db.prunings().await? {
        if !is_prune_due(&row, every, now) {
            continue;
        }
        let request = StartPrune { of: PruneOf::Vault(vault), task: None, job_attributes: Vec::new() };
        match start_prune(inner, &scheduler(), request, None).await {
            Ok(Some(job)) => tracing::info!(job.id = %job.id, vault.id = %vault, "a prune is due"),
            Ok(None) => {}
            Err(error) if matches!(error.code, ErrorCode::InUse(_) | ErrorCode::NotReady(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// After backups were forgotten, at most once in a while; and when packs that were marked come of age.
fn is_prune_due(row: &PruningRow, every: Option<Duration>, now: DateTime<Utc>) -> bool {
    let Some(every) = every.and_then(|every| TimeDelta::from_std(every).ok()) else { return false };
    let PruningRow { forgotten_at, unused_since: _, attempted_at, pruned_at, again_at } = row;
    let rests = |time: TimeDelta| attempted_at.is_some_and(|attempted| now - attempted < time);
    let is_new = forgotten_at.is_some_and(|forgotten| pruned_at.is_none_or(|pruned| forgotten >= pruned));
    let is_of_age = again_at.is_some_and(|again| now >= again);
    is_new && !rests(every) || is_of_age && !rests(AFTER_ATTEMPT.min(every))
}

async fn begin(inner: &Arc<Inner>, request: StartVerify) -> Result<()> {
    match start_verify(inner, &scheduler(), request).await {
        Ok(job) => {
            tracing::info!(job.id = %job.id, "a check is due");
            Ok(())
        }
        // One is at work already, or there is nothing left to check.
        Err(error) if matches!(error.code, ErrorCode::InUse(_) | ErrorCode::NotReady(_) | ErrorCode::NotFound(_)) => {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The first check comes one rhythm after the first backup; each further one after the last that came to a verdict.
fn is_due(
    row: Option<&VerificationRow>,
    first_backup: DateTime<Utc>,
    every: Option<Duration>,
    now: DateTime<Utc>,
) -> bool {
    let Some(every) = every.and_then(|every| TimeDelta::from_std(every).ok()) else { return false };
    let last = row.and_then(|row| row.concluded_at).unwrap_or(first_backup);
    let is_rested = row.is_none_or(|row| now - row.attempted_at >= AFTER_ATTEMPT.min(every));
    now - last >= every && is_rested
}

/// Each day of the calendar has its share, so that so many days in a row cover everything.
fn share_of_the_day(now: DateTime<Utc>, shares: u32) -> ReadShare {
    let day = now.timestamp().div_euclid(SECONDS_OF_A_DAY);
    let part = u32::try_from(day.rem_euclid(i64::from(shares.max(1)))).unwrap_or(0);
    if shares <= 1 { ReadShare::All } else { ReadShare::Share { part, of: shares } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> DateTime<Utc> {
        "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::hours(hour)
    }

    #[test]
    fn a_check_is_due_one_rhythm_after_the_last_verdict_and_a_failed_one_rests_for_an_hour() {
        let day = Some(Duration::from_secs(24 * 3600));
        let row = |attempted, concluded: Option<i64>| VerificationRow {
            level: VerifyLevel::Structure,
            attempted_at: at(attempted),
            concluded_at: concluded.map(at),
            succeeded_at: None,
        };
        assert!(!is_due(None, at(0), day, at(23)));
        assert!(is_due(None, at(0), day, at(24)));
        assert!(!is_due(None, at(0), None, at(2400)), "switched off");
        assert!(!is_due(Some(&row(24, Some(24))), at(0), day, at(47)));
        assert!(is_due(Some(&row(24, Some(24))), at(0), day, at(48)));
        assert!(!is_due(Some(&row(48, Some(24))), at(0), day, at(48)), "just tried");
        assert!(is_due(Some(&row(48, Some(24))), at(0), day, at(49)));
        assert!(is_due(Some(&row(0, None)), at(-24), day, at(1)));
    }

    #[test]
    fn a_prune_is_due_after_a_forget_once_a_day_and_again_when_packs_come_of_age() {
        let day = Some(Duration::from_secs(24 * 3600));
        let row = |forgotten: Option<i64>, pruned: Option<i64>, again: Option<i64>| PruningRow {
            forgotten_at: forgotten.map(at),
            unused_since: None,
            attempted_at: pruned.map(at),
            pruned_at: pruned.map(at),
            again_at: again.map(at),
        };
        assert!(is_prune_due(&row(Some(0), None, None), day, at(0)));
        assert!(!is_prune_due(&row(Some(0), None, None), None, at(0)), "switched off");
        assert!(!is_prune_due(&row(Some(0), Some(1), None), day, at(1000)), "nothing is new");
        assert!(!is_prune_due(&row(Some(2), Some(1), None), day, at(24)), "once a day");
        assert!(is_prune_due(&row(Some(2), Some(1), None), day, at(25)));
        assert!(!is_prune_due(&row(Some(0), Some(1), Some(25)), day, at(24)));
        assert!(is_prune_due(&row(Some(0), Some(1), Some(25)), day, at(25)));
        assert!(!is_prune_due(&row(None, None, None), day, at(25)));
    }

    #[test]
    fn so_many_days_in_a_row_read_every_share_once() {
        let mut parts: Vec<u32> = (0..30)
            .map(|day| match share_of_the_day(at(24 * day), 30) {
                ReadShare::Share { part, of: 30 } => part,
                other => panic!("{other:?}"),
            })
            .collect();
        parts.sort_unstable();
        assert_eq!(parts, (0..30).collect::<Vec<_>>());
        assert_eq!(share_of_the_day(at(0), 1), ReadShare::All);
    }
}
