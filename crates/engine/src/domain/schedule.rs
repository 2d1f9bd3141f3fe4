//! One schedule type for all dialects.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::Cron;

/// When something recurs. `next` lives in `crate::schedule`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    pub rule: Rule,
    /// The zone in which hours and days are meant.
    pub zone: Tz,
    /// The first run is at once.
    pub start_now: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Rule {
    /// Every `count` units after the base. With `at`: hours take its minute, days and weeks its hour and minute.
    Every { count: u32, unit: Unit, at: Option<TimeOfDay> },
    /// Every `count`-th such weekday.
    Weekday { count: u32, weekday: chrono::Weekday, at: Option<TimeOfDay> },
    /// Once per calendar day at each of these hours (0..=23), sorted, distinct.
    HoursOfDay { hours: Vec<u8> },
    /// At the times of a cron expression, within bounds.
    Cron {
        cron: Cron,
        #[serde(default)]
        bounds: Bounds,
    },
}

/// When a series begins and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// The first run is not before this.
    pub from: Option<DateTime<Utc>>,
    /// The last run is not after this.
    pub until: Option<DateTime<Utc>>,
    /// So many runs in all, counted from when the plan was last changed.
    pub runs: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Minutes,
    Hours,
    Days,
    Weeks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TimeOfDay {
    /// 0..=23
    pub hour: u8,
    /// 0..=59
    pub minute: u8,
}
