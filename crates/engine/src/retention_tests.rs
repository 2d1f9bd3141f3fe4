use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::{Europe::Berlin, UTC};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::domain::BackupId;

const DAY: Duration = Duration::from_secs(86_400);

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn good(number: u128, at: &str) -> RetentionCandidate {
    RetentionCandidate {
        id: BackupId(Uuid::from_u128(number)),
        at: instant(at),
        state: BackupState::Succeeded,
        trigger: Trigger::Scheduled,
        keep_until: None,
        damaged: false,
        restorable: true,
        lost_at: None,
        in_use: None,
    }
}

fn kept(backups: &[RetentionCandidate], rules: &Retention, now: &str) -> Vec<u128> {
    let verdicts = decide(backups, rules, instant(now));
    verdicts.iter().filter(|verdict| verdict.keep).map(|verdict| verdict.id.0.as_u128()).collect()
}

#[test]
fn without_rules_everything_good_stays_and_a_date_of_its_own_decides() {
    let rules = Retention::everything(UTC);
    let mut dated = good(2, "2026-01-02T00:00:00Z");
    dated.keep_until = Some(instant("2026-02-01T00:00:00Z"));
    let backups = [good(1, "2020-01-01T00:00:00Z"), dated, good(3, "2026-01-03T00:00:00Z")];
    assert_eq!(kept(&backups, &rules, "2026-01-31T00:00:00Z"), [1, 2, 3]);
    assert_eq!(kept(&backups, &rules, "2026-02-01T00:00:00Z"), [1, 3]);
}

#[test]
fn the_newest_of_each_day_week_and_month_stays_and_says_why() {
    let backups: Vec<_> = [
        (1, "2025-12-31T12:00:00Z"),
        (2, "2026-01-30T08:00:00Z"),
        (3, "2026-01-31T08:00:00Z"),
        (4, "2026-01-31T20:00:00Z"),
        (5, "2026-02-01T08:00:00Z"),
    ]
    .map(|(number, at)| good(number, at))
    .to_vec();
    let rules = Retention { daily: 2, monthly: 3, ..Retention::everything(UTC) };
    let verdicts = decide(&backups, &rules, instant("2026-02-01T09:00:00Z"));
    let reasons: Vec<_> = verdicts.into_iter().map(|verdict| verdict.reasons).collect();
    use RetentionReason::{Daily, Monthly, NotWanted};
    assert_eq!(reasons, [vec![Monthly], vec![NotWanted], vec![NotWanted], vec![Daily, Monthly], vec![Daily, Monthly]]);
}

#[test]
fn days_are_those_of_the_zone() {
    // 23:30 UTC is the next day in Berlin.
    let backups = [good(1, "2026-01-10T22:30:00Z"), good(2, "2026-01-10T23:30:00Z")];
    let one = |zone| Retention { daily: 5, ..Retention::everything(zone) };
    assert_eq!(kept(&backups, &one(UTC), "2026-01-11T12:00:00Z"), [2]);
    assert_eq!(kept(&backups, &one(Berlin), "2026-01-11T12:00:00Z"), [1, 2]);
}

#[test]
fn an_iso_week_across_the_new_year_is_one_week() {
    let backups = [good(1, "2025-12-29T00:00:00Z"), good(2, "2026-01-04T00:00:00Z")];
    let rules = Retention { weekly: 9, ..Retention::everything(UTC) };
    assert_eq!(kept(&backups, &rules, "2026-01-05T00:00:00Z"), [2]);
}

#[test]
fn a_failed_or_lost_backup_never_takes_the_place_of_a_good_one() {
    let lost = RetentionCandidate { state: BackupState::Lost, restorable: false, ..good(3, "2026-01-03T00:00:00Z") };
    let failed =
        RetentionCandidate { state: BackupState::Failed, restorable: false, ..good(4, "2026-01-04T00:00:00Z") };
    let backups = [good(1, "2026-01-01T00:00:00Z"), good(2, "2026-01-02T00:00:00Z"), lost, failed];
    let rules = Retention { last: 1, ..Retention::everything(UTC) };
    assert_eq!(kept(&backups, &rules, "2026-01-05T00:00:00Z"), [2, 3, 4], "unusable ones are shown for a week");
    assert_eq!(kept(&backups, &rules, "2026-02-05T00:00:00Z"), [2]);
}

#[test]
fn a_damaged_backup_takes_no_good_ones_place_and_does_not_go_for_its_damage() {
    let damaged = RetentionCandidate { damaged: true, ..good(3, "2026-01-03T00:00:00Z") };
    let backups = [good(1, "2026-01-01T00:00:00Z"), good(2, "2026-01-02T00:00:00Z"), damaged];
    let rules = Retention { last: 1, ..Retention::everything(UTC) };
    assert_eq!(kept(&backups, &rules, "2026-03-05T00:00:00Z"), [2, 3], "the newest good one, and it for as long");
    let verdicts = decide(&backups, &rules, instant("2026-03-05T00:00:00Z"));
    assert_eq!(verdicts[2].reasons, [RetentionReason::Last, RetentionReason::Damaged]);
    let newer = [&backups[..], &[good(4, "2026-01-04T00:00:00Z")]].concat();
    assert_eq!(kept(&newer, &rules, "2026-03-05T00:00:00Z"), [4], "it goes when a whole one would have gone");
    let mut only = RetentionCandidate { keep_until: Some(instant("2026-02-01T00:00:00Z")), ..damaged };
    let both = [backups[0], only];
    assert_eq!(kept(&both, &Retention::everything(UTC), "2026-03-05T00:00:00Z"), [1], "it is not the last good one");
    let rules = Retention { within: Some(DAY), ..Retention::everything(UTC) };
    assert_eq!(kept(&both, &rules, "2026-03-05T00:00:00Z"), [1, 3], "and it would be if it were whole");
    only.damaged = false;
    assert_eq!(kept(&[only], &rules, "2026-03-05T00:00:00Z"), [3]);
}

#[test]
fn the_last_good_one_stays_whatever_its_date() {
    let mut expired = good(1, "2026-01-01T00:00:00Z");
    expired.keep_until = Some(instant("2026-01-02T00:00:00Z"));
    let verdicts = decide(&[expired], &Retention::everything(UTC), instant("2027-01-01T00:00:00Z"));
    assert!(verdicts[0].keep);
    assert_eq!(verdicts[0].reasons, [RetentionReason::LastGood]);
}

#[test]
fn manual_backups_have_a_limit_of_their_own() {
    let by_hand = |number, at| RetentionCandidate { trigger: Trigger::Manual, ..good(number, at) };
    let backups = [
        by_hand(1, "2020-01-01T00:00:00Z"),
        by_hand(2, "2021-01-01T00:00:00Z"),
        by_hand(3, "2022-01-01T00:00:00Z"),
        good(4, "2023-01-01T00:00:00Z"),
        good(5, "2026-01-01T00:00:00Z"),
    ];
    let rules = Retention { manual: Some(2), daily: 1, ..Retention::everything(UTC) };
    assert_eq!(kept(&backups, &rules, "2026-01-02T00:00:00Z"), [2, 3, 5]);
}

#[test]
fn what_was_lost_is_shown_from_then_on() {
    let lost_at = Some(instant("2026-03-01T00:00:00Z"));
    let lost =
        RetentionCandidate { state: BackupState::Lost, restorable: false, lost_at, ..good(1, "2026-01-01T00:00:00Z") };
    let backups = [lost, good(2, "2026-01-02T00:00:00Z")];
    let rules = Retention::everything(UTC);
    assert_eq!(kept(&backups, &rules, "2026-03-07T00:00:00Z"), [1, 2]);
    assert_eq!(kept(&backups, &rules, "2026-03-08T00:00:00Z"), [2]);
}

#[test]
fn one_of_which_parts_are_left_stays_as_long_as_a_whole_one_and_takes_no_place() {
    let part = |number, at, state| RetentionCandidate { state, ..good(number, at) };
    let backups = [
        good(1, "2026-01-01T00:00:00Z"),
        part(2, "2026-01-02T00:00:00Z", BackupState::Lost),
        part(3, "2026-01-03T00:00:00Z", BackupState::Failed),
    ];
    let now = "2026-06-05T00:00:00Z";
    assert_eq!(kept(&backups, &Retention::everything(UTC), now), [1, 2, 3], "what can be restored is not cleared away");
    let rules = Retention { last: 1, ..Retention::everything(UTC) };
    assert_eq!(kept(&backups, &rules, now), [1, 2, 3]);
    let verdicts = decide(&backups, &rules, instant(now));
    assert_eq!(verdicts[2].reasons, [RetentionReason::Last, RetentionReason::Incomplete]);
    let newer = [&backups[..], &[good(4, "2026-01-04T00:00:00Z")]].concat();
    assert_eq!(kept(&newer, &rules, now), [4]);
    let dated = RetentionCandidate { keep_until: Some(instant("2027-01-01T00:00:00Z")), ..backups[1] };
    assert_eq!(kept(&[dated, newer[3]], &rules, now), [2, 4]);
    assert_eq!(kept(&backups[1..], &Retention { within: Some(DAY), ..Retention::everything(UTC) }, now), [3]);
}

#[test]
fn a_backup_that_is_being_deleted_is_no_reason_for_another_to_go() {
    let removed = RetentionCandidate { in_use: Some(CandidateUse::Removed), ..good(2, "2026-01-02T00:00:00Z") };
    let backups = [good(1, "2026-01-01T00:00:00Z"), removed];
    let now = "2026-01-05T00:00:00Z";
    assert_eq!(kept(&backups, &Retention { last: 1, ..Retention::everything(UTC) }, now), [1]);
    let rules = Retention { within: Some(DAY), ..Retention::everything(UTC) };
    let verdicts = decide(&backups, &rules, instant(now));
    let reasons: Vec<_> = verdicts.into_iter().flat_map(|verdict| verdict.reasons).collect();
    assert_eq!(reasons, [RetentionReason::LastGood, RetentionReason::BeingDeleted]);
}

#[test]
fn a_backup_that_is_being_read_goes_later_and_helps_no_other_one_to_go() {
    let read = RetentionCandidate { in_use: Some(CandidateUse::Read), ..good(1, "2026-01-01T00:00:00Z") };
    let backups = [read, good(2, "2026-01-02T00:00:00Z")];
    let rules = Retention { within: Some(DAY), ..Retention::everything(UTC) };
    let verdicts = decide(&backups, &rules, instant("2026-01-05T00:00:00Z"));
    assert!(verdicts.iter().all(|verdict| verdict.keep));
    let reasons: Vec<_> = verdicts.into_iter().flat_map(|verdict| verdict.reasons).collect();
    assert_eq!(reasons, [RetentionReason::InUse, RetentionReason::LastGood]);
}

#[test]
fn what_is_being_made_stays() {
    let running = RetentionCandidate { state: BackupState::Running, ..good(1, "2020-01-01T00:00:00Z") };
    assert_eq!(kept(&[running], &Retention { last: 1, ..Retention::everything(UTC) }, "2026-01-01T00:00:00Z"), [1]);
}

#[test]
fn an_age_beyond_all_time_keeps() {
    let rules = Retention { within: Some(Duration::MAX), ..Retention::everything(UTC) };
    assert_eq!(kept(&[good(1, "1990-01-01T00:00:00Z")], &rules, "2026-01-01T00:00:00Z"), [1]);
}

/// The same rules said the slow way: for each backup on its own, by counting the newer ones.
fn slowly(backups: &[RetentionCandidate], rules: &Retention, now: DateTime<Utc>) -> Vec<(bool, Vec<RetentionReason>)> {
    let newer = |one: &RetentionCandidate, other: &RetentionCandidate| (one.at, one.id) > (other.at, other.id);
    let by_hand = |backup: &RetentionCandidate| rules.manual.is_some() && backup.trigger == Trigger::Manual;
    let counts = |backup: &RetentionCandidate| backup.is_good() && backup.keep_until.is_none();
    let wishes = |backup: &RetentionCandidate| {
        let is_younger = |than: Duration| backup.at > now || (now - backup.at).to_std().unwrap() < than;
        let rivals: Vec<_> = backups
            .iter()
            .filter(|other| counts(other) && by_hand(other) == by_hand(backup) && newer(other, backup))
            .collect();
        if by_hand(backup) {
            return vec![(RetentionReason::Manual, rivals.len() < rules.manual.unwrap_or_default() as usize)];
        }
        let calendar = |format: &str, limit: u32| {
            let period = |at: DateTime<Utc>| at.with_timezone(&rules.zone).format(format).to_string();
            let own = period(backup.at);
            let mut others: Vec<_> = rivals.iter().map(|other| period(other.at)).collect();
            if others.contains(&own) {
                return false;
            }
            others.sort();
            others.dedup();
            others.len() < limit as usize
        };
        vec![
            (RetentionReason::Last, rivals.len() < rules.last as usize),
            (RetentionReason::Hourly, calendar("%Y-%j-%H", rules.hourly)),
            (RetentionReason::Daily, calendar("%Y-%j", rules.daily)),
            (RetentionReason::Weekly, calendar("%G-%V", rules.weekly)),
            (RetentionReason::Monthly, calendar("%Y-%m", rules.monthly)),
            (RetentionReason::Yearly, calendar("%Y", rules.yearly)),
            (RetentionReason::Within, rules.within.is_some_and(is_younger)),
        ]
    };
    let alone = |backup: &RetentionCandidate| {
        if matches!(backup.state, BackupState::Queued | BackupState::Running) {
            return (true, vec![RetentionReason::InProgress]);
        }
        if backup.in_use == Some(CandidateUse::Removed) {
            return (false, vec![RetentionReason::BeingDeleted]);
        }
        if backup.state != BackupState::Succeeded && !backup.restorable {
            let since = backup.lost_at.unwrap_or(backup.at);
            let is_recent = since > now || (now - since).to_std().unwrap() < rules.unusable_for;
            let reason = if is_recent { RetentionReason::RecentlyUnusable } else { RetentionReason::Unusable };
            return (is_recent, vec![reason]);
        }
        if let Some(until) = backup.keep_until {
            let reason = if until > now { RetentionReason::OwnDate } else { RetentionReason::OwnDatePassed };
            return (until > now, vec![reason]);
        }
        if rules.keeps_everything() {
            return (true, vec![RetentionReason::NoRule]);
        }
        let mut reasons: Vec<_> =
            wishes(backup).into_iter().filter(|(_, wants)| *wants).map(|(reason, _)| reason).collect();
        if reasons.is_empty() {
            return (false, vec![RetentionReason::NotWanted]);
        }
        if backup.damaged {
            reasons.push(RetentionReason::Damaged);
        }
        if backup.state != BackupState::Succeeded {
            reasons.push(RetentionReason::Incomplete);
        }
        (true, reasons)
    };
    let before: Vec<_> = backups.iter().map(alone).collect();
    let mut verdicts = before.clone();
    let flaw = |backup: &RetentionCandidate| match backup.damaged {
        true => RetentionReason::Damaged,
        false => RetentionReason::Incomplete,
    };
    type Rescue<'a> = (fn(&RetentionCandidate) -> bool, &'a dyn Fn(&RetentionCandidate) -> RetentionReason);
    let rescues: [Rescue<'_>; 2] =
        [(RetentionCandidate::is_finished, &flaw), (RetentionCandidate::is_good, &|_| RetentionReason::LastGood)];
    for (wanted, reason) in rescues {
        let such: Vec<usize> = (0..backups.len()).filter(|index| wanted(&backups[*index])).collect();
        if !such.iter().any(|index| before[*index].0)
            && let Some(last) = such.into_iter().max_by_key(|index| (backups[*index].at, backups[*index].id))
        {
            verdicts[last] = (true, vec![reason(&backups[last])]);
        }
    }
    for (backup, verdict) in backups.iter().zip(&mut verdicts) {
        if backup.in_use == Some(CandidateUse::Read) && !verdict.0 {
            *verdict = (true, vec![RetentionReason::InUse]);
        }
    }
    verdicts
}

fn candidates() -> impl Strategy<Value = Vec<RetentionCandidate>> {
    let states = prop_oneof![
        8 => Just(BackupState::Succeeded),
        1 => Just(BackupState::Failed),
        1 => Just(BackupState::Running),
        1 => Just(BackupState::Lost),
    ];
    let dated = prop::option::weighted(0.2, 0_i64..1200);
    let in_use = prop::option::weighted(0.1, prop_oneof![Just(CandidateUse::Read), Just(CandidateUse::Removed)]);
    let lost = prop::option::weighted(0.3, 0_i64..1200);
    let found = (prop::bool::weighted(0.1), in_use, any::<bool>(), lost);
    let one = (0_i64..3 * 365 * 24 * 4, states, any::<bool>(), dated, found);
    prop::collection::vec(one, 0..60).prop_map(|rows| {
        let begin = instant("2024-01-01T00:07:00Z");
        type Found = (bool, Option<CandidateUse>, bool, Option<i64>);
        type Row = (i64, BackupState, bool, Option<i64>, Found);
        let row = |(number, (quarter, state, manual, days, (damaged, in_use, partly, lost))): (u128, Row)| {
            let at = begin + TimeDelta::minutes(15 * quarter);
            RetentionCandidate {
                id: BackupId(Uuid::from_u128(number)),
                at,
                state,
                trigger: if manual { Trigger::Manual } else { Trigger::Scheduled },
                keep_until: days.map(|days| at + TimeDelta::days(days)),
                damaged,
                restorable: partly || state == BackupState::Succeeded,
                lost_at: lost.filter(|_| state == BackupState::Lost).map(|days| at + TimeDelta::days(days)),
                in_use,
            }
        };
        (1..).zip(rows).map(row).collect()
    })
}

fn rules() -> impl Strategy<Value = Retention> {
    let count = || prop_oneof![Just(0_u32), 1_u32..12];
    let counts = (count(), count(), count(), count(), count(), count());
    let rest = (prop::option::of(0_u32..400), prop::option::of(0_u32..5), any::<bool>());
    (counts, rest).prop_map(|((last, hourly, daily, weekly, monthly, yearly), (within, manual, berlin))| Retention {
        last,
        hourly,
        daily,
        weekly,
        monthly,
        yearly,
        within: within.map(|days| DAY * days),
        manual,
        unusable_for: Retention::UNUSABLE_FOR,
        zone: if berlin { Berlin } else { UTC },
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn ten_thousand_histories_agree_with_the_slow_way(backups in candidates(), rules in rules(), days in 0_i64..1200) {
        let now = instant("2024-01-01T00:00:00Z") + TimeDelta::days(days);
        let verdicts = decide(&backups, &rules, now);
        prop_assert!(verdicts.iter().map(|verdict| verdict.id).eq(backups.iter().map(|backup| backup.id)));
        let fast: Vec<_> = verdicts.into_iter().map(|verdict| (verdict.keep, verdict.reasons)).collect();
        prop_assert_eq!(fast, slowly(&backups, &rules, now));
    }
}
