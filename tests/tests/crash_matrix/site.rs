//! One installation that lives through many crashes: sources, store, server, and what it has promised.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, params};
use serde_json::Value;
use tempfile::TempDir;
use trivault_testkit::{
    gateway::{self, ADMINISTRATOR, Gateway, PASSWORD, Setup},
    postgres::PostgresServer,
    restic::Restic,
    s3::S3Server,
};
use trivault_tests::{compare, sample};

/// Of the configuration; the shortest that is allowed.
pub const LEASE: Duration = Duration::from_secs(2);
/// A job that has not ended by then is stuck.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Bytes that all sites together need, with a margin.
const ROOM_FOR_SITES: u64 = 2 << 30;
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// The repository of both sources.
pub const REPOSITORY: &str = "r";
pub const DATABASE: &str = "bank";
pub const TREE: &str = "photos";
const ACTIVE: &str = "/api/v1/cluster/self/repository/active";

/// Where the metadata lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metadata {
    Sqlite,
    Postgres,
}

/// Where the bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Folder,
    S3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ground {
    pub metadata: Metadata,
    pub place: Place,
}

impl Ground {
    pub const ALL: [Self; 4] = [
        Self { metadata: Metadata::Sqlite, place: Place::Folder },
        Self { metadata: Metadata::Postgres, place: Place::Folder },
        Self { metadata: Metadata::Sqlite, place: Place::S3 },
        Self { metadata: Metadata::Postgres, place: Place::S3 },
    ];
}

impl fmt::Display for Ground {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metadata = match self.metadata {
            Metadata::Sqlite => "SQLite",
            Metadata::Postgres => "PostgreSQL",
        };
        let place = match self.place {
            Place::Folder => "folder",
            Place::S3 => "S3",
        };
        write!(out, "{metadata}, {place}")
    }
}

/// What the sources hold.
#[derive(Clone, PartialEq)]
pub struct State {
    database: Vec<(String, Vec<Vec<rusqlite::types::Value>>)>,
    tree: Vec<(String, String)>,
}

impl State {
    pub fn database_is(&self, path: &Path) -> bool {
        compare::contents(path) == self.database
    }

    pub fn tree_is(&self, path: &Path) -> bool {
        compare::entries(path) == self.tree
    }

    /// Each row, and each entry's name.
    pub fn lines(&self) -> (Vec<String>, Vec<String>) {
        let rows =
            self.database.iter().flat_map(|(table, rows)| rows.iter().map(move |row| format!("{table} {row:?}")));
        (rows.collect(), self.tree.iter().map(|(name, _)| name.clone()).collect())
    }
}

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

pub struct Site {
    pub ground: Ground,
    pub gateway: Gateway,
    /// Each backup that was ever reported as done, with what the sources held when it was asked for.
    pub promised: BTreeMap<String, State>,
    /// How far the clock of everything that is started is ahead, seconds.
    pub clock_offset: i64,
    pub database: PathBuf,
    pub tree: PathBuf,
    setup: Setup,
    /// Arguments of every command.
    commands: Vec<String>,
    round: u32,
    vault: Option<Restic>,
    directory: TempDir,
}

impl Site {
    /// `None` where PostgreSQL or S3 are left out on purpose.
    pub fn new(ground: Ground) -> Option<Self> {
        let metadata = match ground.metadata {
            Metadata::Sqlite => String::new(),
            Metadata::Postgres => {
                format!("[database]\nurl = \"{}\"\n", PostgresServer::shared()?.create_database())
            }
        };
        Self::with(ground, [&metadata, &metadata], |_| {})
    }

    /// With these lines about the metadata for the server and for commands; `prepare` sees the folder before the first start.
    pub fn with(ground: Ground, metadata: [&str; 2], prepare: impl FnOnce(&Path)) -> Option<Self> {
        let directory = tempfile::Builder::new().prefix("tv-crash-").tempdir_in(folder_of_sites()).unwrap();
        prepare(directory.path());
        let at = |name: &str| directory.path().join(name);
        let store = match ground.place {
            Place::Folder => format!("location = \"{}\"\n", at("store").display()),
            Place::S3 => s3_store()?,
        };
        let [server, commands] =
            [("server.toml", metadata[0]), ("commands.toml", metadata[1])].map(|(name, metadata)| {
                let text = format!(
                    "key_env = \"GATEWAY_KEY\"\n{metadata}[limits]\nlease_seconds = {}\nstop_seconds = 1\nworkers = 3\n\
                 [care]\nprune_hours = 0\nstructure_hours = 0\ndata_hours = 0\nrestore_hours = 0\n\
                 tolerated_unused_percent = 0\n\
                 [[stores]]\nname = \"default\"\ndefault = true\n{store}",
                    LEASE.as_secs()
                );
                fs::write(at(name), text).unwrap();
                vec!["--config".to_owned(), at(name).to_str().unwrap().to_owned()]
            });
        let sources = at("sources");
        fs::create_dir(&sources).unwrap();
        let (database, tree) = (sources.join("bank.db"), sources.join("photos"));
        sample::database(&database);
        sample::tree(&tree);
        let environment = [("GATEWAY_KEY", KEY), ("STORE_ACCESS", "test"), ("STORE_SECRET", "test")];
        let setup = Setup {
            sources: vec![
                format!("{DATABASE}=sqlite:{}", database.display()),
                format!("{TREE}=dir:{}", tree.display()),
            ],
            arguments: server,
            environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..Setup::default()
        };
        let gateway = Gateway::start(&at("data"), &setup);
        let mut site = Self {
            ground,
            gateway,
            promised: BTreeMap::new(),
            clock_offset: 0,
            database,
            tree,
            setup,
            commands,
            round: 0,
            vault: None,
            directory,
        };
        site.make_repository();
        site.back_up();
        site.succeed(&["retention", "set", REPOSITORY, "--last", "3"]);
        site.vault = Some(site.open_vault());
        Some(site)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn sources(&self) -> PathBuf {
        self.path("sources")
    }

    /// Starts the server; without an environment as an ordinary one.
    pub fn start(&mut self, environment: &[(&str, &str)]) {
        self.gateway.kill();
        let setup = self.setup_with(environment);
        self.gateway = Gateway::start(&self.path("data"), &setup);
    }

    fn setup_with(&self, environment: &[(&str, &str)]) -> Setup {
        let mut setup = self.setup.clone();
        setup.environment.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        if self.clock_offset != 0 {
            setup.environment.push(("TRIVAULT_CLOCK_OFFSET".to_owned(), self.clock_offset.to_string()));
        }
        setup
    }

    /// A server that nobody waits for: it may stop before it answers.
    pub fn start_unheard(&self, environment: &[(&str, &str)]) -> Child {
        let setup = self.setup_with(environment);
        let mut command = Command::new(gateway::binary());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(self.path("data"));
        setup.sources.iter().for_each(|source| _ = command.args(["--source", source]));
        command.args(&setup.arguments).envs(setup.environment);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

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

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.succeed(arguments)).unwrap()
    }

    fn post(&self, path: &str, body: &str) -> Value {
        let output = self.spawn(&Begin::Post(path.to_owned(), body.to_owned())).wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{path}: {said}{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&said).unwrap_or(Value::String(said))
    }

    // --- Jobs and backups

    fn make_repository(&self) {
        // A plan that does nothing by itself while the test runs.
        let plan = r#"{"tasks":[{"name":"t","task_type":"BACKUP","full_backup":false,
            "schedule":{"job_type":"BACKUP","frequency":50,"period":"WEEKS"}}]}"#;
        self.post("/api/v1/plan/rare", plan);
        self.post(&format!("{ACTIVE}/{REPOSITORY}"), r#"{"plan":"rare","archive":"/archives/r"}"#);
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

    /// Backups that are reported as done, oldest first, with their parts by source.
    pub fn backups(&self) -> Vec<(String, BTreeMap<String, String>)> {
        let backups = self.json(&["backup", "list", "--limit", "100", "--json"]);
        let mut done = Vec::new();
        for backup in backups.as_array().unwrap().iter().rev().filter(|backup| backup["state"] == "succeeded") {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let parts = backup["parts"].as_array().unwrap();
            let parts = parts.iter().map(|part| (text(&part["source_name"]), text(&part["id"]))).collect();
            done.push((text(&backup["id"]), parts));
        }
        done
    }

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

    /// Whatever is reported as done and was not before was made of this state.
    pub fn promise(&mut self, state: &State) {
        for (id, _) in self.backups() {
            self.promised.entry(id).or_insert_with(|| state.clone());
        }
    }

    pub fn state(&self) -> State {
        State { database: compare::contents(&self.database), tree: compare::entries(&self.tree) }
    }

    /// Changes both sources.
    pub fn change(&mut self) {
        self.round += 1;
        let round = self.round;
        let connection = Connection::open(&self.database).unwrap();
        connection.execute("UPDATE acct SET bal = bal + 1 WHERE id % 7 = ?", [round % 7]).unwrap();
        connection.execute("UPDATE acct SET image = ? WHERE id = 1", [noise(round, 40_000)]).unwrap();
        connection.execute("INSERT INTO tx VALUES (?, 1, 2, ?)", params![1_000_000 + round, round]).unwrap();
        drop(connection);
        fs::write(self.tree.join("album/one.jpg"), noise(round, 60_000)).unwrap();
        fs::write(self.tree.join(format!("round-{}", round % 5)), round.to_string()).unwrap();
    }

    pub fn begin_backup() -> Begin {
        Begin::Post(format!("{ACTIVE}/{REPOSITORY}/backup"), String::new())
    }

    /// Adds what is missing to the live sources.
    pub fn begin_adding_restore(&self) -> Begin {
        let body = format!(r#"{{"target":"{}","user":"{ADMINISTRATOR}","password":"{PASSWORD}"}}"#, self.gateway.url);
        Begin::Post(format!("{ACTIVE}/{REPOSITORY}/restore"), body)
    }

    // --- The vault, as the stock restic sees it

    fn open_vault(&self) -> Restic {
        let vaults = self.json(&["vault", "list", "--json"]);
        let (id, location) = (vaults[0]["id"].as_str().unwrap(), vaults[0]["location"].as_str().unwrap());
        let password = self.succeed(&["vault", "export-key", id]);
        Restic::new(location, password.trim_end()).unwrap_or_else(|| panic!("the crash matrix needs restic"))
    }

    pub fn vault(&self) -> &Restic {
        self.vault.as_ref().unwrap()
    }
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

/// Different each round, and nothing that compresses.
fn noise(round: u32, length: usize) -> Vec<u8> {
    let mut state = u64::from(round).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

/// In memory where there is room: a kill loses nothing of what the kernel holds, so nothing is learnt from waiting for a disk.
fn folder_of_sites() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |found| found.f_bavail * found.f_frsize);
    let is_usable = free > ROOM_FOR_SITES && tempfile::tempdir_in(memory).is_ok();
    if is_usable { memory.to_owned() } else { std::env::temp_dir() }
}

fn s3_store() -> Option<String> {
    static SERVER: OnceLock<Option<S3Server>> = OnceLock::new();
    static BUCKETS: AtomicU32 = AtomicU32::new(0);
    let server = SERVER.get_or_init(S3Server::start).as_ref()?;
    let bucket = format!("crash-{}", BUCKETS.fetch_add(1, Ordering::SeqCst));
    server.make_bucket(&bucket);
    Some(format!(
        "location = \"s3://{bucket}/trivault\"\nregion = \"us-east-1\"\nendpoint = \"{}\"\nallow_http = true\n\
         access_key_env = \"STORE_ACCESS\"\nsecret_key_env = \"STORE_SECRET\"\n",
        server.endpoint()
    ))
}
