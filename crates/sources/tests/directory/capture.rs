//! What is captured, what is left out, and what is said of it.

use std::{fs, path::Path};

use serde_json::json;
use trivault_sources::{
    ErrorKind, NodeType, Severity, SourceDriver,
    testing::{MemorySink, MemoryStore},
};

use crate::support::*;

#[test]
fn an_empty_directory_is_captured_and_restored() {
    let place = Place::new();
    let captured = capture(&place.driver());
    assert_eq!((captured.part.manifest().size, captured.part.manifest().items), (0, 0));
    assert!(captured.warnings.is_empty());
    restore(&place.driver(), &captured.part, &new_path(&place.path("back")));
    assert_eq!(look(&place.path("back")), look(&place.live()));
}

#[test]
fn everything_comes_back_with_all_its_metadata() {
    let place = Place::new();
    let with_attributes = furnish(&place.live());
    if !with_attributes {
        println!("this file system lacks user attributes or ACLs: those are not compared");
    }
    let before = look(&place.live());
    let captured = capture(&place.driver());
    assert!(captured.warnings.is_empty(), "{:?}", captured.warnings);
    let (outcome, warnings) = restore(&place.driver(), &captured.part, &new_path(&place.path("back")));
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(outcome.items, captured.part.manifest().items);
    let back = look(&place.path("back"));
    assert_eq!(back.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    for (path, seen) in &before {
        assert_eq!(back.get(path), Some(seen), "{}", text(path));
    }
    assert_eq!(look(&place.live()), before, "a capture leaves no trace");
}

#[test]
fn a_socket_is_captured_and_passed_over_by_a_restore() {
    let place = Place::new();
    let _listener = std::os::unix::net::UnixListener::bind(place.live().join("socket")).unwrap();
    write(place.live().join("file"), b"x");
    let captured = capture(&place.driver());
    assert_eq!(stored_type(&captured, "socket"), NodeType::Socket);
    let (outcome, warnings) = restore(&place.driver(), &captured.part, &new_path(&place.path("back")));
    assert_eq!((outcome.items, warnings[0].code.as_str()), (1, "sockets_skipped"));
    assert_eq!(look(&place.path("back")).len(), 2);
}

#[test]
fn a_sparse_gibibyte_takes_no_time_and_stays_sparse() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    let place = Place::new();
    let path = place.live().join("sparse");
    let file = fs::File::create(&path).unwrap();
    file.write_all_at(&[9; 4096], 512 * 1024 * 1024).unwrap();
    file.set_len(1024 * 1024 * 1024).unwrap();
    file.sync_all().unwrap();
    let allocated = fs::metadata(&path).unwrap().blocks() * 512;
    if allocated > 1024 * 1024 {
        println!("this file system has no sparse files");
        return;
    }
    let captured = capture(&place.driver());
    assert_eq!(captured.part.manifest().size, 1024 * 1024 * 1024);
    assert!(captured.detail("allocated").as_u64().unwrap() < 1024 * 1024);
    restore(&place.driver(), &captured.part, &new_path(&place.path("back")));
    let back = fs::File::open(place.path("back/sparse")).unwrap();
    let metadata = back.metadata().unwrap();
    assert_eq!(metadata.len(), 1024 * 1024 * 1024);
    assert!(metadata.blocks() * 512 < 1024 * 1024, "{} bytes", metadata.blocks() * 512);
    let mut piece = vec![0; 3 * 4096];
    back.read_exact_at(&mut piece, 512 * 1024 * 1024 - 4096).unwrap();
    assert!(piece[..4096].iter().all(|byte| *byte == 0) && piece[8192..].iter().all(|byte| *byte == 0));
    assert!(piece[4096..8192].iter().all(|byte| *byte == 9));
}

#[test]
fn two_thousand_levels_are_no_limit() {
    let place = Place::new();
    let root = rustix::fs::open(
        place.live(),
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    let mut handle = root;
    for _ in 0..2000 {
        rustix::fs::mkdirat(&handle, c"level", rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
        handle = rustix::fs::openat(&handle, c"level", flags, rustix::fs::Mode::empty()).unwrap();
    }
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CREATE;
    let file = rustix::fs::openat(&handle, c"bottom", flags, rustix::fs::Mode::RUSR).unwrap();
    rustix::io::write(&file, b"ground").unwrap();

    let captured = capture(&place.driver());
    assert_eq!(captured.detail("directories"), 2001);
    restore(&place.driver(), &captured.part, &new_path(&place.path("back")));
    let again = capture(&driver(&place.path("back"), json!({}), &[]));
    assert_eq!(again.part.manifest().inventory, captured.part.manifest().inventory);
    assert_eq!(again.part.manifest().download, captured.part.manifest().download);
    // Too deep for the library that removes the test's place.
    let status = std::process::Command::new("rm").arg("-rf").arg(place.live()).arg(place.path("back")).status();
    assert!(status.unwrap().success());
}

#[test]
fn the_inventory_has_top_directories_and_encoded_paths() {
    let place = Place::new();
    let live = place.live();
    for path in ["root.txt", "photos/a.jpg", "photos/b.jpg", "photos/2024/05 May/c.jpg", "_default/x", "p.d/q"] {
        write(live.join(path), b"12345");
    }
    fs::create_dir(live.join("empty")).unwrap();
    let inventory = capture(&place.driver()).part.manifest().inventory.clone();
    let shown: Vec<String> = inventory
        .scopes
        .iter()
        .flat_map(|scope| {
            scope.collections.iter().map(move |collection| {
                format!("{}.{} {} {}", scope.name, collection.name, collection.items, collection.size)
            })
        })
        .collect();
    assert_eq!(
        shown,
        [
            "%5Fdefault._default 1 5",
            "_default._default 1 5",
            "p%2Ed._default 1 5",
            "photos.2024%2F05%20May 1 5",
            "photos._default 2 10",
        ]
    );
}

#[test]
fn patterns_caches_sizes_and_our_own_things_are_left_out() {
    let place = Place::new();
    let live = place.live();
    for path in ["keep.txt", "x.tmp", "deep/y.tmp", "deep/keep", "node_modules/m/index.js", ".trivault-before-1/old"] {
        write(live.join(path), b"x");
    }
    write(live.join("cache/CACHEDIR.TAG"), b"Signature: 8a477f597d28d172789f06886806bc55\n# more");
    write(live.join("cache/inside"), b"x");
    write(live.join("no cache/CACHEDIR.TAG"), b"Signature: of something else");
    write(live.join("no cache/inside"), b"x");
    write(live.join("huge"), vec![0; 5000]);
    write(live.join("data/trivault.db"), b"x");
    let options = json!({
        "exclude": ["*.tmp", "node_modules/"],
        "exclude_caches": true,
        "exclude_larger_than": "4 KiB",
    });
    let driver = driver(&live, options, &[live.join("data"), place.path("not there")]);
    let captured = capture(&driver);
    for path in ["keep.txt", "deep/keep", "cache/CACHEDIR.TAG", "no cache/inside"] {
        assert!(captured.has(path), "{path}");
    }
    for path in ["x.tmp", "deep/y.tmp", "node_modules", "cache/inside", "huge", "data", ".trivault-before-1"] {
        assert!(!captured.has(path), "{path}");
    }
    let ours = captured.lines.iter().filter(|line| line.contains("gateway's own")).count();
    assert_eq!(ours, 1, "{:?}", captured.lines);
}

#[test]
fn a_live_database_inside_is_noticed() {
    for (files, what) in [
        (vec!["pg/PG_VERSION", "pg/global/1262", "pg/base/1/PG_VERSION"], "PostgreSQL"),
        (vec!["mysql/ibdata1"], "MySQL"),
        (vec!["redis/dump.rdb"], "Redis"),
        (vec!["app/app.sqlite", "app/app.sqlite-wal"], "SQLite"),
    ] {
        let place = Place::new();
        for file in files {
            write(place.live().join(file), b"x");
        }
        let captured = capture(&place.driver());
        let warning = captured.warning("live_database_inside").unwrap();
        assert!(warning.count == 1 && warning.sentence.contains(what), "{warning:?}");
        let found = place.driver().probe();
        assert!(found.iter().any(|finding| finding.severity == Severity::Warning && finding.sentence.contains(what)));
    }
    let place = Place::new();
    write(place.live().join("just-wal"), b"x");
    write(place.live().join("old.rdb"), b"x");
    assert!(capture(&place.driver()).warnings.is_empty());
}

#[test]
fn a_root_that_is_missing_or_no_directory_fails_with_a_sentence() {
    let place = Place::new();
    write(place.path("file"), b"x");
    for (path, kind, sentence) in [
        (place.path("gone"), ErrorKind::Missing, "There is no directory at"),
        (place.path("file"), ErrorKind::Invalid, "is not a directory"),
    ] {
        let driver = driver(&path, json!({}), &[]);
        let sink = MemorySink::new(&MemoryStore::new());
        let error = driver.capture(&sink).unwrap_err();
        assert_eq!(error.kind, kind);
        assert!(error.sentence.contains(sentence) && error.hint.is_some(), "{error}");
        assert!(sink.is_empty());
        let findings = driver.probe();
        assert_eq!((findings.len(), findings[0].severity), (1, Severity::Error));
        assert_eq!(driver.estimate().unwrap_err().kind, kind);
    }
}

#[test]
fn an_empty_directory_that_was_not_empty_before_fails_unless_allowed() {
    let place = Place::new();
    write(place.live().join("file"), b"x");
    let store = MemoryStore::new();
    let first = capture_into(&place.driver(), MemorySink::new(&store)).unwrap();
    fs::remove_file(place.live().join("file")).unwrap();
    fs::create_dir(place.live().join("lost+found")).unwrap();
    let error = place.driver().capture(&MemorySink::new(&store).previous(&first.part)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Missing);
    assert!(error.sentence.contains("is empty, and its previous backup was not"), "{error}");
    let allowing = place.driver_with(json!({"allow_empty": true}));
    assert!(allowing.capture(&MemorySink::new(&store).previous(&first.part)).is_ok());
}

#[test]
fn the_gateway_s_own_directory_is_refused_as_a_source() {
    let place = Place::new();
    let driver = driver(&place.live(), json!({}), &[place.live()]);
    let error = driver.capture(&MemorySink::new(&MemoryStore::new())).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert_eq!(driver.probe()[0].severity, Severity::Error);
}

#[test]
fn an_estimate_counts_what_a_capture_would_take() {
    let place = Place::new();
    write(place.live().join("a/one"), b"12345");
    write(place.live().join("two.tmp"), b"12345");
    let driver = place.driver_with(json!({"exclude": "*.tmp"}));
    let estimate = driver.estimate().unwrap();
    assert_eq!((estimate.bytes, estimate.items), (Some(5), Some(1)));
    assert_eq!(driver.probe()[0].severity, Severity::Fine);
}

#[test]
fn a_failing_or_cancelled_sink_ends_the_capture_with_its_own_error() {
    let place = Place::new();
    write(place.live().join("large"), vec![1; 4 * 1024 * 1024]);
    let store = MemoryStore::new();
    let broken = place.driver().capture(&MemorySink::new(&store).fail_at(1024 * 1024)).unwrap_err();
    assert_eq!(broken.kind, ErrorKind::Store);
    let cancelled = place.driver().capture(&MemorySink::new(&store).cancel_at(1024 * 1024)).unwrap_err();
    assert_eq!(cancelled.kind, ErrorKind::Cancelled);
}

/// A file system of our own, where we may mount one.
pub struct Mounted<'p>(&'p Path);

impl<'p> Mounted<'p> {
    pub fn at(path: &'p Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let done =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "none"]).arg(path).output();
        if done.is_ok_and(|output| output.status.success()) {
            return Some(Self(path));
        }
        println!("nothing can be mounted here: what needs it is not tested");
        None
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_mount_point_is_an_empty_directory_where_one_file_system_is_wanted() {
    let place = Place::new();
    let point = place.live().join("mounted");
    let Some(_mounted) = Mounted::at(&point) else { return };
    write(point.join("inside"), b"x");
    write(place.live().join("outside"), b"x");
    let all = capture(&place.driver());
    assert!(all.has("mounted/inside") && all.has("outside"));
    let one = capture(&place.driver_with(json!({"one_file_system": true})));
    assert!(one.has("mounted") && !one.has("mounted/inside") && one.has("outside"));
}
