//! Bytes that nothing needs any more are freed, a day after they were found, while other work goes on.

use std::sync::Arc;

use chrono::TimeDelta;
use chrono_tz::Tz;
use trivault_vault::backend::{FileKind, LocalRoot, StoreRoot};

use super::{
    bench::{Bench, admin, contents, databases},
    gate::Gate,
};
use crate::{ManualClock, Point, domain::*};

/// Bytes of packs.
fn stored(bench: &Bench) -> u64 {
    let vault = LocalRoot::new(bench.path("store")).unwrap().vault("vault").unwrap();
    vault.list(FileKind::Pack).unwrap().iter().map(|entry| entry.length).sum()
}

async fn vault(bench: &Bench) -> VaultId {
    bench.engine.inner().db.server_vault(bench.store.id).await.unwrap().unwrap().vault.id
}

async fn jobs(bench: &Bench, kind: JobKind) -> Vec<Job> {
    let filter = JobFilter { kinds: vec![kind], ..JobFilter::default() };
    let mut jobs = bench.engine.jobs(&admin(), filter).await.unwrap();
    jobs.reverse();
    jobs
}

/// Two backups, of which the first one has two thirds of a megabyte to itself.
async fn two_backups(bench: &Bench, clock: &ManualClock) -> (Repository, Backup, Backup) {
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    std::fs::write(bench.path("photos/large"), trivault_testkit::trees::noise(9, 700_000)).unwrap();
    let first = bench.back_up(&repository).await;
    std::fs::remove_file(bench.path("photos/large")).unwrap();
    clock.advance(TimeDelta::hours(1));
    let second = bench.back_up(&repository).await;
    (repository, first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_bytes_are_free_a_day_later_by_themselves_while_a_backup_is_held_open() {
    for database in databases() {
        // The third backup to come there is held; the two before it are let through.
        let gate = Gate::closed("capture", 7);
        let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
        let observer = gate.observer();
        let held_open = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (hold, own) = (held_open.clone(), clock.clone());
        let bench = Bench::with(|options| {
            options.clock = own;
            options.database = database;
            options.workers = 3;
            // The clock is put on by days while a backup is held: no other attempt may come in between and end it.
            options.lease = std::time::Duration::from_secs(100 * 3600);
            options.care.structure_every = None;
            options.care.data_every = None;
            options.care.restore_every = None;
            // As if it were another attempt, so that the gate tells it apart.
            options.observer = Some(Arc::new(move |point| {
                let held = hold.load(std::sync::atomic::Ordering::SeqCst);
                let run = point.run.map(|(job, attempt)| (job, if held { 7 } else { attempt }));
                observer(&Point { run, ..*point });
            }));
        })
        .await;
        let (repository, first, second) = two_backups(&bench, &clock).await;
        let before = stored(&bench);
        let job = bench.engine.delete_backup(&admin(), first.id, vec![]).await.unwrap();
        assert_eq!(bench.ended(job.id).await.state, JobState::Succeeded);
        let plan = bench.engine.preview_prune(&admin(), vault(&bench).await).await.unwrap();
        assert!(plan.unused_bytes > 700_000, "{plan}");

        held_open.store(true, std::sync::atomic::Ordering::SeqCst);
        let open = bench.engine.start_backup(&admin(), bench.request(&repository)).await.unwrap();
        gate.arrived("capture", 7, 1).await;
        held_open.store(false, std::sync::atomic::Ordering::SeqCst);
        for _ in 0..2 {
            bench.engine.reconcile().await.unwrap();
        }
        let prunes = jobs(&bench, JobKind::Prune).await;
        assert_eq!(prunes.len(), 1, "once a day");
        let prune = bench.ended(prunes[0].id).await;
        assert_eq!(
            (prune.state, prune.via.as_str()),
            (JobState::Succeeded, "scheduler"),
            "{}",
            bench.log(prune.id).await
        );
        assert!(stored(&bench) >= before, "nothing is deleted by the prune that marks");

        clock.advance(TimeDelta::hours(25));
        bench.engine.reconcile().await.unwrap();
        let prunes = jobs(&bench, JobKind::Prune).await;
        assert_eq!(prunes.len(), 2, "again when what was marked is old enough");
        let prune = bench.ended(prunes[1].id).await;
        assert_eq!(prune.state, JobState::Succeeded, "{}", bench.log(prune.id).await);
        assert!(stored(&bench) >= before, "a backup began before the packs were marked: it may need them");

        gate.open();
        assert_eq!(bench.ended(open.job.id).await.state, JobState::Succeeded, "{}", bench.log(open.job.id).await);
        // That prune has marked what copies of the catalogue left behind: the next one comes when that is of age.
        clock.advance(TimeDelta::hours(25));
        bench.engine.reconcile().await.unwrap();
        let prunes = jobs(&bench, JobKind::Prune).await;
        assert_eq!(prunes.len(), 3, "it looks again");
        let prune = bench.ended(prunes[2].id).await;
        assert_eq!(prune.state, JobState::Succeeded, "{}", bench.log(prune.id).await);
        assert!(
            stored(&bench) + 600_000 < before,
            "{} of {before} bytes\n{}",
            stored(&bench),
            bench.log(prune.id).await
        );

        let expected = contents(&bench.path("photos"));
        for backup in [second.id, open.backup.id] {
            std::fs::remove_dir_all(bench.path("photos")).unwrap();
            let backup = bench.backup(backup).await.unwrap();
            let restored = bench.restore(bench.restore_request(&backup, RestoreInto::InPlace)).await;
            assert_eq!(restored.state, JobState::Succeeded, "{}", bench.log(restored.id).await);
            assert_eq!(contents(&bench.path("photos")), expected);
        }
        let check = StartVerify::Vault { vault: vault(&bench).await, read: ReadShare::All };
        let check = bench.engine.start_verify(&admin(), check).await.unwrap();
        assert_eq!(bench.ended(check.id).await.state, JobState::Succeeded, "{}", bench.log(check.id).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plans_prune_applies_the_retention_of_its_repository_first_and_says_which_backups_went() {
    for database in databases() {
        let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
        let own = clock.clone();
        let bench = Bench::with(|options| {
            options.clock = own;
            options.database = database;
        })
        .await;
        let (repository, first, second) = two_backups(&bench, &clock).await;
        let rules = Retention { last: 1, ..Retention::everything(Tz::UTC) };
        bench.engine.set_retention(&admin(), repository.id, Some(rules), true).await.unwrap();
        let of = PruneOf::Repository(repository.id);
        let request = StartPrune { of, task: None, job_attributes: vec![] };
        let job = bench.engine.start_prune(&admin(), request).await.unwrap();
        assert_eq!(job.repository, Some(repository.id));
        bench.until(job.id, |job| job.state.is_terminal() || job.attempt > 0).await;
        let filter = JobFilter { kinds: vec![JobKind::Forget], ..JobFilter::default() };
        while !bench.job(job.id).await.state.is_terminal() {
            for forget in bench.engine.jobs(&admin(), filter.clone()).await.unwrap() {
                bench.ended(forget.id).await;
            }
            clock.advance(TimeDelta::seconds(2));
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let job = bench.job(job.id).await;
        assert_eq!(job.state, JobState::Succeeded, "{}", bench.log(job.id).await);
        assert!(bench.backup(first.id).await.is_none() && bench.backup(second.id).await.is_some());
        let about = bench.engine.backups_of_jobs(&[job.id]).await.unwrap().remove(&job.id).unwrap();
        assert_eq!(about.iter().map(|former| former.id).collect::<Vec<_>>(), [first.id]);
        let log = bench.log(job.id).await;
        assert!(log.contains("Marked ") && log.contains("1 backups go"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_is_alone_in_its_vault_and_a_vault_under_a_passcode_is_refused() {
    let gate = Gate::closed("prune", 1);
    let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
    let (own, observer) = (clock.clone(), gate.observer());
    let bench = Bench::with(|options| {
        options.clock = own;
        options.observer = Some(observer);
    })
    .await;
    let (repository, ..) = two_backups(&bench, &clock).await;
    let request = |vault| StartPrune { of: PruneOf::Vault(vault), task: None, job_attributes: vec![] };
    let id = vault(&bench).await;
    let job = bench.engine.start_prune(&admin(), request(id)).await.unwrap();
    gate.arrived("prune", 1, 1).await;
    let refused = bench.engine.start_prune(&admin(), request(id)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InUse(Noun::Vault));
    let check = StartVerify::Vault { vault: id, read: ReadShare::None };
    let check = bench.engine.start_verify(&admin(), check).await.unwrap();
    let mut protected = bench.request(&repository);
    protected.passcode = Some(SecretText::new("correct horse"));
    let protected = bench.back_up_as(protected).await;
    assert_eq!(protected.state, BackupState::Succeeded, "a backup goes on beside it");
    assert_eq!(bench.job(check.id).await.state, JobState::Queued, "a check waits for it");
    bench.engine.cancel_job(&admin(), job.id).await.unwrap();
    gate.open();
    let asked = std::time::Instant::now();
    assert_eq!(bench.ended(job.id).await.state, JobState::Cancelled);
    assert!(asked.elapsed() < std::time::Duration::from_secs(2));
    assert_eq!(bench.ended(check.id).await.state, JobState::Succeeded);
    let refused = bench.engine.start_prune(&admin(), request(protected.parts[0].vault.unwrap())).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::PasscodeRequired);
    assert!(refused.hint.unwrap().contains("removed whole"));
}
