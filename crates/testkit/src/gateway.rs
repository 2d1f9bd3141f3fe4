//! The real binary, started as a user would: `serve --data-dir --listen 127.0.0.1:0 --ready-file`.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// Name and password of the first administrator in tests: those of the Couchbase manual's lines.
pub const ADMINISTRATOR: &str = "Administrator";
pub const PASSWORD: &str = "password";

/// A server that does not answer by then is a failure.
const START_PATIENCE: Duration = Duration::from_secs(60);
const STOP_PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The built binary, beside the test's own: `cargo test --workspace` builds it before it runs anything.
pub fn binary() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    // Beside the benches' own programs, and one folder above those of tests.
    let places = own.ancestors().skip(1).take(2).map(|directory| directory.join("trivault"));
    places.clone().find(|path| path.is_file()).unwrap_or_else(|| {
        panic!(
            "{} is not built; run `cargo build --workspace` or `cargo test --workspace`",
            places.last().unwrap_or_default().display()
        )
    })
}

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// `--source` arguments.
    pub sources: Vec<String>,
    /// Further arguments of `serve`.
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// The configuration file names the listeners; else there is one on a free port.
    pub configured_listeners: bool,
}

/// A running server; killed when dropped.
pub struct Gateway {
    pub url: String,
    pub data_directory: PathBuf,
    /// With which commands beside it find the same metadata.
    configuration: Option<String>,
    environment: Vec<(String, String)>,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Gateway {
    /// Starts a server on a data directory; returns once it answers.
    ///
    /// # Panics
    /// With the server's log when it does not start.
    pub fn start(data_directory: &Path, setup: &Setup) -> Self {
        match Self::try_start(data_directory, setup) {
            Ok(gateway) => gateway,
            Err(log) => panic!("the server did not start:\n{log}"),
        }
    }

    /// As [`Gateway::start`].
    ///
    /// # Errors
    /// What the server printed, when it ended instead of answering.
    pub fn try_start(data_directory: &Path, setup: &Setup) -> Result<Self, String> {
        let beside = data_directory.parent().unwrap_or(data_directory);
        let name = data_directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (ready, password) = (beside.join(format!("{name}.ready")), beside.join(format!("{name}.password")));
        let failed = |error: std::io::Error| error.to_string();
        fs::write(&password, PASSWORD).map_err(failed)?;
        if ready.exists() {
            fs::remove_file(&ready).map_err(failed)?;
        }
        let mut command = Command::new(binary());
        command.args(["serve", "--data-dir"]).arg(data_directory);
        if !setup.configured_listeners {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.arg("--ready-file").arg(&ready).arg("--admin-password-file").arg(&password);
        for source in &setup.sources {
            command.args(["--source", source]);
        }
        command.args(&setup.arguments).envs(setup.environment.iter().map(|(name, value)| (name, value)));
        command.env_remove("TRIVAULT_CONFIG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let log = Arc::new(Mutex::new(String::new()));
        gather(child.stdout.take(), &log);
        gather(child.stderr.take(), &log);
        let begin = Instant::now();
        let url = loop {
            if let Ok(text) = fs::read_to_string(&ready)
                && let Ok(value) = serde_json::from_str::<Value>(&text)
                && let Some(url) = value["url"].as_str()
            {
                break url.to_owned();
            }
            let ended = child.try_wait().map_err(failed)?.is_some();
            if ended || begin.elapsed() > START_PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                // The readers end with the pipes.
                thread::sleep(LOOK_EVERY);
                return Err(text_of(&log));
            }
            thread::sleep(LOOK_EVERY);
        };
        let configuration = setup.arguments.iter().skip_while(|argument| *argument != "--config").nth(1).cloned();
        let (data_directory, environment) = (data_directory.to_owned(), setup.environment.clone());
        Ok(Self { url, data_directory, configuration, environment, child, log })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything printed so far.
    pub fn log(&self) -> String {
        text_of(&self.log)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, then waits; answers whether it ended with status 0.
    pub fn stop(&mut self) -> bool {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let begin = Instant::now();
        while begin.elapsed() < STOP_PATIENCE {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.success();
            }
            thread::sleep(LOOK_EVERY);
        }
        self.kill();
        false
    }

    /// Runs another command of the binary on the same data directory and configuration, beside the server.
    ///
    /// # Panics
    /// When the binary cannot be started.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let mut command = prepare(&self.data_directory, arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(configuration) = &self.configuration {
            command.args(["--config", configuration]);
        }
        run(command, arguments)
    }

    /// As [`Gateway::command`], parsed as JSON.
    ///
    /// # Panics
    /// With what the command printed when it failed.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        match serde_json::from_slice(&output.stdout) {
            Ok(value) => value,
            Err(error) => {
                panic!("{arguments:?} printed no JSON ({error}): {}", String::from_utf8_lossy(&output.stdout))
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a command of the binary on a data directory.
///
/// # Panics
/// When the binary cannot be started.
pub fn command(data_directory: &Path, arguments: &[&str]) -> Output {
    run(prepare(data_directory, arguments), arguments)
}

fn prepare(data_directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).arg("--data-dir").arg(data_directory).env_remove("TRIVAULT_CONFIG").stdin(Stdio::null());
    command
}

fn run(mut command: Command, arguments: &[&str]) -> Output {
    match command.output() {
        Ok(output) => output,
        Err(error) => panic!("{arguments:?} cannot be started: {error}"),
    }
}

fn gather(pipe: Option<impl std::io::Read + Send + 'static>, log: &Arc<Mutex<String>>) {
    let Some(pipe) = pipe else { return };
    let log = Arc::clone(log);
    thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.by_ref().read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            if let Ok(mut log) = log.lock() {
                log.push_str(&String::from_utf8_lossy(&line));
            }
            line.clear();
        }
    });
}

fn text_of(log: &Mutex<String>) -> String {
    log.lock().map(|log| log.clone()).unwrap_or_default()
}
