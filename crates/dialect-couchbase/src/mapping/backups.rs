//! What is in a repository.

use std::collections::{BTreeMap, BTreeSet};

use trivault_engine::{Backup, BackupKind, BackupState, Merged, Part};

use crate::{
    names::{BACKUPS, unscoped},
    types,
};

/// Whether a backup is shown: one that has a name, and either lives or holds something that was stored whole.
pub fn is_listed(backup: &Backup) -> bool {
    match backup.state {
        BackupState::Running | BackupState::Succeeded | BackupState::Lost => true,
        BackupState::Queued => false,
        BackupState::Failed | BackupState::Cancelled => {
            backup.parts.iter().any(|part| part.state == BackupState::Succeeded)
        }
    }
}

/// `damaged`: what is stored of it is not what was captured. `merged` is what was folded into it, `source` this cluster's URL,
/// `cluster_uuid` its id.
pub fn backup_to_wire(
    name: &str,
    backup: &Backup,
    damaged: bool,
    merged: Option<&Merged>,
    source: &str,
    cluster_uuid: &str,
) -> types::Backup {
    let Backup {
        id: _,
        repository: _,
        store: _,
        job: _,
        state,
        kind,
        trigger: _,
        description: _,
        keep_until: _,
        protected: _,
        point: _,
        created_at: _,
        started_at: _,
        finished_at: _,
        error: _,
        parts,
    } = backup;
    types::Backup {
        date: name.to_owned(),
        backup_type: match (merged.map(|merged| merged.kind), kind) {
            (Some(BackupKind::Full), _) => types::BackupType::MergedFull,
            (Some(BackupKind::Incremental), _) => types::BackupType::MergedIncremental,
            (None, BackupKind::Full) => types::BackupType::Full,
            (None, BackupKind::Incremental) => types::BackupType::Incremental,
        },
        source: if merged.is_some() { MERGE.to_owned() } else { source.to_owned() },
        range: merged.map(|merged| range(merged, name)),
        events: 0,
        fts_alias: 0,
        size: stored_size(backup),
        buckets: parts.iter().map(|part| bucket(part, *kind)).collect(),
        complete: *state == BackupState::Succeeded && !damaged,
        source_cluster_uuid: cluster_uuid.to_owned(),
    }
}

/// The source of merged backups.
const MERGE: &str = "Merge";

/// A merge has the name of the newest backup in it.
fn range(merged: &Merged, name: &str) -> Vec<String> {
    let folded = merged.backups.iter().filter_map(|former| former.name(BACKUPS)).map(unscoped);
    folded.chain([name]).map(str::to_owned).collect()
}

/// Bytes that a backup takes in its store.
pub fn stored_size(backup: &Backup) -> u64 {
    backup.parts.iter().map(part_size).sum()
}

/// What a part added to the store; where that is not known any more, the bytes of its data.
fn part_size(part: &Part) -> u64 {
    part.stored_size.or(part.size).unwrap_or(0)
}

fn bucket(part: &Part, kind: BackupKind) -> types::Bucket {
    let Part {
        id: _,
        backup: _,
        source: _,
        source_name,
        source_kind: _,
        state: _,
        vault: _,
        snapshot: _,
        size: _,
        stored_size: _,
        items,
        download_size: _,
        manifest,
        warnings: _,
        error: _,
        started_at: _,
        finished_at: _,
    } = part;
    let items = items.unwrap_or(0);
    let inventory = manifest.as_ref().map(|manifest| &manifest.inventory);
    types::Bucket {
        name: source_name.clone(),
        size: part_size(part),
        items,
        mutations: carried(items, kind),
        tombstones: 0,
        views_count: 0,
        fts_count: 0,
        index_count: inventory.map_or(0, |inventory| inventory.indexes),
        analytics_count: 0,
        scopes: inventory.map(|inventory| scopes(inventory, kind)).unwrap_or_default(),
    }
}

/// A full backup carries everything; how much an incremental one does, no source can tell yet.
fn carried(items: u64, kind: BackupKind) -> u64 {
    match kind {
        BackupKind::Full => items,
        BackupKind::Incremental => 0,
    }
}

fn scopes(inventory: &trivault_engine::Inventory, kind: BackupKind) -> BTreeMap<String, types::Scope> {
    let mut taken = BTreeSet::new();
    let mut scopes = BTreeMap::new();
    for scope in &inventory.scopes {
        let uid = small_id(&scope.name, &mut taken);
        let mut taken = BTreeSet::new();
        let collections = scope.collections.iter().map(|collection| {
            let id = small_id(&collection.name, &mut taken);
            let mutations = carried(collection.items, kind);
            (id.to_string(), types::Collection { id, name: encode(&collection.name), mutations, tombstones: 0 })
        });
        let collections: BTreeMap<_, _> = collections.collect();
        let mutations = collections.values().map(|collection| collection.mutations).sum();
        scopes.insert(
            uid.to_string(),
            types::Scope { uid, name: encode(&scope.name), mutations, tombstones: 0, collections },
        );
    }
    scopes
}

const DEFAULT: &str = "_default";

/// Ids below this are reserved by the data model.
const FIRST_ID: u32 = 8;

/// An id that a name keeps from backup to backup without being written down: a hash of the name. Where two names of one
/// level meet, the later one takes the next free number.
fn small_id(name: &str, taken: &mut BTreeSet<u32>) -> u32 {
    if name == DEFAULT {
        return 0;
    }
    // FNV-1a; 24 bits keep the numbers short.
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let mut id = FIRST_ID + (hash & 0x00ff_ffff);
    while !taken.insert(id) {
        id += 1;
    }
    id
}

/// Names of scopes and collections hold letters, digits, `_`, `-` and `%` only, so that a data path splits at its dots.
pub fn encode(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// The name behind an encoded one; `None` when it is not UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut name = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = bytes.get(at..at + 3).filter(|escape| escape[0] == b'%');
        let byte = escaped.and_then(|escape| u8::from_str_radix(std::str::from_utf8(&escape[1..]).ok()?, 16).ok());
        name.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use trivault_engine::Inventory;

    use super::*;
    use crate::mapping::tests_support;

    fn inventory() -> Inventory {
        let collections = json!([
            { "name": "_default", "items": 2, "size": 0 },
            { "name": "air.line/s", "items": 40, "size": 0 },
        ]);
        let inventory = json!({ "scopes": [{ "name": "_default", "collections": collections }], "indexes": 10 });
        serde_json::from_value(inventory).unwrap()
    }

    #[test]
    fn a_full_backup_shows_its_scopes_and_what_it_carries() {
        let mut backup = tests_support::backup("travel-sample");
        let part = &mut backup.parts[0];
        part.items = Some(42);
        part.stored_size = Some(1000);
        part.manifest.as_mut().unwrap().inventory = inventory();
        let shown = backup_to_wire("2020", &backup, false, None, "http://127.0.0.1:8097", "ab");
        let bucket = &shown.buckets[0];
        assert_eq!(
            (shown.size, bucket.size, bucket.items, bucket.mutations, bucket.index_count),
            (1000, 1000, 42, 42, 10)
        );
        let scope = &bucket.scopes["0"];
        assert_eq!((scope.uid, scope.name.as_str(), scope.mutations), (0, "_default", 42));
        assert_eq!(scope.collections["0"].mutations, 2);
        let other = scope.collections.values().find(|collection| collection.id != 0).unwrap();
        assert_eq!(other.name, "air%2Eline%2Fs");
        backup.kind = BackupKind::Incremental;
        let shown = backup_to_wire("2020", &backup, false, None, "", "");
        assert_eq!((shown.backup_type, shown.buckets[0].mutations), (types::BackupType::Incremental, 0));
    }

    #[test]
    fn a_merge_shows_the_names_of_all_that_it_holds_and_its_own_last() {
        use trivault_engine::{Alias, BackupId, FormerBackup};
        let backup = tests_support::backup("travel-sample");
        let former = |name: &str| FormerBackup {
            id: BackupId(tests_support::id(name)),
            names: vec![Alias::new("other", "x"), Alias::new(BACKUPS, format!("repo/{name}"))],
        };
        let mut merged = Merged { backups: vec![former("2018"), former("2019")], kind: BackupKind::Full };
        let shown = backup_to_wire("2020", &backup, false, Some(&merged), "http://127.0.0.1:8097", "ab");
        assert_eq!((shown.backup_type, shown.source.as_str()), (types::BackupType::MergedFull, "Merge"));
        assert_eq!(shown.range.unwrap(), ["2018", "2019", "2020"]);
        merged.kind = BackupKind::Incremental;
        let shown = serde_json::to_value(backup_to_wire("2020", &backup, false, Some(&merged), "", "")).unwrap();
        assert_eq!(shown["type"], "MERGE - INCR");
    }

    #[test]
    fn a_failed_backup_is_shown_only_while_something_of_it_was_stored() {
        let mut backup = tests_support::backup("travel-sample");
        for (state, listed) in [
            (BackupState::Queued, false),
            (BackupState::Running, true),
            (BackupState::Succeeded, true),
            (BackupState::Failed, true),
            (BackupState::Lost, true),
        ] {
            backup.state = state;
            assert_eq!(is_listed(&backup), listed, "{state:?}");
            let complete = |damaged| backup_to_wire("", &backup, damaged, None, "", "").complete;
            assert_eq!((complete(false), complete(true)), (state == BackupState::Succeeded, false));
        }
        backup.state = BackupState::Failed;
        backup.parts[0].state = BackupState::Failed;
        assert!(!is_listed(&backup));
    }

    #[test]
    fn ids_stay_when_names_come_and_go_and_never_meet() {
        let mut taken = BTreeSet::new();
        let first = small_id("hotel", &mut taken);
        assert_eq!(first, small_id("hotel", &mut BTreeSet::new()));
        assert_ne!(first, small_id("hotel", &mut taken));
        assert!(first >= FIRST_ID);
        assert_eq!(small_id("_default", &mut taken), 0);
    }

    proptest! {
        #[test]
        fn every_name_survives_encoding(name in ".{0,20}") {
            let encoded = encode(&name);
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'%')));
            prop_assert_eq!(decode(&encoded), Some(name));
        }
    }
}
