//! What we write, as rustic_core sees it: a third implementation of the format. `oracles/rustic/run.sh` builds it and runs these tests.

use crate::support::*;
use std::path::Path;
use std::process::{Command, Output};
use trivault_vault::{Cutting, MaintenanceEvents, PruneOptions};

/// The built program; without it these tests say that they were left out.
fn rustic(folder: &Path, verb: &str, arguments: &[&str]) -> Option<Output> {
    let Some(program) = std::env::var_os("TRIVAULT_ORACLE_RUSTIC") else {
        eprintln!(
            "skipped: TRIVAULT_ORACLE_RUSTIC is not set; oracles/rustic/run.sh builds the program and runs this test"
        );
        return None;
    };
    let output =
        Command::new(program).arg(verb).arg(folder).args(arguments).env("RESTIC_PASSWORD", PASSWORD).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(output)
}

#[test]
fn rustic_reads_a_stream_and_checks_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let vault = create(folder.path());
    for (number, cutting) in [Cutting::ContentDefined, Cutting::Pages, Cutting::AtMarks].into_iter().enumerate() {
        let bytes = text(number as u64, 9_000_000);
        capture_streams(&vault, &[("dump.sql", &bytes)], cutting);
        let Some(output) = rustic(folder.path(), "dump", &["latest:/dump.sql"]) else { return };
        assert!(output.stdout == bytes, "{cutting:?}");
    }
    rustic(folder.path(), "check", &[]);
}

#[test]
fn rustic_reads_a_tree_and_checks_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let (source, place) = (folder.path().join("source"), folder.path().join("vault"));
    make_tree(&source);
    capture_folder(&create(&place), &source);
    let Some(output) = rustic(&place, "dump", &["latest:/deep/er/est/file"]) else { return };
    assert_eq!(output.stdout, b"far down");
    rustic(&place, "check", &[]);
}

struct Calm;

impl MaintenanceEvents for Calm {
    fn is_cancelled(&self) -> bool {
        false
    }
    fn progress(&self, _done_bytes: u64, _total_bytes: u64) {}
}

#[test]
fn rustic_understands_what_our_prune_has_marked() {
    let folder = tempfile::tempdir().unwrap();
    let vault = create(folder.path());
    let (kept, gone) = (text(1, 3_000_000), text(2, 3_000_000));
    let both = capture_streams(&vault, &[("a.sql", &kept), ("b.sql", &gone)], Cutting::ContentDefined);
    capture_streams(&vault, &[("a.sql", &kept)], Cutting::ContentDefined);
    vault.forget(&both.snapshot).unwrap();
    let options = PruneOptions { tolerated_unused: 0.0, ..PruneOptions::new(chrono::Utc::now()) };
    let report = vault.prune(&options, &Calm).unwrap();
    assert!(report.marked.packs > 0 && report.deleted.packs == 0);
    // It reads the marks: a pack without a time, with another length or absent would be an error.
    if rustic(folder.path(), "check", &[]).is_none() {
        return;
    }
    let Some(output) = rustic(folder.path(), "dump", &["latest:/a.sql"]) else { return };
    assert!(output.stdout == kept);
    let later = PruneOptions { now: options.now + chrono::TimeDelta::hours(25), ..options };
    assert_eq!(vault.prune(&later, &Calm).unwrap().deleted, report.marked);
    rustic(folder.path(), "check", &[]);
}
