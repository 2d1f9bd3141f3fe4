//! Vaults of passcodes that come and go: while another node has one open, while the next backup begins, while their forget dies.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    bench::{Bench, admin, contents, databases},
    gate::Gate,
    schedules::another,
};
use crate::{
    DatabaseLocation, Engine, Observer, Point, ServerKey, ServerKeyLocation, db::ClaimLimits, domain::*,
    run::run_claimed,
};

fn passcode() -> Option<SecretText> {
    Some(SecretText::new("correct horse battery"))
}

async fn repository(bench: &Bench) -> Repository {
    let source = bench.directory("photos").await;
    bench.repository("daily", SourceSelection::One(source.id)).await
}

fn request(bench: &Bench, repository: &Repository) -> StartBackup {
    StartBackup { passcode: passcode(), ..bench.request(repository) }
}

/// In place, after the live data was damaged.
fn restore_request(bench: &Bench, backup: &Backup) -> StartRestore {
    std::fs::write(bench.path("photos/hello.txt"), b"damaged").unwrap();
    StartRestore { passcode: passcode(), ..bench.restore_request(backup, RestoreInto::InPlace) }
}

/// Folders of passcode vaults in the store.
fn folders(bench: &Bench) -> usize {
    std::fs::read_dir(bench.path("store/p")).map_or(0, Iterator::count)
}

/// Two nodes that run nothing by themselves; on SQLite the second one is a command beside the first.
async fn two_nodes(database: &DatabaseLocation) -> (Bench, Engine) {
    let key = ServerKey::parse("7".repeat(64).as_bytes()).unwrap();
    let bench = Bench::with(|options| {
        options.workers = 0;
        options.database = database.clone();
        options.server_key = ServerKeyLocation::Given(key.clone());
    })
    .await;
    std::fs::create_dir_all(bench.path("other")).unwrap();
    let (clock, lease) = (Arc::clone(&bench.engine.inner().clock), bench.engine.inner().options.lease);
    let other = another(bench.folder(), database, &key, clock, lease).await;
    (bench, other)
}

/// Runs the only queued job, on that node.
async fn run_on(engine: &Engine) {
    let (inner, now) = (engine.inner(), engine.now());
    let claimed = inner.db.claim(inner.node, now, now + inner.options.lease, &ClaimLimits::default()).await;
    run_claimed(Arc::clone(inner), claimed.unwrap().expect("a job is queued")).await;
}

async fn back_up_on(bench: &Bench, engine: &Engine, repository: &Repository) -> Backup {
    let started = engine.start_backup(&admin(), request(bench, repository)).await.unwrap();
    run_on(engine).await;
    let backup = bench.backup(started.backup.id).await.unwrap();
    assert_eq!(backup.state, BackupState::Succeeded, "{}", bench.log(started.job.id).await);
    backup
}

async fn restore_on(bench: &Bench, engine: &Engine, backup: &Backup) {
    let job = engine.start_restore(&admin(), restore_request(bench, backup)).await.unwrap();
    run_on(engine).await;
    assert_eq!(bench.job(job.id).await.state, JobState::Succeeded, "{}", bench.log(job.id).await);
}

/// How a vault goes that another node has open.
#[derive(Clone, Copy, Debug)]
enum Gone {
    Forgotten,
    ByHand,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_a_vault_open_uses_the_one_that_was_made_after_it() {
    for gone in [Gone::Forgotten, Gone::ByHand] {
        for database in databases() {
            let (bench, other) = two_nodes(&database).await;
            let repository = repository(&bench).await;
            let before = contents(&bench.path("photos"));
            let first = back_up_on(&bench, &other, &repository).await;
            match gone {
                Gone::Forgotten => {
                    let job = bench.engine.delete_backup(&admin(), first.id, vec![]).await.unwrap();
                    run_on(&bench.engine).await;
                    assert_eq!(bench.job(job.id).await.state, JobState::Succeeded, "{}", bench.log(job.id).await);
                }
                Gone::ByHand => std::fs::remove_dir_all(bench.path("store/p")).unwrap(),
            }
            assert_eq!(folders(&bench), 0);
            // Made anew under another master key, of which the other node knows nothing.
            let second = back_up_on(&bench, &bench.engine, &repository).await;
            restore_on(&bench, &other, &second).await;
            assert_eq!(contents(&bench.path("photos")), before, "{gone:?}");
            let third = back_up_on(&bench, &other, &repository).await;
            assert_eq!(third.parts[0].vault, second.parts[0].vault);
            restore_on(&bench, &bench.engine, &third).await;
            assert_eq!(contents(&bench.path("photos")), before, "{gone:?}");
            other.shutdown(Duration::ZERO).await;
        }
    }
}

/// On S3 the removal of a large vault takes a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_begins_while_the_vault_of_its_passcode_is_removed_goes_into_another_one() {
    for database in databases() {
        let gate = Gate::closed("retired", 1);
        let bench = Bench::with(|options| {
            options.database = database;
            options.observer = Some(gate.observer());
        })
        .await;
        let repository = repository(&bench).await;
        let before = contents(&bench.path("photos"));
        let first = bench.back_up_as(request(&bench, &repository)).await;
        assert_eq!(first.state, BackupState::Succeeded, "{}", bench.log(first.job).await);
        let forget = bench.engine.delete_backup(&admin(), first.id, vec![]).await.unwrap();
        gate.arrived("retired", 1, 1).await;
        let second = bench.back_up_as(request(&bench, &repository)).await;
        assert_eq!(second.state, BackupState::Succeeded, "{}", bench.log(second.job).await);
        assert!(bench.log(second.job).await.contains("first backup under this passcode"));
        assert_ne!(second.parts[0].vault, first.parts[0].vault);
        gate.open();
        let forget = bench.ended(forget.id).await;
        assert_eq!(forget.state, JobState::Succeeded, "{}", bench.log(forget.id).await);
        assert_eq!(folders(&bench), 1);
        let restored = bench.restore(restore_request(&bench, &second)).await;
        assert_eq!(restored.state, JobState::Succeeded, "{}", bench.log(restored.id).await);
        assert_eq!(contents(&bench.path("photos")), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_into_which_a_backup_is_under_way_outlives_the_last_one_that_lay_there() {
    for database in databases() {
        let gate = Arc::new(Gate::default());
        let bench = Bench::with(|options| {
            options.database = database;
            options.observer = Some(gate.observer());
        })
        .await;
        let repository = repository(&bench).await;
        let before = contents(&bench.path("photos"));
        let first = bench.back_up_as(request(&bench, &repository)).await;
        assert_eq!(first.state, BackupState::Succeeded, "{}", bench.log(first.job).await);
        gate.close("capture", 1);
        let second = bench.engine.start_backup(&admin(), request(&bench, &repository)).await.unwrap();
        gate.arrived("capture", 1, 2).await;
        let forget = bench.engine.delete_backup(&admin(), first.id, vec![]).await.unwrap();
        let forget = bench.ended(forget.id).await;
        assert_eq!(forget.state, JobState::Succeeded, "{}", bench.log(forget.id).await);
        gate.open();
        bench.ended(second.job.id).await;
        let second = bench.backup(second.backup.id).await.unwrap();
        assert_eq!(second.state, BackupState::Succeeded, "{}", bench.log(second.job).await);
        assert_eq!(second.parts[0].vault, first.parts[0].vault);
        let restored = bench.restore(restore_request(&bench, &second)).await;
        assert_eq!(restored.state, JobState::Succeeded, "{}", bench.log(restored.id).await);
        assert_eq!(contents(&bench.path("photos")), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_interrupted_removal_of_a_vault_leaves_is_removed_later_and_its_backup_is_lost() {
    let dies = Arc::new(AtomicBool::new(true));
    let bench = Bench::with(|options| {
        let dies = Arc::clone(&dies);
        let observer: Observer = Arc::new(move |point: &Point<'_>| {
            assert!(point.name != "retired" || !dies.load(Ordering::SeqCst), "the forget dies here");
        });
        options.observer = Some(observer);
    })
    .await;
    let repository = repository(&bench).await;
    let first = bench.back_up_as(request(&bench, &repository)).await;
    let vault = first.parts[0].vault.unwrap();
    let forget = bench.engine.delete_backup(&admin(), first.id, vec![]).await.unwrap();
    assert_eq!(bench.ended(forget.id).await.state, JobState::Failed);
    assert_eq!(folders(&bench), 1);
    dies.store(false, Ordering::SeqCst);
    let vaults = bench.engine.vaults(&admin()).await.unwrap();
    assert!(vaults.iter().all(|found| found.id != vault), "nobody is told of it any more");

    bench.engine.reconcile().await.unwrap();
    assert_eq!(folders(&bench), 0);
    let lost = bench.backup(first.id).await.unwrap();
    assert_eq!((lost.state, lost.parts[0].state), (BackupState::Lost, BackupState::Lost));
    let forget = bench.engine.delete_backup(&admin(), first.id, vec![]).await.unwrap();
    let forget = bench.ended(forget.id).await;
    assert_eq!(forget.state, JobState::Succeeded, "{}", bench.log(forget.id).await);
    assert!(bench.backup(first.id).await.is_none());
    let second = bench.back_up_as(request(&bench, &repository)).await;
    assert_eq!(second.state, BackupState::Succeeded, "{}", bench.log(second.job).await);
    assert_ne!(second.parts[0].vault, Some(vault));
}
