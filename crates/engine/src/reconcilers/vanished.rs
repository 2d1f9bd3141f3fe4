//! The catalogue against the snapshots of its vaults. Snapshots that somebody has removed behind our back (a stock `restic forget`)
//! make their parts lost, loudly, until they are there again. Snapshots of attempts that died before they could report, and that no later attempt took over,
//! are forgotten. Snapshots of others are left alone.

use std::{collections::HashSet, sync::Arc};

use trivault_vault::{Id, Snapshot, backend::FileKind};

use crate::{
    capture::Tags,
    db::{Resource, VaultRow},
    domain::{Part, PartId, Result, VaultKind},
    failure::from_vault,
    kinds::open_for_reading,
    service::{Inner, blocking},
    storage::catalogue,
};

pub(super) async fn mark(inner: &Arc<Inner>) -> Result<()> {
    for vault in inner.db.vaults().await? {
        let Some(row) = inner.db.vault_row(vault.id).await? else { continue };
        if let Err(error) = look_through(inner, &row).await {
            // An unreachable store says nothing about what it holds.
            tracing::warn!(vault.id = %vault.id, %error, "the snapshots of a vault could not be listed");
        }
    }
    Ok(())
}

async fn look_through(inner: &Arc<Inner>, row: &VaultRow) -> Result<()> {
    // The catalogue first: a part stands there only after its snapshot does.
    let parts = inner.db.parts_in_vault(row.vault.id).await?;
    if parts.is_empty() && row.vault.kind == VaultKind::Passcode {
        return Ok(());
    }
    let mut present = present(inner, row).await?;
    for part in &parts {
        let Some(snapshot) = &part.snapshot else { continue };
        if present.contains(snapshot) || !inner.db.live_jobs_on(Resource::Part, part.id.0).await?.is_empty() {
            continue;
        }
        mark_lost(inner, part, snapshot).await?;
    }
    for part in inner.db.lost_parts_in_vault(row.vault.id).await? {
        if part.snapshot.as_ref().is_some_and(|snapshot| present.contains(snapshot)) {
            mark_found(inner, &part).await?;
        }
    }
    present.retain(|name| !parts.iter().any(|part| part.snapshot.as_ref() == Some(name)));
    forget_leftovers(inner, row, present).await
}

/// Of snapshots that the catalogue does not know in this vault, forgets those whose part has ended without them.
async fn forget_leftovers(inner: &Arc<Inner>, row: &VaultRow, unknown: HashSet<String>) -> Result<()> {
    let Some(store) = inner.db.store_row(row.vault.store).await? else { return Ok(()) };
    if unknown.is_empty() || row.vault.kind == VaultKind::Passcode || store.store.read_only {
        return Ok(());
    }
    let (shared, row) = (Arc::clone(inner), row.clone());
    let handle = tokio::runtime::Handle::current();
    blocking(move || {
        let vault = open_for_reading(&shared, &store, &row, None)?;
        let mut leftovers = Vec::new();
        for id in unknown.iter().filter_map(|name| name.parse::<Id>().ok()) {
            // It may have gone meanwhile; a damaged one is not ours to judge.
            let Ok(snapshot) = vault.snapshot(&id) else { continue };
            let Some(part) = part_of(&snapshot) else { continue };
            if handle.block_on(is_leftover(&shared, part, &id.to_hex()))? {
                tracing::warn!(part.id = %part, snapshot = %id, "forgets a snapshot that an attempt left behind");
                leftovers.push(snapshot);
            }
        }
        catalogue::forget(&vault, &leftovers, catalogue::LOCK_WAIT)
    })
    .await
}

/// The part that a snapshot of ours holds. Entries of passcode backups name a part and hold none.
fn part_of(snapshot: &Snapshot) -> Option<PartId> {
    let tags = Tags::of(&snapshot.record.tags)?;
    match tags.get("entry") {
        None => tags.get("part")?.parse().ok().map(PartId),
        Some(_) => None,
    }
}

/// A part that the catalogue does not know may belong to another installation, or to a catalogue that was lost: it stays.
async fn is_leftover(inner: &Inner, part: PartId, snapshot: &str) -> Result<bool> {
    let Some(backup) = inner.db.backup_of_part(part).await? else { return Ok(false) };
    let Some(job) = inner.db.job(backup.job).await? else { return Ok(false) };
    let counts = backup.parts.iter().any(|part| part.snapshot.as_deref() == Some(snapshot));
    Ok(job.state.is_terminal() && !counts && !inner.work.is_running(job.id))
}

/// The names of a vault's snapshots; without the passcode, too.
pub(super) async fn present(inner: &Arc<Inner>, row: &VaultRow) -> Result<HashSet<String>> {
    if row.retired_at.is_some() {
        return Ok(HashSet::new());
    }
    let Some(store) = inner.db.store_row(row.vault.store).await? else { return Ok(HashSet::new()) };
    let (inner, path) = (Arc::clone(inner), row.vault.path.clone());
    blocking(move || {
        let backend = inner.storage.root_of(&store)?.vault(&path).map_err(from_vault)?;
        // An unmounted disk shows an empty folder: the vault itself must be there before its emptiness means anything.
        backend.length(FileKind::Config, "config").map_err(from_vault)?;
        Ok(backend.list(FileKind::Snapshot).map_err(from_vault)?.into_iter().map(|entry| entry.name).collect())
    })
    .await
}

/// Somebody has put it back, or the folder was not whole when it was looked at.
async fn mark_found(inner: &Inner, part: &Part) -> Result<()> {
    if !inner.db.live_jobs_on(Resource::Part, part.id.0).await?.is_empty() {
        return Ok(());
    }
    if inner.db.mark_part_found(part.id).await? {
        tracing::warn!(part.id = %part.id, backup.id = %part.backup, source = part.source_name,
            "a snapshot that had vanished is there again; the next verification says whether its bytes are");
    }
    Ok(())
}

pub(super) async fn mark_lost(inner: &Inner, part: &Part, snapshot: &str) -> Result<()> {
    let sentence = format!("The snapshot {snapshot} of {} has vanished from its store.", part.source_name);
    if inner.db.mark_part_lost(part.id, &sentence, inner.clock.now()).await? {
        tracing::error!(part.id = %part.id, backup.id = %part.backup, "{sentence}");
    }
    Ok(())
}
