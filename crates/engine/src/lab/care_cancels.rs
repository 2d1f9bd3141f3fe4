//! Cancelling checks and prunes: within two seconds wherever they stand, and nothing is left of them.

use std::{
    io::Read as _,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use trivault_vault::{
    LockMode, MemoryBudget, PRUNE_POINTS, Password, Vault, VaultOptions,
    backend::{FileKind, LocalRoot, StoreRoot},
};

use super::{
    bench::{Bench, admin, contents},
    gate::Gate,
};
use crate::{ManualClock, db::AuditEntry, domain::*};

const AT_MOST: Duration = Duration::from_secs(2);
/// Bytes that take longer than that to be read back.
const LARGE: u64 = 400 << 20;
const MIB: u64 = 1 << 20;

async fn vault(bench: &Bench) -> VaultId {
    bench.engine.inner().db.server_vault(bench.store.id).await.unwrap().unwrap().vault.id
}

/// Somebody else's view of the vault, as the stock restic has it.
pub(super) async fn stranger(bench: &Bench) -> Vault {
    let inner = bench.engine.inner();
    let row = inner.db.server_vault(bench.store.id).await.unwrap().unwrap();
    let store = inner.db.store_row(bench.store.id).await.unwrap().unwrap();
    let backend = inner.storage.root_of(&store).unwrap().vault(&row.vault.path).unwrap();
    let password = Password::new(inner.storage.password(&row).unwrap().expose().as_bytes());
    let options = VaultOptions::new(MemoryBudget::new(64 * MIB), "elsewhere", "somebody");
    Vault::open(backend, &password, options).unwrap()
}

/// Waits for the end of a job that was asked to stop at `asked`.
async fn stopped(bench: &Bench, id: JobId, asked: Instant) -> Job {
    let job = bench.ended(id).await;
    let took = asked.elapsed();
    assert!(took < AT_MOST, "{took:?}: {:?}\n{}", job.steps, bench.log(id).await);
    job
}

/// No lock in the vault, none in the books, no scope and no lease: the next of its kind begins at once.
async fn nothing_is_left(bench: &Bench, id: JobId) {
    let folder = LocalRoot::new(bench.path("store")).unwrap().vault("vault").unwrap();
    let locks: Vec<String> = folder.list(FileKind::Lock).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(locks, Vec::<String>::new());
    let db = &bench.engine.inner().db;
    assert_eq!(db.stale_locks().await.unwrap(), []);
    for resource in [crate::db::Resource::Care, crate::db::Resource::Vault] {
        assert_eq!(db.live_jobs_on(resource, vault(bench).await.0).await.unwrap(), []);
    }
    let job = bench.job(id).await;
    assert!(job.steps.iter().all(|step| step.state != StepState::Running), "{:?}", job.steps);
    assert!(job.finished_at.is_some() && job.failure.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_reads_ends_within_two_seconds_wherever_the_wish_is_heard_and_gives_no_verdict() {
    let bench = Bench::new().await;
    let path = bench.path("photos");
    std::fs::create_dir(&path).unwrap();
    let noise = std::fs::File::open("/dev/urandom").unwrap();
    std::io::copy(&mut noise.take(LARGE), &mut std::fs::File::create(path.join("large")).unwrap()).unwrap();
    let source = bench.source("photos", "directory", &path).await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let backup = bench.back_up(&repository).await;
    assert_eq!(backup.state, BackupState::Succeeded);
    for (what, is_here) in [
        (StartVerify::Vault { vault: vault(&bench).await, read: ReadShare::All }, true),
        (StartVerify::Repository(repository.id), true),
        (StartVerify::Backup { backup: backup.id, passcode: None }, false),
    ] {
        let shown = format!("{what:?}");
        let job = bench.engine.start_verify(&admin(), what).await.unwrap();
        bench.until(job.id, |job| job.state.is_terminal() || job.progress.bytes_read > 0).await;
        let asked = Instant::now();
        if is_here {
            bench.engine.cancel_job(&admin(), job.id).await.unwrap();
        } else {
            // As another process on the same database does it.
            let audit = AuditEntry::of(&admin(), bench.engine.now(), "job.cancel", None);
            bench.engine.inner().db.cancel_job(job.id, bench.engine.now(), &audit).await.unwrap();
        }
        let job = stopped(&bench, job.id, asked).await;
        assert_eq!(job.state, JobState::Cancelled, "{shown}: {}", bench.log(job.id).await);
        nothing_is_left(&bench, job.id).await;
    }
    let status = bench.engine.verify_status(&admin()).await.unwrap();
    assert!(status.iter().all(|it| it.concluded_at.is_none() && it.damaged == 0), "{status:?}");
    assert_eq!(bench.engine.damage_of(&[backup.id]).await.unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_and_a_prune_that_wait_for_a_strangers_lock_are_cancelled_at_once() {
    let bench = Bench::new().await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    assert_eq!(bench.back_up(&repository).await.state, BackupState::Succeeded);
    let id = vault(&bench).await;
    let held = stranger(&bench).await.lock(LockMode::Exclusive, Duration::ZERO).unwrap();
    for is_prune in [false, true] {
        let job = if is_prune {
            let request = StartPrune { of: PruneOf::Vault(id), task: None, job_attributes: vec![] };
            bench.engine.start_prune(&admin(), request).await.unwrap()
        } else {
            let request = StartVerify::Vault { vault: id, read: ReadShare::None };
            bench.engine.start_verify(&admin(), request).await.unwrap()
        };
        let is_there = |job: &Job| job.steps.iter().any(|step| step.name == "prune" || step.name == "check");
        bench.until(job.id, |job| job.state.is_terminal() || is_there(job)).await;
        let asked = Instant::now();
        bench.engine.cancel_job(&admin(), job.id).await.unwrap();
        let job = stopped(&bench, job.id, asked).await;
        assert_eq!(job.state, JobState::Cancelled, "{}", bench.log(job.id).await);
    }
    held.release().unwrap();
    let request = StartVerify::Vault { vault: id, read: ReadShare::All };
    let job = bench.engine.start_verify(&admin(), request).await.unwrap();
    assert_eq!(bench.ended(job.id).await.state, JobState::Succeeded, "{}", bench.log(job.id).await);
    nothing_is_left(&bench, job.id).await;
}

/// Two backups, of which the first one is deleted and leaves a file of its own behind.
async fn something_to_prune(bench: &Bench) -> Backup {
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    std::fs::write(bench.path("photos/large"), trivault_testkit::trees::noise(9, 700_000)).unwrap();
    let first = bench.back_up(&repository).await;
    std::fs::remove_file(bench.path("photos/large")).unwrap();
    let second = bench.back_up(&repository).await;
    let job = bench.engine.delete_backup(&admin(), first.id, vec![]).await.unwrap();
    assert_eq!(bench.ended(job.id).await.state, JobState::Succeeded);
    second
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_is_cancelled_at_each_of_its_points_and_the_next_one_does_its_work() {
    for (place, point) in ["begun", "prune"].into_iter().chain(PRUNE_POINTS).enumerate() {
        let gate = Gate::closed(point, 1);
        let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
        let folder = tempfile::tempdir().unwrap();
        let kept = {
            let bench = Bench::at(folder.path(), |options| options.clock = clock.clone()).await;
            let kept = something_to_prune(&bench).await;
            bench.engine.shutdown(Duration::from_secs(5)).await;
            kept
        };
        let (own, observer) = (clock.clone(), gate.observer());
        let bench = Bench::again(folder.path(), move |options| {
            options.clock = own;
            options.observer = Some(observer);
            options.care.prune_every = None;
            options.care.structure_every = None;
            options.care.data_every = None;
            options.care.restore_every = None;
        })
        .await;
        let request = || async {
            let of = PruneOf::Vault(vault(&bench).await);
            StartPrune { of, task: None, job_attributes: vec![] }
        };
        let job = bench.engine.start_prune(&admin(), request().await).await.unwrap();
        gate.arrived(point, 1, 1).await;
        bench.engine.cancel_job(&admin(), job.id).await.unwrap();
        let asked = Instant::now();
        gate.open();
        let job = stopped(&bench, job.id, asked).await;
        // From the moment that index files go there is nothing more to stop: the rest is done before anybody could look.
        let expected = if place < 5 { JobState::Cancelled } else { JobState::Succeeded };
        assert_eq!(job.state, expected, "{point}: {}", bench.log(job.id).await);
        nothing_is_left(&bench, job.id).await;

        clock.advance(TimeDelta::hours(25));
        let job = bench.engine.start_prune(&admin(), request().await).await.unwrap();
        assert_eq!(bench.ended(job.id).await.state, JobState::Succeeded, "{point}: {}", bench.log(job.id).await);
        let check = StartVerify::Vault { vault: vault(&bench).await, read: ReadShare::All };
        let check = bench.engine.start_verify(&admin(), check).await.unwrap();
        assert_eq!(bench.ended(check.id).await.state, JobState::Succeeded, "{point}: {}", bench.log(check.id).await);
        let expected = contents(&bench.path("photos"));
        std::fs::remove_dir_all(bench.path("photos")).unwrap();
        let restored = bench.restore(bench.restore_request(&kept, RestoreInto::InPlace)).await;
        assert_eq!(restored.state, JobState::Succeeded, "{point}: {}", bench.log(restored.id).await);
        assert_eq!(contents(&bench.path("photos")), expected, "{point}");
        bench.engine.shutdown(Duration::from_secs(5)).await;
    }
}
