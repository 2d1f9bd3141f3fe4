//! The metadata database goes away in the middle of jobs, and comes back.

use std::time::Duration;

use chrono_tz::Tz;
use trivault_sources::Warning;
use trivault_testkit::postgres::{PostgresServer, Variant};

use super::{
    bench::{Bench, admin, contents},
    gate::Gate,
};
use crate::{DatabaseLocation, domain::*};

/// What a job has to tell while nobody can write it down.
const SAID: &str = "something that happened while the database was away";

/// `backup` is the repository's older one of two.
async fn start(bench: &Bench, kind: JobKind, point: &str, repository: &Repository, backup: &Backup) -> JobId {
    let vault = bench.engine.inner().db.server_vault(bench.store.id).await.unwrap().unwrap().vault.id;
    match kind {
        JobKind::Backup => bench.engine.start_backup(&admin(), bench.request(repository)).await.unwrap().job.id,
        JobKind::Verify => {
            let what = StartVerify::Vault { vault, read: ReadShare::All };
            bench.engine.start_verify(&admin(), what).await.unwrap().id
        }
        JobKind::Prune => {
            let of = if point == "prune" { PruneOf::Vault(vault) } else { PruneOf::Repository(repository.id) };
            let what = StartPrune { of, task: None, job_attributes: vec![] };
            bench.engine.start_prune(&admin(), what).await.unwrap().id
        }
        JobKind::Forget => bench.engine.delete_backup(&admin(), backup.id, vec![]).await.unwrap().id,
        JobKind::Merge => {
            let (range, job_attributes) = (MergeRange::EVERYTHING, vec![]);
            let what =
                StartMerge { repository: repository.id, task: None, range, zone: Tz::UTC, as_of: None, job_attributes };
            bench.engine.start_merge(&admin(), what).await.unwrap().id
        }
        _ => {
            let what = bench.restore_request(backup, RestoreInto::InPlace);
            bench.engine.start_restore(&admin(), what).await.unwrap().id
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_every_kind_outlast_a_restart_of_the_metadata_database() {
    let settings = vec!["synchronous_commit=on".to_owned()];
    let Some(server) = PostgresServer::own(&Variant { settings, ..Variant::default() }) else { return };
    for (kind, point) in [
        (JobKind::Backup, "capture"),
        (JobKind::Backup, "commit"),
        (JobKind::Restore, "restore"),
        (JobKind::Restore, "in_place"),
        (JobKind::Verify, "check"),
        (JobKind::Prune, "prune"),
        (JobKind::Prune, "retention"),
        (JobKind::Prune, "settled"),
        (JobKind::Forget, "removed"),
        (JobKind::Merge, "validate"),
        (JobKind::Merge, "folded"),
    ] {
        let gate = Gate::closed(point, 7);
        let observer = gate.observer();
        let (url, held) =
            (SecretText::new(server.create_database()), std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)));
        let hold = held.clone();
        let bench = Bench::with(|options| {
            options.database = DatabaseLocation::Postgres(url);
            options.lease = Duration::from_secs(10);
            // The job that is looked at is told apart as if it were another attempt.
            options.observer = Some(std::sync::Arc::new(move |at: &crate::Point<'_>| {
                let is_held = hold.load(std::sync::atomic::Ordering::SeqCst);
                let run = at.run.map(|(job, attempt)| (job, if is_held { 7 } else { attempt }));
                observer(&crate::Point { run, ..*at });
            }));
        })
        .await;
        let source = bench.directory("photos").await;
        let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
        let backup = bench.back_up(&repository).await;
        let newest = bench.back_up(&repository).await;
        if matches!(point, "retention" | "settled") {
            let rules = Retention { last: 1, ..Retention::everything(Tz::UTC) };
            bench.engine.set_retention(&admin(), repository.id, Some(rules), true).await.unwrap();
        }
        let before = contents(&bench.path("photos"));
        if kind == JobKind::Restore {
            std::fs::write(bench.path("photos/hello.txt"), b"changed since").unwrap();
        }
        held.store(true, std::sync::atomic::Ordering::SeqCst);
        let id = start(&bench, kind, point, &repository, &backup).await;
        gate.arrived(point, 7, 1).await;
        server.crash();
        let context = bench.engine.inner().work.contexts().into_iter().find(|context| context.run().job == id).unwrap();
        context.log(SAID);
        context.warn(Warning { code: "away".into(), count: 1, sentence: SAID.into() });
        drop(context);
        // Several ticks, none of which can write that.
        tokio::time::sleep(Duration::from_secs(1)).await;
        held.store(false, std::sync::atomic::Ordering::SeqCst);
        gate.open();
        server.restart();
        let job = bench.ended(id).await;
        assert_eq!(job.state, JobState::Succeeded, "{kind:?} at {point}: {:?}\n{}", job.failure, bench.log(id).await);
        assert!(bench.log(id).await.contains(SAID), "{kind:?} at {point}: {}", bench.log(id).await);
        assert!(job.warnings.iter().any(|warning| warning.sentence == SAID), "{kind:?} at {point}: {:?}", job.warnings);
        assert_eq!(contents(&bench.path("photos")), before, "{kind:?} at {point}");
        if matches!(kind, JobKind::Prune | JobKind::Forget | JobKind::Merge) {
            let log = bench.log(id).await;
            assert!(!log.contains("will be tried again"), "{kind:?} at {point}: the restart costs no attempt\n{log}");
            let goes = (kind, point) != (JobKind::Prune, "prune");
            assert_eq!(bench.backup(backup.id).await.is_none(), goes, "{kind:?} at {point}");
            assert!(bench.backup(newest.id).await.is_some(), "{kind:?} at {point}");
        }
        let status = StartVerify::Repository(repository.id);
        let check = bench.engine.start_verify(&admin(), status).await.unwrap();
        assert_eq!(bench.ended(check.id).await.state, JobState::Succeeded, "{}", bench.log(check.id).await);
        assert_eq!(bench.engine.inner().db.stale_locks().await.unwrap(), []);
        bench.engine.shutdown(Duration::from_secs(5)).await;
    }
}
