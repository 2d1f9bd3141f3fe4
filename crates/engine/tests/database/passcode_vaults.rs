//! Vaults of passcodes: either a job works in one, or it is retired.

use trivault_engine::{db::*, *};
use uuid::Uuid;

use crate::{contract, fixtures::*};

contract!(
    a_vault_is_retired_when_no_backup_in_it_counts_and_none_is_written,
    a_restore_that_runs_keeps_its_vault,
    the_passcode_of_a_retired_vault_begins_anew,
    a_vault_is_held_or_retired_whoever_comes_first_on_two_nodes,
    a_retired_vault_is_struck_off_in_time_when_nothing_names_it,
    an_attempt_that_lost_its_lease_neither_holds_nor_retires,
);

fn passcode_vault(world: &World, locator: u8) -> VaultRow {
    let path = format!("p/{}", Uuid::now_v7().simple());
    let id = VaultId(Uuid::now_v7());
    let record = VaultRecord { id, kind: VaultKind::Passcode, path, ..vault(world.store.id).vault };
    VaultRow { vault: record, sealed_password: None, locator: Some(vec![locator; 16]), retired_at: None }
}

/// A vault that a failed backup has made.
async fn left_vault(db: &Database, world: &World, locator: u8, second: i64) -> VaultRow {
    let row = passcode_vault(world, locator);
    let run = running(db, JobKind::Backup, second).await;
    db.enter_passcode_vault(run, &row, at(second)).await.unwrap().held().unwrap();
    db.finish(run, &failed(), at(second + 1)).await.unwrap().held().unwrap();
    row
}

async fn retire(db: &Database, run: Run, vault: VaultId, second: i64) -> bool {
    db.retire_passcode_vault(run, vault, at(second)).await.unwrap().held().unwrap()
}

async fn a_vault_is_retired_when_no_backup_in_it_counts_and_none_is_written(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let (row, request) = (passcode_vault(&world, 1), world.backup(&world.repository, at(10)));
    let (vault, part) = (row.vault.id, request.backup.as_ref().unwrap().parts[0].id);
    db.enqueue(&request).await.unwrap();
    let backup = claim(db, NODE, 10).await.unwrap().run;
    assert!(db.enter_passcode_vault(backup, &row, at(11)).await.unwrap().held().unwrap() == row);
    let forget = running(db, JobKind::Forget, 12).await;
    assert!(!retire(db, forget, vault, 13).await, "a backup is written to it");

    db.begin_backup(backup, BackupKind::Full, at(14), &no_names).await.unwrap().held().unwrap();
    db.begin_part(backup, part, at(14)).await.unwrap().held().unwrap();
    let done = PartDone { vault, ..world.done(part) };
    db.part_succeeded(backup, &done, at(15)).await.unwrap().held().unwrap();
    db.finish(backup, &succeeded(), at(16)).await.unwrap().held().unwrap();
    assert!(!retire(db, forget, vault, 17).await, "a backup lies in it");
    assert!(db.vault_row(vault).await.unwrap() == Some(row.clone()), "nothing was changed");

    db.begin_removal(forget, part, at(18)).await.unwrap().held().unwrap();
    assert!(retire(db, forget, vault, 19).await);
    assert!(retire(db, forget, vault, 20).await, "an attempt after this one finds it retired");
    let retired = VaultRow { locator: None, retired_at: Some(at(19)), ..row };
    assert!(db.vault_row(vault).await.unwrap() == Some(retired.clone()));
    assert!(db.retired_vaults().await.unwrap() == [retired]);
    assert_eq!(db.vaults().await.unwrap(), [world.vault.clone()]);
    assert!(!retire(db, forget, world.vault.id, 21).await, "the server's vault stays");
}

async fn a_restore_that_runs_keeps_its_vault(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let vault = left_vault(db, &world, 1, 1).await.vault.id;
    let forget = running(db, JobKind::Forget, 10).await;
    let mut restore = enqueue(plain_job(JobKind::Restore, at(11)));
    restore.job.scopes = vec![shared(Resource::Vault, vault.0)];
    db.enqueue(&restore).await.unwrap();
    let restore = claim(db, NODE, 12).await.unwrap().run;
    assert!(!retire(db, forget, vault, 13).await);
    db.finish(restore, &failed(), at(14)).await.unwrap().held().unwrap();

    // One that only waits will find no backup any more, and another forget needs nothing that lies there.
    let mut restore = enqueue(plain_job(JobKind::Restore, at(15)));
    restore.job.scopes = vec![shared(Resource::Vault, vault.0)];
    let mut other = enqueue(plain_job(JobKind::Forget, at(16)));
    other.job.scopes = restore.job.scopes.clone();
    db.enqueue(&other).await.unwrap();
    claim(db, NODE, 16).await.unwrap();
    db.enqueue(&restore).await.unwrap();
    assert!(retire(db, forget, vault, 17).await);
}

async fn the_passcode_of_a_retired_vault_begins_anew(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let old = left_vault(db, &world, 1, 1).await;
    let forget = running(db, JobKind::Forget, 10).await;
    let backup = running(db, JobKind::Backup, 11).await;
    assert!(retire(db, forget, old.vault.id, 12).await);
    let hold = async |second| {
        db.hold_passcode_vault(backup, world.store.id, &[1; 16], at(second)).await.unwrap().held().unwrap()
    };
    assert!(hold(13).await.is_none());
    let new = passcode_vault(&world, 1);
    assert!(db.enter_passcode_vault(backup, &new, at(14)).await.unwrap().held().unwrap() == new);
    let late = passcode_vault(&world, 1);
    assert!(db.enter_passcode_vault(backup, &late, at(15)).await.unwrap().held().unwrap() == new, "it stands already");
    assert!(hold(16).await == Some(new.clone()));
    assert!(!retire(db, forget, new.vault.id, 17).await);
}

async fn a_vault_is_held_or_retired_whoever_comes_first_on_two_nodes(place: Place) {
    let (db, world, other) = (&place.db, World::create(&place.db).await, place.second_node().await);
    let forget = running(db, JobKind::Forget, 1).await;
    for round in 0..20_u8 {
        let second = 10 + i64::from(round) * 10;
        let row = left_vault(db, &world, round, second).await;
        let backup = running(db, JobKind::Backup, second + 2).await;
        let locator = [round; 16];
        let (held, retired) = tokio::join!(
            db.hold_passcode_vault(backup, world.store.id, &locator, at(second + 3)),
            other.retire_passcode_vault(forget, row.vault.id, at(second + 3))
        );
        let (held, retired) = (held.unwrap().held().unwrap(), retired.unwrap().held().unwrap());
        assert_eq!(held.is_some(), !retired, "round {round}");
        db.finish(backup, &failed(), at(second + 4)).await.unwrap().held().unwrap();
    }
}

async fn a_retired_vault_is_struck_off_in_time_when_nothing_names_it(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let (unnamed, named) = (left_vault(db, &world, 1, 1).await.vault.id, left_vault(db, &world, 2, 5).await.vault.id);
    let request = world.backup(&world.repository, at(10));
    let part = request.backup.as_ref().unwrap().parts[0].id;
    db.enqueue(&request).await.unwrap();
    let backup = claim(db, NODE, 10).await.unwrap().run;
    db.begin_backup(backup, BackupKind::Full, at(11), &no_names).await.unwrap().held().unwrap();
    db.begin_part(backup, part, at(11)).await.unwrap().held().unwrap();
    let done = PartDone { vault: named, ..world.done(part) };
    db.part_succeeded(backup, &done, at(12)).await.unwrap().held().unwrap();
    db.finish(backup, &succeeded(), at(13)).await.unwrap().held().unwrap();
    let forget = running(db, JobKind::Forget, 20).await;
    db.begin_removal(forget, part, at(21)).await.unwrap().held().unwrap();

    assert!(!db.strike_off_vault(unnamed, at(1000)).await.unwrap(), "it is not retired");
    for vault in [unnamed, named] {
        assert!(retire(db, forget, vault, 22).await);
        assert!(!db.strike_off_vault(vault, at(22)).await.unwrap(), "it was retired just now");
    }
    assert!(!db.strike_off_vault(named, at(23)).await.unwrap(), "a part names it");
    assert!(db.strike_off_vault(unnamed, at(23)).await.unwrap());
    assert!(!db.strike_off_vault(unnamed, at(23)).await.unwrap());
    assert!(db.vault_row(unnamed).await.unwrap().is_none() && db.vault_row(named).await.unwrap().is_some());
}

async fn an_attempt_that_lost_its_lease_neither_holds_nor_retires(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let row = left_vault(db, &world, 1, 1).await;
    let run = lost(running(db, JobKind::Backup, 10).await);
    let held = db.hold_passcode_vault(run, world.store.id, &[1; 16], at(11)).await.unwrap();
    let entered = db.enter_passcode_vault(run, &passcode_vault(&world, 2), at(11)).await.unwrap();
    let retired = db.retire_passcode_vault(run, row.vault.id, at(11)).await.unwrap();
    assert!(held == Fenced::Lost && entered == Fenced::Lost && retired == Fenced::Lost);
    assert!(db.vault_by_locator(world.store.id, &[2; 16]).await.unwrap().is_none());
    assert!(db.vault_row(row.vault.id).await.unwrap() == Some(row));
}
