//! Writing what a store tells into an empty catalogue, and taking the store over.
//!
//! Each step leaves what stands as it is, so that a recovery that was killed is run again; the store's own record changes last.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use chrono::Utc;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::{
    KNOWN_AS, PREDECESSORS, PartRecord, Recovery, RecoverySummary, UNFINISHED, configuration,
    found::FoundPart,
    history, placing,
    revive::{Told, revive, unknown_source},
};
use crate::{
    capture::StoredPart,
    db::{AuditEntry, HistoryEntry},
    domain::{
        Backup, BackupId, BackupState, Caller, Error, ErrorCode, Noun, ObjectKind, ObjectRef, Part, Result, Role,
        Store, VaultId,
    },
    failure::from_vault,
    service::{Engine, Inner, blocking},
    storage::catalogue::HISTORY_FILE,
};

/// Backups that are written in one transaction.
const BATCH: usize = 20;

impl Engine {
    /// Rebuilds repositories, plans, users, backups and their history from a store, and takes the store over. Run again, it adds what is
    /// missing.
    ///
    /// # Errors
    /// `Forbidden`, `InUse` (a server runs here; somebody works on the store, unless `force`), `AlreadyExists(Store)` (another
    /// installation lives in this data directory), `Unsupported` (a later version wrote the catalogue, unless `force`), `StoreUnavailable`,
    /// `DatabaseUnavailable`.
    pub async fn recover(&self, caller: &Caller, recovery: Arc<Recovery>, force: bool) -> Result<RecoverySummary> {
        caller.require(Role::Admin)?;
        caller.require_everything()?;
        let inner = Arc::clone(self.inner());
        refuse_beside_others(&inner, &recovery, force).await?;
        let caller = caller.clone();
        let handle = Handle::current();
        blocking(move || {
            let summary = recovery.empty_summary();
            Rebuild { inner: &inner, recovery: &recovery, handle, summary, store_vault: None, vaults: BTreeMap::new() }
                .run(&caller)
        })
        .await
    }
}

async fn refuse_beside_others(inner: &Inner, recovery: &Recovery, force: bool) -> Result<()> {
    if let Some(pid) = inner.data.live_server()? {
        let sentence = format!("A server (process {pid}) runs on this data directory.");
        return Err(Error::new(ErrorCode::InUse(Noun::Store), sentence).hint("Stop it, then run the recovery again."));
    }
    let before = recovery.state.installation;
    let related = before == inner.installation || predecessors(inner).await?.contains(&before);
    if !related && !inner.db.is_unused().await? {
        return Err(Error::new(
            ErrorCode::AlreadyExists(Noun::Store),
            "An installation of its own lives in this data directory (or metadata database) already.",
        )
        .hint("Recover into an empty data directory: --data-dir DIR. To read this store beside others, attach it: trivault store add."));
    }
    if let Some(format) = recovery.survey.later_format
        && !force
    {
        let known = configuration::FORMAT;
        let sentence = format!(
            "A later version of Trivault wrote the catalogue in this store: its format is {format}, and this version reads up to {known}."
        );
        return Err(Error::new(ErrorCode::Unsupported, sentence).hint(
            "Recover with that version or a later one. --force leaves out what only they can read: what is older comes back, and the backups \
             themselves as their snapshots describe them.",
        ));
    }
    let own = format!("trivault-{}", inner.installation);
    if let Some(lock) = recovery.survey.locks.iter().find(|lock| lock.hostname != own)
        && !force
    {
        let age = (Utc::now() - lock.time).num_seconds().max(0);
        return Err(Error::new(
            ErrorCode::InUse(Noun::Store),
            format!(
                "A server seems to work on this store: {} ({}) refreshed its lock {age} seconds ago.",
                lock.hostname, lock.username
            ),
        )
        .hint(
            "Stop that server. If it is gone for good, wait until the lock is eleven minutes old, or give --force.",
        ));
    }
    Ok(())
}

async fn predecessors(inner: &Inner) -> Result<Vec<Uuid>> {
    let kept = inner.db.setting(PREDECESSORS).await?;
    Ok(kept.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default())
}

/// One recovery under way.
pub(super) struct Rebuild<'r> {
    pub(super) inner: &'r Inner,
    pub(super) recovery: &'r Recovery,
    handle: Handle,
    summary: RecoverySummary,
    /// The store's own vault in the catalogue.
    pub(super) store_vault: Option<VaultId>,
    /// Vaults of passcodes in the catalogue, by path.
    pub(super) vaults: BTreeMap<String, VaultId>,
}

impl Rebuild<'_> {
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.handle.block_on(future)
    }

    fn run(mut self, caller: &Caller) -> Result<RecoverySummary> {
        self.begin()?;
        let store = self.place_store()?;
        if let Some((configuration, _)) = &self.recovery.survey.configuration {
            let placed = placing::place(self.inner, configuration, store.id, &mut self.summary);
            self.handle.block_on(placed)?;
        }
        let mut told = HashSet::new();
        self.place_history(&store, &mut told)?;
        self.place_found(&store, &told)?;
        let named = placing::name_the_nameless(self.inner, &store);
        self.handle.block_on(named)?;
        self.take_over(caller, &store)?;
        self.summary.store_name = store.name;
        Ok(self.summary)
    }

    fn begin(&self) -> Result<()> {
        let (db, now) = (&self.inner.db, self.inner.clock.now());
        let mut before = self.wait(predecessors(self.inner))?;
        if !before.contains(&self.recovery.state.installation) {
            before.push(self.recovery.state.installation);
            let json = serde_json::to_vec(&before).map_err(super::unwritable)?;
            self.wait(db.put_setting(PREDECESSORS, &json, now))?;
        }
        let captured =
            self.recovery.survey.configuration.as_ref().and_then(|(configuration, _)| configuration.known_as);
        let known_as = captured.unwrap_or(self.recovery.state.installation);
        if self.recovery.state.installation != self.inner.installation {
            self.wait(db.setting_or_insert(KNOWN_AS, known_as.as_bytes(), now))?;
        }
        self.wait(db.put_setting(UNFINISHED, self.recovery.root.location().as_bytes(), now))
    }

    /// Jobs of the history with their backups; `told` learns which.
    fn place_history(&mut self, store: &Store, told: &mut HashSet<BackupId>) -> Result<()> {
        let Some(lines) = self.recovery.history() else { return Ok(()) };
        let mut batch = Vec::with_capacity(BATCH);
        for line in lines {
            match line {
                Ok(Some(mut entry)) => {
                    if let Some(backup) = &mut entry.backup {
                        self.settle(store, backup)?;
                        told.insert(backup.id);
                    }
                    batch.push(entry);
                }
                Ok(None) => self.summary.unreadable += 1,
                Err(error) if error.code == ErrorCode::Damaged => {
                    tracing::warn!(%error, "the history cannot be read to its end");
                    self.summary.unreadable += 1;
                    break;
                }
                Err(error) => return Err(error),
            }
            if batch.len() == BATCH {
                self.flush(&mut batch)?;
            }
        }
        self.flush(&mut batch)
    }

    fn flush(&mut self, batch: &mut Vec<HistoryEntry>) -> Result<()> {
        let rows = self.wait(self.inner.db.recover_history(batch))?;
        self.summary.add(rows);
        batch.clear();
        Ok(())
    }

    /// What a history says of a backup, against what lies in the store now.
    fn settle(&mut self, store: &Store, backup: &mut Backup) -> Result<()> {
        backup.store = store.id;
        let sentence = "A snapshot of this backup is missing in its store.";
        for part in &mut backup.parts {
            if !self.wait(placing::has_source(self.inner, part.source))? {
                let source = unknown_source(part.source, &part.source_name, &part.source_kind, backup.created_at);
                let placed = placing::place_unconfigured(self.inner, &source, &mut self.summary);
                self.handle.block_on(placed)?;
            }
            let Some(snapshot) = part.snapshot.clone() else {
                part.vault = None;
                continue;
            };
            part.vault = self.vault_of(backup.protected, &snapshot);
            if part.state == BackupState::Succeeded && !self.recovery.survey.snapshots.contains(&snapshot) {
                part.state = BackupState::Lost;
                part.error = Some(sentence.to_owned());
            } else if part.manifest.is_none() && part.state == BackupState::Succeeded && !backup.protected {
                self.read_manifest(part)?;
            }
        }
        if backup.state == BackupState::Succeeded && backup.parts.iter().any(|part| part.state == BackupState::Lost) {
            (backup.state, backup.error) = (BackupState::Lost, Some(sentence.to_owned()));
            self.summary.lost += 1;
        }
        self.ensure_repository(store, backup)
    }

    fn ensure_repository(&mut self, store: &Store, backup: &Backup) -> Result<()> {
        if self.wait(self.inner.db.repository(backup.repository))?.is_some() {
            return Ok(());
        }
        let parts = self.recovery.survey.parts.values();
        let Some(found) = parts.into_iter().find(|part| part.repository == backup.repository).cloned() else {
            let sentence = format!("Nothing in the store tells of the repository of the backup {}.", backup.id);
            return Err(Error::new(ErrorCode::Damaged, sentence));
        };
        let Some(revived) = revive(vec![self.told(&found)?], store.id, self.inner.clock.now()) else { return Ok(()) };
        let placed = placing::place_repository(self.inner, &revived.repository, &mut self.summary);
        self.handle.block_on(placed)
    }

    /// A manifest that was too large for the history.
    fn read_manifest(&mut self, part: &mut Part) -> Result<()> {
        let Some(found) = self.recovery.survey.parts.get(&part.id) else { return Ok(()) };
        match found.manifest(&self.recovery.vault) {
            Ok(stored) => part.manifest = stored.map(|stored| stored.capture_manifest().clone()),
            Err(error) if is_damage(&error) => self.summary.unreadable += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn vault_of(&self, protected: bool, snapshot: &str) -> Option<VaultId> {
        match (protected, self.recovery.survey.vault_holding(snapshot)) {
            (false, _) => self.store_vault,
            (true, Some(path)) => self.vaults.get(path).copied(),
            (true, None) => None,
        }
    }

    /// Backups of which no history tells, newest first: of two sources under one name, the later one is attached.
    fn place_found(&mut self, store: &Store, told: &HashSet<BackupId>) -> Result<()> {
        let mut groups: BTreeMap<BackupId, Vec<&FoundPart>> = BTreeMap::new();
        for part in self.recovery.survey.parts.values().filter(|part| !told.contains(&part.backup)) {
            groups.entry(part.backup).or_default().push(part);
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(_, parts)| std::cmp::Reverse(parts.iter().map(|part| part.created).max()));
        let mut batch = Vec::with_capacity(BATCH);
        for (id, parts) in groups {
            if self.wait(self.inner.db.backup(id))?.is_some() {
                continue;
            }
            let parts = parts.into_iter().map(|part| self.told(part)).collect::<Result<Vec<_>>>()?;
            let Some(revived) = revive(parts, store.id, self.inner.clock.now()) else { continue };
            for source in &revived.sources {
                let placed = placing::place_unconfigured(self.inner, source, &mut self.summary);
                self.handle.block_on(placed)?;
            }
            let placed = placing::place_repository(self.inner, &revived.repository, &mut self.summary);
            self.handle.block_on(placed)?;
            let state = revived.entry.backup.as_ref().map(|backup| backup.state);
            self.summary.lost += u64::from(state == Some(BackupState::Lost));
            batch.push(revived.entry);
            if batch.len() == BATCH {
                self.flush(&mut batch)?;
            }
        }
        self.flush(&mut batch)
    }

    /// Everything that can be read of a part. What is damaged is counted; its tags still speak.
    fn told(&mut self, found: &FoundPart) -> Result<Told> {
        let vault = &self.recovery.vault;
        let read: Result<(Option<StoredPart>, Option<PartRecord>)> = match &found.protected {
            Some(_) => found.entry(vault).map(|record| (None, record)),
            None => found.manifest(vault).map(|stored| {
                let record = stored.as_ref().and_then(|stored| stored.manifest().record.clone());
                (stored, record.and_then(|record| serde_json::from_value(record).ok()))
            }),
        };
        let (stored, record) = match read {
            Ok(read) => read,
            Err(error) if is_damage(&error) => {
                tracing::warn!(part.id = %found.part, %error, "a part's manifest cannot be read");
                self.summary.unreadable += 1;
                (None, None)
            }
            Err(error) => return Err(error),
        };
        let snapshot = found.snapshot();
        let vault = self.vault_of(found.protected.is_some(), &snapshot);
        Ok(Told {
            found: found.clone(),
            vault,
            manifest: stored.map(|stored| stored.capture_manifest().clone()),
            record,
            present: self.recovery.survey.snapshots.contains(&snapshot),
        })
    }

    /// The store's record names this installation from now on.
    fn take_over(&self, caller: &Caller, store: &Store) -> Result<()> {
        let Recovery { root, state, password, .. } = self.recovery;
        let (inner, now) = (self.inner, self.inner.clock.now());
        if state.installation != inner.installation {
            state.adopted(inner.installation, &inner.key, password)?.replace(root.as_ref())?;
        }
        let at = ObjectRef::new(ObjectKind::Store, store.id.0);
        let audit = AuditEntry::of(caller, now, "store.recover", Some(at));
        self.wait(inner.db.set_store_read_only(store.id, false, &audit))?;
        if self.recovery.key.is_some() {
            // Whoever recovers with the exported key has exported it.
            self.wait(inner.db.setting_or_insert(crate::open::KEY_EXPORTED, now.to_rfc3339().as_bytes(), now))?;
        }
        self.wait(inner.db.put_setting(UNFINISHED, b"", now))
    }
}

fn is_damage(error: &Error) -> bool {
    matches!(error.code, ErrorCode::Damaged | ErrorCode::Unsupported)
}

impl Recovery {
    /// The history of the newest configuration; `None` where there is none.
    pub(super) fn history(&self) -> Option<impl Iterator<Item = Result<Option<HistoryEntry>>> + use<>> {
        let (_, snapshot) = self.survey.configuration.as_ref()?;
        let opened = self.vault.reader(snapshot).and_then(|tree| {
            let node = tree.node(&[HISTORY_FILE.as_bytes()])?;
            tree.open(&node)
        });
        match opened.map_err(from_vault) {
            Ok(file) => Some(history::read(file)),
            Err(error) => {
                tracing::warn!(%error, "the history of jobs cannot be read");
                None
            }
        }
    }
}
