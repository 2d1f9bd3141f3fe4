//! Parts as a store's snapshots show them: their tags, and what their manifests add.

use chrono::{DateTime, Utc};
use trivault_vault::{Snapshot, Vault};
use uuid::Uuid;

use super::PartRecord;
use crate::{
    capture::{StoredPart, Tags},
    db::LabelSet,
    domain::{
        Alias, BackupId, BackupKind, JobId, ObjectKind, ObjectRef, PartId, RepositoryId, Result, SourceId, Trigger,
        VaultId,
    },
    failure::from_vault,
    storage::catalogue::ENTRY_FILE,
};

/// Longest entry of a passcode backup that is read, bytes.
const LONGEST_ENTRY: u64 = 16 << 20;

/// A part that a snapshot of ours tells of.
#[derive(Clone, Debug)]
pub(super) struct FoundPart {
    pub(super) backup: BackupId,
    pub(super) part: PartId,
    pub(super) attempt: u32,
    pub(super) repository: RepositoryId,
    pub(super) repository_name: String,
    pub(super) owner: String,
    pub(super) source: SourceId,
    pub(super) source_name: String,
    pub(super) source_kind: String,
    pub(super) kind: BackupKind,
    pub(super) trigger: Trigger,
    pub(super) created: DateTime<Utc>,
    pub(super) point: Option<DateTime<Utc>>,
    pub(super) keep_until: Option<DateTime<Utc>>,
    pub(super) description: String,
    /// Not in the tags of early versions.
    pub(super) job: Option<JobId>,
    /// Of the whole backup; likewise.
    pub(super) parts: Option<usize>,
    pub(super) position: usize,
    pub(super) labels: LabelSet,
    /// Bytes added to the vault.
    pub(super) stored: Option<u64>,
    pub(super) begun: DateTime<Utc>,
    pub(super) ended: DateTime<Utc>,
    /// The snapshot that tells of it: the part's own, or its entry.
    pub(super) told_by: Snapshot,
    /// Where it lies, when that is not the store's own vault.
    pub(super) protected: Option<Protected>,
}

/// What the entry of a part under a passcode says.
#[derive(Clone, Debug)]
pub(super) struct Protected {
    pub(super) vault: VaultId,
    /// Below the store; not in entries of early versions.
    pub(super) path: Option<String>,
    pub(super) locator: Option<Vec<u8>>,
    /// Lower-case hex.
    pub(super) snapshot: String,
    pub(super) size: Option<u64>,
    pub(super) items: Option<u64>,
    pub(super) download: Option<u64>,
}

impl FoundPart {
    /// `None` when the tags are not those of a part.
    pub(super) fn of(snapshot: &Snapshot) -> Option<Self> {
        let tags = Tags::of(&snapshot.record.tags)?;
        let protected = match tags.get("entry") {
            None => None,
            Some("protected") => Some(Protected::of(&tags)?),
            Some(_) => return None,
        };
        let source_name = match &protected {
            None => snapshot.record.hostname.clone(),
            Some(_) => tags.get("source_name")?.to_owned(),
        };
        let (backup, part) = (BackupId(id(&tags, "backup")?), PartId(id(&tags, "part")?));
        let summary = snapshot.record.summary.as_ref();
        let added = summary.map(|summary| summary.data_added_packed);
        let stored = if protected.is_some() { number(&tags, "stored") } else { added };
        Some(Self {
            backup,
            part,
            attempt: tags.get("attempt")?.parse().ok()?,
            repository: RepositoryId(id(&tags, "repository")?),
            repository_name: tags.get("repository_name")?.to_owned(),
            owner: tags.get("owner")?.to_owned(),
            source: SourceId(id(&tags, "source")?),
            source_name,
            source_kind: tags.get("source_kind")?.to_owned(),
            kind: if tags.get("kind") == Some("full") { BackupKind::Full } else { BackupKind::Incremental },
            trigger: if tags.get("trigger") == Some("scheduled") { Trigger::Scheduled } else { Trigger::Manual },
            created: instant(&tags, "created")?,
            point: instant(&tags, "point"),
            keep_until: instant(&tags, "keep"),
            description: tags.get("description").unwrap_or_default().to_owned(),
            job: id(&tags, "job").map(JobId),
            parts: tags.get("parts").and_then(|count| count.parse().ok()),
            position: tags.get("position").and_then(|position| position.parse().ok()).unwrap_or_default(),
            labels: LabelSet { names: names(&tags, backup, part), attributes: Vec::new() },
            stored,
            begun: snapshot.record.time,
            ended: summary.map_or(snapshot.record.time, |summary| summary.backup_end),
            told_by: snapshot.clone(),
            protected,
        })
    }

    /// The part's snapshot, lower-case hex.
    pub(super) fn snapshot(&self) -> String {
        match &self.protected {
            Some(protected) => protected.snapshot.clone(),
            None => self.told_by.id.to_hex(),
        }
    }

    /// The manifest, where it can be read without a passcode. Blocks.
    pub(super) fn manifest(&self, vault: &Vault) -> Result<Option<StoredPart>> {
        match self.protected {
            Some(_) => Ok(None),
            None => StoredPart::open(vault, &self.told_by, &self.source_name).map(Some),
        }
    }

    /// What the entry of a part under a passcode keeps of the catalogue; `None` where it keeps nothing that is understood.
    pub(super) fn entry(&self, vault: &Vault) -> Result<Option<PartRecord>> {
        let bytes = read_file(vault, &self.told_by, ENTRY_FILE, LONGEST_ENTRY)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }
}

impl Protected {
    fn of(tags: &Tags) -> Option<Self> {
        Some(Self {
            vault: VaultId(id(tags, "vault")?),
            path: tags.get("vault_path").map(str::to_owned),
            locator: tags.get("locator").and_then(|text| hex::decode(text).ok()),
            snapshot: tags.get("snapshot")?.to_owned(),
            size: number(tags, "size"),
            items: number(tags, "items"),
            download: number(tags, "download"),
        })
    }
}

/// A file in the root of a snapshot of ours, whole; `None` when it is not there.
pub(super) fn read_file(vault: &Vault, snapshot: &Snapshot, name: &str, longest: u64) -> Result<Option<Vec<u8>>> {
    let tree = vault.reader(snapshot).map_err(from_vault)?;
    let nodes = tree.list(&[]).map_err(from_vault)?;
    let Some(node) = nodes.into_iter().find(|node| node.name == name.as_bytes()) else { return Ok(None) };
    let mut file = tree.open(&node).map_err(from_vault)?;
    if file.length() > longest {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(file.length()).unwrap_or_default()];
    let read = file.read_at(0, &mut bytes).map_err(from_vault)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// `backup NAMESPACE NAME` and `part NAMESPACE NAME`.
fn names(tags: &Tags, backup: BackupId, part: PartId) -> Vec<(ObjectRef, Alias)> {
    let told = tags.all("name").filter_map(|told| {
        let mut words = told.splitn(3, ' ');
        let object = match words.next()? {
            "backup" => ObjectRef::new(ObjectKind::Backup, backup.0),
            "part" => ObjectRef::new(ObjectKind::Part, part.0),
            _ => return None,
        };
        Some((object, Alias::new(words.next()?, words.next()?)))
    });
    told.collect()
}

fn id(tags: &Tags, key: &str) -> Option<Uuid> {
    tags.get(key)?.parse().ok()
}

fn number(tags: &Tags, key: &str) -> Option<u64> {
    tags.get(key)?.parse().ok()
}

fn instant(tags: &Tags, key: &str) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(tags.get(key)?).ok()?.to_utc())
}
