use serde_json::{Value, json};
use trivault_engine::{BackupId, PartId, SourceStatus};

use super::*;
use crate::{
    json::read,
    mapping::tests_support::{backup, id, part, source},
};

const FIRST: &str = "2020-09-29T11_08_15.666658+01_00";
const SECOND: &str = "2020-09-29T11_28_16.197951+01_00";

/// Two backups of two buckets; the second bucket is not in the newer one.
fn backups() -> Vec<(String, Backup)> {
    let mut older = backup("travel-sample");
    older.id = BackupId(id("older"));
    older.parts = vec![part("travel-sample", older.id), part("beer.sample", older.id)];
    let mut newer = backup("travel-sample");
    newer.id = BackupId(id("newer"));
    newer.parts = vec![part("travel-sample", newer.id)];
    vec![(FIRST.to_owned(), older), (SECOND.to_owned(), newer)]
}

fn newest_part_of(source: &str) -> PartId {
    let backups = backups();
    backups.iter().rev().flat_map(|(_, it)| &it.parts).find(|part| part.source_name == source).unwrap().id
}

fn sources() -> Vec<Source> {
    vec![source("travel-sample"), source("beer.sample"), source("other")]
}

fn body(members: Value) -> String {
    let mut body = json!({ "target": "http://127.0.0.1:8091", "user": "Administrator", "password": "password" });
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body.to_string()
}

fn planned(members: Value) -> Result<StartRestore, String> {
    planned_with(members, &backups(), &sources())
}

fn planned_with(members: Value, backups: &[(String, Backup)], sources: &[Source]) -> Result<StartRestore, String> {
    let request: RestoreRequest = read(body(members).as_bytes()).map_err(told)?;
    let catalogue = Catalogue { backups, damaged: &HashSet::new(), sources };
    restore_from_wire("http://127.0.0.1:8091", &request, &catalogue).map_err(told)
}

#[test]
fn the_newest_state_that_is_not_damaged_is_restored_unless_the_end_is_named() {
    let (backups, sources) = (backups(), sources());
    let of = |members: Value, damaged: &[usize]| {
        let request: RestoreRequest = read(body(members).as_bytes()).unwrap();
        let damaged = damaged.iter().flat_map(|place| backups[*place].1.parts.iter().map(|part| part.id)).collect();
        let catalogue = Catalogue { backups: &backups, damaged: &damaged, sources: &sources };
        let planned = restore_from_wire("http://127.0.0.1:8091", &request, &catalogue).map_err(told).unwrap();
        let source = &backups[0].1.parts[0].source_name;
        let place = |item: &RestoreItem| {
            let is_here = |part: &Part| part.id == item.part && part.source_name == *source;
            backups.iter().position(|(_, backup)| backup.parts.iter().any(is_here))
        };
        planned.items.iter().find_map(place).unwrap()
    };
    let newest = of(json!({}), &[]);
    assert!(newest > 0);
    assert_eq!(of(json!({}), &[newest]), newest - 1);
    assert_eq!(of(json!({ "end": backups[newest].0 }), &[newest]), newest);
    let all: Vec<usize> = (0..backups.len()).collect();
    assert_eq!(of(json!({}), &all), newest);
}

fn told(error: ApiError) -> String {
    match error {
        ApiError::Other(body) => {
            assert_eq!(body.status, 400);
            body.extras.unwrap_or(body.msg)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_printed_request_restores_one_bucket_into_a_new_one_and_ignores_what_is_not_data() {
    let printed = json!({"auto_create_buckets":true,"auto_remove_collections":true,"disable_analytics":true,
        "disable_data":false,"disable_eventing":true,"disable_ft":true,"disable_gsi_indexes":true,"disable_views":true,
        "end":SECOND,"filter_keys":"^airline","filter_values":"MIL*","force_updates":true,
        "map_data":"travel-sample=ts7","start":FIRST,"include_data":"travel-sample"});
    let restore = planned(printed).unwrap();
    let into = RestoreInto::NewSource("ts7".to_owned());
    assert_eq!(restore.items, [RestoreItem { part: newest_part_of("travel-sample"), into }]);
    assert_eq!(
        (restore.selection.keys.as_deref(), restore.selection.values.as_deref()),
        (Some("^airline"), Some("MIL*"))
    );
    assert_eq!(restore.conflict, Conflict::Replace);
    assert!(!restore.safety_backup);
    let record = RestoreRecord::find(&restore.job_attributes).unwrap();
    assert_eq!(record.backups, [FIRST, SECOND]);
    assert!(!serde_json::to_string(&restore.job_attributes[0].value).unwrap().contains("password"));
}

#[test]
fn without_more_each_bucket_gets_its_newest_state_in_place_and_nothing_is_overwritten() {
    let restore = planned(json!({})).unwrap();
    let items: Vec<_> = restore.items.iter().map(|item| (item.part, item.into.clone())).collect();
    assert_eq!(
        items,
        [
            (newest_part_of("beer.sample"), RestoreInto::InPlace),
            (newest_part_of("travel-sample"), RestoreInto::InPlace)
        ]
    );
    assert_eq!(restore.conflict, Conflict::AddMissing);
    assert_eq!(planned(json!({ "force_updates": true })).unwrap().conflict, Conflict::UpdateDiffering);
    assert!(restore.selection.is_everything());
}

#[test]
fn a_range_is_inclusive_and_holds_only_what_it_names() {
    assert_eq!(planned(json!({ "start": SECOND })).unwrap().items.len(), 1);
    assert_eq!(planned(json!({ "end": FIRST })).unwrap().items.len(), 2);
    for (range, word) in [
        (json!({ "start": "2019-01-01T00_00_00Z" }), "is not one of the backups"),
        (json!({ "end": "nope" }), "is not one of the backups"),
        (json!({ "start": SECOND, "end": FIRST }), "start must not be later"),
    ] {
        assert!(planned(range.clone()).unwrap_err().contains(word), "{range}");
    }
    assert!(planned_with(json!({}), &[], &sources()).unwrap_err().contains("no complete backup"));
}

#[test]
fn buckets_are_mapped_to_existing_ones_to_new_ones_and_to_ones_that_were_made_anew() {
    let only = json!({ "include_data": "travel-sample", "map_data": "travel-sample=other" });
    assert_eq!(planned(only).unwrap().items[0].into, RestoreInto::Source(source("other").id));
    let mut old = source("travel-sample");
    old.status = SourceStatus::Detached;
    let mut new = source("travel-sample");
    new.id = SourceId(id("made anew"));
    let only = json!({ "include_data": "travel-sample" });
    let restore = planned_with(only.clone(), &backups(), &[old.clone(), new.clone()]).unwrap();
    assert_eq!(restore.items[0].into, RestoreInto::Source(new.id));
    let gone = planned_with(only, &backups(), std::slice::from_ref(&old)).unwrap_err();
    assert!(gone.contains("set auto_create_buckets"), "{gone}");
    let create = json!({ "include_data": "travel-sample", "auto_create_buckets": true });
    let restore = planned_with(create, &backups(), &[old]).unwrap();
    assert_eq!(restore.items[0].into, RestoreInto::NewSource("travel-sample".to_owned()));
}

#[test]
fn what_a_map_cannot_say_is_refused() {
    for (map, word) in [
        ("travel-sample", "must be old=new"),
        ("travel-sample=", "must be old=new"),
        ("unknown=x", "names no bucket"),
        ("travel-sample._default.a=travel-sample._default.b", "map whole buckets"),
        ("travel-sample=other,beer.sample=other", "the same one"),
        ("travel-sample=missing", "does not exist"),
    ] {
        let refused = planned(json!({ "map_data": map })).unwrap_err();
        assert!(refused.contains(word), "{map}: {refused}");
    }
}

#[test]
fn data_is_chosen_by_bucket_scope_and_collection_with_encoded_names() {
    let chosen =
        planned(json!({ "include_data": "travel-sample._default.air%2Eline, travel-sample.inventory" })).unwrap();
    assert_eq!(chosen.selection.include, ["_default.air.line", "inventory"]);
    assert_eq!(chosen.items.len(), 1);
    let chosen = planned(json!({ "include_data": "beer.sample._default" })).unwrap();
    assert_eq!(chosen.items[0].part, newest_part_of("beer.sample"));
    let left = planned(json!({ "exclude_data": "beer.sample" })).unwrap();
    assert_eq!((left.items.len(), left.selection.is_everything()), (1, true));
    for (members, word) in [
        (json!({ "include_data": "travel-sample", "exclude_data": "beer.sample" }), "cannot be used together"),
        (json!({ "exclude_data": "travel-sample._default.hotel" }), "one bucket at a time"),
        (json!({ "exclude_data": "travel-sample,beer.sample" }), "nothing to restore"),
        (json!({ "include_data": "nope" }), "names no bucket"),
        (json!({ "include_data": "travel-sample.a.b.c" }), "bucket[.scope[.collection]]"),
        (json!({ "include_data": "travel-sample." }), "bucket[.scope[.collection]]"),
    ] {
        let refused = planned(members.clone()).unwrap_err();
        assert!(refused.contains(word), "{members}: {refused}");
    }
}

#[test]
fn a_backup_under_a_passcode_is_refused_with_a_sentence() {
    let mut backups = backups();
    backups[1].1.protected = true;
    let refused = planned_with(json!({}), &backups, &sources()).unwrap_err();
    assert!(refused.contains(SECOND) && refused.contains("passcode"), "{refused}");
    assert!(planned_with(json!({ "end": FIRST }), &backups, &sources()).is_ok());
}

#[test]
fn rules_of_single_members_are_checked() {
    for (members, word) in [
        (json!({ "filter_keys": "(" }), "filter_keys"),
        (json!({ "filter_values": "[" }), "filter_values"),
        (json!({ "replace_ttl": "some" }), "replace_ttl must be"),
        (json!({ "replace_ttl": "all" }), "needs replace_ttl_with"),
        (json!({ "disable_data": true }), "disable_data"),
        (json!({ "force_updates": "yes" }), "field force_updates of type bool"),
    ] {
        let refused = planned(members.clone()).unwrap_err();
        assert!(refused.contains(word), "{members}: {refused}");
    }
    for fine in
        [json!({ "replace_ttl": "all", "replace_ttl_with": "0" }), json!({ "replace_ttl": "none", "threads": 4 })]
    {
        assert!(planned(fine.clone()).is_ok(), "{fine}");
    }
}

#[test]
fn the_target_is_a_cluster_and_the_credentials_are_never_shown() {
    let read = |text: &str| read::<RestoreRequest>(text.as_bytes()).and_then(|request| credentials(&request));
    for (target, host) in [
        ("http://127.0.0.1:8091", "127.0.0.1"),
        ("https://backup.example.org", "backup.example.org"),
        ("host:8091", "host"),
        ("127.0.0.1", "127.0.0.1"),
        ("http://[::1]:8091/", "[::1]"),
        ("couchbase://host", "host"),
    ] {
        let text = json!({ "target": target, "user": "u", "password": "p" }).to_string();
        assert_eq!(read(&text).unwrap().host, host, "{target}");
    }
    for members in [
        json!({ "user": "u", "password": "p" }),
        json!({ "target": "http://h", "password": "p" }),
        json!({ "target": "http://h", "user": "u" }),
        json!({ "target": "ftp://h", "user": "u", "password": "p" }),
        json!({ "target": "http://h/path", "user": "u", "password": "p" }),
        json!({ "target": "http://", "user": "u", "password": "p" }),
    ] {
        assert!(read(&members.to_string()).is_err(), "{members}");
    }
    let request: RestoreRequest = crate::json::read(body(json!({})).as_bytes()).unwrap();
    assert!(!format!("{request:?}").contains("\"password\""));
    let wrong = read(r#"{"target":"http://h","user":"u","password":12345}"#).err().unwrap();
    assert!(!format!("{wrong:?}").contains("12345"));
}
