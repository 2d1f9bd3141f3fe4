//! Runs that are cancelled, lose their lease, or are stopped.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use trivault_vault::backend::{FileKind, LocalRoot, StoreRoot};

use super::{
    bench::{Bench, admin, databases, options, take_back_all},
    gate::Gate,
};
use crate::{Engine, db::AuditEntry, domain::*};

/// Snapshots of backups in the store's vault.
fn snapshots(bench: &Bench) -> usize {
    let StoreLocation::Local { path } = &bench.store.location else { unreachable!() };
    LocalRoot::new(path).unwrap().vault("vault").unwrap().list(FileKind::Snapshot).unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_backup_ends_within_two_seconds_and_leaves_no_snapshot() {
    let gate = Gate::closed("capture", 1);
    let bench = Bench::with(|options| options.observer = Some(gate.observer())).await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let before = snapshots(&bench);
    let started = bench.engine.start_backup(&admin(), bench.request(&repository)).await.unwrap();
    gate.arrived("capture", 1, 1).await;
    let (now, inner) = (bench.engine.now(), bench.engine.inner());
    let audit = AuditEntry::of(&admin(), now, "job.cancel", None);
    let asked = std::time::Instant::now();
    inner.db.cancel_job(started.job.id, now, &audit).await.unwrap();
    let context = inner.work.contexts().pop().unwrap();
    while !context.was_cancelled() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(asked.elapsed() < Duration::from_secs(2));
    gate.open();
    let job = bench.ended(started.job.id).await;
    assert_eq!(job.state, JobState::Cancelled, "{}", bench.log(job.id).await);
    let backup = bench.backup(started.backup.id).await.unwrap();
    assert_eq!((backup.state, backup.parts[0].state), (BackupState::Cancelled, BackupState::Cancelled));
    assert!(snapshots(&bench) <= before + 1, "but for the configuration's");
    // The next one of the repository is not held up by anything the cancelled one left.
    assert_eq!(bench.back_up(&repository).await.state, BackupState::Succeeded);
}

/// What a second worker does to the first one: here at one of two points around the commit.
async fn lose_the_lease_at(point: &str) {
    for database in databases() {
        lose_the_lease_on(point, database).await;
    }
}

async fn lose_the_lease_on(point: &str, database: crate::DatabaseLocation) {
    let gate = Gate::closed(point, 1);
    let bench = Bench::with(|options| {
        options.observer = Some(gate.observer());
        options.database = database;
    })
    .await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let started = bench.engine.start_backup(&admin(), bench.request(&repository)).await.unwrap();
    gate.arrived(point, 1, 1).await;
    let inner = bench.engine.inner();
    let later = bench.engine.now() + TimeDelta::hours(1);
    assert_eq!(take_back_all(inner, later).await, 1);
    let job = bench.ended(started.job.id).await;
    assert_eq!((job.state, job.attempt), (JobState::Succeeded, 2), "{}", bench.log(job.id).await);
    gate.open();
    while !inner.work.contexts().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let backup = bench.backup(started.backup.id).await.unwrap();
    assert_eq!(backup.state, BackupState::Succeeded);
    let part = backup.parts[0].clone();
    let vault = part.vault.unwrap();
    let row = inner.db.vault_row(vault).await.unwrap().unwrap();
    let store = inner.db.store_row(row.vault.store).await.unwrap().unwrap();
    let listed = inner.storage.server_vault(&store, &row).unwrap().snapshots().unwrap().snapshots;
    let ours: Vec<String> = listed
        .iter()
        .filter(|snapshot| snapshot.record.hostname == "photos")
        .map(|snapshot| snapshot.id.to_hex())
        .collect();
    assert_eq!(ours, [part.snapshot.unwrap()], "exactly the snapshot that counts stays");
    let restored = bench.restore(bench.restore_request(&backup, RestoreInto::InPlace)).await;
    assert_eq!(restored.state, JobState::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lost_its_lease_before_the_commit_writes_nothing() {
    lose_the_lease_at("commit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_whose_writer_lost_its_lease_is_taken_over_and_stays_alone() {
    lose_the_lease_at("written").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_takes_no_more_jobs_at_once_than_it_may() {
    let gate = Gate::closed("capture", 1);
    let bench = Bench::with(|options| {
        options.observer = Some(gate.observer());
        options.jobs_per_store = Some(1);
    })
    .await;
    let mut jobs = Vec::new();
    for name in ["photos", "music"] {
        let source = bench.directory(name).await;
        let repository = bench.repository(name, SourceSelection::One(source.id)).await;
        jobs.push(bench.engine.start_backup(&admin(), bench.request(&repository)).await.unwrap().job.id);
    }
    gate.arrived("capture", 1, 1).await;
    let inner = bench.engine.inner();
    assert!(inner.options.workers > 1, "there is a worker for the second");
    let limits = crate::db::ClaimLimits { per_store: Some(1), ..crate::db::ClaimLimits::default() };
    let now = bench.engine.now();
    assert!(inner.db.claim(inner.node, now, now, &limits).await.unwrap().is_none());
    assert_eq!(bench.job(jobs[1]).await.state, JobState::Queued);
    gate.open();
    for job in jobs {
        assert_eq!(bench.ended(job).await.state, JobState::Succeeded);
    }
}

/// Its clock was a day ahead when it died, and it does not come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_dead_node_with_a_wrong_clock_is_taken_back_by_another_node() {
    const DEAD: uuid::Uuid = uuid::Uuid::from_u128(77);
    for database in databases() {
        let bench = Bench::with(|options| {
            options.database = database;
            options.workers = 0;
            options.lease = Duration::from_secs(1);
        })
        .await;
        let source = bench.directory("photos").await;
        let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
        let id = bench.engine.start_backup(&admin(), bench.request(&repository)).await.unwrap().job.id;
        let (db, now) = (&bench.engine.inner().db, bench.engine.now());
        let until = now + TimeDelta::days(1);
        let run = db.claim(DEAD, now, until, &crate::db::ClaimLimits::default()).await.unwrap().unwrap().run;
        let job = bench.until(id, |job| job.state != JobState::Running).await;
        assert_eq!((job.state, job.attempt), (JobState::Queued, 1), "{job:?}");
        let late = db.heartbeat(run, until).await.unwrap();
        assert!(matches!(late, crate::db::Fenced::Lost), "it comes back too late");
    }
}

/// As `restic unlock --remove-all` does, after which a prune may take what the backup relies on.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_lock_somebody_removed_writes_no_snapshot_and_is_tried_again() {
    let gate = Gate::closed("verify", 1);
    let bench = Bench::with(|options| options.observer = Some(gate.observer())).await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let started = bench.engine.start_backup(&admin(), bench.request(&repository)).await.unwrap();
    gate.arrived("verify", 1, 1).await;
    let StoreLocation::Local { path } = &bench.store.location else { unreachable!() };
    let vault = LocalRoot::new(path).unwrap().vault("vault").unwrap();
    let locks = vault.list(FileKind::Lock).unwrap();
    assert!(!locks.is_empty());
    for lock in locks {
        vault.remove(FileKind::Lock, &lock.name).unwrap();
    }
    gate.open();
    let job = bench.ended(started.job.id).await;
    let log = bench.log(job.id).await;
    assert_eq!((job.state, job.attempt), (JobState::Succeeded, 2), "{log}");
    assert!(log.contains("Somebody removed the lock"), "{log}");
    assert!(vault.list(FileKind::Lock).unwrap().is_empty(), "the second attempt's lock is given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_repositories_write_to_one_vault_at_once() {
    let gate = Gate::closed("capture", 1);
    let bench = Bench::with(|options| options.observer = Some(gate.observer())).await;
    let (photos, music) = (bench.directory("photos").await, bench.directory("music").await);
    let first = bench.repository("photos", SourceSelection::One(photos.id)).await;
    let second = bench.repository("music", SourceSelection::One(music.id)).await;
    let mut backups = Vec::new();
    for repository in [&first, &second] {
        backups.push(bench.engine.start_backup(&admin(), bench.request(repository)).await.unwrap());
    }
    gate.arrived("capture", 1, 2).await;
    gate.open();
    for started in backups {
        bench.ended(started.job.id).await;
        let backup = bench.backup(started.backup.id).await.unwrap();
        assert_eq!(backup.state, BackupState::Succeeded, "{}", bench.log(started.job.id).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_hands_a_job_back_and_the_next_start_finishes_it() {
    let gate = Gate::closed("capture", 1);
    let folder = tempfile::tempdir().unwrap();
    let started = {
        let bench = Bench::at(folder.path(), |options| options.observer = Some(gate.observer())).await;
        let source = bench.directory("photos").await;
        let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
        let started = bench.engine.start_backup(&admin(), bench.request(&repository)).await.unwrap();
        gate.arrived("capture", 1, 1).await;
        let context = bench.engine.inner().work.contexts().pop().unwrap();
        let engine = bench.engine.clone();
        let stop = tokio::spawn(async move { engine.shutdown(Duration::from_secs(4)).await });
        while !context.is_handing_back() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        gate.open();
        stop.await.unwrap();
        started
    };
    let engine = Engine::open(options(folder.path())).await.unwrap();
    let job = engine.inner().db.job(started.job.id).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempt), (JobState::Queued, 1));
    engine.start_workers().await.unwrap();
    loop {
        let job = engine.inner().db.job(started.job.id).await.unwrap().unwrap();
        if job.state.is_terminal() {
            assert_eq!((job.state, job.attempt), (JobState::Succeeded, 2));
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// While no worker is free; the first that becomes free must not end the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_lets_every_job_come_to_its_end() {
    let gates = [Gate::closed("capture", 1), Gate::closed("capture", 1)];
    let (first, second) = (gates[0].observer(), gates[1].observer());
    let earliest = std::sync::OnceLock::new();
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::at(folder.path(), |options| {
        options.workers = 2;
        options.observer = Some(Arc::new(move |point| match point.run {
            Some((job, _)) if *earliest.get_or_init(|| job) == job => first(point),
            _ => second(point),
        }));
    })
    .await;
    let mut jobs = Vec::new();
    for (name, gate) in ["photos", "music"].into_iter().zip(&gates) {
        let source = bench.directory(name).await;
        let repository = bench.repository(name, SourceSelection::One(source.id)).await;
        jobs.push(bench.engine.start_backup(&admin(), bench.request(&repository)).await.unwrap().job.id);
        gate.arrived("capture", 1, 1).await;
    }
    let engine = bench.engine.clone();
    let stop = tokio::spawn(async move { engine.shutdown(Duration::from_secs(60)).await });
    let work = &bench.engine.inner().work;
    while !work.is_stopping() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gates[0].open();
    while work.contexts().len() > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gates[1].open();
    stop.await.unwrap();
    let mut beside = options(folder.path());
    beside.server = false;
    let engine = Engine::open(beside).await.unwrap();
    for job in jobs {
        let job = engine.inner().db.job(job).await.unwrap().unwrap();
        assert_eq!((job.state, job.attempt), (JobState::Succeeded, 1), "{job:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_its_job_where_no_server_lives() {
    let bench = Bench::with(|options| options.workers = 0).await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let started = bench.engine.start_backup(&admin(), bench.request(&repository)).await.unwrap();
    let refused = Engine::open(options(bench.folder())).await.err().unwrap();
    assert!(refused.sentence.contains(&std::process::id().to_string()), "{refused}");
    let mut beside = options(bench.folder());
    beside.server = false;
    let command = Engine::open(beside).await.unwrap();
    assert_eq!(command.live_server().unwrap(), Some(std::process::id()));
    let job = command.run_until_done(started.job.id).await.unwrap();
    assert_eq!(job.state, JobState::Succeeded);
    let again = bench.engine.start_backup(&admin(), bench.request(&repository)).await.unwrap();
    let job = command.run_until_done(again.job.id).await.unwrap();
    assert_eq!(job.state, JobState::Succeeded, "a command may follow several jobs");
}
