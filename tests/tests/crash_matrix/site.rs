//! One installation that lives through many crashes: sources, store, server, and what it has promised.

mod asking;
mod vault;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rusqlite::{Connection, params};
use tempfile::TempDir;
use trivault_testkit::{
    gateway::{self, Gateway, Setup},
    postgres::PostgresServer,
    restic::Restic,
};
use trivault_tests::{compare, sample};

pub use self::asking::{Begin, Done, Job, LOOK_EVERY as LOOK_AT_JOBS_EVERY, PASSCODE, TASKS_EVERY_WEEKS};
use crate::{
    ground::{Ground, Metadata, Place, folder_of_site, s3_store},
    ledger::Ledger,
    work::NewPlace,
};

/// Of servers that are about to be killed: the shortest that is allowed.
pub const LEASE: Duration = Duration::from_secs(2);
/// Of all others: a machine on which much else runs must not cost them their jobs.
const PATIENT_LEASE: Duration = Duration::from_secs(10);
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// The repository of all sources.
pub const REPOSITORY: &str = "r";
pub const DATABASE: &str = "bank";
pub const TREE: &str = "photos";
pub const LEDGER: &str = "ledger";

/// What is backed up at a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sources {
    /// An SQLite database and a directory.
    Files,
    /// A PostgreSQL database.
    Ledger,
}

/// What the sources hold.
#[derive(Clone, PartialEq)]
pub struct State {
    database: Vec<(String, Vec<Vec<rusqlite::types::Value>>)>,
    tree: Vec<(String, String)>,
    /// Of the PostgreSQL database, where there is one.
    pub ledger: Vec<String>,
}

impl State {
    /// Takes one source's content from another state.
    pub fn take_over(&mut self, source: &str, other: &Self) {
        match source {
            DATABASE => self.database.clone_from(&other.database),
            TREE => self.tree.clone_from(&other.tree),
            LEDGER => self.ledger.clone_from(&other.ledger),
            other => panic!("a source {other}"),
        }
    }

    /// Each row, and each entry's name.
    pub fn lines(&self) -> (Vec<String>, Vec<String>) {
        let rows =
            self.database.iter().flat_map(|(table, rows)| rows.iter().map(move |row| format!("{table} {row:?}")));
        (rows.collect(), self.tree.iter().map(|(name, _)| name.clone()).collect())
    }
}

pub struct Site {
    pub ground: Ground,
    /// The source that is a PostgreSQL database.
    pub ledger: Option<Ledger>,
    pub gateway: Gateway,
    /// Each backup that was ever reported as done, with what the sources held when it was asked for.
    pub promised: BTreeMap<String, State>,
    /// How far the clock of everything that is started is ahead, seconds.
    pub clock_offset: i64,
    pub database: PathBuf,
    pub tree: PathBuf,
    setup: Setup,
    /// Arguments of a server that is about to be killed.
    mortal: Vec<String>,
    /// Arguments of every command.
    commands: Vec<String>,
    round: u32,
    vault: Option<Restic>,
    /// As `restic -r` takes it.
    vault_location: String,
    directory: TempDir,
}

impl Site {
    /// `None` where PostgreSQL or S3 are left out on purpose.
    pub fn new(ground: Ground, sources: Sources) -> Option<Self> {
        let metadata = match ground.metadata {
            Metadata::Sqlite => String::new(),
            Metadata::Postgres => {
                format!("[database]\nurl = \"{}\"\n", PostgresServer::shared()?.create_database())
            }
        };
        Self::with(ground, sources, [&metadata, &metadata], |_| {})
    }

    /// With these lines about the metadata for the server and for commands; `prepare` sees the folder before the first start.
    pub fn with(ground: Ground, backed_up: Sources, metadata: [&str; 2], prepare: impl FnOnce(&Path)) -> Option<Self> {
        let store = match ground.place {
            Place::Folder => String::new(),
            Place::S3 => s3_store()?,
        };
        Self::on_store(ground, backed_up, metadata, &store, prepare)
    }

    /// With these lines about the store, where it is none in a folder.
    pub fn on_store(
        ground: Ground,
        backed_up: Sources,
        metadata: [&str; 2],
        store: &str,
        prepare: impl FnOnce(&Path),
    ) -> Option<Self> {
        let ledger = match backed_up {
            Sources::Files => None,
            Sources::Ledger => Some(Ledger::new()?),
        };
        let directory = folder_of_site();
        prepare(directory.path());
        let at = |name: &str| directory.path().join(name);
        let store = match ground.place {
            Place::Folder => format!("location = \"{}\"\n", at("store").display()),
            Place::S3 => store.to_owned(),
        };
        let configuration = |name: &str, metadata: &str, lease: Duration| {
            let text = format!(
                "key_env = \"GATEWAY_KEY\"\n{metadata}[limits]\nlease_seconds = {}\nstop_seconds = 1\nworkers = 3\n\
                 [care]\nprune_hours = 0\nstructure_hours = 0\ndata_hours = 0\nrestore_hours = 0\n\
                 tolerated_unused_percent = 0\n\
                 [[stores]]\nname = \"default\"\ndefault = true\n{store}",
                lease.as_secs()
            );
            fs::write(at(name), text).unwrap();
            vec!["--config".to_owned(), at(name).to_str().unwrap().to_owned()]
        };
        let server = configuration("server.toml", metadata[0], PATIENT_LEASE);
        let mortal = configuration("mortal.toml", metadata[0], LEASE);
        let commands = configuration("commands.toml", metadata[1], PATIENT_LEASE);
        let sources = at("sources");
        fs::create_dir(&sources).unwrap();
        let (database, tree) = (sources.join("bank.db"), sources.join("photos"));
        sample::database(&database);
        sample::tree(&tree);
        let environment = [("GATEWAY_KEY", KEY), ("STORE_ACCESS", "test"), ("STORE_SECRET", "test")];
        let setup = Setup {
            sources: match &ledger {
                Some(ledger) => vec![format!("{LEDGER}={}", ledger.url())],
                None => {
                    vec![format!("{DATABASE}=sqlite:{}", database.display()), format!("{TREE}=dir:{}", tree.display())]
                }
            },
            arguments: server,
            environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..Setup::default()
        };
        let gateway = Gateway::start(&at("data"), &setup);
        let mut site = Self {
            ground,
            ledger,
            gateway,
            promised: BTreeMap::new(),
            clock_offset: 0,
            database,
            tree,
            setup,
            mortal,
            commands,
            round: 0,
            vault: None,
            vault_location: String::new(),
            directory,
        };
        site.make_repository();
        site.back_up();
        site.succeed(&["retention", "set", REPOSITORY, "--last", "3"]);
        site.open_vault();
        Some(site)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn sources(&self) -> PathBuf {
        self.path("sources")
    }

    /// Starts an ordinary server.
    pub fn start(&mut self) {
        self.gateway.kill();
        let setup = self.setup_with(&[]);
        self.gateway = Gateway::start(&self.path("data"), &setup);
    }

    /// Starts a server whose leases are short, with this environment.
    pub fn start_mortal(&mut self, environment: &[(&str, &str)]) {
        self.gateway.kill();
        let setup = Setup { arguments: self.mortal.clone(), ..self.setup_with(environment) };
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

    /// A mortal server that nobody waits for: it may stop before it answers.
    pub fn start_unheard(&self, environment: &[(&str, &str)]) -> Child {
        let setup = self.setup_with(environment);
        let mut command = Command::new(gateway::binary());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(self.path("data"));
        setup.sources.iter().for_each(|source| _ = command.args(["--source", source]));
        command.args(&self.mortal).envs(setup.environment);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Whatever is reported as done and was not before was made of this state. Answers all that is reported.
    pub fn promise(&mut self, state: &State) -> Vec<Done> {
        let done = self.backups();
        for Done { id, .. } in &done {
            self.promised.entry(id.clone()).or_insert_with(|| state.clone());
        }
        self.promised.retain(|known, _| done.iter().any(|backup| backup.id == *known));
        done
    }

    pub fn state(&self) -> State {
        let ledger = self.ledger.as_ref().map(|ledger| ledger.contents(&ledger.database)).unwrap_or_default();
        State { database: compare::contents(&self.database), tree: compare::entries(&self.tree), ledger }
    }

    pub fn has(&self, place: &NewPlace) -> bool {
        match place {
            NewPlace::Path(path) => path.exists(),
            NewPlace::Database(name) => self.ledger.as_ref().is_some_and(|ledger| ledger.is_there(name)),
        }
    }

    /// Whether a place holds what a source held.
    pub fn holds(&self, place: &NewPlace, source: &str, state: &State) -> bool {
        match (place, source) {
            (NewPlace::Path(path), DATABASE) => compare::contents(path) == state.database,
            (NewPlace::Path(path), TREE) => compare::entries(path) == state.tree,
            (NewPlace::Database(name), LEDGER) => {
                self.ledger.as_ref().is_some_and(|ledger| ledger.contents(name) == state.ledger)
            }
            other => panic!("a place {other:?}"),
        }
    }

    /// Takes a row and a file away that every backup holds.
    pub fn lose_something(&self) {
        let connection = Connection::open(&self.database).unwrap();
        connection.execute("DELETE FROM tx WHERE id = 17", []).unwrap();
        fs::remove_file(self.tree.join("empty")).unwrap();
    }

    /// Puts back what [`Site::lose_something`] took away.
    pub fn find_again(&self) {
        let connection = Connection::open(&self.database).unwrap();
        connection.execute("INSERT OR IGNORE INTO tx SELECT 17, 17, 484, 0", []).unwrap();
        fs::write(self.tree.join("empty"), b"").unwrap();
    }

    /// Changes all sources.
    pub fn change(&mut self) {
        self.round += 1;
        let round = self.round;
        if let Some(ledger) = &self.ledger {
            ledger.change(round);
            return;
        }
        let connection = Connection::open(&self.database).unwrap();
        connection.execute("UPDATE acct SET bal = bal + 1 WHERE id % 7 = ?", [round % 7]).unwrap();
        connection.execute("UPDATE acct SET image = ? WHERE id = 1", [noise(round, 40_000)]).unwrap();
        connection.execute("INSERT INTO tx VALUES (?, 1, 2, ?)", params![1_000_000 + round, round]).unwrap();
        drop(connection);
        fs::write(self.tree.join("album/one.jpg"), noise(round, 60_000)).unwrap();
        fs::write(self.tree.join(format!("round-{}", round % 5)), round.to_string()).unwrap();
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
