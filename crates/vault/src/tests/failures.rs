//! A store that stops working in the middle: every job ends, says why, and leaves a vault that works when the store does.

use super::scene::*;
use crate::{
    Kdf, LockMode, Password, Result, Vault, VaultError, VaultErrorKind, VaultOptions,
    backend::{Backend, Entry, FileKind},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

/// Lets so many writes pass and refuses the rest.
#[derive(Debug)]
struct Failing {
    inner: Arc<dyn Backend>,
    left: AtomicI64,
}

impl Failing {
    fn may_write(&self) -> Result<()> {
        if self.left.fetch_sub(1, Ordering::Relaxed) > 0 {
            return Ok(());
        }
        Err(VaultError::new(VaultErrorKind::StoreFull, "no room is left"))
    }
}

impl Backend for Failing {
    fn location(&self) -> String {
        self.inner.location()
    }
    fn list(&self, kind: FileKind) -> Result<Vec<Entry>> {
        self.inner.list(kind)
    }
    fn length(&self, kind: FileKind, name: &str) -> Result<u64> {
        self.inner.length(kind, name)
    }
    fn read(&self, kind: FileKind, name: &str) -> Result<Vec<u8>> {
        self.inner.read(kind, name)
    }
    fn read_range(&self, kind: FileKind, name: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        self.inner.read_range(kind, name, offset, length)
    }
    fn write(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<()> {
        self.may_write()?;
        self.inner.write(kind, name, bytes)
    }
    fn create(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<bool> {
        self.inner.create(kind, name, bytes)
    }
    fn remove(&self, kind: FileKind, name: &str) -> Result<()> {
        self.inner.remove(kind, name)
    }
    fn prepare(&self) -> Result<()> {
        self.inner.prepare()
    }
    fn sweep(&self) -> Result<()> {
        self.inner.sweep()
    }
    fn discard_cache(&self, kind: FileKind, name: &str) {
        self.inner.discard_cache(kind, name);
    }
}

#[test]
fn wherever_the_store_fills_up_the_capture_fails_with_that_reason_and_a_retry_succeeds() {
    let content = noise(1, 12_000_000);
    let mut passed = 0;
    for allowed in 0.. {
        let scene = Scene::new();
        let failing = Arc::new(Failing { inner: backend(&scene.path()), left: AtomicI64::new(allowed) });
        let vault = Vault::open(failing.clone(), &Password::new(PASSWORD), options()).unwrap();
        match capture_files(&vault, &[(b"f", &content)]) {
            Ok(_) => passed += 1,
            Err(error) => {
                assert_eq!(error.kind(), &VaultErrorKind::StoreFull, "{error}");
                assert!(vault.snapshots().unwrap().snapshots.is_empty());
            }
        }
        failing.left.store(i64::MAX, Ordering::Relaxed);
        let retry = capture_files(&vault, &[(b"f", &content)]).unwrap();
        assert_eq!(read_all(&reader(&scene.reopened(), &retry), &[b"f"]).unwrap(), content);
        if passed > 0 {
            // Two data packs, one of trees, the index, the snapshot.
            assert_eq!(allowed, 5);
            return;
        }
    }
}

#[test]
fn two_captures_that_share_a_failing_store_both_end() {
    let scene = Scene::new();
    let failing = Arc::new(Failing { inner: backend(&scene.path()), left: AtomicI64::new(1) });
    let vault = Vault::open(failing, &Password::new(PASSWORD), options()).unwrap();
    std::thread::scope(|scope| {
        for seed in [1, 2] {
            let vault = &vault;
            scope.spawn(move || {
                let error = capture_files(vault, &[(b"f", &noise(seed, 40_000_000))]).unwrap_err();
                assert_eq!(error.kind(), &VaultErrorKind::StoreFull);
            });
        }
    });
    let budget = Arc::clone(vault.budget());
    drop(vault);
    assert_eq!(budget.held(), 0);
}

#[test]
fn a_store_without_room_gives_no_lock_and_no_new_vault() {
    let scene = Scene::new();
    let failing = Arc::new(Failing { inner: backend(&scene.path()), left: AtomicI64::new(0) });
    let vault = Vault::open(failing, &Password::new(PASSWORD), options()).unwrap();
    let error = vault.lock(LockMode::Shared, Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), &VaultErrorKind::StoreFull);
    let place = scene.directory.path().join("new");
    let failing = Arc::new(Failing { inner: backend(&place), left: AtomicI64::new(0) });
    let cheap = Kdf { log_n: 10, ..Kdf::default() };
    let options = || VaultOptions { workers: 1, ..options() };
    assert!(Vault::create(failing, &Password::new("x"), cheap, options()).is_err());
    // What was begun does not stand in the way.
    Vault::create(backend(&place), &Password::new("x"), cheap, options()).unwrap();
}
