//! Whole stories: backed up, looked at, restored and compared.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{BUCKET, Gateway, PASSWORD, R, USER, backup_of, rows};
use serde_json::{Value, json};

fn restore(members: Value) -> String {
    let mut body = json!({ "target": "http://127.0.0.1:8091", "user": USER, "password": PASSWORD });
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body.to_string()
}

async fn restored(gateway: &Gateway, id: &str, members: Value) -> Value {
    let answer = gateway.call("POST", &format!("{R}/active/{id}/restore"), &restore(members)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let task = answer.json()["task_name"].as_str().unwrap().to_owned();
    assert!(task.starts_with("restore-"), "{task}");
    gateway.follow(&format!("{R}/active/{id}"), &task).await
}

/// Where the data of a bucket lies.
async fn location(gateway: &Gateway, bucket: &str) -> std::path::PathBuf {
    gateway.engine.source_named(&gateway.caller, bucket).await.unwrap().config.location.into()
}

#[tokio::test]
async fn a_bucket_is_backed_up_shown_and_restored_into_a_new_one_row_by_row() {
    let gateway = Gateway::open().await;
    gateway.create("testRepo", BUCKET).await;
    let run = gateway.back_up("testRepo").await;
    assert_eq!(
        (&run["status"], &run["type"], &run["error_code"]),
        (&json!("done"), &json!("BACKUP"), &json!(0)),
        "{run}"
    );
    assert!(run.get("error").is_none() && run.get("name").is_none(), "{run}");
    let name = backup_of(&run);

    let info = gateway.get(&format!("{R}/active/testRepo/info")).await;
    assert_eq!((&info["count"], &info["backups"][0]["date"]), (&json!(1), &json!(name)));
    let backup = &info["backups"][0];
    assert_eq!((&backup["type"], &backup["complete"]), (&json!("FULL"), &json!(true)));
    assert_eq!(backup["source"], json!(gateway.base));
    let bucket = &backup["buckets"][0];
    assert_eq!((&bucket["name"], &bucket["items"], &bucket["mutations"]), (&json!(BUCKET), &json!(1000), &json!(1000)));
    assert_eq!(bucket["index_count"], json!(1));
    let names: Vec<&str> = bucket["scopes"]["0"]["collections"]
        .as_object()
        .unwrap()
        .values()
        .map(|collection| collection["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"airline") && names.contains(&"route"), "{names:?}");

    let run =
        restored(&gateway, "testRepo", json!({ "map_data": "travel-sample=ts7", "auto_create_buckets": true })).await;
    assert_eq!((&run["status"], &run["target_cluster"]), (&json!("done"), &json!("http://127.0.0.1:8091")), "{run}");
    assert_eq!(backup_of(&run), name);
    assert_eq!(rows(&location(&gateway, "ts7").await), rows(&gateway.path("travel.db")));

    let history = gateway.get(&format!("{R}/active/testRepo/taskHistory")).await;
    let types: Vec<&str> = history.as_array().unwrap().iter().map(|run| run["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["RESTORE", "BACKUP"], "newest first");
    let text = history.to_string();
    assert!(!text.contains(PASSWORD), "no credentials in the history: {text}");
    gateway.close().await;
}

#[tokio::test]
async fn a_restore_in_place_adds_what_is_missing_and_overwrites_only_when_told() {
    let gateway = Gateway::open().await;
    gateway.create("testRepo", BUCKET).await;
    gateway.back_up("testRepo").await;
    let path = gateway.path("travel.db");
    let before = rows(&path);
    let damage = || {
        let database = rusqlite::Connection::open(&path).unwrap();
        let sql = "DELETE FROM route WHERE id > 400; UPDATE airline SET name = 'changed' WHERE id = 1;
                   INSERT OR REPLACE INTO airline VALUES (9999, 'new', NULL, x'00');";
        database.execute_batch(sql).unwrap();
    };
    damage();
    let run = restored(&gateway, "testRepo", json!({})).await;
    assert_eq!(run["status"], json!("done"), "{run}");
    let after = rows(&path);
    assert_eq!(after.len(), before.len() + 1, "missing rows are back, and the new one stays");
    assert!(after[0].starts_with("1|changed|"), "what exists stays: {}", after[0]);

    damage();
    let run = restored(&gateway, "testRepo", json!({ "force_updates": true })).await;
    assert_eq!(run["status"], json!("done"), "{run}");
    let after: Vec<String> = rows(&path).into_iter().filter(|row| !row.starts_with("9999|")).collect();
    assert_eq!(after, before);
    gateway.close().await;
}

#[tokio::test]
async fn a_repository_of_all_buckets_backs_each_up_and_restores_the_one_that_is_named() {
    let gateway = Gateway::open().await;
    gateway.create("all", "").await;
    gateway.back_up("all").await;
    let second = gateway.back_up("all").await;
    let info = gateway.get(&format!("{R}/active/all/info")).await;
    let backups = info["backups"].as_array().unwrap();
    assert_eq!((backups.len(), &info["count"]), (2, &json!(2)));
    assert_eq!((&backups[0]["type"], &backups[1]["type"]), (&json!("FULL"), &json!("INCR")));
    assert_eq!(backups[1]["date"], json!(backup_of(&second)), "oldest first");
    assert_eq!(backups[0]["buckets"].as_array().unwrap().len(), 2);
    let page = gateway.get(&format!("{R}/active/all/info?limit=1&offset=1")).await;
    assert_eq!((page["backups"].as_array().unwrap().len(), &page["count"]), (1, &json!(2)));
    assert_eq!(page["backups"][0]["date"], backups[1]["date"]);

    let members = json!({ "include_data": "photos", "map_data": "photos=copies", "auto_create_buckets": true });
    let run = restored(&gateway, "all", members).await;
    assert_eq!(run["status"], json!("done"), "{run}");
    let descriptions = run["node_runs"][0]["stats"]["transfers"].as_array().unwrap().len();
    assert_eq!(descriptions, 2, "one transfer for each backup in the range");
    let copy = location(&gateway, "copies").await.join("2024/ä.jpg");
    assert_eq!(std::fs::read(copy).unwrap(), [0, 159, 146, 150]);
    gateway.close().await;
}

#[tokio::test]
async fn the_history_is_filtered_by_time_name_and_page() {
    let gateway = Gateway::open().await;
    gateway.create("testRepo", BUCKET).await;
    let first = gateway.back_up("testRepo").await;
    let second = gateway.back_up("testRepo").await;
    let of = async |query: &str| {
        let shown = gateway.get(&format!("{R}/active/testRepo/taskHistory{query}")).await;
        let names = shown.as_array().unwrap().iter().map(|run| run["task_name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let name = |run: &Value| run["task_name"].as_str().unwrap().to_owned();
    let both = vec![name(&second), name(&first)];
    assert_eq!(of("").await, both);
    assert_eq!(of("?limit=0").await, both);
    assert_eq!(of("?limit=1").await, [name(&second)]);
    assert_eq!(of("?limit=1&offset=1").await, [name(&first)]);
    assert_eq!(of("?offset=5").await, Vec::<String>::new());
    let start = second["start"].as_str().unwrap();
    assert_eq!(of(&format!("?first={start}")).await, [name(&second)], "the start itself is included");
    assert_eq!(of("?first=2999-01-01T00:00:00Z").await, Vec::<String>::new());
    assert_eq!(of(&format!("?taskName={}", name(&first))).await, [name(&first)]);
    assert_eq!(of(&format!("?taskName={}", name(&first).to_uppercase())).await, [name(&first)]);
    assert_eq!(of("?taskName=nothing").await, Vec::<String>::new());
    gateway.close().await;
}

#[tokio::test]
async fn a_repository_whose_bucket_was_made_anew_is_unhealthy_and_backs_nothing_up() {
    let gateway = Gateway::open().await;
    gateway.create("testRepo", BUCKET).await;
    let old = gateway.engine.source_named(&gateway.caller, BUCKET).await.unwrap();
    common::sample(&gateway.path("other.db"));
    let config = serde_json::from_value(json!({ "kind": "sqlite", "location": gateway.path("other.db") })).unwrap();
    let replacement = trivault_engine::NewSource { name: BUCKET.to_owned(), config, managed: true };
    let new = gateway.engine.replace_source(&gateway.caller, replacement).await.unwrap();
    let (old, new) = (old.id.0.simple(), new.id.0.simple());
    let shown = gateway.get(&format!("{R}/active/testRepo")).await;
    let issue = format!("cannot verify bucket exists: bucket UUIDs don't match `{old}` != `{new}`");
    assert_eq!(shown["health"], json!({ "healthy": false, "health_issue": issue }));
    let answer = gateway.call("POST", &format!("{R}/active/testRepo/backup"), "").await;
    let extras = format!("failed bucket check for bucket 'travel-sample': bucket UUIDs don't match {old} != {new}");
    assert_eq!(answer.json(), json!({ "status": 500, "msg": "could not send task", "extras": extras }));
    gateway.close().await;
}

#[tokio::test]
async fn merged_backups_live_on_in_the_range_of_the_newest_and_the_history_names_them() {
    let gateway = Gateway::open().await;
    gateway.create("testRepo", BUCKET).await;
    let mut names = Vec::new();
    for _ in 0..3 {
        names.push(backup_of(&gateway.back_up("testRepo").await));
    }
    let merge = async |body: Value| {
        let answer = gateway.call("POST", &format!("{R}/active/testRepo/merge"), &body.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let task = answer.json()["task_name"].as_str().unwrap().to_owned();
        assert!(task.starts_with("MERGE-"), "{task}");
        gateway.follow(&format!("{R}/active/testRepo"), &task).await
    };
    let unknown = merge(json!({ "start": "2020-01-01T00_00_00Z", "end": names[2], "data_range": "" })).await;
    assert_eq!((&unknown["status"], &unknown["type"]), (&json!("failed"), &json!("MERGE")), "{unknown}");
    assert!(unknown["error"].as_str().unwrap().contains("2020-01-01T00_00_00Z"), "{unknown}");
    let backwards = json!({ "start": names[2], "end": names[0] }).to_string();
    let answer = gateway.call("POST", &format!("{R}/active/testRepo/merge"), &backwards).await;
    assert_eq!((answer.status, &answer.json()["extras"]), (400, &json!("start is later than end")));

    let run = merge(json!({ "start": names[1], "end": "latest" })).await;
    assert_eq!((&run["status"], &run["type"]), (&json!("done"), &json!("MERGE")), "{run}");
    let transfers = run["node_runs"][0]["stats"]["transfers"].as_array().unwrap();
    let told: Vec<&str> = transfers.iter().map(|transfer| transfer["description"].as_str().unwrap()).collect();
    assert_eq!(told, [format!("(1/2) Merging backup {}", names[1]), format!("(2/2) Merging backup {}", names[2])]);
    assert_eq!(backup_of(&run), names[2], "the last one is the merged one's name");

    let info = gateway.get(&format!("{R}/active/testRepo/info")).await;
    let backups = info["backups"].as_array().unwrap();
    assert_eq!(backups.len(), 2);
    assert!(backups[0].get("range").is_none());
    let merged = &backups[1];
    assert_eq!((&merged["date"], &merged["type"]), (&json!(names[2]), &json!("MERGE - INCR")), "{merged}");
    assert_eq!((&merged["source"], &merged["range"]), (&json!("Merge"), &json!([names[1], names[2]])));

    // Everything: what was merged is merged on.
    let run = merge(json!({})).await;
    assert_eq!(run["status"], json!("done"), "{run}");
    let info = gateway.get(&format!("{R}/active/testRepo/info")).await;
    assert_eq!(info["count"], json!(1));
    assert_eq!((&info["backups"][0]["type"], &info["backups"][0]["range"]), (&json!("MERGE - FULL"), &json!(names)));
    let run =
        restored(&gateway, "testRepo", json!({ "map_data": "travel-sample=ts9", "auto_create_buckets": true })).await;
    assert_eq!(run["status"], json!("done"), "{run}");
    assert_eq!(rows(&location(&gateway, "ts9").await), rows(&gateway.path("travel.db")));
    gateway.close().await;
}

#[tokio::test]
async fn a_prune_names_each_backup_that_its_repository_lets_go() {
    let gateway = Gateway::open().await;
    gateway.create("testRepo", BUCKET).await;
    let names = [backup_of(&gateway.back_up("testRepo").await), backup_of(&gateway.back_up("testRepo").await)];
    let all = gateway.engine.repositories(&gateway.caller, trivault_engine::RepositoryFilter::default()).await.unwrap();
    let rules = trivault_engine::Retention { last: 1, ..trivault_engine::Retention::everything(gateway.engine.zone()) };
    gateway.engine.set_retention(&gateway.caller, all[0].id, Some(rules), true).await.unwrap();
    let answer = gateway.call("POST", &format!("{R}/active/testRepo/prune"), "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let task = answer.json()["task_name"].as_str().unwrap().to_owned();
    let run = gateway.follow(&format!("{R}/active/testRepo"), &task).await;
    assert_eq!((&run["status"], &run["type"]), (&json!("done"), &json!("PRUNE")), "{run}");
    let transfers = run["node_runs"][0]["stats"]["transfers"].as_array().unwrap();
    assert_eq!(transfers.len(), 1);
    assert_eq!(transfers[0]["description"], json!(format!("Deleting backup {}", names[0])));
    let info = gateway.get(&format!("{R}/active/testRepo/info")).await;
    assert_eq!((&info["count"], &info["backups"][0]["date"]), (&json!(1), &json!(names[1])));
    gateway.close().await;
}
