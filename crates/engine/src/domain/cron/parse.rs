//! From text to sets of minutes, hours and days.

use chrono::NaiveDate;

use super::{Cron, CronFields, CronStyle, CronText, MonthDays, WeekDays};
use crate::domain::{Error, Result};

/// Characters of a whole expression.
const LONGEST: usize = 1000;
/// All combinations of leap year and weekday of New Year occur in these years: what has no day here never has one.
const SAMPLE_YEARS: (i32, i32) = (2001, 2029);

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

pub(super) fn expression(text: &str, style: CronStyle) -> Result<Cron> {
    if text.len() > LONGEST {
        return Err(Error::invalid(format!("The cron expression is longer than {LONGEST} characters.")));
    }
    let nickname =
        NICKNAMES.iter().find(|(name, _)| style == CronStyle::Unix && text.trim().eq_ignore_ascii_case(name));
    let words: Vec<&str> = nickname.map_or(text, |(_, meaning)| meaning).split_whitespace().collect();
    let five = match (style, words.as_slice()) {
        (CronStyle::Unix, five @ [_, _, _, _, _]) => five,
        (CronStyle::Quartz, [second, five @ ..]) if five.len() == 5 => {
            if !second.bytes().all(|byte| byte == b'0') {
                return Err(Error::invalid(format!("The second of the cron expression is `{second}`; it must be 0.")));
            }
            five
        }
        (style, words) => return Err(wrong_count(text, style, words.len())),
    };
    match *five {
        [minute, hour, day_of_month, month, day_of_week] => {
            fields(CronFields { minute, hour, day_of_month, month, day_of_week }, style)
        }
        _ => Err(wrong_count(text, style, words.len())),
    }
}

fn wrong_count(text: &str, style: CronStyle, count: usize) -> Error {
    let form = match style {
        CronStyle::Unix => "five fields: minute, hour, day of month, month, day of week",
        CronStyle::Quartz => "six fields: second (0), minute, hour, day of month, month, day of week",
    };
    Error::invalid(format!("The cron expression `{text}` has {count} fields; it must have {form}."))
}

pub(super) fn fields(fields: CronFields<'_>, style: CronStyle) -> Result<Cron> {
    let CronFields { minute, hour, day_of_month, month, day_of_week } = CronFields {
        minute: fields.minute.trim(),
        hour: fields.hour.trim(),
        day_of_month: fields.day_of_month.trim(),
        month: fields.month.trim(),
        day_of_week: fields.day_of_week.trim(),
    };
    let month_days = chooses(day_of_month).then(|| read_month_days(day_of_month)).transpose()?;
    let week_days = chooses(day_of_week).then(|| read_week_days(day_of_week, style)).transpose()?;
    if style == CronStyle::Quartz && month_days.is_some() && week_days.is_some() {
        let sentence = format!(
            "The day of month is `{day_of_month}` and the day of week is `{day_of_week}`; only one of them may choose."
        );
        return Err(Error::invalid(sentence).hint("Write ? in the other."));
    }
    let second = if style == CronStyle::Quartz { "0 " } else { "" };
    let cron = Cron {
        text: CronText { expression: format!("{second}{minute} {hour} {day_of_month} {month} {day_of_week}"), style },
        minutes: MINUTE.read(minute)?,
        hours: HOUR.read(hour)? as u32,
        months: MONTH.read(month)? as u16,
        month_days,
        week_days,
        both: day_of_month.starts_with('*') || day_of_week.starts_with('*'),
    };
    let year = |year| NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or_default();
    if cron.day_from(year(SAMPLE_YEARS.0), year(SAMPLE_YEARS.1)).is_none() {
        let sentence =
            format!("The cron expression `{}` never comes: no month of its own has such a day.", cron.expression());
        return Err(Error::invalid(sentence)
            .hint("The day of month must exist in one of the months, as 29 does in February of a leap year."));
    }
    Ok(cron)
}

/// Whether a day field says anything.
fn chooses(text: &str) -> bool {
    text != "*" && text != "?"
}

/// A field of numbers in a range.
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const MINUTE: Field = Field { name: "minute", least: 0, most: 59, names: &[] };
const HOUR: Field = Field { name: "hour", least: 0, most: 23, names: &[] };
const DAY_OF_MONTH: Field = Field { name: "day of month", least: 1, most: 31, names: &[] };
const MONTH: Field = Field { name: "month", least: 1, most: 12, names: &MONTHS };
const DAY_OF_WEEK: &str = "day of week";

impl Field {
    fn read(&self, text: &str) -> Result<u64> {
        let mut set = 0;
        for item in items(self.name, text)? {
            set |= self.item(item)?;
        }
        Ok(set)
    }

    /// `*`, `a`, `a-b`, each with `/step`; a range may run over the end, as 22-2 for hours.
    fn item(&self, item: &str) -> Result<u64> {
        let (range, step) = stepped(self.name, item, self.most)?;
        let size = self.most - self.least + 1;
        let (from, length) = match range.split_once('-') {
            _ if range == "*" => (self.least, size),
            Some((from, to)) => {
                let (from, to) = (self.number(from)?, self.number(to)?);
                (from, (to + size - from) % size + 1)
            }
            None if step.is_some() => self.number(range).map(|from| (from, self.most - from + 1))?,
            None => (self.number(range)?, 1),
        };
        let step = usize::try_from(step.unwrap_or(1)).unwrap_or(1);
        let values = (0..length).step_by(step).map(|offset| (from - self.least + offset) % size + self.least);
        Ok(values.fold(0, |set, value| set | 1 << value))
    }

    fn number(&self, text: &str) -> Result<u32> {
        if let Some(place) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(self.least + u32::try_from(place).unwrap_or(0));
        }
        digits(text)
            .filter(|number| (self.least..=self.most).contains(number))
            .ok_or_else(|| wrong(self.name, &format!("`{text}` is not a number from {} to {}", self.least, self.most)))
    }
}

fn read_month_days(text: &str) -> Result<MonthDays> {
    let name = DAY_OF_MONTH.name;
    let mut found = MonthDays::default();
    for item in items(name, text)? {
        let upper = item.to_ascii_uppercase();
        match upper.as_str() {
            "L" => found.before_last |= 1,
            "LW" | "WL" => found.last_workday = true,
            _ if upper.contains('C') => return Err(wrong(name, "C stands for a calendar, and there is none")),
            special => match (special.strip_prefix("L-"), special.strip_suffix('W')) {
                (Some(before), _) => {
                    let before = digits(before).filter(|before| *before <= 30);
                    found.before_last |= 1 << before.ok_or_else(|| wrong(name, "L- is followed by 0 to 30 days"))?;
                }
                (None, Some(day)) => found.nearest_to |= 1 << DAY_OF_MONTH.number(day)?,
                (None, None) => found.days |= DAY_OF_MONTH.item(item)? as u32,
            },
        }
    }
    Ok(found)
}

fn read_week_days(text: &str, style: CronStyle) -> Result<WeekDays> {
    let mut found = WeekDays::default();
    for item in items(DAY_OF_WEEK, text)? {
        let upper = item.to_ascii_uppercase();
        if upper.contains('C') {
            return Err(wrong(DAY_OF_WEEK, "C stands for a calendar, and there is none"));
        }
        if upper == "L" {
            match style {
                CronStyle::Quartz => found.each |= 1 << 6,
                CronStyle::Unix => {
                    return Err(wrong(DAY_OF_WEEK, "L needs a weekday before it, as 5L for the last Friday"));
                }
            }
        } else if let Some(day) = upper.strip_suffix('L') {
            found.last |= 1 << (weekday(day, style)? % 7);
        } else if let Some((day, number)) = upper.split_once('#') {
            let number =
                digits(number).and_then(|number| usize::try_from(number).ok()).and_then(|number| number.checked_sub(1));
            let place = number.and_then(|number| found.nth.get_mut(number));
            let place = place.ok_or_else(|| wrong(DAY_OF_WEEK, "# is followed by 1 to 5"))?;
            *place |= 1 << (weekday(day, style)? % 7);
        } else {
            found.each |= weekdays(&upper, style)?;
        }
    }
    Ok(found)
}

fn weekdays(item: &str, style: CronStyle) -> Result<u8> {
    let (range, step) = stepped(DAY_OF_WEEK, item, 7)?;
    let (from, to) = match range.split_once('-') {
        _ if range == "*" => (0, 6),
        Some((from, to)) => {
            let (from, to) = (weekday(from, style)? % 7, weekday(to, style)?);
            (from, if to < from { to + 7 } else { to })
        }
        None => {
            let from = weekday(range, style)? % 7;
            (from, if step.is_some() { 6 } else { from })
        }
    };
    let step = usize::try_from(step.unwrap_or(1)).unwrap_or(1);
    Ok((from..=to).step_by(step).fold(0, |set, day| set | 1 << (day % 7)))
}

/// 0 to 6 from Sunday; in the Unix style also 7, which is Sunday at the end of a range.
fn weekday(text: &str, style: CronStyle) -> Result<u32> {
    if let Some(place) = WEEKDAYS.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        return Ok(u32::try_from(place).unwrap_or(0));
    }
    let number = digits(text).filter(|number| *number <= 7);
    let number =
        number.ok_or_else(|| wrong(DAY_OF_WEEK, &format!("`{text}` is not a weekday from 0 to 7 or SUN to SAT")))?;
    Ok(match style {
        CronStyle::Unix => number,
        CronStyle::Quartz => number.saturating_sub(1),
    })
}

fn items<'a>(name: &str, text: &'a str) -> Result<Vec<&'a str>> {
    let items: Vec<&str> = text.split(',').map(str::trim).collect();
    if items.iter().any(|item| item.is_empty()) {
        return Err(wrong(name, if text.is_empty() { "it is empty" } else { "nothing stands beside a comma" }));
    }
    if items.len() > 1 && items.contains(&"?") {
        return Err(wrong(name, "? stands alone"));
    }
    Ok(items)
}

/// What stands before `/`, and the step.
fn stepped<'a>(name: &str, item: &'a str, most: u32) -> Result<(&'a str, Option<u32>)> {
    match item.split_once('/') {
        None => Ok((item, None)),
        Some((range, step)) => match digits(step).filter(|step| (1..=most).contains(step)) {
            // Quartz writes /5 for */5.
            Some(step) => Ok((if range.is_empty() { "*" } else { range }, Some(step))),
            None => Err(wrong(name, &format!("the step `{step}` is not a number from 1 to {most}"))),
        },
    }
}

fn digits(text: &str) -> Option<u32> {
    (text.len() <= 3 && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

fn wrong(field: &str, reason: &str) -> Error {
    Error::invalid(format!("The {field} of the cron expression is not understood: {reason}."))
}
