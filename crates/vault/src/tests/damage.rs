//! Wrong passwords and damaged files are reported, never a panic.

use super::scene::*;
use crate::{Password, Vault, VaultErrorKind};
use std::{os::unix::fs::PermissionsExt, path::Path};

fn overwrite(path: &Path, bytes: &[u8]) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_wrong_password_and_a_missing_vault_are_told_apart() {
    let scene = Scene::new();
    let wrong = Vault::open(backend(&scene.path()), &Password::new("Correct horse"), options()).unwrap_err();
    assert_eq!(wrong.kind(), &VaultErrorKind::WrongPassword);
    assert!(!wrong.sentence().contains("orrect"));
    let empty = open(scene.directory.path()).unwrap_err();
    assert_eq!(empty.kind(), &VaultErrorKind::NoVault);
    let unmounted = open(&scene.directory.path().join("elsewhere")).unwrap_err();
    assert_eq!(unmounted.kind(), &VaultErrorKind::StoreUnavailable);
    let twice = Vault::create(backend(&scene.path()), &Password::new("x"), FAST, options()).unwrap_err();
    assert_eq!(twice.kind(), &VaultErrorKind::Unsupported);
    assert_eq!(files_below(&scene.path().join("keys")).len(), 1, "a refused creation leaves no key");
}

#[test]
fn passwords_can_be_added_and_removed_but_not_the_last_one() {
    let scene = Scene::new();
    let second = scene.vault.add_key(&Password::new("second"), FAST).unwrap();
    let opened = Vault::open(backend(&scene.path()), &Password::new("second"), options()).unwrap();
    assert_eq!((opened.id(), opened.key_id()), (scene.vault.id(), second));
    scene.vault.remove_key(&scene.vault.key_id()).unwrap();
    assert!(open(&scene.path()).is_err());
    assert!(opened.remove_key(&second).is_err());
}

#[test]
fn a_broken_key_file_does_not_hide_a_good_one() {
    let scene = Scene::new();
    for name in ["0".repeat(64), "f".repeat(64)] {
        std::fs::write(scene.path().join("keys").join(name), b"{").unwrap();
    }
    open(&scene.path()).unwrap();
    let wrong = Vault::open(backend(&scene.path()), &Password::new("x"), options()).unwrap_err();
    assert_eq!(wrong.kind(), &VaultErrorKind::Damaged);
}

#[test]
fn every_file_of_a_vault_can_be_cut_flipped_emptied_or_lost_without_a_panic() {
    let scene = Scene::new();
    let content = noise(1, 300_000);
    let committed = capture_files(&scene.vault, &[(b"f", &content), (b"g", b"small")]).unwrap();
    for path in files_below(&scene.path()) {
        let good = std::fs::read(&path).unwrap();
        let flipped = |position: usize| {
            let mut bytes = good.clone();
            bytes[position] ^= 1;
            bytes
        };
        let last = good.len() - 1;
        let variants = [
            Some(Vec::new()),
            Some(good[..last].to_vec()),
            Some(flipped(0)),
            Some(flipped(good.len() / 2)),
            Some(flipped(last)),
            Some([&good[..], b"more"].concat()),
            None,
        ];
        for variant in variants {
            match &variant {
                Some(bytes) => overwrite(&path, bytes),
                None => std::fs::remove_file(&path).unwrap(),
            }
            let attempt = || -> crate::Result<Vec<u8>> {
                let vault = open(&scene.path())?;
                let reader = vault.reader(&vault.snapshot(&committed.snapshot)?)?;
                read_all(&reader, &[b"f"])
            };
            match attempt() {
                // The damage lies where this read does not look: a pack's header, or bytes beyond it.
                Ok(read) => assert_eq!(read, content, "{}", path.display()),
                Err(error) => assert!(
                    !matches!(error.kind(), VaultErrorKind::Internal | VaultErrorKind::Cancelled),
                    "{}: {error}",
                    path.display()
                ),
            }
            std::fs::remove_file(&path).ok();
            std::fs::write(&path, &good).unwrap();
        }
    }
    assert_eq!(read_all(&reader(&scene.reopened(), &committed), &[b"f"]).unwrap(), content);
}

#[test]
fn a_damaged_snapshot_does_not_hide_the_others() {
    let scene = Scene::new();
    let first = capture_files(&scene.vault, &[(b"f", b"1")]).unwrap();
    let second = capture_files(&scene.vault, &[(b"f", b"2")]).unwrap();
    overwrite(&scene.path().join("snapshots").join(first.snapshot.to_hex()), b"garbage");
    let list = scene.vault.snapshots().unwrap();
    assert_eq!(list.snapshots.iter().map(|snapshot| snapshot.id).collect::<Vec<_>>(), [second.snapshot]);
    assert_eq!(list.damaged[0].id, first.snapshot);
}

#[test]
fn damage_under_a_reused_blob_is_found_before_the_snapshot_is_written() {
    let scene = Scene::new();
    let content = noise(2, 200_000);
    capture_files(&scene.vault, &[(b"f", &content)]).unwrap();
    for pack in files_below(&scene.path().join("data")) {
        let mut bytes = std::fs::read(&pack).unwrap();
        bytes[100] ^= 4;
        overwrite(&pack, &bytes);
    }
    let error = capture_files(&scene.reopened(), &[(b"f", &content)]).unwrap_err();
    assert_eq!(error.kind(), &VaultErrorKind::Damaged);
    assert_eq!(scene.vault.snapshots().unwrap().snapshots.len(), 1);
}
