//! A server of which nothing is left but a store and what was in a safe.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use trivault_testkit::{
    gateway::{self, Gateway, Setup},
    s3::S3Server,
};
use trivault_tests::{
    World,
    client::{Body, Who},
    compare::{assert_same_database, assert_same_tree},
    world::{DATABASE, PASSCODE, TREE},
};

pub const STORE: &str = "/arcgis/admin/system/disasterrecovery/stores/default";
pub const REPOSITORIES: &str = "/api/v1/cluster/self/repository";
/// What a server is given to copy its catalogue into its store.
pub const PATIENCE: Duration = Duration::from_secs(120);
pub const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A world whose server has made backups through every dialect and was stopped; what belongs in a safe was printed before.
pub struct Lost {
    pub world: World,
    pub key: PathBuf,
    pub password: PathBuf,
    pub database: PathBuf,
    pub tree: PathBuf,
    /// What every dialect listed.
    pub before: Value,
}

impl Lost {
    pub async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
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
        assert_eq!(before["schedule"].as_array().unwrap().len(), 2, "{before:#}");
        assert!(before["plan"].is_object(), "{before:#}");
        wait_for_copy(&world.data_directory());
        assert!(world.gateway.stop(), "{}", world.gateway.log());
        Self { world, key, password, database, tree, before }
    }

    /// Moves the store out of the data directory, and deletes all the rest.
    pub fn lose(&self) -> PathBuf {
        let (data, rescued) = (self.world.data_directory(), self.world.path().join("rescued"));
        fs::rename(data.join("stores/default"), &rescued).unwrap();
        fs::remove_dir_all(&data).unwrap();
        rescued
    }

    pub fn recover(&self, store: &Path, arguments: &[&str]) -> Output {
        let mut all = vec!["recover", "--store", store.to_str().unwrap()];
        all.extend(arguments);
        gateway::command(&self.world.data_directory(), &all)
    }

    pub fn key(&self) -> [&str; 2] {
        ["--key-file", self.key.to_str().unwrap()]
    }

    /// Live data is destroyed, and comes back through ArcGIS under the passcode and through the command line.
    pub async fn assert_restores(&self) {
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

/// A plan of its own making, whose runs are far ahead wherever the test's clock stands.
const PLAN: &str = "leap-days";

/// A paused Couchbase repository with retention and two backups, an ArcGIS backup under a passcode, a DBaaS backup, a second user, a plan
/// of two tasks that runs for a repository.
pub async fn make_backups(world: &World) {
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
        &["plan", "create", PLAN, "--task", "backup", "--cron", "17 3 29 2 *", "--zone", "Australia/Lord_Howe"][..],
        &["plan", "add-task", PLAN, "--task", "verify", "--level", "v5", "--shares", "4", "--cron", "30 4 29 2 *"][..],
        &["plan", "attach", PLAN, "--source", DATABASE][..],
    ] {
        let output = world.gateway.command(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    }
}

/// Of the newest backup that needs no passcode.
pub fn newest_open_part(gateway: &Gateway, source: &str) -> String {
    let backups = gateway.json(&["backup", "list", "--json"]);
    let open = backups.as_array().unwrap().iter().filter(|backup| backup["protected"] == false);
    let parts = open.flat_map(|backup| backup["parts"].as_array().unwrap());
    let part = parts.into_iter().find(|part| part["source_name"] == source).unwrap();
    part["id"].as_str().unwrap().to_owned()
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Waits until the store's copy is made of what the catalogue holds now.
pub fn wait_for_copy(data: &Path) {
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
pub async fn lists(world: &World) -> Value {
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
    // Without a captured configuration there is no such plan any more.
    let plan = world.gateway.command(&["plan", "show", PLAN, "--json"]);
    lists.insert("plan".to_owned(), serde_json::from_slice(&plan.stdout).unwrap_or_default());
    let mut schedule = world.gateway.json(&["schedule", "list", "--json"]);
    schedule.as_array_mut().unwrap().retain(|row| row["plan"] == PLAN);
    lists.insert("schedule".to_owned(), schedule);
    lists.insert("users".to_owned(), world.gateway.json(&["user", "list", "--json"]));
    lists.insert("sources".to_owned(), world.gateway.json(&["source", "list", "--json"]));
    Value::Object(lists)
}

/// # Panics
/// At the first list that differs.
pub fn assert_same_lists(before: &Value, after: &Value, but: &[&str]) {
    for (path, list) in before.as_object().unwrap() {
        if !but.contains(&path.as_str()) {
            assert_eq!(list, &after[path], "{path} differs\nbefore: {list:#}\nafter: {:#}", after[path]);
        }
    }
}

/// A configuration whose default store is on an S3 server of its own.
pub struct OnS3 {
    pub setup: Setup,
    /// As `trivault recover` takes it.
    pub url: String,
    pub environment: [(&'static str, &'static str); 2],
    _server: S3Server,
    _directory: TempDir,
}

impl OnS3 {
    /// `None` where S3 is left out on purpose.
    pub fn start() -> Option<Self> {
        let server = S3Server::start()?;
        server.make_bucket("backups");
        let directory = tempfile::tempdir().unwrap();
        let configuration = directory.path().join("trivault.toml");
        let endpoint = server.endpoint();
        let text = format!(
            "[[stores]]\nname = \"default\"\nlocation = \"s3://backups/site\"\nendpoint = \"{endpoint}\"\nregion = \"us-east-1\"\n\
             allow_http = true\ndefault = true\naccess_key_env = \"AWS_ACCESS_KEY_ID\"\n\
             secret_key_env = \"AWS_SECRET_ACCESS_KEY\"\n"
        );
        fs::write(&configuration, text).unwrap();
        let environment = [("AWS_ACCESS_KEY_ID", "access"), ("AWS_SECRET_ACCESS_KEY", "secret")];
        let setup = Setup {
            arguments: vec!["--config".to_owned(), configuration.to_str().unwrap().to_owned()],
            environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            ..Setup::default()
        };
        let url = format!("s3://backups/site?endpoint={endpoint}&region=us-east-1&allow_http=true");
        Some(Self { setup, url, environment, _server: server, _directory: directory })
    }
}
