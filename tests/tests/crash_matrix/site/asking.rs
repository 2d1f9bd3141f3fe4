//! What is asked of a site's server: by commands beside it, and by requests.

use std::{
    collections::BTreeMap,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use trivault_testkit::gateway::{self, ADMINISTRATOR, PASSWORD};

use super::{REPOSITORY, Site};

/// Of the tasks of its plan: they do nothing by themselves while the test runs, unless the clock jumps.
pub const TASKS_EVERY_WEEKS: i64 = 50;
/// Of backups that were made under one.
pub const PASSCODE: &str = "open sesame 47";
const ACTIVE: &str = "/api/v1/cluster/self/repository/active";
/// A job that has not ended by then is stuck.
const PATIENCE: Duration = Duration::from_secs(120);
/// Looking is a process, which costs more than the waiting.
pub const LOOK_EVERY: Duration = Duration::from_millis(400);

/// A job as `jobs list` shows it.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: String,
    pub kind: String,
    pub state: String,
    pub attempt: u64,
    /// Why it failed.
    pub failure: Option<String>,
}

impl Job {
    pub fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "succeeded" | "failed" | "cancelled" | "skipped")
    }
}

/// A backup that is reported as done.
#[derive(Clone, Debug)]
pub struct Done {
    pub id: String,
    /// Its parts by source.
    pub parts: BTreeMap<String, String>,
    /// Under [`PASSCODE`].
    pub protected: bool,
}

/// How work is asked for.
#[derive(Clone, Debug)]
pub enum Begin {
    /// By a command of the binary.
    Command(Vec<String>),
    /// By a request: path and body.
    Post(String, String),
    /// It begins by itself.
    Nothing,
}

impl Begin {
    pub fn command(arguments: &[&str]) -> Self {
        Self::Command(arguments.iter().map(|argument| (*argument).to_owned()).collect())
    }
}

impl Site {
    // --- Commands

    /// A command beside the server, on its own.
    pub fn spawn(&self, begin: &Begin) -> Child {
        let mut command = match begin {
            Begin::Command(arguments) => {
                let mut command = Command::new(gateway::binary());
                command.args(arguments).arg("--data-dir").arg(self.path("data")).args(&self.commands);
                command
            }
            Begin::Post(path, body) => {
                let mut command = Command::new("curl");
                command.args(["-sS", "-X", "POST", "-u", &format!("{ADMINISTRATOR}:{PASSWORD}"), "-d", body]);
                command.arg(format!("{}{path}", self.gateway.url)).env("NO_PROXY", "*");
                command
            }
            Begin::Nothing => Command::new("true"),
        };
        command.envs(self.setup_with(&[]).environment).env_remove("TRIVAULT_CONFIG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let begin = Begin::command(arguments);
        self.spawn(&begin).wait_with_output().unwrap()
    }

    /// # Panics
    /// With what the command printed when it failed.
    pub fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    pub(super) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.succeed(arguments)).unwrap()
    }

    pub(super) fn post(&self, path: &str, body: &str) -> Value {
        let output = self.spawn(&Begin::Post(path.to_owned(), body.to_owned())).wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{path}: {said}{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&said).unwrap_or(Value::String(said))
    }

    // --- Jobs and backups

    pub(super) fn make_repository(&self) {
        let plan = r#"{"tasks":[{"name":"t","task_type":"BACKUP","full_backup":false,
            "schedule":{"job_type":"BACKUP","frequency":50,"period":"WEEKS"}}]}"#;
        self.post("/api/v1/plan/rare", plan);
        self.post(&format!("{ACTIVE}/{REPOSITORY}"), r#"{"plan":"rare","archive":"/archives/r"}"#);
        // Those plans have no place for a prune.
        let weeks = format!("{TASKS_EVERY_WEEKS}w");
        self.succeed(&["plan", "create", "seldom", "--task", "backup", "--every", &weeks]);
        self.succeed(&["plan", "add-task", "seldom", "--task", "prune", "--every", &weeks]);
        self.succeed(&["plan", "attach", "seldom", "--repository", REPOSITORY]);
    }

    pub fn jobs(&self) -> Vec<Job> {
        let jobs = self.json(&["jobs", "list", "--limit", "100", "--json"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let job = |job: &Value| Job {
            id: text(&job["id"]),
            kind: text(&job["kind"]),
            state: text(&job["state"]),
            attempt: job["attempt"].as_u64().unwrap(),
            failure: job["failure"]["sentence"].as_str().map(str::to_owned),
        };
        jobs.as_array().unwrap().iter().map(job).collect()
    }

    /// Waits until no job waits or runs; answers all.
    pub fn settle(&self) -> Vec<Job> {
        let begun = Instant::now();
        loop {
            let jobs = self.jobs();
            let Some(live) = jobs.iter().find(|job| !job.is_over()) else { return jobs };
            assert!(begun.elapsed() < PATIENCE, "{live:?} does not end\n{}", self.gateway.log());
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Backups that are reported as done, oldest first.
    pub fn backups(&self) -> Vec<Done> {
        let backups = self.json(&["backup", "list", "--limit", "100", "--json"]);
        let mut done = Vec::new();
        for backup in backups.as_array().unwrap().iter().rev().filter(|backup| backup["state"] == "succeeded") {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let parts = backup["parts"].as_array().unwrap();
            let parts = parts.iter().map(|part| (text(&part["source_name"]), text(&part["id"]))).collect();
            done.push(Done { id: text(&backup["id"]), parts, protected: backup["protected"].as_bool().unwrap() });
        }
        done
    }

    // --- What can be begun

    /// Makes a backup and waits for it.
    pub fn back_up(&mut self) {
        let state = self.state();
        let known = self.jobs();
        self.post(&format!("{ACTIVE}/{REPOSITORY}/backup"), "");
        for job in self.settle() {
            let is_new = known.iter().all(|known| known.id != job.id);
            assert!(!is_new || job.state == "succeeded", "{job:?}\n{}", self.gateway.log());
        }
        self.promise(&state);
    }

    pub fn begin_backup() -> Begin {
        Begin::Post(format!("{ACTIVE}/{REPOSITORY}/backup"), String::new())
    }

    /// By the dialect that has a place for a passcode.
    pub fn begin_backup_under_passcode(&self) -> Begin {
        let form = format!("username={ADMINISTRATOR}&password={PASSWORD}&client=referer&referer=referer&f=json");
        let token = self.post("/arcgis/sharing/rest/generateToken", &form);
        let token = token["token"].as_str().unwrap_or_else(|| panic!("{token}"));
        let body = format!("name=under-{}&passcode={}&f=json&token={token}", self.round, PASSCODE.replace(' ', "+"));
        Begin::Post("/arcgis/admin/system/disasterrecovery/stores/default/backups/create".to_owned(), body)
    }

    /// Adds what is missing to the live sources.
    pub fn begin_adding_restore(&self) -> Begin {
        let body = format!(r#"{{"target":"{}","user":"{ADMINISTRATOR}","password":"{PASSWORD}"}}"#, self.gateway.url);
        Begin::Post(format!("{ACTIVE}/{REPOSITORY}/restore"), body)
    }
}
