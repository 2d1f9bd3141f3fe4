//! Stores that are away, sources that are missing, restores that died.

use super::bench::{Bench, admin, contents};
use crate::domain::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_missing_source_fails_at_once_and_says_why() {
    let bench = Bench::new().await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    std::fs::remove_dir_all(bench.path("photos")).unwrap();
    let backup = bench.back_up(&repository).await;
    let job = bench.job(backup.job).await;
    let failure = job.failure.unwrap();
    assert_eq!((backup.state, job.attempt, failure.code.as_str()), (BackupState::Failed, 1, "source_unavailable"));
    assert!(backup.parts[0].error.as_ref().unwrap().contains("photos"), "{:?}", backup.parts[0].error);
    assert!(failure.hint.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_succeeded_in_a_backup_that_failed_can_be_restored() {
    let bench = Bench::new().await;
    bench.directory("music").await;
    bench.directory("photos").await;
    let repository = bench.repository("all", SourceSelection::All).await;
    std::fs::remove_dir_all(bench.path("photos")).unwrap();
    let backup = bench.back_up(&repository).await;
    assert_eq!(backup.state, BackupState::Failed);
    let states: Vec<_> = backup.parts.iter().map(|part| (part.source_name.as_str(), part.state)).collect();
    assert_eq!(states, [("music", BackupState::Succeeded), ("photos", BackupState::Failed)]);
    let before = contents(&bench.path("music"));
    std::fs::remove_file(bench.path("music/hello.txt")).unwrap();
    let mut request = bench.restore_request(&backup, RestoreInto::InPlace);
    request.items.truncate(1);
    let job = bench.restore(request).await;
    assert_eq!(job.state, JobState::Succeeded, "{}", bench.log(job.id).await);
    assert_eq!(contents(&bench.path("music")), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_to_a_store_that_is_away_is_tried_three_times() {
    let bench = Bench::new().await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    std::fs::rename(bench.path("store"), bench.path("away")).unwrap();
    let backup = bench.back_up(&repository).await;
    let job = bench.job(backup.job).await;
    assert_eq!((backup.state, job.attempt), (BackupState::Failed, 3), "{}", bench.log(job.id).await);
    assert_eq!(job.failure.unwrap().code, "store_unavailable");
    std::fs::rename(bench.path("away"), bench.path("store")).unwrap();
    assert_eq!(bench.back_up(&repository).await.state, BackupState::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safety_backup_is_made_before_the_restore_that_wants_it() {
    let bench = Bench::new().await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let backup = bench.back_up(&repository).await;
    std::fs::write(bench.path("photos/hello.txt"), b"later").unwrap();
    let later = contents(&bench.path("photos"));
    let mut request = bench.restore_request(&backup, RestoreInto::InPlace);
    request.safety_backup = true;
    let job = bench.restore(request).await;
    assert_eq!(job.state, JobState::Succeeded, "{}", bench.log(job.id).await);
    assert_eq!(std::fs::read(bench.path("photos/hello.txt")).unwrap(), b"hello");
    let filter = BackupFilter { repository: Some(repository.id), ..BackupFilter::default() };
    let backups = bench.engine.inner().db.backups(&filter).await.unwrap();
    assert_eq!(backups.len(), 2);
    let undone = bench.restore(bench.restore_request(&backups[0], RestoreInto::InPlace)).await;
    assert_eq!(undone.state, JobState::Succeeded);
    assert_eq!(contents(&bench.path("photos")), later);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safety_backup_that_fails_leaves_the_target_untouched() {
    let bench = Bench::new().await;
    bench.directory("music").await;
    bench.directory("photos").await;
    let repository = bench.repository("all", SourceSelection::All).await;
    let backup = bench.back_up(&repository).await;
    std::fs::write(bench.path("photos/hello.txt"), b"later").unwrap();
    std::fs::remove_dir_all(bench.path("music")).unwrap();
    let mut request = bench.restore_request(&backup, RestoreInto::InPlace);
    request.items.remove(0);
    request.safety_backup = true;
    let job = bench.restore(request).await;
    assert_eq!(job.state, JobState::Failed);
    assert!(job.failure.unwrap().sentence.contains("nothing was restored"));
    assert_eq!(std::fs::read(bench.path("photos/hello.txt")).unwrap(), b"later");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_died_before_its_swap_is_cleaned_up_by_the_next_start() {
    let bench = Bench::new().await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let backup = bench.back_up(&repository).await;
    let request = bench.restore_request(&backup, RestoreInto::InPlace);
    let preview = bench.engine.preview_restore(&admin(), &request).await.unwrap();
    let (_, plan) = &preview.parts[0];
    assert!(!plan.steps.is_empty());
    let before = contents(&bench.path("photos"));
    // As a process leaves it that dies right after it began to write beside the target.
    crate::kinds::leave_in_journal(bench.engine.inner(), backup.job, None, &source.config, plan);
    for path in &plan.temporary {
        std::fs::create_dir_all(path).unwrap();
    }
    bench.engine.reconcile().await.unwrap();
    assert_eq!(contents(&bench.path("photos")), before);
    assert!(plan.temporary.iter().all(|path| !path.exists()));
    assert!(bench.log(backup.job).await.contains("had touched nothing"));
    assert_eq!(std::fs::read_dir(bench.path("data/restores")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_not_attached_twice_nor_below_another() {
    let bench = Bench::new().await;
    for (path, code) in [("store", ErrorCode::InvalidInput), ("store/below", ErrorCode::InvalidInput)] {
        let location = StoreLocation::Local { path: bench.path(path).to_str().unwrap().into() };
        let new = NewStore { name: "second".into(), location, credentials: None, is_default: false, managed: false };
        assert_eq!(bench.engine.create_store(&admin(), new).await.unwrap_err().code, code, "{path}");
    }
}
