//! Verifications of plans: each level once per occurrence, late ones overdue, and what nobody can mean refused.

use std::sync::Arc;

use chrono::TimeDelta;

use super::{
    bench::{Bench, admin, databases},
    plans::{jobs, scheduled, task},
};
use crate::{ManualClock, domain::*};

fn check(name: &str, level: VerifyLevel, shares: u32) -> PlanTask {
    PlanTask { verify: Some(VerifyTask { level, shares }), ..task(name, JobKind::Verify) }
}

/// Without checks in the server's own rhythm.
async fn bench(database: crate::DatabaseLocation, clock: &Arc<ManualClock>) -> Bench {
    Bench::with(|options| {
        options.clock = clock.clone();
        options.database = database;
        options.care.structure_every = None;
        options.care.data_every = None;
        options.care.restore_every = None;
    })
    .await
}

async fn vault(bench: &Bench) -> VaultId {
    bench.engine.inner().db.server_vault(bench.store.id).await.unwrap().unwrap().vault.id
}

/// Runs what is due, however often the reconcilers look; the jobs of that task, the oldest first.
async fn run_due(bench: &Bench, repository: &Repository, task: &str) -> Vec<Job> {
    for _ in 0..3 {
        bench.engine.reconcile().await.unwrap();
    }
    for job in jobs(bench, repository).await {
        bench.ended(job.id).await;
    }
    let mut found = jobs(bench, repository).await;
    found.retain(|job| job.task.as_deref() == Some(task));
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn each_level_runs_once_per_occurrence_and_says_when_it_last_did() {
    for database in databases() {
        let clock = Arc::new(ManualClock::new("2026-01-02T03:04:05Z".parse().unwrap()));
        let bench = bench(database, &clock).await;
        let source = bench.directory("photos").await;
        let tasks = vec![
            check("v4", VerifyLevel::Structure, 1),
            check("v5", VerifyLevel::Data, 1),
            check("v6", VerifyLevel::Restore, 1),
        ];
        let repository = scheduled(&bench, source.id, tasks).await;
        assert_eq!(bench.back_up(&repository).await.state, BackupState::Succeeded);
        for hours in 1..=2 {
            clock.advance(TimeDelta::hours(1));
            for (name, level) in
                [("v4", VerifyLevel::Structure), ("v5", VerifyLevel::Data), ("v6", VerifyLevel::Restore)]
            {
                let runs = run_due(&bench, &repository, name).await;
                assert_eq!(runs.len(), hours, "{name}");
                for job in runs {
                    let log = bench.log(job.id).await;
                    assert_eq!((job.kind, job.state), (JobKind::Verify, JobState::Succeeded), "{log}");
                    assert_eq!((job.repository, job.via.as_str()), (Some(repository.id), "scheduler"));
                }
                let status = bench.engine.verify_status(&admin()).await.unwrap();
                let last = status.iter().find(|it| it.level == level).unwrap().succeeded_at;
                assert_eq!(last, Some(bench.engine.now()), "{name}");
            }
        }
        // Three hours off: what was missed runs once.
        clock.advance(TimeDelta::hours(3));
        assert_eq!(run_due(&bench, &repository, "v4").await.len(), 3);
        let standings = bench.engine.task_standings(&admin(), Some(repository.id)).await.unwrap();
        assert!(standings.iter().all(|it| it.last_success.is_some() && it.overdue_since.is_none()), "{standings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_of_the_data_are_read_in_turn() {
    let clock = Arc::new(ManualClock::new("2026-01-02T03:04:05Z".parse().unwrap()));
    let bench = bench(crate::DatabaseLocation::default(), &clock).await;
    let source = bench.directory("photos").await;
    let repository = scheduled(&bench, source.id, vec![check("v5", VerifyLevel::Data, 3)]).await;
    bench.back_up(&repository).await;
    for _ in 0..4 {
        clock.advance(TimeDelta::hours(1));
        run_due(&bench, &repository, "v5").await;
    }
    let mut shares = Vec::new();
    for job in run_due(&bench, &repository, "v5").await {
        let params = bench.engine.inner().db.job_params(job.id).await.unwrap().unwrap();
        shares.push(crate::kinds::share_of(&params).unwrap());
    }
    assert_eq!(shares, [0, 1, 2, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_that_finds_damage_or_nothing_is_overdue_after_its_grace() {
    let clock = Arc::new(ManualClock::new("2026-01-02T03:04:05Z".parse().unwrap()));
    let bench = bench(crate::DatabaseLocation::default(), &clock).await;
    let source = bench.directory("photos").await;
    let repository = scheduled(&bench, source.id, vec![check("v5", VerifyLevel::Data, 1)]).await;
    clock.advance(TimeDelta::hours(1));
    let runs = run_due(&bench, &repository, "v5").await;
    assert_eq!(runs[0].failure.as_ref().unwrap().code, "nothing_to_verify");
    assert_eq!(bench.engine.overdue(&admin(), None).await.unwrap(), []);
    clock.advance(TimeDelta::minutes(61));
    let overdue = bench.engine.overdue(&admin(), None).await.unwrap();
    assert_eq!(overdue.len(), 1);
    assert_eq!((overdue[0].task.name.as_str(), overdue[0].last_run.unwrap().state), ("v5", JobState::Skipped));

    bench.back_up(&repository).await;
    // The run that is due already may have begun before the backup.
    clock.advance(TimeDelta::hours(1));
    run_due(&bench, &repository, "v5").await;
    assert_eq!(bench.engine.overdue(&admin(), None).await.unwrap(), [], "it has been made up for");
    super::verification::damage_all(&bench);
    bench.engine.inner().storage.let_go(vault(&bench).await);
    clock.advance(TimeDelta::hours(1));
    let runs = run_due(&bench, &repository, "v5").await;
    assert_eq!(runs.last().unwrap().failure.as_ref().unwrap().code, "damaged");
    clock.advance(TimeDelta::minutes(61));
    let overdue = bench.engine.overdue(&admin(), None).await.unwrap();
    assert_eq!(overdue[0].last_run.unwrap().state, JobState::Failed, "damage is no success");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_says_what_it_looks_at_and_nothing_else_does() {
    let bench = Bench::new().await;
    let plan = |task: PlanTask| NewPlan {
        owner: "test",
        name: "checks".into(),
        description: None,
        builtin: false,
        tasks: vec![task],
        attributes: vec![],
    };
    for (wrong, part) in [
        (task("check", JobKind::Verify), "does not say what it verifies"),
        (check("check", VerifyLevel::Data, 0), "0 shares"),
        (check("check", VerifyLevel::Data, 257), "1 to 256"),
        (check("check", VerifyLevel::Restore, 2), "only the level data has"),
        (PlanTask { kind: JobKind::Backup, ..check("check", VerifyLevel::Data, 1) }, "verifies nothing"),
    ] {
        let refused = bench.engine.create_plan(&admin(), plan(wrong)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidInput);
        assert!(refused.sentence.contains(part), "{refused}");
    }
    let right = bench.engine.create_plan(&admin(), plan(check("check", VerifyLevel::Data, 256))).await.unwrap();
    assert_eq!(bench.engine.plan(&admin(), right.id).await.unwrap(), right);
}
