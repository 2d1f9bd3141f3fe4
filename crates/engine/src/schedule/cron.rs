//! When a cron expression comes next.

use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;

use super::local;
use crate::domain::Cron;

/// Longest that an expression rests: a 29 February that must be a certain weekday, across a year 2100.
const LONGEST_REST_DAYS: u64 = 41 * 366;

pub(super) fn next(cron: &Cron, zone: Tz, base: DateTime<Utc>) -> Option<DateTime<Utc>> {
    // A time of yesterday that a clock change skipped can lie today.
    let mut day = base.with_timezone(&zone).date_naive().pred_opt()?;
    let end = day.checked_add_days(Days::new(LONGEST_REST_DAYS))?;
    loop {
        day = cron.day_from(day, end)?;
        if let Some(offset) = local::unchanged_offset(zone, day) {
            let base = (base + offset).naive_utc();
            let mut times = cron.times().filter_map(|(hour, minute)| day.and_hms_opt(hour, minute, 0));
            if let Some(local) = times.find(|local| *local > base) {
                return Some((local - offset).and_utc());
            }
        } else if let Some(found) = first_of_odd_day(cron, zone, day, base) {
            // What the change put off may lie beyond the first time of the next day.
            let next = day.succ_opt().filter(|day| cron.has_day(*day));
            let next = next.and_then(|next| first_of_odd_day(cron, zone, next, base));
            return Some(next.map_or(found, |next| next.min(found)));
        }
        day = day.succ_opt()?;
    }
}

/// The first instant after `base` of a day on which a clock may change.
fn first_of_odd_day(cron: &Cron, zone: Tz, day: NaiveDate, base: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let locals = cron.times().filter_map(|(hour, minute)| day.and_hms_opt(hour, minute, 0));
    let instants =
        locals.flat_map(|at| if cron.is_hourly() { local::all(zone, at) } else { [local::resolve(zone, at), None] });
    instants.flatten().filter(|at| *at > base).min()
}
