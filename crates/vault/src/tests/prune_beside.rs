//! Captures that run while prunes do.

use super::{
    prune::{assert_holds, assert_sound, hours, prune},
    scene::*,
};
use crate::{Capture, Id, MaintenanceEvents, PRUNE_POINTS, PruneOptions, Vault, VaultErrorKind};
use chrono::TimeDelta;
use std::sync::atomic::{AtomicBool, Ordering};

/// A vault whose only snapshot is forgotten, and a capture that relies on what it has stored.
struct Open {
    scene: Scene,
    content: Vec<u8>,
    capture: Capture,
    root: Id,
}

fn open_capture(by: impl Fn(&Scene) -> Vault) -> Open {
    let scene = Scene::new();
    let content = noise(1, 600_000);
    let gone = capture_files(&scene.vault, &[(b"a", &content), (b"b", &noise(2, 300_000))]).unwrap();
    let capture = begin(&by(&scene), None);
    let record = stream(&capture, &content, CONTENT_DEFINED).unwrap();
    let mut root = capture.directory();
    root.add_file(b"a", &file_meta(), &record).unwrap();
    let root = root.finish().unwrap();
    scene.vault.forget(&gone.snapshot).unwrap();
    Open { scene, content, capture, root }
}

/// This process' own vault, and what could be another node's.
fn places() -> [fn(&Scene) -> Vault; 2] {
    [|scene| scene.vault.clone(), Scene::reopened]
}

#[test]
fn a_capture_that_was_open_across_a_prune_lists_again_what_it_needs() {
    for by in places() {
        let Open { scene, content, capture, root } = open_capture(by);
        prune(&scene.vault, 0);
        let committed = commit(capture, root).unwrap();
        assert_eq!(committed.summary.data_blobs, 0, "it stored nothing itself");
        assert_sound(&scene.path());
        prune(&scene.vault, 1);
        prune(&scene.vault, 30);
        assert_sound(&scene.path());
        assert_holds(&scene.path(), &committed, &[(b"a", &content)]);
    }
}

#[test]
fn a_capture_may_be_committed_at_any_moment_of_a_prune() {
    for point in PRUNE_POINTS {
        for by in places() {
            let Open { scene, content, capture, root } = open_capture(by);
            let mut committed = None;
            let meddling = Meddling::new(point, || committed = Some(commit(capture, root)));
            scene.reopened().prune(&hours(0), &meddling).unwrap();
            drop(meddling);
            let committed = committed.expect("the place was passed").unwrap();
            assert_sound(&scene.path());
            prune(&scene.vault, 1);
            prune(&scene.vault, 30);
            assert_sound(&scene.path());
            assert_holds(&scene.path(), &committed, &[(b"a", &content)]);
        }
    }
}

/// A capture that is committed at one point of a prune, and the wish to stop from another on.
struct Stopping<'a> {
    meddling: Meddling<'a>,
    at: &'static str,
    stopped: AtomicBool,
}

impl MaintenanceEvents for Stopping<'_> {
    fn is_cancelled(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
    fn progress(&self, _done_bytes: u64, _total_bytes: u64) {}
    fn point(&self, name: &str) {
        self.meddling.point(name);
        self.stopped.fetch_or(name == self.at, Ordering::SeqCst);
    }
}

#[test]
fn a_prune_that_is_cancelled_at_any_moment_leaves_the_vault_whole_and_no_lock() {
    for (place, commit_at) in PRUNE_POINTS.into_iter().enumerate() {
        for stop_at in PRUNE_POINTS.into_iter().skip(place) {
            let Open { scene, content, capture, root } = open_capture(|scene| scene.vault.clone());
            let mut committed = None;
            let meddling = Meddling::new(commit_at, || committed = Some(commit(capture, root)));
            let stopping = Stopping { meddling, at: stop_at, stopped: AtomicBool::new(false) };
            let outcome = scene.reopened().prune(&hours(0), &stopping);
            if let Err(error) = &outcome {
                assert_eq!(error.kind(), &VaultErrorKind::Cancelled, "{commit_at}, {stop_at}");
            }
            // What was still to be done when it was asked to stop is left, unless it is done all at once.
            assert_eq!(outcome.is_err(), PRUNE_POINTS[..3].contains(&stop_at), "{commit_at}, {stop_at}");
            drop(stopping);
            let committed = committed.expect("the place was passed").unwrap();
            assert!(scene.vault.locks().unwrap().is_empty(), "{commit_at}, {stop_at}");
            assert_sound(&scene.path());
            prune(&scene.vault, 1);
            prune(&scene.vault, 30);
            assert_sound(&scene.path());
            assert_holds(&scene.path(), &committed, &[(b"a", &content)]);
        }
    }
}

#[test]
fn a_capture_that_is_older_than_a_mark_keeps_the_mark_from_being_due() {
    let Open { scene, content, capture, root } = open_capture(|scene| scene.vault.clone());
    prune(&scene.vault, 0);
    let began = hours(0).now - TimeDelta::hours(1);
    let report = scene.reopened().prune(&PruneOptions { oldest_writer: Some(began), ..hours(100) }, &Calm).unwrap();
    assert_eq!(report.deleted.packs, 0);
    let committed = commit(capture, root).unwrap();
    assert_holds(&scene.path(), &committed, &[(b"a", &content)]);
    assert_sound(&scene.path());
}

#[test]
fn even_a_capture_that_the_deleting_prune_was_not_told_of_ends_whole_or_without_a_snapshot() {
    for point in PRUNE_POINTS {
        let Open { scene, content, capture, root } = open_capture(Scene::reopened);
        prune(&scene.vault, 0);
        let mut outcome = None;
        let meddling = Meddling::new(point, || outcome = Some(commit(capture, root)));
        scene.vault.prune(&hours(100), &meddling).unwrap();
        drop(meddling);
        match outcome.expect("the place was passed") {
            Ok(committed) => assert_holds(&scene.path(), &committed, &[(b"a", &content)]),
            Err(_) => assert!(scene.vault.snapshots().unwrap().snapshots.is_empty()),
        }
        assert_sound(&scene.path());
        prune(&scene.vault, 101);
        assert_sound(&scene.path());
    }
}

#[test]
fn a_reader_that_was_open_before_a_prune_reads_on() {
    let scene = Scene::new();
    let (kept, gone) = (noise(1, 900_000), noise(2, 700_000));
    let both = capture_files(&scene.vault, &[(b"a", &kept), (b"b", &gone)]).unwrap();
    let one = capture_files(&scene.vault, &[(b"a", &kept)]).unwrap();
    let other = scene.reopened();
    let (reader_of_kept, reader_of_gone) = (reader(&other, &one), reader(&other, &both));
    scene.vault.forget(&both.snapshot).unwrap();
    prune(&scene.vault, 0);
    assert_eq!(read_all(&reader_of_kept, &[b"a"]).unwrap(), kept);
    assert_eq!(read_all(&reader_of_gone, &[b"b"]).unwrap(), gone, "its bytes stay a day");
}

#[test]
fn a_vault_that_was_open_all_the_time_elsewhere_finds_what_prunes_have_moved() {
    let scene = Scene::new();
    let (kept, gone) = (noise(1, 900_000), noise(2, 700_000));
    let both = capture_files(&scene.vault, &[(b"a", &kept), (b"b", &gone)]).unwrap();
    let one = capture_files(&scene.vault, &[(b"a", &kept), (b"c", b"1")]).unwrap();
    let other = scene.reopened();
    let reader_from_before = reader(&other, &one);
    scene.vault.forget(&both.snapshot).unwrap();
    prune(&scene.vault, 0);
    assert!(prune(&scene.vault, 25).deleted.packs > 0);
    assert_eq!(read_all(&reader_from_before, &[b"a"]).unwrap(), kept);
    assert_eq!(read_all(&reader(&other, &one), &[b"c"]).unwrap(), b"1");
}
