//! Encryption, from `disable` to `verify-full`, over TCP.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use trivault_sources::{ErrorKind, Severity};
use trivault_testkit::{
    authority::Authority,
    postgres::{PostgresServer, Variant},
};

use crate::{comes_back, driver, finding, refusal, works};

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn encrypted(authority: &Authority, name: &str, access: &[&str]) -> Option<PostgresServer> {
    let server = PostgresServer::own(&Variant {
        tcp: true,
        certificate: Some(authority.server(&[name])),
        client_authority: Some(authority.pem.clone()),
        host_based_access: access.iter().map(|line| (*line).to_owned()).collect(),
        ..Variant::default()
    })?;
    server.query(
        "postgres",
        "CREATE ROLE ada LOGIN SUPERUSER; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (7)",
    );
    Some(server)
}

#[test]
fn a_certificate_is_checked_as_far_as_sslmode_says() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new(), Authority::new());
    let Some(right) = encrypted(&authority, "127.0.0.1", &["hostssl all all 127.0.0.1/32 trust"]) else { return };
    let Some(named) = encrypted(&authority, "db.example", &["hostssl all all 127.0.0.1/32 trust"]) else { return };
    let root = write(folder.path(), "root.crt", &authority.pem);
    let wrong = write(folder.path(), "other.crt", &other.pem);
    let url =
        |server: &PostgresServer, query: &str| format!("postgresql://ada@127.0.0.1:{}/postgres?{query}", server.port());
    for query in
        ["sslmode=allow", "sslmode=prefer", "sslmode=require", &format!("sslmode=verify-full&sslrootcert={root}")]
    {
        works(&url(&right, query), None);
        comes_back(&url(&right, query), None, "copy");
        assert_eq!(right.query("copy", "SELECT id FROM t").trim(), "7");
        right.query("postgres", "DROP DATABASE copy");
    }
    for query in [format!("sslmode=verify-ca&sslrootcert={root}"), format!("sslmode=require&sslrootcert={root}")] {
        works(&url(&named, &query), None);
        comes_back(&url(&named, &query), None, "copy");
        named.query("postgres", "DROP DATABASE copy");
    }

    let (kind, sentence, hint) = refusal(&url(&named, &format!("sslmode=verify-full&sslrootcert={root}")), None);
    assert_eq!(kind, ErrorKind::Denied);
    assert!(sentence.contains("not for the name 127.0.0.1") && sentence.contains("db.example"), "{sentence}");
    assert!(hint.contains("verify-ca"), "{hint}");
    for query in [
        "sslmode=verify-full".to_owned(),
        format!("sslmode=verify-ca&sslrootcert={wrong}"),
        format!("sslmode=require&sslrootcert={wrong}"),
    ] {
        let (kind, sentence, hint) = refusal(&url(&right, &query), None);
        assert_eq!(kind, ErrorKind::Denied, "{query}");
        assert!(sentence.contains("not made by a trusted authority") && hint.contains("sslrootcert"), "{sentence}");
    }
    let (kind, sentence, _) = refusal(&url(&right, "sslmode=verify-full&sslrootcert=/nowhere/ca.pem"), None);
    assert_eq!(kind, ErrorKind::Missing);
    assert!(sentence.starts_with("The file /nowhere/ca.pem of sslrootcert cannot be read"), "{sentence}");
    let (kind, sentence, hint) = refusal(&url(&right, "sslmode=disable"), None);
    assert_eq!(kind, ErrorKind::Denied);
    assert!(sentence.contains("no encryption") && hint.contains("sslmode=disable"), "{sentence} {hint}");
}

#[test]
fn a_server_without_encryption_is_refused_where_it_is_required_and_taken_where_it_is_preferred() {
    let Some(server) = PostgresServer::own(&Variant { tcp: true, ..Variant::default() }) else { return };
    let url = |mode: &str| format!("postgresql://postgres@127.0.0.1:{}/postgres?sslmode={mode}", server.port());
    works(&url("prefer"), None);
    works(&url("disable"), None);
    let (kind, sentence, hint) = refusal(&url("require"), None);
    assert_eq!(kind, ErrorKind::Denied);
    assert!(sentence.contains("Encryption is required") && hint.contains("sslmode"), "{sentence} {hint}");
}

#[test]
fn preferring_encryption_falls_back_where_only_plain_connections_are_let_in() {
    let authority = Authority::new();
    let Some(server) = encrypted(&authority, "127.0.0.1", &["hostnossl all all 127.0.0.1/32 trust"]) else { return };
    let url = |mode: &str| format!("postgresql://ada@127.0.0.1:{}/postgres?sslmode={mode}", server.port());
    works(&url("prefer"), None);
    comes_back(&url("prefer"), None, "copy");
    let (kind, sentence, _) = refusal(&url("require"), None);
    assert_eq!(kind, ErrorKind::Denied);
    assert!(sentence.contains("SSL encryption"), "{sentence}");
}

#[test]
fn a_client_certificate_stands_for_the_password() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new(), Authority::new());
    let Some(server) = encrypted(&authority, "127.0.0.1", &["hostssl all all 127.0.0.1/32 cert"]) else { return };
    let root = write(folder.path(), "root.crt", &authority.pem);
    let files = |name: &str, authority: &Authority, user: &str| {
        let made = authority.client(user);
        let certificate = write(folder.path(), &format!("{name}.crt"), &made.certificate);
        let key = write(folder.path(), &format!("{name}.key"), &made.key);
        format!("&sslcert={certificate}&sslkey={key}")
    };
    let base = format!("postgresql://ada@127.0.0.1:{}/postgres?sslmode=verify-full&sslrootcert={root}", server.port());
    let shown = format!("{base}{}", files("ada", &authority, "ada"));
    works(&shown, None);
    comes_back(&shown, None, "copy");
    for query in [String::new(), files("eve", &authority, "eve")] {
        let (kind, sentence, hint) = refusal(&format!("{base}{query}"), None);
        assert_eq!(kind, ErrorKind::Denied, "{sentence}");
        assert!(sentence.contains("certificate") && hint.contains("sslcert"), "{sentence} {hint}");
    }
    let (kind, sentence, hint) = refusal(&format!("{base}{}", files("foreign", &other, "ada")), None);
    assert_eq!(kind, ErrorKind::Denied, "{sentence}");
    assert!(sentence.contains("certificate") || hint.contains("certificate"), "{sentence} {hint}");
}

#[test]
fn an_unproved_connection_to_another_machine_is_warned_of() {
    // Nothing listens there; the warning does not need an answer.
    for (mode, part) in [("prefer", "is not checked"), ("require", "is not checked"), ("disable", "not encrypted")] {
        let findings = driver(&format!("postgresql://u@db.invalid/d?sslmode={mode}"), None).probe();
        let warning = finding(&findings, part);
        assert_eq!(warning.severity, Severity::Warning);
        assert!(warning.hint.unwrap().contains("verify-full"));
    }
    let findings = driver("postgresql://u@127.0.0.1:1/d", None).probe();
    assert!(findings.iter().all(|finding| finding.severity != Severity::Warning), "{findings:?}");
}
