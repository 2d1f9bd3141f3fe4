//! Wall clocks: which instant a local time is.

use chrono::{DateTime, Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, Offset as _, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::domain::TimeOfDay;

/// The instant that a wall clock in `zone` shows as `local`.
pub(super) fn resolve(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Utc>> {
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

/// Every instant that a wall clock in `zone` shows as `local`: none, one or two.
pub(super) fn all(zone: Tz, local: NaiveDateTime) -> [Option<DateTime<Utc>>; 2] {
    match zone.from_local_datetime(&local) {
        LocalResult::None => [None, None],
        LocalResult::Single(at) => [Some(at.with_timezone(&Utc)), None],
        LocalResult::Ambiguous(first, second) => [Some(first.with_timezone(&Utc)), Some(second.with_timezone(&Utc))],
    }
}

/// Seconds east of Greenwich.
pub(super) fn offset(zone: Tz, at: DateTime<Utc>) -> i32 {
    zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc()
}

/// The offset of a calendar day on which no clock changes; `None` for any other day.
pub(super) fn unchanged_offset(zone: Tz, day: NaiveDate) -> Option<TimeDelta> {
    let offset = |day: NaiveDate, hour| {
        let local = day.and_hms_opt(hour, 0, 0)?;
        let at = zone.from_local_datetime(&local).single()?;
        Some(local - at.naive_utc())
    };
    let begin = offset(day, 0)?;
    // Half a day is the shortest that a change was ever taken back after.
    let is_unchanged = offset(day, 12)? == begin && offset(day.succ_opt()?, 0)? == begin;
    is_unchanged.then_some(begin)
}

/// `days` calendar days after `base`, at that time of day (without one: the same as base's).
pub(super) fn on_day(zone: Tz, base: DateTime<Utc>, days: u64, at: Option<TimeOfDay>) -> Option<DateTime<Utc>> {
    let local = base.with_timezone(&zone).naive_local();
    let time = match at {
        Some(at) => NaiveTime::from_hms_opt(u32::from(at.hour), u32::from(at.minute), 0)?,
        None => local.time(),
    };
    resolve(zone, local.date().checked_add_days(Days::new(days))?.and_time(time))
}
