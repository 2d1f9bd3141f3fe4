//! Small snapshots in a store's own vault that are not backups: entries of passcode backups, and the gateway's configuration with
//! the history of its jobs.

use std::{sync::Arc, time::Duration};

use trivault_vault::{
    Capture, Cutting, FileOptions, FileRecord, Id, LockMode, NodeKind, NodeMeta, Snapshot, SnapshotDraft, Timestamp,
    Vault, VerifyOptions,
};

use crate::{
    capture::{Tags, VaultEvents, instant, program},
    db::{StoreRow, VaultRow},
    domain::{PartId, Result},
    failure::from_vault,
    recovery,
    service::Inner,
};

/// Host of entries of passcode backups.
pub(crate) const CATALOGUE_HOST: &str = "trivault-catalogue";
/// Host of the configuration.
pub(crate) const CONFIGURATION_HOST: &str = "trivault-configuration";
/// Of an entry.
pub(crate) const ENTRY_FILE: &str = "entry.json";
/// Of the configuration.
pub(crate) const CONFIGURATION_FILE: &str = "configuration.json";
pub(crate) const HISTORY_FILE: &str = "history.jsonl";
/// Captures of the configuration that a store keeps: the newest says all, the one before it stands in where that is damaged.
const KEPT: usize = 2;
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Lists a part under a passcode in the store's own vault; `record` is what the catalogue knows of it.
pub(crate) fn record_part(
    inner: &Inner,
    store: &StoreRow,
    server_vault: &VaultRow,
    tags: &Tags,
    source: &str,
    record: &[u8],
) -> Result<()> {
    let vault = inner.storage.server_vault(store, server_vault)?;
    let tags = tags.clone().with("entry", "protected").with("source_name", source);
    snapshot(inner, &vault, CATALOGUE_HOST, "/catalogue", Some(&tags), &mut |files| {
        files.add(ENTRY_FILE, &mut |out| out(record))
    })?;
    Ok(())
}

/// Removes the entries of a part under a passcode.
pub(crate) fn forget_part(inner: &Inner, store: &StoreRow, server_vault: &VaultRow, part: PartId) -> Result<()> {
    let vault = inner.storage.server_vault(store, server_vault)?;
    let wanted = part.to_string();
    let is_entry = |snapshot: &Snapshot| {
        snapshot.record.hostname == CATALOGUE_HOST
            && Tags::of(&snapshot.record.tags).is_some_and(|tags| tags.get("part") == Some(wanted.as_str()))
    };
    let mut entries = vault.snapshots().map_err(from_vault)?.snapshots;
    entries.retain(is_entry);
    forget(&vault, &entries, LOCK_WAIT)
}

/// Removes snapshots under a lock: somebody who has the vault for himself, as the stock `restic check` has, must not see them vanish.
///
/// # Errors
/// When the lock cannot be had in time, and as the store has them.
pub(crate) fn forget(vault: &Vault, snapshots: &[Snapshot], wait: Duration) -> Result<()> {
    if snapshots.is_empty() {
        return Ok(());
    }
    let lock = vault.lock(LockMode::Shared, wait).map_err(from_vault)?;
    let forgotten = snapshots.iter().try_for_each(|snapshot| vault.forget(&snapshot.id));
    let released = lock.release();
    forgotten.and(released).map_err(from_vault)
}

/// Captures the gateway's configuration and the store's history; older captures are forgotten but for the last [`KEPT`].
pub(crate) fn record_configuration(
    inner: &Inner,
    store: &StoreRow,
    server_vault: &VaultRow,
    json: &[u8],
) -> Result<Id> {
    let vault = inner.storage.server_vault(store, server_vault)?;
    let id = snapshot(inner, &vault, CONFIGURATION_HOST, "/configuration", None, &mut |files| {
        files.add(CONFIGURATION_FILE, &mut |out| out(json))?;
        files.add(HISTORY_FILE, &mut |out| recovery::write_history(inner, store.store.id, out))
    })?;
    let mut superseded = vault.snapshots().map_err(from_vault)?.snapshots;
    superseded.retain(|snapshot| snapshot.record.hostname == CONFIGURATION_HOST);
    superseded.truncate(superseded.len().saturating_sub(KEPT));
    superseded.retain(|snapshot| snapshot.id != id);
    inner.point("configuration.superseded");
    if let Err(error) = forget(&vault, &superseded, Duration::ZERO) {
        // The capture is there. They go with the next one.
        tracing::debug!(store.id = %store.store.id, %error, "superseded captures of the configuration stay for now");
    }
    Ok(id)
}

/// Gives the bytes of a file, piece by piece, to whom it is given.
type Content<'c> = &'c mut dyn FnMut(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>;

/// The files of a snapshot on their way.
struct Files<'f> {
    capture: &'f Capture,
    stored: Vec<(&'static str, FileRecord)>,
}

impl Files<'_> {
    fn add(&mut self, name: &'static str, content: Content<'_>) -> Result<()> {
        let options = FileOptions { cutting: Cutting::ContentDefined, whole_digest: false };
        let mut stream = self.capture.file(options).map_err(from_vault)?;
        content(&mut |bytes| stream.write(bytes).map_err(from_vault))?;
        self.stored.push((name, stream.finish().map_err(from_vault)?));
        Ok(())
    }
}

/// Some files in one snapshot, in the order of their names.
fn snapshot(
    inner: &Inner,
    vault: &Vault,
    host: &str,
    path: &str,
    tags: Option<&Tags>,
    fill: &mut dyn FnMut(&mut Files<'_>) -> Result<()>,
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
        let capture = vault.capture(draft, None, Arc::new(events)).map_err(from_vault)?;
        let mut files = Files { capture: &capture, stored: Vec::new() };
        fill(&mut files)?;
        let stored = files.stored;
        let at = instant(now);
        let at = Timestamp { seconds: at.seconds, nanoseconds: at.nanoseconds };
        inner.point(&format!("{}.stored", path.trim_start_matches('/')));
        let mut root = capture.directory();
        for (name, record) in &stored {
            root.add_file(name.as_bytes(), &NodeMeta::synthetic(NodeKind::File, at), record).map_err(from_vault)?;
        }
        let root = root.finish().map_err(from_vault)?;
        capture.commit(root, &mut || Ok(()), VerifyOptions::default()).map_err(from_vault)
    })();
    inner.point(&format!("{}.written", path.trim_start_matches('/')));
    let released = lock.release();
    let committed = written?;
    released.map_err(from_vault)?;
    Ok(committed.snapshot)
}
