//! When a schedule's next run is. Pure: the clock is passed in.
//!
//! Calendar rules are meant in the schedule's zone. A local time that a clock change skips is taken as far after the change as
//! it would have been (02:30 becomes 03:30); one that occurs twice is its first occurrence, so that nothing runs twice. A cron
//! expression that names every hour is the exception: it follows real time, through skipped and repeated hours.

mod cron;
mod local;
mod overdue;
mod words;

use chrono::{DateTime, Datelike, Days, TimeDelta, Timelike, Utc, Weekday};
use chrono_tz::Tz;

use self::local::{on_day, resolve};
pub use self::{
    overdue::{Grace, Success, expected_after, overdue_since},
    words::in_words,
};
use crate::domain::{Bounds, Error, PlanTask, Result, Rule, Schedule, TimeOfDay, Unit};

/// Days that [`next`] looks ahead for an hour of the day; two would do, a zone may drop a calendar day.
const DAYS_AHEAD: u64 = 4;
/// Runs that [`following`] skips one by one before it gives up: 100 years of hours.
const MOST_SKIPPED: u32 = 876_600;

/// The first run of a schedule that begins to hold at `now`.
pub fn first(schedule: &Schedule, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if schedule.start_now { Some(now) } else { next(schedule, now) }
}

/// The run after `base`, which is when the schedule began to hold or when the run before was due. Strictly later than `base`;
/// `None` when the rule has no run (a count of 0, no hours, a bound that has passed) or time itself overflows. A bound on the
/// number of runs is not looked at: it takes the history.
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
        Rule::Cron { cron, bounds: Bounds { from, until, runs: _ } } => {
            let start = from.and_then(|from| from.checked_sub_signed(TimeDelta::microseconds(1)));
            let run = cron::next(cron, zone, start.map_or(base, |start| base.max(start)));
            run.filter(|run| until.is_none_or(|until| *run <= until))
        }
    };
    found.filter(|run| *run > base)
}

/// The first run of the series from `base` that is later than `now`: what was missed meanwhile is passed over.
pub fn following(schedule: &Schedule, base: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match &schedule.rule {
        // The calendar alone decides.
        Rule::HoursOfDay { hours: _ } | Rule::Cron { cron: _, bounds: _ } => return next(schedule, base.max(now)),
        // Minutes are plain arithmetic; years of them are not walked through.
        Rule::Every { count, unit: Unit::Minutes, at: _ } => {
            let step = i64::from(*count);
            let missed = (now - base).num_minutes().max(0).checked_div(step)?;
            let base = base.checked_add_signed(TimeDelta::minutes(missed.checked_mul(step)?))?;
            return next(schedule, base);
        }
        Rule::Every { count: _, unit: Unit::Hours | Unit::Days | Unit::Weeks, at: _ }
        | Rule::Weekday { count: _, weekday: _, at: _ } => {}
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

/// The last run of the series that is not later than `now`; `due` is one of them. Of several that were missed it is the one that counts.
pub fn latest(schedule: &Schedule, due: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    let walk = |begin| upcoming(schedule, begin).take_while(|run| *run <= now).last().unwrap_or(due);
    match &schedule.rule {
        Rule::Every { count, unit: Unit::Minutes, at: _ } => {
            let step = TimeDelta::minutes(i64::from(*count).max(1));
            let missed = (now - due).num_minutes().max(0) / step.num_minutes();
            due + TimeDelta::minutes(missed * step.num_minutes())
        }
        Rule::Every { count: _, unit: Unit::Hours | Unit::Days | Unit::Weeks, at: _ }
        | Rule::Weekday { count: _, weekday: _, at: _ } => walk(due),
        // The calendar alone decides: it is looked at from now back, in ever larger steps.
        Rule::HoursOfDay { hours: _ } | Rule::Cron { cron: _, bounds: _ } => {
            let steps = std::iter::successors(Some(TimeDelta::minutes(1)), |step| Some(*step * 2));
            let begins = steps.map(|step| now - step).take_while(|begin| *begin > due);
            let begin = begins.into_iter().find(|begin| next(schedule, *begin).is_some_and(|run| run <= now));
            walk(begin.unwrap_or(due))
        }
    }
}

/// The runs after `base`, one after the other; the bound on their number is kept.
pub fn upcoming(schedule: &Schedule, base: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> + '_ {
    let most = most_runs(schedule).map_or(usize::MAX, |runs| usize::try_from(runs).unwrap_or(usize::MAX));
    std::iter::successors(next(schedule, base), |run| next(schedule, *run)).take(most)
}

/// How often it runs in all, where that is bounded.
pub fn most_runs(schedule: &Schedule) -> Option<u32> {
    match &schedule.rule {
        Rule::Cron { cron: _, bounds } => bounds.runs,
        Rule::Every { count: _, unit: _, at: _ }
        | Rule::Weekday { count: _, weekday: _, at: _ }
        | Rule::HoursOfDay { hours: _ } => None,
    }
}

/// Refuses what no client can mean.
///
/// # Errors
/// `InvalidInput`: a count of 0, a time that no clock shows, hours that are none, a series without a run after `now`.
pub fn check(task: &PlanTask, now: DateTime<Utc>) -> Result<()> {
    let name = &task.name;
    let refused =
        |reason: String| Err(Error::invalid(format!("The schedule of the task {name} is not valid: {reason}.")));
    let (count, at) = match &task.schedule.rule {
        Rule::Every { count, unit: _, at } | Rule::Weekday { count, weekday: _, at } => (*count, *at),
        Rule::HoursOfDay { hours } => {
            if hours.is_empty() || hours.iter().any(|hour| *hour > 23) || !hours.is_sorted_by(|one, other| one < other)
            {
                return refused("its hours must be between 0 and 23, ascending, each once, at least one".to_owned());
            }
            (1, None)
        }
        Rule::Cron { cron: _, bounds } => {
            if bounds.runs == Some(0) {
                return refused("it may run 0 times".to_owned());
            }
            if let (Some(from), Some(until)) = (bounds.from, bounds.until)
                && until < from
            {
                return refused(format!("it ends at {until}, before it begins at {from}"));
            }
            (1, None)
        }
    };
    if count == 0 {
        return refused("it recurs every 0 times".to_owned());
    }
    if let Some(TimeOfDay { hour, minute }) = at.filter(|at| at.hour > 23 || at.minute > 59) {
        return refused(format!("no clock shows {hour:02}:{minute:02}"));
    }
    if first(&task.schedule, now).is_none() {
        return refused("it has no run from now on".to_owned());
    }
    Ok(())
}

/// The first instant from `at` on at which the clock shows this minute; seconds stay.
fn at_minute(zone: Tz, at: DateTime<Utc>, minute: u8) -> Option<DateTime<Utc>> {
    let shown = |at: DateTime<Utc>| at.with_timezone(&zone).minute();
    let wanted = u32::from(minute);
    let found = at.checked_add_signed(TimeDelta::minutes(i64::from((wanted + 60 - shown(at)) % 60)))?;
    if local::offset(zone, at) == local::offset(zone, found) {
        return Some(found);
    }
    // A clock change between the two, perhaps by half an hour: a match lies within the two hours that follow.
    (0..=120).filter_map(|minutes| at.checked_add_signed(TimeDelta::minutes(minutes))).find(|at| shown(*at) == wanted)
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
mod properties;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
