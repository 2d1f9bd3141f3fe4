//! Several captures at once, cancelled ones, small budgets.

use super::scene::*;
use crate::{MemoryBudget, Password, Vault, VaultErrorKind, VaultOptions, VerifyOptions};
use std::sync::{Arc, Barrier, atomic::Ordering};

#[test]
fn two_captures_at_once_store_shared_content_once() {
    let scene = Scene::new();
    let content = noise(1, 6_000_000);
    let barrier = Barrier::new(2);
    let committed: Vec<_> = std::thread::scope(|scope| {
        let run = |name: &'static [u8]| {
            let (scene, content, barrier) = (&scene, &content, &barrier);
            scope.spawn(move || {
                barrier.wait();
                capture_files(&scene.vault, &[(name, content)]).unwrap()
            })
        };
        [run(b"one"), run(b"two")].map(|thread| thread.join().unwrap()).into()
    });
    let added: u64 = committed.iter().map(|committed| committed.summary.data_added).sum();
    assert!(added < 6_200_000, "{added} bytes were stored for 6,000,000");
    assert_eq!(read_all(&reader(&scene.vault, &committed[0]), &[b"one"]).unwrap(), content);
    assert_eq!(read_all(&reader(&scene.reopened(), &committed[1]), &[b"two"]).unwrap(), content);
}

#[test]
fn several_streams_of_one_capture_may_be_written_on_several_threads() {
    let scene = Scene::new();
    let capture = begin(&scene.vault, None);
    let contents: Vec<Vec<u8>> = (0..4).map(|seed| rows(seed, 1_000_000)).collect();
    let records: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = contents
            .iter()
            .map(|content| {
                let mut writer = capture.file(CONTENT_DEFINED).unwrap();
                scope.spawn(move || {
                    content.chunks(5000).for_each(|piece| writer.write(piece).unwrap());
                    writer.finish().unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut root = capture.directory();
    for (number, record) in records.iter().enumerate() {
        root.add_file(format!("{number}").as_bytes(), &file_meta(), record).unwrap();
    }
    let root = root.finish().unwrap();
    let committed = commit(capture, root).unwrap();
    let reader = reader(&scene.vault, &committed);
    for (number, content) in contents.iter().enumerate() {
        assert_eq!(&read_all(&reader, &[format!("{number}").as_bytes()]).unwrap(), content);
    }
}

#[test]
fn a_cancelled_capture_leaves_the_vault_good_for_one_that_shares_its_blobs() {
    let scene = Scene::new();
    let content = noise(2, 4_000_000);
    let events = Arc::new(Events::default());
    let cancelled = scene.vault.capture(draft(), None, events.clone()).unwrap();
    let other = begin(&scene.vault, None);
    let record = stream(&cancelled, &content, CONTENT_DEFINED).unwrap();
    let shared = stream(&other, &content, CONTENT_DEFINED).unwrap();
    assert_eq!(record.content, shared.content);
    events.cancelled.store(true, Ordering::Relaxed);
    assert_eq!(stream(&cancelled, b"more", CONTENT_DEFINED).unwrap_err().kind(), &VaultErrorKind::Cancelled);
    drop(cancelled);
    let mut root = other.directory();
    root.add_file(b"f", &file_meta(), &shared).unwrap();
    let root = root.finish().unwrap();
    let committed = commit(other, root).unwrap();
    assert_eq!(committed.summary.data_blobs, 0, "all blobs came from the cancelled capture");
    assert_eq!(read_all(&reader(&scene.reopened(), &committed), &[b"f"]).unwrap(), content);
    assert_eq!(scene.vault.snapshots().unwrap().snapshots.len(), 1);
}

#[test]
fn an_abandoned_capture_spares_the_retry_its_bytes_and_a_dropped_one_does_no_harm() {
    let scene = Scene::new();
    let content = noise(3, 2_000_000);
    let capture = begin(&scene.vault, None);
    stream(&capture, &content, CONTENT_DEFINED).unwrap();
    drop(capture);
    assert_eq!(files_below(&scene.path().join("index")).len(), 0, "nothing had reached the store");
    let capture = begin(&scene.vault, None);
    stream(&capture, &content, CONTENT_DEFINED).unwrap();
    capture.abandon().unwrap();
    let retry = capture_files(&scene.reopened(), &[(b"f", &content)]).unwrap();
    assert_eq!(retry.summary.data_blobs, 0);
    assert_eq!(read_all(&reader(&scene.vault, &retry), &[b"f"]).unwrap(), content);
}

#[test]
fn full_packs_of_a_dropped_capture_are_found_by_the_retry() {
    let scene = Scene::new();
    let content = noise(9, 60_000_000);
    let capture = begin(&scene.vault, None);
    stream(&capture, &content, CONTENT_DEFINED).unwrap();
    while files_below(&scene.path().join("data")).is_empty() {
        std::thread::yield_now();
    }
    drop(capture);
    assert!(files_below(&scene.path()).iter().all(|path| !path.file_name().unwrap().to_string_lossy().contains("tmp")));
    let retry = capture_files(&scene.reopened(), &[(b"f", &content)]).unwrap();
    assert!(retry.summary.data_added < 50_000_000, "{} bytes were stored again", retry.summary.data_added);
    assert_eq!(read_all(&reader(&scene.vault, &retry), &[b"f"]).unwrap(), content);
}

#[test]
fn a_crash_between_packs_and_index_costs_only_storing_again() {
    let scene = Scene::new();
    let content = noise(4, 1_000_000);
    let capture = begin(&scene.vault, None);
    stream(&capture, &content, CONTENT_DEFINED).unwrap();
    capture.abandon().unwrap();
    for index in files_below(&scene.path().join("index")) {
        std::fs::remove_file(index).unwrap();
    }
    // The open vault notices that its index has vanished, and a new process never saw it.
    for (name, vault) in [(b"a", scene.vault.clone()), (b"b", scene.reopened())] {
        let committed = capture_files(&vault, &[(name, &content)]).unwrap();
        assert_eq!(read_all(&reader(&scene.reopened(), &committed), &[name]).unwrap(), content);
    }
}

#[test]
fn a_budget_smaller_than_one_pack_slows_down_but_never_stops() {
    let scene = Scene::new();
    let budget = MemoryBudget::new(300_000);
    let options = VaultOptions { budget: Arc::clone(&budget), ..options() };
    let vault = Vault::open(backend(&scene.path()), &Password::new(PASSWORD), options).unwrap();
    let content = noise(5, 2_000_000);
    std::thread::scope(|scope| {
        for name in [b"a", b"b"] {
            let (vault, content) = (&vault, &content);
            scope.spawn(move || {
                let committed = capture_files(vault, &[(name, content)]).unwrap();
                assert_eq!(&read_all(&reader(vault, &committed), &[name]).unwrap(), content);
            });
        }
    });
    drop(vault);
    assert_eq!(budget.held(), 0);
}

#[test]
fn everything_drawn_from_the_budget_is_given_back() {
    let scene = Scene::new();
    let committed = capture_files(&scene.vault, &[(b"f", &noise(6, 5_000_000))]).unwrap();
    read_all(&reader(&scene.vault, &committed), &[b"f"]).unwrap();
    let budget = Arc::clone(scene.vault.budget());
    drop(scene);
    assert_eq!(budget.held(), 0);
}

#[test]
fn a_store_that_fails_fails_the_capture_and_the_next_one_works() {
    let scene = Scene::new();
    let data = scene.path().join("data");
    std::fs::remove_dir_all(&data).ok();
    std::fs::write(&data, b"in the way").unwrap();
    let began = scene.vault.capture(draft(), None, Arc::new(Events::default()));
    let failed = began.and_then(|capture| {
        stream(&capture, &noise(7, 3_000_000), CONTENT_DEFINED)?;
        let root = capture.directory().finish()?;
        capture.commit(root, &mut || Ok(()), VerifyOptions::default())
    });
    assert!(failed.is_err());
    std::fs::remove_file(&data).unwrap();
    capture_files(&scene.vault, &[(b"f", b"works again")]).unwrap();
}

#[test]
fn captures_that_come_go_fail_and_share_blobs_under_a_tight_budget_leave_only_whole_snapshots() {
    let scene = Scene::new();
    let budget = MemoryBudget::new(3 << 20);
    let options = VaultOptions { budget: Arc::clone(&budget), ..options() };
    let vault = Vault::open(backend(&scene.path()), &Password::new(PASSWORD), options).unwrap();
    let shared = noise(1, 1_000_000);
    let content = |thread: u64, round: u64| [&shared[..], &noise(10 * thread + round + 2, 300_000)].concat();
    let committed: Vec<_> = std::thread::scope(|scope| {
        let run = |thread: u64| {
            let (vault, content) = (&vault, &content);
            scope.spawn(move || {
                let mut committed = Vec::new();
                for round in 0..6 {
                    let events = Arc::new(Events::default());
                    let capture = vault.capture(draft(), None, events.clone()).unwrap();
                    let record = stream(&capture, &content(thread, round), CONTENT_DEFINED).unwrap();
                    match (thread + round) % 4 {
                        0 => drop(capture),
                        1 => capture.abandon().unwrap(),
                        _ => {
                            let mut root = capture.directory();
                            root.add_file(b"f", &file_meta(), &record).unwrap();
                            let root = root.finish().unwrap();
                            committed.push((thread, round, commit(capture, root).unwrap()));
                        }
                    }
                }
                committed
            })
        };
        let threads: Vec<_> = (0..4).map(run).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(vault.snapshots().unwrap().snapshots.len(), committed.len());
    drop(vault);
    // The writer's threads give back what they hold when they end, each on its own.
    let began = std::time::Instant::now();
    while budget.held() > 0 {
        assert!(began.elapsed() < std::time::Duration::from_secs(20), "{} bytes were never given back", budget.held());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let vault = scene.reopened();
    for (thread, round, committed) in committed {
        assert_eq!(read_all(&reader(&vault, &committed), &[b"f"]).unwrap(), content(thread, round));
    }
}
