//! Forget: removes one backup's snapshots from their vaults, and the backup from the catalogue. The job and the audit records stay.
//!
//! Scope: the backup's parts alone, their vaults shared. Steps: `forget`, `clean_up`.
//!
//! A backup under a passcode is deleted without it: its snapshot's file is removed by the name that the catalogue keeps. When the
//! last one is gone, the passcode's whole folder goes. That takes a while, so the vault is retired first: no backup finds it meanwhile,
//! and what an interrupted removal leaves is known to be nobody's (`retired_vaults`).

use std::sync::Arc;

use trivault_vault::{Id, Vault, backend::FileKind};

use super::{Ending, backup::CLEAN_UP, vaults};
use crate::{
    db::{JobScope, Resource, StoreRow, VaultRow},
    domain::{Error, Noun, Part, VaultKind},
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
            forget_part(context, part)?;
        }
        Ok(())
    })?;
    context.step(CLEAN_UP, None, || {
        context.release_locks();
        context.check_lease()
    })?;
    Ok(Ending::BackupForgotten)
}

pub(super) fn forget_part(context: &RunContext, part: &Part) -> JobResult<()> {
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
            begin_removal(context, part)?;
            vault.forget(&snapshot)?;
        }
        VaultKind::Passcode => forget_protected(context, part, (&store, &row), &snapshot)?,
    }
    context.point("removed");
    context.log(format!("Removed snapshot {snapshot} of {}; its bytes are freed by the next prune.", part.source_name));
    Ok(())
}

/// From here on nothing may count on the part, also when this job is stopped before the catalogue has let go of it.
fn begin_removal(context: &RunContext, part: &Part) -> JobResult<()> {
    let now = context.inner.clock.now();
    context.fenced(context.wait_out(|| context.inner.db.begin_removal(context.run(), part.id, now))?)?;
    context.point("removing");
    Ok(())
}

/// A vault that is retired has lost every snapshot that counted, and is about to lose what is left.
fn forget_protected(
    context: &RunContext,
    part: &Part,
    (store, row): (&StoreRow, &VaultRow),
    snapshot: &Id,
) -> JobResult<()> {
    let (storage, is_retired) = (&context.inner.storage, row.retired_at.is_some());
    let root = storage.root_of(store)?;
    let backend = root.vault(&row.vault.path).map_err(from_vault)?;
    begin_removal(context, part)?;
    if !is_retired {
        backend.remove(FileKind::Snapshot, &snapshot.to_hex())?;
    }
    if let Some(server) = context.wait_out(|| context.inner.db.server_vault(store.store.id))? {
        catalogue::forget_part(&context.inner, store, &server, part.id)?;
    }
    let is_left_by_all = is_retired || backend.list(FileKind::Snapshot)?.is_empty() && retire(context, row)?;
    if !is_left_by_all {
        return Ok(());
    }
    context.point("retired");
    storage.let_go(row.vault.id);
    root.remove_tree(&row.vault.path)?;
    context.log("That was the last backup under its passcode in this store; all its bytes are gone.");
    Ok(())
}

/// `false` while another job works in the vault, or another backup in it counts. Otherwise nobody finds it from now on: a backup under its
/// passcode that begins before the folder is gone, or was begun and has not looked for its vault yet, makes another one.
fn retire(context: &RunContext, row: &VaultRow) -> JobResult<bool> {
    let (vault, now) = (row.vault.id, context.inner.clock.now());
    context.fenced(context.wait_out(|| context.inner.db.retire_passcode_vault(context.run(), vault, now))?)
}
