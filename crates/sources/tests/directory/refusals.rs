//! What a restore refuses before it touches anything, and what it does not believe a backup.

use std::{fs, path::PathBuf};

use serde_json::json;
use trivault_sources::{
    CaptureManifest, Conflict, ErrorKind, NodeMeta, NodeType, PartReader, PartRestoreRequest, Progress, RandomRead,
    Result, Selection, SourceDriver, SourceError, StoredNode, Timestamp, Warning, testing::MemoryReader,
};

use crate::{capture::Mounted, support::*};

fn refused(place: &Place, captured: &Captured, request: &PartRestoreRequest) -> SourceError {
    let before = look(place.directory.path());
    let error = place.driver().plan_restore(&MemoryReader::new(&captured.part), request).unwrap_err();
    assert_eq!(look(place.directory.path()), before, "a refusal touches nothing");
    assert!(error.hint.is_some(), "{error}");
    error
}

#[test]
fn targets_that_cannot_be_are_refused() {
    let place = Place::new();
    write(place.live().join("dir/file"), b"x");
    let captured = capture(&place.driver());
    write(place.path("full/file"), b"x");
    write(place.path("a file"), b"x");
    std::os::unix::fs::symlink("nowhere", place.path("link")).unwrap();
    for (path, kind, sentence) in [
        (place.path("full"), ErrorKind::Conflict, "is not empty"),
        (place.path("a file"), ErrorKind::Conflict, "is not a directory"),
        (place.path("link"), ErrorKind::Conflict, "is not a directory"),
        (PathBuf::from("relative"), ErrorKind::Invalid, "cannot be the target"),
        (place.path("x/../y"), ErrorKind::Invalid, "cannot be the target"),
    ] {
        let error = refused(&place, &captured, &new_path(&path));
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.sentence.contains(sentence), "{error}");
    }
}

#[test]
fn a_selection_cannot_replace_the_whole() {
    let place = Place::new();
    write(place.live().join("dir/file"), b"x");
    let captured = capture(&place.driver());
    let selection = Selection { include: vec!["dir".to_owned()], ..Selection::default() };
    let request = PartRestoreRequest { selection, ..in_place(Conflict::Replace) };
    assert_eq!(refused(&place, &captured, &request).kind, ErrorKind::Unsupported);
    let selection = Selection { include: vec!["nothing".to_owned()], ..Selection::default() };
    let request = PartRestoreRequest { selection, ..new_path(&place.path("new")) };
    assert_eq!(refused(&place, &captured, &request).kind, ErrorKind::Missing);
    let selection = Selection { keys: Some("(".to_owned()), ..Selection::default() };
    let request = PartRestoreRequest { selection, ..new_path(&place.path("new")) };
    assert_eq!(refused(&place, &captured, &request).kind, ErrorKind::Invalid);
}

#[test]
fn what_an_earlier_run_left_is_not_overwritten() {
    let place = Place::new();
    write(place.live().join("file"), b"x");
    let captured = capture(&place.driver());
    for name in ["live.trivault-job1", "live.before-job1"] {
        write(place.path(name).join("theirs"), b"x");
        let error = refused(&place, &captured, &in_place(Conflict::Replace));
        assert!(error.kind == ErrorKind::Conflict && error.sentence.contains("left over"), "{error}");
        fs::remove_dir_all(place.path(name)).unwrap();
    }
}

#[test]
fn our_own_directories_and_mounts_inside_the_target_are_not_moved_away() {
    let place = Place::new();
    write(place.live().join("file"), b"x");
    write(place.live().join("data/trivault.db"), b"x");
    let driver = driver(&place.live(), json!({}), &[place.live().join("data")]);
    let captured = capture(&driver);
    let reader = MemoryReader::new(&captured.part);
    let error = driver.plan_restore(&reader, &in_place(Conflict::Replace)).unwrap_err();
    assert!(error.sentence.contains("gateway's own"), "{error}");
    assert!(driver.plan_restore(&reader, &in_place(Conflict::UpdateDiffering)).is_ok());

    let point = place.live().join("mount point");
    let Some(_mounted) = Mounted::at(&point) else { return };
    for conflict in [Conflict::Replace, Conflict::UpdateDiffering] {
        let error = driver.plan_restore(&reader, &in_place(conflict)).unwrap_err();
        assert!(error.sentence.contains("is mounted at") && error.sentence.contains("mount point"), "{error}");
    }
}

/// A backup that somebody made to do harm.
struct Hostile {
    manifest: CaptureManifest,
    nodes: Vec<StoredNode>,
}

impl Hostile {
    fn new(nodes: Vec<StoredNode>) -> Self {
        let manifest = CaptureManifest { format: 1, kind: "directory".to_owned(), ..CaptureManifest::default() };
        Self { manifest, nodes }
    }
}

struct Nothing;

impl RandomRead for Nothing {
    fn length(&self) -> u64 {
        0
    }

    fn read_at(&mut self, _offset: u64, _buffer: &mut [u8]) -> Result<usize> {
        Ok(0)
    }
}

impl PartReader for Hostile {
    fn manifest(&self) -> &CaptureManifest {
        &self.manifest
    }

    fn list(&self, path: &[&[u8]]) -> Result<Vec<StoredNode>> {
        Ok(match path.len() {
            0 => vec![node(b"data", NodeType::Directory)],
            1 => self.nodes.clone(),
            _ => vec![node(b"file", NodeType::File)],
        })
    }

    fn open(&self, _path: &[&[u8]]) -> Result<Box<dyn RandomRead>> {
        Ok(Box::new(Nothing))
    }

    fn is_cancelled(&self) -> bool {
        false
    }

    fn progress(&self, _progress: Progress) {}

    fn warn(&self, _warning: Warning) {}

    fn log(&self, _line: &str) {}
}

fn node(name: &[u8], node_type: NodeType) -> StoredNode {
    StoredNode { name: name.to_vec(), meta: NodeMeta::synthetic(node_type, Timestamp::default()) }
}

#[test]
fn names_that_no_file_system_has_are_refused_and_nothing_stays() {
    let place = Place::new();
    for name in [&b".."[..], b".", b"", b"a/b", b"../../etc/passwd", b"/etc/passwd", b"nul\0"] {
        for kind in [NodeType::File, NodeType::Directory, NodeType::Symlink(b"x".to_vec())] {
            let part = Hostile::new(vec![node(b"!first", NodeType::File), node(name, kind)]);
            let error = run(&place.driver(), &part, &new_path(&place.path("new"))).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Store);
            assert!(error.sentence.contains("cannot be a file's"), "{error}");
            assert_eq!(place.names(), ["live"]);
        }
    }
}

#[test]
fn a_link_and_a_directory_of_one_name_do_not_lead_outside() {
    let place = Place::new();
    write(place.path("outside/precious"), b"x");
    let target = place.path("outside").to_str().unwrap().as_bytes().to_vec();
    let part = Hostile::new(vec![node(b"trap", NodeType::Symlink(target)), node(b"trap", NodeType::Directory)]);
    let error = run(&place.driver(), &part, &new_path(&place.path("new"))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert_eq!(contents(&place.path("outside")).len(), 1);
    assert_eq!(place.names(), ["live", "outside"]);
}

#[test]
fn another_kind_of_backup_and_a_newer_one_are_refused() {
    let place = Place::new();
    let mut part = Hostile::new(Vec::new());
    part.manifest.kind = "sqlite".to_owned();
    let request = new_path(&place.path("new"));
    assert_eq!(place.driver().plan_restore(&part, &request).unwrap_err().kind, ErrorKind::Invalid);
    part.manifest.kind = "directory".to_owned();
    part.manifest.format = 99;
    assert_eq!(place.driver().plan_restore(&part, &request).unwrap_err().kind, ErrorKind::Unsupported);
}

#[test]
fn a_backup_that_does_not_fit_is_refused_before_a_byte_is_written() {
    let place = Place::new();
    let mut part = Hostile::new(Vec::new());
    part.manifest.size = u64::MAX / 2;
    let error = place.driver().plan_restore(&part, &new_path(&place.path("new"))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Full);
    assert!(error.sentence.starts_with("The restore needs ") && error.sentence.contains(" left."), "{error}");
}
