//! A prune that dies at any of its writes or removals loses nothing, and the next one finishes its work.

use super::{
    prune::{assert_holds, assert_sound, bytes_below, hours, prune},
    scene::*,
};
use crate::{CheckOptions, Committed, Password, ReadSubset, Vault};
use std::path::Path;

/// Names and contents of a capture's files.
type Files = Vec<(&'static [u8], Vec<u8>)>;

struct Story {
    scene: Scene,
    kept: Vec<(Committed, Files)>,
}

/// A vault in which the next prune, a day after the last one, has everything to do: delete, copy, mark, list again, drop marks.
fn story() -> Story {
    let scene = Scene::new();
    let vault = &scene.vault;
    let part = |seed| noise(seed, 300_000);
    let save = |names: &[(&'static [u8], u64)]| {
        let files: Vec<_> = names.iter().map(|(name, seed)| (*name, part(*seed))).collect();
        let borrowed: Vec<(&[u8], &[u8])> = files.iter().map(|(name, content)| (*name, content.as_slice())).collect();
        (capture_files(vault, &borrowed).unwrap(), files)
    };
    let deleted = save(&[(b"a", 1), (b"b", 2)]);
    let comes_back = save(&[(b"c", 3)]);
    let file = scene.path().join("snapshots").join(comes_back.0.snapshot.to_hex());
    let snapshot = std::fs::read(&file).unwrap();
    vault.forget(&deleted.0.snapshot).unwrap();
    vault.forget(&comes_back.0.snapshot).unwrap();
    prune(vault, 0);
    std::fs::write(&file, snapshot).unwrap();
    let copied_from = save(&[(b"d", 4), (b"e", 5), (b"f", 6)]);
    let copied = save(&[(b"d", 4), (b"f", 6)]);
    let marked = save(&[(b"g", 7)]);
    let kept = save(&[(b"h", 8), (b"i", 4)]);
    vault.forget(&copied_from.0.snapshot).unwrap();
    vault.forget(&marked.0.snapshot).unwrap();
    Story { scene, kept: vec![comes_back, copied, kept] }
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Story {
    fn assert_kept(&self, path: &Path) {
        for (committed, files) in &self.kept {
            let borrowed: Vec<(&[u8], &[u8])> =
                files.iter().map(|(name, content)| (*name, content.as_slice())).collect();
            assert_holds(path, committed, &borrowed);
        }
    }
}

#[test]
fn a_prune_may_die_at_any_change_of_the_store() {
    let story = story();
    let undisturbed = story.scene.directory.path().join("undisturbed");
    copy_tree(&story.scene.path(), &undisturbed);
    let report = open(&undisturbed).unwrap().prune(&hours(25), &Calm).unwrap();
    for count in [report.repacked.packs, report.marked.packs, report.recovered, report.deleted.packs] {
        assert!(count > 0, "{report:?}");
    }
    prune(&open(&undisturbed).unwrap(), 60);
    let left = bytes_below(&undisturbed.join("data"));
    for allowed in 0.. {
        let path = story.scene.directory.path().join(format!("dies-{allowed}"));
        copy_tree(&story.scene.path(), &path);
        let store = Dying::new(backend(&path), allowed);
        let vault = Vault::open(store.clone(), &Password::new(PASSWORD), options()).unwrap();
        let died = vault.prune(&hours(25), &Calm).is_err();
        drop(vault);
        assert_eq!(died, store.is_dead());
        unlock(&open(&path).unwrap());
        let checked = open(&path).unwrap().check(&CheckOptions { read: ReadSubset::All }, &Calm).unwrap();
        assert!(checked.is_sound(), "{allowed}: {checked:?}");
        story.assert_kept(&path);
        let next = prune(&open(&path).unwrap(), 26);
        assert_sound(&path);
        assert_eq!(next.plan.notes, Vec::<String>::new());
        prune(&open(&path).unwrap(), 60);
        prune(&open(&path).unwrap(), 90);
        assert!(prune(&open(&path).unwrap(), 120).plan.is_empty(), "{allowed}: work is left");
        assert_sound(&path);
        story.assert_kept(&path);
        let bytes = bytes_below(&path.join("data"));
        assert!(bytes.abs_diff(left) < 2_000, "{allowed}: {bytes} bytes are left instead of {left}");
        std::fs::remove_dir_all(&path).unwrap();
        if !died {
            assert!(allowed > 10, "{allowed} changes are too few");
            return;
        }
    }
}
