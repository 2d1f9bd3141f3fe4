//! Small snapshots in a store's own vault that are not backups: entries of passcode backups, and the gateway's configuration.

use std::sync::Arc;

use trivault_vault::{
    Cutting, FileOptions, Id, LockMode, NodeKind, NodeMeta, SnapshotDraft, Timestamp, Vault, VerifyOptions,
};

use crate::{
    capture::{Tags, VaultEvents, instant, program},
    db::{StoreRow, VaultRow},
    domain::{PartId, Result},
    failure::from_vault,
    service::Inner,
};

/// Host of entries of passcode backups.
const CATALOGUE_HOST: &str = "trivault-catalogue";
/// Host of the configuration.
const CONFIGURATION_HOST: &str = "trivault-configuration";
const LOCK_WAIT: std::time::Duration = std::time::Duration::from_secs(10);

/// Lists a part under a passcode in the store's own vault.
pub(crate) fn record_part(
    inner: &Inner,
    store: &StoreRow,
    server_vault: &VaultRow,
    tags: &Tags,
    source: &str,
) -> Result<()> {
    let vault = inner.storage.server_vault(store, server_vault)?;
    let tags = tags.clone().with("entry", "protected").with("source_name", source);
    write(inner, &vault, CATALOGUE_HOST, "/catalogue", "entry.txt", tags.to_tag().as_bytes(), Some(&tags))?;
    Ok(())
}

/// Removes the entries of a part under a passcode.
pub(crate) fn forget_part(inner: &Inner, store: &StoreRow, server_vault: &VaultRow, part: PartId) -> Result<()> {
    let vault = inner.storage.server_vault(store, server_vault)?;
    let wanted = part.to_string();
    for snapshot in vault.snapshots().map_err(from_vault)?.snapshots {
        let entry = snapshot.record.hostname == CATALOGUE_HOST
            && Tags::of(&snapshot.record.tags).is_some_and(|tags| tags.get("part") == Some(wanted.as_str()));
        if entry {
            vault.forget(&snapshot.id).map_err(from_vault)?;
        }
    }
    Ok(())
}

/// Captures the gateway's configuration; older captures of it are forgotten but for the last `keep`.
pub(crate) fn record_configuration(
    inner: &Inner,
    store: &StoreRow,
    server_vault: &VaultRow,
    json: &[u8],
    keep: usize,
) -> Result<Id> {
    let vault = inner.storage.server_vault(store, server_vault)?;
    let id = write(inner, &vault, CONFIGURATION_HOST, "/configuration", "configuration.json", json, None)?;
    let listed = vault.snapshots().map_err(from_vault)?.snapshots;
    let captured: Vec<_> =
        listed.into_iter().filter(|snapshot| snapshot.record.hostname == CONFIGURATION_HOST).collect();
    let superseded = captured.len().saturating_sub(keep);
    for snapshot in captured.into_iter().take(superseded).filter(|snapshot| snapshot.id != id) {
        vault.forget(&snapshot.id).map_err(from_vault)?;
    }
    Ok(id)
}

/// One file in one snapshot.
fn write(
    inner: &Inner,
    vault: &Vault,
    host: &str,
    path: &str,
    name: &str,
    bytes: &[u8],
    tags: Option<&Tags>,
) -> Result<Id> {
    let now = inner.clock.now();
    let lock = vault.lock(LockMode::Shared, LOCK_WAIT).map_err(from_vault)?;
    let draft = SnapshotDraft {
        time: now,
        hostname: host.to_owned(),
        username: "trivault".to_owned(),
        paths: vec![path.to_owned()],
        tags: tags.map(Tags::to_tag).into_iter().collect(),
        program_version: program(),
    };
    let events = VaultEvents { stored: Arc::new(|_| {}), is_cancelled: Arc::new(|| false) };
    let written = (|| {
        let capture = vault.capture(draft, None, Arc::new(events))?;
        let mut stream = capture.file(FileOptions { cutting: Cutting::ContentDefined, whole_digest: false })?;
        stream.write(bytes)?;
        let record = stream.finish()?;
        let at = instant(now);
        let at = Timestamp { seconds: at.seconds, nanoseconds: at.nanoseconds };
        inner.point(&format!("{name}.stored"));
        let mut root = capture.directory();
        root.add_file(name.as_bytes(), &NodeMeta::synthetic(NodeKind::File, at), &record)?;
        let root = root.finish()?;
        capture.commit(root, &mut || Ok(()), VerifyOptions::default())
    })();
    inner.point(&format!("{name}.written"));
    let released = lock.release();
    let committed = written.map_err(from_vault)?;
    released.map_err(from_vault)?;
    Ok(committed.snapshot)
}
