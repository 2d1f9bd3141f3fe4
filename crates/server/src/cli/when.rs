//! When a plan's task runs, from the words of the command line.

use chrono_tz::Tz;
use trivault_engine::{Bounds, Cron, CronStyle, Rule, Schedule, TimeOfDay, Unit};

use super::{
    args::{NewTask, WeekdayName},
    session::sentence,
};
use crate::config;

/// # Errors
/// A sentence that names the option.
pub fn schedule(task: &NewTask, server_zone: Tz) -> Result<Schedule, String> {
    let NewTask { task: _, task_name: _, full: _, level: _, shares: _, cron, every, at, on, zone, start_now } = task;
    let zone = zone.as_deref().map_or(Ok(server_zone), |name| config::zone("--zone", name))?;
    let at = at.as_deref().map(time_of_day).transpose()?;
    let rule = match (cron, every, at) {
        (Some(expression), _, _) => crontab(expression)?,
        (None, Some(every), at) => {
            let (count, unit) = duration(every)?;
            if unit == Unit::Minutes && at.is_some() {
                return Err("--every in minutes counts from now; leave --at out.".to_owned());
            }
            Rule::Every { count, unit, at }
        }
        (None, None, Some(TimeOfDay { hour, minute })) => {
            let day = on.map_or("*".to_owned(), |day| weekday_number(day).to_string());
            crontab(&format!("{minute} {hour} * * {day}"))?
        }
        (None, None, None) => return Err("Say when: --cron, --every or --at.".to_owned()),
    };
    Ok(Schedule { rule, zone, start_now: *start_now })
}

fn crontab(expression: &str) -> Result<Rule, String> {
    let cron = Cron::parse(expression, CronStyle::Unix).map_err(sentence)?;
    Ok(Rule::Cron { cron, bounds: Bounds::default() })
}

fn duration(text: &str) -> Result<(u32, Unit), String> {
    let wrong = || format!("--every is `{text}`; write a number and m, h, d or w, as 30m, 6h, 2d or 1w.");
    let unit = match text.chars().next_back() {
        Some('m') => Unit::Minutes,
        Some('h') => Unit::Hours,
        Some('d') => Unit::Days,
        Some('w') => Unit::Weeks,
        _ => return Err(wrong()),
    };
    let count = text.get(..text.len() - 1).and_then(|count| count.parse().ok());
    let count = count.filter(|count| (1..=5000).contains(count)).ok_or_else(wrong)?;
    Ok((count, unit))
}

fn time_of_day(text: &str) -> Result<TimeOfDay, String> {
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u8>().ok()).flatten();
    text.split_once(':')
        .and_then(|(hour, minute)| Some(TimeOfDay { hour: number(hour)?, minute: number(minute)? }))
        .filter(|at| at.hour < 24 && at.minute < 60)
        .ok_or_else(|| format!("--at is `{text}`; write HH:MM between 00:00 and 23:59."))
}

/// As crontab numbers them.
fn weekday_number(day: WeekdayName) -> u8 {
    match day {
        WeekdayName::Sunday => 0,
        WeekdayName::Monday => 1,
        WeekdayName::Tuesday => 2,
        WeekdayName::Wednesday => 3,
        WeekdayName::Thursday => 4,
        WeekdayName::Friday => 5,
        WeekdayName::Saturday => 6,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use trivault_engine::schedule::in_words;

    use super::*;
    use crate::cli::args::{Arguments, Command, PlanCommand};

    fn words(text: &str) -> Result<String, String> {
        let (cron, rest) = text.split_once('\'').map_or((None, text), |(_, rest)| (rest.split('\'').next(), ""));
        let mut arguments = vec!["trivault", "plan", "create", "x", "--task", "backup"];
        arguments.extend(cron.iter().flat_map(|cron| ["--cron", *cron]));
        arguments.extend(rest.split_whitespace());
        let parsed = Arguments::try_parse_from(arguments).map_err(|error| error.to_string())?;
        let Command::Plan(PlanCommand::Create { task, .. }) = parsed.command else { panic!("{parsed:?}") };
        Ok(in_words(&schedule(&task, Tz::UTC)?))
    }

    #[test]
    fn what_is_typed_is_what_runs() {
        for (typed, expected) in [
            ("'0 3 * * *'", "cron 0 3 * * * (UTC)"),
            ("--every 6h", "every 6 hours (UTC)"),
            ("--every 6h --at 00:30", "every 6 hours at minute 30 (UTC)"),
            ("--every 1d --at 22:00 --zone Europe/Berlin", "every day at 22:00 (Europe/Berlin)"),
            ("--every 2w --start-now", "every 2 weeks (UTC), first at once"),
            ("--at 22:05", "cron 5 22 * * * (UTC)"),
            ("--at 9:00 --on sunday", "cron 0 9 * * 0 (UTC)"),
        ] {
            assert_eq!(words(typed).as_deref(), Ok(expected), "{typed}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_options_name() {
        for (typed, part) in [
            ("", "required"),
            ("'0 3 30 2 *'", "never comes"),
            ("'61 3 * * *'", "minute"),
            ("--every 0h", "--every is `0h`"),
            ("--every 6", "--every is `6`"),
            ("--every h", "--every is `h`"),
            ("--every \u{fc}", "--every is"),
            ("--every 30m --at 10:00", "leave --at out"),
            ("--at 24:00", "--at is `24:00`"),
            ("--at 2200", "--at is `2200`"),
            ("--every 6h --on sunday", "--on"),
            ("--at 22:00 --zone Europe/Berln", "Did you mean `Europe/Berlin`"),
        ] {
            let refused = words(typed).unwrap_err();
            assert!(refused.contains(part), "{typed}: {refused}");
        }
    }
}
