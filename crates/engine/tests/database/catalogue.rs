//! Sources, stores, vaults, repositories, plans, installation.

use serde_json::json;
use trivault_engine::{db::*, *};
use uuid::Uuid;

use crate::{contract, fixtures::*};

contract!(
    an_installation_keeps_its_first_id,
    a_setting_that_two_nodes_make_at_once_is_made_once,
    sources_come_back_as_they_went_in,
    two_attached_sources_never_share_a_name,
    a_replaced_source_stays_detached_beside_the_new_one,
    managed_sources_change_all_or_nothing,
    a_new_default_store_takes_over,
    a_vault_is_made_once_for_each_locator,
    repositories_are_unique_by_owner_state_and_name,
    ensuring_a_repository_from_two_nodes_gives_one,
    pausing_is_idempotent_and_only_for_active_ones,
    plans_come_back_with_tasks_and_attributes,
    a_put_plan_keeps_its_id_and_forgets_old_attributes,
    a_nul_in_a_name_finds_nothing,
    an_audit_record_is_written_with_its_change,
);

async fn an_installation_keeps_its_first_id(place: Place) {
    let first = Uuid::now_v7();
    assert_eq!(place.db.installation(first, at(0)).await.unwrap(), first);
    assert_eq!(place.second_node().await.installation(Uuid::now_v7(), at(1)).await.unwrap(), first);
    place.db.upsert_node(&NodeRow { id: NODE, name: "a".into(), heartbeat_at: at(0) }).await.unwrap();
    let later = NodeRow { id: NODE, name: "b".into(), heartbeat_at: at(9) };
    place.db.upsert_node(&later).await.unwrap();
    assert_eq!(place.db.nodes().await.unwrap(), [later]);
    place.db.ping().await.unwrap();
}

async fn a_setting_that_two_nodes_make_at_once_is_made_once(place: Place) {
    let other = place.second_node().await;
    let (one, two) = tokio::join!(
        place.db.setting_or_insert("signing_key", &[1], at(0)),
        other.setting_or_insert("signing_key", &[2], at(0))
    );
    assert_eq!(one.unwrap(), two.unwrap());
    place.db.put_setting("signing_key", &[3], at(1)).await.unwrap();
    assert_eq!(other.setting("signing_key").await.unwrap(), Some(vec![3]));
    assert_eq!(other.setting("absent").await.unwrap(), None);
}

async fn sources_come_back_as_they_went_in(place: Place) {
    let mut with_options = source("zulu");
    with_options.config.options.insert("exclude".into(), json!(["*.tmp", "ümlaut"]));
    with_options.managed = true;
    place.db.insert_source(&with_options, Some(b"sealed"), &Labels::default(), &audit("x")).await.unwrap();
    let plain = source("alpha");
    place.db.insert_source(&plain, None, &Labels::default(), &audit("x")).await.unwrap();
    assert_eq!(place.db.sources().await.unwrap(), [plain.clone(), with_options.clone()]);
    assert_eq!(place.db.source(with_options.id).await.unwrap(), Some(with_options.clone()));
    assert_eq!(place.db.source_named("alpha").await.unwrap(), Some(plain.clone()));
    assert_eq!(place.db.source_named("Alpha").await.unwrap(), None);
    assert_eq!(place.db.source_secret(with_options.id).await.unwrap(), Some(b"sealed".to_vec()));
    assert_eq!(place.db.source_secret(plain.id).await.unwrap(), None);
}

async fn two_attached_sources_never_share_a_name(place: Place) {
    place.db.insert_source(&source("one"), None, &Labels::default(), &audit("x")).await.unwrap();
    let error = place.db.insert_source(&source("one"), None, &Labels::default(), &audit("x")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::AlreadyExists(Noun::Source));
}

async fn a_replaced_source_stays_detached_beside_the_new_one(place: Place) {
    let old = source("one");
    place.db.insert_source(&old, None, &Labels::default(), &audit("x")).await.unwrap();
    let new = source("one");
    place.db.replace_source(old.id, &new, None, &Labels::default(), &audit("x")).await.unwrap();
    assert_eq!(place.db.source_named("one").await.unwrap().unwrap().id, new.id);
    assert_eq!(place.db.source(old.id).await.unwrap().unwrap().status, SourceStatus::Detached);
}

async fn managed_sources_change_all_or_nothing(place: Place) {
    let standing = source("standing");
    place.db.insert_source(&standing, None, &Labels::default(), &audit("x")).await.unwrap();
    let create = |name: &str| SourceChange::Create {
        source: Box::new(source(name)),
        sealed_secret: None,
        labels: Labels::default(),
    };
    let refused = [SourceChange::Detach(standing.id), create("new"), create("new")];
    let error = place.db.change_sources(&refused, &audit("x")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::AlreadyExists(Noun::Source));
    assert_eq!(place.db.sources().await.unwrap(), [standing.clone()]);
    place.db.change_sources(&[SourceChange::Detach(standing.id), create("new")], &audit("x")).await.unwrap();
    assert!(place.db.source_named("standing").await.unwrap().is_none());
    place.db.change_sources(&[SourceChange::Attach(standing.id)], &audit("x")).await.unwrap();
    assert_eq!(place.db.source_named("standing").await.unwrap().unwrap().id, standing.id);
}

async fn a_new_default_store_takes_over(place: Place) {
    let (first, second) = (store("first"), store("second"));
    for row in [&first, &second] {
        place.db.insert_store(row, Some(&vault(row.store.id)), &Labels::default(), &audit("x")).await.unwrap();
    }
    assert_eq!(place.db.default_store().await.unwrap(), Some(second.store.clone()));
    let names: Vec<_> =
        place.db.stores().await.unwrap().into_iter().map(|store| (store.name, store.is_default)).collect();
    assert_eq!(names, [("first".to_owned(), false), ("second".to_owned(), true)]);
    assert_eq!(place.db.store_named("second").await.unwrap(), Some(second.store.clone()));
    assert!(place.db.store_row(second.store.id).await.unwrap().unwrap().salt == second.salt);
    let same_place = StoreRow {
        store: Store {
            name: "third".into(),
            location: first.store.location.clone(),
            is_default: false,
            ..store("x").store
        },
        ..store("x")
    };
    let error = place.db.insert_store(&same_place, None, &Labels::default(), &audit("x")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::AlreadyExists(Noun::Store));
    place.db.set_store_read_only(first.store.id, true, &audit("x")).await.unwrap();
    place.db.set_store_credentials(first.store.id, Some(b"sealed"), &audit("x")).await.unwrap();
    let row = place.db.store_row(first.store.id).await.unwrap().unwrap();
    assert!(row.store.read_only && row.sealed_credentials.as_deref() == Some(b"sealed"));
}

async fn a_vault_is_made_once_for_each_locator(place: Place) {
    let world = World::create(&place.db).await;
    let passcode = |path: &str, locator: u8| VaultRow {
        vault: VaultRecord {
            id: VaultId(Uuid::now_v7()),
            kind: VaultKind::Passcode,
            path: path.into(),
            ..vault(world.store.id).vault
        },
        sealed_password: None,
        locator: Some(vec![locator; 16]),
        retired_at: None,
    };
    let first = place.db.insert_vault(&passcode("p/1", 1)).await.unwrap();
    let again = place.db.insert_vault(&passcode("p/2", 1)).await.unwrap();
    let other = place.db.insert_vault(&passcode("p/3", 2)).await.unwrap();
    assert!(first == again && first != other);
    assert!(place.db.vault_by_locator(world.store.id, &[2; 16]).await.unwrap() == Some(other.clone()));
    assert!(place.db.vault_row(first.vault.id).await.unwrap() == Some(first));
    assert_eq!(place.db.server_vault(world.store.id).await.unwrap().unwrap().vault, world.vault);
    assert_eq!(place.db.insert_vault(&vault(world.store.id)).await.unwrap().vault, world.vault);
    assert_eq!(place.db.vaults().await.unwrap().len(), 3);
}

async fn repositories_are_unique_by_owner_state_and_name(place: Place) {
    let world = World::create(&place.db).await;
    let refused = place
        .db
        .insert_repository(&repository("restRepo", world.store.id), &[], &Labels::default(), &audit("x"))
        .await
        .unwrap_err();
    assert_eq!(refused.code, ErrorCode::AlreadyExists(Noun::Repository));
    let mut imported = repository("restRepo", world.store.id);
    imported.state = RepositoryState::Imported;
    imported.sources = SourceSelection::One(world.source.id);
    place.db.insert_repository(&imported, &[], &Labels::default(), &audit("x")).await.unwrap();
    let filter = RepositoryFilter { name: Some("restRepo".into()), ..Default::default() };
    assert_eq!(place.db.repositories(&filter).await.unwrap(), [world.repository.clone(), imported]);
    let filter = RepositoryFilter { owner: Some("dbaas".into()), ..Default::default() };
    assert_eq!(place.db.repositories(&filter).await.unwrap(), []);
}

async fn ensuring_a_repository_from_two_nodes_gives_one(place: Place) {
    let world = World::create(&place.db).await;
    let other = place.second_node().await;
    let (one, two) = (repository("db-travel", world.store.id), repository("db-travel", world.store.id));
    let labels = Labels::default();
    let audit = audit("x");
    let (first, second) = tokio::join!(
        place.db.ensure_repository(&one, &[], &labels, &audit),
        other.ensure_repository(&two, &[], &labels, &audit)
    );
    assert_eq!(first.unwrap(), second.unwrap());
}

async fn pausing_is_idempotent_and_only_for_active_ones(place: Place) {
    let world = World::create(&place.db).await;
    for _ in 0..2 {
        let paused = place.db.pause_repository(world.repository.id, &audit("x")).await.unwrap().unwrap();
        assert_eq!(paused.state, RepositoryState::Active { paused: true });
    }
    let resumed = place.db.resume_repository(world.repository.id, &[], &audit("x")).await.unwrap().unwrap();
    assert_eq!(resumed.state, RepositoryState::Active { paused: false });
    let mut imported = repository("imported", world.store.id);
    imported.state = RepositoryState::Imported;
    place.db.insert_repository(&imported, &[], &Labels::default(), &audit("x")).await.unwrap();
    assert!(place.db.pause_repository(imported.id, &audit("x")).await.unwrap().is_none());
}

fn plan(name: &str) -> Plan {
    let schedule = Schedule {
        rule: Rule::Weekday { count: 2, weekday: chrono::Weekday::Tue, at: Some(TimeOfDay { hour: 22, minute: 5 }) },
        zone: chrono_tz::Europe::Berlin,
        start_now: false,
    };
    Plan {
        id: PlanId(Uuid::now_v7()),
        owner: "couchbase".into(),
        name: name.into(),
        description: Some("every other Tuesday".into()),
        builtin: name.starts_with('_'),
        tasks: vec![PlanTask {
            name: "tuesdays".into(),
            kind: JobKind::Backup,
            schedule,
            full: true,
            merge_window: None,
            verify: None,
        }],
        attributes: vec![Attribute::new("couchbase", "services", json!({"z": 1, "a": [null, "\u{0}"]}))],
        created_at: at(0),
        updated_at: at(0),
    }
}

async fn plans_come_back_with_tasks_and_attributes(place: Place) {
    let (own, builtin) = (plan("mine"), plan("_daily"));
    place.db.insert_plan(&own, &audit("x")).await.unwrap();
    place.db.insert_plan(&builtin, &audit("x")).await.unwrap();
    assert_eq!(place.db.plans("couchbase").await.unwrap(), [builtin.clone(), own.clone()]);
    assert_eq!(place.db.plans("dbaas").await.unwrap(), []);
    assert_eq!(place.db.plan(own.id).await.unwrap(), Some(own.clone()));
    let found = place.db.plan_named("couchbase", "_daily").await.unwrap().unwrap();
    // The order of a client's keys is kept.
    assert_eq!(found.attributes[0].value.to_string(), builtin.attributes[0].value.to_string());
    let error = place.db.insert_plan(&plan("mine"), &audit("x")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::AlreadyExists(Noun::Plan));
}

async fn a_put_plan_keeps_its_id_and_forgets_old_attributes(place: Place) {
    let first = place.db.put_plan(&plan("mine"), &[], &audit("x")).await.unwrap();
    let mut changed = plan("mine");
    changed.attributes = vec![Attribute::new("couchbase", "other", json!("x"))];
    changed.tasks.clear();
    let second = place.db.put_plan(&changed, &[], &audit("x")).await.unwrap();
    assert_eq!(second.id, first.id);
    assert_eq!(place.db.plan(first.id).await.unwrap(), Some(second));
}

async fn a_nul_in_a_name_finds_nothing(place: Place) {
    let db = &place.db;
    assert!(db.source_named("a\0").await.unwrap().is_none());
    assert!(db.store_named("a\0").await.unwrap().is_none());
    assert!(db.plan_named("couchbase", "a\0").await.unwrap().is_none());
    assert!(db.credentials("a\0").await.unwrap().is_none());
    assert!(db.resolve("couchbase.task", "a\0").await.unwrap().is_none());
    let name = RepositoryFilter { name: Some("a\0".into()), ..Default::default() };
    assert!(db.repositories(&name).await.unwrap().is_empty());
    let name = JobFilter { name: Some(Alias::new("couchbase.task", "a\0")), ..Default::default() };
    assert!(db.jobs(&name).await.unwrap().is_empty());
}

async fn an_audit_record_is_written_with_its_change(place: Place) {
    let mut entry = audit("source.create");
    entry.object = Some(ObjectRef::new(ObjectKind::Source, Uuid::now_v7()));
    place.db.insert_source(&source("one"), None, &Labels::default(), &entry).await.unwrap();
    let _ = place.db.insert_source(&source("one"), None, &Labels::default(), &audit("refused")).await.unwrap_err();
    place.db.record_audit(&audit("later")).await.unwrap();
    assert_eq!(place.db.audit(10).await.unwrap(), [audit("later"), entry]);
    assert_eq!(place.db.audit(1).await.unwrap().len(), 1);
}
