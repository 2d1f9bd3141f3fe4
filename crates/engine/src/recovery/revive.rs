//! A backup as its parts' snapshots tell of it, for backups that no history names.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use trivault_sources::{CaptureManifest, Progress, SourceConfig};
use uuid::Uuid;

use super::{PartRecord, found::FoundPart};
use crate::{
    db::{HistoryEntry, LabelSet},
    domain::{
        Backup, BackupId, BackupState, Failure, Job, JobId, JobKind, JobState, LogLine, Part, Repository,
        RepositoryState, Source, SourceId, SourceSelection, SourceStatus, StepState, StoreId, VaultId,
    },
};

/// Who made what no record names anybody for.
const NOBODY: &str = "recover";

/// One part of a backup with all that its snapshot says.
pub(super) struct Told {
    pub(super) found: FoundPart,
    /// The vault's id in the catalogue that is rebuilt.
    pub(super) vault: Option<VaultId>,
    pub(super) manifest: Option<CaptureManifest>,
    pub(super) record: Option<PartRecord>,
    /// Its snapshot is there.
    pub(super) present: bool,
}

/// What comes back of a backup, and what it needs to stand on.
pub(super) struct Revived {
    pub(super) entry: HistoryEntry,
    pub(super) repository: Repository,
    pub(super) sources: Vec<Source>,
}

/// `None` when there is no part.
pub(super) fn revive(mut told: Vec<Told>, store: StoreId, now: DateTime<Utc>) -> Option<Revived> {
    told.sort_by_key(|told| (told.found.position, told.found.part));
    let first = told.first()?.found.clone();
    let last_end = told.iter().map(|told| told.found.ended).max().unwrap_or(first.ended);
    let record = told.iter().find_map(|told| told.record.clone());
    let (job, backup) = match &record {
        Some(record) => (record.job.clone(), record.backup.clone()),
        None => from_tags(&told, store),
    };
    let repository = match &record {
        Some(record) => Repository { store, ..record.repository.clone() },
        None => imported(&first, store, now),
    };
    let mut sources: Vec<Source> = told.iter().filter_map(|told| Some(told.record.as_ref()?.source.clone())).collect();
    for Told { found, .. } in &told {
        if !sources.iter().any(|source| source.id == found.source) {
            sources.push(unknown_source(found.source, &found.source_name, &found.source_kind, found.created));
        }
    }
    let mut labels = LabelSet::default();
    for told in &told {
        merge(&mut labels, told.record.iter().map(|record| &record.labels).chain([&told.found.labels]));
    }
    let backup = completed(Backup { store, repository: repository.id, ..backup }, &told, last_end);
    let job = ended(job, &backup, last_end);
    let text = "Rebuilt from the snapshots of this backup; the log of its job was not kept in the store.".to_owned();
    let log = vec![LogLine { at: last_end, text }];
    let entry = HistoryEntry { job, backup: Some(backup), labels, log, about: Vec::new(), merged: Vec::new() };
    Some(Revived { entry, repository, sources })
}

fn merge<'l>(labels: &mut LabelSet, more: impl Iterator<Item = &'l LabelSet>) {
    for LabelSet { names, attributes } in more {
        for name in names.iter().filter(|name| !labels.names.contains(name)).cloned().collect::<Vec<_>>() {
            labels.names.push(name);
        }
        for found in attributes.iter().filter(|found| !labels.attributes.contains(found)).cloned().collect::<Vec<_>>() {
            labels.attributes.push(found);
        }
    }
}

/// The catalogue's view at the time of the capture, brought to its end by what lies in the store.
fn completed(mut backup: Backup, told: &[Told], end: DateTime<Utc>) -> Backup {
    let expected = told.iter().filter_map(|told| told.found.parts).max().unwrap_or_default().max(backup.parts.len());
    for part in &mut backup.parts {
        match told.iter().find(|told| told.found.part == part.id) {
            Some(told) => fill(part, told),
            None => {
                part.state = BackupState::Failed;
                part.error = Some("The store holds no snapshot of this source for this backup.".to_owned());
                part.finished_at = Some(end);
            }
        }
    }
    let good = backup.parts.iter().filter(|part| part.state == BackupState::Succeeded).count();
    let lost = backup.parts.iter().any(|part| part.state == BackupState::Lost);
    (backup.state, backup.error) = match (good == expected, lost) {
        (true, _) => (BackupState::Succeeded, None),
        (false, true) => (BackupState::Lost, Some("A snapshot of this backup is missing in its store.".to_owned())),
        (false, false) => {
            (BackupState::Failed, Some(format!("Of {expected} sources, the store holds {good} for this backup.")))
        }
    };
    backup.started_at = backup.started_at.or(told.iter().map(|told| told.found.begun).min());
    backup.finished_at = Some(end);
    backup
}

fn fill(part: &mut Part, told: &Told) {
    let Told { found, vault, manifest, record: _, present } = told;
    let protected = found.protected.as_ref();
    part.vault = *vault;
    part.snapshot = Some(found.snapshot());
    part.stored_size = found.stored;
    part.size = manifest.as_ref().map(|manifest| manifest.size).or(protected.and_then(|told| told.size));
    part.items = manifest.as_ref().map(|manifest| manifest.items).or(protected.and_then(|told| told.items));
    part.download_size = match manifest {
        Some(manifest) => manifest.download.as_ref().map(|download| download.length),
        None => protected.and_then(|told| told.download),
    };
    part.manifest = manifest.clone();
    part.started_at = part.started_at.or(Some(found.begun));
    part.finished_at = Some(found.ended);
    if *present {
        (part.state, part.error) = (BackupState::Succeeded, None);
    } else {
        part.state = BackupState::Lost;
        part.error = Some("Its snapshot is missing in the store.".to_owned());
    }
}

/// A job that stands for one that nobody recorded the end of.
fn ended(mut job: Job, backup: &Backup, end: DateTime<Utc>) -> Job {
    let succeeded = matches!(backup.state, BackupState::Succeeded | BackupState::Lost);
    job.state = if succeeded { JobState::Succeeded } else { JobState::Failed };
    job.percent = if succeeded { 100 } else { job.percent.min(99) };
    for step in &mut job.steps {
        if matches!(step.state, StepState::Pending | StepState::Running) {
            step.state = if succeeded { StepState::Succeeded } else { StepState::Failed };
            step.finished_at = Some(end);
        }
    }
    job.failure = (!succeeded).then(|| Failure {
        code: "interrupted".to_owned(),
        sentence: backup.error.clone().unwrap_or_default(),
        hint: None,
    });
    job.progress = Progress {
        bytes_read: backup.size(),
        bytes_total: Some(backup.size()),
        items: backup.parts.iter().filter_map(|part| part.items).sum(),
        items_total: None,
    };
    job.bytes_stored = backup.stored_size();
    job.cancel_requested = false;
    job.started_at = job.started_at.or(backup.started_at);
    job.updated_at = end;
    job.finished_at = Some(end);
    job.estimated_end = None;
    job
}

/// Job and backup where the tags alone speak.
fn from_tags(told: &[Told], store: StoreId) -> (Job, Backup) {
    let first = &told[0].found;
    let job = told.iter().find_map(|told| told.found.job).unwrap_or_else(|| job_of(first.backup));
    let parts = told.iter().map(|Told { found, .. }| {
        let source = (found.source, found.source_name.as_str(), found.source_kind.as_str());
        Part::new(found.part, found.backup, source, BackupState::Succeeded)
    });
    let backup = Backup {
        id: first.backup,
        repository: first.repository,
        store,
        job,
        state: BackupState::Succeeded,
        kind: first.kind,
        trigger: first.trigger,
        description: first.description.clone(),
        keep_until: first.keep_until,
        protected: first.protected.is_some(),
        point: first.point,
        created_at: first.created,
        started_at: Some(first.begun),
        finished_at: None,
        error: None,
        parts: parts.collect(),
    };
    let job = Job {
        id: job,
        kind: JobKind::Backup,
        state: JobState::Succeeded,
        repository: Some(first.repository),
        store: Some(store),
        backup: Some(first.backup),
        task: None,
        principal: NOBODY.to_owned(),
        via: NOBODY.to_owned(),
        attempt: first.attempt,
        cancel_requested: false,
        progress: Progress::default(),
        bytes_stored: 0,
        percent: 100,
        steps: Vec::new(),
        warnings: Vec::new(),
        failure: None,
        created_at: first.created,
        started_at: Some(first.begun),
        updated_at: first.ended,
        finished_at: Some(first.ended),
        estimated_end: None,
    };
    (job, backup)
}

/// The same for a backup each time, so that a second recovery finds what the first one wrote.
fn job_of(backup: BackupId) -> JobId {
    let digest = Sha256::new().chain_update(b"trivault-recovered-job").chain_update(backup.0.as_bytes()).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    JobId(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// Nothing is scheduled on what is known by name alone.
fn imported(found: &FoundPart, store: StoreId, now: DateTime<Utc>) -> Repository {
    Repository {
        id: found.repository,
        owner: found.owner.clone(),
        name: found.repository_name.clone(),
        state: RepositoryState::Imported,
        store,
        sources: SourceSelection::All,
        plan: None,
        created_at: found.created,
        updated_at: now,
    }
}

/// A source of which only name and kind are known: its backups can be restored elsewhere.
pub(super) fn unknown_source(id: SourceId, name: &str, kind: &str, created_at: DateTime<Utc>) -> Source {
    let config = SourceConfig {
        kind: kind.to_owned(),
        location: String::new(),
        options: serde_json::Map::new(),
        never_capture: Vec::new(),
        secret: None,
    };
    let (name, status) = (name.to_owned(), SourceStatus::Detached);
    Source { id, name, config, status, managed: false, created_at, updated_at: created_at }
}

/// Labels of nothing but these objects.
pub(super) fn labels_within(labels: &LabelSet, stands: impl Fn(Uuid) -> bool) -> LabelSet {
    LabelSet {
        names: labels.names.iter().filter(|(object, _)| stands(object.id)).cloned().collect(),
        attributes: labels.attributes.iter().filter(|(object, _)| stands(object.id)).cloned().collect(),
    }
}
