//! Merge: folds a range of a repository's backups into the newest of them.
//!
//! Scope: the repository alone (no backup of it comes or goes meanwhile) and its vault shared; the backups that go are taken alone when
//! they are known. Steps: `validate` (which backups, decided once and kept), `merge` (one backup after the other, newest first),
//! `clean_up`.
//!
//! Every backup is whole by itself, so nothing is copied: the newest stays as it is and takes over the names of those that go. A merge
//! that is stopped has folded some of them, without a gap.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{
    Ending,
    backup::{CLEAN_UP, VALIDATE},
    forget::forget_part,
};
use crate::{
    db::{JobScope, Resource},
    domain::{Backup, BackupId, Error, MergePlan, MergeRange, Noun, Part, Progress, RepositoryId, VaultId, Warning},
    failure::{JobResult, in_job},
    merge_plan,
    run::RunContext,
};

const MERGE: &str = "merge";
/// How soon a merge looks again whether the backups that it folds are free.
const BUSY_WAIT: TimeDelta = TimeDelta::seconds(5);

/// What the queue keeps of a merge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Params {
    pub(crate) range: MergeRange,
    /// In which days are meant.
    pub(crate) zone: Tz,
    /// See `StartMerge`.
    #[serde(default)]
    pub(crate) as_of: Option<DateTime<Utc>>,
    /// Written before the first backup goes, so that a later attempt finishes this merge and begins no other.
    #[serde(default)]
    pub(crate) decided: Option<Decided>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decided {
    keep: BackupId,
    /// Newest first.
    release: Vec<BackupId>,
}

pub(crate) fn scopes(repository: RepositoryId, vault: Option<VaultId>) -> Vec<JobScope> {
    let mut scopes = vec![JobScope { resource: Resource::Repository, id: repository.0, exclusive: true }];
    scopes.extend(vault.map(|vault| JobScope { resource: Resource::Vault, id: vault.0, exclusive: false }));
    scopes
}

/// What a merge takes when it knows which backups go.
pub(crate) fn scopes_of_folded(parts: &[Part]) -> Vec<JobScope> {
    parts.iter().map(|part| JobScope { resource: Resource::Part, id: part.id.0, exclusive: true }).collect()
}

pub(crate) fn run(context: &Arc<RunContext>) -> JobResult<Ending> {
    let mut params: Params = context.params()?;
    let decided = match params.decided.clone() {
        Some(decided) => decided,
        None => {
            let Some(decided) = context.step(VALIDATE, None, || decide(context, &params))? else {
                context.log("There are fewer than two backups to merge in this range: nothing was changed.");
                return Ok(Ending::Done);
            };
            if !take(context, &decided)? {
                context.log("A backup of the range is being restored, downloaded into a job or deleted; waits for it.");
                return Ok(Ending::NotYet(context.inner.clock.now() + BUSY_WAIT));
            }
            record(context, &decided)?;
            params.decided = Some(decided.clone());
            context.write_params(&params)?;
            context.point("decided");
            decided
        }
    };
    context.board().parts = (0, decided.release.len() as u64);
    context.step(MERGE, None, || {
        for id in &decided.release {
            context.check()?;
            fold(context, *id, decided.keep)?;
            context.point("folded");
            let mut board = context.board();
            board.parts.0 += 1;
            board.progress.items += 1;
            board.progress_changed = true;
        }
        Ok(())
    })?;
    context.step(CLEAN_UP, None, || {
        context.release_locks();
        Ok(())
    })?;
    Ok(Ending::Done)
}

fn decide(context: &RunContext, params: &Params) -> JobResult<Option<Decided>> {
    let gone = || Error::not_found(Noun::Repository, "The repository is no longer in the catalogue.");
    let repository = context.job().repository.ok_or_else(gone)?;
    let candidates = context.wait_out(|| context.inner.db.merge_candidates(repository))?;
    let plan = merge_plan::plan(
        &candidates,
        &params.range,
        params.zone,
        params.as_of.unwrap_or_else(|| context.inner.clock.now()),
    );
    let MergePlan { keep, release, left } = in_job(plan)?;
    let made = |id: BackupId| {
        let found = candidates.iter().find(|candidate| candidate.id == id);
        found.map_or_else(|| id.to_string(), |found| found.at.format("%Y-%m-%d %H:%M:%SZ").to_string())
    };
    for (id, why) in left {
        let sentence = format!("The backup of {} stays beside: {}.", made(id), why.sentence());
        context.warn(Warning { code: "stays_beside".to_owned(), count: 1, sentence });
    }
    let Some(keep) = keep.filter(|_| !release.is_empty()) else { return Ok(None) };
    context.log(format!("Folds {} backups into that of {}, which is whole by itself.", release.len(), made(keep)));
    Ok(Some(Decided { keep, release }))
}

/// The backups that go, alone. `false` while another job needs one of them.
fn take(context: &RunContext, decided: &Decided) -> JobResult<bool> {
    let mut scopes = Vec::new();
    for id in &decided.release {
        let backup = context.wait_out(|| context.inner.db.backup(*id))?;
        scopes.extend(backup.iter().flat_map(|backup| scopes_of_folded(&backup.parts)));
    }
    let now = context.inner.clock.now();
    context.fenced(context.wait_out(|| context.inner.db.take_scopes(context.run(), &scopes, now))?)
}

fn record(context: &RunContext, decided: &Decided) -> JobResult<()> {
    let Decided { keep, release } = decided;
    let oldest_first: Vec<BackupId> = release.iter().rev().chain([keep]).copied().collect();
    let now = context.inner.clock.now();
    context.fenced(context.wait_out(|| context.inner.db.record_job_backups(context.run(), &oldest_first, now))?)?;
    let total = Progress { items_total: Some(release.len() as u64), ..Progress::default() };
    context.progress(total);
    Ok(())
}

/// Its snapshots first: a catalogue that names one which is gone is put right by the next attempt, a snapshot that no catalogue names
/// would stay for ever.
fn fold(context: &RunContext, id: BackupId, into: BackupId) -> JobResult<()> {
    // An earlier attempt may have folded it.
    let Some(backup): Option<Backup> = context.wait_out(|| context.inner.db.backup(id))? else { return Ok(()) };
    for part in &backup.parts {
        forget_part(context, part)?;
    }
    let now = context.inner.clock.now();
    context.fenced(context.wait_out(|| context.inner.db.fold_backup(context.run(), id, into, now))?)
}
