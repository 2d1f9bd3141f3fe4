//! Cron expressions, parsed. When one comes next is told by `crate::schedule`.
//!
//! Written here and not taken from a crate: the known ones number weekdays in one way only (here 0 is Sunday in both), accept what
//! never comes, name no field in their errors, and run twice, never or not at all where a clock change repeats or skips an hour.

mod parse;

use chrono::{Datelike, Days, NaiveDate, Weekday};
use serde::{Deserialize, Serialize};

use super::{Error, Result};

/// How an expression is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CronStyle {
    /// As crontab(5): five fields, weekdays 0 (Sunday) to 7 (Sunday again). Where both day fields choose, one of them suffices,
    /// unless one begins with `*`.
    Unix,
    /// As Quartz: second 0 before the five fields, weekdays 1 (Sunday) to 7 (Saturday) with 0 taken as Sunday. Only one of the day
    /// fields may choose; `?` or `*` stands in the other.
    Quartz,
}

/// The five fields, as text.
#[derive(Clone, Copy, Debug)]
pub struct CronFields<'a> {
    pub minute: &'a str,
    pub hour: &'a str,
    pub day_of_month: &'a str,
    pub month: &'a str,
    pub day_of_week: &'a str,
}

/// A cron expression that comes again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "CronText", into = "CronText")]
pub struct Cron {
    text: CronText,
    /// Bit n: minute n.
    minutes: u64,
    /// Bit n: hour n.
    hours: u32,
    /// Bit n: month n, January is 1.
    months: u16,
    /// `None`: every day.
    month_days: Option<MonthDays>,
    /// `None`: every day.
    week_days: Option<WeekDays>,
    /// Where both day fields choose: both must want a day, not just one.
    both: bool,
}

/// What is kept of an expression; the rest is read from it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CronText {
    expression: String,
    style: CronStyle,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct MonthDays {
    /// Bit n: day n.
    days: u32,
    /// Bit n: n days before the last one.
    before_last: u32,
    /// Bit n: the Monday to Friday nearest to day n, in the same month.
    nearest_to: u32,
    /// The last Monday to Friday.
    last_workday: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct WeekDays {
    /// Bit n: each weekday n, Sunday is 0.
    each: u8,
    /// For the first to the fifth of a month: bit n, weekday n.
    nth: [u8; 5],
    /// Bit n: the last weekday n of a month.
    last: u8,
}

impl Cron {
    /// # Errors
    /// `InvalidInput`: a sentence that names the field, or says that the expression never comes.
    pub fn parse(expression: &str, style: CronStyle) -> Result<Self> {
        parse::expression(expression, style)
    }

    /// From fields that were given one by one, in Quartz' manner.
    ///
    /// # Errors
    /// As [`Cron::parse`].
    pub fn from_fields(fields: CronFields<'_>) -> Result<Self> {
        parse::fields(fields, CronStyle::Quartz)
    }

    /// In the form that its style has.
    pub fn expression(&self) -> &str {
        &self.text.expression
    }

    pub fn style(&self) -> CronStyle {
        self.text.style
    }

    /// Whether every hour of the day is meant: then real time counts, and clock changes do not matter.
    pub(crate) fn is_hourly(&self) -> bool {
        self.hours == (1 << 24) - 1
    }

    /// Hour and minute of its times on a day, ascending.
    pub(crate) fn times(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let hours = (0..24).filter(|hour| self.hours & (1 << hour) != 0);
        hours.flat_map(|hour| {
            (0..60).filter(|minute| self.minutes & (1 << minute) != 0).map(move |minute| (hour, minute))
        })
    }

    pub(crate) fn has_day(&self, day: NaiveDate) -> bool {
        let of_month = self.month_days.map(|days| days.include(day));
        let of_week = self.week_days.map(|days| days.include(day));
        self.has_month(day)
            && match (of_month, of_week) {
                (None, None) => true,
                (Some(wanted), None) | (None, Some(wanted)) => wanted,
                (Some(of_month), Some(of_week)) if self.both => of_month && of_week,
                (Some(of_month), Some(of_week)) => of_month || of_week,
            }
    }

    fn has_month(&self, day: NaiveDate) -> bool {
        self.months & (1 << day.month()) != 0
    }

    /// The first of its days from `day` on, before `end`.
    pub(crate) fn day_from(&self, mut day: NaiveDate, end: NaiveDate) -> Option<NaiveDate> {
        while day < end {
            if self.has_day(day) {
                return Some(day);
            }
            day = if self.has_month(day) { day.succ_opt()? } else { day + Days::new(days_left(day)) + Days::new(1) };
        }
        None
    }
}

impl MonthDays {
    fn include(self, day: NaiveDate) -> bool {
        let Self { days, before_last, nearest_to, last_workday } = self;
        days & (1 << day.day()) != 0
            || before_last & (1 << days_left(day)) != 0
            || (is_workday(day) && self.is_nearest(day, nearest_to))
            || (last_workday && is_last_workday(day))
    }

    /// Of a Monday to Friday: whether a wanted day of the same month is nearer to it than to any other.
    fn is_nearest(self, day: NaiveDate, nearest_to: u32) -> bool {
        let (number, last) = (day.day(), day.day() + days_left(day) as u32);
        let wants = |day: u32| (1..=last).contains(&day) && nearest_to & (1 << day) != 0;
        let monday = day.weekday() == Weekday::Mon;
        let friday = day.weekday() == Weekday::Fri;
        wants(number)
            // Saturday goes to the Friday before, Sunday to the Monday after; across the end of a month the other way.
            || (friday && wants(number + 1))
            || (monday && wants(number.wrapping_sub(1)))
            || (monday && number == 3 && wants(1))
            || (friday && number + 2 == last && wants(last))
    }
}

impl WeekDays {
    fn include(self, day: NaiveDate) -> bool {
        let Self { each, nth, last } = self;
        let weekday = 1_u8 << day.weekday().num_days_from_sunday();
        let number = usize::try_from((day.day() - 1) / 7).unwrap_or(0);
        each & weekday != 0
            || nth.get(number).is_some_and(|weekdays| weekdays & weekday != 0)
            || (last & weekday != 0 && days_left(day) < 7)
    }
}

fn is_workday(day: NaiveDate) -> bool {
    !matches!(day.weekday(), Weekday::Sat | Weekday::Sun)
}

fn is_last_workday(day: NaiveDate) -> bool {
    is_workday(day) && (days_left(day) == 0 || (day.weekday() == Weekday::Fri && days_left(day) <= 2))
}

/// Days of the month after this one.
fn days_left(day: NaiveDate) -> u64 {
    let length = match day.month() {
        4 | 6 | 9 | 11 => 30,
        2 if day.leap_year() => 29,
        2 => 28,
        _ => 31,
    };
    u64::from(length - day.day())
}

impl TryFrom<CronText> for Cron {
    type Error = Error;

    fn try_from(text: CronText) -> Result<Self> {
        Self::parse(&text.expression, text.style)
    }
}

impl From<Cron> for CronText {
    fn from(cron: Cron) -> Self {
        cron.text
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
