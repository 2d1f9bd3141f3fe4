//! The store outlives the server: everything is deleted but a store and its secret, and a server is rebuilt from them.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use trivault_testkit::{
    gateway::{self, Gateway, PASSWORD, Setup},
    postgres::PostgresServer,
    s3::S3Server,
};
use trivault_tests::{
    World,
    client::{Body, Who},
    compare::{assert_same_database, assert_same_tree},
    sample,
    world::{DATABASE, PASSCODE, TREE},
};

const STORE: &str = "/arcgis/admin/system/disasterrecovery/stores/default";
const REPOSITORIES: &str = "/api/v1/cluster/self/repository";
/// What a server is given to copy its catalogue into its store.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A world whose server has made backups through every dialect and was stopped; what belongs in a safe was printed before.
struct Lost {
    world: World,
    key: PathBuf,
    password: PathBuf,
    database: PathBuf,
    tree: PathBuf,
    /// What every dialect listed.
    before: Value,
}

impl Lost {
    async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    async fn with(setup: Setup) -> Self {
        let mut world = World::with(setup);
        let (database, tree) = world.copy_live_data("reference");
        make_backups(&world).await;
        let (key, password) = (world.path().join("key.txt"), world.path().join("password.txt"));
        let printed = |arguments: &[&str]| {
            let output = world.gateway.command(arguments);
            assert!(output.status.success(), "{arguments:?}: {}", said(&output));
            output.stdout
        };
        fs::write(&key, printed(&["key", "export"])).unwrap();
        let vaults = world.gateway.json(&["vault", "list", "--json"]);
        let own = vaults.as_array().unwrap().iter().find(|vault| vault["kind"] == "server").unwrap();
        fs::write(&password, printed(&["vault", "export-key", own["id"].as_str().unwrap()])).unwrap();
        // A server that starts copies its catalogue as soon as things are at rest.
        assert!(world.gateway.stop(), "{}", world.gateway.log());
        world.restart();
        let before = lists(&world).await;
        wait_for_copy(&world.data_directory());
        assert!(world.gateway.stop(), "{}", world.gateway.log());
        Self { world, key, password, database, tree, before }
    }

    /// Moves the store out of the data directory, and deletes all the rest.
    fn lose(&self) -> PathBuf {
        let (data, rescued) = (self.world.data_directory(), self.world.path().join("rescued"));
        fs::rename(data.join("stores/default"), &rescued).unwrap();
        fs::remove_dir_all(&data).unwrap();
        rescued
    }

    fn recover(&self, store: &Path, arguments: &[&str]) -> Output {
        let mut all = vec!["recover", "--store", store.to_str().unwrap()];
        all.extend(arguments);
        gateway::command(&self.world.data_directory(), &all)
    }

    fn key(&self) -> [&str; 2] {
        ["--key-file", self.key.to_str().unwrap()]
    }

    /// Live data is destroyed, and comes back through ArcGIS under the passcode and through the command line.
    async fn assert_restores(&self) {
        let world = &self.world;
        let target = world.path().join("restored.db");
        for (source, to) in [(DATABASE, &target), (TREE, &world.path().join("restored-tree"))] {
            let part = newest_open_part(&world.gateway, source);
            let output = world.gateway.command(&["restore", "--part", &part, "--to", to.to_str().unwrap()]);
            assert!(output.status.success(), "{}", said(&output));
        }
        assert_same_database(&self.database, &target);
        assert_same_tree(&self.tree, &world.path().join("restored-tree"));
        rusqlite::Connection::open(&world.database)
            .unwrap()
            .execute_batch("DELETE FROM tx; DELETE FROM acct WHERE id > 10")
            .unwrap();
        let token = world.arcgis_token().await;
        let restore = format!("{STORE}/backups/before-upgrade/restore");
        let refused = [("passcode", "wrong wrong wrong"), ("f", "json"), ("token", token.as_str())];
        let refused = world.client.post(&restore, &Who::Nobody, Body::Form(&refused)).await;
        assert_ne!(refused.json["status"], "success", "{}", refused.text());
        let fields = [("passcode", PASSCODE), ("f", "json"), ("token", token.as_str())];
        let answer = world.client.post(&restore, &Who::Nobody, Body::Form(&fields)).await;
        assert_eq!(answer.json["status"], "success", "{}", answer.text());
        let job = world.arcgis_job(&token, answer.json["jobid"].as_str().unwrap()).await;
        assert_eq!(job["status"], "COMPLETED", "{job:#}\n{}", world.gateway.log());
        assert_same_database(&self.database, &world.database);
    }
}

/// A paused Couchbase repository with retention and two backups, an ArcGIS backup under a passcode, a DBaaS backup, a second user.
async fn make_backups(world: &World) {
    let who = Who::administrator();
    world.create_repository("nightly", Some(DATABASE)).await;
    world.create_repository("pictures", Some(TREE)).await;
    for repository in ["nightly", "pictures"] {
        let path = format!("{REPOSITORIES}/active/{repository}");
        assert_eq!(world.client.post(&format!("{path}/pause"), &who, Body::None).await.status, 200);
        let task = world.couchbase_task(repository, "backup", "").await;
        assert_eq!(task["status"], "done", "{task:#}\n{}", world.gateway.log());
    }
    let token = world.arcgis_token().await;
    let job = world.arcgis_backup(&token, "before-upgrade").await;
    assert_eq!(job["status"], "COMPLETED", "{job:#}\n{}", world.gateway.log());
    let (bearer, addon) = world.dbaas(DATABASE).await;
    let row = world.dbaas_backup(&bearer, &addon).await;
    assert_eq!(row["status"], "done", "{row:#}\n{}", world.gateway.log());
    for arguments in [
        &["retention", "set", "nightly", "--daily", "7", "--last", "3"][..],
        &["user", "add", "alice", "--role", "reader"][..],
    ] {
        let output = world.gateway.command(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    }
}

/// Of the newest backup that needs no passcode.
fn newest_open_part(gateway: &Gateway, source: &str) -> String {
    let backups = gateway.json(&["backup", "list", "--json"]);
    let open = backups.as_array().unwrap().iter().filter(|backup| backup["protected"] == false);
    let parts = open.flat_map(|backup| backup["parts"].as_array().unwrap());
    let part = parts.into_iter().find(|part| part["source_name"] == source).unwrap();
    part["id"].as_str().unwrap().to_owned()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Waits until the store's copy is made of what the catalogue holds now.
fn wait_for_copy(data: &Path) {
    let begin = Instant::now();
    loop {
        let connection = rusqlite::Connection::open(data.join("trivault.db")).unwrap();
        let newest: i64 = connection.query_row("SELECT MAX(seq) FROM audit", [], |row| row.get(0)).unwrap();
        let text = "SELECT value FROM settings WHERE key LIKE 'configuration-captured:%'";
        let captured: Option<Vec<u8>> = connection.query_row(text, [], |row| row.get(0)).ok();
        let captured = String::from_utf8(captured.unwrap_or_default()).unwrap();
        if captured.ends_with(&format!(" {newest} 0")) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{captured:?} is not the copy of {newest}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What each dialect lists and shows, without the address of the server.
async fn lists(world: &World) -> Value {
    let administrator = Who::administrator();
    let token = world.arcgis_token().await;
    let (bearer, addon) = world.dbaas(DATABASE).await;
    let mut lists = serde_json::Map::new();
    let mut paths = vec![
        (format!("{REPOSITORIES}/active"), &administrator),
        (format!("{REPOSITORIES}/imported"), &administrator),
        ("/api/v1/plan".to_owned(), &administrator),
        (format!("/api/databases/{addon}/backups?protected=true"), &bearer),
        (format!("/api/databases/{addon}"), &bearer),
        (format!("{STORE}/backups?f=json&token={token}"), &Who::Nobody),
        (format!("{STORE}/backups/before-upgrade?f=json&token={token}"), &Who::Nobody),
        (format!("/arcgis/admin/jobs?f=json&token={token}"), &Who::Nobody),
    ];
    for repository in ["active/nightly", "active/pictures", "imported/site-default", &format!("imported/db-{DATABASE}")]
    {
        for view in ["", "/info", "/taskHistory"] {
            paths.push((format!("{REPOSITORIES}/{repository}{view}"), &administrator));
        }
    }
    for (path, who) in paths {
        let answer = world.client.get(&path, who).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let mut text = answer.text().replace(&world.gateway.url, "http://gateway").replace(&token, "TOKEN");
        // Another machine is another node.
        let node = fs::read_to_string(world.data_directory().join("node.id")).unwrap();
        text = text.replace(&node.trim().replace('-', ""), "NODE");
        // The store has moved, and says so.
        for place in [world.data_directory().join("stores/default"), world.path().join("rescued")] {
            text = text.replace(place.to_str().unwrap(), "/the/store");
        }
        lists.insert(path.replace(&token, "TOKEN"), serde_json::from_str(&text).unwrap());
    }
    let mut backups = world.gateway.json(&["backup", "list", "--json"]);
    for backup in backups.as_array_mut().unwrap() {
        // Whether a vault is another row does not matter; which bytes there are, does.
        for part in backup["parts"].as_array_mut().unwrap() {
            part["vault"] = Value::Null;
        }
    }
    lists.insert("backups".to_owned(), backups);
    // The server looks after its vaults when it likes.
    let mut jobs = world.gateway.json(&["jobs", "list", "--json"]);
    jobs.as_array_mut().unwrap().retain(|job| job["kind"] == "backup");
    lists.insert("jobs".to_owned(), jobs);
    lists.insert("users".to_owned(), world.gateway.json(&["user", "list", "--json"]));
    lists.insert("sources".to_owned(), world.gateway.json(&["source", "list", "--json"]));
    Value::Object(lists)
}

/// # Panics
/// At the first list that differs.
fn assert_same_lists(before: &Value, after: &Value, but: &[&str]) {
    for (path, list) in before.as_object().unwrap() {
        if !but.contains(&path.as_str()) {
            assert_eq!(list, &after[path], "{path} differs\nbefore: {list:#}\nafter: {:#}", after[path]);
        }
    }
}

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
    let Some(server) = S3Server::start() else { return };
    server.make_bucket("backups");
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("trivault.toml");
    let text = format!(
        "[[stores]]\nname = \"default\"\nlocation = \"s3://backups/site\"\nendpoint = \"{}\"\nregion = \"us-east-1\"\n\
         allow_http = true\ndefault = true\naccess_key_env = \"AWS_ACCESS_KEY_ID\"\nsecret_key_env = \"AWS_SECRET_ACCESS_KEY\"\n",
        server.endpoint()
    );
    fs::write(&configuration, text).unwrap();
    let environment = [("AWS_ACCESS_KEY_ID", "access"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let setup = Setup {
        arguments: vec!["--config".to_owned(), configuration.to_str().unwrap().to_owned()],
        environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        ..Setup::default()
    };
    let mut lost = Lost::with(setup).await;
    fs::remove_dir_all(lost.world.data_directory()).unwrap();
    let url = format!("s3://backups/site?endpoint={}&region=us-east-1&allow_http=true", server.endpoint());
    let output = Command::new(gateway::binary())
        .args(["recover", "--store", &url, "--key-file", lost.key.to_str().unwrap(), "--data-dir"])
        .arg(lost.world.data_directory())
        .envs(environment)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    lost.world.restart();
    assert_same_lists(&lost.before, &lists(&lost.world).await, &[]);
    lost.assert_restores().await;
}

#[tokio::test]
async fn killed_at_ever_later_moments_a_recovery_goes_on_and_no_server_starts_on_half_of_one() {
    let mut lost = Lost::new().await;
    let store = lost.lose();
    let data = lost.world.data_directory();
    let mut unfinished = 0;
    // Killed so long after its first write.
    for delay in (0..).step_by(50).map(Duration::from_millis) {
        let mut child = Command::new(gateway::binary())
            .args(["recover", "--store", store.to_str().unwrap(), "--key-file", lost.key.to_str().unwrap()])
            .args(["--data-dir", data.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut begun = None;
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if begun.is_none() && is_unfinished(&data) {
                begun = Some(Instant::now());
            }
            if begun.is_some_and(|at| at.elapsed() >= delay) {
                break None;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        if let Some(status) = ended {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if is_unfinished(&data) {
            unfinished += 1;
        }
        if unfinished == 1 {
            let refused = Gateway::try_start(&data, &lost.world.setup).err().unwrap();
            assert!(refused.contains("has not come to its end"), "{refused}");
        }
    }
    assert!(unfinished > 0, "no kill fell between the first and the last write");
    lost.world.restart();
    assert_same_lists(&lost.before, &lists(&lost.world).await, &[]);
}

fn is_unfinished(data: &Path) -> bool {
    let Ok(connection) = rusqlite::Connection::open(data.join("trivault.db")) else { return false };
    let text = "SELECT length(value) FROM settings WHERE key = 'recovery-unfinished'";
    connection.query_row(text, [], |row| row.get::<_, i64>(0)).is_ok_and(|length| length > 0)
}

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
