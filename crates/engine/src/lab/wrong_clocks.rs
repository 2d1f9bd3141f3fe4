//! Clocks that jump while jobs run, and clocks of nodes that differ: who lives keeps what is his.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    bench::{Bench, admin, contents, databases},
    gate::Gate,
    schedules::another,
};
use crate::{Clock, Engine, ServerKey, ServerKeyLocation, SystemClock, db::ClaimLimits, domain::*, reconcilers};

const LEASE: Duration = Duration::from_secs(2);
/// Longest that a test waits for what must come.
const LIMIT: Duration = Duration::from_secs(60);

/// The machine's clock, wrong by so much.
#[derive(Default)]
struct WrongClock(Mutex<TimeDelta>);

impl WrongClock {
    fn jump(&self, by: TimeDelta) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for WrongClock {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + *self.0.lock().unwrap()
    }
}

/// Until the run has extended its lease by the clock as it is now.
async fn extended(engine: &Engine, job: JobId) {
    let begun = Instant::now();
    loop {
        let leases = engine.inner().db.leases().await.unwrap();
        let lease = leases.iter().find(|lease| lease.run.job == job).expect("it runs");
        if (lease.until - engine.now()).abs() <= TimeDelta::from_std(LEASE).unwrap() {
            return;
        }
        assert!(begun.elapsed() < LIMIT, "it is not extended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// As when a machine wakes up, or a time server corrects its clock.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_takes_no_job_from_a_run_that_lives() {
    for database in databases() {
        let (backups, restores) = (Gate::closed("capture", 1), Gate::closed("restore", 1));
        let clock = Arc::new(WrongClock::default());
        let bench = Bench::with(|options| {
            options.database = database;
            options.clock = clock.clone();
            options.lease = LEASE;
            let (of_backups, of_restores) = (backups.observer(), restores.observer());
            options.observer = Some(Arc::new(move |point| {
                of_backups(point);
                of_restores(point);
            }));
        })
        .await;
        let source = bench.directory("photos").await;
        let before = contents(&bench.path("photos"));
        let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
        let started = bench.engine.start_backup(&admin(), bench.request(&repository)).await.unwrap();
        backups.arrived("capture", 1, 1).await;
        for hours in [1, -2] {
            clock.jump(TimeDelta::hours(hours));
            bench.engine.reconcile().await.unwrap();
            extended(&bench.engine, started.job.id).await;
        }
        backups.open();
        let job = bench.ended(started.job.id).await;
        assert_eq!((job.state, job.attempt), (JobState::Succeeded, 1), "{}", bench.log(job.id).await);

        // A restore is never begun again: taken away, it would have failed.
        std::fs::write(bench.path("photos/hello.txt"), b"damaged").unwrap();
        let backup = bench.backup(started.backup.id).await.unwrap();
        let request = bench.restore_request(&backup, RestoreInto::InPlace);
        let restore = bench.engine.start_restore(&admin(), request).await.unwrap();
        restores.arrived("restore", 1, 1).await;
        clock.jump(TimeDelta::hours(1));
        bench.engine.reconcile().await.unwrap();
        extended(&bench.engine, restore.id).await;
        restores.open();
        let job = bench.ended(restore.id).await;
        assert_eq!((job.state, job.attempt), (JobState::Succeeded, 1), "{}", bench.log(job.id).await);
        assert_eq!(contents(&bench.path("photos")), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_is_ahead_takes_jobs_of_the_dead_alone() {
    const DEAD: uuid::Uuid = uuid::Uuid::from_u128(77);
    for database in databases() {
        let gate = Gate::closed("capture", 1);
        let key = ServerKey::parse("7".repeat(64).as_bytes()).unwrap();
        let bench = Bench::with(|options| {
            options.database = database.clone();
            options.server_key = ServerKeyLocation::Given(key.clone());
            options.lease = LEASE;
            options.workers = 1;
            options.observer = Some(gate.observer());
        })
        .await;
        let source = bench.directory("photos").await;
        let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
        let lives = bench.engine.start_backup(&admin(), bench.request(&repository)).await.unwrap().job.id;
        gate.arrived("capture", 1, 1).await;
        // The only worker is busy, so that another node can have this one, and die.
        let other_source = bench.directory("music").await;
        let other_repository = bench.repository("weekly", SourceSelection::One(other_source.id)).await;
        let dies = bench.engine.start_backup(&admin(), bench.request(&other_repository)).await.unwrap().job.id;
        let (db, now) = (&bench.engine.inner().db, bench.engine.now());
        let claimed = db.claim(DEAD, now, now + LEASE, &ClaimLimits::default()).await.unwrap().unwrap();
        assert_eq!(claimed.run.job, dies);

        let ahead = Arc::new(WrongClock::default());
        ahead.jump(TimeDelta::hours(1));
        let other = another(bench.folder(), &database, &key, ahead, LEASE).await;
        let begun = Instant::now();
        while bench.job(dies).await.state == JobState::Running || begun.elapsed() < LEASE * 2 {
            assert!(begun.elapsed() < LIMIT, "the dead node's job still runs");
            reconcilers::take_back_abandoned(other.inner()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let job = bench.job(lives).await;
        assert_eq!((job.state, job.attempt), (JobState::Running, 1));
        gate.open();
        for (job, attempts) in [(lives, 1), (dies, 2)] {
            let job = bench.ended(job).await;
            assert_eq!((job.state, job.attempt), (JobState::Succeeded, attempts), "{}", bench.log(job.id).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_for_the_node_that_knows_its_passcode_ends_when_that_node_is_gone() {
    for database in databases() {
        let key = ServerKey::parse("7".repeat(64).as_bytes()).unwrap();
        let bench = Bench::with(|options| {
            options.database = database.clone();
            options.server_key = ServerKeyLocation::Given(key.clone());
            options.lease = LEASE;
            options.workers = 0;
        })
        .await;
        let source = bench.directory("photos").await;
        let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
        let mut request = bench.request(&repository);
        request.passcode = Some(SecretText::new("correct horse battery"));
        let job = bench.engine.start_backup(&admin(), request).await.unwrap().job.id;

        let ahead = Arc::new(WrongClock::default());
        ahead.jump(TimeDelta::hours(1));
        let other = another(bench.folder(), &database, &key, ahead, LEASE).await;
        if other.inner().node == bench.engine.inner().node {
            // A command beside the server of a SQLite file: what is its own is not for it to end.
            continue;
        }
        let begun = Instant::now();
        while begun.elapsed() < LEASE * 2 {
            reconcilers::end_their_jobs(other.inner()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(bench.job(job).await.state, JobState::Queued, "the node lives");
        bench.engine.shutdown(Duration::ZERO).await;
        let db = &other.inner().db;
        loop {
            reconcilers::end_their_jobs(other.inner()).await.unwrap();
            let found = db.job(job).await.unwrap().unwrap();
            if found.state == JobState::Failed {
                assert_eq!(found.failure.unwrap().code, "passcode_not_kept");
                break;
            }
            assert!(begun.elapsed() < LIMIT, "it waits for a node that is gone: {found:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
