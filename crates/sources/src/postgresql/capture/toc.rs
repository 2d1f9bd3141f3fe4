//! The table of contents, from the first kilobytes that `pg_dump` writes.

use std::{
    io::{BufReader, Read},
    process::ChildStdout,
    sync::mpsc,
    time::Duration,
};

use super::process::{Killer, Running};
use crate::{
    CaptureSink, ErrorKind, Result, SourceError,
    postgresql::{
        dump::{Archive, DumpError},
        settings::Settings,
        tools::Tools,
    },
};

/// How often a wait for `pg_dump` looks whether it is still wanted.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

/// `pg_dump` after its table of contents.
pub(super) struct Dump {
    pub running: Running,
    /// Stands right after `consumed`.
    pub output: BufReader<ChildStdout>,
    /// All bytes that were read so far.
    pub consumed: Vec<u8>,
    /// What they mean; the reason where that is unknown.
    pub archive: Result<Archive, String>,
}

/// `pg_dump` on its way to the table of contents, in a thread of its own.
pub(super) struct Pending {
    killer: Killer,
    answer: mpsc::Receiver<Result<Dump>>,
    answered: bool,
}

/// Starts `pg_dump` on the snapshot.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a program that is older than the server; [`ErrorKind::Missing`] where it does not start.
pub(super) fn start(settings: &Settings, tools: &Tools, server: u32, snapshot: &str, purpose: &str) -> Result<Pending> {
    let server_major = server / 10_000;
    if tools.major < server_major {
        return Err(SourceError::new(
            ErrorKind::Unsupported,
            format!("pg_dump is of version {}; it cannot read a server of version {server_major}.", tools.version),
        )
        .hint(format!(
            "Install it: apt-get install postgresql-client-{server_major}. Or name its folder by the option pg_bin."
        )));
    }
    let mut command = tools.command("pg_dump", settings, purpose, server);
    command.args(["-Fc", "-Z0", "--no-sync", "--no-password"]).arg(format!("--snapshot={snapshot}"));
    command.arg(format!("--lock-wait-timeout={}s", settings.lock_timeout_seconds));
    let (running, output) = Running::start("pg_dump", command)?;
    let killer = running.killer();
    let (tell, answer) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody listens any more after a cancellation.
        let _ = tell.send(read(running, output));
    });
    Ok(Pending { killer, answer, answered: false })
}

impl Pending {
    /// Waits for the table of contents.
    ///
    /// # Errors
    /// What `pg_dump` complained of; a cancellation.
    pub(super) fn wait(mut self, sink: &dyn CaptureSink) -> Result<Dump> {
        loop {
            match self.answer.recv_timeout(WATCH_INTERVAL) {
                Ok(dump) => {
                    self.answered = true;
                    return dump;
                }
                Err(mpsc::RecvTimeoutError::Timeout) if sink.is_cancelled() => return Err(SourceError::cancelled()),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(SourceError::new(ErrorKind::Internal, "Reading pg_dump's output was given up."));
                }
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // After an answer the program belongs to whoever has it; without one nobody wants it.
        if !self.answered {
            self.killer.kill();
        }
    }
}

fn read(running: Running, output: BufReader<ChildStdout>) -> Result<Dump> {
    let mut recorder = Recorder { output, consumed: Vec::new(), ended: false };
    let archive = Archive::read(&mut recorder);
    let Recorder { output, consumed, ended } = recorder;
    let archive = match archive {
        Ok(archive) => Ok(archive),
        // It stopped before it had written all: its own words say why.
        Err(_) if ended => {
            running.finish()?;
            return Err(SourceError::new(ErrorKind::Unavailable, "pg_dump wrote no complete table of contents."));
        }
        Err(DumpError::Io(error)) => return Err(DumpError::Io(error).into()),
        Err(error) => Err(error.to_string()),
    };
    Ok(Dump { running, output, consumed, archive })
}

/// Keeps what passes, for an archive that turns out to be unknown.
struct Recorder {
    output: BufReader<ChildStdout>,
    consumed: Vec<u8>,
    ended: bool,
}

impl Read for Recorder {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.output.read(buffer)?;
        self.ended |= read == 0 && !buffer.is_empty();
        self.consumed.extend_from_slice(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}
