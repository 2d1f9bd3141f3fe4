//! Prune: frees the bytes of a vault that no backup needs any more, while backups and restores go on.
//!
//! Scope: the vault shared, its care alone. Steps: `retention` (of a repository that the prune was asked for: what no rule wants goes
//! first), `prune`, `clean_up`.
//!
//! Nothing is deleted by the prune that finds it unneeded: that one marks it, and a later one, a day after, deletes it. The scheduler
//! starts the later one by itself.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use trivault_vault::{PruneOptions, PrunePlan, PruneReport};

use super::{Ending, backup::CLEAN_UP, maintenance_events::JobEvents, vaults, verify::scopes_of_vault};
use crate::{
    db::JobScope,
    domain::{
        BackupId, Error, ErrorCode, JobFilter, JobId, JobKind, JobState, Noun, Result, VaultId, VaultKind, Warning,
    },
    failure::{JobResult, from_vault},
    run::RunContext,
    service::{Inner, apply_retention, retention_goes, scheduler},
};

const RETENTION: &str = "retention";
const PRUNE: &str = "prune";
/// How often a prune looks whether the backups that retention let go are gone.
const FORGET_WAIT: TimeDelta = TimeDelta::seconds(1);
/// When packs are looked at again that were old enough and could not be deleted: a backup ran that began before they were marked.
const WAITING_AGAIN: TimeDelta = TimeDelta::hours(1);

/// What the queue keeps of a prune.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Params {
    pub(crate) vault: VaultId,
    /// Retention of the job's repository is applied first.
    pub(crate) retention: bool,
    /// The backups that it lets go are written down: fewer are left to be found by a later attempt.
    #[serde(default)]
    pub(crate) settled: bool,
    /// The jobs that let its backups go, once they are enqueued.
    #[serde(default)]
    pub(crate) forgets: Option<Vec<JobId>>,
}

pub(crate) fn scopes(vault: VaultId) -> Vec<JobScope> {
    scopes_of_vault(vault)
}

pub(crate) fn run(context: &Arc<RunContext>) -> JobResult<Ending> {
    let mut params: Params = context.params()?;
    if params.retention && params.forgets.is_none() {
        params.forgets = Some(context.step(RETENTION, None, || let_go(context, &mut params))?);
        context.write_params(&params)?;
        context.point("settled");
    }
    for forget in params.forgets.iter().flatten() {
        if !is_over(context, *forget)? {
            return Ok(Ending::NotYet(context.inner.clock.now() + FORGET_WAIT));
        }
    }
    prune(context, params.vault)?;
    context.step(CLEAN_UP, None, || {
        context.release_locks();
        Ok(())
    })?;
    Ok(Ending::Done)
}

/// Enqueues the deletion of what no rule of the repository wants. Which backups they are is written down first: they may be gone any
/// moment after.
fn let_go(context: &RunContext, params: &mut Params) -> JobResult<Vec<JobId>> {
    let gone = || Error::not_found(Noun::Repository, "The repository is no longer in the catalogue.");
    let repository = context.job().repository.ok_or_else(gone)?;
    if !params.settled {
        let going = context.wait_out(|| retention_goes(&context.inner, repository))?;
        let going: Vec<BackupId> = going.iter().map(|verdict| verdict.id).collect();
        let now = context.inner.clock.now();
        context.fenced(context.wait_out(|| context.inner.db.record_job_backups(context.run(), &going, now))?)?;
        params.settled = true;
        context.write_params(params)?;
    }
    let scheduler = scheduler();
    let jobs = context.wait_out(|| apply_retention(&context.inner, &scheduler, repository))?;
    // An answer that got lost named some already; a backup that somebody else deletes is waited for just as well.
    let under_way = JobFilter {
        repository: Some(repository),
        kinds: vec![JobKind::Forget],
        states: vec![JobState::Queued, JobState::Running],
        ..JobFilter::default()
    };
    let under_way = context.wait_out(|| context.inner.db.jobs(&under_way))?;
    let forgets: BTreeSet<JobId> = jobs.iter().chain(&under_way).map(|job| job.id).collect();
    context.log(format!("{} backups go by the repository's retention.", forgets.len()));
    Ok(forgets.into_iter().collect())
}

fn is_over(context: &RunContext, forget: JobId) -> JobResult<bool> {
    let Some(job) = context.wait_out(|| context.inner.db.job(forget))? else { return Ok(true) };
    if let (JobState::Failed, Some(failure)) = (job.state, &job.failure) {
        let sentence = format!("A backup could not be deleted: {}", failure.sentence);
        context.warn(Warning { code: "not_deleted".to_owned(), count: 1, sentence });
    }
    Ok(job.state.is_terminal())
}

fn prune(context: &RunContext, id: VaultId) -> JobResult<()> {
    let db = &context.inner.db;
    let gone = || Error::not_found(Noun::Vault, "The vault is no longer in the catalogue.");
    let row = context.wait_out(|| db.vault_row(id))?.ok_or_else(gone)?;
    let store = vaults::store_row(context, row.vault.store)?;
    if store.store.read_only {
        let sentence = format!("The store {} belongs to another installation and is read-only.", store.store.name);
        return Err(Error::new(ErrorCode::NotReady(Noun::Store), sentence).into());
    }
    if row.vault.kind == VaultKind::Passcode {
        return Err(under_passcode().into());
    }
    vaults::check_owner(context, &store)?;
    let began = context.inner.clock.now();
    context.fenced(context.wait_out(|| db.prune_began(context.run(), id, began))?)?;
    let report = context.step(PRUNE, None, || {
        let vault = context.inner.storage.server_vault(&store, &row)?;
        // A prune that was killed leaves an exclusive one, for which this one would wait.
        context.remove_left_locks(&vault)?;
        context.check_lease()?;
        let oldest_writer = context.wait_out(|| db.oldest_writer(id, context.run().job))?;
        Ok(vault.prune(&options(&context.inner, began, oldest_writer), &JobEvents(context))?)
    })?;
    tell(context, &report);
    let now = context.inner.clock.now();
    let again = again_at(&report, now, began, keep_marked(&context.inner));
    context.fenced(context.wait_out(|| db.prune_ended(context.run(), id, began, again, now))?)
}

/// Whom nobody can prune: its content is known to those alone who have the passcode.
pub(crate) fn under_passcode() -> Error {
    Error::new(ErrorCode::PasscodeRequired, "A vault under a passcode cannot be pruned: the server does not keep it.")
        .hint("Its folder is removed whole when its last backup is deleted.")
}

fn keep_marked(inner: &Inner) -> TimeDelta {
    TimeDelta::from_std(inner.options.care.keep_marked).unwrap_or(TimeDelta::days(1))
}

fn options(inner: &Inner, now: DateTime<Utc>, oldest_writer: Option<DateTime<Utc>>) -> PruneOptions {
    let care = &inner.options.care;
    PruneOptions {
        keep_marked: care.keep_marked,
        oldest_writer,
        tolerated_unused: care.tolerated_unused,
        max_repack_bytes: care.max_repack_bytes,
        ..PruneOptions::new(now)
    }
}

/// What a prune of the vault would do now. Blocks.
pub(crate) fn preview(inner: &Inner, store: &crate::db::StoreRow, row: &crate::db::VaultRow) -> Result<PrunePlan> {
    let vault = inner.storage.server_vault(store, row)?;
    vault.plan_prune(&options(inner, inner.clock.now(), None), &NoEvents).map_err(from_vault)
}

struct NoEvents;

impl trivault_vault::MaintenanceEvents for NoEvents {
    fn is_cancelled(&self) -> bool {
        false
    }

    fn progress(&self, _: u64, _: u64) {}
}

fn tell(context: &RunContext, report: &PruneReport) {
    let PruneReport {
        plan,
        repacked,
        written,
        marked,
        recovered,
        deleted,
        index_files_written: _,
        index_files_removed: _,
        notes,
    } = report;
    context.log(format!(
        "{} bytes are needed by {} snapshots, {} are not.",
        plan.used_bytes, plan.snapshots, plan.unused_bytes
    ));
    context.log(format!("Deleted {deleted}: they are free now."));
    context.log(format!(
        "Marked {marked}: a later prune deletes them. Moved what was needed of {repacked} into {written}."
    ));
    if *recovered > 0 {
        context.log(format!("{recovered} marked packs are needed again and are listed again."));
    }
    for note in plan.notes.iter().chain(notes) {
        context.log(format!("{note}."));
    }
}

/// When the next prune has something to do without anything being forgotten: marked packs come of age. Those that are old
/// enough and still there are held back by a backup, which may end at any time.
fn again_at(
    report: &PruneReport,
    now: DateTime<Utc>,
    began: DateTime<Utc>,
    keep_marked: TimeDelta,
) -> Option<DateTime<Utc>> {
    let waiting = report.plan.waiting_since.map(|since| (since + keep_marked).max(now + WAITING_AGAIN));
    let marked = (report.marked.packs > 0 || report.repacked.packs > 0).then_some(began + keep_marked);
    waiting.into_iter().chain(marked).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_prune_comes_when_the_first_marked_packs_are_old_enough() {
        let at = |hour: i64| "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::hours(hour);
        let again = |marked, waiting_since: Option<i64>, now| {
            let mut report = PruneReport::default();
            report.marked.packs = marked;
            report.plan.waiting_since = waiting_since.map(at);
            again_at(&report, at(now), at(now), TimeDelta::hours(24))
        };
        assert_eq!(again(0, None, 1), None);
        assert_eq!(again(1, None, 1), Some(at(25)));
        assert_eq!(again(0, Some(1), 5), Some(at(25)));
        assert_eq!(again(1, Some(0), 1), Some(at(24)), "those that wait come first");
        assert_eq!(again(0, Some(0), 25), Some(at(26)), "a backup held them back");
        assert_eq!(again(1, Some(0), 25), Some(at(26)), "also when there is more for a day later");
    }
}
