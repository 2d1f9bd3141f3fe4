//! What a recovery refuses, and what it leaves alone.

use std::{fs, path::Path};

use serde_json::Value;
use trivault_testkit::{
    gateway::{self, Gateway, Setup},
    postgres::PostgresServer,
};
use trivault_tests::{
    World,
    client::{Body, Who},
    compare::assert_same_database,
    sample,
    world::DATABASE,
};

use crate::lost::{Lost, REPOSITORIES, said, wait_for_copy};

#[tokio::test]
async fn a_wrong_secret_a_folder_that_is_no_store_and_an_installation_that_lives_are_refused_with_a_sentence() {
    let world = World::new();
    let (bearer, addon) = world.dbaas(DATABASE).await;
    world.dbaas_backup(&bearer, &addon).await;
    let store = world.data_directory().join("stores/default");
    let (empty, fresh) = (world.path().join("empty"), world.path().join("fresh"));
    fs::create_dir(&empty).unwrap();
    let (key, password, nonsense) =
        (world.path().join("other.key"), world.path().join("password"), world.path().join("nonsense"));
    fs::write(&key, "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff").unwrap();
    fs::write(&password, "0123456789abcdef0123456789abcdef").unwrap();
    fs::write(&nonsense, "no key at all").unwrap();
    let recover = |data: &Path, store: &Path, secret: &[&str]| {
        let all = [&["recover", "--store", store.to_str().unwrap()], secret].concat();
        let output = gateway::command(data, &all);
        assert!(!output.status.success(), "{}", said(&output));
        said(&output)
    };
    let wrong_key = ["--key-file", key.to_str().unwrap()];
    let wrong_password = ["--password-file", password.to_str().unwrap()];
    for (store, secret, sentence) in [
        (&store, &wrong_key[..], "The server key does not open the store"),
        (&store, &wrong_password[..], "The password does not open the vault"),
        (&store, &["--key-file", nonsense.to_str().unwrap()][..], "does not hold a server key"),
        (&store, &["--key-file", "/nowhere/key"][..], "cannot be read"),
        (&store, &[][..], "A secret is needed"),
        (&empty, &wrong_key[..], "There is no store at"),
        (&world.path().join("nowhere"), &wrong_key[..], "is not there"),
    ] {
        let text = recover(&fresh, store, secret);
        assert!(text.contains(sentence), "{sentence}: {text}");
        assert!(!fresh.exists(), "a refusal leaves nothing behind: {sentence}");
    }
    // The server's own directory, while it runs; and that of another installation.
    let own = world.data_directory().join("server.key");
    let right_key = ["--key-file", own.to_str().unwrap()];
    let text = recover(&world.data_directory(), &store, &right_key);
    assert!(text.contains("runs on this data directory"), "{text}");
    let mut other = Gateway::start(&world.path().join("other"), &Setup::default());
    assert!(other.stop());
    let text = recover(&world.path().join("other"), &store, &right_key);
    assert!(text.contains("Another server key is in") || text.contains("lives in this data directory"), "{text}");
}

#[tokio::test]
async fn a_store_on_which_a_server_seems_to_work_is_taken_over_by_force_alone() {
    let directory = tempfile::tempdir().unwrap();
    let large = directory.path().join("large.db");
    sample::large_database(&large, 100_000);
    let setup = Setup { sources: vec![format!("large=sqlite:{}", large.display())], ..Setup::default() };
    let mut world = World::with(setup);
    let key = world.path().join("key.txt");
    fs::write(&key, world.gateway.command(&["key", "export"]).stdout).unwrap();
    let (bearer, addon) = world.dbaas(DATABASE).await;
    let row = world.dbaas_backup(&bearer, &addon).await;
    world.create_repository("large", Some("large")).await;
    let begun =
        world.client.post(&format!("{REPOSITORIES}/active/large/backup"), &Who::administrator(), Body::None).await;
    assert_eq!(begun.status, 200, "{}", begun.text());
    let data = world.data_directory();
    let moves = |task: &Value| task["node_runs"][0]["progress"].as_f64() > Some(0.0);
    let reading = |repository: &Value| {
        let tasks = repository["running_one_off"].as_object();
        tasks.is_some_and(|tasks| tasks.values().any(|task| task["status"] == "running" && moves(task)))
    };
    world.client.until(&format!("{REPOSITORIES}/active/large"), &Who::administrator(), reading).await;
    world.gateway.kill();
    let store = world.path().join("rescued");
    fs::rename(data.join("stores/default"), &store).unwrap();
    fs::remove_dir_all(&data).unwrap();
    let recover = |arguments: &[&str]| {
        let all = ["recover", "--store", store.to_str().unwrap(), "--key-file", key.to_str().unwrap()];
        gateway::command(&data, &[&all[..], arguments].concat())
    };
    let refused = recover(&[]);
    assert!(!refused.status.success() && said(&refused).contains("refreshed its lock"), "{}", said(&refused));
    let forced = recover(&["--force"]);
    assert!(forced.status.success(), "{}", said(&forced));
    world.restart();
    let (bearer, addon) = world.dbaas(DATABASE).await;
    let rows = world.client.get(&format!("/api/databases/{addon}/backups"), &bearer).await;
    let ids: Vec<&Value> = rows.json["database_backups"].as_array().unwrap().iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, [&row["id"]], "{}", rows.text());
}

#[tokio::test]
async fn an_old_server_that_still_lives_writes_nothing_more_to_the_store_that_was_taken_over() {
    let world = World::new();
    let (bearer, addon) = world.dbaas(DATABASE).await;
    let row = world.dbaas_backup(&bearer, &addon).await;
    assert_eq!(row["status"], "done", "{row:#}");
    wait_for_copy(&world.data_directory());
    let (store, key) = (world.data_directory().join("stores/default"), world.path().join("key.txt"));
    fs::write(&key, world.gateway.command(&["key", "export"]).stdout).unwrap();
    let fresh = world.path().join("fresh");
    let arguments = ["recover", "--store", store.to_str().unwrap(), "--key-file", key.to_str().unwrap(), "--json"];
    let output = gateway::command(&fresh, &arguments);
    assert!(output.status.success(), "{}", said(&output));
    let snapshots = || {
        let mut names: Vec<_> =
            fs::read_dir(store.join("vault/snapshots")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = snapshots();
    let backups = world.gateway.json(&["backup", "list", "--json"]);
    let refused = world.gateway.command(&["backup", "delete", backups[0]["id"].as_str().unwrap()]);
    assert!(!refused.status.success() && said(&refused).contains("adopted by another"), "{}", said(&refused));
    let again = world.client.post(&format!("/api/databases/{addon}/backups"), &bearer, Body::None).await;
    assert_ne!(again.status, 201, "the store is read-only by now: {}", again.text());
    assert_eq!(snapshots(), before);
    let target = world.path().join("restored.db");
    let restored = gateway::command(&fresh, &["restore", "--latest", DATABASE, "--to", target.to_str().unwrap()]);
    assert!(restored.status.success(), "{}", said(&restored));
    assert_same_database(&world.database, &target);
}

#[tokio::test]
async fn a_place_that_is_not_empty_is_refused_with_what_is_in_it_and_nothing_of_it_changes() {
    let lost = Lost::new().await;
    let store = lost.lose();
    let recover = |data: &Path, more: &[&str]| {
        let all = [&["recover", "--store", store.to_str().unwrap()], &lost.key()[..], more].concat();
        let output = gateway::command(data, &all);
        assert!(!output.status.success(), "{}", said(&output));
        said(&output)
    };
    // Somebody's folder.
    let documents = lost.world.path().join("documents");
    fs::create_dir(&documents).unwrap();
    fs::write(documents.join("letter.txt"), "Dear all").unwrap();
    let text = recover(&documents, &[]);
    assert!(text.contains("holds files that are not Trivault's: letter.txt") && text.contains("--data-dir"), "{text}");
    assert_eq!(fs::read_dir(&documents).unwrap().count(), 1, "nothing was put beside them");

    // The metadata of another installation on a database server.
    let Some(server) = PostgresServer::shared() else { return };
    let configuration = lost.world.path().join("other.toml");
    let text = format!(
        "[database]\nurl = \"{}\"\n[[stores]]\nname = \"default\"\nlocation = \"{}\"\ndefault = true\n",
        server.create_database(),
        lost.world.path().join("other-store").display()
    );
    fs::write(&configuration, text).unwrap();
    let configured = ["--config", configuration.to_str().unwrap()];
    let setup = Setup { arguments: configured.map(str::to_owned).to_vec(), ..Setup::default() };
    let mut other = Gateway::start(&lost.world.path().join("other"), &setup);
    let users = other.json(&["user", "list", "--json"]);
    assert!(other.stop());
    let text = recover(&lost.world.path().join("fresh"), &configured);
    assert!(text.contains("does not belong to this metadata database"), "another key has sealed what is there: {text}");
    assert_eq!(other.json(&["user", "list", "--json"]), users);

    // What was refused has taken nothing from the store.
    let fresh = lost.world.path().join("empty");
    let all = [&["recover", "--store", store.to_str().unwrap()], &lost.key()[..]].concat();
    let output = gateway::command(&fresh, &all);
    assert!(output.status.success(), "{}", said(&output));
}
