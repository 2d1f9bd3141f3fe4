//! Stores that change hands, and what they keep of the gateway.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use trivault_vault::{Lock, LockMode, Vault};

use super::{
    bench::{Bench, admin},
    care_cancels,
};
use crate::{domain::*, secrets::ServerKey};

fn new_store(bench: &Bench, name: &str) -> NewStore {
    let path = bench.path("store").to_str().unwrap().to_owned();
    NewStore {
        name: name.into(),
        location: StoreLocation::Local { path },
        credentials: None,
        is_default: false,
        managed: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_another_installation_is_read_only_until_it_is_adopted() {
    let (one, other) = (Bench::new().await, Bench::new().await);
    let foreign = other.engine.create_store(&admin(), new_store(&one, "foreign")).await.unwrap();
    assert!(foreign.read_only);
    assert_eq!(foreign.id, one.store.id);
    let mut repository = other.repository("daily", SourceSelection::All).await;
    repository.id = RepositoryId(uuid::Uuid::now_v7());
    repository.name = "there".into();
    repository.store = foreign.id;
    let audit = crate::db::AuditEntry::of(&admin(), other.engine.now(), "test", None);
    let db = &other.engine.inner().db;
    db.insert_repository(&repository, &[], &crate::db::Labels::default(), &audit).await.unwrap();
    other.directory("photos").await;
    let refused = other.engine.start_backup(&admin(), other.request(&repository)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotReady(Noun::Store));

    let needed = other.engine.adopt_store(&admin(), foreign.id, None).await.unwrap_err();
    assert!(needed.hint.unwrap().contains("export-key"));
    let wrong = Some(SecretText::new("wrong"));
    let wrong = other.engine.adopt_store(&admin(), foreign.id, wrong).await.unwrap_err();
    assert_eq!(wrong.code, ErrorCode::InvalidInput);
    let vault = one.engine.vaults(&admin()).await.unwrap().remove(0);
    let password = one.engine.export_vault_password(&admin(), vault.id).await.unwrap();
    let adopted = other.engine.adopt_store(&admin(), foreign.id, Some(password)).await.unwrap();
    assert!(!adopted.read_only);
    let backup = other.back_up(&repository).await;
    assert_eq!(backup.state, BackupState::Succeeded, "{}", other.log(backup.job).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_configuration_is_captured_into_the_store_without_secrets() {
    let bench = Bench::new().await;
    bench.directory("photos").await;
    bench.repository("the-daily-one", SourceSelection::All).await;
    bench.engine.create_user(&admin(), "ada", &SecretText::new("a password of ada"), Role::Admin).await.unwrap();
    bench.engine.reconcile().await.unwrap();
    bench.engine.reconcile().await.unwrap();
    let inner = bench.engine.inner();
    let row = inner.db.server_vault(bench.store.id).await.unwrap().unwrap();
    let store = inner.db.store_row(bench.store.id).await.unwrap().unwrap();
    let vault = inner.storage.server_vault(&store, &row).unwrap();
    let mut captured = vault.snapshots().unwrap().snapshots;
    captured.retain(|snapshot| snapshot.record.hostname == "trivault-configuration");
    let newest = captured.last().unwrap();
    let tree = vault.reader(newest).unwrap();
    let mut file = tree.open(&tree.node(&[b"configuration.json"]).unwrap()).unwrap();
    let mut bytes = vec![0; usize::try_from(file.length()).unwrap()];
    assert_eq!(file.read_at(0, &mut bytes).unwrap(), bytes.len());
    let text = String::from_utf8(bytes).unwrap();
    for there in ["the-daily-one", "photos", "ada"] {
        assert!(text.contains(there), "{there}");
    }
    assert!(!text.contains("argon2") && !text.contains("password"), "{text}");
    let before = captured.len();
    bench.engine.reconcile().await.unwrap();
    let again = vault.snapshots().unwrap().snapshots;
    let again = again.iter().filter(|snapshot| snapshot.record.hostname == "trivault-configuration").count();
    assert_eq!(again, before, "nothing changed, nothing is captured");
}

/// As a stock `restic check` has the vault for itself while it reads the snapshots that it has listed.
#[tokio::test(flavor = "multi_thread")]
async fn no_capture_of_the_configuration_vanishes_while_somebody_has_the_vault_for_himself() {
    // Taken at the moment when the new capture is there and the superseded ones are about to go.
    type Held = Option<(Vault, Option<Lock>)>;
    let stranger: Arc<Mutex<Held>> = Arc::default();
    let observed = Arc::clone(&stranger);
    let bench = Bench::with(|options| {
        options.observer = Some(Arc::new(move |point| {
            let mut stranger = observed.lock().unwrap();
            if let (Some((vault, lock @ None)), "configuration.superseded") = (&mut *stranger, point.name) {
                *lock = Some(vault.lock(LockMode::Exclusive, Duration::ZERO).unwrap());
            }
        }));
    })
    .await;
    let vault = care_cancels::stranger(&bench).await;
    let captured = || {
        let listed = vault.snapshots().unwrap().snapshots;
        listed.iter().filter(|snapshot| snapshot.record.hostname == "trivault-configuration").count()
    };
    for name in ["one", "two", "three"] {
        bench.directory(name).await;
        bench.engine.reconcile().await.unwrap();
    }
    assert_eq!(captured(), 2, "the newest, and the one before it");
    *stranger.lock().unwrap() = Some((care_cancels::stranger(&bench).await, None));
    bench.directory("four").await;
    // What else wants the vault now has to wait, and says so.
    let _ = bench.engine.reconcile().await;
    let held = stranger.lock().unwrap().take().and_then(|(_, lock)| lock).unwrap();
    assert_eq!(captured(), 3, "they stay for now");
    held.release().unwrap();
    bench.directory("five").await;
    bench.engine.reconcile().await.unwrap();
    assert_eq!(captured(), 2, "and go with the next one");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_key_is_refused_before_anything_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::at(folder.path(), |_| {}).await;
    assert!(!bench.engine.key_was_exported().await.unwrap());
    let text = bench.engine.export_key(&admin()).await.unwrap();
    assert!(bench.engine.key_was_exported().await.unwrap());
    bench.engine.shutdown(std::time::Duration::from_secs(5)).await;
    drop(bench);
    let mut options = super::bench::options(folder.path());
    options.server_key = crate::ServerKeyLocation::Given(ServerKey::random().unwrap());
    options.server = false;
    let refused = crate::Engine::open(options.clone()).await.err().unwrap();
    assert_eq!(refused.code, ErrorCode::Damaged);
    options.server_key = crate::ServerKeyLocation::Given(ServerKey::parse(text.expose().as_bytes()).unwrap());
    crate::Engine::open(options).await.unwrap();
}
