//! Snapshots that somebody has removed behind our back (a stock `restic forget`): their parts are marked lost, loudly.

use std::{collections::HashSet, sync::Arc};

use trivault_vault::backend::FileKind;

use crate::{
    db::{Resource, VaultRow},
    domain::{Part, Result},
    failure::from_vault,
    service::{Inner, blocking},
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
    if parts.is_empty() {
        return Ok(());
    }
    let present = present(inner, row).await?;
    for part in parts {
        let Some(snapshot) = &part.snapshot else { continue };
        if present.contains(snapshot) || !inner.db.live_jobs_on(Resource::Part, part.id.0).await?.is_empty() {
            continue;
        }
        mark_lost(inner, &part, snapshot).await?;
    }
    Ok(())
}

/// The names of a vault's snapshots; without the passcode, too.
async fn present(inner: &Arc<Inner>, row: &VaultRow) -> Result<HashSet<String>> {
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

async fn mark_lost(inner: &Inner, part: &Part, snapshot: &str) -> Result<()> {
    let sentence = format!("The snapshot {snapshot} of {} has vanished from its store.", part.source_name);
    if inner.db.mark_part_lost(part.id, &sentence, inner.clock.now()).await? {
        tracing::error!(part.id = %part.id, backup.id = %part.backup, "{sentence}");
    }
    Ok(())
}
