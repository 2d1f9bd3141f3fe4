use chrono_tz::{Europe::Berlin, UTC};
use uuid::Uuid;

use super::*;
use crate::domain::{BackupId, SourceId};

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn good(number: u128, at: &str) -> MergeCandidate {
    MergeCandidate {
        id: BackupId(Uuid::from_u128(number)),
        at: instant(at),
        state: BackupState::Succeeded,
        protected: false,
        damaged: false,
        sources: vec![SourceId(Uuid::from_u128(1))],
    }
}

/// One a day at noon, numbered by their day of January 2026.
fn january() -> Vec<MergeCandidate> {
    (1..=5).map(|day| good(day, &format!("2026-01-{day:02}T12:00:00Z"))).collect()
}

fn numbers(ids: &[BackupId]) -> Vec<u128> {
    ids.iter().map(|id| id.0.as_u128()).collect()
}

/// Kept and released.
fn merged(backups: &[MergeCandidate], range: MergeRange, zone: Tz, now: &str) -> (Option<u128>, Vec<u128>) {
    let plan = plan(backups, &range, zone, instant(now)).unwrap();
    (plan.keep.map(|id| id.0.as_u128()), numbers(&plan.release))
}

fn window(offset_start: u32, offset_end: u32) -> MergeRange {
    MergeRange::Days(MergeWindow { offset_start, offset_end })
}

fn between(from: MergeEnd, to: MergeEnd) -> MergeRange {
    MergeRange::Between { from, to }
}

fn backup(number: u128) -> MergeEnd {
    MergeEnd::Backup(BackupId(Uuid::from_u128(number)))
}

#[test]
fn a_window_counts_whole_days_back_from_today() {
    let now = "2026-01-05T23:00:00Z";
    assert_eq!(merged(&january(), window(1, 2), UTC, now), (Some(4), vec![3, 2]), "yesterday and two days before");
    assert_eq!(merged(&january(), window(0, 2), UTC, now), (Some(5), vec![4, 3]), "today and two days before");
    assert_eq!(merged(&january(), window(0, 0), UTC, now), (None, vec![]), "one backup is nothing to merge");
    assert_eq!(merged(&january(), window(0, 5000), UTC, now), (Some(5), vec![4, 3, 2, 1]));
    assert_eq!(merged(&january(), window(u32::MAX, u32::MAX), UTC, now), (None, vec![]));
}

#[test]
fn days_are_those_of_the_zone() {
    // 23:30 UTC is the next day in Berlin.
    let backups = [good(1, "2026-01-10T22:30:00Z"), good(2, "2026-01-10T23:30:00Z"), good(3, "2026-01-11T12:00:00Z")];
    let now = "2026-01-11T20:00:00Z";
    assert_eq!(merged(&backups, window(0, 0), Berlin, now), (Some(3), vec![2]));
    assert_eq!(merged(&backups, window(1, 0), UTC, now), (Some(2), vec![1]));
}

#[test]
fn named_ends_are_both_part_of_the_range() {
    let now = "2026-01-05T23:00:00Z";
    assert_eq!(merged(&january(), between(backup(2), backup(4)), UTC, now), (Some(4), vec![3, 2]));
    assert_eq!(merged(&january(), between(MergeEnd::Oldest, backup(2)), UTC, now), (Some(2), vec![1]));
    assert_eq!(merged(&january(), MergeRange::EVERYTHING, UTC, now), (Some(5), vec![4, 3, 2, 1]));
    assert_eq!(merged(&[], MergeRange::EVERYTHING, UTC, now), (None, vec![]));
    let code = |range| plan(&january(), &range, UTC, instant(now)).unwrap_err().code;
    assert_eq!(code(between(backup(4), backup(2))), ErrorCode::InvalidInput);
    assert_eq!(code(between(backup(9), backup(2))), ErrorCode::NotFound(Noun::Backup));
    assert_eq!(code(between(MergeEnd::Unknown("x".into()), MergeEnd::Newest)), ErrorCode::NotFound(Noun::Backup));
}

#[test]
fn what_failed_within_the_range_stays_beside_it_and_is_no_end() {
    let mut backups = january();
    backups[2].state = BackupState::Failed;
    let now = instant("2026-01-05T23:00:00Z");
    let made = plan(&backups, &MergeRange::EVERYTHING, UTC, now).unwrap();
    assert_eq!(numbers(&made.release), [4, 2, 1]);
    assert_eq!(made.left, [(BackupId(Uuid::from_u128(3)), MergeLeft::NotUsable)]);
    let refused = plan(&backups, &between(backup(3), backup(4)), UTC, now).unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotReady(Noun::Backup));
    assert!(refused.sentence.contains("was not finished"), "{refused}");
}

#[test]
fn ranges_with_running_protected_or_newest_damaged_backups_are_refused() {
    let now = instant("2026-01-05T23:00:00Z");
    let refused = |change: fn(&mut Vec<MergeCandidate>)| {
        let mut backups = january();
        change(&mut backups);
        plan(&backups, &MergeRange::EVERYTHING, UTC, now).map_err(|error| error.code)
    };
    assert_eq!(refused(|it| it[4].state = BackupState::Running), Err(ErrorCode::NotReady(Noun::Backup)));
    assert_eq!(refused(|it| it[1].protected = true), Err(ErrorCode::PasscodeRequired));
    assert_eq!(refused(|it| it[4].damaged = true), Err(ErrorCode::NotReady(Noun::Backup)));
    assert_eq!(refused(|it| it[1].damaged = true).map(|plan| plan.release.len()), Ok(4));
}

#[test]
fn the_last_copy_of_a_source_stays() {
    let other = SourceId(Uuid::from_u128(2));
    let mut backups = january();
    for day in [0, 1, 2] {
        backups[day].sources.push(other);
    }
    backups[2].damaged = true;
    let made = plan(&backups, &MergeRange::EVERYTHING, UTC, instant("2026-01-05T23:00:00Z")).unwrap();
    assert_eq!(numbers(&made.release), [4, 1], "the third is damaged, so the second is the copy to keep");
    let left: Vec<_> = made.left.iter().map(|(id, why)| (id.0.as_u128(), *why)).collect();
    assert_eq!(left, [(3, MergeLeft::OnlyCopy), (2, MergeLeft::OnlyCopy)]);
}
