//! The gateway's own configuration and the history of its jobs, captured into each store after they change, so that a store alone
//! can rebuild a server.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    domain::{Result, Store, StoreId},
    kinds::{give_up, has_another_owner},
    recovery::{Gathered, gather},
    service::{Inner, blocking},
    storage::catalogue,
};

/// While only jobs come and go, a store's copy is this old at most before it is written again (once things are at rest).
const HISTORY_EVERY: Duration = Duration::from_secs(60);

/// What the pass before saw: a configuration is captured when it has come to rest.
#[derive(Debug, Default)]
pub(super) struct Seen {
    mark: Option<(i64, i64)>,
    /// Everything of this mark is captured.
    captured: Option<(i64, i64)>,
    /// When this process wrote last.
    written: Option<Instant>,
    /// Captured without waiting for a second look.
    at_once: bool,
}

impl Seen {
    pub(super) fn settled() -> Self {
        Self { at_once: true, ..Self::default() }
    }
}

/// What a store's copy was made of: the configuration's digest, and the mark of the history.
fn state_of(digest: &str, mark: (i64, i64)) -> String {
    format!("{digest} {} {}", mark.0, mark.1)
}

pub(super) async fn capture(inner: &Arc<Inner>, seen: &mut Seen) -> Result<()> {
    let mark = inner.db.capture_mark().await?;
    let rests = seen.at_once || seen.mark == Some(mark);
    seen.mark = Some(mark);
    if !rests || seen.captured == Some(mark) {
        return Ok(());
    }
    let Gathered { configuration, digest } = gather(inner).await?;
    let stores: Vec<Store> = inner.db.stores().await?.into_iter().filter(|store| !store.read_only).collect();
    let json = serde_json::to_vec_pretty(&configuration).map_err(crate::recovery::unwritable)?;
    let is_recent = !seen.at_once && seen.written.is_some_and(|at| at.elapsed() < HISTORY_EVERY);
    let mut complete = true;
    for store in stores {
        let setting = format!("configuration-captured:{}", store.id);
        let standing = inner.db.setting(&setting).await?.unwrap_or_default();
        let state = state_of(&digest, mark);
        if standing == state.as_bytes() {
            continue;
        }
        if is_recent && standing.starts_with(digest.as_bytes()) {
            complete = false;
            continue;
        }
        inner.point("configuration");
        match write(inner, store.id, json.clone()).await {
            Ok(()) => {
                inner.point("configuration.captured");
                inner.db.put_setting(&setting, state.as_bytes(), inner.clock.now()).await?;
                seen.written = Some(Instant::now());
            }
            Err(error) => {
                // One store that is away must not keep the others from it.
                complete = false;
                tracing::warn!(store.id = %store.id, %error, "the configuration could not be captured");
            }
        }
    }
    seen.captured = complete.then_some(mark);
    Ok(())
}

async fn write(inner: &Arc<Inner>, store: StoreId, json: Vec<u8>) -> Result<()> {
    let (Some(row), Some(vault)) = (inner.db.store_row(store).await?, inner.db.server_vault(store).await?) else {
        return Ok(());
    };
    let (shared, looked_at) = (Arc::clone(inner), row.clone());
    if blocking(move || has_another_owner(&shared, &looked_at)).await? {
        return give_up(inner, &row).await;
    }
    let shared = Arc::clone(inner);
    blocking(move || catalogue::record_configuration(&shared, &row, &vault, &json).map(drop)).await
}
