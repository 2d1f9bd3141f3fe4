//! What the stock restic writes, as we see it.

use crate::support::*;
use std::collections::BTreeMap;
use trivault_testkit::restic::Restic;
use trivault_testkit::trees::{contents, noise};
use trivault_vault::Cutting;

#[test]
fn a_stream_that_restic_stored_in_our_vault_is_read_byte_by_byte() {
    let folder = tempfile::tempdir().unwrap();
    let Some(restic) = Restic::new(folder.path().display().to_string(), PASSWORD) else { return };
    let vault = create(folder.path());
    let bytes = [text(1, 8_000_000), noise(1, 4_000_000), vec![0; 4_000_000]].concat();
    restic.backup_stream("dump.sql", &bytes);
    vault.refresh().unwrap();
    let snapshot = latest(&vault);
    assert_eq!(snapshot.record.paths, ["/dump.sql"]);
    assert!(read_file(&vault, &snapshot, &["dump.sql"]).unwrap() == bytes);
}

#[test]
fn a_tree_that_restic_stored_in_a_vault_of_its_own_is_read_byte_by_byte() {
    let folder = tempfile::tempdir().unwrap();
    let (source, place) = (folder.path().join("source"), folder.path().join("vault"));
    make_tree(&source);
    let Some(restic) = Restic::new(place.display().to_string(), PASSWORD) else { return };
    restic.succeed(["init"]);
    let status = restic.command(["backup", "--quiet", "."]).current_dir(&source).status().unwrap();
    assert!(status.success());

    let vault = open(&place, PASSWORD).unwrap();
    let found = read_tree(&vault, &latest(&vault)).unwrap();
    let expected: BTreeMap<String, Vec<u8>> = contents(&source).unwrap().into_iter().collect();
    assert!(found.keys().eq(expected.keys()), "{:?}\n{:?}", found.keys(), expected.keys());
    assert!(found == expected);
    // And we write beside it.
    capture_streams(&vault, &[("ours", b"beside")], Cutting::ContentDefined);
    restic.succeed(["check", "--read-data"]);
}

#[test]
fn several_snapshots_of_restic_with_tags_are_listed_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let Some(restic) = Restic::new(folder.path().display().to_string(), PASSWORD) else { return };
    let vault = create(folder.path());
    for number in 0..3u64 {
        restic.backup_stream(&format!("stream-{number}"), &text(number, 10_000));
    }
    restic.succeed(["tag", "--set", "a", "--set", "b", "latest"]);
    vault.refresh().unwrap();
    let list = vault.snapshots().unwrap();
    assert!(list.damaged.is_empty());
    let paths: Vec<_> = list.snapshots.iter().map(|snapshot| snapshot.record.paths.join(",")).collect();
    assert_eq!(paths, ["/stream-0", "/stream-1", "/stream-2"]);
    assert_eq!(list.snapshots[2].record.tags, ["a", "b"]);
    assert!(list.snapshots[2].record.original.is_some());
    for (number, snapshot) in list.snapshots.iter().enumerate() {
        let name = format!("stream-{number}");
        assert!(read_file(&vault, snapshot, &[&name]).unwrap() == text(number as u64, 10_000));
    }
}
