//! Which backups of a range a merge keeps and which it lets go: a pure function of the backups, the range and the clock.
//!
//! Every backup here is whole by itself, so to merge is to keep the newest of the range and to let the older ones go. Nothing is lost by
//! it that could be restored as the newest state: a backup that holds a source which no newer one of the range holds stays.

use std::collections::HashSet;

use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;

use crate::domain::{
    BackupState, Error, ErrorCode, MergeCandidate, MergeEnd, MergeLeft, MergePlan, MergeRange, MergeWindow, Noun,
    Result,
};

/// # Errors
/// `NotFound(Backup)` for an end that is not there; `NotReady(Backup)` for an end that was not finished, an unfinished backup within the
/// range, or a newest one that is damaged; `PasscodeRequired` where one is under a passcode; `InvalidInput` for ends in the wrong order.
pub(crate) fn plan(backups: &[MergeCandidate], range: &MergeRange, zone: Tz, now: DateTime<Utc>) -> Result<MergePlan> {
    let mut newest_first = within(backups, range, zone, now)?;
    newest_first.sort_by_key(|backup| std::cmp::Reverse((backup.at, backup.id)));
    let mut plan = MergePlan { keep: None, release: Vec::new(), left: Vec::new() };
    let mut good = Vec::new();
    for backup in newest_first {
        match backup.state {
            BackupState::Queued | BackupState::Running => {
                return Err(not_ready(backup, "is still being made"));
            }
            BackupState::Failed | BackupState::Cancelled | BackupState::Lost => {
                plan.left.push((backup.id, MergeLeft::NotUsable));
            }
            BackupState::Succeeded if backup.protected => {
                let sentence = format!("The backup of {} is under a passcode and cannot be merged.", made(backup));
                return Err(Error::new(ErrorCode::PasscodeRequired, sentence)
                    .hint("Choose a range without backups that have a passcode; the server does not keep it."));
            }
            BackupState::Succeeded => good.push(backup),
        }
    }
    let [newest, older @ ..] = good.as_slice() else { return Ok(plan) };
    if older.is_empty() {
        return Ok(plan);
    }
    if newest.damaged {
        return Err(not_ready(newest, "is the newest of the range and is damaged; the older ones stay")
            .hint("Make a new backup first, and merge up to that."));
    }
    plan.keep = Some(newest.id);
    let mut held: HashSet<_> = newest.sources.iter().collect();
    for backup in older {
        if backup.sources.iter().all(|source| held.contains(source)) {
            plan.release.push(backup.id);
        } else {
            plan.left.push((backup.id, MergeLeft::OnlyCopy));
            // A damaged one is no copy that an older one could rely on.
            if !backup.damaged {
                held.extend(&backup.sources);
            }
        }
    }
    Ok(plan)
}

fn within<'b>(
    backups: &'b [MergeCandidate],
    range: &MergeRange,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<Vec<&'b MergeCandidate>> {
    match range {
        MergeRange::Days(window) => {
            let (oldest, newest) = days(*window, now.with_timezone(&zone).date_naive());
            let is_within = |backup: &&MergeCandidate| {
                let day = backup.at.with_timezone(&zone).date_naive();
                oldest <= day && day <= newest
            };
            Ok(backups.iter().filter(is_within).collect())
        }
        MergeRange::Between { from, to } => {
            let (from, to) = (end(backups, from)?, end(backups, to)?);
            if let (Some(from), Some(to)) = (from, to)
                && from > to
            {
                return Err(Error::invalid("The range of the merge ends before it begins."));
            }
            let is_within = |backup: &&MergeCandidate| {
                let at = (backup.at, backup.id);
                from.is_none_or(|from| from <= at) && to.is_none_or(|to| at <= to)
            };
            Ok(backups.iter().filter(is_within).collect())
        }
    }
}

/// The oldest and the newest day, both whole. Days before the calendar's beginning are its beginning.
fn days(window: MergeWindow, today: NaiveDate) -> (NaiveDate, NaiveDate) {
    let MergeWindow { offset_start, offset_end } = window;
    let back = |from: NaiveDate, days: u32| from.checked_sub_days(Days::new(u64::from(days))).unwrap_or(NaiveDate::MIN);
    let newest = back(today, offset_start);
    (back(newest, offset_end), newest)
}

/// Where a range ends; `None` is as far as there are backups.
fn end(backups: &[MergeCandidate], end: &MergeEnd) -> Result<Option<(DateTime<Utc>, crate::domain::BackupId)>> {
    let missing = |name: &str| Error::not_found(Noun::Backup, format!("There is no backup {name} in the repository."));
    match end {
        MergeEnd::Oldest | MergeEnd::Newest => Ok(None),
        MergeEnd::Unknown(name) => Err(missing(name)),
        MergeEnd::Backup(id) => {
            let backup = backups.iter().find(|backup| backup.id == *id).ok_or_else(|| missing(&id.to_string()))?;
            match backup.state {
                BackupState::Succeeded => Ok(Some((backup.at, backup.id))),
                BackupState::Queued | BackupState::Running => Err(not_ready(backup, "is still being made")),
                BackupState::Failed | BackupState::Cancelled => Err(not_ready(backup, "was not finished")),
                BackupState::Lost => Err(not_ready(backup, "has vanished from its store")),
            }
        }
    }
}

fn not_ready(backup: &MergeCandidate, why: &str) -> Error {
    Error::new(ErrorCode::NotReady(Noun::Backup), format!("The backup of {} {why}.", made(backup)))
}

fn made(backup: &MergeCandidate) -> String {
    backup.at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
#[path = "merge_plan_tests.rs"]
mod tests;
