//! Backups, their points and their lists; lists of jobs.

use serde_json::json;
use trivault_engine::{db::*, *};

use crate::{contract, fixtures::*};

contract!(
    a_backup_exists_whole_after_its_enqueue,
    points_rise_strictly_within_a_repository,
    points_rise_when_two_nodes_begin_at_once,
    a_part_that_succeeded_has_all_its_figures,
    backups_are_listed_newest_first_by_filter,
    jobs_are_listed_newest_first_by_filter,
    a_forgotten_backup_leaves_nothing_behind,
    a_vanished_snapshot_makes_its_backup_lost,
    keep_until_is_kept_to_the_microsecond,
);

async fn a_backup_exists_whole_after_its_enqueue(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let mut request = world.backup(&world.repository, at(0));
    let expected = request.backup.clone().unwrap();
    let object = ObjectRef::new(ObjectKind::Part, expected.parts[0].id.0);
    request.labels.attributes = vec![(object, Attribute::new("dbaas", "method", json!("manual")))];
    db.enqueue(&request).await.unwrap();
    assert_eq!(db.backup(expected.id).await.unwrap(), Some(expected.clone()));
    assert_eq!(db.job(request.job.job.id).await.unwrap(), Some(request.job.job.clone()));
    let attributes = db.attributes_of("dbaas", &[object]).await.unwrap();
    assert_eq!(attributes[&object], [Attribute::new("dbaas", "method", json!("manual"))]);
    // Refused in its last statement, nothing of a request stands.
    let mut refused = world.backup(&world.repository, at(1));
    let long = Attribute::new("x", "long", json!("y".repeat(17 * 1024)));
    refused.labels.attributes = vec![(object, long)];
    assert_eq!(db.enqueue(&refused).await.unwrap_err().code, ErrorCode::InvalidInput);
    assert!(db.job(refused.job.job.id).await.unwrap().is_none());
    assert!(db.backup(refused.backup.unwrap().id).await.unwrap().is_none());
}

async fn points_rise_strictly_within_a_repository(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let mut last = None;
    // The clock stands still, then goes back.
    for second in [10, 10, 5] {
        let request = world.backup(&world.repository, at(0));
        db.enqueue(&request).await.unwrap();
        let run = claim(db, NODE, 20).await.unwrap().run;
        let backup = db.begin_backup(run, BackupKind::Full, at(second), &no_names).await.unwrap().held().unwrap();
        assert!(backup.point > last, "{:?} after {last:?}", backup.point);
        assert_eq!(backup.state, BackupState::Running);
        last = backup.point;
        db.finish(run, &failed(), at(20)).await.unwrap().held().unwrap();
    }
    assert_eq!(last, Some(at(10) + chrono::TimeDelta::microseconds(2)));
}

async fn points_rise_when_two_nodes_begin_at_once(place: Place) {
    let (db, world) = (place.db.clone(), World::create(&place.db).await);
    let mut runs = Vec::new();
    for _ in 0..8 {
        let mut request = world.backup(&world.repository, at(0));
        // Not what a real backup asks for: all of them run at the same time here.
        request.job.scopes.clear();
        db.enqueue(&request).await.unwrap();
        runs.push(claim(&db, NODE, 1).await.unwrap().run);
    }
    let other = place.second_node().await;
    let mut tasks = tokio::task::JoinSet::new();
    for (number, run) in runs.into_iter().enumerate() {
        let db = if number % 2 == 0 { db.clone() } else { other.clone() };
        tasks.spawn(async move {
            db.begin_backup(run, BackupKind::Full, at(2), &no_names).await.unwrap().held().unwrap().point.unwrap()
        });
    }
    let mut points = tasks.join_all().await;
    points.sort();
    points.dedup();
    assert_eq!(points.len(), 8);
}

async fn a_part_that_succeeded_has_all_its_figures(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let backup = make_backup(db, &world, &world.repository, 10).await;
    let part = &backup.parts[0];
    let done = world.done(part.id);
    assert_eq!((backup.state, part.state), (BackupState::Succeeded, BackupState::Succeeded));
    assert_eq!((part.vault, part.snapshot.as_ref()), (Some(done.vault), Some(&done.snapshot)));
    assert_eq!((part.size, part.stored_size, part.items), (Some(1_000), Some(100), Some(7)));
    assert_eq!((part.download_size, &part.manifest), (Some(1_234), &done.manifest));
    assert_eq!((part.started_at, part.finished_at), (Some(at(10)), Some(at(11))));
    assert_eq!((backup.started_at, backup.finished_at, backup.size()), (Some(at(10)), Some(at(11)), 1_000));
    let newer = make_backup(db, &world, &world.repository, 20).await;
    let previous = db.previous_part(world.source.id, world.vault.id).await.unwrap().unwrap();
    assert_eq!(previous.id, newer.parts[0].id);
    assert_eq!(db.parts_in_vault(world.vault.id).await.unwrap().len(), 2);
}

async fn backups_are_listed_newest_first_by_filter(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let other = world.another_repository(db, "other").await;
    let first = make_backup(db, &world, &world.repository, 10).await;
    let second = make_backup(db, &world, &other, 20).await;
    let mut queued = world.backup(&other, at(30));
    queued.backup.as_mut().unwrap().protected = true;
    db.enqueue(&queued).await.unwrap();
    let third = queued.backup.unwrap();
    let list = async |filter: BackupFilter| db.backups(&filter).await.unwrap();
    let all = BackupFilter::default;
    assert_eq!(list(all()).await, [third.clone(), second.clone(), first.clone()]);
    assert_eq!(list(BackupFilter { repository: Some(world.repository.id), ..all() }).await, [first.clone()]);
    assert_eq!(
        list(BackupFilter { store: Some(world.store.id), limit: Some(1), offset: 1, ..all() }).await,
        [second.clone()]
    );
    assert_eq!(list(BackupFilter { source: Some(world.source.id), ..all() }).await.len(), 3);
    assert_eq!(list(BackupFilter { source: Some(SourceId(uuid::Uuid::now_v7())), ..all() }).await, []);
    let states = vec![BackupState::Succeeded, BackupState::Lost];
    assert_eq!(list(BackupFilter { states, ..all() }).await, [second, first]);
    assert_eq!(list(BackupFilter { protected: Some(true), ..all() }).await, [third]);
}

async fn jobs_are_listed_newest_first_by_filter(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let mut ids = Vec::new();
    for second in [10, 20, 30] {
        let mut request = world.backup(&world.repository, at(second));
        let object = ObjectRef::new(ObjectKind::Job, request.job.job.id.0);
        let name = format!("BACKUP-{second}");
        let proposal = Proposal { namespace: "couchbase.task".into(), name, number_if_taken: false };
        request.labels.names.push((object, proposal));
        request.job.job.task = (second == 20).then(|| "daily".into());
        ids.push(request.job.job.id);
        db.enqueue(&request).await.unwrap();
    }
    db.enqueue(&world.restore(at(15))).await.unwrap();
    claim(db, NODE, 100).await.unwrap();
    let list = async |filter: JobFilter| -> Vec<JobId> {
        db.jobs(&filter).await.unwrap().into_iter().map(|job| job.id).collect()
    };
    let all = JobFilter::default;
    let in_repository = || JobFilter { repository: Some(world.repository.id), ..all() };
    assert_eq!(list(in_repository()).await, [ids[2], ids[1], ids[0]]);
    assert_eq!(list(JobFilter { limit: Some(1), offset: 1, ..in_repository() }).await, [ids[1]]);
    assert_eq!(list(JobFilter { kinds: vec![JobKind::Restore], ..all() }).await.len(), 1);
    assert_eq!(list(JobFilter { states: vec![JobState::Running, JobState::Failed], ..all() }).await, [ids[0]]);
    // The first one was created early and started late.
    assert_eq!(list(JobFilter { started_from: Some(at(25)), ..in_repository() }).await, [ids[2], ids[0]]);
    let named = |name: &str| JobFilter { name: Some(Alias::new("couchbase.task", name)), ..all() };
    assert_eq!(list(named("daily")).await, [ids[1]]);
    assert_eq!(list(named("BACKUP-30")).await, [ids[2]]);
    assert_eq!(list(named("BACKUP-3")).await, []);
    assert_eq!(list(JobFilter { store: Some(world.store.id), ..all() }).await.len(), 4);
}

async fn a_forgotten_backup_leaves_nothing_behind(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let backup = make_backup(db, &world, &world.repository, 10).await;
    let objects =
        [ObjectRef::new(ObjectKind::Backup, backup.id.0), ObjectRef::new(ObjectKind::Part, backup.parts[0].id.0)];
    let mut labels = Labels::default();
    for object in objects {
        let proposal = Proposal { namespace: "n".into(), name: "taken".into(), number_if_taken: true };
        labels.names.push((object, proposal));
        labels.attributes.push((object, Attribute::new("n", "k", json!(1))));
    }
    db.add_labels(&labels, at(12)).await.unwrap();
    let mut job = plain_job(JobKind::Forget, at(20));
    job.job.backup = Some(backup.id);
    db.enqueue(&enqueue(job)).await.unwrap();
    let run = claim(db, NODE, 21).await.unwrap().run;
    let finish = Finish { delete_backup: true, ..succeeded() };
    db.finish(run, &finish, at(22)).await.unwrap().held().unwrap();
    assert!(db.backup(backup.id).await.unwrap().is_none());
    assert!(db.backup_of_part(backup.parts[0].id).await.unwrap().is_none());
    assert!(db.resolve("n", "taken").await.unwrap().is_none() && db.resolve("n", "taken-2").await.unwrap().is_none());
    assert!(db.attributes_of("n", &objects).await.unwrap().is_empty());
    assert_eq!(db.job(run.job).await.unwrap().unwrap().backup, Some(backup.id));
}

async fn a_vanished_snapshot_makes_its_backup_lost(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let backup = make_backup(db, &world, &world.repository, 10).await;
    let part = backup.parts[0].id;
    assert!(db.mark_part_lost(part, "The snapshot is gone.", at(30)).await.unwrap());
    assert!(!db.mark_part_lost(part, "The snapshot is gone.", at(31)).await.unwrap());
    let backup = db.backup(backup.id).await.unwrap().unwrap();
    assert_eq!((backup.state, backup.parts[0].state), (BackupState::Lost, BackupState::Lost));
    assert_eq!((backup.error.as_deref(), backup.finished_at), (Some("The snapshot is gone."), Some(at(11))));
    assert!(db.previous_part(world.source.id, world.vault.id).await.unwrap().is_none());
    assert_eq!(db.lost_parts_in_vault(world.vault.id).await.unwrap(), backup.parts);
    assert!(db.mark_part_found(part).await.unwrap());
    assert!(!db.mark_part_found(part).await.unwrap());
    let backup = db.backup(backup.id).await.unwrap().unwrap();
    assert_eq!((backup.state, backup.parts[0].state), (BackupState::Succeeded, BackupState::Succeeded));
    assert_eq!((&backup.error, &backup.parts[0].error), (&None, &None));
    assert_eq!(db.previous_part(world.source.id, world.vault.id).await.unwrap(), backup.parts.first().cloned());
}

async fn keep_until_is_kept_to_the_microsecond(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let backup = make_backup(db, &world, &world.repository, 10).await;
    let until = at(0) + chrono::TimeDelta::microseconds(123_456);
    assert!(db.set_keep_until(backup.id, Some(until), &audit("backup.keep")).await.unwrap());
    assert_eq!(db.backup(backup.id).await.unwrap().unwrap().keep_until, Some(until));
    assert!(db.set_keep_until(backup.id, None, &audit("backup.keep")).await.unwrap());
    assert_eq!(db.backup(backup.id).await.unwrap().unwrap().keep_until, None);
    let last = chrono::DateTime::from_timestamp(253_402_300_799, 999_999_000).unwrap();
    assert!(db.set_keep_until(backup.id, Some(last), &audit("backup.keep")).await.unwrap());
    assert_eq!(db.backup(backup.id).await.unwrap().unwrap().keep_until, Some(last));
    let beyond = Some(last + chrono::TimeDelta::microseconds(1));
    let error = db.set_keep_until(backup.id, beyond, &audit("backup.keep")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidInput);
    let mut request = world.backup(&world.repository, at(50));
    request.backup.as_mut().unwrap().keep_until = beyond;
    assert_eq!(db.enqueue(&request).await.unwrap_err().code, ErrorCode::InvalidInput);
    assert!(!db.set_keep_until(BackupId(uuid::Uuid::now_v7()), None, &audit("backup.keep")).await.unwrap());
}
