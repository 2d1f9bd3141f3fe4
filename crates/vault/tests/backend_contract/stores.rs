//! The contract of `StoreRoot`.

use crate::places::Place;
use trivault_vault::VaultErrorKind;
use trivault_vault::backend::FileKind;

pub fn small_files(place: &Place) {
    let store = &place.store;
    assert_eq!(store.read("trivault.json").unwrap_err().kind(), &VaultErrorKind::Missing);
    assert!(store.create("trivault.json", b"first").unwrap());
    assert!(!store.create("trivault.json", b"second").unwrap());
    assert_eq!(store.read("trivault.json").unwrap(), b"first");
    store.write_atomic("trivault.json", b"third").unwrap();
    assert_eq!(store.read("trivault.json").unwrap(), b"third");
    store.write_atomic("deep/er/file", b"").unwrap();
    assert_eq!(store.read("deep/er/file").unwrap(), b"");
    store.remove("trivault.json").unwrap();
    store.remove("trivault.json").unwrap();
    for wrong in ["", "../out", "/etc/passwd", "a/../../b"] {
        assert!(
            store.read(wrong).is_err() && store.write_atomic(wrong, b"x").is_err() && store.remove_tree(wrong).is_err()
        );
    }
}

pub fn directories(place: &Place) {
    let store = &place.store;
    assert_eq!(store.list_dirs("q").unwrap(), Vec::<String>::new());
    for id in ["two", "one"] {
        let vault = store.vault(&format!("q/{id}")).unwrap();
        vault.prepare().unwrap();
        vault.write(FileKind::Config, "config", b"x").unwrap();
        vault.write(FileKind::Pack, &"ab".repeat(32), b"x").unwrap();
    }
    assert_eq!(store.list_dirs("q").unwrap(), ["one", "two"]);
    assert!(store.list_dirs("").unwrap().contains(&"q".to_owned()));
    store.remove_tree("q/one").unwrap();
    store.remove_tree("q/one").unwrap();
    assert_eq!(store.list_dirs("q").unwrap(), ["two"]);
    assert_eq!(store.vault("q/two").unwrap().read(FileKind::Config, "").unwrap(), b"x");
}

pub fn probe(place: &Place) {
    let before = place.store.list_dirs("").unwrap();
    let found = place.store.probe().unwrap();
    assert!(found.exclusive_create);
    assert!(found.free_bytes.is_none_or(|free| free > 0));
    assert_eq!(place.store.list_dirs("").unwrap(), before);
}

pub fn locations(place: &Place) {
    let (store, vault) = (place.store.location(), place.vault.location());
    assert!(vault.starts_with(&format!("{store}/")), "{vault}");
    assert!(store.starts_with('/') || store.starts_with("s3:http"), "{store}");
}
