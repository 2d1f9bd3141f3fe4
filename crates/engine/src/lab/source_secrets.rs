//! Passwords of sources: sealed in the catalogue, opened for drivers, nowhere else.

use trivault_sources::{PartRestorePlan, PartRestoreRequest, RestoreTarget, Secret};
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
        crate::kinds::leave_in_journal(inner, JobId(Uuid::now_v7()), &config, &plan);
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
