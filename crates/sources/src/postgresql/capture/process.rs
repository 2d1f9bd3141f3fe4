//! A program of PostgreSQL's while it runs: what it complains of is read all the time, so that it never waits for us.

use std::{
    io::{BufReader, Read},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use crate::{ErrorKind, Result, SourceError};

/// Of what a program says to its user, the first so many bytes are kept.
const KEPT_BYTES: usize = 64 * 1024;
const READ_BYTES: usize = 256 * 1024;

pub(super) struct Running {
    program: &'static str,
    child: Arc<Mutex<Child>>,
    complaints: Option<JoinHandle<String>>,
}

/// Ends a program from another thread.
#[derive(Clone)]
pub(super) struct Killer(Arc<Mutex<Child>>);

impl Killer {
    pub(super) fn kill(&self) {
        // It may have ended by itself.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).kill();
    }
}

impl Running {
    /// Starts the program; its output is for the caller to read.
    pub(super) fn start(program: &'static str, mut command: Command) -> Result<(Self, BufReader<ChildStdout>)> {
        let failed = |error: std::io::Error| {
            SourceError::new(ErrorKind::Missing, format!("The program {program} does not start.")).because(error)
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let running = Self {
            program,
            child: Arc::new(Mutex::new(child)),
            complaints: errors.map(|errors| std::thread::spawn(move || drain(errors))),
        };
        let output = output.ok_or_else(|| SourceError::new(ErrorKind::Internal, "A program has no output."))?;
        Ok((running, BufReader::with_capacity(READ_BYTES, output)))
    }

    pub(super) fn killer(&self) -> Killer {
        Killer(Arc::clone(&self.child))
    }

    /// Ends it: what we wanted of it, we have.
    pub(super) fn stop(self) {
        drop(self);
    }

    /// Waits for its end, which its output has announced already.
    ///
    /// # Errors
    /// What it complained of, as a sentence, where it did not end well.
    pub(super) fn finish(mut self) -> Result<()> {
        let (status, complaints) = self.wait()?;
        if status.success() { Ok(()) } else { Err(explain(self.program, &complaints, status)) }
    }

    fn wait(&mut self) -> Result<(ExitStatus, String)> {
        let status = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait().map_err(|error| {
            SourceError::new(ErrorKind::Internal, format!("The end of {} was not seen.", self.program)).because(error)
        })?;
        let complaints = self.complaints.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        Ok((status, complaints))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What it complains of is left to its thread: where the program is a script, others may hold that end for longer.
        if self.complaints.take().is_some() {
            self.killer().kill();
            let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
        }
    }
}

fn drain(mut errors: impl Read) -> String {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = errors.read(&mut buffer) {
        let room = KEPT_BYTES.saturating_sub(kept.len()).min(read);
        kept.extend_from_slice(buffer.get(..room).unwrap_or_default());
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// The first complaint as a sentence of ours, with its kind.
fn explain(program: &str, complaints: &str, status: ExitStatus) -> SourceError {
    let lines = || complaints.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines().find(|line| line.contains("error:") || line.contains("FATAL:")).or_else(|| lines().next());
    let Some(line) = line else {
        return SourceError::new(ErrorKind::Unavailable, format!("{program} ended with {status} and no message."));
    };
    let message =
        ["ERROR:", "FATAL:", "error:"].iter().find_map(|mark| line.rsplit_once(mark)).map_or(line, |(_, text)| text);
    let message = message.trim().trim_end_matches('.');
    let has = |text: &str| complaints.contains(text);
    let (kind, hint) = if has("permission denied") || has("row-level security") {
        (
            ErrorKind::Denied,
            Some("Give the user SELECT on everything (from version 14: GRANT pg_read_all_data) and BYPASSRLS."),
        )
    } else if has("password authentication failed") || has("no password supplied") || has("pg_hba.conf") {
        (ErrorKind::Denied, Some("Check the user's password, and whether it was changed while the backup ran."))
    } else if has("server version mismatch") {
        (
            ErrorKind::Unsupported,
            Some("Install the client programs of the server's version, or name their folder by the option pg_bin."),
        )
    } else if has("lock timeout") || has("statement timeout") || has("could not obtain lock") {
        (
            ErrorKind::Unavailable,
            Some(
                "Another session holds or wants a lock on a table; try again, or raise the option lock_timeout_seconds.",
            ),
        )
    } else if has("out of shared memory") {
        (ErrorKind::Unavailable, Some("Raise max_locks_per_transaction on the server: pg_dump locks every table."))
    } else if has("conflict with recovery") {
        (ErrorKind::Unavailable, Some(super::STANDBY_HINT))
    } else {
        (ErrorKind::Unavailable, None)
    };
    let error = SourceError::new(kind, format!("{program}: {message}."));
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn complaints_become_a_sentence() {
        let of = |text: &str| explain("pg_dump", text, ExitStatus::from_raw(256));
        let error = of(
            "pg_dump: error: query failed: ERROR:  permission denied for table t\npg_dump: detail: Query was: LOCK\n",
        );
        assert_eq!(
            (error.kind, error.sentence.as_str()),
            (ErrorKind::Denied, "pg_dump: permission denied for table t.")
        );
        let error =
            of("pg_dump: error: aborting because of server version mismatch\npg_dump: detail: server version: 16\n");
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert_eq!(of("").sentence, "pg_dump ended with exit status: 1 and no message.");
    }

    #[test]
    fn a_program_that_complains_a_lot_is_not_held_up() {
        let mut command = Command::new("sh");
        command.args(["-c", "yes complaint | head -c 3000000 >&2; echo done; exit 3"]);
        let (running, mut output) = Running::start("sh", command).unwrap();
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        assert_eq!(text, "done\n");
        assert_eq!(running.finish().unwrap_err().sentence, "sh: complaint.");
    }
}
