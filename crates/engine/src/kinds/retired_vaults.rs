//! What is left of retired vaults: a forget retires the vault of a passcode and then removes its folder, and may die or lose the store in
//! between. What is left is removed here, again and again until nothing comes back; then the catalogue lets go of the vault.
//!
//! Nothing but the folder of a vault that the catalogue calls retired is touched: a folder that it does not know may be anybody's.

use std::sync::Arc;

use chrono::TimeDelta;

use crate::{
    db::{StoreRow, VaultRow},
    domain::Result,
    failure::from_vault,
    service::{Inner, blocking},
    storage::state_file::StoreState,
};

/// How long a retired vault stays in the catalogue at least: an attempt that has lost its job and does not know it may still write into its
/// folder, and that is removed too.
const STRUCK_OFF_AFTER: TimeDelta = TimeDelta::days(1);

pub(crate) async fn remove_retired(inner: &Arc<Inner>) -> Result<()> {
    for row in inner.db.retired_vaults().await? {
        let vault = row.vault.id;
        if let Err(error) = remove(inner, row).await {
            // A store that is away now is there at another time.
            tracing::warn!(vault.id = %vault, %error, "what is left of a retired vault could not be removed");
        }
    }
    Ok(())
}

async fn remove(inner: &Arc<Inner>, row: VaultRow) -> Result<()> {
    let Some(store) = inner.db.store_row(row.vault.store).await? else { return Ok(()) };
    let (shared, vault) = (Arc::clone(inner), row.vault.id);
    if blocking(move || remove_folder(&shared, &store, &row)).await? {
        inner.db.strike_off_vault(vault, inner.clock.now() - STRUCK_OFF_AFTER).await?;
    }
    Ok(())
}

/// `false` for a store that is not ours, or not there: an unmounted disk shows an empty folder, in which nothing of a vault is left.
fn remove_folder(inner: &Inner, store: &StoreRow, row: &VaultRow) -> Result<bool> {
    let root = inner.storage.root_of(store)?;
    let is_ours = StoreState::read(root.as_ref())?.is_some_and(|state| state.installation == inner.installation);
    if !is_ours || store.store.read_only {
        return Ok(false);
    }
    inner.storage.let_go(row.vault.id);
    root.remove_tree(&row.vault.path).map_err(from_vault)?;
    Ok(true)
}
