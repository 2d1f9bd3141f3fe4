//! What can be said about a database before it is captured.

use std::path::Path;

use rusqlite::Connection;

use super::{
    connection::{open_live, require_page_table},
    errors::explain,
};
use crate::{Estimate, Finding, Result, Severity, SourceError};

/// File systems of other hosts, by their magic in statfs(2): NFS, SMB, CIFS, SMB2, FUSE (sshfs and others), 9P, Ceph.
const NETWORK_FILE_SYSTEMS: [(u64, &str); 7] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
];
/// From here on, how long commits wait in rollback mode is worth a warning, bytes.
const LONG_LOCK_BYTES: u64 = 1 << 30;

struct Facts {
    bytes: u64,
    journal_mode: String,
    tables: i64,
}

fn facts(connection: &Connection) -> rusqlite::Result<Facts> {
    let tables =
        connection.query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", [], |row| row.get(0))?;
    let pages: u64 = connection.pragma_query_value(None, "page_count", |row| row.get::<_, u32>(0))?.into();
    let page_size: u64 = connection.pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0))?.into();
    let journal_mode = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    Ok(Facts { bytes: pages * page_size, journal_mode, tables })
}

fn look(path: &Path) -> Result<Facts> {
    let connection = open_live(path)?;
    require_page_table(&connection)?;
    facts(&connection).map_err(|error| explain(path, error))
}

pub(super) fn estimate(path: &Path) -> Result<Estimate> {
    Ok(Estimate { bytes: Some(look(path)?.bytes), items: None })
}

pub(super) fn probe(path: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    match look(path) {
        Ok(facts) => describe(path, &facts, &mut findings),
        Err(error) => findings.push(failure(error)),
    }
    if let Some(name) = network_file_system(path) {
        findings.push(Finding {
            severity: Severity::Warning,
            sentence: format!("{} lies on a file system of another host or of a program ({name}).", path.display()),
            hint: Some(
                "SQLite's locks are not reliable there, and WAL mode is unsafe: back it up on its own host.".into(),
            ),
        });
    }
    findings
}

fn describe(path: &Path, facts: &Facts, findings: &mut Vec<Finding>) {
    let Facts { bytes, journal_mode, tables } = facts;
    findings.push(Finding {
        severity: Severity::Fine,
        sentence: format!(
            "{} is an SQLite database of {bytes} bytes with {tables} tables, in journal mode `{journal_mode}`.",
            path.display()
        ),
        hint: None,
    });
    if journal_mode != "wal" {
        findings.push(Finding {
            severity: if *bytes > LONG_LOCK_BYTES { Severity::Warning } else { Severity::Fine },
            sentence: "Commits of other programs wait while a backup reads this database.".into(),
            hint: Some("In WAL mode they do not: PRAGMA journal_mode=WAL, once.".into()),
        });
    }
}

fn failure(error: SourceError) -> Finding {
    Finding { severity: Severity::Error, sentence: error.sentence, hint: error.hint }
}

fn network_file_system(path: &Path) -> Option<&'static str> {
    let found = rustix::fs::statfs(path).ok()?;
    // The field's type differs between architectures, and sign extension must not hide a magic of 32 bits.
    let magic = found.f_type as u64 & 0xffff_ffff;
    NETWORK_FILE_SYSTEMS.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name)
}
