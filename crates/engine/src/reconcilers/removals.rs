//! Removals that did not come to their end, because they were cancelled, failed, or died for good: whether the snapshot is gone.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use super::vanished::{mark_lost, present};
use crate::{
    db::Resource,
    domain::{Result, VaultId},
    service::Inner,
};

/// A snapshot that is gone makes its part lost; one that is there counts again.
pub(super) async fn look_into(inner: &Arc<Inner>) -> Result<()> {
    let mut snapshots: HashMap<VaultId, HashSet<String>> = HashMap::new();
    for removal in inner.db.parts_being_removed().await? {
        let part = &removal.part;
        if !inner.db.live_jobs_on(Resource::Part, part.id.0).await?.is_empty() {
            continue;
        }
        let (Some(vault), Some(snapshot)) = (part.vault, &part.snapshot) else { continue };
        let there = match snapshots.entry(vault) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(unknown) => {
                let Some(row) = inner.db.vault_row(vault).await? else { continue };
                match present(inner, &row).await {
                    Ok(present) => unknown.insert(present),
                    // An unreachable store says nothing about what it holds: nothing counts on the part until it does.
                    Err(error) => {
                        tracing::warn!(vault.id = %vault, %error, "whether a snapshot was removed could not be looked up");
                        continue;
                    }
                }
            }
        };
        if there.contains(snapshot) {
            tracing::info!(part.id = %part.id, "a removal did not come to its end; the snapshot is there and counts again");
            inner.db.end_removal(&removal).await?;
        } else {
            mark_lost(inner, part, snapshot).await?;
        }
    }
    Ok(())
}
