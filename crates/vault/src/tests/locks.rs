//! Lock files.

use super::scene::*;
use crate::{LockMode, VaultErrorKind, VaultOptions};
use std::time::{Duration, Instant};

#[test]
fn shared_locks_bear_each_other_and_an_exclusive_one_bears_none_of_others() {
    let scene = Scene::new();
    let other = scene.opened_by("elsewhere");
    let first = scene.vault.lock(LockMode::Shared, Duration::ZERO).unwrap();
    let second = other.lock(LockMode::Shared, Duration::ZERO).unwrap();
    assert!(first.is_alive() && first.id() != second.id());
    let refused = other.lock(LockMode::Exclusive, Duration::ZERO).unwrap_err();
    assert!(matches!(refused.kind(), VaultErrorKind::Locked { by, .. } if by.contains("node@trivault-test")));
    first.release().unwrap();
    drop(second);
    let alone = other.lock(LockMode::Exclusive, Duration::ZERO).unwrap();
    assert!(scene.vault.lock(LockMode::Shared, Duration::ZERO).is_err());
    assert_eq!(files_below(&scene.path().join("locks")).len(), 1, "a refused lock leaves nothing behind");
    alone.release().unwrap();
    assert!(files_below(&scene.path().join("locks")).is_empty());
}

#[test]
fn a_prune_and_captures_of_one_installation_bear_each_other_and_two_prunes_do_not() {
    let scene = Scene::new();
    let node = scene.reopened();
    let captures = scene.vault.lock(LockMode::Shared, Duration::ZERO).unwrap();
    let prunes = node.lock(LockMode::Exclusive, Duration::ZERO).unwrap();
    scene.vault.lock(LockMode::Shared, Duration::ZERO).unwrap().release().unwrap();
    let second = scene.vault.lock(LockMode::Exclusive, Duration::ZERO).unwrap_err();
    assert!(matches!(second.kind(), VaultErrorKind::Locked { .. }));
    prunes.release().unwrap();
    captures.release().unwrap();
    let foreign = scene.opened_by("elsewhere").lock(LockMode::Shared, Duration::ZERO).unwrap();
    assert!(scene.vault.lock(LockMode::Exclusive, Duration::ZERO).is_err());
    foreign.release().unwrap();
}

#[test]
fn a_lock_protects_as_long_as_its_file_is_there() {
    let scene = Scene::new();
    let held = scene.vault.lock(LockMode::Shared, Duration::ZERO).unwrap();
    held.check().unwrap();
    held.refresh_now().unwrap();
    held.check().unwrap();
    scene.reopened().remove_locks(&[held.id()]).unwrap();
    let refused = held.check().unwrap_err();
    assert_eq!(*refused.kind(), VaultErrorKind::StoreUnavailable);
    assert!(refused.hint().unwrap().contains("restic unlock"), "{refused}");
    held.release().unwrap();
}

#[test]
fn who_waits_gets_the_lock_when_it_is_released() {
    let scene = Scene::new();
    let held = scene.vault.lock(LockMode::Exclusive, Duration::ZERO).unwrap();
    std::thread::scope(|scope| {
        let waiting =
            scope.spawn(|| scene.opened_by("elsewhere").lock(LockMode::Shared, Duration::from_secs(60)).map(drop));
        held.release().unwrap();
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn locks_of_a_dead_process_of_this_node_are_found_and_removed() {
    let scene = Scene::new();
    let held = scene.vault.lock(LockMode::Shared, Duration::ZERO).unwrap();
    let kept = std::fs::read(&files_below(&scene.path().join("locks"))[0]).unwrap();
    assert!(scene.vault.own_stale_locks().unwrap().is_empty(), "a lock that is held is not stale");
    let id = held.id();
    held.release().unwrap();
    std::fs::write(scene.path().join("locks").join(id.to_hex()), kept).unwrap();
    let stale = scene.vault.own_stale_locks().unwrap();
    assert_eq!(stale.iter().map(|lock| lock.id).collect::<Vec<_>>(), [id]);
    let options = VaultOptions { lock_user: "another node".to_owned(), ..options() };
    let elsewhere = crate::Vault::open(backend(&scene.path()), &crate::Password::new(PASSWORD), options).unwrap();
    assert!(elsewhere.own_stale_locks().unwrap().is_empty(), "another node's lock is not ours to judge");
    scene.vault.remove_locks(&[id, id]).unwrap();
    assert!(scene.vault.locks().unwrap().is_empty());
}

#[test]
fn an_empty_lock_file_is_no_lock_and_an_unreadable_one_is_an_error() {
    let scene = Scene::new();
    let locks = scene.path().join("locks");
    std::fs::create_dir_all(&locks).unwrap();
    std::fs::write(locks.join("0".repeat(64)), b"").unwrap();
    scene.vault.lock(LockMode::Exclusive, Duration::ZERO).unwrap().release().unwrap();
    std::fs::write(locks.join("1".repeat(64)), b"garbage").unwrap();
    let error = scene.vault.lock(LockMode::Shared, Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), &VaultErrorKind::Damaged);
    assert!(error.hint().unwrap().contains("unlock"));
    assert!(scene.vault.own_stale_locks().unwrap().is_empty(), "it hides none of ours");
}

#[test]
fn a_refreshed_lock_has_a_new_file_and_no_old_one() {
    let scene = Scene::new();
    let lock = scene.vault.lock(LockMode::Exclusive, Duration::ZERO).unwrap();
    let before = lock.id();
    lock.refresh_now().unwrap();
    assert_ne!(lock.id(), before);
    assert!(lock.is_alive());
    let listed: Vec<_> = scene.vault.locks().unwrap().iter().map(|lock| lock.id).collect();
    assert_eq!(listed, [lock.id()]);
    assert!(scene.vault.own_stale_locks().unwrap().is_empty());
    lock.release().unwrap();
    assert!(scene.vault.locks().unwrap().is_empty());
}

#[test]
fn who_waits_for_a_lock_can_be_stopped() {
    let scene = Scene::new();
    let held = scene.opened_by("elsewhere").lock(LockMode::Exclusive, Duration::ZERO).unwrap();
    let (begun, asked) = (Instant::now(), std::cell::Cell::new(0));
    let is_cancelled = || asked.replace(asked.get() + 1) > 3;
    let wait = Duration::from_secs(600);
    let stopped = scene.vault.lock_unless(LockMode::Shared, wait, &is_cancelled).unwrap_err();
    assert_eq!(stopped.kind(), &VaultErrorKind::Cancelled);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    held.release().unwrap();
    assert!(scene.vault.locks().unwrap().is_empty());
}
