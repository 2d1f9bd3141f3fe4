//! Cancelling: in every state, and within two seconds while a job of any kind moves bytes.

use std::{
    io::Read as _,
    path::Path,
    time::{Duration, Instant},
};

use trivault_testkit::postgres::PostgresServer;

use super::{
    bench::{Bench, admin, databases},
    gate::Gate,
};
use crate::{DatabaseLocation, db::AuditEntry, domain::*};

const AT_MOST: Duration = Duration::from_secs(2);
/// Bytes that take longer than that to back up and to restore.
const LARGE: u64 = 400 << 20;
const ROWS: u32 = 1_200_000;

/// Who hears of the wish to cancel: the process that runs the job, or another one on the same database.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Here,
    Elsewhere,
}

fn fill(path: &Path) {
    std::fs::create_dir(path).unwrap();
    let noise = std::fs::File::open("/dev/urandom").unwrap();
    std::io::copy(&mut noise.take(LARGE), &mut std::fs::File::create(path.join("large")).unwrap()).unwrap();
}

/// Cancels a job that runs; it must end in time.
async fn cancel(bench: &Bench, id: JobId, asked: Asked) -> Job {
    let begun = Instant::now();
    match asked {
        Asked::Here => drop(bench.engine.cancel_job(&admin(), id).await.unwrap()),
        Asked::Elsewhere => {
            let audit = AuditEntry::of(&admin(), bench.engine.now(), "job.cancel", None);
            bench.engine.inner().db.cancel_job(id, bench.engine.now(), &audit).await.unwrap();
        }
    }
    let job = bench.ended(id).await;
    let took = begun.elapsed();
    println!("{:?} asked {asked:?}: cancelled after {} ms", job.kind, took.as_millis());
    assert_eq!(job.state, JobState::Cancelled, "{}", bench.log(id).await);
    assert!(took < AT_MOST, "{took:?}: {:?}\n{}", job.steps, bench.log(id).await);
    job
}

/// Waits until the job is in the middle of that step.
async fn under_way(bench: &Bench, id: JobId, step: &str) {
    let is_in = |job: &Job| job.steps.iter().any(|found| found.name == step && found.state == StepState::Running);
    bench.until(id, |job| job.state.is_terminal() || is_in(job) && job.progress.bytes_read > 0).await;
}

async fn start(bench: &Bench, repository: &Repository) -> StartedBackup {
    bench.engine.start_backup(&admin(), bench.request(repository)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_and_a_restore_of_a_directory_end_within_two_seconds_wherever_the_wish_is_heard() {
    for database in databases() {
        cancel_a_directory(database).await;
    }
}

async fn cancel_a_directory(database: DatabaseLocation) {
    let bench = Bench::with(|options| options.database = database).await;
    fill(&bench.path("photos"));
    let source = bench.source("photos", "directory", &bench.path("photos")).await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    for asked in [Asked::Here, Asked::Elsewhere] {
        let started = start(&bench, &repository).await;
        under_way(&bench, started.job.id, "capture").await;
        cancel(&bench, started.job.id, asked).await;
        assert_eq!(bench.backup(started.backup.id).await.unwrap().state, BackupState::Cancelled);
    }
    let backup = bench.back_up(&repository).await;
    assert_eq!(backup.state, BackupState::Succeeded);
    let before = std::fs::metadata(bench.path("photos/large")).unwrap().len();
    for (asked, into) in [
        (Asked::Here, RestoreInto::NewPath(bench.path("beside").to_str().unwrap().into())),
        (Asked::Elsewhere, RestoreInto::InPlace),
    ] {
        let request = bench.restore_request(&backup, into);
        let job = bench.engine.start_restore(&admin(), request).await.unwrap();
        bench.until(job.id, |job| job.state.is_terminal() || job.steps.iter().any(|step| step.name == "restore")).await;
        cancel(&bench, job.id, asked).await;
    }
    assert!(!bench.path("beside").exists(), "a cancelled restore leaves nothing");
    assert_eq!(std::fs::metadata(bench.path("photos/large")).unwrap().len(), before, "nor touches what was there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_and_restores_of_an_sqlite_database_end_within_two_seconds() {
    let bench = Bench::new().await;
    let place = bench.path("app.db");
    let live = || rusqlite::Connection::open(&place).unwrap();
    live()
        .execute_batch(&format!(
            "CREATE TABLE large (i INTEGER PRIMARY KEY, a BLOB);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})
         INSERT INTO large SELECT i, randomblob(100000) FROM n;",
            LARGE / 100_000
        ))
        .unwrap();
    let rows = || live().query_row("SELECT count(*), max(rowid) FROM large", [], |row| Ok((row.get(0)?, row.get(1)?)));
    let before: (i64, i64) = rows().unwrap();
    let source = bench.source("app", "sqlite", &place).await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    for asked in [Asked::Here, Asked::Elsewhere] {
        let started = start(&bench, &repository).await;
        under_way(&bench, started.job.id, "capture").await;
        cancel(&bench, started.job.id, asked).await;
    }
    let backup = bench.back_up(&repository).await;
    assert_eq!(backup.state, BackupState::Succeeded, "{}", bench.log(backup.job).await);
    let beside = RestoreInto::NewPath(bench.path("beside.db"));
    let adding = trivault_sources::Conflict::AddMissing;
    for (asked, into, conflict) in [
        (Asked::Here, beside, trivault_sources::Conflict::Replace),
        (Asked::Elsewhere, RestoreInto::InPlace, trivault_sources::Conflict::Replace),
        (Asked::Elsewhere, RestoreInto::InPlace, adding),
    ] {
        let request = StartRestore { conflict, ..bench.restore_request(&backup, into) };
        let job = bench.engine.start_restore(&admin(), request).await.unwrap();
        bench.until(job.id, |job| job.state.is_terminal() || job.steps.iter().any(|step| step.name == "restore")).await;
        cancel(&bench, job.id, asked).await;
        let now: (i64, i64) = rows().unwrap();
        assert_eq!(now, before, "the live database is as it was");
    }
    assert!(!bench.path("beside.db").exists(), "a cancelled restore leaves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_and_a_restore_of_a_postgresql_database_end_within_two_seconds() {
    let Some(server) = PostgresServer::shared() else { return };
    let url = server.create_database();
    let name = url.split("///").nth(1).unwrap().split('?').next().unwrap().to_owned();
    server.query(
        &name,
        &format!(
            "CREATE TABLE large AS SELECT i, md5(i::text) AS a, md5((i + 1)::text) AS b, md5((i + 2)::text) AS c
                  FROM generate_series(1, {ROWS}) AS i"
        ),
    );
    let bench = Bench::new().await;
    let source = bench.source("bank", "postgresql", Path::new(&url)).await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    for asked in [Asked::Here, Asked::Elsewhere] {
        let started = start(&bench, &repository).await;
        under_way(&bench, started.job.id, "capture").await;
        cancel(&bench, started.job.id, asked).await;
    }
    let sessions =
        format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()");
    assert_eq!(server.query(&name, &sessions).trim(), "0", "no session of a cancelled capture stays");
    let backup = bench.back_up(&repository).await;
    assert_eq!(backup.state, BackupState::Succeeded, "{}", bench.log(backup.job).await);
    let request = bench.restore_request(&backup, RestoreInto::NewDatabase(format!("{name}_beside")));
    let job = bench.engine.start_restore(&admin(), request).await.unwrap();
    bench.until(job.id, |job| job.state.is_terminal() || job.steps.iter().any(|step| step.name == "restore")).await;
    cancel(&bench, job.id, Asked::Elsewhere).await;
    let left = format!("SELECT count(*) FROM pg_database WHERE datname LIKE '{name}\\_beside%'");
    assert_eq!(server.query(&name, &left).trim(), "0", "a cancelled restore leaves no database");
}

/// What takes but moments is held at its first step and cancelled there.
#[tokio::test(flavor = "multi_thread")]
async fn a_forget_and_a_merge_are_cancelled_where_they_stand_and_leave_every_backup() {
    for kind in [JobKind::Forget, JobKind::Merge] {
        let gate = Gate::closed("begun", 1);
        let bench = Bench::new().await;
        let source = bench.directory("photos").await;
        let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
        let backups = [bench.back_up(&repository).await, bench.back_up(&repository).await];
        // The same folder again, with the gate in front of each job.
        let folder = bench.folder().to_owned();
        bench.engine.shutdown(Duration::from_secs(5)).await;
        let mut options = super::bench::options(&folder);
        options.server = false;
        options.observer = Some(gate.observer());
        let engine = crate::Engine::open(options).await.unwrap();
        engine.start_workers().await.unwrap();
        let id = match kind {
            JobKind::Forget => engine.delete_backup(&admin(), backups[0].id, vec![]).await.unwrap().id,
            _ => {
                let range = MergeRange::EVERYTHING;
                let request = StartMerge {
                    repository: repository.id,
                    task: None,
                    range,
                    zone: chrono_tz::Tz::UTC,
                    as_of: None,
                    job_attributes: vec![],
                };
                engine.start_merge(&admin(), request).await.unwrap().id
            }
        };
        gate.arrived("begun", 1, 1).await;
        engine.cancel_job(&admin(), id).await.unwrap();
        let begun = Instant::now();
        gate.open();
        let job = engine.wait_for_job(&admin(), id, Duration::from_secs(30)).await.unwrap();
        assert_eq!((job.state, begun.elapsed() < AT_MOST), (JobState::Cancelled, true), "{kind:?}: {job:?}");
        let left = engine.backups(&admin(), BackupFilter::default()).await.unwrap();
        assert_eq!(left.len(), 2, "{kind:?}");
        engine.shutdown(Duration::from_secs(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_over_stays_as_it_is_and_one_that_waits_for_its_retry_ends_at_once() {
    let bench = Bench::with(|options| options.workers = 0).await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let queued = start(&bench, &repository).await;
    let (inner, now) = (bench.engine.inner(), bench.engine.now());
    let until = now + chrono::TimeDelta::minutes(1);
    let run = inner.db.claim(inner.node, now, until, &crate::db::ClaimLimits::default()).await.unwrap().unwrap().run;
    let back = crate::db::HandBack { not_before: Some(until), counts: true };
    inner.db.hand_back(run, &back, now).await.unwrap().held().unwrap();
    for _ in 0..2 {
        let job = bench.engine.cancel_job(&admin(), queued.job.id).await.unwrap();
        assert_eq!((job.state, job.attempt), (JobState::Cancelled, 1));
    }
    assert_eq!(bench.backup(queued.backup.id).await.unwrap().state, BackupState::Cancelled);
}
