//! `roles.sql`: roles, their settings and tablespaces of the server, for a person to read. A backup is complete without it.

use std::io::Read;

use super::process::{Killer, Running};
use crate::{
    CaptureSink, Cutting, Result, StreamOptions, StreamSummary, Warning,
    postgresql::{layout::ROLES, settings::Settings, tools::Tools},
};

/// More than this is not roles, bytes.
const LIMIT_BYTES: u64 = 64 << 20;

/// `pg_dumpall` while it runs; it needs no snapshot. Passwords of roles are left out even where they could be read: this file is
/// made to be read by a person, and is given out with the archive.
pub(super) struct Globals {
    killer: Killer,
    thread: Option<std::thread::JoinHandle<Result<Vec<u8>>>>,
}

impl Globals {
    pub(super) fn start(settings: &Settings, tools: &Tools, server_version: u32, purpose: &str) -> Result<Self> {
        let mut command = tools.command("pg_dumpall", settings, purpose, server_version);
        command.args(["--globals-only", "--no-role-passwords", "--no-password", "-l", &settings.database]);
        let (running, output) = Running::start("pg_dumpall", command)?;
        let killer = running.killer();
        let thread = std::thread::spawn(move || {
            let mut text = Vec::new();
            let read = output.take(LIMIT_BYTES).read_to_end(&mut text);
            running.finish()?;
            read.map_err(|error| {
                crate::SourceError::new(crate::ErrorKind::Unavailable, "pg_dumpall's output cannot be read.")
                    .because(error)
            })?;
            Ok(text)
        });
        Ok(Self { killer, thread: Some(thread) })
    }

    /// Writes what it said into the part. Its failure is a warning.
    pub(super) fn finish(mut self, sink: &dyn CaptureSink) -> Result<Option<StreamSummary>> {
        let text = match self.thread.take().and_then(|thread| thread.join().ok()) {
            Some(Ok(text)) => {
                sink.log("kept roles and tablespaces of the server in roles.sql, without the roles' passwords");
                text
            }
            Some(Err(error)) => {
                warn(sink, &error.sentence);
                return Ok(None);
            }
            None => return Ok(None),
        };
        let mut out = sink.stream(&[ROLES], StreamOptions { cutting: Cutting::ContentDefined, whole_digest: false })?;
        // A key that is another one each time, for psql alone.
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            if !line.starts_with(b"\\restrict ") && !line.starts_with(b"\\unrestrict ") {
                out.write(line)?;
            }
        }
        Ok(Some(out.finish()?))
    }
}

impl Drop for Globals {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.killer.kill();
            let _ = thread.join();
        }
    }
}

pub(super) fn warn(sink: &dyn CaptureSink, why: &str) {
    sink.log(&format!("roles and tablespaces were not captured: {why}"));
    sink.warn(Warning {
        code: "roles_not_captured".to_owned(),
        count: 1,
        sentence: format!("Roles and tablespaces of the server are not in the backup: {why}"),
    });
}
