//! Engine objects for tests.

use chrono::DateTime;
use serde_json::{Value, json};
use trivault_engine::*;
use uuid::Uuid;

/// A stable id for a name.
pub fn id(name: &str) -> Uuid {
    let mut bytes = [0; 16];
    for (index, byte) in name.bytes().enumerate() {
        bytes[index % 16] ^= byte;
    }
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

const AT: &str = "2020-09-29T12:10:58.100371Z";

pub fn source(name: &str) -> Source {
    Source {
        id: SourceId(id(name)),
        name: name.to_owned(),
        config: read(json!({ "kind": "sqlite", "location": format!("/srv/sources/{name}.db") })),
        status: SourceStatus::Attached,
        managed: true,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
    }
}

pub fn store(name: &str) -> Store {
    Store {
        id: StoreId(id(name)),
        name: name.to_owned(),
        location: StoreLocation::Local { path: format!("/srv/stores/{name}") },
        is_default: true,
        read_only: false,
        managed: true,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
    }
}

pub fn repository(name: &str) -> Repository {
    Repository {
        id: RepositoryId(id(name)),
        owner: crate::NAME.to_owned(),
        name: name.to_owned(),
        state: RepositoryState::Active { paused: false },
        store: StoreId(id("default")),
        sources: SourceSelection::All,
        plan: None,
        created_at: AT.parse().unwrap(),
        updated_at: AT.parse().unwrap(),
    }
}

/// A complete full backup of one source.
pub fn backup(source: &str) -> Backup {
    let backup = BackupId(id("backup"));
    Backup {
        id: backup,
        repository: RepositoryId(id("testRepo")),
        store: StoreId(id("default")),
        job: JobId(id("job")),
        state: BackupState::Succeeded,
        kind: BackupKind::Full,
        trigger: Trigger::Manual,
        description: String::new(),
        keep_until: None,
        protected: false,
        point: Some(AT.parse().unwrap()),
        created_at: AT.parse().unwrap(),
        started_at: Some(AT.parse().unwrap()),
        finished_at: Some(AT.parse().unwrap()),
        error: None,
        parts: vec![part(source, backup)],
    }
}

pub fn part(source: &str, backup: BackupId) -> Part {
    Part {
        id: PartId(id(&format!("{source} in {backup}"))),
        backup,
        source: SourceId(id(source)),
        source_name: source.to_owned(),
        source_kind: "sqlite".to_owned(),
        state: BackupState::Succeeded,
        vault: None,
        snapshot: None,
        size: Some(100),
        stored_size: Some(10),
        items: Some(1),
        download_size: None,
        manifest: Some(CaptureManifest::default()),
        warnings: Vec::new(),
        error: None,
        started_at: None,
        finished_at: None,
    }
}

/// A job that has succeeded.
pub fn job(kind: JobKind) -> Job {
    Job {
        id: JobId(id("job")),
        kind,
        state: JobState::Succeeded,
        repository: Some(RepositoryId(id("testRepo"))),
        store: None,
        backup: Some(BackupId(id("backup"))),
        task: None,
        principal: "Administrator".to_owned(),
        via: crate::NAME.to_owned(),
        attempt: 1,
        cancel_requested: false,
        progress: Progress::default(),
        bytes_stored: 0,
        percent: 100,
        steps: Vec::new(),
        warnings: Vec::new(),
        failure: None,
        created_at: AT.parse().unwrap(),
        started_at: Some(AT.parse().unwrap()),
        updated_at: AT.parse().unwrap(),
        finished_at: Some("2020-09-29T12:10:58.526340Z".parse().unwrap()),
        estimated_end: None,
    }
}
