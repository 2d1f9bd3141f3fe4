//! What other versions write into a store: fields that this one does not know, and formats that it cannot read.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Recovery, RecoveryOptions, RecoverySecret, RecoverySummary, configuration::FORMAT, gather};
use crate::{
    Engine, EngineOptions,
    db::HistoryEntry,
    domain::{Error, ErrorCode, SourceSelection},
    lab::bench::{Bench, admin, options},
    service::blocking,
    storage::catalogue::record_configuration,
};

/// A store with one backup.
async fn store() -> Bench {
    let bench = Bench::new().await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("nightly", SourceSelection::One(source.id)).await;
    bench.back_up(&repository).await;
    bench
}

/// Captures the configuration into the store as another version would, and opens the store for a recovery.
async fn captured(bench: &Bench, change: impl FnOnce(&mut Value)) -> Arc<Recovery> {
    let inner = Arc::clone(bench.engine.inner());
    let mut configuration = serde_json::to_value(gather(&inner).await.unwrap().configuration).unwrap();
    change(&mut configuration);
    let row = inner.db.store_row(bench.store.id).await.unwrap().unwrap();
    let vault = inner.db.server_vault(bench.store.id).await.unwrap().unwrap();
    let options = RecoveryOptions {
        location: bench.store.location.clone(),
        credentials: None,
        secret: RecoverySecret::ServerKey(inner.key.clone()),
        name: "main".to_owned(),
    };
    blocking(move || record_configuration(&inner, &row, &vault, configuration.to_string().as_bytes())).await.unwrap();
    Arc::new(Recovery::open(options).await.unwrap())
}

async fn recover(recovery: &Arc<Recovery>, force: bool) -> Result<RecoverySummary, Error> {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions { server: false, ..options(folder.path()) }).await.unwrap();
    engine.recover(&admin(), Arc::clone(recovery), force).await
}

#[tokio::test]
async fn fields_that_a_later_version_added_to_the_configuration_hide_nothing() {
    let bench = store().await;
    let recovery = captured(&bench, |configuration| {
        for list in configuration.as_object_mut().unwrap().values_mut().filter_map(Value::as_array_mut) {
            for item in list.iter_mut().filter_map(Value::as_object_mut) {
                item.insert("added_later".to_owned(), json!({"deep": [1, 2]}));
            }
        }
        configuration["added_later"] = json!([{"of": "another kind"}]);
    })
    .await;
    let summary = recover(&recovery, true).await.unwrap();
    assert_eq!((summary.unreadable, summary.later_format), (0, None), "{summary:?}");
    assert_eq!((summary.backups, summary.repositories, summary.sources), (1, 1, 1), "{summary:?}");
}

#[tokio::test]
async fn one_object_that_is_not_understood_hides_no_other_and_is_counted() {
    let bench = store().await;
    let recovery = captured(&bench, |configuration| {
        configuration["plans"].as_array_mut().unwrap().push(json!({"kind": "of the future"}));
    })
    .await;
    let summary = recover(&recovery, true).await.unwrap();
    assert_eq!((summary.unreadable, summary.backups, summary.sources), (1, 1, 1), "{summary:?}");
}

#[tokio::test]
async fn a_later_format_is_refused_with_its_number_and_by_force_alone_left_out() {
    let bench = store().await;
    let recovery = captured(&bench, |configuration| {
        *configuration = json!({"format": FORMAT + 1, "installation": {"of": "another type"}});
    })
    .await;
    let refused = recover(&recovery, false).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unsupported);
    assert!(refused.sentence.contains(&format!("its format is {}", FORMAT + 1)), "{refused}");
    assert!(refused.hint.unwrap().contains("--force"));
    let summary = recover(&recovery, true).await.unwrap();
    assert_eq!((summary.later_format, summary.backups), (Some(FORMAT + 1), 1), "{summary:?}");
}

#[tokio::test]
async fn lines_of_the_history_with_fields_of_a_later_version_say_the_same() {
    let bench = store().await;
    let entries = bench.engine.inner().db.history(bench.store.id, 10, 0).await.unwrap();
    assert!(!entries.is_empty());
    for entry in entries {
        let line = serde_json::to_value(&entry).unwrap();
        let mut later = line.clone();
        for place in ["", "/job", "/job/steps/0", "/job/progress", "/backup", "/backup/parts/0", "/log/0"] {
            if let Some(object) = later.pointer_mut(place).and_then(Value::as_object_mut) {
                object.insert("added_later".to_owned(), json!(true));
            }
        }
        assert_ne!(later, line);
        let read: HistoryEntry = serde_json::from_value(later).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), line);
    }
}
