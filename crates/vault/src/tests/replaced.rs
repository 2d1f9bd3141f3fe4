//! A vault that was removed while it was open, and another one at its place.

use super::scene::{FAST, PASSWORD, Scene, backend, capture_files, options};
use crate::{Password, Vault, VaultErrorKind};

#[test]
fn another_vault_at_the_same_place_under_the_same_password_is_told_apart() {
    let scene = Scene::new();
    capture_files(&scene.vault, &[(b"a", b"content")]).unwrap();
    let other = scene.reopened();
    assert!(scene.vault.is_still_there().unwrap() && other.is_still_there().unwrap(), "opened twice, it is the same");
    std::fs::remove_dir_all(scene.path()).unwrap();
    let error = scene.vault.is_still_there().unwrap_err();
    assert_eq!(error.kind(), &VaultErrorKind::StoreUnavailable, "an unmounted disk says nothing about the vault");

    let anew = Vault::create(backend(&scene.path()), &Password::new(PASSWORD), FAST, options()).unwrap();
    assert!(anew.is_still_there().unwrap());
    assert!(!scene.vault.is_still_there().unwrap() && !other.is_still_there().unwrap());
    std::fs::remove_file(scene.path().join("config")).unwrap();
    assert!(!anew.is_still_there().unwrap(), "without its config it is no vault");
}
