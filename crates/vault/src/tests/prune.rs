//! A prune frees what no snapshot needs, in two phases, and nothing else.

use super::{restic::restic, scene::*};
use crate::{CheckOptions, Committed, LockMode, PruneOptions, PruneReport, ReadSubset, Vault, VaultErrorKind};
use chrono::{DateTime, TimeDelta, Utc};
use std::{path::Path, time::Duration};

pub fn start() -> DateTime<Utc> {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

/// A prune so many hours after [`start`] that tolerates nothing unneeded.
pub fn hours(hours: i64) -> PruneOptions {
    PruneOptions {
        tolerated_unused: 0.0,
        lock_wait: Duration::ZERO,
        ..PruneOptions::new(start() + TimeDelta::hours(hours))
    }
}

pub fn prune(vault: &Vault, after: i64) -> PruneReport {
    vault.prune(&hours(after), &Calm).unwrap()
}

pub fn bytes_below(path: &Path) -> u64 {
    files_below(path).iter().map(|path| path.metadata().unwrap().len()).sum()
}

/// Neither we nor the stock restic find fault with any byte.
pub fn assert_sound(path: &Path) {
    let report = open(path).unwrap().check(&CheckOptions { read: ReadSubset::All }, &Calm).unwrap();
    assert!(report.is_sound(), "{report:?}");
    let said = restic(path, &["check", "--read-data"]);
    assert!(said.contains("no errors were found"), "{said}");
}

pub fn assert_holds(path: &Path, committed: &Committed, files: &[(&[u8], &[u8])]) {
    let vault = open(path).unwrap();
    for (name, content) in files {
        assert_eq!(&read_all(&reader(&vault, committed), &[name]).unwrap(), content);
    }
}

#[test]
fn what_only_forgotten_snapshots_needed_is_marked_and_a_day_later_deleted() {
    let scene = Scene::new();
    let (kept, gone) = (noise(1, 900_000), noise(2, 1_100_000));
    let both = capture_files(&scene.vault, &[(b"a", &kept), (b"b", &gone)]).unwrap();
    let one = capture_files(&scene.vault, &[(b"a", &kept)]).unwrap();
    scene.vault.forget(&both.snapshot).unwrap();
    let data = scene.path().join("data");
    let before = bytes_below(&data);

    let plan = scene.vault.plan_prune(&hours(0), &Calm).unwrap();
    assert_eq!(plan.snapshots, 1);
    assert!((1_100_000..1_120_000).contains(&plan.unused_bytes), "{plan}");
    assert!((900_000..920_000).contains(&plan.used_bytes), "{plan}");
    assert_eq!(bytes_below(&data), before, "a plan changes nothing");

    let first = prune(&scene.vault, 0);
    assert_eq!(first.plan, plan);
    assert_eq!(first.deleted.packs, 0, "nothing is deleted by the prune that marks it");
    assert!(bytes_below(&data) >= before);
    assert_sound(&scene.path());
    assert_eq!(prune(&scene.vault, 23).deleted.packs, 0, "too early");
    let second = prune(&scene.vault, 25);
    assert_eq!(second.deleted, first.marked);
    assert!((900_000..930_000).contains(&bytes_below(&data)), "{}", bytes_below(&data));
    assert_sound(&scene.path());
    assert_holds(&scene.path(), &one, &[(b"a", &kept)]);
    assert!(prune(&scene.vault, 50).plan.is_empty(), "nothing is left to do");
    let checked = scene.vault.check(&CheckOptions { read: ReadSubset::None }, &Calm).unwrap();
    assert!(checked.notes.is_empty(), "{checked:?}");
    // And the vault goes on being used by a process that was open all the time.
    let again = capture_files(&scene.vault, &[(b"b", &gone)]).unwrap();
    assert!(again.summary.data_added > 1_000_000, "what was deleted is stored again");
    assert_holds(&scene.path(), &again, &[(b"b", &gone)]);
}

#[test]
fn a_vault_without_snapshots_becomes_empty() {
    let scene = Scene::new();
    let committed = capture_files(&scene.vault, &[(b"a", &noise(1, 300_000))]).unwrap();
    scene.vault.forget(&committed.snapshot).unwrap();
    prune(&scene.vault, 0);
    prune(&scene.vault, 25);
    assert!(files_below(&scene.path().join("data")).is_empty());
    assert!(files_below(&scene.path().join("index")).is_empty());
    assert_sound(&scene.path());
    assert!(prune(&Scene::new().vault, 0).plan.is_empty());
    restic(&scene.path(), &["rebuild-index"]);
    prune(&scene.vault, 50);
    assert!(files_below(&scene.path().join("index")).is_empty(), "an index file that says nothing goes");
}

#[test]
fn what_is_tolerated_stays_and_the_limit_of_copying_is_kept() {
    let scene = Scene::new();
    // Many files by turns, so that packs hold some of both, however the session shares them out.
    let files: Vec<(Vec<u8>, Vec<u8>)> =
        (0..80).map(|file| (format!("{file:02}").into_bytes(), noise(file, 10_000))).collect();
    let all: Vec<(&[u8], &[u8])> = files.iter().map(|(name, content)| (&name[..], &content[..])).collect();
    let kept: Vec<_> = all.iter().enumerate().filter(|(file, _)| file % 4 != 0).map(|(_, file)| *file).collect();
    let both = capture_files(&scene.vault, &all).unwrap();
    capture_files(&scene.vault, &kept).unwrap();
    scene.vault.forget(&both.snapshot).unwrap();
    let tolerant = PruneOptions { tolerated_unused: 0.9, ..hours(0) };
    let plan = scene.vault.plan_prune(&tolerant, &Calm).unwrap();
    assert!(plan.repack.packs == 0 && plan.unused_bytes > 190_000, "{plan}");
    let limited = PruneOptions { max_repack_bytes: Some(1000), ..hours(0) };
    let plan = scene.vault.plan_prune(&limited, &Calm).unwrap();
    assert!(plan.copied_bytes <= 1000, "{plan}");
    let plan = scene.vault.plan_prune(&hours(0), &Calm).unwrap();
    assert!(plan.copied_bytes > 10_000, "{plan}");
}

#[test]
fn a_marked_pack_is_read_but_never_taken_for_stored_and_comes_back_when_it_is_needed() {
    let scene = Scene::new();
    let content = noise(1, 700_000);
    let first = capture_files(&scene.vault, &[(b"a", &content)]).unwrap();
    let file = scene.path().join("snapshots").join(first.snapshot.to_hex());
    let snapshot = std::fs::read(&file).unwrap();
    scene.vault.forget(&first.snapshot).unwrap();
    prune(&scene.vault, 0);
    // The snapshot comes back, as one does that was written while the prune ran and crashed.
    std::fs::write(&file, snapshot).unwrap();
    assert_holds(&scene.path(), &first, &[(b"a", &content)]);
    let checked = scene.vault.check(&CheckOptions { read: ReadSubset::All }, &Calm).unwrap();
    assert!(
        checked.is_sound() && checked.notes.iter().any(|note| note.contains("lists these packs again")),
        "{checked:?}"
    );
    let stored = capture_files(&scene.reopened(), &[(b"b", &content)]).unwrap();
    assert_eq!(
        stored.summary.data_added,
        content.len() as u64 + tree_bytes(&stored),
        "marked packs hold nothing for captures"
    );
    let report = prune(&scene.vault, 30);
    assert!(report.recovered == 0 && report.deleted.packs > 0 || report.recovered > 0, "{report:?}");
    assert_sound(&scene.path());
    assert_holds(&scene.path(), &first, &[(b"a", &content)]);
}

fn tree_bytes(committed: &Committed) -> u64 {
    // One directory with one file: its tree is all that is no data.
    committed.summary.data_added - 700_000
}

#[test]
fn a_marked_pack_that_is_needed_again_is_not_deleted() {
    let scene = Scene::new();
    let content = noise(1, 700_000);
    let first = capture_files(&scene.vault, &[(b"a", &content)]).unwrap();
    let file = scene.path().join("snapshots").join(first.snapshot.to_hex());
    let snapshot = std::fs::read(&file).unwrap();
    scene.vault.forget(&first.snapshot).unwrap();
    prune(&scene.vault, 0);
    std::fs::write(&file, snapshot).unwrap();
    scene.vault.secure(&scene.vault.snapshot(&first.snapshot).unwrap(), &|| false).unwrap();
    assert_sound(&scene.path());
    let report = prune(&scene.vault, 30);
    assert_eq!((report.deleted.packs, report.plan.recover.packs), (0, 0), "it was listed again already");
    assert!(report.plan.dropped_marks > 0);
    prune(&scene.vault, 60);
    assert_sound(&scene.path());
    assert_holds(&scene.path(), &first, &[(b"a", &content)]);
}

#[test]
fn packs_of_a_crashed_writer_are_marked_and_deleted_later() {
    let scene = Scene::new();
    let kept = capture_files(&scene.vault, &[(b"a", b"kept")]).unwrap();
    let capture = begin(&scene.vault, None);
    stream(&capture, &noise(3, 500_000), CONTENT_DEFINED).unwrap();
    let before = files_below(&scene.path().join("index"));
    capture.abandon().unwrap();
    for index in files_below(&scene.path().join("index")).iter().filter(|path| !before.contains(path)) {
        std::fs::remove_file(index).unwrap();
    }
    let garbage = b"no pack at all";
    let name = crate::Id::of(garbage).to_hex();
    std::fs::create_dir_all(scene.path().join("data").join(&name[..2])).unwrap();
    std::fs::write(scene.path().join("data").join(&name[..2]).join(&name), garbage).unwrap();
    let first = prune(&scene.reopened(), 0);
    assert!(first.marked.packs >= 2 && first.deleted.packs == 0);
    assert_sound(&scene.path());
    assert_eq!(prune(&scene.vault, 25).deleted, first.marked);
    assert_eq!(files_below(&scene.path().join("data")).len(), 2);
    assert_holds(&scene.path(), &kept, &[(b"a", b"kept")]);
}

#[test]
fn many_small_packs_and_index_files_are_joined() {
    let scene = Scene::new();
    let content: Vec<Vec<u8>> = (0..66).map(|seed| noise(seed, 3000)).collect();
    let kept: Vec<_> = content.iter().map(|content| capture_files(&scene.vault, &[(b"f", content)]).unwrap()).collect();
    prune(&scene.vault, 0);
    prune(&scene.vault, 25);
    assert_eq!(files_below(&scene.path().join("data")).len(), 2);
    assert_eq!(files_below(&scene.path().join("index")).len(), 1);
    assert_sound(&scene.path());
    let vault = scene.reopened();
    for (committed, content) in kept.iter().zip(&content) {
        assert_eq!(&read_all(&reader(&vault, committed), &[b"f"]).unwrap(), content);
    }
}

#[test]
fn nothing_is_pruned_when_it_cannot_be_told_what_is_needed() {
    use std::os::unix::fs::PermissionsExt;
    for kind in ["snapshots", "index", "data"] {
        let scene = Scene::new();
        let gone = capture_files(&scene.vault, &[(b"a", &noise(1, 200_000))]).unwrap();
        capture_files(&scene.vault, &[(b"b", &noise(2, 200_000))]).unwrap();
        scene.vault.forget(&gone.snapshot).unwrap();
        for path in files_below(&scene.path().join(kind)) {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::fs::write(&path, b"garbage").unwrap();
        }
        let before = files_below(&scene.path());
        let error = scene.reopened().prune(&hours(0), &Calm).unwrap_err();
        assert_eq!(error.kind(), &VaultErrorKind::Damaged, "{kind}: {error}");
        assert!(error.sentence().contains("nothing was") && error.hint().is_some(), "{error}");
        assert_eq!(files_below(&scene.path()), before);
    }
}

#[test]
fn a_prune_waits_for_strangers_and_keeps_them_out() {
    let scene = Scene::new();
    let gone = capture_files(&scene.vault, &[(b"a", &noise(1, 200_000))]).unwrap();
    scene.vault.forget(&gone.snapshot).unwrap();
    let stranger = scene.opened_by("elsewhere");
    let held = stranger.lock(LockMode::Shared, Duration::ZERO).unwrap();
    let refused = scene.vault.prune(&hours(0), &Calm).unwrap_err();
    assert!(matches!(refused.kind(), VaultErrorKind::Locked { .. }));
    held.release().unwrap();
    let path = scene.path();
    let meddling = Meddling::new("prune index written", || {
        assert!(stranger.lock(LockMode::Shared, Duration::ZERO).is_err());
        let mut restic = std::process::Command::new("restic");
        restic.args(["--no-cache", "-r", path.to_str().unwrap(), "prune"]).env("RESTIC_PASSWORD", PASSWORD);
        assert!(!restic.output().unwrap().status.success(), "the stock restic must be kept out");
    });
    scene.vault.prune(&hours(0), &meddling).unwrap();
    assert!(meddling.act.lock().unwrap().is_none(), "the place was passed");
    assert!(scene.vault.locks().unwrap().is_empty());
}

#[test]
fn the_stock_restic_prunes_what_we_have_marked_and_its_marks_are_dropped() {
    let scene = Scene::new();
    let gone = capture_files(&scene.vault, &[(b"a", &noise(1, 400_000))]).unwrap();
    let kept = capture_files(&scene.vault, &[(b"b", b"kept")]).unwrap();
    scene.vault.forget(&gone.snapshot).unwrap();
    let marked = prune(&scene.vault, 0).marked;
    assert!(marked.packs > 0);
    restic(&scene.path(), &["prune"]);
    let report = prune(&scene.vault, 1);
    assert_eq!((report.plan.dropped_marks, report.deleted.packs), (marked.packs, 0));
    let checked = scene.vault.check(&CheckOptions { read: ReadSubset::All }, &Calm).unwrap();
    assert!(checked.is_sound() && checked.notes.is_empty(), "{checked:?}");
    assert_sound(&scene.path());
    assert_holds(&scene.path(), &kept, &[(b"b", b"kept")]);
}

#[test]
fn a_cancelled_prune_changes_nothing() {
    let scene = Scene::new();
    let gone = capture_files(&scene.vault, &[(b"a", &noise(1, 200_000))]).unwrap();
    scene.vault.forget(&gone.snapshot).unwrap();
    let before = files_below(&scene.path());
    let error = scene.vault.prune(&hours(0), &Impatient).unwrap_err();
    assert_eq!(error.kind(), &VaultErrorKind::Cancelled);
    assert_eq!(files_below(&scene.path()), before);
}
