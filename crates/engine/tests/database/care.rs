//! What verification has found, when it last looked, and what prunes have to do.

use trivault_engine::{db::*, *};

use crate::{contract, fixtures::*};

contract!(
    a_mark_keeps_its_time_takes_the_least_level_and_is_taken_off,
    damage_is_found_by_backup_by_vault_and_by_repository,
    an_attempt_that_lost_its_lease_writes_no_verdict,
    verifications_tell_attempts_verdicts_and_good_ones_apart,
    what_was_forgotten_is_unused_until_a_prune_that_began_later_has_ended,
    a_vault_under_a_passcode_has_nothing_to_prune,
    the_oldest_writer_is_the_backup_that_began_first_and_still_runs,
    the_oldest_backup_of_vaults_and_repositories_that_have_one,
);

fn damage(part: PartId, seen_by: VerifyLevel, second: i64, sentence: &str) -> PartDamage {
    PartDamage { part, seen_by, found_at: at(second), sentence: sentence.into() }
}

async fn a_mark_keeps_its_time_takes_the_least_level_and_is_taken_off(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let backup = make_backup(db, &world, &world.repository, 10).await;
    let part = backup.parts[0].id;
    let run = running(db, JobKind::Verify, 20).await;
    let mark = async |damage: &PartDamage| db.mark_damaged(run, damage, damage.found_at).await.unwrap().held().unwrap();
    let known = async || db.damage_of(&[backup.id]).await.unwrap();
    assert!(mark(&damage(part, VerifyLevel::Restore, 21, "a.db: d\u{fc}rr")).await, "it is new");
    assert_eq!(known().await, [damage(part, VerifyLevel::Restore, 21, "a.db: d\u{fc}rr")]);
    assert!(!mark(&damage(part, VerifyLevel::Data, 22, "b.db")).await, "it is known");
    assert_eq!(known().await, [damage(part, VerifyLevel::Data, 21, "b.db")]);
    assert!(!mark(&damage(part, VerifyLevel::Restore, 23, "c.db")).await);
    assert_eq!(
        known().await,
        [damage(part, VerifyLevel::Data, 21, "c.db")],
        "a deeper look sees what a lesser one has seen"
    );
    db.damage_is_structural(run, &[part], at(24)).await.unwrap().held().unwrap();
    assert_eq!(known().await[0].seen_by, VerifyLevel::Structure);
    assert!(db.clear_damage(run, part, at(25)).await.unwrap().held().unwrap());
    assert!(!db.clear_damage(run, part, at(26)).await.unwrap().held().unwrap());
    assert_eq!(known().await, []);
    // Of a part that is gone meanwhile nothing is written.
    assert!(mark(&damage(PartId(uuid::Uuid::now_v7()), VerifyLevel::Data, 27, "x")).await);
    assert_eq!(db.damaged_backups().await.unwrap(), []);
}

async fn damage_is_found_by_backup_by_vault_and_by_repository(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let other = world.another_repository(db, "other").await;
    let mut backups = Vec::new();
    for (repository, second) in [(&world.repository, 10), (&world.repository, 20), (&other, 30), (&other, 40)] {
        backups.push(make_backup(db, &world, repository, second).await);
    }
    let run = running(db, JobKind::Verify, 50).await;
    let part = |place: usize| backups[place].parts[0].id;
    for place in [3, 1] {
        let damage = damage(part(place), VerifyLevel::Data, 51, "x");
        db.mark_damaged(run, &damage, at(51)).await.unwrap().held().unwrap();
    }
    let parts = async |ids: &[BackupId]| {
        let found = db.damage_of(ids).await.unwrap();
        found.into_iter().map(|damage| damage.part).collect::<Vec<_>>()
    };
    assert_eq!(parts(&[]).await, []);
    assert_eq!(parts(&[backups[0].id, backups[1].id]).await, [part(1)]);
    let all: Vec<BackupId> = backups.iter().map(|backup| backup.id).collect();
    assert_eq!(parts(&all).await, [part(1), part(3)]);
    assert_eq!(db.damage_in(world.vault.id).await.unwrap().len(), 2);
    assert_eq!(db.damage_in(VaultId(uuid::Uuid::now_v7())).await.unwrap(), []);
    let of = [(world.repository.id, backups[1].id), (other.id, backups[3].id)];
    assert_eq!(db.damaged_backups().await.unwrap(), of);
    let damaged = |repository| async move {
        let found = db.retention_candidates(repository).await.unwrap();
        found.iter().map(|candidate| candidate.damaged).filter(|damaged| *damaged).count()
    };
    assert_eq!((damaged(world.repository.id).await, damaged(other.id).await), (1, 1));
}

async fn an_attempt_that_lost_its_lease_writes_no_verdict(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let backup = make_backup(db, &world, &world.repository, 10).await;
    let part = backup.parts[0].id;
    let held = running(db, JobKind::Verify, 20).await;
    let run = lost(held);
    let (vault, repository) = (Verified::Vault(world.vault.id), Verified::Repository(world.repository.id));
    let damage = damage(part, VerifyLevel::Data, 21, "x");
    db.mark_damaged(held, &damage, at(21)).await.unwrap().held().unwrap();
    assert!(
        !db.mark_damaged(run, &PartDamage { sentence: "y".into(), ..damage.clone() }, at(22)).await.unwrap().is_held()
    );
    assert!(!db.clear_damage(run, part, at(22)).await.unwrap().is_held());
    assert!(!db.damage_is_structural(run, &[part], at(22)).await.unwrap().is_held());
    assert!(!db.verification_began(run, vault, &[VerifyLevel::Data], at(22)).await.unwrap().is_held());
    let verdict = [(VerifyLevel::Restore, true)];
    assert!(!db.verification_ended(run, repository, &verdict, at(22)).await.unwrap().is_held());
    assert!(!db.prune_began(run, world.vault.id, at(22)).await.unwrap().is_held());
    assert!(!db.prune_ended(run, world.vault.id, at(22), None, at(22)).await.unwrap().is_held());
    assert_eq!(db.damage_of(&[backup.id]).await.unwrap(), [damage]);
    assert!(db.verifications().await.unwrap().is_empty() && db.prunings().await.unwrap().is_empty());
}

async fn verifications_tell_attempts_verdicts_and_good_ones_apart(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let run = running(db, JobKind::Verify, 10).await;
    let (vault, repository) = (Verified::Vault(world.vault.id), Verified::Repository(world.repository.id));
    let both = [VerifyLevel::Structure, VerifyLevel::Data];
    let began = async |of, levels: &[VerifyLevel], second| {
        db.verification_began(run, of, levels, at(second)).await.unwrap().held().unwrap();
    };
    let ended = async |of, verdict: &[(VerifyLevel, bool)], second| {
        db.verification_ended(run, of, verdict, at(second)).await.unwrap().held().unwrap();
    };
    let row = async |object: uuid::Uuid, level| {
        let rows = db.verifications().await.unwrap();
        let row = rows.get(&object)?.iter().find(|row| row.level == level)?;
        Some((row.attempted_at, row.concluded_at, row.succeeded_at))
    };
    let object = world.vault.id.0;
    assert_eq!(row(object, VerifyLevel::Data).await, None, "never verified is a state of its own");
    began(vault, &both, 11).await;
    assert_eq!(row(object, VerifyLevel::Data).await, Some((at(11), None, None)));
    ended(vault, &[(VerifyLevel::Structure, true), (VerifyLevel::Data, false)], 12).await;
    assert_eq!(row(object, VerifyLevel::Structure).await, Some((at(11), Some(at(12)), Some(at(12)))));
    assert_eq!(row(object, VerifyLevel::Data).await, Some((at(11), Some(at(12)), None)));
    began(vault, &both[..1], 13).await;
    ended(vault, &[(VerifyLevel::Structure, false)], 14).await;
    assert_eq!(
        row(object, VerifyLevel::Structure).await,
        Some((at(13), Some(at(14)), Some(at(12)))),
        "the last good one stays"
    );
    began(repository, &[VerifyLevel::Restore], 15).await;
    assert_eq!(row(world.repository.id.0, VerifyLevel::Restore).await, Some((at(15), None, None)));
    assert_eq!(db.verifications().await.unwrap().len(), 2);
}

/// A backup leaves the catalogue.
async fn forget(db: &Database, backup: &Backup, second: i64) {
    let mut request = enqueue(plain_job(JobKind::Forget, at(second)));
    request.job.job.backup = Some(backup.id);
    db.enqueue(&request).await.unwrap();
    let run = claim(db, NODE, second).await.unwrap().run;
    let gone = Finish { delete_backup: true, ..succeeded() };
    db.finish(run, &gone, at(second)).await.unwrap().held().unwrap();
    assert_eq!(db.backup(backup.id).await.unwrap(), None);
}

async fn what_was_forgotten_is_unused_until_a_prune_that_began_later_has_ended(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let vault = world.vault.id;
    let mut backups = Vec::new();
    for second in [10, 20, 30, 40] {
        backups.push(make_backup(db, &world, &world.repository, second).await);
    }
    let row = async || db.prunings().await.unwrap().get(&vault).copied();
    let expected = |forgotten, unused, attempted: Option<i64>, pruned: Option<i64>, again: Option<i64>| {
        Some(PruningRow {
            forgotten_at: Some(at(forgotten)),
            unused_since: unused,
            attempted_at: attempted.map(at),
            pruned_at: pruned.map(at),
            again_at: again.map(at),
        })
    };
    assert_eq!(row().await, None);
    forget(db, &backups[0], 50).await;
    forget(db, &backups[1], 60).await;
    assert_eq!(row().await, expected(60, Some(at(50)), None, None, None), "since the first that nobody has dealt with");
    // A prune that comes to no end changes nothing of that.
    let run = running(db, JobKind::Prune, 65).await;
    db.prune_began(run, vault, at(65)).await.unwrap().held().unwrap();
    db.finish(run, &failed(), at(66)).await.unwrap().held().unwrap();
    assert_eq!(row().await, expected(60, Some(at(50)), Some(65), None, None));
    // While one runs, a third backup goes: that is for the next.
    let run = running(db, JobKind::Prune, 70).await;
    db.prune_began(run, vault, at(70)).await.unwrap().held().unwrap();
    forget(db, &backups[2], 75).await;
    db.prune_ended(run, vault, at(70), Some(at(500)), at(80)).await.unwrap().held().unwrap();
    db.finish(run, &succeeded(), at(80)).await.unwrap().held().unwrap();
    assert_eq!(row().await, expected(75, Some(at(70)), Some(70), Some(70), Some(500)));
    let run = running(db, JobKind::Prune, 90).await;
    db.prune_began(run, vault, at(90)).await.unwrap().held().unwrap();
    db.prune_ended(run, vault, at(90), None, at(95)).await.unwrap().held().unwrap();
    db.finish(run, &succeeded(), at(95)).await.unwrap().held().unwrap();
    assert_eq!(row().await, expected(75, None, Some(90), Some(90), None));
    forget(db, &backups[3], 100).await;
    assert_eq!(row().await, expected(100, Some(at(100)), Some(90), Some(90), None));
}

async fn a_vault_under_a_passcode_has_nothing_to_prune(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let mut request = world.backup(&world.repository, at(10));
    let backup = request.backup.as_mut().unwrap();
    backup.protected = true;
    let backup = backup.clone();
    db.enqueue(&request).await.unwrap();
    let run = claim(db, NODE, 10).await.unwrap().run;
    db.finish(run, &failed(), at(11)).await.unwrap().held().unwrap();
    forget(db, &backup, 20).await;
    assert!(db.prunings().await.unwrap().is_empty());
}

async fn the_oldest_writer_is_the_backup_that_began_first_and_still_runs(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let other = world.another_repository(db, "other").await;
    let prune = running(db, JobKind::Prune, 5).await;
    let oldest = async || db.oldest_writer(world.vault.id, prune.job).await.unwrap();
    assert_eq!(oldest().await, None, "a prune is no writer");
    let mut runs = Vec::new();
    for (repository, second) in [(&world.repository, 10), (&other, 20)] {
        let request = world.backup(repository, at(second - 1));
        db.enqueue(&request).await.unwrap();
        assert_eq!(oldest().await, runs.first().map(|_| at(10)), "one that waits does not write");
        runs.push(claim(db, NODE, second).await.unwrap().run);
    }
    assert_eq!(oldest().await, Some(at(10)));
    assert_eq!(db.oldest_writer(world.vault.id, runs[0].job).await.unwrap(), Some(at(20)));
    db.finish(runs[0], &failed(), at(30)).await.unwrap().held().unwrap();
    assert_eq!(oldest().await, Some(at(20)));
    db.finish(runs[1], &failed(), at(31)).await.unwrap().held().unwrap();
    assert_eq!(oldest().await, None);
}

async fn the_oldest_backup_of_vaults_and_repositories_that_have_one(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let other = world.another_repository(db, "other").await;
    assert!(db.oldest_backups().await.unwrap().is_empty());
    for (repository, second) in [(&other, 10), (&world.repository, 20), (&world.repository, 30)] {
        make_backup(db, &world, repository, second).await;
    }
    let oldest = db.oldest_backups().await.unwrap();
    assert_eq!(oldest.len(), 3);
    assert_eq!(oldest[&world.vault.id.0], at(11));
    assert_eq!((oldest[&other.id.0], oldest[&world.repository.id.0]), (at(11), at(21)));
}
