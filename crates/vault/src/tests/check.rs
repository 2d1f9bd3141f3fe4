//! Checks of a whole vault find each kind of damage and name what suffers from it.

use super::scene::*;
use crate::{
    CheckOptions, CheckReport, Committed, FileRecord, Id, PackDamage, ReadSubset, Vault, backend::FileKind,
    pack::BlobKind, snapshot, unpacked,
};
use std::{os::unix::fs::PermissionsExt, path::PathBuf};

struct Damaged {
    scene: Scene,
    content: Vec<u8>,
    hurt: Committed,
    other: Committed,
}

/// Two snapshots: one whose packs tests damage, with its file at /deep/er/f, and one that shares nothing with it.
fn damaged() -> Damaged {
    let scene = Scene::new();
    let content = noise(1, 700_000);
    let hurt = nested(&scene.vault, &content, |record| record);
    let other = capture_files(&scene.vault, &[(b"other", &noise(2, 100_000))]).unwrap();
    Damaged { scene, content, hurt, other }
}

/// A snapshot with one file at /deep/er/f.
fn nested(vault: &Vault, content: &[u8], change: impl Fn(FileRecord) -> FileRecord) -> Committed {
    let capture = begin(vault, None);
    let record = change(stream(&capture, content, CONTENT_DEFINED).unwrap());
    let mut er = capture.directory();
    er.add_file(b"f", &file_meta(), &record).unwrap();
    let er = er.finish().unwrap();
    let mut deep = capture.directory();
    deep.add_directory(b"er", &directory_meta(), er).unwrap();
    let deep = deep.finish().unwrap();
    let mut root = capture.directory();
    root.add_directory(b"deep", &directory_meta(), deep).unwrap();
    let root = root.finish().unwrap();
    commit(capture, root).unwrap()
}

fn check(vault: &Vault, read: ReadSubset) -> CheckReport {
    vault.check(&CheckOptions { read }, &Calm).unwrap()
}

impl Damaged {
    fn vault(&self) -> &Vault {
        &self.scene.vault
    }

    /// The file of a pack that holds data, or trees, of the first snapshot.
    fn pack(&self, kind: BlobKind) -> (Id, PathBuf, std::ops::Range<usize>) {
        let root = self.vault().snapshot(&self.hurt.snapshot).unwrap().record.tree;
        let id = match kind {
            BlobKind::Tree => root,
            BlobKind::Data => {
                let reader = reader(self.vault(), &self.hurt);
                reader.node(&[b"deep", b"er", b"f"]).unwrap().content[1]
            }
        };
        let location = self.vault().core().locate(kind, &id).unwrap();
        let name = location.pack.to_hex();
        let path = self.scene.path().join("data").join(&name[..2]).join(name);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let start = location.blob.offset as usize;
        (location.pack, path, start..start + location.blob.length as usize)
    }

    /// The report's damage is this snapshot's at this path alone; the answer is the first damaged range.
    fn assert_hurt(&self, report: &CheckReport, path: &str) -> (u64, u64) {
        assert!(!report.is_sound());
        let first = report.damaged_snapshots.first().expect("a damaged file");
        for file in &report.damaged_snapshots {
            assert_eq!((file.snapshot, file.path.as_str()), (self.hurt.snapshot, path), "{file:?}");
        }
        assert_eq!(read_all(&reader(self.vault(), &self.other), &[b"other"]).unwrap(), noise(2, 100_000));
        (first.offset, first.length)
    }
}

#[test]
fn a_sound_vault_has_neither_damage_nor_notes_and_all_of_it_is_read() {
    let scene = damaged();
    let report = check(scene.vault(), ReadSubset::All);
    assert!(report.is_sound() && report.notes.is_empty(), "{report:?}");
    let packs = files_below(&scene.scene.path().join("data")).len() as u64;
    assert_eq!((report.snapshots, report.packs), (2, packs));
    assert!(report.bytes_read > 800_000);
    let structure = check(scene.vault(), ReadSubset::None);
    assert!(structure.is_sound() && structure.bytes_read < 10_000);
    let shares: u64 = (0..3).map(|part| check(scene.vault(), ReadSubset::Share { part, of: 3 }).bytes_read).sum();
    assert_eq!(shares, report.bytes_read + 2 * structure.bytes_read);
    let empty = Scene::new();
    assert_eq!(check(&empty.vault, ReadSubset::All), CheckReport::default());
}

#[test]
fn a_flipped_byte_is_found_by_reading_and_its_place_in_the_file_is_told() {
    let scene = damaged();
    let (pack, path, blob) = scene.pack(BlobKind::Data);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[blob.start + 40] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(check(scene.vault(), ReadSubset::None).is_sound(), "its structure is right");
    let report = check(scene.vault(), ReadSubset::All);
    assert_eq!((report.damaged_packs.len(), report.damaged_packs[0].id), (1, pack));
    assert_eq!(report.damaged_packs[0].what, PackDamage::WrongContent);
    let node = reader(scene.vault(), &scene.hurt).node(&[b"deep", b"er", b"f"]).unwrap();
    let lengths: Vec<u64> = node
        .content
        .iter()
        .map(|id| {
            let blob = scene.vault().core().locate(BlobKind::Data, id).unwrap().blob;
            u64::from(blob.plain_length())
        })
        .collect();
    assert_eq!(scene.assert_hurt(&report, "/deep/er/f"), (lengths[0], lengths[1]));
    assert_eq!(scene.content.len() as u64, lengths.iter().sum::<u64>());
}

#[test]
fn a_flipped_byte_in_a_header_is_damage_to_the_pack_and_to_no_file() {
    let scene = damaged();
    let (_, path, _) = scene.pack(BlobKind::Data);
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 10;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let report = check(scene.vault(), ReadSubset::All);
    assert_eq!(report.damaged_packs.len(), 1);
    assert!(!report.is_sound() && report.damaged_snapshots.is_empty());
}

#[test]
fn a_truncated_pack_is_found_without_reading_and_only_lost_blobs_count() {
    let scene = damaged();
    let (pack, path, blob) = scene.pack(BlobKind::Data);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..blob.end - 1]).unwrap();
    let report = check(scene.vault(), ReadSubset::None);
    assert_eq!((report.damaged_packs[0].id, report.damaged_packs[0].what), (pack, PackDamage::WrongLength));
    scene.assert_hurt(&report, "/deep/er/f");
}

#[test]
fn a_missing_pack_is_found_without_reading() {
    let scene = damaged();
    let (pack, path, _) = scene.pack(BlobKind::Data);
    std::fs::remove_file(path).unwrap();
    let report = check(scene.vault(), ReadSubset::None);
    assert_eq!((report.damaged_packs[0].id, report.damaged_packs[0].what), (pack, PackDamage::Missing));
    scene.assert_hurt(&report, "/deep/er/f");
}

#[test]
fn a_missing_and_a_damaged_index_file_are_told_with_what_they_listed() {
    for remove in [true, false] {
        let scene = damaged();
        let hurt = scene
            .vault()
            .core()
            .locate(BlobKind::Tree, &scene.vault().snapshot(&scene.hurt.snapshot).unwrap().record.tree);
        let hurt = hurt.unwrap().pack;
        for path in files_below(&scene.scene.path().join("index")) {
            let id: Id = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            let file = scene.vault().core().read_index_file(&id).unwrap();
            if file.packs.iter().any(|pack| pack.id == hurt) {
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
                if remove { std::fs::remove_file(path).unwrap() } else { std::fs::write(path, b"garbage").unwrap() }
            }
        }
        let report = check(scene.vault(), ReadSubset::None);
        assert_eq!(report.damaged_index_files.len(), usize::from(!remove));
        scene.assert_hurt(&report, "/");
        assert!(report.notes.iter().any(|note| note.contains("in no index")), "{report:?}");
    }
}

#[test]
fn a_broken_tree_is_told_with_the_directory_that_is_lost() {
    let scene = damaged();
    let deep = reader(scene.vault(), &scene.hurt).node(&[b"deep", b"er"]).unwrap().subtree.unwrap();
    let (_, path, _) = scene.pack(BlobKind::Tree);
    let blob = scene.vault().core().locate(BlobKind::Tree, &deep).unwrap().blob;
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[blob.offset as usize + 20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let report = check(&scene.scene.reopened(), ReadSubset::None);
    assert_eq!(scene.assert_hurt(&report, "/deep/er"), (0, 0));
    assert!(report.damaged_packs.is_empty(), "no pack was read");
    assert_eq!(check(scene.vault(), ReadSubset::All).damaged_packs.len(), 1);
}

#[test]
fn a_file_whose_size_is_not_that_of_its_blobs_is_damaged() {
    let scene = damaged();
    let mut tree = None;
    // A commit would refuse it.
    let capture = begin(scene.vault(), None);
    let record = stream(&capture, &scene.content, CONTENT_DEFINED).unwrap();
    let mut root = capture.directory();
    root.add_file(b"f", &file_meta(), &FileRecord { length: record.length + 1, ..record }).unwrap();
    tree.replace(root.finish().unwrap());
    capture.abandon().unwrap();
    let mut record = scene.vault().snapshot(&scene.hurt.snapshot).unwrap().record;
    record.tree = tree.unwrap();
    let core = scene.vault().core();
    let json = snapshot::to_json(&record).unwrap();
    let wrong = unpacked::write(&*core.backend, &core.key, FileKind::Snapshot, &json).unwrap();
    let report = check(scene.vault(), ReadSubset::All);
    assert_eq!(report.damaged_snapshots.len(), 1);
    let file = &report.damaged_snapshots[0];
    assert_eq!((file.snapshot, file.path.as_str()), (wrong, "/f"));
    assert!(report.damaged_packs.is_empty());
}

#[test]
fn every_snapshot_that_shares_the_damage_is_told_and_a_damaged_snapshot_file_too() {
    let scene = damaged();
    let again = nested(scene.vault(), &scene.content, |record| record);
    let (_, path, _) = scene.pack(BlobKind::Data);
    std::fs::remove_file(path).unwrap();
    let broken = scene.scene.path().join("snapshots").join(scene.other.snapshot.to_hex());
    std::fs::set_permissions(&broken, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(broken, b"garbage").unwrap();
    let report = check(scene.vault(), ReadSubset::None);
    let mut hurt: Vec<Id> = report.damaged_snapshots.iter().map(|file| file.snapshot).collect();
    hurt.sort();
    hurt.dedup();
    let mut expected = vec![scene.hurt.snapshot, again.snapshot, scene.other.snapshot];
    expected.sort();
    assert_eq!(hurt, expected);
    assert_eq!(report.snapshots, 2);
}

#[test]
fn a_cancelled_check_ends_as_cancelled() {
    let scene = damaged();
    let error = scene.vault().check(&CheckOptions { read: ReadSubset::All }, &Impatient).unwrap_err();
    assert_eq!(error.kind(), &crate::VaultErrorKind::Cancelled);
}
