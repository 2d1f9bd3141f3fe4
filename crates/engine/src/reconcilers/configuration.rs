//! The gateway's own configuration, captured into each store after it changes, so that a store alone can rebuild a server.

use std::{collections::BTreeSet, sync::Arc};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    domain::{Plan, Repository, RepositoryFilter, Result, Source, Store, StoreId, User},
    service::{Inner, blocking},
    storage::catalogue,
};

/// Captures of the configuration that a store keeps: the newest says all.
const KEPT: usize = 1;

/// What the pass before saw: a configuration is captured when it has come to rest.
#[derive(Debug, Default)]
pub(super) struct Seen {
    digest: Option<String>,
    /// Captured without waiting for a second look.
    at_once: bool,
}

impl Seen {
    pub(super) fn settled() -> Self {
        Self { digest: None, at_once: true }
    }
}

/// Secrets are not among it: neither passwords and their hashes, nor credentials, nor tokens.
#[derive(Serialize)]
struct Configuration {
    format: u32,
    installation: uuid::Uuid,
    stores: Vec<Store>,
    sources: Vec<Source>,
    repositories: Vec<Repository>,
    plans: Vec<Plan>,
    users: Vec<User>,
}

pub(super) async fn capture(inner: &Arc<Inner>, seen: &mut Seen) -> Result<()> {
    let configuration = gather(inner).await?;
    let stores: Vec<StoreId> =
        configuration.stores.iter().filter(|store| !store.read_only).map(|store| store.id).collect();
    let json = serde_json::to_vec_pretty(&configuration)
        .map_err(|error| crate::domain::Error::internal("The configuration could not be written.").because(error))?;
    let digest = hex::encode(Sha256::digest(&json));
    let rests = seen.at_once || seen.digest.as_ref() == Some(&digest);
    seen.digest = Some(digest.clone());
    if !rests {
        return Ok(());
    }
    for store in stores {
        let setting = format!("configuration-captured:{store}");
        if inner.db.setting(&setting).await?.as_deref() == Some(digest.as_bytes()) {
            continue;
        }
        let (Some(row), Some(vault)) = (inner.db.store_row(store).await?, inner.db.server_vault(store).await?) else {
            continue;
        };
        let (shared, json) = (Arc::clone(inner), json.clone());
        inner.point("configuration");
        let captured = blocking(move || catalogue::record_configuration(&shared, &row, &vault, &json, KEPT)).await;
        match captured {
            Ok(_) => {
                inner.point("configuration.captured");
                inner.db.put_setting(&setting, digest.as_bytes(), inner.clock.now()).await?;
            }
            // One store that is away must not keep the others from it.
            Err(error) => tracing::warn!(store.id = %store, %error, "the configuration could not be captured"),
        }
    }
    Ok(())
}

async fn gather(inner: &Inner) -> Result<Configuration> {
    let repositories = inner.db.repositories(&RepositoryFilter::default()).await?;
    let owners: BTreeSet<&str> = repositories.iter().map(|repository| repository.owner.as_str()).collect();
    let mut plans = Vec::new();
    for owner in owners {
        plans.extend(inner.db.plans(owner).await?);
    }
    Ok(Configuration {
        format: 1,
        installation: inner.installation,
        stores: inner.db.stores().await?,
        sources: inner.db.sources().await?,
        plans,
        users: inner.db.users().await?,
        repositories,
    })
}
