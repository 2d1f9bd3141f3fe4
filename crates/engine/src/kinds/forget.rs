//! Forget: removes one backup's snapshots from their vaults, and the backup from the catalogue. The job and the audit records stay.
//!
//! Scope: the backup's parts alone, their vaults shared. Steps: `forget`, `clean_up`.
//!
//! A backup under a passcode is deleted without it: its snapshot's file is removed by the name that the catalogue keeps. When the
//! last one is gone, the passcode's whole folder goes.

use std::sync::Arc;

use trivault_vault::{Id, Vault, backend::FileKind};

use super::{Ending, backup::CLEAN_UP, vaults};
use crate::{
    db::{JobScope, Resource, StoreRow, VaultRow},
    domain::{Backup, Error, JobFilter, JobKind, JobState, Noun, Part, VaultKind},
    failure::{JobResult, from_vault},
    run::RunContext,
    storage::catalogue,
};

const FORGET: &str = "forget";

pub(crate) fn scopes(parts: &[Part]) -> Vec<JobScope> {
    let mut scopes = Vec::new();
    for part in parts {
        scopes.push(JobScope { resource: Resource::Part, id: part.id.0, exclusive: true });
        let vault = part.vault.map(|vault| JobScope { resource: Resource::Vault, id: vault.0, exclusive: false });
        scopes.extend(vault.filter(|vault| !scopes.contains(vault)));
    }
    scopes
}

pub(crate) fn run(context: &Arc<RunContext>) -> JobResult<Ending> {
    let missing = || Error::not_found(Noun::Backup, "The backup is no longer in the catalogue.");
    let id = context.job().backup.ok_or_else(missing)?;
    // An earlier attempt may have come to the end.
    let Some(backup) = context.wait_out(|| context.inner.db.backup(id))? else { return Ok(Ending::Done) };
    context.step(FORGET, None, || {
        for part in &backup.parts {
            context.check()?;
            forget_part(context, &backup, part)?;
        }
        Ok(())
    })?;
    context.step(CLEAN_UP, None, || {
        context.release_locks();
        context.check_lease()
    })?;
    Ok(Ending::BackupForgotten)
}

pub(super) fn forget_part(context: &RunContext, backup: &Backup, part: &Part) -> JobResult<()> {
    if part.vault.is_none() {
        return Ok(());
    }
    let Some(snapshot) = part.snapshot.as_deref().and_then(|id| id.parse::<Id>().ok()) else { return Ok(()) };
    let (store, row) = context.wait_out(|| vaults::reading_vault(&context.inner, part))?;
    if store.store.read_only {
        let sentence = format!("The store {} is read-only; nothing can be deleted there.", store.store.name);
        return Err(Error::new(crate::domain::ErrorCode::NotReady(Noun::Store), sentence).into());
    }
    vaults::check_owner(context, &store)?;
    match row.vault.kind {
        VaultKind::Server => {
            let vault: Vault = context.inner.storage.server_vault(&store, &row)?;
            context.lock_vault(row.vault.id, &vault)?;
            vault.forget(&snapshot)?;
        }
        VaultKind::Passcode => forget_protected(context, backup, part, (&store, &row), &snapshot)?,
    }
    context.point("removed");
    context.log(format!("Removed snapshot {snapshot} of {}; its bytes are freed by the next prune.", part.source_name));
    Ok(())
}

fn forget_protected(
    context: &RunContext,
    backup: &Backup,
    part: &Part,
    (store, row): (&StoreRow, &VaultRow),
    snapshot: &Id,
) -> JobResult<()> {
    let root = context.inner.storage.root_of(store)?;
    let backend = root.vault(&row.vault.path).map_err(from_vault)?;
    backend.remove(FileKind::Snapshot, &snapshot.to_hex())?;
    if let Some(server) = context.wait_out(|| context.inner.db.server_vault(store.store.id))? {
        catalogue::forget_part(&context.inner, store, &server, part.id)?;
    }
    if !backend.list(FileKind::Snapshot)?.is_empty() || protected_work_goes_on(context, backup)? {
        return Ok(());
    }
    context.inner.storage.let_go(row.vault.id);
    root.remove_tree(&row.vault.path)?;
    context.log("That was the last backup under its passcode in this store; all its bytes are gone.");
    Ok(())
}

/// Whether a job may hold the folder: its passcode is not known before it opens it.
fn protected_work_goes_on(context: &RunContext, backup: &Backup) -> JobResult<bool> {
    let filter = JobFilter {
        store: Some(backup.store),
        kinds: vec![JobKind::Backup, JobKind::Restore],
        states: vec![JobState::Queued, JobState::Running],
        ..JobFilter::default()
    };
    Ok(!context.wait_out(|| context.inner.db.jobs(&filter))?.is_empty())
}
