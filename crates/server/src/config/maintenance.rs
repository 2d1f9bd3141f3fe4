//! Maintenance windows of the configuration: days of the week, hours, a zone.

use chrono::Weekday;
use trivault_engine::{MaintenanceWindow, TimeOfDay};

use super::file;

/// # Errors
/// A sentence that names the key and the rule.
pub fn window(window: file::MaintenanceWindow, zone: chrono_tz::Tz) -> Result<MaintenanceWindow, String> {
    let file::MaintenanceWindow { days, from, to, zone: own } = window;
    let zone = match own {
        Some(name) => super::resolve::zone("maintenance.windows.zone", &name)?,
        None => zone,
    };
    let days = days.iter().map(|day| weekday(day)).collect::<Result<_, _>>()?;
    Ok(MaintenanceWindow { days, from: time("from", &from)?, to: time("to", &to)?, zone })
}

fn weekday(text: &str) -> Result<Weekday, String> {
    text.parse()
        .map_err(|_| format!("maintenance.windows.days names `{text}`; days are mon, tue, wed, thu, fri, sat, sun."))
}

fn time(key: &str, text: &str) -> Result<TimeOfDay, String> {
    let parsed = text.split_once(':').and_then(|(hour, minute)| {
        let two_digits = |text: &str| (text.len() == 2).then(|| text.parse::<u8>().ok()).flatten();
        Some(TimeOfDay { hour: two_digits(hour)?, minute: two_digits(minute)? })
    });
    parsed
        .filter(|time| time.hour < 24 && time.minute < 60)
        .ok_or_else(|| format!("maintenance.windows.{key} is `{text}`; write hours and minutes, as 22:00."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<MaintenanceWindow, String> {
        let file = file::parse(&format!("[[maintenance.windows]]\n{text}")).map_err(|error| error.to_string())?;
        window(file.maintenance.windows.into_iter().next().unwrap(), chrono_tz::Europe::Zurich)
    }

    #[test]
    fn a_window_has_days_hours_and_a_zone() {
        let window = parsed("days = [\"sat\", \"Sunday\"]\nfrom = \"22:00\"\nto = \"06:30\"\nzone = \"UTC\"").unwrap();
        assert_eq!(window.days, [Weekday::Sat, Weekday::Sun]);
        assert_eq!(window.from, TimeOfDay { hour: 22, minute: 0 });
        assert_eq!(window.to, TimeOfDay { hour: 6, minute: 30 });
        assert_eq!(window.zone, chrono_tz::UTC);
        let daily = parsed("from = \"00:00\"\nto = \"00:00\"").unwrap();
        assert_eq!((daily.days.len(), daily.zone), (0, chrono_tz::Europe::Zurich));
    }

    #[test]
    fn what_is_no_day_time_or_zone_is_refused_with_a_sentence() {
        for (text, word) in [
            ("days = [\"someday\"]\nfrom = \"22:00\"\nto = \"06:00\"", "someday"),
            ("from = \"24:00\"\nto = \"06:00\"", "24:00"),
            ("from = \"22:60\"\nto = \"06:00\"", "22:60"),
            ("from = \"22\"\nto = \"06:00\"", "`22`"),
            ("from = \"22:00\"\nto = \"6:00\"", "`6:00`"),
            ("from = \"22:00\"\nto = \"06:00\"\nzone = \"Europe/Zurch\"", "Europe/Zurich"),
            ("from = \"22:00\"", "to"),
        ] {
            let sentence = parsed(text).unwrap_err();
            assert!(sentence.contains(word), "{text}: {sentence}");
        }
    }
}
