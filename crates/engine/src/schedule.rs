//! When a schedule's next run is. Pure: the clock is passed in.
//!
//! Calendar rules are meant in the schedule's zone. A local time that a clock change skips is taken as far after the change as
//! it would have been (02:30 becomes 03:30); one that occurs twice is its first occurrence, so that nothing runs twice.

use chrono::{
    DateTime, Datelike, Days, LocalResult, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Timelike, Utc, Weekday,
};
use chrono_tz::Tz;

use crate::domain::{Rule, Schedule, TimeOfDay, Unit};

/// Days that [`next`] looks ahead for an hour of the day; two would do, a zone may drop a calendar day.
const DAYS_AHEAD: u64 = 4;
/// Runs that [`following`] skips one by one before it gives up: 100 years of hours.
const MOST_SKIPPED: u32 = 876_600;

/// The first run of a schedule that begins to hold at `now`.
pub fn first(schedule: &Schedule, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if schedule.start_now { Some(now) } else { next(schedule, now) }
}

/// The run after `base`, which is when the schedule began to hold or when the run before was due. Strictly later than `base`;
/// `None` when the rule has no run (a count of 0, no hours) or time itself overflows.
pub fn next(schedule: &Schedule, base: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let zone = schedule.zone;
    let found = match &schedule.rule {
        Rule::Every { count: 0, .. } | Rule::Weekday { count: 0, .. } => None,
        Rule::Every { count, unit: Unit::Minutes, at: _ } => {
            base.checked_add_signed(TimeDelta::minutes(i64::from(*count)))
        }
        Rule::Every { count, unit: Unit::Hours, at } => {
            let later = base.checked_add_signed(TimeDelta::hours(i64::from(*count)))?;
            at.map_or(Some(later), |at| at_minute(zone, later, at.minute))
        }
        Rule::Every { count, unit: Unit::Days, at } => on_day(zone, base, u64::from(*count), *at),
        Rule::Every { count, unit: Unit::Weeks, at } => on_day(zone, base, u64::from(*count) * 7, *at),
        Rule::Weekday { count, weekday, at } => {
            let today = base.with_timezone(&zone).weekday();
            on_day(zone, base, days_until(today, *weekday) + (u64::from(*count) - 1) * 7, *at)
        }
        Rule::HoursOfDay { hours } => next_hour_of_day(zone, base, hours),
    };
    found.filter(|run| *run > base)
}

/// The first run of the series from `base` that is later than `now`: what was missed meanwhile is passed over.
pub fn following(schedule: &Schedule, base: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if let Rule::Every { count, unit: Unit::Minutes, .. } = schedule.rule {
        // Minutes are plain arithmetic; years of them are not walked through.
        let step = i64::from(count);
        let missed = (now - base).num_minutes().max(0).checked_div(step)?;
        let base = base.checked_add_signed(TimeDelta::minutes(missed.checked_mul(step)?))?;
        return next(schedule, base);
    }
    let mut run = next(schedule, base)?;
    for _ in 0..MOST_SKIPPED {
        if run > now {
            return Some(run);
        }
        run = next(schedule, run)?;
    }
    None
}

/// The instant that a wall clock in `zone` shows as `local`.
fn resolve(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at.with_timezone(&Utc)),
        LocalResult::None => {
            // In the gap: read the clock as if it had not been changed yet.
            let before = local.checked_sub_signed(TimeDelta::days(2))?;
            let unchanged = zone.from_utc_datetime(&before);
            let offset = unchanged.naive_local() - before;
            Some(Utc.from_utc_datetime(&local.checked_sub_signed(offset)?))
        }
    }
}

/// `at`, or the next hour, with this minute; seconds stay.
fn at_minute(zone: Tz, at: DateTime<Utc>, minute: u8) -> Option<DateTime<Utc>> {
    let shown = i64::from(at.with_timezone(&zone).minute());
    let wanted = i64::from(minute);
    let hour = if shown > wanted { 60 } else { 0 };
    at.checked_add_signed(TimeDelta::minutes(hour + wanted - shown))
}

/// `days` calendar days after `base`, at that time of day (without one: the same as base's).
fn on_day(zone: Tz, base: DateTime<Utc>, days: u64, at: Option<TimeOfDay>) -> Option<DateTime<Utc>> {
    let local = base.with_timezone(&zone).naive_local();
    let time = match at {
        Some(at) => NaiveTime::from_hms_opt(u32::from(at.hour), u32::from(at.minute), 0)?,
        None => local.time(),
    };
    resolve(zone, local.date().checked_add_days(Days::new(days))?.and_time(time))
}

/// 1..=7: the same weekday means a week later.
fn days_until(today: Weekday, wanted: Weekday) -> u64 {
    let ahead = u64::from((wanted.num_days_from_monday() + 7 - today.num_days_from_monday()) % 7);
    if ahead == 0 { 7 } else { ahead }
}

fn next_hour_of_day(zone: Tz, base: DateTime<Utc>, hours: &[u8]) -> Option<DateTime<Utc>> {
    let today = base.with_timezone(&zone).date_naive();
    (0..DAYS_AHEAD)
        .filter_map(|ahead| today.checked_add_days(Days::new(ahead)))
        .flat_map(|day| hours.iter().filter_map(move |hour| day.and_hms_opt(u32::from(*hour), 0, 0)))
        .filter_map(|local| resolve(zone, local))
        .filter(|run| *run > base)
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
