//! Times as Go prints them (RFC 3339, the fraction without trailing zeros), and names of backups.

use chrono::{DateTime, Offset, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

/// "Not ended."
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// `2020-10-01T13:28:56.207976+01:00`, or with `Z` where the zone is at UTC.
pub fn time(at: DateTime<Utc>, zone: Tz) -> String {
    let local = at.with_timezone(&zone);
    let fraction = fraction(local.nanosecond());
    format!("{}{fraction}{}", local.format("%Y-%m-%dT%H:%M:%S"), offset(&local))
}

/// As [`time`]; what has not happened is [`ZERO_TIME`].
pub fn time_or_zero(at: Option<DateTime<Utc>>, zone: Tz) -> String {
    at.map_or_else(|| ZERO_TIME.to_owned(), |at| time(at, zone))
}

/// The name of a backup: its time with six digits of fraction, and `_` for `:`.
pub fn backup_name(point: DateTime<Utc>, zone: Tz) -> String {
    let local = point.with_timezone(&zone);
    format!("{}{}", local.format("%Y-%m-%dT%H:%M:%S%.6f"), offset(&local)).replace(':', "_")
}

fn fraction(nanoseconds: u32) -> String {
    // 1e9 and more stand for a leap second.
    let digits = format!("{:09}", nanoseconds % 1_000_000_000);
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() { String::new() } else { format!(".{digits}") }
}

fn offset<Z: TimeZone>(local: &DateTime<Z>) -> String {
    let seconds = local.offset().fix().local_minus_utc();
    if seconds == 0 {
        return "Z".to_owned();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Reads a time that a client sends. In a query, an unencoded `+` of the offset has become a blank.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    let read = |text: &str| DateTime::parse_from_rfc3339(text).ok();
    let at =
        read(text).or_else(|| text.rsplit_once(' ').and_then(|(start, offset)| read(&format!("{start}+{offset}"))))?;
    Some(at.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_as_the_manual_prints_them() {
        let london = chrono_tz::Europe::London;
        for (utc, zone, printed) in [
            ("2020-10-01T12:28:56.207976Z", london, "2020-10-01T13:28:56.207976+01:00"),
            ("2020-09-29T12:10:58.526340Z", london, "2020-09-29T13:10:58.52634+01:00"),
            ("2020-10-29T22:00:00Z", london, "2020-10-29T22:00:00Z"),
            ("2025-07-28T11:00:00Z", chrono_tz::Asia::Kolkata, "2025-07-28T16:30:00+05:30"),
            ("2025-07-28T11:00:00.5Z", chrono_tz::America::St_Johns, "2025-07-28T08:30:00.5-02:30"),
        ] {
            let at: DateTime<Utc> = utc.parse().unwrap();
            assert_eq!(time(at, zone), printed);
            assert_eq!(parse(printed), Some(at));
        }
        assert_eq!(time_or_zero(None, london), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn a_backup_is_called_after_its_time_with_six_digits_and_without_colons() {
        let at: DateTime<Utc> = "2020-09-29T10:28:16.19795Z".parse().unwrap();
        assert_eq!(backup_name(at, chrono_tz::Europe::London), "2020-09-29T11_28_16.197950+01_00");
        assert_eq!(backup_name(at, Tz::UTC), "2020-09-29T10_28_16.197950Z");
    }

    #[test]
    fn an_offset_whose_plus_was_lost_on_the_way_is_understood() {
        assert_eq!(parse("2020-09-29T13:10:58.100371 01:00"), parse("2020-09-29T13:10:58.100371+01:00"));
        for bad in ["yesterday", "", "2020-09-29", "2020-09-29 13:10:58", " "] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
