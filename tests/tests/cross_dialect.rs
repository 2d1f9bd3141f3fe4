//! A backup made through any dialect appears in the other two, and is restored and deleted through them.

#![allow(clippy::unwrap_used, reason = "test code")]

use trivault_tests::{
    World,
    client::{Body, Who},
    compare::assert_same_database,
    world::{DATABASE, PASSCODE},
};

const STORE: &str = "/arcgis/admin/system/disasterrecovery/stores/default";

#[tokio::test]
async fn a_couchbase_backup_is_listed_restored_and_deleted_through_the_others() {
    let world = World::new();
    let (reference, _) = world.copy_live_data("reference");
    world.create_repository("nightly", Some(DATABASE)).await;
    let task = world.couchbase_task("nightly", "backup", "").await;
    assert_eq!(task["status"], "done", "{task:#}");

    let (bearer, addon) = world.dbaas(DATABASE).await;
    let rows = world.client.get(&format!("/api/databases/{addon}/backups"), &bearer).await;
    let row = &rows.json["database_backups"][0];
    assert_eq!(row["status"], "done", "{}", rows.text());
    assert_eq!(row["method"], "manual");

    let token = world.arcgis_token().await;
    let list = world.client.get(&format!("{STORE}/backups?f=json&token={token}"), &Who::Nobody).await;
    let name = list.json["backups"][0]["backupName"].as_str().unwrap().to_owned();
    assert!(name.starts_with("nightly-"), "{name}");

    rusqlite::Connection::open(&world.database)
        .unwrap()
        .execute_batch("DELETE FROM tx; DELETE FROM acct WHERE id > 10")
        .unwrap();
    let path = format!("{STORE}/backups/{name}");
    let fields = [("passcode", "anything at all"), ("f", "json"), ("token", token.as_str())];
    let restored = world.client.post(&format!("{path}/restore"), &Who::Nobody, Body::Form(&fields)).await;
    assert_eq!(restored.json["status"], "success", "{}", restored.text());
    let job = world.arcgis_job(&token, restored.json["jobid"].as_str().unwrap()).await;
    assert_eq!(job["status"], "COMPLETED", "{job:#}\n{}", world.gateway.log());
    assert_same_database(&reference, &world.database);
    // The passcode that the form demands was compared with nothing, and the log says so.
    let jobs = world.gateway.json(&["jobs", "list", "--json"]);
    let restore = jobs.as_array().unwrap().iter().find(|job| job["kind"] == "restore").unwrap();
    let log = world.gateway.json(&["jobs", "log", restore["id"].as_str().unwrap(), "--json"]).to_string();
    assert!(log.contains("not compared") && !log.contains("anything at all"), "{log}");

    let deleted = world
        .client
        .post(&format!("{path}/delete"), &Who::Nobody, Body::Form(&[("f", "json"), ("token", &token)]))
        .await;
    assert_eq!(deleted.json["status"], "success", "{}", deleted.text());
    let id = row["id"].as_str().unwrap();
    assert_eq!(world.client.get(&format!("/api/backups/{id}"), &bearer).await.status, 404);
    let info = world.client.get("/api/v1/cluster/self/repository/active/nightly/info", &Who::administrator()).await;
    let names: Vec<&str> =
        info.json["backups"].as_array().unwrap().iter().map(|backup| backup["date"].as_str().unwrap()).collect();
    // The safety backup that the restore made stays.
    assert_eq!(names.len(), 1, "{}", info.text());
}

#[tokio::test]
async fn an_arcgis_backup_is_an_imported_repository_and_a_protected_row() {
    let world = World::new();
    let token = world.arcgis_token().await;
    world.arcgis_backup(&token, "before-upgrade").await;
    let administrator = Who::administrator();
    let imported = world.client.get("/api/v1/cluster/self/repository/imported", &administrator).await;
    let site = imported.json.as_array().unwrap().iter().find(|found| found["id"] == "site-default").unwrap();
    assert_eq!(site["plan_name"], "");
    assert_eq!(site["state"], "imported");
    let path = "/api/v1/cluster/self/repository/imported/site-default";
    let info = world.client.get(&format!("{path}/info"), &administrator).await;
    assert_eq!(info.json["count"], 1);
    assert_eq!(info.json["backups"][0]["buckets"].as_array().unwrap().len(), 2);
    let history = world.client.get(&format!("{path}/taskHistory"), &administrator).await;
    assert_eq!(history.json[0]["type"], "BACKUP");
    let body = format!(r#"{{"target":"{}","user":"Administrator","password":"password"}}"#, world.gateway.url);
    let restore = world.client.post(&format!("{path}/restore"), &administrator, Body::Text(&body)).await;
    assert_eq!(restore.status, 400, "there is no place for the passcode: {}", restore.text());

    let (bearer, addon) = world.dbaas(DATABASE).await;
    let rows = world.client.get(&format!("/api/databases/{addon}/backups"), &bearer).await;
    assert_eq!(rows.json, serde_json::json!({"database_backups": []}));
    let rows = world.client.get(&format!("/api/databases/{addon}/backups?protected=true"), &bearer).await;
    let row = &rows.json["database_backups"][0];
    assert_eq!((&row["status"], &row["protected"]), (&"done".into(), &true.into()));
    let id = row["id"].as_str().unwrap();
    let archive = world.client.get(&format!("/api/databases/{addon}/backups/{id}/archive"), &bearer).await;
    assert_eq!(archive.status, 422, "{}", archive.text());
    assert!(!world.gateway.log().contains(PASSCODE));
}

#[tokio::test]
async fn a_dbaas_backup_is_an_imported_repository_and_listed_under_its_own_name() {
    let world = World::new();
    let (bearer, addon) = world.dbaas(DATABASE).await;
    let row = world.dbaas_backup(&bearer, &addon).await;
    assert_eq!(row["status"], "done", "{row:#}\n{}", world.gateway.log());
    let token = world.arcgis_token().await;
    let list = world.client.get(&format!("{STORE}/backups?f=json&token={token}"), &Who::Nobody).await;
    assert_eq!(list.json["backups"][0]["backupName"], row["name"]);
    let name = row["name"].as_str().unwrap();
    let one = world.client.get(&format!("{STORE}/backups/{name}?f=json&token={token}"), &Who::Nobody).await;
    assert_eq!(one.json["backupName"], row["name"]);
    let path = format!("/api/v1/cluster/self/repository/imported/db-{DATABASE}");
    let info = world.client.get(&format!("{path}/info"), &Who::administrator()).await;
    assert_eq!(info.json["count"], 1, "{}", info.text());

    let (reference, _) = world.copy_live_data("reference");
    let body = format!(
        r#"{{"target":"{}","user":"Administrator","password":"password","auto_create_buckets":true,"map_data":"{DATABASE}=copy"}}"#,
        world.gateway.url
    );
    let restore = world.client.post(&format!("{path}/restore"), &Who::administrator(), Body::Text(&body)).await;
    assert_eq!(restore.status, 200, "{}", restore.text());
    let name = restore.json["task_name"].as_str().unwrap();
    let done = |history: &serde_json::Value| matches!(history[0]["status"].as_str(), Some("done" | "failed"));
    let history = world.client.until(&format!("{path}/taskHistory?taskName={name}"), &Who::administrator(), done).await;
    assert_eq!(history.json[0]["status"], "done", "{}\n{}", history.text(), world.gateway.log());
    assert_same_database(&reference, &world.data_directory().join("restored/copy/copy.sqlite"));
}

#[tokio::test]
async fn backups_of_one_source_through_two_dialects_share_their_bytes() {
    let world = World::new();
    world.create_repository("nightly", Some(DATABASE)).await;
    world.couchbase_task("nightly", "backup", "").await;
    let (bearer, addon) = world.dbaas(DATABASE).await;
    world.dbaas_backup(&bearer, &addon).await;
    let backups = world.gateway.json(&["backup", "list", "--json"]);
    let stored: Vec<u64> =
        backups.as_array().unwrap().iter().map(|backup| backup["parts"][0]["stored_size"].as_u64().unwrap()).collect();
    // Newest first: the second stores a manifest and a tree, no page of the database.
    assert!(stored[0] < 16 * 1024 && stored[1] > stored[0] * 5, "{stored:?}");
}
