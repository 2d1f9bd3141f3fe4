//! The kinds of work, one file each: parameters, lock scope, steps, run. Every step can run twice.
//!
//! Which kinds may run at the same time follows from their scopes; `docs/locks.md` shows it as a table that a test compares with
//! the scopes below.

pub(crate) mod backup;
mod drivers;
pub(crate) mod forget;
mod maintenance_events;
pub(crate) mod merge;
mod part_capture;
mod part_record;
pub(crate) mod prune;
pub(crate) mod restore;
mod restore_damage;
mod restore_journal;
pub(crate) mod restore_part;
mod retired_vaults;
mod vaults;
pub(crate) mod verify;
mod verify_at_rest;
mod verify_parts;

#[cfg(test)]
pub(crate) use self::restore_journal::leave as leave_in_journal;
use std::sync::Arc;

use chrono::{DateTime, Utc};

pub(crate) use self::{
    drivers::driver_for,
    restore_journal::finish_interrupted,
    retired_vaults::remove_retired,
    vaults::{give_up, has_another_owner, open_for_reading, reading_vault},
    verify::share_of,
};
use crate::{
    domain::{Error, ErrorCode, JobKind},
    failure::JobResult,
    run::RunContext,
};

/// How an attempt that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Done,
    /// The job's backup is gone from its vaults and leaves the catalogue.
    BackupForgotten,
    /// Something that it waits for is not there yet.
    NotYet(DateTime<Utc>),
}

/// Runs one attempt. Blocks.
pub(crate) fn run(context: &Arc<RunContext>) -> JobResult<Ending> {
    let kind = context.job().kind;
    let outcome = match kind {
        JobKind::Backup => backup::run(context),
        JobKind::Restore => restore::run(context),
        JobKind::Forget => forget::run(context),
        JobKind::Merge => merge::run(context),
        JobKind::Verify => verify::run(context),
        JobKind::Prune => prune::run(context),
        JobKind::Import | JobKind::Export | JobKind::Drill => {
            let sentence = format!("This version of Trivault cannot run jobs of the kind {kind:?}.");
            Err(Error::new(ErrorCode::Unsupported, sentence).into())
        }
    };
    if let (Err(failed), JobKind::Backup | JobKind::Restore) = (&outcome, kind)
        && failed.error.code == ErrorCode::Damaged
    {
        // Until the damaged packs are known and set aside, the next backup would meet them again.
        verify_parts::look_for_the_cause_in_store(context);
    }
    outcome
}
