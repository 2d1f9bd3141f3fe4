//! Backups that are deleted, or that somebody has deleted behind our back.

use std::sync::Arc;

use trivault_vault::{
    SnapshotDraft, VerifyOptions,
    backend::{FileKind, LocalRoot, StoreRoot},
};

use super::{
    bench::{Bench, admin, databases, take_back_all},
    gate::Gate,
};
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
    let snapshot = store.join("vault/snapshots").join(backup.parts[0].snapshot.as_ref().unwrap());
    let kept = bench.path("kept");
    std::fs::copy(&snapshot, &kept).unwrap();
    let vanish = || vault.remove(FileKind::Snapshot, backup.parts[0].snapshot.as_ref().unwrap()).unwrap();
    vanish();
    bench.engine.reconcile().await.unwrap();
    assert_eq!(bench.backup(backup.id).await.unwrap().state, BackupState::Lost);
    // As after a store was put back in two steps.
    std::fs::copy(&kept, &snapshot).unwrap();
    bench.engine.reconcile().await.unwrap();
    let found = bench.backup(backup.id).await.unwrap();
    assert_eq!(
        (found.state, found.parts[0].state, found.error),
        (BackupState::Succeeded, BackupState::Succeeded, None)
    );
    let restored = bench.restore(bench.restore_request(&backup, RestoreInto::InPlace)).await;
    assert_eq!(restored.state, JobState::Succeeded, "{}", bench.log(restored.id).await);

    vanish();
    bench.engine.reconcile().await.unwrap();
    let lost = bench.backup(backup.id).await.unwrap();
    assert_eq!((lost.state, lost.parts[0].state), (BackupState::Lost, BackupState::Lost));
    let refused =
        bench.engine.start_restore(&admin(), bench.restore_request(&lost, RestoreInto::InPlace)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotReady(Noun::Part));
    // The next backup does not build on what is gone.
    assert_eq!(bench.back_up(&repository).await.state, BackupState::Succeeded);
}

/// Its snapshot is gone already: until the catalogue has learnt that, nothing counts on the backup, and the one before it stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_cancelled_too_late_makes_its_backup_lost_and_keeps_no_other_ones_place() {
    for database in databases() {
        let gate = Gate::closed("removed", 1);
        let bench = Bench::with(|options| {
            options.database = database;
            options.observer = Some(gate.observer());
        })
        .await;
        let source = bench.directory("photos").await;
        let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
        let (older, newer) = (bench.back_up(&repository).await.id, bench.back_up(&repository).await.id);
        let rules = Retention { last: 1, ..Retention::everything(chrono_tz::Tz::UTC) };
        bench.engine.set_retention(&admin(), repository.id, Some(rules), false).await.unwrap();
        let job = bench.engine.delete_backup(&admin(), newer, vec![]).await.unwrap();
        gate.arrived("removed", 1, 1).await;
        bench.engine.cancel_job(&admin(), job.id).await.unwrap();
        gate.open();
        assert_eq!(bench.ended(job.id).await.state, JobState::Cancelled, "{}", bench.log(job.id).await);
        assert!(bench.engine.apply_retention(&admin(), repository.id).await.unwrap().is_empty());
        let merge = StartMerge {
            repository: repository.id,
            task: None,
            range: MergeRange::EVERYTHING,
            zone: chrono_tz::Tz::UTC,
            as_of: None,
            job_attributes: vec![],
        };
        let merge = bench.engine.start_merge(&admin(), merge).await.unwrap();
        assert_eq!(bench.ended(merge.id).await.state, JobState::Failed, "nothing is folded into what is not there");

        bench.engine.reconcile().await.unwrap();
        let lost = bench.backup(newer).await.unwrap();
        assert_eq!((lost.state, lost.parts[0].state), (BackupState::Lost, BackupState::Lost));
        let older = bench.backup(older).await.unwrap();
        assert_eq!(older.state, BackupState::Succeeded);
        let restored = bench.restore(bench.restore_request(&older, RestoreInto::InPlace)).await;
        assert_eq!(restored.state, JobState::Succeeded, "{}", bench.log(restored.id).await);
        let job = bench.engine.delete_backup(&admin(), newer, vec![]).await.unwrap();
        assert_eq!(bench.ended(job.id).await.state, JobState::Succeeded);
        assert!(bench.backup(newer).await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_cancelled_before_anything_went_lets_its_backup_count_again() {
    for database in databases() {
        let gate = Gate::closed("removing", 1);
        let bench = Bench::with(|options| {
            options.database = database;
            options.observer = Some(gate.observer());
        })
        .await;
        let source = bench.directory("photos").await;
        let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
        let backup = bench.back_up(&repository).await;
        let job = bench.engine.delete_backup(&admin(), backup.id, vec![]).await.unwrap();
        gate.arrived("removing", 1, 1).await;
        let inner = bench.engine.inner();
        // Its lease goes to somebody else, and the wish to cancel it is heard by that one.
        bench.engine.cancel_job(&admin(), job.id).await.unwrap();
        assert_eq!(take_back_all(inner, bench.engine.now()).await, 1);
        let in_use = async || bench.engine.preview_retention(&admin(), repository.id, None).await.unwrap()[0].0.in_use;
        assert_eq!(in_use().await, Some(CandidateUse::Removed));
        bench.engine.reconcile().await.unwrap();
        assert_eq!((in_use().await, bench.backup(backup.id).await.unwrap().state), (None, BackupState::Succeeded));
        gate.open();
        while !inner.work.contexts().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}
