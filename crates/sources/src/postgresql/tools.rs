//! `pg_dump`, `pg_dumpall` and `pg_restore`: found, and run with nothing in their environment but what they need.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, PoisonError},
};

use super::{
    session::no_limits,
    settings::{Host, Settings},
};
use crate::{ErrorKind, Result, SourceError};

/// Where Debian keeps the programs of each version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// All that are run.
const PROGRAMS: [&str; 3] = ["pg_dump", "pg_dumpall", "pg_restore"];

/// The programs of one version.
#[derive(Clone, Debug)]
pub(super) struct Tools {
    folder: PathBuf,
    /// `15.18`.
    pub version: String,
    pub major: u32,
}

impl Tools {
    /// The configured ones; else the newest that Debian's packages brought; else those in `PATH`.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`], with the package to install.
    pub(super) fn find(settings: &Settings) -> Result<Self> {
        let folder = match &settings.pg_bin {
            Some(folder) => Some(folder.clone()).filter(|folder| folder.join("pg_dump").is_file()),
            None => newest().or_else(in_path),
        };
        let lacking = |folder: &Path| PROGRAMS.iter().find(|program| !folder.join(program).is_file());
        if let Some((folder, program)) = folder.as_deref().and_then(|folder| Some((folder, lacking(folder)?))) {
            let sentence = format!("The program {program} was not found in {} beside pg_dump.", folder.display());
            return Err(SourceError::new(ErrorKind::Missing, sentence)
                .hint("Install the whole package: apt-get install postgresql-client."));
        }
        let Some(folder) = folder else {
            let place = settings.pg_bin.as_ref().map(|folder| format!(" in {}", folder.display())).unwrap_or_default();
            return Err(SourceError::new(ErrorKind::Missing, format!("The program pg_dump was not found{place}."))
                .hint("Install it: apt-get install postgresql-client. Or name its folder by the option pg_bin."));
        };
        let output = version(&folder.join("pg_dump")).map_err(|error| {
            SourceError::new(ErrorKind::Missing, format!("{} does not start.", folder.join("pg_dump").display()))
                .because(error)
        })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
        let version = version.unwrap_or_default().to_owned();
        if !output.status.success() || version.is_empty() {
            let sentence = format!("{} --version fails.", folder.join("pg_dump").display());
            return Err(SourceError::new(ErrorKind::Invalid, sentence).hint("Install it anew."));
        }
        let major = version.split(|c: char| !c.is_ascii_digit()).next().and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Self { folder, version, major })
    }

    /// Whether a program starts.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn starts(&self, program: &str) -> io::Result<()> {
        version(&self.folder.join(program)).map(drop)
    }

    /// A program that will reach the settings' database. The password travels in the child's environment alone.
    /// `server_version` as in [`Session::server_version`](super::session::Session::server_version); 0 when it is not known.
    pub(super) fn command(&self, program: &str, settings: &Settings, purpose: &str, server_version: u32) -> Command {
        let mut command = Command::new(self.folder.join(program));
        command.env_clear();
        command.env("PATH", "/usr/bin:/bin").env("LC_MESSAGES", "C");
        command.env("PGUSER", &settings.user).env("PGDATABASE", &settings.database);
        command.env("PGPORT", settings.port.to_string()).env("PGSSLMODE", ssl_mode(settings));
        match &settings.host {
            Host::Name(name) => command.env("PGHOST", name),
            Host::Socket(folder) => command.env("PGHOST", folder),
        };
        if let Some(password) = &settings.password {
            command.env("PGPASSWORD", password.expose());
        }
        for (key, path) in [
            ("PGSSLROOTCERT", &settings.tls.root_certificate),
            ("PGSSLCERT", &settings.tls.client_certificate),
            ("PGSSLKEY", &settings.tls.client_key),
        ] {
            if let Some(path) = path {
                command.env(key, path);
            }
        }
        command.env("PGOPTIONS", no_limits(server_version));
        command.env("PGCONNECT_TIMEOUT", "10").env("PGAPPNAME", purpose).env("PGTZ", "UTC");
        // No .pgpass, no .pg_service.conf, no certificates in the home of whoever runs the server.
        command.env("HOME", "/nonexistent");
        command.env("PGPASSFILE", "/dev/null").env("PGSERVICEFILE", "/dev/null");
        command
    }
}

/// A program's file: path, inode, size, and when it was changed last.
type Identity = (PathBuf, u64, u64, i64, i64);

/// What a program answers to `--version`. It is asked once for as long as its file stays the same: a restore would start the
/// programs five times to learn it.
fn version(program: &Path) -> io::Result<Output> {
    static ANSWERS: Mutex<Option<HashMap<Identity, Output>>> = Mutex::new(None);
    let file = fs::metadata(program)?;
    let key = (program.to_owned(), file.ino(), file.size(), file.ctime(), file.ctime_nsec());
    let remembered = |key| ANSWERS.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.get(key).cloned();
    if let Some(output) = remembered(&key) {
        return Ok(output);
    }
    let output = Command::new(program).arg("--version").env_clear().output()?;
    if output.status.success() {
        let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get_or_insert_default().insert(key, output.clone());
    }
    Ok(output)
}

fn ssl_mode(settings: &Settings) -> &'static str {
    use sqlx::postgres::PgSslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
    match settings.tls.mode {
        Disable => "disable",
        Allow => "allow",
        Prefer => "prefer",
        Require => "require",
        VerifyCa => "verify-ca",
        VerifyFull => "verify-full",
    }
}

fn newest() -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let numbered = versions.filter_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((number, entry.path().join("bin")))
    });
    numbered.filter(|(_, folder)| has_dump(folder)).max().map(|(_, folder)| folder)
}

fn in_path() -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).find(|folder| has_dump(folder))
}

fn has_dump(folder: &Path) -> bool {
    folder.join("pg_dump").is_file()
}
