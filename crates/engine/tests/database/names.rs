//! Aliases and attributes.

use serde_json::json;
use trivault_engine::{db::*, *};
use uuid::Uuid;

use crate::{contract, fixtures::*};

contract!(
    a_taken_name_is_numbered_where_it_may_be,
    a_fixed_name_that_is_taken_fails_the_creation,
    numbering_survives_a_race,
    a_backup_is_named_once_at_its_first_claim,
    the_first_name_of_each_object_answers,
    attributes_are_set_replaced_and_removed,
);

fn proposal(name: &str, number_if_taken: bool) -> Proposal {
    Proposal { namespace: "arcgis.backup".into(), name: name.into(), number_if_taken }
}

fn object(kind: ObjectKind) -> ObjectRef {
    ObjectRef::new(kind, Uuid::now_v7())
}

fn labels(object: ObjectRef, proposal: Proposal) -> Labels {
    Labels { names: vec![(object, proposal)], attributes: Vec::new() }
}

async fn a_taken_name_is_numbered_where_it_may_be(place: Place) {
    let objects: Vec<_> = (0..3).map(|_| object(ObjectKind::Backup)).collect();
    for object in &objects {
        place.db.add_labels(&labels(*object, proposal("nightly", true)), at(0)).await.unwrap();
    }
    for (name, object) in ["nightly", "nightly-2", "nightly-3"].into_iter().zip(&objects) {
        assert_eq!(place.db.resolve("arcgis.backup", name).await.unwrap(), Some(*object));
    }
    assert_eq!(place.db.resolve("dbaas.backup", "nightly").await.unwrap(), None);
    // Given again to who has it, a name stays one.
    place.db.add_labels(&labels(objects[0], proposal("nightly", true)), at(0)).await.unwrap();
    assert_eq!(place.db.resolve("arcgis.backup", "nightly-4").await.unwrap(), None);
}

async fn a_fixed_name_that_is_taken_fails_the_creation(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let request = || {
        let mut request = world.backup(&world.repository, at(0));
        let object = ObjectRef::new(ObjectKind::Backup, request.backup.as_ref().unwrap().id.0);
        request.labels = labels(object, proposal("mine", false));
        request
    };
    db.enqueue(&request()).await.unwrap();
    let second = request();
    let error = db.enqueue(&second).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::AlreadyExists(Noun::Backup));
    assert!(error.sentence.contains("mine"), "{error}");
    assert!(db.job(second.job.job.id).await.unwrap().is_none());
}

async fn numbering_survives_a_race(place: Place) {
    let other = place.second_node().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..12 {
        let db = if number % 2 == 0 { place.db.clone() } else { other.clone() };
        tasks.spawn(async move {
            let object = object(ObjectKind::Backup);
            db.add_labels(&labels(object, proposal("nightly", true)), at(0)).await.unwrap();
            db.aliases("arcgis.backup", &[object]).await.unwrap().remove(&object).unwrap()
        });
    }
    let mut names = tasks.join_all().await;
    names.sort();
    let mut expected: Vec<_> = (2..=12).map(|number| format!("nightly-{number}")).collect();
    expected.push("nightly".into());
    expected.sort();
    assert_eq!(names, expected);
}

async fn a_backup_is_named_once_at_its_first_claim(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let request = world.backup(&world.repository, at(0));
    db.enqueue(&request).await.unwrap();
    let names = |point: chrono::DateTime<chrono::Utc>| vec![proposal(&point.to_rfc3339(), true)];
    let run = claim(db, NODE, 0).await.unwrap().run;
    let backup = db.begin_backup(run, BackupKind::Full, at(1), &names).await.unwrap().held().unwrap();
    let name = backup.point.unwrap().to_rfc3339();
    let object = ObjectRef::new(ObjectKind::Backup, backup.id.0);
    assert_eq!(db.resolve("arcgis.backup", &name).await.unwrap(), Some(object));
    take_back_expired(db, at(100)).await;
    let run = claim(db, NODE, 200).await.unwrap().run;
    db.begin_backup(run, BackupKind::Full, at(201), &names).await.unwrap().held().unwrap();
    assert_eq!(db.aliases("arcgis.backup", &[object]).await.unwrap()[&object], name);
    assert_eq!(db.resolve("arcgis.backup", &at(201).to_rfc3339()).await.unwrap(), None);
}

async fn the_first_name_of_each_object_answers(place: Place) {
    let (one, two, three) = (object(ObjectKind::Job), object(ObjectKind::Job), object(ObjectKind::Job));
    for (object, name) in [(one, "zz"), (one, "aa"), (two, "bb")] {
        place.db.add_labels(&labels(object, proposal(name, false)), at(0)).await.unwrap();
    }
    let names = place.db.aliases("arcgis.backup", &[one, two, three]).await.unwrap();
    assert_eq!((names.len(), names[&one].as_str(), names[&two].as_str()), (2, "zz", "bb"));
    assert!(place.db.aliases("arcgis.backup", &[]).await.unwrap().is_empty());
    let many: Vec<_> = (0..2_500).map(|_| object(ObjectKind::Job)).chain([two]).collect();
    assert_eq!(place.db.aliases("arcgis.backup", &many).await.unwrap().len(), 1);
}

async fn attributes_are_set_replaced_and_removed(place: Place) {
    let (object, audit) = (object(ObjectKind::Repository), audit("attribute.set"));
    let set = async |key: &str, value: serde_json::Value| {
        place.db.set_attribute(object, &Attribute::new("couchbase", key, value), &audit).await
    };
    set("archive", json!("/Users/user/\u{0}")).await.unwrap();
    set("z", json!({"b": 1, "a": 2})).await.unwrap();
    set("archive", json!("/other")).await.unwrap();
    let found = place.db.attributes_of("couchbase", &[object]).await.unwrap().remove(&object).unwrap();
    assert_eq!(
        found,
        [
            Attribute::new("couchbase", "archive", json!("/other")),
            Attribute::new("couchbase", "z", json!({"b": 1, "a": 2}))
        ]
    );
    set("archive", serde_json::Value::Null).await.unwrap();
    assert_eq!(place.db.attributes_of("couchbase", &[object]).await.unwrap()[&object].len(), 1);
    // 16 KiB with its quotes fit, one byte more does not.
    set("edge", json!("y".repeat(16 * 1024 - 2))).await.unwrap();
    assert_eq!(set("edge", json!("y".repeat(16 * 1024 - 1))).await.unwrap_err().code, ErrorCode::InvalidInput);
}
