//! What merges look at, and backups that are folded into newer ones.

use chrono::{DateTime, Utc};
use trivault_engine::{db::*, *};
use uuid::Uuid;

use crate::{contract, fixtures::*};

contract!(
    a_merge_looks_at_every_backup_that_was_begun_newest_first,
    a_folded_backup_leaves_the_catalogue_and_its_names_stay_with_the_newer_one,
    what_was_promised_until_a_day_is_kept_until_then,
    scopes_are_taken_in_addition_where_nobody_else_needs_them,
    what_a_job_was_about_outlives_the_backups,
    an_attempt_that_lost_its_lease_folds_nothing,
);

fn named(name: &'static str) -> impl Fn(DateTime<Utc>) -> Vec<Proposal> + Send + Sync {
    move |_| vec![Proposal { namespace: "test".into(), name: name.into(), number_if_taken: false }]
}

async fn three(db: &Database, world: &World) -> [Backup; 3] {
    let make = async |second, name| make_named_backup(db, world, &world.repository, second, &named(name)).await;
    [make(10, "one").await, make(20, "two").await, make(30, "three").await]
}

async fn a_merge_looks_at_every_backup_that_was_begun_newest_first(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let other = world.another_repository(db, "other").await;
    let [first, second, _] = three(db, &world).await;
    make_backup(db, &world, &other, 40).await;
    let run = running(db, JobKind::Verify, 50).await;
    let part = second.parts[0].id;
    let damage = PartDamage { part, seen_by: VerifyLevel::Data, found_at: at(51), sentence: "x".into() };
    db.mark_damaged(run, &damage, at(51)).await.unwrap().held().unwrap();
    // One that failed after it was begun has a point; one that waits has none.
    let begun = world.backup(&world.repository, at(60));
    db.enqueue(&begun).await.unwrap();
    let run = claim(db, NODE, 60).await.unwrap().run;
    db.begin_backup(run, BackupKind::Full, at(60), &no_names).await.unwrap().held().unwrap();
    db.finish(run, &failed(), at(61)).await.unwrap().held().unwrap();
    db.enqueue(&world.backup(&world.repository, at(70))).await.unwrap();
    let found = db.merge_candidates(world.repository.id).await.unwrap();
    let shown: Vec<_> = found.iter().map(|it| (it.at, it.state, it.damaged, it.sources.len())).collect();
    assert_eq!(
        shown,
        [
            (at(60), BackupState::Failed, false, 0),
            (at(30), BackupState::Succeeded, false, 1),
            (at(20), BackupState::Succeeded, true, 1),
            (at(10), BackupState::Succeeded, false, 1),
        ]
    );
    let expected = MergeCandidate {
        id: first.id,
        at: at(10),
        state: BackupState::Succeeded,
        protected: false,
        damaged: false,
        sources: vec![world.source.id],
    };
    assert_eq!(found[3], expected);
    assert_eq!(db.merge_candidates(RepositoryId(Uuid::now_v7())).await.unwrap(), []);
}

async fn a_folded_backup_leaves_the_catalogue_and_its_names_stay_with_the_newer_one(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let [first, second, third] = three(db, &world).await;
    let run = running(db, JobKind::Merge, 40).await;
    assert!(db.merged_into(&[first.id, second.id, third.id]).await.unwrap().is_empty());
    db.fold_backup(run, first.id, second.id, at(41)).await.unwrap().held().unwrap();
    assert_eq!(db.backup(first.id).await.unwrap(), None);
    // Folded itself, what it held goes with it; doing it again changes nothing.
    for second_time in [false, true] {
        db.fold_backup(run, second.id, third.id, at(42)).await.unwrap().held().unwrap();
        let merged = db.merged_into(&[second.id, third.id]).await.unwrap();
        assert_eq!(merged.len(), 1, "{second_time}");
        let Merged { backups, kind } = &merged[&third.id];
        let former =
            |backup: &Backup, name: &str| FormerBackup { id: backup.id, names: vec![Alias::new("test", name)] };
        assert_eq!(*backups, [former(&first, "one"), former(&second, "two")], "oldest first");
        assert_eq!(*kind, BackupKind::Incremental);
    }
    let left =
        db.backups(&BackupFilter { repository: Some(world.repository.id), ..BackupFilter::default() }).await.unwrap();
    assert_eq!(left.iter().map(|backup| backup.id).collect::<Vec<_>>(), [third.id]);
    assert!(db.prunings().await.unwrap().contains_key(&world.vault.id), "its bytes may be unused");
}

async fn what_was_promised_until_a_day_is_kept_until_then(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    for (older, newer, expected) in [
        (Some(900), Some(500), Some(900)),
        (Some(500), Some(900), Some(900)),
        (Some(900), None, None),
        (None, Some(500), Some(500)),
    ] {
        let base = 10;
        let into = make_backup(db, &world, &world.repository, base + 10).await;
        let from = make_backup(db, &world, &world.repository, base).await;
        for (backup, until) in [(&from, older), (&into, newer)] {
            db.set_keep_until(backup.id, until.map(at), &audit("x")).await.unwrap();
        }
        let run = running(db, JobKind::Merge, 100).await;
        db.fold_backup(run, from.id, into.id, at(101)).await.unwrap().held().unwrap();
        db.finish(run, &succeeded(), at(102)).await.unwrap().held().unwrap();
        let kept = db.backup(into.id).await.unwrap().unwrap().keep_until;
        assert_eq!(kept, expected.map(at), "{older:?} into {newer:?}");
    }
}

async fn scopes_are_taken_in_addition_where_nobody_else_needs_them(place: Place) {
    let (db, _) = (&place.db, World::create(&place.db).await);
    let (one, two, three) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let mut other = enqueue(plain_job(JobKind::Restore, at(0)));
    other.job.scopes = vec![alone(Resource::Part, one), shared(Resource::Part, two)];
    let run = running(db, JobKind::Merge, 1).await;
    db.enqueue(&other).await.unwrap();
    let take = async |scopes: &[JobScope]| db.take_scopes(run, scopes, at(2)).await.unwrap().held().unwrap();
    assert!(
        !take(&[shared(Resource::Part, three), shared(Resource::Part, one)]).await,
        "a job that waits needs it too"
    );
    assert_eq!(db.live_jobs_on(Resource::Part, three).await.unwrap(), [], "all of them or none");
    assert!(!take(&[alone(Resource::Part, two)]).await);
    assert!(take(&[alone(Resource::Part, three), shared(Resource::Part, two)]).await);
    assert_eq!(db.live_jobs_on(Resource::Part, three).await.unwrap().len(), 1);
    assert!(take(&[alone(Resource::Part, three)]).await, "its own");
    assert!(!db.take_scopes(lost(run), &[alone(Resource::Part, three)], at(3)).await.unwrap().is_held());
    db.finish(run, &succeeded(), at(4)).await.unwrap().held().unwrap();
    assert_eq!(db.live_jobs_on(Resource::Part, three).await.unwrap(), []);
}

async fn what_a_job_was_about_outlives_the_backups(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let [first, second, third] = three(db, &world).await;
    let run = running(db, JobKind::Merge, 40).await;
    assert!(db.backups_of_jobs(&[run.job]).await.unwrap().is_empty());
    db.record_job_backups(run, &[third.id], at(41)).await.unwrap().held().unwrap();
    db.record_job_backups(run, &[first.id, second.id], at(42)).await.unwrap().held().unwrap();
    assert!(!db.record_job_backups(lost(run), &[third.id], at(43)).await.unwrap().is_held());
    db.fold_backup(run, first.id, second.id, at(44)).await.unwrap().held().unwrap();
    db.finish(run, &succeeded(), at(45)).await.unwrap().held().unwrap();
    let found = db.backups_of_jobs(&[run.job, JobId(Uuid::now_v7())]).await.unwrap();
    assert_eq!(found.len(), 1);
    let former = |backup: &Backup, name: &str| FormerBackup { id: backup.id, names: vec![Alias::new("test", name)] };
    assert_eq!(found[&run.job], [former(&first, "one"), former(&second, "two")]);
}

async fn an_attempt_that_lost_its_lease_folds_nothing(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let [first, second, _] = three(db, &world).await;
    let run = running(db, JobKind::Merge, 40).await;
    assert!(!db.fold_backup(lost(run), first.id, second.id, at(41)).await.unwrap().is_held());
    assert_eq!(db.backup(first.id).await.unwrap(), Some(first));
    assert!(db.merged_into(&[second.id]).await.unwrap().is_empty());
}
