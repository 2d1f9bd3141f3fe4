//! The real binary with its metadata in PostgreSQL: one server that is killed, and two that share the work.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::{fs, path::PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use trivault_testkit::{
    gateway::{Gateway, Setup},
    postgres::PostgresServer,
};
use trivault_tests::{
    Client, World,
    client::{Body, Who},
    compare::assert_same_database,
    sample,
    world::{DATABASE, PASSCODE},
};

const REPOSITORY: &str = "/api/v1/cluster/self/repository/active/large";
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// A gateway on a PostgreSQL database of its own, with a source that takes a while to back up beside the small ones.
struct Scene {
    world: World,
    large: PathBuf,
    directory: TempDir,
}

impl Scene {
    /// `None` where PostgreSQL is left out on purpose.
    fn new() -> Option<Self> {
        let server = PostgresServer::shared()?;
        let directory = tempfile::tempdir().unwrap();
        let (large, configuration) = (directory.path().join("large.db"), directory.path().join("trivault.toml"));
        sample::large_database(&large, 100_000);
        let text = format!(
            "key_env = \"GATEWAY_KEY\"\n[database]\nurl = \"{}\"\n[limits]\nlease_seconds = 2\nstop_seconds = 1\n\
             [[stores]]\nname = \"default\"\nlocation = \"{}\"\ndefault = true\n",
            server.create_database(),
            directory.path().join("store").display()
        );
        fs::write(&configuration, text).unwrap();
        let setup = Setup {
            sources: vec![format!("large=sqlite:{}", large.display())],
            arguments: vec!["--config".to_owned(), configuration.to_str().unwrap().to_owned()],
            environment: vec![("GATEWAY_KEY".to_owned(), KEY.to_owned())],
            ..Setup::default()
        };
        Some(Self { world: World::with(setup), large, directory })
    }

    /// A second server: a data directory of its own; database, key and store are those of the first.
    fn second(&self) -> (Gateway, Client) {
        let gateway = Gateway::start(&self.directory.path().join("second"), &self.world.setup);
        let client = Client::new(&gateway.url);
        (gateway, client)
    }

    /// Begins a backup of the large source and waits until its bytes move; answers the task's name.
    async fn begin(&self) -> String {
        let who = Who::administrator();
        self.world.create_repository("large", Some("large")).await;
        let answer = self.world.client.post(&format!("{REPOSITORY}/backup"), &who, Body::None).await;
        let moves = |task: &Value| task["node_runs"][0]["progress"].as_f64() > Some(0.0);
        let reading = |repository: &Value| {
            let tasks = repository["running_one_off"].as_object();
            tasks.is_none_or(|tasks| tasks.values().any(|task| task["status"] == "running" && moves(task)))
        };
        self.world.client.until(REPOSITORY, &who, reading).await;
        answer.json["task_name"].as_str().unwrap().to_owned()
    }

    fn assert_restored(&self, gateway: &Gateway, source: &str, original: &std::path::Path) {
        let target = self.directory.path().join(format!("{source}.restored"));
        let output = gateway.command(&["restore", "--latest", source, "--to", target.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_same_database(original, &target);
    }
}

async fn ended(client: &Client, task: &str) -> Value {
    let path = format!("{REPOSITORY}/taskHistory?taskName={task}");
    let over = |history: &Value| matches!(history[0]["status"].as_str(), Some("done" | "failed"));
    client.until(&path, &Who::administrator(), over).await.json[0].clone()
}

#[tokio::test]
async fn killed_in_the_middle_of_a_backup_a_server_on_postgresql_retries_it_and_restores_both() {
    let Some(mut scene) = Scene::new() else { return };
    let (bearer, addon) = scene.world.dbaas(DATABASE).await;
    let row = scene.world.dbaas_backup(&bearer, &addon).await;
    assert_eq!(row["status"], "done", "{row:#}\n{}", scene.world.gateway.log());
    let task = scene.begin().await;
    scene.world.gateway.kill();
    scene.world.restart();
    let again = ended(&scene.world.client, &task).await;
    assert_eq!(again["status"], "done", "{again:#}\n{}", scene.world.gateway.log());
    let rows = scene.world.client.get(&format!("/api/databases/{addon}/backups"), &bearer).await;
    assert_eq!(rows.json["database_backups"][0]["id"], row["id"], "{}", rows.text());
    scene.assert_restored(&scene.world.gateway, DATABASE, &scene.world.database);
    scene.assert_restored(&scene.world.gateway, "large", &scene.large);
    assert!(!scene.world.data_directory().join("trivault.db").exists(), "the metadata are elsewhere");
}

#[tokio::test]
async fn two_servers_on_one_database_answer_for_each_others_jobs_and_one_takes_over_what_the_other_left() {
    let Some(mut scene) = Scene::new() else { return };
    let (second, other) = scene.second();

    // Credentials, backups and downloads are good at both.
    let (bearer, addon) = scene.world.dbaas(DATABASE).await;
    let row = scene.world.dbaas_backup(&bearer, &addon).await;
    let path = format!("/api/databases/{addon}/backups");
    let seen = other.get(&path, &bearer).await;
    assert_eq!(seen.json["database_backups"], serde_json::json!([row]), "{}", seen.text());
    let id = row["id"].as_str().unwrap();
    let archive = async |client: &Client| {
        let link = client.get(&format!("{path}/{id}/archive"), &bearer).await.json["download_url"].clone();
        let link = reqwest::Url::parse(link.as_str().unwrap()).unwrap();
        format!("{}?{}", link.path(), link.query().unwrap())
    };
    let (link, others_link) = (archive(&scene.world.client).await, archive(&other).await);
    let bytes = scene.world.client.get(&others_link, &Who::Nobody).await.bytes;
    assert_eq!(u64::try_from(bytes.len()).unwrap(), row["size"].as_u64().unwrap());
    assert!(other.get(&link, &Who::Nobody).await.bytes == bytes, "the same bytes from either");

    scene.assert_restored(&second, DATABASE, &scene.world.database);

    // A passcode is known to the server that it was given to alone; that one runs the job, the other answers for it.
    let token = scene.world.arcgis_token().await;
    let create = "/arcgis/admin/system/disasterrecovery/stores/default/backups/create";
    let fields = [("name", "n"), ("passcode", PASSCODE), ("f", "json"), ("token", token.as_str())];
    let answer = other.post(create, &Who::Nobody, Body::Form(&fields)).await;
    let job = answer.json["jobid"].as_str().unwrap_or_else(|| panic!("{}", answer.text()));
    let job = scene.world.arcgis_job(&token, job).await;
    assert_eq!(job["status"], "COMPLETED", "{job:#}\n{}{}", scene.world.gateway.log(), second.log());

    // Whichever runs the backup, it is killed with the other left; a job is taken over once its lease is over.
    let task = scene.begin().await;
    scene.world.gateway.kill();
    let taken_over = ended(&other, &task).await;
    assert_eq!(taken_over["status"], "done", "{taken_over:#}\n{}", second.log());
    scene.assert_restored(&second, "large", &scene.large);

    // The first comes back and finds what the second has done.
    scene.world.restart();
    assert_eq!(ended(&scene.world.client, &task).await["status"], "done");
    let backups = |gateway: &Gateway| gateway.json(&["backup", "list", "--json"]);
    assert_eq!(backups(&scene.world.gateway), backups(&second));
}
