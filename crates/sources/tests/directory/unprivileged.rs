//! The same as somebody who is not root: what may not be read is counted, what may not be set is said.
//!
//! As root, each test starts itself again as `nobody` through `setpriv`; else it runs as it is.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf, process::Command};

use serde_json::json;
use trivault_sources::{
    Conflict, ErrorKind, Severity, SourceDriver,
    testing::{MemorySink, MemoryStore},
};

use crate::support::*;

const NOBODY: u32 = 65534;

/// Where the parent prepared things for the test that runs as nobody.
fn prepared() -> Option<PathBuf> {
    std::env::var_os("TRIVAULT_TEST_UNPRIVILEGED").map(PathBuf::from)
}

/// Runs `test` of this file as nobody, with `place` to work in.
fn drop_privileges(test: &str, place: &Place) {
    for path in [place.directory.path().to_path_buf(), place.live()] {
        set_mode(&path, 0o755);
        std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let nobody = NOBODY.to_string();
    let done = Command::new("setpriv")
        .args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("unprivileged::{test}"), "--nocapture", "--ignored"])
        .env("TRIVAULT_TEST_UNPRIVILEGED", place.directory.path())
        .env("TMPDIR", place.directory.path())
        .current_dir("/")
        .output()
        .unwrap();
    let output = format!("{}{}", text(&done.stdout), text(&done.stderr));
    assert!(done.status.success() && output.contains("1 passed"), "{output}");
}

#[test]
fn what_may_not_be_read_is_counted_and_too_much_of_it_fails() {
    if !is_root() {
        println!("not root: nothing can be made that we may not read");
        return;
    }
    let place = Place::new();
    for path in ["mine", "secret", "closed/inside", "open/a", "open/b", "open/c", "open/d"] {
        write(place.live().join(path), b"x");
    }
    set_mode(&place.live().join("secret"), 0o600);
    set_mode(&place.live().join("closed"), 0o700);
    drop_privileges("as_nobody_reading", &place);
}

#[test]
#[ignore = "started by what_may_not_be_read_is_counted_and_too_much_of_it_fails"]
fn as_nobody_reading() {
    let Some(place) = prepared() else { return };
    let live = place.join("live");
    let captured = capture(&driver(&live, json!({}), &[]));
    let warning = captured.warning("unreadable").unwrap();
    assert_eq!(warning.count, 2);
    assert!(warning.sentence.contains("`closed` (permission denied)"), "{warning:?}");
    assert!(captured.has("closed") && !captured.has("secret") && captured.has("open/d"));
    let strict = driver(&live, json!({"max_unreadable_share": 0.1}), &[]);
    let error = strict.capture(&MemorySink::new(&MemoryStore::new())).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.sentence.starts_with("2 of 10 entries"), "{error}");
    assert!(strict.probe().iter().any(|finding| finding.severity == Severity::Warning));

    let closed = driver(&live.join("closed"), json!({}), &[]);
    let error = closed.capture(&MemorySink::new(&MemoryStore::new())).unwrap_err();
    assert!(error.kind == ErrorKind::Denied && error.hint.is_some(), "{error}");
}

#[test]
fn without_root_owners_stay_ours_and_setuid_is_not_given() {
    if !is_root() {
        println!("not root: nothing can be made that belongs to others");
        return;
    }
    let place = Place::new();
    write(place.live().join("setuid"), b"x");
    set_mode(&place.live().join("setuid"), 0o4755);
    write(place.live().join("locked/deep/file"), b"x");
    for path in ["locked/deep/file", "locked/deep", "locked"] {
        std::os::unix::fs::chown(place.live().join(path), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    set_mode(&place.live().join("locked/deep"), 0o500);
    set_mode(&place.live().join("locked"), 0o500);
    make_node(&place.live().join("null"), rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    drop_privileges("as_nobody_writing", &place);
}

#[test]
#[ignore = "started by without_root_owners_stay_ours_and_setuid_is_not_given"]
fn as_nobody_writing() {
    let Some(place) = prepared() else { return };
    let live = place.join("live");
    let source = driver(&live, json!({}), &[]);
    let captured = capture(&source);
    assert!(captured.warnings.is_empty(), "{:?}", captured.warnings);
    let target = place.join("back");
    let (_, warnings) = restore(&source, &captured.part, &new_path(&target));
    let codes: Vec<&str> = warnings.iter().map(|warning| warning.code.as_str()).collect();
    assert_eq!(codes, ["owner_not_restored", "devices_skipped"]);
    let setuid = fs::metadata(target.join("setuid")).unwrap();
    assert_eq!((setuid.uid(), setuid.mode() & 0o7777), (NOBODY, 0o755));
    assert_eq!(fs::metadata(target.join("locked")).unwrap().mode() & 0o777, 0o500);

    // Directories that even their owner may not write to are moved and removed all the same.
    set_mode(&live.join("locked"), 0o700);
    fs::rename(live.join("locked"), place.join("aside")).unwrap();
    restore(&source, &captured.part, &in_place(Conflict::AddMissing));
    assert_eq!(contents(&live.join("locked")).len(), 1);
    assert_eq!(fs::metadata(live.join("locked")).unwrap().mode() & 0o777, 0o500);
    let broken = trivault_sources::testing::MemoryReader::new(&captured.part).fail_at(1);
    assert!(run(&source, &broken, &new_path(&place.join("never"))).is_err());
    assert!(!place.join("never").exists() && !place.join("never.trivault-job1").exists());
    for path in [target.join("locked"), live.join("locked"), place.join("aside")] {
        set_mode(&path, 0o700);
        set_mode(&path.join("deep"), 0o700);
    }
}
