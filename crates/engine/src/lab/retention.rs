//! Backups that go because no rule wants them, with a clock that the test owns.

use std::{collections::BTreeMap, sync::Arc};

use chrono::TimeDelta;
use chrono_tz::Tz;
use trivault_vault::backend::{FileKind, LocalRoot, StoreRoot};

use super::{
    bench::{Bench, admin, databases},
    gate::Gate,
};
use crate::{ManualClock, domain::*, service::apply_retention as apply};

#[tokio::test(flavor = "multi_thread")]
async fn what_the_preview_says_is_what_the_next_pass_does() {
    for database in databases() {
        let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
        let bench = Bench::with(|options| {
            options.clock = clock.clone();
            options.database = database;
        })
        .await;
        let source = bench.directory("photos").await;
        let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
        for _ in 0..4 {
            bench.back_up(&repository).await;
            clock.advance(TimeDelta::hours(12));
        }
        let caller = admin();
        let rules = Retention { daily: 2, ..Retention::everything(Tz::UTC) };
        bench.engine.set_retention(&caller, repository.id, Some(rules.clone()), false).await.unwrap();
        assert_eq!(bench.engine.retention(&caller, repository.id).await.unwrap(), rules);
        let preview = bench.engine.preview_retention(&caller, repository.id, None).await.unwrap();
        let said: BTreeMap<_, _> = preview.iter().map(|(_, verdict)| (verdict.id, verdict.keep)).collect();
        assert_eq!(said.values().filter(|keep| **keep).count(), 2, "{preview:?}");

        bench.engine.reconcile().await.unwrap();
        let filter = JobFilter { repository: Some(repository.id), ..JobFilter::default() };
        for job in bench.engine.jobs(&caller, filter).await.unwrap() {
            assert_eq!(bench.ended(job.id).await.state, JobState::Succeeded, "{}", bench.log(job.id).await);
        }
        for (id, keep) in said {
            assert_eq!(bench.backup(id).await.is_some(), keep);
        }
        let again = bench.engine.apply_retention(&caller, repository.id).await.unwrap();
        assert!(again.is_empty(), "a second pass finds nothing to do");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_would_empty_a_repository_are_refused_unless_they_are_meant() {
    let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
    let bench = Bench::with(|options| options.clock = clock.clone()).await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    for _ in 0..3 {
        bench.back_up(&repository).await;
    }
    clock.advance(TimeDelta::days(30));
    let (caller, day) = (admin(), std::time::Duration::from_secs(86_400));
    let rules = Some(Retention { within: Some(day), ..Retention::everything(Tz::UTC) });
    let refused = bench.engine.set_retention(&caller, repository.id, rules.clone(), false).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidInput);
    assert!(refused.sentence.contains("all 3 good backups"), "{}", refused.sentence);
    bench.engine.set_retention(&caller, repository.id, rules, true).await.unwrap();
    let jobs = bench.engine.apply_retention(&caller, repository.id).await.unwrap();
    assert_eq!(jobs.len(), 2, "the last good one stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_when_its_own_date_has_passed() {
    let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
    let bench = Bench::with(|options| options.clock = clock.clone()).await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let dated = bench.back_up(&repository).await;
    bench.back_up(&repository).await;
    let until = Some(bench.engine.now() + TimeDelta::days(1));
    bench.engine.set_keep_until(&admin(), dated.id, until).await.unwrap();
    bench.engine.reconcile().await.unwrap();
    assert!(bench.engine.apply_retention(&admin(), repository.id).await.unwrap().is_empty());
    clock.advance(TimeDelta::days(1));
    let jobs = bench.engine.apply_retention(&admin(), repository.id).await.unwrap();
    assert_eq!(jobs.len(), 1);
    bench.ended(jobs[0].id).await;
    assert!(bench.backup(dated.id).await.is_none());
}

/// Rules of several kinds, a date of its own that has passed and one that has not, a failed backup, one that is being read: the preview
/// says what the next pass does, and the pass after it does the rest.
#[tokio::test(flavor = "multi_thread")]
async fn the_preview_keeps_its_word_about_dates_failures_and_backups_in_use() {
    for database in databases() {
        let gate = Gate::closed("restore", 1);
        let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
        let bench = Bench::with(|options| {
            options.clock = clock.clone();
            options.database = database;
            // Days pass while a restore is held.
            options.lease = std::time::Duration::from_secs(100 * 24 * 3600);
            options.observer = Some(gate.observer());
        })
        .await;
        let source = bench.directory("photos").await;
        let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
        let mut made = Vec::new();
        for (trigger, kept_for) in [
            (Trigger::Scheduled, None),
            (Trigger::Manual, None),
            (Trigger::Manual, None),
            (Trigger::Scheduled, Some(2)),
            (Trigger::Scheduled, Some(400)),
            (Trigger::Scheduled, None),
            (Trigger::Scheduled, None),
        ] {
            let keep_until = kept_for.map(|days| bench.engine.now() + TimeDelta::days(days));
            let request = StartBackup { trigger, keep_until, ..bench.request(&repository) };
            made.push(bench.back_up_as(request).await);
            clock.advance(TimeDelta::days(1));
        }
        // One that fails: its source is not there for a while.
        std::fs::rename(bench.path("photos"), bench.path("away")).unwrap();
        made.push(bench.back_up(&repository).await);
        assert_eq!(made[7].state, BackupState::Failed);
        std::fs::rename(bench.path("away"), bench.path("photos")).unwrap();
        clock.advance(TimeDelta::days(10));
        let rules = Retention { last: 1, manual: Some(1), ..Retention::everything(Tz::UTC) };
        bench.engine.set_retention(&admin(), repository.id, Some(rules), false).await.unwrap();
        let read = bench.restore_request(&made[0], RestoreInto::NewPath(bench.path("beside").to_str().unwrap().into()));
        let restore = bench.engine.start_restore(&admin(), read).await.unwrap();
        gate.arrived("restore", 1, 1).await;

        use RetentionReason::{InUse, Last, Manual, NotWanted, OwnDate, OwnDatePassed, Unusable};
        for (in_use, stay) in [(true, &[0, 2, 4, 6][..]), (false, &[2, 4, 6])] {
            let preview = bench.engine.preview_retention(&admin(), repository.id, None).await.unwrap();
            let said: Vec<_> = preview.iter().map(|(_, verdict)| (verdict.id, verdict.reasons[0])).collect();
            let all = [InUse, NotWanted, Manual, OwnDatePassed, OwnDate, NotWanted, Last, Unusable];
            let expected: Vec<_> = match in_use {
                true => (0..8).map(|index| (made[index].id, all[index])).collect(),
                false => {
                    [0, 2, 4, 6].map(|index| (made[index].id, if index == 0 { NotWanted } else { all[index] })).into()
                }
            };
            assert_eq!(said, expected);
            for job in bench.engine.apply_retention(&admin(), repository.id).await.unwrap() {
                assert_eq!(bench.ended(job.id).await.state, JobState::Succeeded, "{}", bench.log(job.id).await);
            }
            for (index, backup) in made.iter().enumerate() {
                assert_eq!(bench.backup(backup.id).await.is_some(), stay.contains(&index), "{index}");
            }
            gate.open();
            assert_eq!(bench.ended(restore.id).await.state, JobState::Succeeded);
        }
    }
}

/// Somebody deletes the newest backup: until it is gone it is no reason for the one before to go.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_being_deleted_keeps_no_other_ones_place() {
    for database in databases() {
        let gate = Gate::closed("forget", 1);
        let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
        let bench = Bench::with(|options| {
            options.clock = clock.clone();
            options.database = database;
            options.observer = Some(gate.observer());
        })
        .await;
        let source = bench.directory("photos").await;
        let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
        let mut made = Vec::new();
        for _ in 0..2 {
            made.push(bench.back_up(&repository).await.id);
            clock.advance(TimeDelta::days(1));
        }
        let rules = Retention { last: 1, ..Retention::everything(Tz::UTC) };
        bench.engine.set_retention(&admin(), repository.id, Some(rules), false).await.unwrap();
        let forget = bench.engine.delete_backup(&admin(), made[1], vec![]).await.unwrap();
        gate.arrived("forget", 1, 1).await;
        let jobs = bench.engine.apply_retention(&admin(), repository.id).await.unwrap();
        assert!(jobs.is_empty(), "{jobs:?}");
        gate.open();
        assert_eq!(bench.ended(forget.id).await.state, JobState::Succeeded);
        assert!(bench.backup(made[0]).await.is_some() && bench.backup(made[1]).await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_failed_is_tried_again_once_a_day_or_when_somebody_asks() {
    for database in databases() {
        let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
        let bench = Bench::with(|options| {
            options.clock = clock.clone();
            options.database = database;
        })
        .await;
        let source = bench.directory("photos").await;
        let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
        let (older, newer) = (bench.back_up(&repository).await, bench.back_up(&repository).await);
        let rules = Retention { last: 1, ..Retention::everything(Tz::UTC) };
        bench.engine.set_retention(&admin(), repository.id, Some(rules), false).await.unwrap();
        std::fs::rename(bench.path("store"), bench.path("away")).unwrap();
        let pass = async || {
            let jobs = apply(bench.engine.inner(), &admin(), repository.id).await.unwrap();
            for job in &jobs {
                assert_eq!(bench.ended(job.id).await.state, JobState::Failed);
            }
            jobs.len()
        };
        assert_eq!((pass().await, pass().await), (1, 0));
        clock.advance(TimeDelta::hours(25));
        assert_eq!((pass().await, pass().await), (1, 0));
        std::fs::rename(bench.path("away"), bench.path("store")).unwrap();
        let asked_for = bench.engine.apply_retention(&admin(), repository.id).await.unwrap();
        assert_eq!(asked_for.len(), 1);
        assert_eq!(bench.ended(asked_for[0].id).await.state, JobState::Succeeded);
        assert!(bench.backup(older.id).await.is_none() && bench.backup(newer.id).await.is_some());
    }
}

/// Somebody removed one of two snapshots with the stock restic: what is left is not cleared away, however old it is.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_backup_that_lost_a_part_stays_and_restores() {
    for database in databases() {
        let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
        let bench = Bench::with(|options| {
            options.clock = clock.clone();
            options.database = database;
        })
        .await;
        bench.directory("photos").await;
        bench.directory("music").await;
        let repository = bench.repository("all", SourceSelection::All).await;
        let backup = bench.back_up(&repository).await;
        assert_eq!((backup.state, backup.parts.len()), (BackupState::Succeeded, 2));
        clock.advance(TimeDelta::days(60));
        let vault = LocalRoot::new(bench.path("store")).unwrap().vault("vault").unwrap();
        vault.remove(FileKind::Snapshot, backup.parts[0].snapshot.as_ref().unwrap()).unwrap();
        for _ in 0..2 {
            bench.engine.reconcile().await.unwrap();
        }
        let left = bench.backup(backup.id).await.unwrap();
        assert_eq!((left.state, left.parts[0].state), (BackupState::Lost, BackupState::Lost));
        let preview = bench.engine.preview_retention(&admin(), repository.id, None).await.unwrap();
        assert_eq!(preview[0].1.reasons, [RetentionReason::NoRule]);
        let beside = RestoreInto::NewPath(bench.path("beside"));
        let request = StartRestore {
            items: vec![RestoreItem { part: left.parts[1].id, into: beside }],
            ..bench.restore_request(&left, RestoreInto::InPlace)
        };
        let restored = bench.restore(request).await;
        assert_eq!(restored.state, JobState::Succeeded, "{}", bench.log(restored.id).await);
    }
}
