//! Backups that are deleted, or that somebody has deleted behind our back.

use std::sync::Arc;

use trivault_vault::{
    SnapshotDraft, VerifyOptions,
    backend::{FileKind, LocalRoot, StoreRoot},
};

use super::bench::{Bench, admin};
use crate::{
    capture::{Tags, VaultEvents},
    domain::*,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_backup_is_gone_from_vault_and_catalogue_and_its_job_stays() {
    let bench = Bench::new().await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let (first, second) = (bench.back_up(&repository).await, bench.back_up(&repository).await);
    let job = bench.engine.delete_backup(&admin(), first.id, vec![]).await.unwrap();
    let job = bench.ended(job.id).await;
    assert_eq!((job.state, job.kind), (JobState::Succeeded, JobKind::Forget), "{}", bench.log(job.id).await);
    assert!(bench.backup(first.id).await.is_none());
    let vault = LocalRoot::new(bench.path("store")).unwrap().vault("vault").unwrap();
    let names: Vec<String> = vault.list(FileKind::Snapshot).unwrap().into_iter().map(|entry| entry.name).collect();
    assert!(!names.contains(first.parts[0].snapshot.as_ref().unwrap()));
    assert!(names.contains(second.parts[0].snapshot.as_ref().unwrap()));
    let restored = bench.restore(bench.restore_request(&second, RestoreInto::InPlace)).await;
    assert_eq!(restored.state, JobState::Succeeded);
    let refused = bench.engine.delete_backup(&admin(), first.id, vec![]).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotFound(Noun::Backup));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_a_dead_attempt_left_is_forgotten_and_those_of_others_stay() {
    let bench = Bench::new().await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let backup = bench.back_up(&repository).await;
    let inner = bench.engine.inner();
    let row = inner.db.vault_row(backup.parts[0].vault.unwrap()).await.unwrap().unwrap();
    let store = inner.db.store_row(row.vault.store).await.unwrap().unwrap();
    let vault = inner.storage.server_vault(&store, &row).unwrap();
    let write = |host: &str, tags: Vec<String>| {
        let draft = SnapshotDraft {
            time: bench.engine.now(),
            hostname: host.into(),
            username: "test".into(),
            paths: vec!["/x".into()],
            tags,
            program_version: "test".into(),
        };
        let events = VaultEvents { stored: Arc::new(|_| {}), is_cancelled: Arc::new(|| false) };
        let capture = vault.capture(draft, None, Arc::new(events)).unwrap();
        let root = capture.directory().finish().unwrap();
        capture.commit(root, &mut || Ok(()), VerifyOptions::default()).unwrap().snapshot
    };
    let tag = Tags::new().with("part", backup.parts[0].id).with("attempt", 7).to_tag();
    let unknown = Tags::new().with("part", uuid::Uuid::now_v7()).to_tag();
    let left = write("photos", vec![tag]);
    let kept = [write("elsewhere", vec![]), write("photos", vec![unknown])];
    bench.engine.reconcile().await.unwrap();
    assert!(vault.snapshot(&left).is_err());
    for snapshot in kept {
        vault.snapshot(&snapshot).unwrap();
    }
    let restored = bench.restore(bench.restore_request(&backup, RestoreInto::InPlace)).await;
    assert_eq!(restored.state, JobState::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_vanished_makes_its_backup_lost_and_an_absent_store_does_not() {
    let bench = Bench::new().await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let backup = bench.back_up(&repository).await;
    let (store, away) = (bench.path("store"), bench.path("away"));
    std::fs::rename(&store, &away).unwrap();
    std::fs::create_dir(&store).unwrap();
    // Its failure to reach the store is not what this test is about.
    let _ = bench.engine.reconcile().await;
    assert_eq!(bench.backup(backup.id).await.unwrap().state, BackupState::Succeeded, "an unmounted disk loses nothing");
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::rename(&away, &store).unwrap();

    let vault = LocalRoot::new(&store).unwrap().vault("vault").unwrap();
    vault.remove(FileKind::Snapshot, backup.parts[0].snapshot.as_ref().unwrap()).unwrap();
    bench.engine.reconcile().await.unwrap();
    let lost = bench.backup(backup.id).await.unwrap();
    assert_eq!((lost.state, lost.parts[0].state), (BackupState::Lost, BackupState::Lost));
    let refused =
        bench.engine.start_restore(&admin(), bench.restore_request(&lost, RestoreInto::InPlace)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotReady(Noun::Part));
    // The next backup does not build on what is gone.
    assert_eq!(bench.back_up(&repository).await.state, BackupState::Succeeded);
}
