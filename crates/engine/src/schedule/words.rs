//! A schedule, for people.

use chrono::{DateTime, Utc, Weekday};

use crate::domain::{Bounds, Rule, Schedule, TimeOfDay, Unit};

/// `every 6 hours at minute 30`, `every Monday at 22:00 (Europe/Berlin)`
pub fn in_words(schedule: &Schedule) -> String {
    let Schedule { rule, zone, start_now } = schedule;
    let mut words = match rule {
        Rule::Every { count, unit: Unit::Hours, at: Some(at) } => {
            format!("{} at minute {:02}", every(*count, "hour"), at.minute)
        }
        // Minutes have no time of their own.
        Rule::Every { count, unit: Unit::Minutes, at: _ } => every(*count, "minute"),
        Rule::Every { count, unit, at } => {
            let unit = match unit {
                Unit::Minutes => "minute",
                Unit::Hours => "hour",
                Unit::Days => "day",
                Unit::Weeks => "week",
            };
            format!("{}{}", every(*count, unit), time(*at))
        }
        Rule::Weekday { count: 1, weekday, at } => format!("every {}{}", name(*weekday), time(*at)),
        Rule::Weekday { count, weekday, at } => format!("every {count} weeks on {}{}", name(*weekday), time(*at)),
        Rule::HoursOfDay { hours } => {
            let hours: Vec<String> = hours.iter().map(|hour| format!("{hour:02}:00")).collect();
            format!("daily at {}", hours.join(", "))
        }
        Rule::Cron { cron, bounds: Bounds { from, until, runs } } => {
            let day = |at: &DateTime<Utc>| at.format("%Y-%m-%d %H:%MZ").to_string();
            let mut words = format!("cron {}", cron.expression());
            words.extend(from.iter().map(|from| format!(" from {}", day(from))));
            words.extend(until.iter().map(|until| format!(" until {}", day(until))));
            words.extend(runs.iter().map(|runs| format!(", {runs} times")));
            words
        }
    };
    words.push_str(&format!(" ({zone})"));
    if *start_now {
        words.push_str(", first at once");
    }
    words
}

fn every(count: u32, unit: &str) -> String {
    if count == 1 { format!("every {unit}") } else { format!("every {count} {unit}s") }
}

fn time(at: Option<TimeOfDay>) -> String {
    at.map_or_else(String::new, |TimeOfDay { hour, minute }| format!(" at {hour:02}:{minute:02}"))
}

fn name(weekday: Weekday) -> &'static str {
    match weekday {
        Weekday::Mon => "Monday",
        Weekday::Tue => "Tuesday",
        Weekday::Wed => "Wednesday",
        Weekday::Thu => "Thursday",
        Weekday::Fri => "Friday",
        Weekday::Sat => "Saturday",
        Weekday::Sun => "Sunday",
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;
    use crate::domain::{Cron, CronStyle};

    #[test]
    fn every_rule_has_its_words() {
        let at = Some(TimeOfDay { hour: 22, minute: 5 });
        let cron = Cron::parse("0 3 * * *", CronStyle::Unix).unwrap();
        let until = "2026-02-01T00:00:00Z".parse().ok();
        for (rule, words) in [
            (Rule::Every { count: 5, unit: Unit::Minutes, at }, "every 5 minutes"),
            (Rule::Every { count: 6, unit: Unit::Hours, at }, "every 6 hours at minute 05"),
            (Rule::Every { count: 1, unit: Unit::Days, at }, "every day at 22:05"),
            (Rule::Every { count: 2, unit: Unit::Weeks, at: None }, "every 2 weeks"),
            (Rule::Weekday { count: 1, weekday: Weekday::Sun, at }, "every Sunday at 22:05"),
            (Rule::Weekday { count: 3, weekday: Weekday::Tue, at: None }, "every 3 weeks on Tuesday"),
            (Rule::HoursOfDay { hours: vec![1, 13] }, "daily at 01:00, 13:00"),
            (
                Rule::Cron { cron, bounds: Bounds { from: None, until, runs: Some(3) } },
                "cron 0 3 * * * until 2026-02-01 00:00Z, 3 times",
            ),
        ] {
            let schedule = Schedule { rule, zone: Tz::UTC, start_now: false };
            assert_eq!(in_words(&schedule), format!("{words} (UTC)"));
        }
    }
}
