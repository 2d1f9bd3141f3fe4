//! ArcGIS disaster recovery against the real binary: the documented calls, as printed.

#![allow(clippy::unwrap_used, reason = "test code")]

use serde_json::{Value, json};
use trivault_tests::{
    Answer, World,
    client::{Body, Who},
    compare::{assert_same_database, assert_same_tree},
    world::PASSCODE,
};

const STORE: &str = "/arcgis/admin/system/disasterrecovery/stores/default";

fn code(answer: &Answer) -> &Value {
    assert_eq!(answer.status, 200, "errors travel with status 200: {}", answer.text());
    assert!(
        answer.json["error"]["message"].is_string() && answer.json["error"]["details"].is_array(),
        "{}",
        answer.text()
    );
    &answer.json["error"]["code"]
}

async fn post(world: &World, path: &str, fields: &[(&str, &str)]) -> Answer {
    world.client.post(path, &Who::Nobody, Body::Form(fields)).await
}

#[tokio::test]
async fn a_backup_under_a_passcode_is_made_followed_and_restored_in_place() {
    let world = World::new();
    let (database, tree) = world.copy_live_data("reference");
    let token = world.arcgis_token().await;
    let job = world.arcgis_backup(&token, "before-upgrade").await;
    assert_eq!(job["status"], "COMPLETED", "{job:#}");
    assert_eq!(job["result"]["code"], 3);
    let stages: Vec<&str> =
        job["result"]["stages"].as_array().unwrap().iter().map(|stage| stage["name"].as_str().unwrap()).collect();
    let wanted = [
        "Validation",
        "Stage Relational store",
        "Stage Object store",
        "Stage system configuration",
        "Post backup operation cleanup",
    ];
    assert_eq!(stages, wanted);
    let entry =
        world.client.get(&format!("{STORE}/backups/before-upgrade?f=json&token={token}"), &Who::Nobody).await.json;
    assert_eq!(entry["status"], "completed", "{entry:#}");
    assert_eq!(entry["relationalStore"][0]["systemDatabases"], json!(["travel-sample"]));
    assert_eq!(entry["objectStore"][0]["buckets"], json!(["photos"]));
    assert_eq!(entry["retentionDate"], -1);

    let connection = rusqlite::Connection::open(&world.database).unwrap();
    connection.execute_batch("DELETE FROM tx; UPDATE acct SET bal = 0").unwrap();
    drop(connection);
    std::fs::remove_dir_all(world.tree.join("album")).unwrap();

    let restore = format!("{STORE}/backups/before-upgrade/restore");
    let wrong = post(&world, &restore, &[("passcode", "wrong wrong"), ("f", "json"), ("token", &token)]).await;
    assert_eq!(code(&wrong), 400);
    assert!(!world.tree.join("album").exists(), "a refused restore touches nothing");
    let accepted = post(&world, &restore, &[("passcode", PASSCODE), ("f", "json"), ("token", &token)]).await;
    assert_eq!(accepted.json["status"], "success", "{}", accepted.text());
    let job = world.arcgis_job(&token, accepted.json["jobid"].as_str().unwrap()).await;
    assert_eq!(job["status"], "COMPLETED", "{job:#}\n{}", world.gateway.log());
    assert_same_database(&database, &world.database);
    assert_same_tree(&tree, &world.tree);
    let status = world
        .client
        .get(&format!("/arcgis/admin/system/disasterrecovery/status?f=pjson&token={token}"), &Who::Nobody)
        .await;
    assert_eq!(status.json["status"]["operation"], "Restore");
    assert!(!world.gateway.log().contains(PASSCODE), "a passcode must not reach the log");
}

#[tokio::test]
async fn a_token_is_taken_from_body_query_and_both_headers_and_nothing_else_will_do() {
    let world = World::new();
    let token = world.arcgis_token().await;
    let path = "/context/admin/system/disasterrecovery/stores";
    let form = [("f", "json"), ("token", token.as_str())];
    assert!(post(&world, path, &form).await.json["backupStores"].is_array());
    assert!(
        world.client.get(&format!("{path}?f=json&token={token}"), &Who::Nobody).await.json["backupStores"].is_array()
    );
    assert!(
        world.client.get(&format!("{path}?f=json"), &Who::Bearer(token.clone())).await.json["backupStores"].is_array()
    );
    let esri = format!("Bearer {token}");
    let headers = [("X-Esri-Authorization", esri.as_str())];
    let answer = world
        .client
        .send_with(reqwest::Method::GET, &format!("{path}?f=json"), &Who::Nobody, Body::None, &headers)
        .await;
    assert!(answer.json["backupStores"].is_array());

    assert_eq!(code(&world.client.get(&format!("{path}?f=json"), &Who::Nobody).await), 499);
    assert_eq!(code(&world.client.get(&format!("{path}?f=json&token=nonsense"), &Who::Nobody).await), 498);
    let cookie = format!("esri_auth={token}");
    let headers = [("Cookie", cookie.as_str())];
    let read = world
        .client
        .send_with(reqwest::Method::GET, &format!("{path}?f=json"), &Who::Nobody, Body::None, &headers)
        .await;
    assert!(read.json["backupStores"].is_array(), "a cookie is good for reading");
    let create = format!("{STORE}/backups/create");
    let fields = [("name", "x"), ("passcode", PASSCODE), ("f", "json")];
    let written =
        world.client.send_with(reqwest::Method::POST, &create, &Who::Nobody, Body::Form(&fields), &headers).await;
    assert_eq!(code(&written), 499, "a POST with a cookie must repeat the token");
}

#[tokio::test]
async fn generate_token_says_what_is_wrong_in_its_own_words() {
    let world = World::new();
    let path = "/context/sharing/rest/generateToken";
    let answer = post(&world, path, &[("username", "Administrator"), ("password", "wrong"), ("f", "json")]).await;
    assert_eq!(code(&answer), 400);
    assert_eq!(answer.json["error"]["message"], "Unable to generate token.");
    assert_eq!(answer.json["error"]["details"], json!(["Invalid username or password."]));
    let answer = post(&world, path, &[("password", "x"), ("f", "json")]).await;
    assert_eq!(answer.json["error"]["details"], json!(["'username' must be specified."]));
    let answer =
        world.client.get(&format!("{path}?f=json&username=Administrator&password=password"), &Who::Nobody).await;
    assert_eq!(code(&answer), 405);
    let fields = [
        ("username", "Administrator"),
        ("password", "password"),
        ("client", "requestip"),
        ("expiration", "5"),
        ("f", "json"),
    ];
    let answer = post(&world, path, &fields).await;
    assert!(answer.json["token"].is_string() && answer.json["expires"].is_i64(), "{}", answer.text());
    assert_eq!(answer.json["ssl"], false);
}

#[tokio::test]
async fn bad_input_is_refused_in_the_body_and_leaves_no_job() {
    let world = World::new();
    let token = world.arcgis_token().await;
    let create = format!("{STORE}/backups/create");
    let long = "x".repeat(10_000);
    for (name, passcode, retention, wanted) in [
        ("", PASSCODE, "", 400),
        ("a/b", PASSCODE, "", 400),
        ("..", PASSCODE, "", 400),
        (long.as_str(), PASSCODE, "", 400),
        ("good", "seven77", "", 400),
        ("good", "", "", 400),
        ("good", PASSCODE, "tomorrow", 400),
        ("good", PASSCODE, "0", 400),
    ] {
        let mut fields = vec![("name", name), ("passcode", passcode), ("f", "json"), ("token", token.as_str())];
        if !retention.is_empty() {
            fields.push(("retentionDate", retention));
        }
        assert_eq!(code(&post(&world, &create, &fields).await), wanted, "{name} {passcode} {retention}");
    }
    let raw = format!("name=good&passcode=%ff%fe%ff%fe%ff%fe%ff%fe&f=json&token={token}");
    assert_eq!(code(&world.client.post(&create, &Who::Nobody, Body::Text(&raw)).await), 400);
    let raw = format!("name=good&name=other&passcode={PASSCODE}&f=json&token={token}");
    assert_eq!(code(&world.client.post(&create, &Who::Nobody, Body::Text(&raw)).await), 400);
    let large = format!("f=json&token={token}&description={}", "x".repeat(2 << 20));
    assert_eq!(code(&world.client.post(&create, &Who::Nobody, Body::Text(&large)).await), 400);
    for path in [
        "stores/nowhere",
        "stores/nowhere/backups",
        "stores/default/backups/nothing",
        "stores/a%2Fb",
        "stores/%00",
        "nothing",
    ] {
        let path = format!("/arcgis/admin/system/disasterrecovery/{path}?f=json&token={token}");
        assert_eq!(code(&world.client.get(&path, &Who::Nobody).await), 404, "{path}");
    }
    assert_eq!(
        code(&world.client.get(&format!("/arcgis/admin/jobs/jx?f=json&token={token}"), &Who::Nobody).await),
        404
    );
    assert_eq!(code(&world.client.get(&format!("{create}?f=json&token={token}"), &Who::Nobody).await), 405);
    let jobs = world.client.get(&format!("/arcgis/admin/jobs?f=json&token={token}"), &Who::Nobody).await;
    assert_eq!(jobs.json, json!({"jobs": []}), "no job may come of a refused request");
    let foreign = [("Origin", "https://evil.example")];
    let fields = [("name", "good"), ("passcode", PASSCODE), ("f", "json"), ("token", token.as_str())];
    let answer =
        world.client.send_with(reqwest::Method::POST, &create, &Who::Nobody, Body::Form(&fields), &foreign).await;
    assert_eq!(answer.status, 403);
    let answer = world
        .client
        .send_with(reqwest::Method::GET, STORE, &Who::Nobody, Body::None, &[("Host", "evil.example")])
        .await;
    assert_eq!(code(&answer), 400);
}

#[tokio::test]
async fn the_same_create_sent_again_answers_the_first_job_and_another_passcode_is_a_conflict() {
    let world = World::new();
    let token = world.arcgis_token().await;
    let first = world.arcgis_backup(&token, "once").await;
    let again = world.arcgis_backup(&token, "once").await;
    assert_eq!(first["jobid"], again["jobid"]);
    let path = format!("{STORE}/backups/create");
    let fields = [("name", "once"), ("passcode", "another passcode"), ("f", "json"), ("token", token.as_str())];
    assert_eq!(code(&post(&world, &path, &fields).await), 409);
}

#[tokio::test]
async fn a_deleted_backup_is_gone_and_a_wrong_passcode_vault_is_never_made() {
    let world = World::new();
    let token = world.arcgis_token().await;
    world.arcgis_backup(&token, "short-lived").await;
    let vaults = world.gateway.json(&["vault", "list", "--json"]);
    let path = format!("{STORE}/backups/short-lived");
    let answer = post(
        &world,
        &format!("{path}/restore"),
        &[("passcode", "never seen before"), ("f", "json"), ("token", &token)],
    )
    .await;
    assert_eq!(code(&answer), 400);
    assert_eq!(world.gateway.json(&["vault", "list", "--json"]), vaults);
    let answer = post(&world, &format!("{path}/delete"), &[("f", "json"), ("token", &token)]).await;
    assert_eq!(answer.json, json!({"status": "success"}));
    assert_eq!(code(&world.client.get(&format!("{path}?f=json&token={token}"), &Who::Nobody).await), 404);
    let list = world.client.get(&format!("{STORE}/backups?f=json&token={token}"), &Who::Nobody).await;
    assert_eq!(list.json, json!({"backups": []}));
}

#[tokio::test]
async fn a_passcode_vault_opens_with_the_passcode_alone() {
    let world = World::new();
    let token = world.arcgis_token().await;
    world.arcgis_backup(&token, "sealed").await;
    let vaults = world.gateway.json(&["vault", "list", "--json"]);
    let vault = vaults.as_array().unwrap().iter().find(|vault| vault["kind"] == "passcode").unwrap();
    let exported = world.gateway.command(&["vault", "export-key", vault["id"].as_str().unwrap()]);
    assert!(!exported.status.success(), "only the passcode opens it");
    let location = vault["location"].as_str().unwrap();
    let restic = |password: &str| {
        let mut command = std::process::Command::new("restic");
        command
            .args(["-r", location, "--no-cache", "--no-lock", "--json", "snapshots"])
            .env("RESTIC_PASSWORD", password);
        command.output().unwrap()
    };
    assert!(restic(PASSCODE).status.success());
    assert!(!restic("wrong passcode").status.success());
    let server = vaults.as_array().unwrap().iter().find(|vault| vault["kind"] == "server").unwrap();
    let exported = world.gateway.command(&["vault", "export-key", server["id"].as_str().unwrap()]);
    let password = String::from_utf8(exported.stdout).unwrap();
    assert!(!restic(password.trim_end()).status.success(), "the server's own key must not open it");
}
