//! Backups that only their passcode opens.

use super::bench::{Bench, admin, contents};
use crate::domain::*;

const PASSCODE: &str = "correct horse battery";

fn secret(text: &str) -> Option<SecretText> {
    Some(SecretText::new(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_a_passcode_is_opened_by_nothing_else() {
    let bench = Bench::new().await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let mut request = bench.request(&repository);
    request.passcode = secret(PASSCODE);
    let backup = bench.back_up_as(request.clone()).await;
    let log = bench.log(backup.job).await;
    assert_eq!(backup.state, BackupState::Succeeded, "{log}");
    assert!(log.contains("first backup under this passcode") && !log.contains(PASSCODE), "{log}");
    assert!(backup.protected && backup.parts[0].manifest.is_none());

    let engine = &bench.engine;
    let vault = backup.parts[0].vault.unwrap();
    let vaults = engine.vaults(&admin()).await.unwrap();
    assert_eq!(vaults.iter().find(|found| found.id == vault).unwrap().kind, VaultKind::Passcode);
    let refused = engine.export_vault_password(&admin(), vault).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::PasscodeRequired);
    let refused = engine.open_download(&admin(), backup.parts[0].id, "x").await.err().unwrap();
    assert_eq!(refused.code, ErrorCode::PasscodeRequired);
    assert!(engine.check_passcode(&admin(), backup.id, &SecretText::new(PASSCODE)).await.unwrap());
    assert!(!engine.check_passcode(&admin(), backup.id, &SecretText::new("correct horse batterz")).await.unwrap());

    let before = contents(&bench.path("photos"));
    std::fs::write(bench.path("photos/hello.txt"), b"damaged").unwrap();
    let mut restore = bench.restore_request(&backup, RestoreInto::InPlace);
    let refused = engine.start_restore(&admin(), restore.clone()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::PasscodeRequired);
    restore.passcode = secret("correct horse batterz");
    let refused = engine.start_restore(&admin(), restore.clone()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::WrongPasscode);
    restore.passcode = secret(PASSCODE);
    let job = bench.restore(restore).await;
    assert_eq!(job.state, JobState::Succeeded, "{}", bench.log(job.id).await);
    assert_eq!(contents(&bench.path("photos")), before);

    // The same passcode again means the same vault.
    let again = bench.back_up_as(request).await;
    assert_eq!(again.parts[0].vault, Some(vault));
    assert!(!bench.log(again.job).await.contains("first backup under this passcode"));
    assert!(again.stored_size() < 20_000);
    let folders = || std::fs::read_dir(bench.path("store/p")).map_or(0, Iterator::count);
    assert_eq!(folders(), 1);
    for id in [backup.id, again.id] {
        let job = engine.delete_backup(&admin(), id, vec![]).await.unwrap();
        let job = bench.ended(job.id).await;
        assert_eq!(job.state, JobState::Succeeded, "{}", bench.log(job.id).await);
        assert!(bench.backup(id).await.is_none());
    }
    assert_eq!(folders(), 0, "the last backup takes the passcode's vault along");
    // And after that the passcode begins anew.
    let mut request = bench.request(&repository);
    request.passcode = secret(PASSCODE);
    assert_eq!(bench.back_up_as(request).await.state, BackupState::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passcode_is_nowhere_on_the_disk() {
    let bench = Bench::new().await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let mut request = bench.request(&repository);
    request.passcode = secret(PASSCODE);
    assert_eq!(bench.back_up_as(request).await.state, BackupState::Succeeded);
    for (name, bytes) in contents(bench.folder()) {
        assert!(!bytes.windows(PASSCODE.len()).any(|window| window == PASSCODE.as_bytes()), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_ends_a_job_whose_passcode_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let started = {
        let bench = Bench::at(folder.path(), |options| options.workers = 0).await;
        let source = bench.directory("photos").await;
        let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
        let mut request = bench.request(&repository);
        request.passcode = secret(PASSCODE);
        let started = bench.engine.start_backup(&admin(), request).await.unwrap();
        bench.engine.shutdown(std::time::Duration::from_secs(1)).await;
        started
    };
    let engine = crate::Engine::open(super::bench::options(folder.path())).await.unwrap();
    engine.start_workers().await.unwrap();
    let job = engine.inner().db.job(started.job.id).await.unwrap().unwrap();
    assert_eq!(job.state, JobState::Failed);
    assert!(job.failure.unwrap().sentence.contains("passcode is not kept"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_passcodes_has_to_wait_and_others_have_not() {
    let bench = Bench::new().await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let mut request = bench.request(&repository);
    request.passcode = secret(PASSCODE);
    let backup = bench.back_up_as(request).await;
    let right = SecretText::new(PASSCODE);
    let guess = async |passcode: &SecretText| bench.engine.check_passcode(&admin(), backup.id, passcode).await;
    for number in 0..10 {
        assert!(!guess(&SecretText::new(format!("guess number {number}"))).await.unwrap());
    }
    let refused = guess(&SecretText::new("guess number 10")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Throttled);
    let mut restore = bench.restore_request(&backup, RestoreInto::InPlace);
    restore.passcode = secret("guess number 11");
    assert_eq!(bench.engine.start_restore(&admin(), restore).await.unwrap_err().code, ErrorCode::Throttled);
    assert_eq!(guess(&right).await.unwrap_err().code, ErrorCode::Throttled, "else the wait would tell a right guess");
    let mut other = admin();
    other.principal.user = UserId(uuid::Uuid::now_v7());
    assert!(bench.engine.check_passcode(&other, backup.id, &right).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passcode_for_a_backup_without_one_is_not_compared_and_the_log_says_so() {
    let bench = Bench::new().await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let backup = bench.back_up(&repository).await;
    let mut restore = bench.restore_request(&backup, RestoreInto::InPlace);
    let told = async |job: &Job| bench.log(job.id).await.contains("not compared");
    let job = bench.restore(restore.clone()).await;
    assert!(job.state == JobState::Succeeded && !told(&job).await);
    restore.passcode = secret(PASSCODE);
    let job = bench.restore(restore).await;
    let log = bench.log(job.id).await;
    assert!(job.state == JobState::Succeeded && told(&job).await && !log.contains(PASSCODE), "{log}");
}
