//! A throwaway PostgreSQL server, one per test process, on a unix socket; a database of its own for each test.
//!
//! The cluster is copied from a template that the first process makes. PostgreSQL refuses to run as root, so it then runs as
//! `postgres` (else `nobody`). It dies with the process, also with one that is killed, and the next one clears its folder away.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use crate::require::skipped;

const TOOL: &str = "postgres";
const INSTALL: &str = "apt-get install -y --no-install-recommends postgresql";
/// How long the server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often it is asked.
const START_POLL: Duration = Duration::from_millis(20);
/// Folders in the temporary directory: this and the process's id. Short, for a socket's path has at most 107 bytes.
const FOLDER: &str = "tv-pg-";

/// A running server.
#[derive(Debug)]
pub struct PostgresServer {
    binaries: PathBuf,
    folder: PathBuf,
    databases: AtomicU32,
}

impl PostgresServer {
    /// The server of this process, started by the first who asks. `None` when `postgres` is left out on purpose.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start; the message says what to do.
    pub fn shared() -> Option<&'static Self> {
        static SERVER: OnceLock<PostgresServer> = OnceLock::new();
        if skipped(TOOL) {
            return None;
        }
        Some(SERVER.get_or_init(Self::start))
    }

    /// Makes an empty database and answers its URL.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.run("createdb", &[&name]);
        format!("postgres:///{name}?host={}&user=postgres", self.folder.display())
    }

    /// The folder of the server's socket, for programs that take it as their host (the user is `postgres`).
    pub fn socket_folder(&self) -> &Path {
        &self.folder
    }

    /// Runs a statement and answers its rows, columns separated by `|`.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn query(&self, database: &str, statement: &str) -> String {
        self.run("psql", &["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement])
    }

    /// One of the server's programs, told by its environment where the server is and who asks.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.env("PGHOST", &self.folder).env("PGUSER", "postgres");
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self
            .command(program)
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn start() -> Self {
        let binaries = binaries().unwrap_or_else(|| {
            panic!(
                "this test needs PostgreSQL's server, which is not there.\nInstall it:  {INSTALL}\n\
                 or leave such tests out:  {}={TOOL}",
                crate::require::SKIP_VARIABLE
            )
        });
        let account = Account::of_server();
        clear_away_dead_folders();
        let folder = std::env::temp_dir().join(format!("{FOLDER}{}", std::process::id()));
        make_folder(&folder, account);
        let data = folder.join("data");
        copy_template(&binaries, account, &folder, &data);
        let log = folder.join("log");
        spawn_server(&binaries, account, &folder, &data, &log);
        let server = Self { binaries, folder, databases: AtomicU32::new(0) };
        let began = Instant::now();
        while !server.answers() {
            assert!(
                began.elapsed() < START_LIMIT,
                "PostgreSQL does not answer:\n{}",
                fs::read_to_string(&log).unwrap_or_default()
            );
            std::thread::sleep(START_POLL);
        }
        server
    }

    fn answers(&self) -> bool {
        Command::new(self.binaries.join("pg_isready"))
            .args(["-q", "-U", "postgres", "-h"])
            .arg(&self.folder)
            .status()
            .is_ok_and(|status| status.success())
    }
}

/// As whom the server runs.
#[derive(Clone, Copy, Debug)]
struct Account {
    /// User and group where we are root and must become somebody else.
    switch_to: Option<(u32, u32)>,
}

impl Account {
    fn of_server() -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self { switch_to: None };
        }
        let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let of = |name: &str| {
            let mut fields = accounts.lines().find(|line| line.split(':').next() == Some(name))?.split(':').skip(2);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        };
        Self { switch_to: Some(of("postgres").or_else(|| of("nobody")).unwrap_or((65_534, 65_534))) }
    }

    /// A command that runs as this account and dies with the thread that starts it.
    fn command(self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some((user, group)) = self.switch_to {
            command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--clear-groups");
        }
        command.arg("--").arg(program).stdin(Stdio::null());
        command
    }

    fn own(self, path: &Path) {
        if let Some((user, group)) = self.switch_to {
            chown(path, Some(user), Some(group)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}

/// Debian keeps the server's programs out of `PATH`, one folder for each version; the newest counts.
fn binaries() -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, folder)| folder.join("initdb").is_file())
        .collect();
    versions.sort();
    versions
        .pop()
        .map(|(_, folder)| folder)
        .or_else(|| std::env::split_paths(&std::env::var_os("PATH")?).find(|folder| folder.join("initdb").is_file()))
}

fn make_folder(folder: &Path, account: Account) {
    fs::DirBuilder::new().mode(0o755).create(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    account.own(folder);
}

/// The template lies beside the test programs, so that it goes with them.
fn template() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.join("postgres-template"))
}

fn copy_template(binaries: &Path, account: Account, folder: &Path, data: &Path) {
    let template = template();
    if let Some(template) = template.as_deref().filter(|template| template.join("PG_VERSION").is_file()) {
        copy(template, data, account);
        return;
    }
    let output = account
        .command(&binaries.join("initdb"))
        .args(["--no-sync", "-A", "trust", "-U", "postgres", "--no-locale", "-E", "UTF8", "--no-instructions", "-D"])
        .arg(data)
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("initdb does not start: {error}"));
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    if let Some(template) = template {
        let beside = template.with_extension(std::process::id().to_string());
        copy(data, &beside, Account { switch_to: None });
        // Who comes second finds the template there and throws its own away.
        if fs::rename(&beside, &template).is_err() {
            let _ = fs::remove_dir_all(&beside);
        }
    }
}

fn copy(from: &Path, to: &Path, account: Account) {
    fs::DirBuilder::new().mode(0o700).create(to).unwrap_or_else(|error| panic!("{}: {error}", to.display()));
    account.own(to);
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target, account);
        } else {
            fs::copy(entry.path(), &target).unwrap_or_else(|error| panic!("{}: {error}", target.display()));
            account.own(&target);
        }
    }
}

fn spawn_server(binaries: &Path, account: Account, folder: &Path, data: &Path, log: &Path) {
    let output = fs::File::create(log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
    let mut command = account.command(&binaries.join("postgres"));
    command.arg("-D").arg(data).arg("-F").args([
        "-c",
        "listen_addresses=",
        "-c",
        &format!("unix_socket_directories={}", folder.display()),
        "-c",
        "shared_buffers=16MB",
        "-c",
        "full_page_writes=off",
        "-c",
        "synchronous_commit=off",
        "-c",
        "max_connections=100",
    ]);
    command.current_dir(folder).stdout(Stdio::null()).stderr(output);
    // The server dies with the thread that started it: one that lives as long as the process.
    let (said, started) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let child = command.spawn();
        let failed = child.as_ref().err().map(ToString::to_string);
        let _ = said.send(failed);
        if let Ok(mut child) = child {
            let _ = child.wait();
        }
    });
    if let Ok(Some(error)) = started.recv() {
        panic!("setpriv does not start: {error}");
    }
}

/// Folders of processes that are gone.
fn clear_away_dead_folders() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(|name| name.strip_prefix(FOLDER)) else { continue };
        if process.parse::<u32>().is_ok() && !Path::new("/proc").join(process).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_test_gets_an_empty_database_of_its_own() {
        let Some(server) = PostgresServer::shared() else { return };
        let (one, other) = (server.create_database(), server.create_database());
        assert_ne!(one, other);
        server.query(&one, "CREATE TABLE mine (id int)");
        assert_eq!(server.query(&other, "SELECT count(*) FROM pg_tables WHERE tablename = 'mine'").trim(), "0");
    }
}
