//! `pg_restore`: fed from memory, its complaints read while it runs, ended when the restore is to stop.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, Write},
    process::{Child, ChildStdin, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::{
    ErrorKind, Result, SourceError,
    postgresql::{session::no_limits, tools::Tools},
};

use super::{complaint, run::Run};

pub(super) const PROGRAM: &str = "pg_restore";
/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(20);
/// Complaints that are kept, bytes; all of them are read.
const COMPLAINT_BYTES: usize = 16 * 1024;
/// A script of nothing but definitions, bytes.
const SCRIPT_BYTES: u64 = 256 * 1024 * 1024;
/// The limit that the program lifts for itself, and the version since which there is one.
const LIMIT: &str = "transaction_timeout";
const LIMIT_SINCE: u32 = 17;
/// Its status after complaints that did not stop it.
const COMPLAINED: i32 = 1;
/// Settings of roles and databases do not reach what we restore.
const OPTIONS: &str = "-c default_transaction_read_only=off -c synchronous_commit=off";

/// Fills the buffer with the next bytes of an archive; leaves it empty at the end.
pub(super) type Feed<'a> = &'a mut (dyn FnMut(&mut Vec<u8>) -> Result<()> + Send);

/// An archive as `pg_restore` gets it.
pub(super) enum Archive<'a> {
    /// Small enough for memory: a table of contents. It can be read several times, so several jobs may be asked for.
    Bytes(&'a [u8]),
    /// Piped while it is read.
    Stream(Feed<'a>),
}

/// Restores an archive into the run's database.
pub(super) fn restore(run: &Run<'_>, tools: &Tools, arguments: &[String], archive: Archive<'_>) -> Result<()> {
    // A name in the form of a connection string, for a bare one may be taken for such a string.
    let database = run.settings.database.replace('\\', "\\\\").replace('\'', "\\'");
    let mut all = vec!["--no-password".to_owned(), format!("--dbname=dbname='{database}'")];
    // From 17 on the program begins by setting a limit that earlier servers do not know, and would stop there.
    let forgives = tools.major >= LIMIT_SINCE && run.server_version() / 10_000 < LIMIT_SINCE;
    if !forgives {
        all.push("--exit-on-error".to_owned());
    }
    all.extend_from_slice(arguments);
    go(run, tools, &all, archive, forgives).map(drop)
}

/// The statements that would restore an archive.
pub(super) fn script(run: &Run<'_>, tools: &Tools, arguments: &[String], archive: &[u8]) -> Result<String> {
    let mut all = vec!["--file=-".to_owned()];
    all.extend_from_slice(arguments);
    let script = go(run, tools, &all, Archive::Bytes(archive), false)?;
    // Newer versions frame a script with commands for psql, and set a limit that earlier servers do not know.
    let text = String::from_utf8_lossy(&script);
    let text = text.replacen(&format!("SET {LIMIT} = 0;\n"), "", 1);
    Ok(text.lines().filter(|line| !line.starts_with('\\')).fold(String::new(), |mut all, line| {
        all.push_str(line);
        all.push('\n');
        all
    }))
}

fn go(run: &Run<'_>, tools: &Tools, arguments: &[String], archive: Archive<'_>, forgives: bool) -> Result<Vec<u8>> {
    run.check()?;
    let mut command = tools.command(PROGRAM, &run.settings, &run.purpose, run.server_version());
    let options = format!("{} {OPTIONS}", no_limits(run.server_version()));
    command.args(arguments).env("PGOPTIONS", options).stderr(Stdio::piped()).stdout(Stdio::piped());
    let feed = match archive {
        Archive::Bytes(bytes) => {
            command.stdin(Stdio::from(in_memory(bytes)?));
            None
        }
        Archive::Stream(feed) => {
            command.stdin(Stdio::piped());
            Some(feed)
        }
    };
    let mut child = command.spawn().map_err(|error| absent(tools, error))?;
    let (input, output, complaints) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        let feeding = feed.zip(input).map(|(feed, input)| scope.spawn(move || pour(feed, input)));
        let output = output.map(|output| scope.spawn(move || read_up_to(output, SCRIPT_BYTES)));
        let complaints = complaints.map(|complaints| scope.spawn(|| listen(complaints, &failed)));
        let ended = wait(run, &mut child, &failed);
        let fed = feeding.map_or(Ok(Ok(())), thread::ScopedJoinHandle::join).map_err(|_| defect())?;
        let said = complaints.map_or_else(String::new, |complaints| complaints.join().unwrap_or_default());
        let output = output.map_or_else(Vec::new, |output| output.join().unwrap_or_default());
        let success = match ended? {
            Some(0) => true,
            Some(COMPLAINED) => forgives && !failed.load(Ordering::Acquire),
            _ => false,
        };
        fed?;
        if success { Ok(output) } else { Err(complaint::explain(&said)) }
    })
}

/// Waits for the end, or ends it when the restore is to stop or has failed. Answers the program's status.
fn wait(run: &Run<'_>, child: &mut Child, failed: &AtomicBool) -> Result<Option<i32>> {
    loop {
        let stop = run.check();
        if stop.is_err() || failed.load(Ordering::Acquire) {
            let _ = child.kill();
            let _ = child.wait();
            return stop.map(|()| None);
        }
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.code()),
            Ok(None) => thread::sleep(POLL),
            Err(error) => {
                return Err(SourceError::new(ErrorKind::Internal, "pg_restore was lost.").because(error));
            }
        }
    }
}

/// A file without a name that the program and its workers can open as often as they like.
fn in_memory(bytes: &[u8]) -> Result<File> {
    let make = || -> std::io::Result<File> {
        let mut file = File::from(rustix::fs::memfd_create("toc", rustix::fs::MemfdFlags::CLOEXEC)?);
        file.write_all(bytes)?;
        file.rewind()?;
        Ok(file)
    };
    make().map_err(|error| {
        SourceError::new(ErrorKind::Internal, "A table of contents cannot be held in memory.").because(error)
    })
}

fn pour(feed: Feed<'_>, mut input: ChildStdin) -> Result<()> {
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        feed(&mut buffer)?;
        // A program that has ended says itself why.
        if buffer.is_empty() || input.write_all(&buffer).is_err() {
            return Ok(());
        }
    }
}

fn read_up_to(from: impl Read, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = from.take(limit).read_to_end(&mut bytes);
    bytes
}

/// Reads all and keeps the beginning: the first complaint is what the restore ended with. Notes when there is an error, but for
/// that of the limit which the server does not know.
fn listen(from: impl Read, failed: &AtomicBool) -> String {
    let (mut kept, mut from, mut line) = (Vec::new(), BufReader::new(from), Vec::new());
    while let Ok(1..) = from.read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line);
        if !text.contains(LIMIT) {
            let room = COMPLAINT_BYTES.saturating_sub(kept.len()).min(line.len());
            kept.extend_from_slice(line.get(..room).unwrap_or_default());
            if text.contains(": error: ") {
                failed.store(true, Ordering::Release);
            }
        }
        line.clear();
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// The program is not where `pg_dump` is.
pub(super) fn absent(tools: &Tools, error: std::io::Error) -> SourceError {
    SourceError::new(ErrorKind::Missing, "The program pg_restore does not start.")
        .hint(format!("Install it: apt-get install postgresql-client-{}.", tools.major))
        .because(error)
}

fn defect() -> SourceError {
    SourceError::new(ErrorKind::Internal, "Feeding pg_restore ended in a defect.")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `pg_restore` 18 says it to a server of version 12, by two workers at once.
    const UNKNOWN_LIMIT: &str = "pg_restore: while INITIALIZING:\npg_restore: pg_restore: error: error: could not execute query: \
         ERROR:  unrecognized configuration parameter \"transaction_timeout\"\nCommand was: SET transaction_timeout = 0;\n\n\
         could not execute query: ERROR:  unrecognized configuration parameter \"transaction_timeout\"\n\
         Command was: SET transaction_timeout = 0;\n\npg_restore: warning: errors ignored on restore: 1\n";

    #[test]
    fn a_limit_that_the_server_does_not_know_is_no_failure_and_any_other_error_is() {
        let failed = AtomicBool::new(false);
        listen(UNKNOWN_LIMIT.as_bytes(), &failed);
        assert!(!failed.load(Ordering::Acquire));

        let other = "pg_restore: error: could not execute query: ERROR:  relation \"t\" already exists\n\
             Command was: CREATE TABLE public.t (\n    id integer\n);\n";
        let said = listen(format!("{UNKNOWN_LIMIT}{other}").as_bytes(), &failed);
        assert!(failed.load(Ordering::Acquire));
        assert!(!said.contains(LIMIT));
        let error = complaint::explain(&said);
        assert!(error.sentence.contains("relation \"t\" already exists (at: CREATE TABLE"), "{}", error.sentence);
    }

    #[test]
    fn complaints_are_kept_up_to_a_length() {
        let many = "pg_restore: warning: a line\n".repeat(COMPLAINT_BYTES);
        assert_eq!(listen(many.as_bytes(), &AtomicBool::new(false)).len(), COMPLAINT_BYTES);
    }
}
