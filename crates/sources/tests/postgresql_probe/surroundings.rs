//! The programs, the server's state, encodings, and what is known before a capture.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use serde_json::json;
use trivault_sources::{ErrorKind, Estimate, Severity, open};
use trivault_testkit::postgres::{PostgresServer, Variant};

use crate::{config, finding, works};

/// The first finding, and the kind of the error that a job would see.
fn with_programs(url: &str, folder: &Path) -> (ErrorKind, String, String) {
    let mut config = config(url, None);
    config.options.insert("pg_bin".into(), json!(folder));
    let driver = open(&config).unwrap();
    let first = driver.probe().into_iter().next().unwrap();
    assert_eq!(first.severity, Severity::Error, "{first:?}");
    (driver.estimate().unwrap_err().kind, first.sentence, first.hint.unwrap_or_default())
}

fn program(folder: &Path, name: &str, version: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn programs_that_are_missing_or_older_than_the_server_are_named_with_their_package() {
    let Some(server) = PostgresServer::shared() else { return };
    let (url, folder) = (server.create_database(), tempfile::tempdir().unwrap());
    let (kind, sentence, hint) = with_programs(&url, folder.path());
    assert_eq!(kind, ErrorKind::Missing);
    assert!(sentence.contains("pg_dump was not found") && hint.contains("postgresql-client"), "{sentence} {hint}");
    program(folder.path(), "pg_dump", "11.22 (Debian 11.22-1)");
    let (kind, sentence, hint) = with_programs(&url, folder.path());
    assert_eq!(kind, ErrorKind::Missing);
    assert!(sentence.contains("pg_dumpall was not found") && hint.contains("postgresql-client"), "{sentence}");
    program(folder.path(), "pg_dumpall", "11.22");
    program(folder.path(), "pg_restore", "11.22");
    let (kind, sentence, hint) = with_programs(&url, folder.path());
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(sentence.starts_with("pg_dump 11.22 is older than the server"), "{sentence}");
    assert!(hint.contains("apt-get install postgresql-client-"), "{hint}");
    fs::write(folder.path().join("pg_dump"), "#!/bin/sh\nexit 1\n").unwrap();
    let (kind, sentence, _) = with_programs(&url, folder.path());
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(sentence.contains("--version fails"), "{sentence}");
}

#[test]
fn a_standby_says_so_and_that_it_has_no_unlogged_rows() {
    let Some(primary) = PostgresServer::own(&Variant::default()) else { return };
    primary.query("postgres", "CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS id");
    let findings = works(&primary.url("postgres"), None);
    assert!(findings.iter().all(|finding| !finding.sentence.contains("standby")), "{findings:?}");
    let standby = primary.standby();
    let findings = works(&standby.url("postgres"), None);
    let told = finding(&findings, "may end a backup");
    assert!(told.hint.unwrap().contains("hot_standby_feedback"));
    let unlogged = finding(&findings, "has no rows of the table public.fleeting");
    assert_eq!(unlogged.severity, Severity::Warning);
}

#[test]
fn an_encoding_that_is_none_is_warned_of() {
    let Some(server) = PostgresServer::shared() else { return };
    server.query("postgres", "CREATE DATABASE unknown_texts ENCODING 'SQL_ASCII' TEMPLATE template0");
    let warning = finding(&works(&server.url("unknown_texts"), None), "SQL_ASCII: the server does not know");
    assert_eq!(warning.severity, Severity::Warning);
    assert!(warning.hint.unwrap().contains("byte by byte"));
}

#[test]
fn the_estimate_has_the_bytes_and_rows_of_tables_and_none_of_views_and_indexes() {
    let Some(server) = PostgresServer::shared() else { return };
    let url = server.create_database();
    let database = url.split(['/', '?']).nth(3).unwrap();
    let empty = open(&config(&url, None)).unwrap().estimate().unwrap();
    assert_eq!(empty, Estimate { bytes: Some(0), items: Some(0) });
    server.query(database, "CREATE TABLE t AS SELECT i, repeat('x', 100) AS text FROM generate_series(1, 10000) i");
    server.query(database, "CREATE INDEX ON t (text); CREATE MATERIALIZED VIEW m AS TABLE t; ANALYZE");
    let heap: u64 = server.query(database, "SELECT pg_relation_size('t')").trim().parse().unwrap();
    let estimate = open(&config(&url, None)).unwrap().estimate().unwrap();
    assert_eq!(estimate, Estimate { bytes: Some(heap), items: Some(10_000) });
}
