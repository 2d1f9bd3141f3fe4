//! Everything is deleted but a store and a secret; what comes back is what was there.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use trivault_testkit::{
    gateway::{self, PASSWORD},
    postgres::PostgresServer,
};
use trivault_tests::World;

use crate::lost::{Lost, OnS3, assert_same_lists, lists, said};

#[tokio::test]
async fn after_all_but_store_and_key_is_lost_every_dialect_lists_and_restores_what_it_did_before() {
    let mut lost = Lost::new().await;
    let log = |world: &World| {
        let jobs = world.gateway.json(&["jobs", "list", "--json"]);
        let job = jobs.as_array().unwrap().iter().find(|job| job["kind"] == "backup").unwrap()["id"].clone();
        world.gateway.json(&["jobs", "log", job.as_str().unwrap(), "--json"])
    };
    lost.world.restart();
    let log_before = log(&lost.world);
    assert!(lost.world.gateway.stop());
    let store = lost.lose();

    // A look leaves nothing behind.
    let output = lost.recover(&store, &[&lost.key()[..], &["--dry-run"]].concat());
    assert!(output.status.success() && said(&output).contains("would be rebuilt"), "{}", said(&output));
    assert!(!lost.world.data_directory().exists());

    let output = lost.recover(&store, &[&lost.key()[..], &["--json"]].concat());
    assert!(output.status.success(), "{}", said(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["backups"], 4, "{summary:#}");
    assert_eq!((&summary["protected"], &summary["lost"], &summary["unreadable"]), (&json!(1), &json!(0), &json!(0)));
    assert_eq!((&summary["users"], &summary["users_without_password"]), (&json!(2), &json!([])), "{summary:#}");

    // Again, before any server: nothing is left to add.
    let output = lost.recover(&store, &["--json"]);
    assert!(output.status.success(), "{}", said(&output));
    let again: Value = serde_json::from_slice(&output.stdout).unwrap();
    for what in ["repositories", "plans", "sources", "users", "backups", "parts", "jobs"] {
        assert_eq!(again[what], 0, "{again:#}");
    }

    lost.world.restart();
    assert_same_lists(&lost.before, &lists(&lost.world).await, &[]);
    assert_eq!(log(&lost.world), log_before);
    let preview = lost.world.gateway.command(&["retention", "preview", "nightly"]);
    assert!(said(&preview).contains("one of the newest"), "{}", said(&preview));
    lost.assert_restores().await;
    // The next backup builds on the ones before, and takes a point after theirs.
    let task = lost.world.couchbase_task("nightly", "backup", "").await;
    assert_eq!(task["status"], "done", "{task:#}\n{}", lost.world.gateway.log());
    let refused = lost.recover(&store, &lost.key());
    assert!(!refused.status.success() && said(&refused).contains("process"), "{}", said(&refused));
}

#[tokio::test]
async fn the_vaults_password_alone_brings_everything_back_but_passwords() {
    let mut lost = Lost::new().await;
    let store = lost.lose();
    let password = lost.password.to_str().unwrap().to_owned();
    let output = lost.recover(&store, &["--password-file", &password]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("trivault user password alice"), "{}", said(&output));
    let new_password = lost.world.path().join("new-password");
    fs::write(&new_password, PASSWORD).unwrap();
    let arguments = ["user", "password", "Administrator", "--password-file", new_password.to_str().unwrap()];
    let output = gateway::command(&lost.world.data_directory(), &arguments);
    assert!(output.status.success(), "{}", said(&output));
    lost.world.restart();
    assert_same_lists(&lost.before, &lists(&lost.world).await, &["users"]);
    lost.assert_restores().await;
    assert!(lost.world.gateway.log().contains("never exported"), "the new key belongs in a safe");
}

#[tokio::test]
async fn without_any_captured_configuration_the_backups_own_snapshots_tell_their_names() {
    let mut lost = Lost::new().await;
    let store = lost.lose();
    forget(&store.join("vault"), &lost.password, "trivault-configuration");
    let output = lost.recover(&store, &[&lost.key()[..], &["--json"]].concat());
    assert!(output.status.success(), "{}", said(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["configuration_captured_at"], Value::Null);
    assert_eq!((&summary["backups"], &summary["lost"], &summary["unreadable"]), (&json!(4), &json!(0), &json!(0)));
    lost.world.restart();
    let after = lists(&lost.world).await;
    // Names, ids, states and sizes are the same; when exactly a part ended, and its log, nobody recorded.
    let essence = |lists: &Value| {
        let backups = lists["backups"].as_array().unwrap().iter().map(|backup| {
            let parts: Vec<Value> = (backup["parts"].as_array().unwrap().iter())
                .map(|part| {
                    json!([
                        part["id"],
                        part["snapshot"],
                        part["size"],
                        part["state"],
                        part["stored_size"],
                        part["download_size"],
                        part["manifest"]
                    ])
                })
                .collect();
            json!([backup["id"], backup["point"], backup["state"], backup["kind"], backup["repository"], parts])
        });
        backups.collect::<Vec<_>>()
    };
    assert_eq!(essence(&lost.before), essence(&after));
    let names = |lists: &Value| {
        let of = |path: &str, list: &str, field: &str| -> Vec<Value> {
            let found = lists.as_object().unwrap().iter().find(|(key, _)| key.contains(path)).unwrap().1;
            found[list].as_array().unwrap().iter().map(|item| item[field].clone()).collect()
        };
        json!([
            of("active/nightly/info", "backups", "date"),
            of("imported/site-default/info", "backups", "date"),
            of("stores/default/backups?", "backups", "backupName"),
            of("backups?protected", "database_backups", "id"),
            of("backups?protected", "database_backups", "name"),
        ])
    };
    assert_eq!(names(&lost.before), names(&after));
    lost.assert_restores().await;
}

/// Removes the snapshots of a host with the stock restic.
fn forget(vault: &Path, password: &Path, host: &str) {
    let restic = |arguments: &[&str]| {
        let output = Command::new("restic")
            .args(["-r", vault.to_str().unwrap(), "--no-cache", "--password-file", password.to_str().unwrap()])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
        output.stdout
    };
    let listed: Value = serde_json::from_slice(&restic(&["snapshots", "--json", "--host", host])).unwrap();
    let ids: Vec<&str> = listed.as_array().unwrap().iter().map(|snapshot| snapshot["id"].as_str().unwrap()).collect();
    assert!(!ids.is_empty());
    restic(&[&["forget"], &ids[..]].concat());
}

#[tokio::test]
async fn into_postgresql_metadata_it_is_the_same() {
    let Some(server) = PostgresServer::shared() else { return };
    let mut lost = Lost::new().await;
    let store = lost.lose();
    let configuration = lost.world.path().join("trivault.toml");
    let text = format!("[database]\nurl = \"{}\"\n", server.create_database());
    fs::write(&configuration, text).unwrap();
    let configured = ["--config", configuration.to_str().unwrap()];
    let output = lost.recover(&store, &[&lost.key()[..], &configured].concat());
    assert!(output.status.success(), "{}", said(&output));
    lost.world.setup.arguments.extend(configured.map(str::to_owned));
    lost.world.restart();
    assert_same_lists(&lost.before, &lists(&lost.world).await, &[]);
    lost.assert_restores().await;
}

#[tokio::test]
async fn from_an_s3_store_it_is_the_same() {
    let Some(place) = OnS3::start() else { return };
    let mut lost = Lost::with(place.setup.clone()).await;
    fs::remove_dir_all(lost.world.data_directory()).unwrap();
    let output = Command::new(gateway::binary())
        .args(["recover", "--store", &place.url, "--key-file", lost.key.to_str().unwrap(), "--data-dir"])
        .arg(lost.world.data_directory())
        .envs(place.environment)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    lost.world.restart();
    assert_same_lists(&lost.before, &lists(&lost.world).await, &[]);
    lost.assert_restores().await;
}
