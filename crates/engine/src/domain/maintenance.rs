//! Maintenance: times in which new jobs wait. Jobs that run go on; what waits begins when the time is over.
//!
//! Windows stand in the configuration and recur; maintenance by hand begins at once and ends when it is told to, or after a while.
//! By hand holds everything unless it was said that restores may run; a window lets restores run unless it was said that they wait:
//! somebody stands beside the one, nobody beside the other. What a restore waits for itself (its safety backup) runs with it.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::TimeOfDay;

/// Priority from which on jobs belong to restores.
pub const RESTORE_PRIORITY: i64 = 20;
/// Windows that are followed one into the other to find when the last of them ends.
const MOST_LINKED: usize = 64;

/// What all nodes obey; kept in the metadata database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Maintenance {
    /// Of the configuration.
    pub windows: Vec<MaintenanceWindow>,
    /// Restores wait in the windows too.
    pub windows_hold_restores: bool,
    /// A window that was ended by hand holds nothing before then.
    pub windows_off_until: Option<DateTime<Utc>>,
    pub by_hand: Option<MaintenanceByHand>,
}

/// The same hours of some days of the week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceWindow {
    /// The days on which it begins; every day when there are none.
    pub days: Vec<Weekday>,
    pub from: TimeOfDay,
    /// Not after `from`: on the next day.
    pub to: TimeOfDay,
    pub zone: Tz,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceByHand {
    pub since: DateTime<Utc>,
    /// `None`: until it is ended by hand.
    pub until: Option<DateTime<Utc>>,
    /// Who began it.
    pub by: String,
    pub reason: Option<String>,
    pub restores_run: bool,
}

/// What holds jobs back now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// `None`: until it is ended by hand.
    pub until: Option<DateTime<Utc>>,
    pub restores_run: bool,
    /// Who began it and why, where it was begun by hand.
    pub by_hand: Option<MaintenanceByHand>,
}

impl Hold {
    /// Why a job waits, for a person.
    pub fn sentence(&self) -> String {
        let until = match self.until {
            Some(until) => format!("until {}", until.format("%Y-%m-%d %H:%M:%S UTC")),
            None => "until `trivault maintenance stop`".to_owned(),
        };
        match &self.by_hand {
            Some(MaintenanceByHand { by, reason: Some(reason), .. }) => {
                format!("Maintenance holds new jobs back {until}: {reason} (begun by {by}).")
            }
            Some(MaintenanceByHand { by, reason: None, .. }) => {
                format!("Maintenance holds new jobs back {until} (begun by {by}).")
            }
            None => format!("The maintenance window of the configuration holds new jobs back {until}."),
        }
    }
}

impl Maintenance {
    /// What holds jobs back at that instant.
    pub fn hold(&self, now: DateTime<Utc>) -> Option<Hold> {
        let by_hand = self.by_hand.as_ref().filter(|held| held.until.is_none_or(|until| now < until));
        let window = self.window_until(now);
        let restores_run_in_window = !self.windows_hold_restores;
        match (by_hand, window) {
            (None, None) => None,
            (None, Some(until)) => {
                Some(Hold { until: Some(until), restores_run: restores_run_in_window, by_hand: None })
            }
            (Some(held), window) => Some(Hold {
                until: held.until.map(|until| window.map_or(until, |window| window.max(until))),
                restores_run: held.restores_run && (window.is_none() || restores_run_in_window),
                by_hand: Some(held.clone()),
            }),
        }
    }

    /// When the windows in which this instant lies are over.
    fn window_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.windows_off_until.is_some_and(|off| now < off) {
            return None;
        }
        let end_at = |at| self.windows.iter().filter_map(|window| window.until(at)).max();
        let mut until = end_at(now)?;
        for _ in 0..MOST_LINKED {
            match end_at(until) {
                Some(later) if later > until => until = later,
                Some(_) | None => break,
            }
        }
        Some(until)
    }

    /// When the configured windows next begin to hold.
    pub fn next_window(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let from = self.windows_off_until.map_or(now, |off| off.max(now));
        self.windows.iter().filter_map(|window| window.next(from)).min()
    }

    /// Ends what holds jobs back now: maintenance by hand, and the window in which this instant lies.
    pub fn stop(&mut self, now: DateTime<Utc>) {
        self.by_hand = None;
        if let Some(until) = self.window_until(now) {
            self.windows_off_until = Some(until);
        }
    }
}

impl MaintenanceWindow {
    fn begins_on(&self, day: NaiveDate) -> bool {
        self.days.is_empty() || self.days.contains(&day.weekday())
    }

    /// Begin and end of the window that begins on that day.
    fn span(&self, day: NaiveDate) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let last_day = if self.to <= self.from { day.checked_add_days(Days::new(1))? } else { day };
        Some((instant(self.zone, day, self.from)?, instant(self.zone, last_day, self.to)?))
    }

    /// The end of the window in which this instant lies.
    fn until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let today = now.with_timezone(&self.zone).date_naive();
        let days = [today.checked_sub_days(Days::new(1)), Some(today)];
        let spans = days.into_iter().flatten().filter(|day| self.begins_on(*day)).filter_map(|day| self.span(day));
        spans.filter(|(begin, end)| *begin <= now && now < *end).map(|(_, end)| end).max()
    }

    /// The next begin after this instant.
    fn next(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let today = now.with_timezone(&self.zone).date_naive();
        let days = (0..=8).filter_map(|ahead| today.checked_add_days(Days::new(ahead)));
        days.filter(|day| self.begins_on(*day))
            .filter_map(|day| self.span(day))
            .map(|(begin, _)| begin)
            .find(|begin| *begin > now)
    }
}

/// The instant at which clocks of the zone first show this time, or the first after it where they skip it.
fn instant(zone: Tz, day: NaiveDate, time: TimeOfDay) -> Option<DateTime<Utc>> {
    let local = day.and_time(NaiveTime::from_hms_opt(u32::from(time.hour), u32::from(time.minute), 0)?);
    // No clock was ever put forward by more than a day.
    (0..=96).find_map(|quarters| {
        let shown = local.checked_add_signed(TimeDelta::minutes(15 * quarters))?;
        Some(zone.from_local_datetime(&shown).earliest()?.with_timezone(&Utc))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn time(hour: u8, minute: u8) -> TimeOfDay {
        TimeOfDay { hour, minute }
    }

    fn window(days: &[Weekday], from: TimeOfDay, to: TimeOfDay) -> Maintenance {
        let window = MaintenanceWindow { days: days.to_vec(), from, to, zone: chrono_tz::Europe::Zurich };
        Maintenance { windows: vec![window], ..Maintenance::default() }
    }

    #[test]
    fn a_window_holds_from_its_begin_until_just_before_its_end() {
        // Zurich is an hour ahead of UTC in winter, two in summer.
        let night = window(&[Weekday::Sat], time(22, 0), time(6, 0));
        for (now, until) in [
            ("2026-02-28T20:59:59Z", None),
            ("2026-02-28T21:00:00Z", Some("2026-03-01T05:00:00Z")),
            ("2026-03-01T04:59:59Z", Some("2026-03-01T05:00:00Z")),
            ("2026-03-01T05:00:00Z", None),
            ("2026-03-01T22:00:00Z", None),
            // In the night in which clocks are put forward, it lasts seven hours.
            ("2026-03-28T21:30:00Z", Some("2026-03-29T04:00:00Z")),
            ("2026-03-29T04:00:00Z", None),
        ] {
            assert_eq!(night.hold(at(now)).map(|hold| hold.until.unwrap()), until.map(at), "{now}");
        }
        assert_eq!(night.next_window(at("2026-03-01T04:00:00Z")), Some(at("2026-03-07T21:00:00Z")));
    }

    #[test]
    fn a_window_that_begins_in_a_skipped_hour_begins_after_it() {
        let window = window(&[], time(2, 30), time(4, 0));
        assert!(window.hold(at("2026-03-29T00:59:59Z")).is_none());
        assert!(window.hold(at("2026-03-29T01:00:00Z")).is_some());
    }

    #[test]
    fn windows_that_touch_are_one() {
        let mut both = window(&[], time(20, 0), time(0, 0));
        both.windows.extend(window(&[], time(0, 0), time(4, 0)).windows);
        let hold = both.hold(at("2026-01-10T20:00:00Z")).unwrap();
        assert_eq!(hold.until, Some(at("2026-01-11T03:00:00Z")));
        let always = window(&[], time(0, 0), time(0, 0));
        assert!(always.hold(at("2026-01-10T20:00:00Z")).unwrap().until.unwrap() > at("2026-02-10T00:00:00Z"));
    }

    #[test]
    fn a_window_lets_restores_run_unless_told_and_a_hand_holds_them_unless_told() {
        let now = at("2026-01-10T20:00:00Z");
        let mut maintenance = window(&[], time(20, 0), time(23, 0));
        assert!(maintenance.hold(now).unwrap().restores_run);
        maintenance.windows_hold_restores = true;
        assert!(!maintenance.hold(now).unwrap().restores_run);
        let by_hand = MaintenanceByHand {
            since: now,
            until: Some(now + TimeDelta::minutes(10)),
            by: "ops".into(),
            reason: Some("the storage is moved".into()),
            restores_run: true,
        };
        maintenance.by_hand = Some(by_hand.clone());
        let hold = maintenance.hold(now).unwrap();
        assert!(!hold.restores_run, "the stricter one counts");
        assert_eq!(hold.until, Some(at("2026-01-10T22:00:00Z")), "the later end counts");
        maintenance.by_hand = Some(MaintenanceByHand { until: None, ..by_hand });
        let hold = maintenance.hold(now).unwrap();
        assert_eq!(hold.until, None);
        assert!(hold.sentence().contains("the storage is moved") && hold.sentence().contains("ops"));
    }

    #[test]
    fn a_stop_ends_the_window_that_holds_and_not_the_next_one() {
        let now = at("2026-01-10T20:00:00Z");
        let mut maintenance = window(&[], time(20, 0), time(23, 0));
        maintenance.stop(now);
        assert_eq!(maintenance.hold(now), None);
        assert!(maintenance.hold(now + TimeDelta::days(1)).is_some());
        assert_eq!(maintenance.next_window(now), Some(at("2026-01-11T19:00:00Z")));
    }
}
