//! The real binary, killed and stopped at bad moments.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use trivault_testkit::gateway::{Gateway, Setup};
use trivault_tests::{
    World,
    client::{Body, Client, Who},
    sample,
    world::{DATABASE, PASSCODE},
};

/// How long a job may go on after the command that cancels it has answered, on a machine on which other tests run.
const CANCELLED_WITHIN: Duration = Duration::from_secs(2);

/// Short, so that an orphaned job is taken over at once.
fn short_leases(directory: &std::path::Path) -> Vec<String> {
    let path = directory.join("trivault.toml");
    std::fs::write(&path, "[limits]\nlease_seconds = 2\nstop_seconds = 1\n").unwrap();
    vec!["--config".to_owned(), path.to_str().unwrap().to_owned()]
}

struct Large {
    gateway: Gateway,
    client: Client,
    setup: Setup,
    directory: tempfile::TempDir,
}

/// A gateway whose source takes a while to back up.
fn large() -> Large {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("large.db");
    sample::large_database(&database, 200_000);
    let setup = Setup {
        sources: vec![format!("large=sqlite:{}", database.display())],
        arguments: short_leases(directory.path()),
        ..Setup::default()
    };
    let gateway = Gateway::start(&directory.path().join("data"), &setup);
    let client = Client::new(&gateway.url);
    Large { gateway, client, setup, directory }
}

impl Large {
    fn restart(&mut self) {
        self.gateway = Gateway::start(&self.directory.path().join("data"), &self.setup);
        self.client = Client::new(&self.gateway.url);
    }

    async fn begin(&self) -> String {
        let who = Who::administrator();
        let path = "/api/v1/cluster/self/repository/active/r";
        let body = r#"{"plan":"_hourly_backups","archive":"/archives/r","bucket_name":"large"}"#;
        assert_eq!(self.client.post(path, &who, Body::Text(body)).await.status, 200);
        self.begin_again().await
    }

    /// Another backup.
    async fn begin_again(&self) -> String {
        let path = "/api/v1/cluster/self/repository/active/r/backup";
        let answer = self.client.post(path, &Who::administrator(), Body::None).await;
        answer.json["task_name"].as_str().unwrap().to_owned()
    }

    /// Waits until the job's bytes move.
    async fn until_it_reads(&self) {
        let reading = |repository: &Value| {
            let tasks = repository["running_one_off"].as_object();
            tasks.is_none_or(|tasks| {
                tasks
                    .values()
                    .any(|task| task["status"] == "running" && task["node_runs"][0]["progress"].as_f64() > Some(0.0))
            })
        };
        self.client.until("/api/v1/cluster/self/repository/active/r", &Who::administrator(), reading).await;
    }

    async fn until_it_ended(&self, task: &str) -> Value {
        let path = format!("/api/v1/cluster/self/repository/active/r/taskHistory?taskName={task}");
        let ended = |history: &Value| matches!(history[0]["status"].as_str(), Some("done" | "failed"));
        self.client.until(&path, &Who::administrator(), ended).await.json[0].clone()
    }

    fn restic_check(&self) {
        let vaults = self.gateway.json(&["vault", "list", "--json"]);
        let (id, location) = (vaults[0]["id"].as_str().unwrap(), vaults[0]["location"].as_str().unwrap());
        let password = String::from_utf8(self.gateway.command(&["vault", "export-key", id]).stdout).unwrap();
        let output = Command::new("restic")
            .args(["-r", location, "--no-cache", "check", "--read-data"])
            .env("RESTIC_PASSWORD", password.trim_end())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[tokio::test]
async fn killed_in_the_middle_of_a_backup_it_is_retried_after_a_restart_and_the_vault_is_whole() {
    let mut large = large();
    let task = large.begin().await;
    large.until_it_reads().await;
    large.gateway.kill();
    large.restart();
    let ended = large.until_it_ended(&task).await;
    assert_eq!(ended["status"], "done", "{ended:#}\n{}", large.gateway.log());
    large.restic_check();
    let data = large.directory.path().join("data");
    let leftovers: Vec<_> = find(&data).into_iter().filter(|path| path.contains("-tmp-")).collect();
    assert!(leftovers.is_empty() || large.gateway.log().contains("tmp"), "{leftovers:?}");
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_backup_hands_it_back_and_the_next_start_finishes_it() {
    let mut large = large();
    let task = large.begin().await;
    large.until_it_reads().await;
    assert!(large.gateway.stop(), "a graceful stop ends with status 0:\n{}", large.gateway.log());
    large.restart();
    let ended = large.until_it_ended(&task).await;
    assert_eq!(ended["status"], "done", "{ended:#}\n{}", large.gateway.log());
    large.restic_check();
}

#[tokio::test]
async fn a_person_cancels_a_backup_in_its_middle_and_the_source_is_free_at_once() {
    let large = large();
    let task = large.begin().await;
    large.until_it_reads().await;
    let jobs = large.gateway.json(&["jobs", "list", "--json"]);
    let job = jobs.as_array().unwrap().iter().find(|job| job["kind"] == "backup" && job["state"] == "running");
    let id = job.unwrap_or_else(|| panic!("{jobs:#}"))["id"].as_str().unwrap();
    let output = large.gateway.command(&["jobs", "cancel", id]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let asked = Instant::now();
    let ended = loop {
        let job = large.gateway.json(&["jobs", "show", id, "--json"]);
        if job["state"] != "running" {
            break job;
        }
        assert!(asked.elapsed() < CANCELLED_WITHIN, "{job:#}\n{}", large.gateway.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(ended["state"], "cancelled", "{ended:#}\n{}", large.gateway.log());
    // Nothing of the backup holds the source, and no part of it counts as a backup.
    let database = rusqlite::Connection::open(large.directory.path().join("large.db")).unwrap();
    database.busy_timeout(Duration::ZERO).unwrap();
    database.execute_batch("BEGIN EXCLUSIVE; CREATE TABLE after_the_cancel (id INTEGER); COMMIT").unwrap();
    drop(database);
    assert_ne!(large.until_it_ended(&task).await["status"], "done");
    let task = large.begin_again().await;
    let ended = large.until_it_ended(&task).await;
    assert_eq!(ended["status"], "done", "{ended:#}\n{}", large.gateway.log());
    large.restic_check();
}

#[tokio::test]
async fn a_passcode_job_ends_failed_after_a_restart_and_says_what_to_do() {
    let mut large = large();
    let fields = [("username", "Administrator"), ("password", "password"), ("f", "json")];
    let token = |answer: &Value| answer["token"].as_str().unwrap().to_owned();
    let sign_in = "/arcgis/sharing/rest/generateToken";
    let first = token(&large.client.post(sign_in, &Who::Nobody, Body::Form(&fields)).await.json);
    let create = "/arcgis/admin/system/disasterrecovery/stores/default/backups/create";
    let form = [("name", "n"), ("passcode", PASSCODE), ("f", "json"), ("token", first.as_str())];
    let job =
        large.client.post(create, &Who::Nobody, Body::Form(&form)).await.json["jobid"].as_str().unwrap().to_owned();
    large.gateway.kill();
    large.restart();
    let path = format!("/arcgis/admin/jobs/{job}?f=json&token={first}");
    let ended = |job: &Value| !matches!(job["status"].as_str(), Some("SUBMITTED" | "EXECUTING"));
    let job = large.client.until(&path, &Who::Nobody, ended).await.json;
    assert_eq!(job["status"], "FAILED", "{job:#}");
    assert!(job["messages"][0].as_str().unwrap().contains("passcode is not kept"), "{job:#}");
}

#[tokio::test]
async fn a_second_server_on_the_same_data_directory_is_refused_with_the_first_ones_pid() {
    let world = World::new();
    let refused = Gateway::try_start(&world.data_directory(), &Setup::default()).err().unwrap();
    assert!(refused.contains(&world.gateway.pid().to_string()), "{refused}");
    assert_eq!(world.client.get("/readyz", &Who::Nobody).await.status, 200);
}

#[tokio::test]
async fn a_source_that_vanished_fails_the_job_with_a_reason_and_leaves_nothing() {
    let world = World::new();
    world.create_repository("r", Some(DATABASE)).await;
    std::fs::remove_file(&world.database).unwrap();
    let task = world.couchbase_task("r", "backup", "").await;
    assert_eq!(task["status"], "failed", "{task:#}");
    assert!(task["error"].as_str().unwrap().len() > 10, "{task:#}");
    assert_ne!(task["error_code"], 0);
    let info = world.client.get("/api/v1/cluster/self/repository/active/r/info", &Who::administrator()).await;
    let complete: Vec<&Value> =
        info.json["backups"].as_array().unwrap().iter().filter(|backup| backup["complete"] == true).collect();
    assert!(complete.is_empty(), "{}", info.text());
    let snapshots = world.data_directory().join("stores/default/vault/snapshots");
    let tagged = std::fs::read_dir(snapshots).map(Iterator::count).unwrap_or(0);
    assert!(tagged <= 1, "only the gateway's own configuration may be there");
}

fn find(directory: &std::path::Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() { found.extend(find(&path)) } else { found.push(path.display().to_string()) }
    }
    found
}
