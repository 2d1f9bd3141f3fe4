//! Maintenance with the real binary: what runs goes on, what is asked for in any dialect waits and says so, and begins when it is over.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use trivault_testkit::gateway::Setup;
use trivault_tests::{
    World,
    client::{Body, Who},
    compare::assert_same_database,
    sample,
    world::{DATABASE, PASSCODE},
};

const REPOSITORIES: &str = "/api/v1/cluster/self/repository/active";
const BACKUPS: &str = "/arcgis/admin/system/disasterrecovery/stores/default/backups";

/// A server with more workers than these tests have jobs, so that nothing but maintenance keeps one waiting.
fn setup(directory: &Path, more: &str) -> Setup {
    let file = directory.join("trivault.toml");
    fs::write(&file, format!("time_zone = \"UTC\"\n[limits]\nworkers = 6\njobs_per_source = 6\n{more}")).unwrap();
    Setup { arguments: vec!["--config".to_owned(), file.to_str().unwrap().to_owned()], ..Setup::default() }
}

/// One backup asked for through each dialect, none of which may begin.
struct Asked {
    task: String,
    token: String,
    job: String,
    bearer: Who,
    backup: String,
}

impl Asked {
    async fn of(world: &World) -> Self {
        world.create_repository("r", Some(DATABASE)).await;
        let path = format!("{REPOSITORIES}/r/backup");
        let answer = world.client.post(&path, &Who::administrator(), Body::None).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let task = answer.json["task_name"].as_str().unwrap().to_owned();
        let token = world.arcgis_token().await;
        let fields = [("name", "held"), ("passcode", PASSCODE), ("f", "json"), ("token", token.as_str())];
        let answer = world.client.post(&format!("{BACKUPS}/create"), &Who::Nobody, Body::Form(&fields)).await;
        let job = answer.json["jobid"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned();
        let (bearer, addon) = world.dbaas(DATABASE).await;
        let answer = world.client.post(&format!("/api/databases/{addon}/backups"), &bearer, Body::None).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let backup = answer.json["database_backup"]["id"].as_str().unwrap().to_owned();
        Self { task, token, job, bearer, backup }
    }

    /// Each dialect's word for a job that waits.
    async fn assert_waits(&self, world: &World) {
        assert_eq!(self.words(world).await, ["waiting", "SUBMITTED", "scheduled"], "{}", world.gateway.log());
        let waiting = world.gateway.json(&["maintenance", "status", "--json"]);
        assert_eq!((&waiting["on"], &waiting["queued_jobs"]), (&json!(true), &json!(3)), "{waiting:#}");
    }

    async fn words(&self, world: &World) -> [String; 3] {
        let repository = world.client.get(&format!("{REPOSITORIES}/r"), &Who::administrator()).await;
        let couchbase = repository.json["running_one_off"][&self.task]["status"].clone();
        let path = format!("/arcgis/admin/jobs/{}?f=json&token={}", self.job, self.token);
        let arcgis = world.client.get(&path, &Who::Nobody).await.json["status"].clone();
        let path = format!("/api/backups/{}", self.backup);
        let dbaas = world.client.get(&path, &self.bearer).await.json["database_backup"]["status"].clone();
        [couchbase, arcgis, dbaas].map(|word| word.as_str().unwrap_or_default().to_owned())
    }

    async fn assert_done(&self, world: &World) {
        let path = format!("{REPOSITORIES}/r/taskHistory?taskName={}", self.task);
        let over = |history: &Value| matches!(history[0]["status"].as_str(), Some("done" | "failed"));
        let task = world.client.until(&path, &Who::administrator(), over).await.json[0].clone();
        assert_eq!(task["status"], "done", "{task:#}\n{}", world.gateway.log());
        let job = world.arcgis_job(&self.token, &self.job).await;
        assert_eq!(job["status"], "COMPLETED", "{job:#}\n{}", world.gateway.log());
        let over = |answer: &Value| matches!(answer["database_backup"]["status"].as_str(), Some("done" | "error"));
        let row = world.client.until(&format!("/api/backups/{}", self.backup), &self.bearer, over).await;
        assert_eq!(row.json["database_backup"]["status"], "done", "{}", row.text());
    }
}

/// A world with a source that takes a while to back up.
struct Slow {
    world: World,
    large: std::path::PathBuf,
    _directory: TempDir,
}

impl Slow {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let large = directory.path().join("large.db");
        sample::large_database(&large, 150_000);
        let mut setup = setup(directory.path(), "");
        setup.sources.push(format!("large=sqlite:{}", large.display()));
        Self { world: World::with(setup), large, _directory: directory }
    }

    /// Begins a backup of it, and returns when its bytes move; the task's name.
    async fn begin(&self) -> String {
        let who = Who::administrator();
        self.world.create_repository("large", Some("large")).await;
        let path = format!("{REPOSITORIES}/large");
        let answer = self.world.client.post(&format!("{path}/backup"), &who, Body::None).await;
        let moves = |task: &Value| task["node_runs"][0]["progress"].as_f64() > Some(0.0);
        let reading = |repository: &Value| {
            let tasks = repository["running_one_off"].as_object();
            tasks.is_some_and(|tasks| tasks.values().any(|task| task["status"] == "running" && moves(task)))
        };
        self.world.client.until(&path, &who, reading).await;
        answer.json["task_name"].as_str().unwrap().to_owned()
    }

    async fn status(&self, task: &str) -> Value {
        let path = format!("{REPOSITORIES}/large");
        let repository = self.world.client.get(&path, &Who::administrator()).await;
        repository.json["running_one_off"][task]["status"].clone()
    }
}

#[tokio::test]
async fn begun_by_hand_it_lets_the_running_backup_finish_holds_new_ones_of_every_dialect_and_ends_by_hand() {
    let slow = Slow::new();
    let world = &slow.world;
    let running = slow.begin().await;
    let output = world.gateway.command(&["maintenance", "start", "--allow-restores", "--reason", "new disks"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(slow.status(&running).await, "running", "the backup was to be under way when maintenance began");
    let asked = Asked::of(world).await;
    asked.assert_waits(world).await;

    let path = format!("{REPOSITORIES}/large/taskHistory?taskName={running}");
    let over = |history: &Value| matches!(history[0]["status"].as_str(), Some("done" | "failed"));
    let task = world.client.until(&path, &Who::administrator(), over).await;
    assert_eq!(task.json[0]["status"], "done", "{}\n{}", task.text(), world.gateway.log());
    // A restore may begin, and passes those that wait.
    let target = world.path().join("restored.db");
    let output = world.gateway.command(&["restore", "--latest", "large", "--to", target.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_same_database(&slow.large, &target);
    asked.assert_waits(world).await;

    let output = world.gateway.command(&["maintenance", "stop"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    asked.assert_done(world).await;
}

#[tokio::test]
async fn maintenance_outlives_a_restart_of_the_server_and_so_do_the_jobs_that_wait() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::with(setup(directory.path(), ""));
    let output = world.gateway.command(&["maintenance", "start", "--for", "2h"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world.create_repository("r", Some(DATABASE)).await;
    let path = format!("{REPOSITORIES}/r");
    let answer = world.client.post(&format!("{path}/backup"), &Who::administrator(), Body::None).await;
    let task = answer.json["task_name"].as_str().unwrap().to_owned();
    world.gateway.kill();
    world.restart();
    let shown = world.client.get(&path, &Who::administrator()).await;
    assert_eq!(shown.json["running_one_off"][&task]["status"], "waiting", "{}", shown.text());
    assert_eq!(world.gateway.json(&["maintenance", "status", "--json"])["on"], true);
    assert!(world.gateway.command(&["maintenance", "stop"]).status.success());
    let over = |history: &Value| matches!(history[0]["status"].as_str(), Some("done" | "failed"));
    let history = format!("{path}/taskHistory?taskName={task}");
    let ended = world.client.until(&history, &Who::administrator(), over).await;
    assert_eq!(ended.json[0]["status"], "done", "{}", ended.text());
}

/// How long the window of the next test lasts once its server has been told of it: enough for a busy machine to ask for three backups.
const WINDOW: Duration = Duration::from_secs(60);

#[tokio::test]
async fn in_a_window_of_the_configuration_new_jobs_of_every_dialect_wait_and_begin_when_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    // Windows have whole minutes: the server's clock is set so that one ends just then.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + WINDOW;
    let offset = (60 - now.as_secs() % 60) % 60;
    let minute = (now.as_secs() + offset) / 60 % (24 * 60);
    let clock = |minute: u64| format!("{:02}:{:02}", minute / 60, minute % 60);
    let window = format!(
        "[[maintenance.windows]]\nfrom = \"{}\"\nto = \"{}\"\n",
        clock((minute + 22 * 60) % (24 * 60)),
        clock(minute)
    );
    let mut setup = setup(directory.path(), &window);
    setup.environment.push(("TRIVAULT_CLOCK_OFFSET".to_owned(), offset.to_string()));
    let begin = Instant::now();
    let world = World::with(setup);
    let asked = Asked::of(&world).await;
    asked.assert_waits(&world).await;
    assert!(begin.elapsed() < WINDOW, "the machine is too busy for this window");
    let status = world.gateway.json(&["maintenance", "status", "--json"]);
    assert_eq!(status["windows"].as_array().unwrap().len(), 1, "{status:#}");
    // Nobody does anything; the window ends.
    asked.assert_done(&world).await;
    let status = world.gateway.json(&["maintenance", "status", "--json"]);
    assert_eq!((&status["on"], &status["queued_jobs"]), (&json!(false), &json!(0)), "{status:#}");
    assert!(status["next_window"].is_string(), "{status:#}");
}
