//! Stores that are absent, full, refused or out of reach: each failure has its kind, a sentence that names the place, and advice.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use trivault_vault::backend::{
    Backend, FileKind, LocalBackend, LocalRoot, ObjectRoot, S3Credentials, S3Location, StoreRoot,
};
use trivault_vault::{VaultError, VaultErrorKind};

fn assert_told(error: &VaultError, kind: VaultErrorKind, words: &[&str]) {
    assert_eq!(error.kind(), &kind, "{error}");
    for word in words {
        assert!(error.sentence().contains(word), "{word:?} in {:?}", error.sentence());
    }
    assert!(error.hint().is_some_and(|hint| !hint.is_empty()));
}

#[test]
fn a_store_whose_disk_is_not_mounted_is_unavailable_and_not_empty() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let vault = LocalBackend::new(&gone);
    let name = "ab".repeat(32);
    let shown = gone.display().to_string();
    for error in [
        vault.list(FileKind::Snapshot).unwrap_err(),
        vault.read(FileKind::Config, "").unwrap_err(),
        vault.write(FileKind::Pack, &name, b"x").unwrap_err(),
        vault.remove(FileKind::Pack, &name).unwrap_err(),
        vault.sweep().unwrap_err(),
    ] {
        assert_told(&error, VaultErrorKind::StoreUnavailable, &[&shown, "not there"]);
    }
    assert!(!gone.exists());
    let store = LocalRoot::new(&gone).unwrap();
    assert_told(&store.probe().unwrap_err(), VaultErrorKind::StoreUnavailable, &[&shown]);
    assert_told(&store.list_dirs("p").unwrap_err(), VaultErrorKind::StoreUnavailable, &[&shown]);
}

#[test]
fn a_folder_that_is_a_file_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"x").unwrap();
    let error = LocalRoot::new(&file).unwrap().prepare().unwrap_err();
    assert_told(&error, VaultErrorKind::StoreUnavailable, &[&file.display().to_string()]);
}

#[test]
fn a_full_disk_is_told_as_full_and_leaves_no_temporary_file() {
    // A small file system of its own needs the right to mount, which not every machine gives to tests.
    let folder = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"])
        .arg(folder.path())
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        eprintln!("skipped: a small file system cannot be mounted here");
        return;
    }
    let vault = LocalBackend::with_lazy_data_directories(folder.path());
    let outcome = std::panic::catch_unwind(|| {
        vault.prepare().unwrap();
        let name = "ab".repeat(32);
        for size in [4 << 20, 3_500_000] {
            let error = vault.write(FileKind::Pack, &name, &vec![1; size]).unwrap_err();
            assert_told(&error, VaultErrorKind::StoreFull, &[&folder.path().display().to_string(), "full"]);
        }
        assert_eq!(fs::read_dir(folder.path().join("data/ab")).unwrap().count(), 0);
        let store = LocalRoot::new(folder.path()).unwrap();
        assert_told(&store.probe().unwrap_err(), VaultErrorKind::StoreFull, &["left"]);
        vault.write(FileKind::Pack, &name, b"small ones still fit").unwrap();
    });
    assert!(std::process::Command::new("umount").arg(folder.path()).status().unwrap().success());
    outcome.unwrap();
}

#[test]
fn a_folder_without_the_right_to_write_says_whose_right_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalRoot::new(folder.path()).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let outcome = store.probe();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    match outcome {
        Err(error) => assert_told(&error, VaultErrorKind::StoreRefused, &["server's user"]),
        // The superuser writes anywhere.
        Ok(_) => assert!(rustix::process::geteuid().is_root()),
    }
}

#[test]
fn what_a_crashed_writer_left_is_swept_after_a_day_and_not_listed_before() {
    let folder = tempfile::tempdir().unwrap();
    let vault = LocalBackend::new(folder.path());
    vault.prepare().unwrap();
    let name = "ab".repeat(32);
    let old = folder.path().join(format!("data/ab/{name}-tmp-0011"));
    let fresh = folder.path().join(format!("index/{name}-tmp-2233"));
    for file in [&old, &fresh] {
        fs::write(file, b"half").unwrap();
    }
    assert!(vault.list(FileKind::Pack).unwrap().is_empty() && vault.list(FileKind::Index).unwrap().is_empty());
    let day_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(25 * 3600);
    fs::File::open(&old).unwrap().set_modified(day_ago).unwrap();
    vault.sweep().unwrap();
    assert!(!old.exists() && fresh.exists());
}

#[test]
fn folders_and_files_are_for_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let vault = LocalBackend::new(folder.path().join("vault"));
    vault.prepare().unwrap();
    let name = "cd".repeat(32);
    vault.write(FileKind::Pack, &name, b"x").unwrap();
    let mode = |path: &str| fs::metadata(folder.path().join("vault").join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("data"), mode("data/cd"), mode("keys")), (0o700, 0o700, 0o700, 0o700));
    assert_eq!(mode(&format!("data/cd/{name}")), 0o400);
    assert_eq!(fs::read_dir(folder.path().join("vault/data")).unwrap().count(), 256);
}

/// A server for answers that moto does not give: each connection gets the next one, the last stays. An answer is everything after
/// `HTTP/1.1 `; the connection closes behind it.
fn answering(answers: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let answer = answers[number.min(answers.len() - 1)];
            std::thread::spawn(move || {
                let mut request = [0; 65536];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(format!("HTTP/1.1 {answer}").as_bytes());
            });
        }
    });
    format!("http://{address}")
}

/// The head of an answer that closes its connection, up to the body.
macro_rules! head {
    ($status:literal, $length:literal) => {
        concat!(
            $status,
            "\r\nContent-Length: ",
            $length,
            "\r\nETag: \"e\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nConnection: close\r\n\r\n"
        )
    };
}

fn store_at(endpoint: String) -> ObjectRoot {
    let credentials = Some(S3Credentials::new("some-key", "hidden-secret"));
    let location =
        S3Location { endpoint: Some(endpoint), allow_http: true, credentials, ..S3Location::new("bucket", "prefix") };
    ObjectRoot::connect(&location).unwrap()
}

#[test]
fn an_s3_server_that_refuses_the_credentials_says_so_without_the_secret() {
    const ANSWER: &str = concat!(head!("403 Forbidden", "49"), "<Error><Code>SignatureDoesNotMatch</Code></Error>");
    let error = store_at(answering(&[ANSWER])).probe().unwrap_err();
    assert_told(&error, VaultErrorKind::StoreRefused, &["credentials", "bucket/prefix"]);
    assert!(!format!("{error:?}").contains("hidden-secret"));
}

#[test]
fn an_s3_bucket_that_does_not_exist_is_a_refusal_and_not_an_empty_vault() {
    const ANSWER: &str = concat!(head!("404 Not Found", "40"), "<Error><Code>NoSuchBucket</Code></Error>");
    let store = store_at(answering(&[ANSWER]));
    assert_told(&store.read("trivault.json").unwrap_err(), VaultErrorKind::StoreRefused, &["bucket"]);
    let vault = store.vault("vault").unwrap();
    assert_told(&vault.list(FileKind::Snapshot).unwrap_err(), VaultErrorKind::StoreRefused, &["bucket"]);
}

#[test]
fn an_s3_bucket_without_room_is_told_as_full() {
    const ANSWER: &str = concat!(head!("403 Forbidden", "41"), "<Error><Code>QuotaExceeded</Code></Error>");
    let error = store_at(answering(&[ANSWER])).write_atomic("file", b"x").unwrap_err();
    // Servers send their quota's end with the status of a refusal.
    assert_told(&error, VaultErrorKind::StoreFull, &["room"]);
}

#[test]
fn an_s3_server_out_of_reach_is_unavailable() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = store_at(format!("http://{unused}")).read("trivault.json").unwrap_err();
    assert_told(&error, VaultErrorKind::StoreUnavailable, &["s3:http://127.0.0.1"]);
}

#[test]
fn an_s3_server_that_is_busy_for_a_moment_is_asked_again() {
    const BUSY: &str = concat!(head!("503 Slow Down", "36"), "<Error><Code>SlowDown</Code></Error>");
    const GOOD: &str = concat!(head!("200 OK", "5"), "hello");
    assert_eq!(store_at(answering(&[BUSY, BUSY, GOOD])).read("trivault.json").unwrap(), b"hello");
}

#[test]
fn a_connection_that_breaks_within_a_file_never_gives_a_short_file() {
    const TORN: &str = concat!(head!("200 OK", "10"), "hello");
    let error = store_at(answering(&[TORN])).read("trivault.json").unwrap_err();
    assert_told(&error, VaultErrorKind::StoreUnavailable, &["bucket/prefix"]);
}

#[test]
fn a_connection_that_breaks_before_the_answer_is_made_again() {
    const GOOD: &str = concat!(head!("200 OK", "5"), "hello");
    assert_eq!(store_at(answering(&["", GOOD])).read("trivault.json").unwrap(), b"hello");
}
