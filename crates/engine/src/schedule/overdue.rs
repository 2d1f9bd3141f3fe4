//! Whether what should have succeeded by now has.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{following, next};
use crate::domain::Schedule;

/// How long after its time a run may still succeed before it is overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grace {
    /// A fifth of the time between two runs, at least an hour.
    Proportional,
    Fixed(Duration),
}

const LEAST_GRACE: TimeDelta = TimeDelta::hours(1);
const GRACE_PART: i32 = 5;

impl Grace {
    fn of(self, interval: TimeDelta) -> TimeDelta {
        match self {
            Self::Proportional => (interval / GRACE_PART).max(LEAST_GRACE),
            Self::Fixed(grace) => TimeDelta::from_std(grace).unwrap_or(TimeDelta::MAX),
        }
    }
}

/// A task's newest run that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Success {
    pub due: DateTime<Utc>,
    /// When it began, which is later than due after a downtime.
    pub began: DateTime<Utc>,
}

/// The run that should succeed next: of the series after the newest success, or the first one since the schedule holds.
pub fn expected_after(
    schedule: &Schedule,
    holds_since: DateTime<Utc>,
    success: Option<Success>,
) -> Option<DateTime<Utc>> {
    match success {
        Some(Success { due, began }) if began >= holds_since => following(schedule, due, began),
        Some(_) | None => next(schedule, holds_since),
    }
}

/// Since when a task is overdue; `None` while it is not.
pub fn overdue_since(
    schedule: &Schedule,
    holds_since: DateTime<Utc>,
    success: Option<Success>,
    grace: Grace,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let expected = expected_after(schedule, holds_since, success)?;
    let interval = next(schedule, expected).map_or(TimeDelta::zero(), |next| next - expected);
    let since = expected.checked_add_signed(grace.of(interval))?;
    (since < now).then_some(since)
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;
    use crate::domain::{Cron, CronStyle, Rule, TimeOfDay, Unit};

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn schedule(rule: Rule) -> Schedule {
        Schedule { rule, zone: Tz::UTC, start_now: false }
    }

    fn success(due: &str, began: &str) -> Option<Success> {
        Some(Success { due: instant(due), began: instant(began) })
    }

    #[test]
    fn a_task_is_overdue_when_its_next_run_has_not_succeeded_after_the_grace() {
        let hourly = schedule(Rule::Every { count: 1, unit: Unit::Hours, at: None });
        let evening = Some(TimeOfDay { hour: 22, minute: 0 });
        let daily = schedule(Rule::Every { count: 1, unit: Unit::Days, at: evening });
        let cron = Cron::parse("0 22 * * 1-5", CronStyle::Unix).unwrap();
        let workdays = schedule(Rule::Cron { cron, bounds: crate::domain::Bounds::default() });
        let attached = instant("2026-01-01T00:00:00Z");
        let at_due = |due: &str| success(due, due);
        for (schedule, success, since) in [
            (&hourly, None, "2026-01-01T02:00:00Z"),
            (&hourly, at_due("2026-01-05T10:00:00Z"), "2026-01-05T12:00:00Z"),
            (&daily, None, "2026-01-03T02:48:00Z"),
            (&daily, at_due("2026-01-05T22:00:00Z"), "2026-01-07T02:48:00Z"),
            // After a week of downtime the missed run of the 5th succeeds in the morning of the 12th.
            (&daily, success("2026-01-05T22:00:00Z", "2026-01-12T08:00:00Z"), "2026-01-13T02:48:00Z"),
            // Over a weekend nothing is overdue: the run of Monday is the next one.
            (&workdays, at_due("2026-01-09T22:00:00Z"), "2026-01-13T02:48:00Z"),
        ] {
            let overdue = |now| overdue_since(schedule, attached, success, Grace::Proportional, now);
            let since = instant(since);
            assert_eq!(overdue(since), None, "{schedule:?}");
            assert_eq!(overdue(since + TimeDelta::seconds(1)), Some(since), "{schedule:?}");
        }
        let minute = Grace::Fixed(Duration::from_secs(60));
        let now = instant("2026-01-01T01:02:00Z");
        assert_eq!(overdue_since(&hourly, attached, None, minute, now), Some(instant("2026-01-01T01:01:00Z")));
    }

    #[test]
    fn a_success_before_the_plan_was_changed_counts_no_more() {
        let hourly = schedule(Rule::Every { count: 1, unit: Unit::Hours, at: None });
        let changed = instant("2026-01-05T10:30:00Z");
        let before = success("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z");
        let overdue = |now| overdue_since(&hourly, changed, before, Grace::Proportional, instant(now));
        assert_eq!(overdue("2026-01-05T12:00:00Z"), None);
        assert_eq!(overdue("2026-01-05T12:31:00Z"), Some(instant("2026-01-05T12:30:00Z")));
    }

    #[test]
    fn a_series_that_has_ended_is_never_overdue() {
        let cron = Cron::parse("0 4 * * *", CronStyle::Unix).unwrap();
        let until = Some(instant("2026-01-02T04:00:00Z"));
        let bounds = crate::domain::Bounds { until, ..Default::default() };
        let ended = schedule(Rule::Cron { cron, bounds });
        let last = success("2026-01-02T04:00:00Z", "2026-01-02T04:00:01Z");
        let attached = instant("2026-01-01T00:00:00Z");
        assert_eq!(overdue_since(&ended, attached, last, Grace::Proportional, instant("2027-01-01T00:00:00Z")), None);
    }
}
