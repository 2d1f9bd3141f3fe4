//! The stock restic as a second opinion on what we write.

use crate::require::program;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The stock restic with a vault and its password.
#[derive(Clone)]
pub struct Restic {
    program: PathBuf,
    location: String,
    password: String,
}

impl Restic {
    /// restic for the vault at `location` (as `restic -r` takes it). `None` when `restic` is left out on purpose.
    ///
    /// # Panics
    /// When restic is absent.
    pub fn new(location: impl Into<String>, password: impl Into<String>) -> Option<Self> {
        let program = program("restic", "restic", "apt-get install restic")?;
        Some(Self { program, location: location.into(), password: password.into() })
    }

    /// The command with these arguments, ready for more settings.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--no-cache")
            .args(arguments)
            .env("RESTIC_REPOSITORY", &self.location)
            .env("RESTIC_PASSWORD", &self.password)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .stdin(Stdio::null());
        command
    }

    /// Runs it and returns what it said, whatever came of it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        self.command(arguments).output().unwrap_or_else(|error| panic!("restic does not start: {error}"))
    }

    /// Runs it and returns its standard output.
    ///
    /// # Panics
    /// When it does not succeed.
    pub fn succeed<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Vec<u8> {
        let mut command = self.command(arguments);
        let output = command.output().unwrap_or_else(|error| panic!("restic does not start: {error}"));
        assert!(
            output.status.success(),
            "{:?} ended with {}\n{}{}",
            command.get_args().collect::<Vec<_>>(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// Backs up a stream, as `restic backup --stdin` does.
    ///
    /// # Panics
    /// When it does not succeed.
    pub fn backup_stream(&self, file_name: &str, bytes: &[u8]) {
        use std::io::Write as _;
        let mut child = self
            .command(["backup", "--stdin", "--stdin-filename", file_name, "--quiet"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("restic does not start: {error}"));
        let Some(mut input) = child.stdin.take() else { panic!("restic's input was asked for") };
        let written = input.write_all(bytes);
        drop(input);
        let status = child.wait();
        assert!(status.is_ok_and(|status| status.success()) && written.is_ok(), "restic backup --stdin failed");
    }
}
