//! Setting damaged packs aside, so that the next backup makes everything whole again.

use super::{
    prune::{assert_holds, assert_sound, hours, prune},
    scene::*,
};
use crate::{CheckOptions, Id, ReadSubset};
use std::os::unix::fs::PermissionsExt;

#[test]
fn after_setting_aside_a_new_capture_of_the_same_bytes_makes_old_and_new_snapshots_whole() {
    for remove in [false, true] {
        let scene = Scene::new();
        let content = noise(1, 900_000);
        let old = capture_files(&scene.vault, &[(b"a", &content)]).unwrap();
        let id = reader(&scene.vault, &old).node(&[b"a"]).unwrap().content[3];
        let location = scene.vault.core().locate(crate::pack::BlobKind::Data, &id).unwrap();
        let name = location.pack.to_hex();
        let path = scene.path().join("data").join(&name[..2]).join(&name);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        if remove {
            std::fs::remove_file(&path).unwrap();
        } else {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[location.blob.offset as usize + 30] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
        let vault = scene.reopened();
        let report = vault.check(&CheckOptions { read: ReadSubset::All }, &Calm).unwrap();
        let damaged: Vec<Id> = report.damaged_packs.iter().map(|pack| pack.id).collect();
        assert_eq!(damaged, [location.pack]);
        let aside = vault.set_aside(&damaged, &Calm).unwrap();
        assert_eq!(aside.packs, damaged);
        assert_eq!(path.exists(), !remove, "no pack is deleted");
        if !remove {
            assert_eq!(aside.blobs_lost, 1);
            assert!(aside.blobs_saved > 0);
        }
        let hurt = vault.check(&CheckOptions { read: ReadSubset::All }, &Calm).unwrap();
        assert!(
            hurt.damaged_packs.is_empty() && hurt.damaged_snapshots.iter().all(|file| file.path == "/a"),
            "{hurt:?}"
        );
        assert!(!hurt.is_sound());
        // Meanwhile a prune does not delete what might hold the missing bytes.
        let pruned = prune(&vault, 0);
        assert!(!pruned.notes.is_empty());
        assert_eq!(prune(&vault, 50).deleted.packs, 0);
        let new = capture_files(&scene.vault, &[(b"a", &content)]).unwrap();
        assert!(new.summary.data_blobs > 0);
        for committed in [&old, &new] {
            assert_holds(&scene.path(), committed, &[(b"a", &content)]);
        }
        prune(&vault, 51);
        prune(&vault, 100);
        assert!(!path.exists(), "nothing is missing any more, so that the damaged pack may go");
        assert_sound(&scene.path());
        assert_holds(&scene.path(), &old, &[(b"a", &content)]);
    }
}

#[test]
fn sound_and_unknown_packs_are_left_alone() {
    let scene = Scene::new();
    let committed = capture_files(&scene.vault, &[(b"a", &noise(1, 200_000))]).unwrap();
    let mut named: Vec<Id> = files_below(&scene.path().join("data"))
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().parse().unwrap())
        .collect();
    named.push(Id::of(b"unknown"));
    named.sort();
    let before = files_below(&scene.path());
    let aside = scene.vault.set_aside(&named, &Calm).unwrap();
    assert!(aside.packs.is_empty());
    assert_eq!(aside.left_alone, named);
    assert_eq!(files_below(&scene.path()), before);
    assert_holds(&scene.path(), &committed, &[(b"a", &noise(1, 200_000))]);
}

#[test]
fn a_pack_in_no_index_that_holds_what_is_missing_is_listed_again_by_a_prune() {
    let scene = Scene::new();
    let content = noise(1, 400_000);
    let capture = begin(&scene.vault, None);
    let record = stream(&capture, &content, CONTENT_DEFINED).unwrap();
    capture.abandon().unwrap();
    let lost = files_below(&scene.path().join("index"));
    let kept = capture_files(&scene.vault, &[(b"a", &content)]).unwrap();
    assert_eq!(reader(&scene.vault, &kept).node(&[b"a"]).unwrap().content, record.content);
    // The index file of the data is lost, that of the tree is not.
    lost.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let vault = scene.reopened();
    assert!(!vault.check(&CheckOptions { read: ReadSubset::None }, &Calm).unwrap().is_sound());
    let report = vault.prune(&hours(0), &Calm).unwrap();
    assert!(report.recovered > 0, "{report:?}");
    assert_sound(&scene.path());
    assert_holds(&scene.path(), &kept, &[(b"a", &content)]);
}
