//! What others do and how it is shown here: backups made through other dialects, protected, failed and cancelled ones;
//! sources that went away or were replaced; users who may not do everything.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;

use common::{Gateway, Sent, config_of};
use serde_json::{Value, json};
use trivault_dialect_dbaas::{NAME, names_of_source};
use trivault_engine::{
    Caller, NewRepository, NewSource, Role, SecretText, SourceSelection, StartBackup, StartedBackup, Trigger,
};

const PASSCODE: &str = "open sesame 1";

/// A backup as another dialect makes one: of all sources, in a repository of its own.
async fn of_another_dialect(gateway: &Gateway, passcode: Option<&str>) -> StartedBackup {
    let repository = NewRepository {
        owner: "another",
        name: "nightly".into(),
        store: None,
        sources: SourceSelection::All,
        plan: None,
        retention: None,
        aliases: Vec::new(),
        attributes: Vec::new(),
    };
    let repository = gateway.engine.ensure_repository(&gateway.caller, repository).await.unwrap();
    let wanted = StartBackup {
        repository: repository.id,
        trigger: Trigger::Scheduled,
        task: Some("daily".into()),
        full: false,
        description: "not ours".into(),
        keep_until: None,
        passcode: passcode.map(SecretText::new),
        aliases: Vec::new(),
        attributes: Vec::new(),
        job_attributes: Vec::new(),
    };
    gateway.engine.start_backup(&gateway.caller, wanted).await.unwrap()
}

async fn archive(gateway: &Gateway, backup: &Value, addon: &str) -> common::Answer {
    let path = format!("/api/databases/{addon}/backups/{}/archive", backup["id"].as_str().unwrap());
    gateway.get(&path, &gateway.main).await
}

#[tokio::test]
async fn a_backup_of_all_sources_is_a_row_of_each_database_and_can_be_downloaded() {
    let gateway = Gateway::open().await;
    of_another_dialect(&gateway, None).await;
    let mut ids = Vec::new();
    for names in [&gateway.names, &gateway.other] {
        let rows = gateway.list(names, "").await;
        assert_eq!(rows.len(), 1);
        let row = gateway.ended(rows[0]["id"].as_str().unwrap()).await;
        assert_eq!((&row["status"], &row["method"]), (&json!("done"), &json!("periodic")));
        assert_eq!(row["database_id"], names.database_id);
        let link = archive(&gateway, &row, &names.addon_id).await.json()["download_url"].as_str().unwrap().to_owned();
        let download = gateway.send("GET", link.strip_prefix(&gateway.base).unwrap(), Sent::default()).await;
        assert_eq!((download.status, json!(download.bytes.len())), (200, row["size"].clone()));
        ids.push(row["id"].clone());
    }
    assert_ne!(ids[0], ids[1], "each part has an id of its own");
    gateway.running.stop().await;
}

#[tokio::test]
async fn a_protected_backup_is_listed_only_when_asked_for_and_never_downloaded() {
    let gateway = Gateway::open().await;
    let ours = gateway.backup().await;
    of_another_dialect(&gateway, Some(PASSCODE)).await;
    let rows = gateway.list(&gateway.names, "").await;
    assert_eq!(rows.iter().map(|row| &row["id"]).collect::<Vec<_>>(), [&ours["id"]], "the newest can be downloaded");
    let rows = gateway.list(&gateway.names, "?protected=true").await;
    assert_eq!(rows.len(), 2);
    let row = gateway.ended(rows[0]["id"].as_str().unwrap()).await;
    assert_eq!((&row["status"], &row["protected"]), (&json!("done"), &json!(true)), "shown by its id in any case");
    let refused = archive(&gateway, &row, &gateway.names.addon_id).await;
    assert_eq!(refused.status, 422);
    assert!(refused.json()["errors"]["backup"][0].as_str().unwrap().contains("passcode"), "{}", refused.json());
    gateway.running.stop().await;
}

#[tokio::test]
async fn a_failed_backup_says_why_and_has_nothing_to_download() {
    let gateway = Gateway::open().await;
    fs::remove_dir_all(gateway.directory.path().join("shop")).unwrap();
    let row = gateway.backup().await;
    assert_eq!((&row["status"], &row["size"], &row["error_code"]), (&json!("error"), &json!(0), &json!("failed")));
    assert!(row["error"].as_str().unwrap().ends_with('.'), "{row}");
    let refused = archive(&gateway, &row, &gateway.names.addon_id).await;
    assert_eq!((refused.status, refused.json()["errors"]["backup"].is_array()), (422, true));
    gateway.running.stop().await;
}

#[tokio::test]
async fn a_backup_that_is_cancelled_while_it_waits_ends_in_error() {
    let gateway = Gateway::open_with(0).await;
    let started = of_another_dialect(&gateway, None).await;
    let waiting = gateway.list(&gateway.names, "").await.remove(0);
    assert_eq!(
        (&waiting["status"], &waiting["size"], &waiting["started_at"]),
        (&json!("scheduled"), &Value::Null, &Value::Null)
    );
    let refused = archive(&gateway, &waiting, &gateway.names.addon_id).await;
    assert_eq!(refused.json(), json!({"errors": {"backup": ["is not done"]}}));
    gateway.engine.cancel_job(&gateway.caller, started.job.id).await.unwrap();
    let row = gateway.ended(waiting["id"].as_str().unwrap()).await;
    assert_eq!((&row["status"], &row["size"], &row["error_code"]), (&json!("error"), &json!(0), &json!("cancelled")));
    gateway.running.stop().await;
}

#[tokio::test]
async fn several_requests_make_several_backups_that_wait_for_each_other() {
    let gateway = Gateway::open_with(0).await;
    let path = format!("/api/databases/{}/backups", gateway.names.addon_id);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let made = gateway.post(&path, &gateway.addon_token).await;
        assert_eq!((made.status, &made.json()["database_backup"]["status"]), (201, &json!("scheduled")));
        ids.insert(0, made.json()["database_backup"]["id"].clone());
    }
    let rows = gateway.list(&gateway.names, "").await;
    assert_eq!(rows.iter().map(|row| row["id"].clone()).collect::<Vec<_>>(), ids);
    gateway.running.stop().await;
}

#[tokio::test]
async fn a_database_that_is_no_longer_configured_keeps_its_backups_and_takes_no_new_ones() {
    let gateway = Gateway::open().await;
    let done = gateway.backup().await;
    gateway.engine.reconcile_managed_sources(Vec::new()).await.unwrap();
    let path = format!("/api/databases/{}", gateway.names.addon_id);
    assert_eq!(gateway.get(&path, &gateway.main).await.json()["database"]["status"], "stopped");
    let addon = format!("/v1/apps/{}/addons/{}", gateway.names.app, gateway.names.addon_id);
    assert_eq!(gateway.get(&addon, &gateway.main).await.json()["addon"]["status"], "suspended");
    assert_eq!(gateway.list(&gateway.names, "").await[0]["id"], done["id"]);
    assert_eq!(archive(&gateway, &done, &gateway.names.addon_id).await.status, 200);
    let refused = gateway.post(&format!("{path}/backups"), &gateway.main).await;
    assert_eq!(refused.status, 422);
    assert!(refused.json()["errors"]["database"][0].is_string(), "{}", refused.json());
    gateway.running.stop().await;
}

#[tokio::test]
async fn a_source_that_was_replaced_is_another_database_with_a_repository_of_its_own() {
    let gateway = Gateway::open().await;
    let old = gateway.backup().await;
    let place = gateway.directory.path().join("elsewhere");
    fs::create_dir(&place).unwrap();
    let source = NewSource { name: "atelier.shop".into(), config: config_of(&place), managed: true };
    let new = gateway.engine.replace_source(&gateway.caller, source).await.unwrap();
    let names = names_of_source(&gateway.engine, new.id).await.unwrap();
    assert_eq!(names.app, "atelier-shop-2");
    assert!(gateway.list(&names, "").await.is_empty());
    let token = gateway.token_of(&names).await;
    let made = gateway.post("/api/databases/atelier.shop/backups", &token).await;
    assert_eq!(made.status, 201, "the name means the one that is attached: {}", made.json());
    let made = gateway.ended(made.json()["database_backup"]["id"].as_str().unwrap()).await;
    assert_eq!((&made["status"], &made["database_id"]), (&json!("done"), &json!(names.database_id)));
    let rows = gateway.list(&gateway.names, "").await;
    assert_eq!(rows.iter().map(|row| &row["id"]).collect::<Vec<_>>(), [&old["id"]]);
    gateway.running.stop().await;
}

#[tokio::test]
async fn a_reader_sees_backups_and_neither_makes_nor_downloads_nor_schedules_them() {
    let gateway = Gateway::open().await;
    let done = gateway.backup().await;
    let password = SecretText::new("reader's password");
    gateway.engine.create_user(&gateway.caller, "reader", &password, Role::Reader).await.unwrap();
    let principal = gateway.engine.authenticate_password("reader", &password, "127.0.0.1").await.unwrap();
    let caller = Caller { principal, ..gateway.caller.clone() };
    let (_, secret) = gateway.engine.create_api_token(&caller, NAME, "r", "tk-us-", None).await.unwrap();
    let bearer = gateway.exchange(secret.expose()).await;
    let database = format!("/api/databases/{}", gateway.names.addon_id);
    let backup = format!("{database}/backups/{}", done["id"].as_str().unwrap());
    for path in [database.clone(), format!("{database}/backups"), backup.clone()] {
        assert_eq!(gateway.get(&path, &bearer).await.status, 200, "{path}");
    }
    assert_eq!(gateway.get(&format!("{backup}/archive"), &bearer).await.status, 403);
    assert_eq!(gateway.post(&format!("{database}/backups"), &bearer).await.status, 403);
    let body = r#"{"database":{"periodic_backups_enabled":true}}"#;
    let sent = Sent { bearer: Some(&bearer), body: Some(body), ..Sent::default() };
    assert_eq!(gateway.send("PATCH", &database, sent).await.status, 403);
    gateway.running.stop().await;
}
