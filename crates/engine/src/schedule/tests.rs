//! Tables.

use super::*;
use crate::domain::{Cron, CronStyle};
use Weekday::{Fri, Mon, Sat, Sun, Tue};

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn at(hour: u8, minute: u8) -> Option<TimeOfDay> {
    Some(TimeOfDay { hour, minute })
}

fn every(count: u32, unit: Unit, at: Option<TimeOfDay>) -> Rule {
    Rule::Every { count, unit, at }
}

fn on(count: u32, weekday: Weekday, at: Option<TimeOfDay>) -> Rule {
    Rule::Weekday { count, weekday, at }
}

fn hours(hours: &[u8]) -> Rule {
    Rule::HoursOfDay { hours: hours.to_vec() }
}

fn check(table: &[(Rule, Tz, &str, &str)]) {
    for (rule, zone, base, expected) in table {
        let schedule = Schedule { rule: rule.clone(), zone: *zone, start_now: false };
        assert_eq!(next(&schedule, instant(base)), Some(instant(expected)), "{schedule:?} from {base}");
    }
}

#[test]
fn units_elapse_between_runs_and_times_are_set_as_documented() {
    check(&[
        (every(20, Unit::Minutes, None), Tz::UTC, "2026-01-02T03:04:05Z", "2026-01-02T03:24:05Z"),
        (every(5, Unit::Minutes, at(22, 0)), Tz::UTC, "2026-01-02T03:04:05Z", "2026-01-02T03:09:05Z"),
        (every(10, Unit::Hours, None), Tz::UTC, "2026-01-02T03:04:05Z", "2026-01-02T13:04:05Z"),
        // Only the minutes of a time count for hours, and seconds stay.
        (every(1, Unit::Hours, at(14, 30)), Tz::UTC, "2026-01-02T03:04:41Z", "2026-01-02T04:30:41Z"),
        (every(1, Unit::Hours, at(14, 0)), Tz::UTC, "2026-01-02T03:04:41Z", "2026-01-02T05:00:41Z"),
        (every(6, Unit::Hours, at(0, 30)), Tz::UTC, "2026-01-02T06:30:48Z", "2026-01-02T12:30:48Z"),
        (every(1, Unit::Days, at(22, 0)), Tz::UTC, "2026-01-02T03:04:05Z", "2026-01-03T22:00:00Z"),
        (every(28, Unit::Days, None), Tz::UTC, "2026-01-02T03:04:05Z", "2026-01-30T03:04:05Z"),
        (every(4, Unit::Weeks, at(22, 0)), Tz::UTC, "2026-01-02T23:04:05Z", "2026-01-30T22:00:00Z"),
    ]);
}

#[test]
fn a_weekday_is_the_nth_such_day_after_today() {
    // 2026-01-02 is a Friday.
    check(&[
        (on(1, Sat, at(22, 0)), Tz::UTC, "2026-01-02T08:00:00Z", "2026-01-03T22:00:00Z"),
        (on(1, Fri, at(22, 0)), Tz::UTC, "2026-01-02T08:00:00Z", "2026-01-09T22:00:00Z"),
        (on(3, Mon, at(1, 0)), Tz::UTC, "2026-01-02T08:00:00Z", "2026-01-19T01:00:00Z"),
        (on(52, Tue, at(21, 0)), Tz::UTC, "2026-01-02T08:00:00Z", "2026-12-29T21:00:00Z"),
        (on(1, Sun, None), Tz::UTC, "2026-01-02T08:07:06Z", "2026-01-04T08:07:06Z"),
        // Thursday evening in New York is Friday in UTC.
        (on(1, Fri, at(9, 0)), Tz::America__New_York, "2026-01-02T02:00:00Z", "2026-01-02T14:00:00Z"),
    ]);
}

#[test]
fn hours_of_the_day_come_once_per_calendar_day() {
    check(&[
        (hours(&[3]), Tz::UTC, "2026-01-02T02:59:59Z", "2026-01-02T03:00:00Z"),
        (hours(&[3]), Tz::UTC, "2026-01-02T03:00:00Z", "2026-01-03T03:00:00Z"),
        (hours(&[3, 15, 23]), Tz::UTC, "2026-01-02T15:30:00Z", "2026-01-02T23:00:00Z"),
        (hours(&[3]), Tz::Asia__Kolkata, "2026-01-02T00:00:00Z", "2026-01-02T21:30:00Z"),
    ]);
}

#[test]
fn clock_changes_neither_lose_nor_double_a_run() {
    let berlin = Tz::Europe__Berlin; // forward 2026-03-29 02:00 -> 03:00, back 2026-10-25 03:00 -> 02:00
    check(&[
        // The same wall-clock time on both sides of a change.
        (every(1, Unit::Days, at(22, 0)), berlin, "2026-03-28T21:00:00Z", "2026-03-29T20:00:00Z"),
        (every(1, Unit::Days, at(22, 0)), berlin, "2026-10-24T20:00:00Z", "2026-10-25T21:00:00Z"),
        (every(1, Unit::Days, None), berlin, "2026-03-28T11:00:00Z", "2026-03-29T10:00:00Z"),
        // 02:30 does not exist on the 29th: it is 03:30.
        (every(1, Unit::Days, at(2, 30)), berlin, "2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z"),
        (on(1, Sun, at(2, 30)), berlin, "2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z"),
        (hours(&[2]), berlin, "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
        (hours(&[2]), berlin, "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"),
        // 02 and 03 fall together on the 29th: one run.
        (hours(&[2, 3]), berlin, "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"),
        // 02:00 comes twice on the 25th: only the first counts.
        (hours(&[2]), berlin, "2026-10-24T12:00:00Z", "2026-10-25T00:00:00Z"),
        (hours(&[2]), berlin, "2026-10-25T00:00:00Z", "2026-10-26T01:00:00Z"),
        (every(1, Unit::Days, at(2, 30)), berlin, "2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z"),
        // Elapsed hours are hours.
        (every(2, Unit::Hours, None), berlin, "2026-03-29T00:30:00Z", "2026-03-29T02:30:00Z"),
        (every(1, Unit::Hours, at(0, 0)), berlin, "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"),
        // Lord Howe changes by half an hour; Samoa dropped 2011-12-30.
        (hours(&[2]), Tz::Australia__Lord_Howe, "2026-10-03T12:00:00Z", "2026-10-03T15:30:00Z"),
        (hours(&[12]), Tz::Pacific__Apia, "2011-12-29T22:00:00Z", "2011-12-30T22:00:00Z"),
    ]);
}

#[test]
fn a_rule_without_runs_has_none() {
    for rule in [every(0, Unit::Days, None), on(0, Mon, None), hours(&[])] {
        let schedule = Schedule { rule, zone: Tz::UTC, start_now: false };
        assert_eq!(next(&schedule, instant("2026-01-02T03:04:05Z")), None);
    }
    let far = Schedule { rule: every(u32::MAX, Unit::Weeks, None), zone: Tz::UTC, start_now: false };
    assert_eq!(next(&far, instant("2026-01-02T03:04:05Z")), None);
}

#[test]
fn start_now_is_the_first_run_only() {
    let now = instant("2026-01-02T03:04:05Z");
    let schedule = Schedule { rule: every(1, Unit::Hours, None), zone: Tz::UTC, start_now: true };
    assert_eq!(first(&schedule, now), Some(now));
    assert_eq!(next(&schedule, now), Some(instant("2026-01-02T04:04:05Z")));
}

#[test]
fn what_was_missed_is_passed_over_and_the_series_stays() {
    let hourly = Schedule { rule: every(1, Unit::Hours, at(0, 0)), zone: Tz::UTC, start_now: false };
    let due = instant("2026-01-02T10:00:00Z");
    assert_eq!(following(&hourly, due, instant("2026-01-02T10:02:00Z")), Some(instant("2026-01-02T11:00:00Z")));
    assert_eq!(following(&hourly, due, instant("2026-01-04T10:02:00Z")), Some(instant("2026-01-04T11:00:00Z")));
    let minutes = Schedule { rule: every(7, Unit::Minutes, None), zone: Tz::UTC, start_now: false };
    assert_eq!(following(&minutes, due, instant("2026-01-02T10:15:30Z")), Some(instant("2026-01-02T10:21:00Z")));
    assert_eq!(following(&minutes, due, due), Some(instant("2026-01-02T10:07:00Z")));
}

fn unix(expression: &str) -> Rule {
    Rule::Cron { cron: Cron::parse(expression, CronStyle::Unix).unwrap(), bounds: Bounds::default() }
}

fn quartz(expression: &str) -> Rule {
    Rule::Cron { cron: Cron::parse(expression, CronStyle::Quartz).unwrap(), bounds: Bounds::default() }
}

#[test]
fn cron_expressions_come_at_their_times() {
    check(&[
        (unix("0 3 * * *"), Tz::UTC, "2026-01-02T03:00:00Z", "2026-01-03T03:00:00Z"),
        (unix("0 3 * * *"), Tz::UTC, "2026-01-02T02:59:59.999999Z", "2026-01-02T03:00:00Z"),
        (unix("*/20 * * * *"), Tz::Asia__Kolkata, "2026-01-02T03:05:00Z", "2026-01-02T03:10:00Z"),
        // The dialect's own example fires on a Saturday.
        (quartz("0 0 22 ? * 7"), Tz::UTC, "2021-10-20T00:00:00Z", "2021-10-23T22:00:00Z"),
        (quartz("0 15 10 ? * 6#3"), Tz::UTC, "2026-01-17T00:00:00Z", "2026-02-20T10:15:00Z"),
        // Month ends and leap days.
        (unix("0 0 31 * *"), Tz::UTC, "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z"),
        (quartz("0 0 0 L * ?"), Tz::UTC, "2028-02-01T00:00:00Z", "2028-02-29T00:00:00Z"),
        (quartz("0 0 0 L * ?"), Tz::UTC, "2027-02-01T00:00:00Z", "2027-02-28T00:00:00Z"),
        (unix("30 12 29 2 *"), Tz::UTC, "2026-01-01T00:00:00Z", "2028-02-29T12:30:00Z"),
        (unix("30 12 29 2 *"), Tz::UTC, "2096-03-01T00:00:00Z", "2104-02-29T12:30:00Z"),
        // The next 29 February that is a Sunday, across the year 2100, which has none.
        (quartz("0 0 0 ? 2 1#5"), Tz::UTC, "2088-03-01T00:00:00Z", "2128-02-29T00:00:00Z"),
    ]);
}

#[test]
fn cron_expressions_of_certain_hours_keep_to_the_wall_clock_across_changes() {
    let (berlin, howe) = (Tz::Europe__Berlin, Tz::Australia__Lord_Howe);
    check(&[
        (unix("30 2 * * *"), berlin, "2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z"),
        (unix("30 2 * * *"), berlin, "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"),
        (unix("30 2,3 * * *"), berlin, "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"),
        (unix("30 2 * * *"), berlin, "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
        (unix("0 */6 * * *"), berlin, "2026-10-24T22:00:00Z", "2026-10-25T05:00:00Z"),
        // Half an hour forward at 02:00: 02:10 and 02:15 are 02:40 and 02:45, behind 02:35.
        (unix("10,15,35 2 * * *"), howe, "2026-10-03T15:00:00Z", "2026-10-03T15:35:00Z"),
        (unix("10,15,35 2 * * *"), howe, "2026-10-03T15:35:00Z", "2026-10-03T15:40:00Z"),
        // Midnight of 2026-09-06 does not exist in Santiago.
        (unix("0 0 * * *"), Tz::America__Santiago, "2026-09-05T12:00:00Z", "2026-09-06T04:00:00Z"),
        // 23:30 does not exist in Nuuk on 2026-03-28: it is 00:30 of the day after, behind 00:10.
        (unix("30 23 * * *"), Tz::America__Nuuk, "2026-03-29T01:10:00Z", "2026-03-29T01:30:00Z"),
        // Samoa had no 30 December in 2011.
        (unix("0 12 * * *"), Tz::Pacific__Apia, "2011-12-29T22:00:00Z", "2011-12-30T22:00:00Z"),
        (unix("0 12 30 12 *"), Tz::Pacific__Apia, "2011-12-29T22:00:00Z", "2011-12-30T22:00:00Z"),
    ]);
}

#[test]
fn cron_expressions_of_every_hour_follow_real_time() {
    let (berlin, howe) = (Tz::Europe__Berlin, Tz::Australia__Lord_Howe);
    check(&[
        (unix("0 * * * *"), berlin, "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"),
        (unix("30 * * * *"), berlin, "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"),
        // 02:00 does not exist in Lord Howe then; 02:30 does.
        (unix("*/30 * * * *"), howe, "2026-10-03T15:00:00Z", "2026-10-03T15:30:00Z"),
        (unix("0 * * * *"), howe, "2026-10-03T14:30:00Z", "2026-10-03T16:00:00Z"),
    ]);
}

#[test]
fn a_minute_of_the_hour_is_found_behind_a_change_by_half_an_hour() {
    let howe = Tz::Australia__Lord_Howe; // back 2026-04-05 02:00 -> 01:30
    check(&[
        (every(1, Unit::Hours, at(0, 40)), howe, "2026-04-04T13:45:00Z", "2026-04-04T15:10:00Z"),
        (every(1, Unit::Hours, at(0, 0)), howe, "2026-10-03T14:30:00Z", "2026-10-03T16:00:00Z"),
    ]);
}

#[test]
fn bounds_of_a_series_are_kept() {
    let bounded = |from: Option<&str>, until: Option<&str>, runs| {
        let bounds = Bounds { from: from.map(instant), until: until.map(instant), runs };
        let rule = Rule::Cron { cron: Cron::parse("0 4 * * *", CronStyle::Unix).unwrap(), bounds };
        Schedule { rule, zone: Tz::UTC, start_now: false }
    };
    let base = instant("2026-01-01T12:00:00Z");
    let of = |schedule: &Schedule| upcoming(schedule, base).map(|run| run.to_rfc3339()).collect::<Vec<_>>();
    let both = bounded(Some("2026-02-01T04:00:00Z"), Some("2026-02-03T04:00:00Z"), None);
    let expected = ["2026-02-01T04:00:00+00:00", "2026-02-02T04:00:00+00:00", "2026-02-03T04:00:00+00:00"];
    assert_eq!(of(&both), expected, "both ends belong to it");
    assert_eq!(of(&bounded(Some("2026-02-01T04:00:00Z"), None, Some(2))), expected[..2]);
    assert_eq!(next(&both, instant("2026-02-03T04:00:00Z")), None);
}

#[test]
fn what_no_client_can_mean_is_refused_with_the_tasks_name() {
    let now = instant("2026-01-02T03:04:05Z");
    let cron = |bounds| Rule::Cron { cron: Cron::parse("0 4 * * *", CronStyle::Unix).unwrap(), bounds };
    let (past, future) = (Some(instant("2025-01-01T00:00:00Z")), Some(instant("2027-01-01T00:00:00Z")));
    for (rule, part) in [
        (every(0, Unit::Days, None), "every 0 times"),
        (on(0, Mon, None), "every 0 times"),
        (every(1, Unit::Days, at(24, 0)), "no clock shows 24:00"),
        (on(1, Mon, at(1, 60)), "no clock shows 01:60"),
        (hours(&[]), "its hours must be"),
        (hours(&[24]), "its hours must be"),
        (hours(&[3, 3]), "its hours must be"),
        (every(u32::MAX, Unit::Weeks, None), "no run from now on"),
        (cron(Bounds { until: past, ..Bounds::default() }), "no run from now on"),
        (cron(Bounds { from: future, until: past, runs: None }), "before it begins"),
        (cron(Bounds { runs: Some(0), ..Bounds::default() }), "0 times"),
    ] {
        let schedule = Schedule { rule, zone: Tz::UTC, start_now: false };
        let kind = crate::domain::JobKind::Backup;
        let task = PlanTask { name: "nightly".into(), kind, schedule, full: false, merge_window: None, verify: None };
        let error = super::check(&task, now).unwrap_err();
        assert_eq!(error.code, crate::ErrorCode::InvalidInput);
        assert!(error.sentence.contains("task nightly") && error.sentence.contains(part), "{error}");
    }
}

#[test]
fn years_of_missed_minutes_are_passed_over_at_once() {
    let schedule = Schedule { rule: unix("* * * * *"), zone: Tz::Europe__Berlin, start_now: false };
    let (due, now) = (instant("2006-01-02T03:04:00Z"), instant("2026-01-02T03:04:05Z"));
    assert_eq!(following(&schedule, due, now), Some(instant("2026-01-02T03:05:00Z")));
}
