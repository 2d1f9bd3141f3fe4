//! A slow second opinion: walks minute by minute and looks at the wall clock, knowing nothing of gaps and folds beforehand.

use std::collections::VecDeque;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike, Utc, Weekday};
use chrono_tz::Tz;

use crate::domain::{Rule, TimeOfDay, Unit};

const MINUTE: TimeDelta = TimeDelta::minutes(1);
/// Minutes walked before the base, so that what a clock change put off or repeated is known.
const WARM_UP: i32 = 50 * 60;

/// What a cron expression means, as plain data.
#[derive(Clone, Debug)]
pub(super) struct Meaning {
    pub(super) minutes: Vec<u32>,
    pub(super) hours: Vec<u32>,
    pub(super) days: DayMeaning,
}

#[derive(Clone, Debug)]
pub(super) enum DayMeaning {
    Every,
    OfMonth(Vec<u32>),
    OfWeek(Vec<Weekday>),
    Nth(Weekday, u32),
    LastWeekday(Weekday),
    BeforeLast(u32),
    Nearest(u32),
    LastWorkday,
}

impl DayMeaning {
    pub(super) fn includes(&self, day: NaiveDate) -> bool {
        let month: Vec<NaiveDate> = NaiveDate::from_ymd_opt(day.year(), day.month(), 1)
            .unwrap()
            .iter_days()
            .take_while(|other| other.month() == day.month())
            .collect();
        let last = *month.last().unwrap();
        let works = |day: &NaiveDate| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
        let of_weekday = |weekday| month.iter().filter(move |day| day.weekday() == weekday);
        match self {
            Self::Every => true,
            Self::OfMonth(days) => days.contains(&day.day()),
            Self::OfWeek(days) => days.contains(&day.weekday()),
            Self::Nth(weekday, nth) => of_weekday(*weekday).nth(*nth as usize - 1) == Some(&day),
            Self::LastWeekday(weekday) => of_weekday(*weekday).next_back() == Some(&day),
            Self::BeforeLast(days) => (last - day).num_days() == i64::from(*days),
            Self::Nearest(wanted) => {
                let wanted = month.iter().find(|day| day.day() == *wanted);
                let nearest = wanted.and_then(|wanted| {
                    month.iter().filter(|day| works(day)).min_by_key(|day| (**day - *wanted).num_days().abs())
                });
                nearest == Some(&day)
            }
            Self::LastWorkday => month.iter().rev().find(|day| works(day)) == Some(&day),
        }
    }
}

/// The first run after `base`; `None` when it lies more than `limit` minutes ahead.
pub(super) fn next(
    rule: &Rule,
    meaning: Option<&Meaning>,
    zone: Tz,
    base: DateTime<Utc>,
    limit: i32,
) -> Option<DateTime<Utc>> {
    let local = base.with_timezone(&zone).naive_local();
    let whole = base.with_second(0).unwrap().with_nanosecond(0).unwrap();
    match rule {
        Rule::Every { count, unit: Unit::Minutes, at: _ } => Some(base + MINUTE * i32::try_from(*count).unwrap()),
        Rule::Every { count, unit: Unit::Hours, at } => {
            let mut run = base + TimeDelta::hours(i64::from(*count));
            while at.is_some_and(|at| run.with_timezone(&zone).minute() != u32::from(at.minute)) {
                run += MINUTE;
            }
            Some(run)
        }
        Rule::Every { count, unit, at } => {
            let days = if *unit == Unit::Weeks { count * 7 } else { *count };
            let day = local.date().iter_days().nth(days as usize).unwrap();
            on_label(zone, base, day, local, *at, limit)
        }
        Rule::Weekday { count, weekday, at } => {
            let mut days = local.date().iter_days().skip(1).filter(|day| day.weekday() == *weekday);
            let day = days.nth(*count as usize - 1).unwrap();
            on_label(zone, base, day, local, *at, limit)
        }
        Rule::HoursOfDay { hours } => walk(zone, whole, base, limit, false, |label| {
            label.minute() == 0 && hours.iter().any(|hour| u32::from(*hour) == label.hour())
        }),
        Rule::Cron { cron: _, bounds: _ } => {
            let Meaning { minutes, hours, days } = meaning.unwrap();
            walk(zone, whole, base, limit, hours.len() == 24, |label| {
                minutes.contains(&label.minute()) && hours.contains(&label.hour()) && days.includes(label.date())
            })
        }
    }
}

fn on_label(
    zone: Tz,
    base: DateTime<Utc>,
    day: NaiveDate,
    local: NaiveDateTime,
    at: Option<TimeOfDay>,
    limit: i32,
) -> Option<DateTime<Utc>> {
    let wanted = match at {
        Some(TimeOfDay { hour, minute }) => day.and_hms_opt(u32::from(hour), u32::from(minute), 0).unwrap(),
        None => day.and_time(local.time()),
    };
    let start = if at.is_some() { base.with_second(0).unwrap().with_nanosecond(0).unwrap() } else { base };
    walk(zone, start, base, limit, false, |label| label == wanted)
}

/// The first minute after `base` (counted from `start`) with a wanted label. A label is what the clock shows for the first time, or
/// what it would have shown had it not been put forward; `real`: whatever it shows.
fn walk(
    zone: Tz,
    start: DateTime<Utc>,
    base: DateTime<Utc>,
    limit: i32,
    real: bool,
    wanted: impl Fn(NaiveDateTime) -> bool,
) -> Option<DateTime<Utc>> {
    let shown = |at: DateTime<Utc>| at.with_timezone(&zone).naive_local();
    let mut at = start - MINUTE * WARM_UP;
    let mut newest = shown(at);
    let mut before = newest;
    // What was skipped, with when it is due.
    let mut skipped: VecDeque<(DateTime<Utc>, NaiveDateTime)> = VecDeque::new();
    while at <= base + MINUTE * limit {
        at += MINUTE;
        let now = shown(at);
        let mut label = before + MINUTE;
        let mut due = at;
        while label < now {
            skipped.push_back((due, label));
            label += MINUTE;
            due += MINUTE;
        }
        let is_new = now > newest;
        newest = newest.max(now);
        before = now;
        let mut hit = (real || is_new) && wanted(now);
        while let Some((due, label)) = skipped.front().copied()
            && due <= at
        {
            skipped.pop_front();
            hit |= !real && wanted(label);
        }
        if hit && at > base {
            return Some(at);
        }
    }
    None
}
