//! Restore: puts parts back, one after the other.
//!
//! Scope: each part and its vault shared, each source that is written to alone. Steps: `validate` (every part is planned and
//! refused before anything is touched), `safety_backup` where one was asked for, then `restore` for each part, `clean_up`.
//!
//! A restore is never tried again: an attempt that fails leaves things as they were, and one that dies after its swap began is
//! finished from the journal (`restore_journal`).

use std::{collections::HashSet, sync::Arc};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use trivault_sources::{Conflict, PartRestorePlan, Progress, Selection};

use super::{
    Ending,
    backup::{CLEAN_UP, VALIDATE},
    restore_damage,
    restore_part::{self, Resolved},
};
use crate::{
    db::{JobScope, Resource},
    domain::{Error, ErrorCode, JobId, JobState, Noun, Part, RestoreInto, RestoreItem, SourceId},
    failure::JobResult,
    run::RunContext,
};

const SAFETY_BACKUP: &str = "safety_backup";
const RESTORE: &str = "restore";
/// How often a restore looks whether its safety backup is done.
const SAFETY_WAIT: TimeDelta = TimeDelta::seconds(1);

/// What the queue keeps of a restore. The passcode is not among it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Params {
    pub(crate) items: Vec<RestoreItem>,
    pub(crate) conflict: Conflict,
    pub(crate) selection: Selection,
    /// The jobs that back up first what is there.
    pub(crate) safety: Vec<JobId>,
    /// A passcode came with the request, and there is a part that has none.
    #[serde(default)]
    pub(crate) passcode_ignored: bool,
    /// What will be done, written before it is done.
    #[serde(default)]
    pub(crate) plans: Vec<PartRestorePlan>,
}

/// `targets` are the sources that are written to.
pub(crate) fn scopes(parts: &[Part], targets: &[SourceId]) -> Vec<JobScope> {
    let mut seen = HashSet::new();
    let mut scopes = Vec::new();
    for part in parts {
        scopes.push(JobScope { resource: Resource::Part, id: part.id.0, exclusive: false });
        scopes.extend(part.vault.map(|vault| JobScope { resource: Resource::Vault, id: vault.0, exclusive: false }));
    }
    scopes.extend(targets.iter().map(|source| JobScope { resource: Resource::Source, id: source.0, exclusive: true }));
    scopes.retain(|scope| seen.insert((scope.resource, scope.id)));
    scopes
}

pub(crate) fn run(context: &Arc<RunContext>) -> JobResult<Ending> {
    let mut params: Params = context.params()?;
    for safety in &params.safety {
        if !safety_backup_is_done(context, *safety)? {
            return Ok(Ending::NotYet(context.inner.clock.now() + SAFETY_WAIT));
        }
    }
    if context.run().attempt > 1 && !params.plans.is_empty() {
        // An earlier attempt had begun to write; what it left is for the journal.
        let sentence = "The restore was interrupted, and is not tried again by itself.";
        return Err(Error::new(ErrorCode::Cancelled, sentence)
            .hint("Look at the job's log, then send it again.")
            .into());
    }
    if params.passcode_ignored {
        context.log("The backup was made without a passcode: the one that was given was not compared with anything.");
    }
    let mut resolved = Vec::new();
    for item in &params.items {
        resolved.push(context.wait_out(|| restore_part::resolve(&context.inner, item))?);
    }
    context.board().parts = (0, resolved.len() as u64);
    restore_damage::tell(context, &resolved)?;
    params.plans = context.step(VALIDATE, None, || plan_all(context, &params, &resolved))?;
    context.write_params(&params)?;
    context.point("planned");

    let total = resolved.iter().try_fold(0_u64, |sum, item| Some(sum + item.part.size?));
    let total = Progress { bytes_total: total, ..Progress::default() };
    let mut made = HashSet::new();
    for (index, item) in resolved.into_iter().enumerate() {
        context.check()?;
        let base = context.board().progress;
        let item = continued(context, item, &made)?;
        context.step(RESTORE, Some(item.part.source), || {
            restore_part::run(context, &params, index, &item, (base, total))
                .map_err(|failed| restore_damage::explained(context, &item.part, failed))
        })?;
        if let Some(name) = &item.new_source {
            restore_part::attach(context, name, &item)?;
            made.insert(name.clone());
        }
        context.board().parts.0 += 1;
    }
    context.step(CLEAN_UP, None, || {
        context.release_locks();
        Ok(())
    })?;
    Ok(Ending::Done)
}

fn safety_backup_is_done(context: &RunContext, safety: JobId) -> JobResult<bool> {
    let job = context
        .wait_out(|| context.inner.db.job(safety))?
        .ok_or_else(|| Error::not_found(Noun::Job, "The safety backup is no longer in the catalogue."))?;
    match job.state {
        JobState::Queued | JobState::Running => Ok(false),
        JobState::Succeeded => {
            context.step(SAFETY_BACKUP, None, || {
                context.log("The safety backup of what is there was made.");
                Ok(())
            })?;
            Ok(true)
        }
        JobState::Failed | JobState::Cancelled | JobState::Skipped => {
            let why = job.failure.map_or_else(|| "it was cancelled".to_owned(), |failure| failure.sentence);
            let sentence = format!("The safety backup could not be made, so nothing was restored: {why}");
            Err(Error::new(ErrorCode::NotReady(Noun::Backup), sentence).into())
        }
    }
}

/// Refuses what cannot work, before anything is touched.
fn plan_all(context: &Arc<RunContext>, params: &Params, resolved: &[Resolved]) -> JobResult<Vec<PartRestorePlan>> {
    let mut plans = Vec::new();
    let mut begun = HashSet::new();
    for (index, item) in resolved.iter().enumerate() {
        context.check()?;
        // A further part of the same target is planned when the one before it is there.
        if !begun.insert(item.target_key()) {
            continue;
        }
        let plan = restore_part::plan(context, params, index, item)
            .map_err(|failed| restore_damage::explained(context, &item.part, failed))?;
        for step in &plan.steps {
            context.log(format!("Plan for {}: {step}", item.part.source_name));
        }
        plans.push(plan);
    }
    Ok(plans)
}

/// A further part of a new source goes into the place that the first one has made.
fn continued(context: &RunContext, item: Resolved, made: &HashSet<String>) -> JobResult<Resolved> {
    match &item.item.into {
        RestoreInto::NewSource(name) if made.contains(name) => {
            let source = context
                .wait_out(|| context.inner.db.source_named(name))?
                .ok_or_else(|| Error::not_found(Noun::Source, format!("The source {name} is gone again.")))?;
            let into = RestoreInto::Source(source.id);
            let next = RestoreItem { part: item.item.part, into };
            context.wait_out(|| restore_part::resolve(&context.inner, &next))
        }
        RestoreInto::NewSource(_)
        | RestoreInto::InPlace
        | RestoreInto::Source(_)
        | RestoreInto::NewPath(_)
        | RestoreInto::NewDatabase(_) => Ok(item),
    }
}
