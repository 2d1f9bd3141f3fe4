//! A throwaway PostgreSQL server, one per test process, on a unix socket; a database of its own for each test. A test that needs
//! TCP, TLS, passwords or a standby has a server of its own.
//!
//! The cluster is copied from a template that the first process makes. PostgreSQL refuses to run as root, so it then runs as
//! `postgres` (else `nobody`). It dies with the process, also with one that is killed, and the next one clears its folder away.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{DirBuilderExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{authority::Certificate, require::skipped};

const TOOL: &str = "postgres";
const INSTALL: &str = "apt-get install -y --no-install-recommends postgresql";
/// How long the server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often it is asked.
const START_POLL: Duration = Duration::from_millis(20);
/// Folders in the temporary directory: this and the process's id. Short, for a socket's path has at most 107 bytes.
const FOLDER: &str = "tv-pg-";
/// Of a server that no other can be confused with, since it listens on its socket alone.
const DEFAULT_PORT: u16 = 5432;
/// Ports that are tried: between the choice and the start somebody may take one.
const PORT_ATTEMPTS: u32 = 5;
/// What a test's data need not survive.
const QUICK: [&str; 5] = [
    "shared_buffers=16MB",
    "full_page_writes=off",
    "synchronous_commit=off",
    "max_connections=100",
    // In its folder: a server that is killed leaves nothing in /dev/shm.
    "dynamic_shared_memory_type=mmap",
];

/// A running server.
#[derive(Debug)]
pub struct PostgresServer {
    binaries: PathBuf,
    folder: PathBuf,
    databases: AtomicU32,
    /// Of the socket's name, and of TCP where it listens there.
    port: u16,
    variant: Variant,
    running: Mutex<Option<Running>>,
}

/// How a server of a test's own differs from the shared one.
#[derive(Clone, Debug, Default)]
pub struct Variant {
    /// Listens on 127.0.0.1, at [`PostgresServer::port`], too.
    pub tcp: bool,
    /// Encrypts with this certificate.
    pub certificate: Option<Certificate>,
    /// PEM of the authority of the clients' certificates.
    pub client_authority: Option<String>,
    /// Lines of `pg_hba.conf`, after one that lets `postgres` in by the socket. Without any, everybody is trusted.
    pub host_based_access: Vec<String>,
    /// `name=value`
    pub settings: Vec<String>,
}

#[derive(Debug)]
struct Running {
    process: rustix::process::Pid,
    thread: JoinHandle<()>,
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
        Some(SERVER.get_or_init(|| Self::start(&Variant::default(), String::new(), |_, _, _| false)))
    }

    /// A server for one test, ended when it is dropped. `None` when `postgres` is left out on purpose.
    ///
    /// # Panics
    /// As [`PostgresServer::shared`].
    pub fn own(variant: &Variant) -> Option<Self> {
        (!skipped(TOOL)).then(|| Self::start(variant, next_suffix(), |_, _, _| false))
    }

    /// A standby of this server that replays what it does, for one test.
    ///
    /// # Panics
    /// When the server cannot be copied.
    pub fn standby(&self) -> Self {
        Self::start(&Variant::default(), next_suffix(), |binaries, account, data| {
            let output = account
                .command(&binaries.join("pg_basebackup"))
                .args(["--checkpoint=fast", "--no-sync", "-R", "-U", "postgres", "-h"])
                .arg(&self.folder)
                .args(["-p", &self.port.to_string(), "-D"])
                .arg(data)
                .current_dir(data.parent().unwrap_or(data))
                .output()
                .unwrap_or_else(|error| panic!("pg_basebackup does not start: {error}"));
            assert!(output.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&output.stderr));
            true
        })
    }

    /// Makes an empty database and answers its URL.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.run("createdb", &[&name]);
        self.url(&name)
    }

    /// The URL by which `postgres` reaches a database through the socket.
    pub fn url(&self, database: &str) -> String {
        let port = if self.port == DEFAULT_PORT { String::new() } else { format!("&port={}", self.port) };
        format!("postgres:///{database}?host={}&user=postgres{port}", self.folder.display())
    }

    /// The folder of the server's socket, for programs that take it as their host (the user is `postgres`).
    pub fn socket_folder(&self) -> &Path {
        &self.folder
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Folder of `pg_dump`, `pg_restore`, `psql` and the others.
    pub fn binaries(&self) -> &Path {
        &self.binaries
    }

    /// What the server has written.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Runs a statement and answers its rows, columns separated by `|`.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn query(&self, database: &str, statement: &str) -> String {
        self.run("psql", &["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement])
    }

    /// Ends the server at once, as a crash would (SIGQUIT). The last commits may be lost unless the variant's settings have
    /// `synchronous_commit=on`.
    pub fn crash(&self) {
        let Some(Running { process, thread }) = self.running.lock().ok().and_then(|mut running| running.take()) else {
            return;
        };
        let _ = rustix::process::kill_process(process, rustix::process::Signal::QUIT);
        let _ = thread.join();
    }

    /// Starts it again after [`PostgresServer::crash`].
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&self) {
        self.spawn(Account::of_server());
        assert!(self.comes_up(), "PostgreSQL does not answer again:\n{}", self.log());
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(self.binaries.join(program))
            .arg("-h")
            .arg(&self.folder)
            .args(["-p", &self.port.to_string(), "-U", "postgres"])
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// `fill` makes the data folder, or says that it did not.
    fn start(variant: &Variant, suffix: String, fill: impl Fn(&Path, Account, &Path) -> bool) -> Self {
        let binaries = binaries().unwrap_or_else(|| {
            panic!(
                "this test needs PostgreSQL's server, which is not there.\nInstall it:  {INSTALL}\n\
                 or leave such tests out:  {}={TOOL}",
                crate::require::SKIP_VARIABLE
            )
        });
        let account = Account::of_server();
        clear_away_dead_folders();
        let folder = std::env::temp_dir().join(format!("{FOLDER}{}{suffix}", std::process::id()));
        make_folder(&folder, account);
        let data = folder.join("data");
        if !fill(&binaries, account, &data) {
            copy_template(&binaries, account, &folder, &data);
        }
        variant.write_files(&data, account);
        let mut server = Self {
            binaries,
            folder,
            databases: AtomicU32::new(0),
            port: DEFAULT_PORT,
            variant: variant.clone(),
            running: Mutex::new(None),
        };
        for _ in 0..PORT_ATTEMPTS {
            if variant.tcp {
                server.port = free_port();
            }
            server.spawn(account);
            if server.comes_up() {
                return server;
            }
            // Somebody else took the port meanwhile.
            server.crash();
        }
        panic!("PostgreSQL does not answer:\n{}", server.log());
    }

    /// Waits until it answers; `false` when it ended instead.
    fn comes_up(&self) -> bool {
        let began = Instant::now();
        while !self.answers() {
            let ended = |running: &Option<Running>| running.as_ref().is_none_or(|running| running.thread.is_finished());
            if began.elapsed() > START_LIMIT || self.running.lock().is_ok_and(|running| ended(&running)) {
                return false;
            }
            std::thread::sleep(START_POLL);
        }
        true
    }

    fn spawn(&self, account: Account) {
        let output = fs::File::options().create(true).append(true).open(self.folder.join("log"));
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", self.folder.display()));
        let mut command = account.command(&self.binaries.join("postgres"));
        command.arg("-D").arg(self.folder.join("data")).arg("-F");
        for setting in self.settings() {
            command.args(["-c", &setting]);
        }
        command.current_dir(&self.folder).stdout(Stdio::null()).stderr(output);
        let running = spawn_server(command);
        if let Ok(mut slot) = self.running.lock() {
            *slot = Some(running);
        }
    }

    fn settings(&self) -> Vec<String> {
        let Self { folder, port, variant, .. } = self;
        let Variant { tcp, certificate, client_authority, host_based_access: _, settings } = variant;
        let mut all = vec![
            format!("listen_addresses={}", if *tcp { "127.0.0.1" } else { "" }),
            format!("port={port}"),
            format!("unix_socket_directories={}", folder.display()),
        ];
        all.extend(QUICK.map(str::to_owned));
        if certificate.is_some() {
            all.extend(["ssl=on", "ssl_cert_file=server.crt", "ssl_key_file=server.key"].map(str::to_owned));
        }
        if client_authority.is_some() {
            all.push("ssl_ca_file=clients.crt".to_owned());
        }
        all.extend(settings.iter().cloned());
        all
    }

    fn answers(&self) -> bool {
        Command::new(self.binaries.join("pg_isready"))
            .args(["-q", "-U", "postgres", "-p", &self.port.to_string(), "-h"])
            .arg(&self.folder)
            .status()
            .is_ok_and(|status| status.success())
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.crash();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Variant {
    fn write_files(&self, data: &Path, account: Account) {
        let Self { tcp: _, certificate, client_authority, host_based_access, settings: _ } = self;
        let write = |name: &str, text: &str| {
            let path = data.join(name);
            let written = fs::write(&path, text);
            written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o600));
            account.own(&path);
        };
        if let Some(Certificate { certificate, key }) = certificate {
            write("server.crt", certificate);
            write("server.key", key);
        }
        if let Some(authority) = client_authority {
            write("clients.crt", authority);
        }
        if !host_based_access.is_empty() {
            write("pg_hba.conf", &format!("local all postgres trust\n{}\n", host_based_access.join("\n")));
        }
    }
}

/// A port that nobody has now.
fn free_port() -> u16 {
    let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    bound.unwrap_or_else(|error| panic!("no port is free: {error}")).port()
}

fn next_suffix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("-{}", NEXT.fetch_add(1, Ordering::Relaxed))
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

/// The template lies beside the test programs, so that it goes with them; each version of the server has its own.
fn template(binaries: &Path) -> Option<PathBuf> {
    let version = binaries.parent()?.file_name()?.to_str()?;
    Some(std::env::current_exe().ok()?.parent()?.join(format!("postgres-template-{version}")))
}

fn copy_template(binaries: &Path, account: Account, folder: &Path, data: &Path) {
    let template = template(binaries);
    if let Some(template) = template.as_deref().filter(|template| template.join("PG_VERSION").is_file()) {
        copy(template, data, account);
        return;
    }
    let output = account
        .command(&binaries.join("initdb"))
        .args(["--no-sync", "-A", "trust", "-U", "postgres", "--no-locale", "-E", "UTF8", "-D"])
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

fn spawn_server(mut command: Command) -> Running {
    // The server dies with the thread that started it: one that lives as long as the server.
    let (say, started) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || match command.spawn() {
        Ok(mut child) => {
            let _ = say.send(Ok(child.id()));
            let _ = child.wait();
        }
        Err(error) => drop(say.send(Err(error.to_string()))),
    });
    match started.recv() {
        Ok(Ok(process)) => {
            let process = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
            Running { process: process.unwrap_or_else(|| panic!("a process without an id")), thread }
        }
        Ok(Err(error)) => panic!("setpriv does not start: {error}"),
        Err(_) => panic!("setpriv does not start"),
    }
}

/// Folders of processes that are gone.
fn clear_away_dead_folders() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(|name| name.strip_prefix(FOLDER)) else { continue };
        let process = process.split('-').next().unwrap_or_default();
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

    #[test]
    fn a_server_of_ones_own_survives_a_crash_and_is_followed_by_a_standby() {
        let settings = vec!["synchronous_commit=on".to_owned()];
        let Some(server) = PostgresServer::own(&Variant { tcp: true, settings, ..Variant::default() }) else { return };
        server.query("postgres", "CREATE TABLE kept AS SELECT 1 AS id");
        server.crash();
        server.restart();
        let standby = server.standby();
        assert_eq!(standby.query("postgres", "SELECT id, pg_is_in_recovery() FROM kept").trim(), "1|t");
        let folder = standby.socket_folder().to_owned();
        drop(standby);
        assert!(!folder.exists());
    }
}
