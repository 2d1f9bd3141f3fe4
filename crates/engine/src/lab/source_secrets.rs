//! Passwords of sources: sealed in the catalogue, opened for drivers, nowhere else.

use trivault_sources::{PartRestorePlan, PartRestoreRequest, RestoreTarget, Secret};
use trivault_testkit::postgres::{PostgresServer, Variant};
use uuid::Uuid;

use super::bench::{Bench, admin, contents, databases};
use crate::domain::*;

const PASSWORD: &str = "correct-horse-Battery-9";
const OTHER: &str = "staple-Battery-10";

fn database(password: Option<&str>) -> NewSource {
    let config = SourceConfig {
        kind: "postgresql".into(),
        location: "postgresql://ada@127.0.0.1:1/bank".into(),
        options: serde_json::Map::new(),
        never_capture: vec![],
        secret: password.map(Secret::new),
    };
    NewSource { name: "bank".into(), config, managed: false }
}

async fn secret(bench: &Bench, id: SourceId) -> Option<String> {
    let inner = bench.engine.inner();
    let source = inner.db.source(id).await.unwrap().unwrap();
    let config = inner.with_secret(id, source.config).await.unwrap();
    config.secret.map(|secret| secret.expose().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_of_a_source_is_sealed_for_it_alone_and_stands_in_no_file() {
    for database_location in databases() {
        let bench = Bench::with(|options| options.database = database_location).await;
        let source = bench.engine.create_source(&admin(), database(Some(PASSWORD))).await.unwrap();
        assert_eq!(secret(&bench, source.id).await.as_deref(), Some(PASSWORD));
        let (inner, stores) = (bench.engine.inner(), vec![]);
        let sealed = inner.db.source_secret(source.id).await.unwrap().unwrap();
        assert!(inner.key.open_source_secret(SourceId(Uuid::now_v7()), &sealed).is_err());

        let plan = PartRestorePlan {
            request: PartRestoreRequest {
                target: RestoreTarget::InPlace,
                conflict: Conflict::Replace,
                selection: Selection::default(),
                job: "0".into(),
            },
            steps: vec![],
            bytes: 0,
            temporary: vec![],
            details: serde_json::Value::Null,
        };
        let config = inner.with_secret(source.id, source.config.clone()).await.unwrap();
        assert!(crate::kinds::driver_for(inner, &config, &stores).is_ok());
        crate::kinds::leave_in_journal(inner, JobId(Uuid::now_v7()), Some(source.id), &config, &plan);
        let listed = bench.engine.sources(&admin()).await.unwrap();
        let shown = format!("{} {listed:?} {config:?}", serde_json::to_string(&listed).unwrap());
        assert!(!shown.contains(PASSWORD), "{shown}");
        bench.engine.reconcile().await.unwrap();
        for (name, bytes) in contents(bench.folder()) {
            assert!(!bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_managed_source_keeps_its_password_until_another_is_given() {
    let bench = Bench::new().await;
    let reconcile = async |password| bench.engine.reconcile_managed_sources(vec![database(password)]).await.unwrap();
    reconcile(Some(PASSWORD)).await;
    let source = bench.engine.source_named(&admin(), "bank").await.unwrap();
    assert_eq!(secret(&bench, source.id).await.as_deref(), Some(PASSWORD));
    let sealed = bench.engine.inner().db.source_secret(source.id).await.unwrap();
    reconcile(Some(PASSWORD)).await;
    reconcile(None).await;
    assert_eq!(bench.engine.inner().db.source_secret(source.id).await.unwrap(), sealed, "nothing was sealed anew");
    reconcile(Some(OTHER)).await;
    assert_eq!(secret(&bench, source.id).await.as_deref(), Some(OTHER));
    bench.engine.set_source_secret(&admin(), source.id, &Secret::new(PASSWORD)).await.unwrap();
    assert_eq!(secret(&bench, source.id).await.as_deref(), Some(PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_way_to_the_same_database_is_the_same_source_and_a_replaced_one_takes_no_password_along() {
    let bench = Bench::new().await;
    bench.engine.reconcile_managed_sources(vec![database(Some(PASSWORD))]).await.unwrap();
    let source = bench.engine.source_named(&admin(), "bank").await.unwrap();
    let mut encrypted = database(None);
    encrypted.config.location = "postgres://eve@127.0.0.1:1/bank?sslmode=require".into();
    bench.engine.reconcile_managed_sources(vec![encrypted.clone()]).await.unwrap();
    let same = bench.engine.source_named(&admin(), "bank").await.unwrap();
    assert_eq!((same.id, &same.config.location), (source.id, &encrypted.config.location));
    assert_eq!(secret(&bench, source.id).await.as_deref(), Some(PASSWORD));

    let mut elsewhere = database(None);
    elsewhere.config.location = "postgresql://ada@elsewhere.example/bank".into();
    let refused = bench.engine.reconcile_managed_sources(vec![elsewhere.clone()]).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::AlreadyExists(Noun::Source));
    let replaced = bench.engine.replace_source(&admin(), elsewhere).await.unwrap();
    assert_eq!(secret(&bench, replaced.id).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_restore_is_cleared_up_with_the_password_that_the_catalogue_keeps() {
    let variant = Variant {
        tcp: true,
        host_based_access: vec!["host all ada 127.0.0.1/32 scram-sha-256".into()],
        ..Variant::default()
    };
    let Some(server) = PostgresServer::own(&variant) else { return };
    server.query("postgres", &format!("CREATE ROLE ada LOGIN CREATEDB PASSWORD '{PASSWORD}'"));
    server.query("postgres", "CREATE DATABASE bank OWNER ada");
    server.query("bank", "SET ROLE ada; CREATE TABLE acct AS SELECT 1 AS id");
    let bench = Bench::new().await;
    let mut new = database(Some(PASSWORD));
    new.config.location = format!("postgresql://ada@127.0.0.1:{}/bank", server.port());
    let source = bench.engine.create_source(&admin(), new).await.unwrap();
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let backup = bench.back_up(&repository).await;
    assert_eq!(backup.state, BackupState::Succeeded, "{}", bench.log(backup.job).await);

    let request = bench.restore_request(&backup, RestoreInto::InPlace);
    let (_, plan) = bench.engine.preview_restore(&admin(), &request).await.unwrap().parts.remove(0);
    let inner = bench.engine.inner();
    crate::kinds::leave_in_journal(inner, backup.job, Some(source.id), &source.config, &plan);
    assert_eq!(crate::kinds::finish_interrupted(inner).await.unwrap(), 1);
    let log = bench.log(backup.job).await;
    assert!(log.contains("had touched nothing"), "{log}");

    // Without it nothing can be finished: the entry stays for a later look.
    crate::kinds::leave_in_journal(inner, backup.job, None, &source.config, &plan);
    assert_eq!(crate::kinds::finish_interrupted(inner).await.unwrap(), 0);

    let restored = bench.restore(bench.restore_request(&backup, RestoreInto::NewSource("bank-copy".into()))).await;
    assert_eq!(restored.state, JobState::Succeeded, "{}", bench.log(restored.id).await);
    assert_eq!(server.query("bank-copy", "SELECT id FROM acct").trim(), "1");
    let copy = bench.engine.source_named(&admin(), "bank-copy").await.unwrap();
    assert!(copy.config.location.ends_with("/bank-copy"), "{}", copy.config.location);
    assert_eq!(secret(&bench, copy.id).await.as_deref(), Some(PASSWORD));
    let other = bench.directory("photos").await;
    let wrong = bench.restore_request(&backup, RestoreInto::Source(other.id));
    let refused = bench.engine.start_restore(&admin(), wrong).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unsupported);
}
