//! Prune in an S3 prefix, which lists late in principle and has no folders.

use super::*;
use crate::tests::prune::{hours, prune};

#[test]
fn what_only_forgotten_snapshots_needed_is_marked_and_a_day_later_deleted() {
    let Some(cloud) = Cloud::start() else { return };
    let vault = cloud.create("one");
    let (kept, gone) = (noise(1, 500_000), noise(2, 700_000));
    let both = capture_files(&vault, &[(b"a", &kept), (b"b", &gone)]).unwrap();
    let one = capture_files(&vault, &[(b"a", &kept)]).unwrap();
    vault.forget(&both.snapshot).unwrap();
    let before = cloud.stored("one");
    let first = prune(&vault, 0);
    assert!(first.marked.packs > 0 && first.deleted.packs == 0, "{first:?}");
    assert!(cloud.stored("one") >= before);
    cloud.assert_sound("one");
    assert_eq!(prune(&vault, 23).deleted.packs, 0, "too early");
    let second = prune(&vault, 25);
    assert_eq!(second.deleted, first.marked);
    assert!((500_000..530_000).contains(&cloud.stored("one")), "{}", cloud.stored("one"));
    cloud.assert_sound("one");
    assert_holds(&cloud.open("one"), &one, &[(b"a", &kept)]);
    assert!(prune(&vault, 50).plan.is_empty(), "nothing is left to do");
    assert!(vault.locks().unwrap().is_empty());
    // And the vault goes on being used by a process that was open all the time.
    let again = capture_files(&vault, &[(b"b", &gone)]).unwrap();
    assert_holds(&cloud.open("one"), &again, &[(b"b", &gone)]);
}

/// Of all changes at which a prune may die, every so many-th is tried: each costs hundreds of requests.
const EVERY: usize = 4;

#[test]
fn a_prune_may_die_at_any_change_of_the_store() {
    let Some(cloud) = Cloud::start() else { return };
    let vault = cloud.create("story");
    let content: Vec<Vec<u8>> = (0..6).map(|seed| noise(seed, 120_000)).collect();
    let save = |files: &[(&'static [u8], usize)]| {
        let files: Vec<(&[u8], &[u8])> = files.iter().map(|(name, seed)| (*name, &*content[*seed])).collect();
        (capture_files(&vault, &files).unwrap(), files)
    };
    let deleted = save(&[(b"a", 0)]);
    vault.forget(&deleted.0.snapshot).unwrap();
    prune(&vault, 0);
    let copied_from = save(&[(b"d", 1), (b"e", 2)]);
    let kept = [save(&[(b"d", 1)]), save(&[(b"h", 3)])];
    let marked = save(&[(b"g", 4)]);
    vault.forget(&copied_from.0.snapshot).unwrap();
    vault.forget(&marked.0.snapshot).unwrap();
    for allowed in (0..).step_by(EVERY) {
        let prefix = format!("dies-{allowed}");
        cloud.copy("story", &prefix);
        let store = Dying::new(cloud.plain(&prefix), allowed as i64);
        let dying = open_at(store.clone()).unwrap();
        let outcome = dying.prune(&hours(25), &Calm);
        drop(dying);
        assert_eq!(outcome.is_err(), store.is_dead());
        let survivor = cloud.open(&prefix);
        unlock(&survivor);
        let checked = survivor.check(&CheckOptions { read: ReadSubset::All }, &Calm).unwrap();
        assert!(checked.is_sound(), "{allowed}: {checked:?}");
        for (committed, files) in &kept {
            assert_holds(&survivor, committed, files);
        }
        prune(&survivor, 51);
        prune(&survivor, 77);
        cloud.assert_sound(&prefix);
        for (committed, files) in &kept {
            assert_holds(&cloud.open(&prefix), committed, files);
        }
        assert!(cloud.stored(&prefix) < 260_000, "{allowed}: {} bytes are left", cloud.stored(&prefix));
        if outcome.is_ok() {
            assert!(allowed > 8, "{allowed} changes are too few");
            return;
        }
    }
}
