//! The real PgBouncer in front of a real server.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use trivault_sources::ErrorKind;
use trivault_testkit::{postgres::PostgresServer, require};

use super::refusal;

/// Only names the socket's file; the folder is each test's own.
const PORT: u16 = 6432;
const PATIENCE: Duration = Duration::from_secs(20);

/// Listens on a socket in a folder of its own.
struct PgBouncer {
    child: Child,
    folder: tempfile::TempDir,
}

impl PgBouncer {
    /// `None` where the program is left out on purpose.
    fn start(server: &PostgresServer, settings: &str) -> Option<Self> {
        // Debian's place, which is not in everybody's PATH.
        let debian = Path::new("/usr/sbin/pgbouncer");
        let program = if debian.is_file() {
            debian.to_owned()
        } else {
            require::program("postgres", "pgbouncer", "apt-get install pgbouncer")?
        };
        let folder = tempfile::Builder::new().prefix("trivault-pgbouncer-").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let configuration = folder.path().join("pgbouncer.ini");
        let (place, behind) = (folder.path().display(), server.socket_folder().display());
        // `any` takes no user's name; the server is told this one.
        let text = format!(
            "[databases]\n* = host={behind} port={} user=postgres\n[pgbouncer]\nlisten_addr =\nlisten_port = {PORT}\n\
             unix_socket_dir = {place}\nauth_type = any\n{settings}\n",
            server.port()
        );
        fs::write(&configuration, text).unwrap();
        let child = unprivileged(&program).arg(&configuration).spawn().unwrap();
        let bouncer = Self { child, folder };
        bouncer.wait();
        Some(bouncer)
    }

    fn wait(&self) {
        let socket = self.folder.path().join(format!(".s.PGSQL.{PORT}"));
        let begun = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            assert!(begun.elapsed() < PATIENCE, "PgBouncer does not listen at {}", socket.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn url(&self) -> String {
        format!("postgresql://postgres@/postgres?host={}&port={PORT}", self.folder.path().display())
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// It refuses to run as root; it ends with the thread that starts it.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if fs::metadata("/proc/self").is_ok_and(|us| std::os::unix::fs::MetadataExt::uid(&us) == 0) {
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
    }
    command.arg("--").arg(program).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn pgbouncer_is_refused_however_it_pools() {
    let Some(server) = PostgresServer::shared() else { return };
    for settings in [
        "pool_mode = session",
        "pool_mode = transaction",
        "pool_mode = transaction\nignore_startup_parameters = options,extra_float_digits,search_path",
        "pool_mode = statement\nignore_startup_parameters = options,extra_float_digits,search_path",
        // Whoever is an administrator there is let into the console.
        "pool_mode = transaction\nignore_startup_parameters = options,extra_float_digits,search_path\nadmin_users = postgres",
    ] {
        let Some(bouncer) = PgBouncer::start(server, settings) else { return };
        let (kind, sentence, hint) = refusal(&bouncer.url(), None);
        assert_eq!(kind, ErrorKind::Unsupported, "{settings}: {sentence}");
        assert!(format!("{sentence} {hint}").contains("PgBouncer"), "{settings}: {sentence} {hint}");
        assert!(hint.contains("server"), "{settings}: {hint}");
    }
}
