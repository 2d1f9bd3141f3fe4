//! When our own `COPY` cannot be used, the same rows come out of `pg_dump`'s stream, or the stream is kept.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::json;
use trivault_sources::testing::{MemorySink, suite::captures};
use trivault_testkit::postgres::PostgresServer;

use crate::support::{Database, digests, schema, table};

const SCRIPT: &str = "CREATE TABLE acct (id int PRIMARY KEY, owner text);
    INSERT INTO acct SELECT n, md5(n::text) FROM generate_series(1, 40000) n;
    CREATE TABLE empty (id int); CREATE TABLE one (id int); INSERT INTO one VALUES (1);
    SELECT lo_from_bytea(0, convert_to(repeat('0123456789', 30000), 'UTF8')); SELECT lo_from_bytea(0, '');";

#[test]
fn rows_are_taken_out_of_the_stream_of_pg_dump() {
    let Some(database) = Database::new(SCRIPT) else { return };
    let sink = MemorySink::new(&database.store);
    let driver = database.driver_with(&database.url, json!({"whole_dump": true}));
    let manifest = driver.capture(&sink).unwrap();
    assert_eq!(sink.warnings()[0].code, "whole_dump");
    assert!(sink.lines().iter().any(|line| line.contains("pg_dump's stream")), "{:?}", sink.lines());
    let part = sink.into_part(manifest);
    assert_eq!(part.manifest().details["how"], "split");
    assert_eq!(part.manifest().details["large_objects"]["count"], 2);
    assert!(table(&part, "public.acct")["blocks"].as_u64().unwrap() > 20, "cut at rows as ever");
    database.assert_same(&part);
    let stored = database.store.stored_bytes();
    let again = captures(driver.as_ref(), MemorySink::new(&database.store).previous(&part));
    let contents = again.manifest().streams["toc.pgdmp"].length;
    assert!(database.store.stored_bytes() - stored <= contents, "nothing but the table of contents is new");
}

#[test]
fn an_archive_of_an_unknown_version_is_kept_whole() {
    let Some(database) = Database::new(SCRIPT) else { return };
    let folder = tempfile::tempdir().unwrap();
    // Versions are the two bytes after the magic.
    tool(folder.path(), "pg_dump", "LC_ALL=C sed '1s/^PGDMP\\x01[\\x01-\\x20]/PGDMP\\x01\\x63/'");
    tool(folder.path(), "pg_dumpall", "cat");
    let driver = database.driver_with(&database.url, json!({"pg_bin": folder.path()}));
    let sink = MemorySink::new(&database.store);
    let manifest = driver.capture(&sink).unwrap();
    assert!(sink.warnings()[0].sentence.contains("is not known"), "{:?}", sink.warnings());
    assert!(sink.lines().iter().any(|line| line.contains("kept as pg_dump writes it")), "{:?}", sink.lines());
    let part = sink.into_part(manifest);
    assert_eq!(part.manifest().details["how"], "whole");
    let mut bytes = part.bytes(&[b"archive.pgdmp"]).unwrap();
    assert_eq!(bytes.len() as u64, part.manifest().size);
    // Behind its disguise it is what pg_restore reads.
    bytes[6] = archive_version(&database.url);
    let file = folder.path().join("archive");
    fs::write(&file, bytes).unwrap();
    let url = database.server.create_database();
    let output =
        std::process::Command::new("pg_restore").args(["--exit-on-error", "-d", &url]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((schema(&url), digests(&url)), (schema(&database.url), digests(&database.url)));
}

#[test]
fn a_pg_dump_that_fails_at_its_end_fails_the_capture() {
    let Some(database) = Database::new(SCRIPT) else { return };
    let folder = tempfile::tempdir().unwrap();
    tool(folder.path(), "pg_dump", "cat; echo 'pg_dump: error: the disk is full' >&2; exit 1");
    tool(folder.path(), "pg_dumpall", "cat");
    let driver = database.driver_with(&database.url, json!({"pg_bin": folder.path(), "whole_dump": true}));
    let error = driver.capture(&MemorySink::new(&database.store)).unwrap_err();
    assert_eq!(error.sentence, "pg_dump: the disk is full.");
}

#[test]
fn roles_that_cannot_be_read_are_a_warning() {
    let Some(database) = Database::new(SCRIPT) else { return };
    let folder = tempfile::tempdir().unwrap();
    tool(folder.path(), "pg_dump", "cat");
    tool(
        folder.path(),
        "pg_dumpall",
        "cat >/dev/null; echo 'pg_dumpall: error: permission denied for table pg_authid' >&2; exit 1",
    );
    let driver = database.driver_with(&database.url, json!({"pg_bin": folder.path()}));
    let sink = MemorySink::new(&database.store);
    driver.capture(&sink).unwrap();
    assert_eq!(sink.warnings()[0].code, "roles_not_captured");
    assert!(sink.warnings()[0].sentence.contains("pg_authid"));
}

/// A program of the server's version. Debian's command of that name in `PATH` wants a server of its own.
fn real(name: &str) -> PathBuf {
    PostgresServer::shared().unwrap().binaries().join(name)
}

/// The second number of the versions of archives that the installed `pg_dump` writes.
fn archive_version(url: &str) -> u8 {
    let output = std::process::Command::new(real("pg_dump")).args(["-Fc", "-s", "-d", url]).output().unwrap();
    output.stdout[6]
}

/// A program that gives the real one's output to a filter.
fn tool(folder: &Path, name: &str, filter: &str) {
    let file = folder.join(name);
    let program = real(name);
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = --version ]; then exec {0} --version; fi\n{0} \"$@\" | {{ {filter}; }}\n",
        program.display()
    );
    fs::write(&file, script).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    // The three are looked for together.
    let _ = std::os::unix::fs::symlink(real("pg_restore"), folder.join("pg_restore"));
}
