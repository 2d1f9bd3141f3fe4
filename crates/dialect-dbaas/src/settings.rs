//! Periodic backups and the maintenance window of a database.
//!
//! While periodic backups are on, their hours are those of the plan that is attached to the database's repository. The
//! hours last set are kept with the source, so that they are there again when periodic backups are switched on.

use chrono_tz::Tz;
use serde_json::{Value, json};
use trivault_engine::{Attribute, JobKind, NewPlan, Plan, PlanTask, Retention, Rule, Schedule};

use crate::{
    NAME,
    auth::Call,
    errors::Result,
    lookup::Database,
    names::object_of_source,
    repositories,
    types::{DatabaseChange, MaintenanceWindow},
};

/// Attribute of a source: `[1, 13]`.
const HOURS: &str = "periodic_hours";
/// Attribute of a source: `{"weekday_utc": 2, "starting_hour_utc": 22}`.
const WINDOW: &str = "maintenance_window";
/// The only task of a database's plan.
const TASK: &str = "periodic";
/// Hours of a database for which none was ever set.
const DEFAULT_HOURS: [u8; 1] = [0];

/// Backups of a database that are kept, as the documented starter plan has it: one a day for 7 days, the last one of each of 4
/// weeks (weeks end on Sunday, UTC), and 10 that were asked for, of which a new one takes the place of the oldest.
const DAILY: u32 = 7;
const WEEKLY: u32 = 4;
const MANUAL: u32 = 10;

/// What a database's repository keeps, unless an operator says otherwise (`trivault retention set`).
pub fn retention() -> Retention {
    Retention { daily: DAILY, weekly: WEEKLY, manual: Some(MANUAL), ..Retention::everything(Tz::UTC) }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub enabled: bool,
    /// Of the day, UTC, ascending; empty when none was ever set.
    pub hours: Vec<u8>,
    pub maintenance_window: Option<MaintenanceWindow>,
}

impl Settings {
    /// What a change makes of them. Hours stay when periodic backups are switched off, and count when they are switched on.
    fn changed(&self, change: &DatabaseChange) -> Self {
        let DatabaseChange { periodic_backups_enabled, hours, weekday_utc, starting_hour_utc } = change;
        let enabled = periodic_backups_enabled.unwrap_or(self.enabled);
        let mut hours = hours.clone().unwrap_or_else(|| self.hours.clone());
        if enabled && hours.is_empty() {
            hours = DEFAULT_HOURS.to_vec();
        }
        let window = self.maintenance_window;
        let maintenance_window = if weekday_utc.is_some() || starting_hour_utc.is_some() {
            let weekday = weekday_utc.or(window.map(|window| window.weekday_utc)).unwrap_or(0);
            let hour = starting_hour_utc.or(window.map(|window| window.starting_hour_utc)).unwrap_or(0);
            Some(MaintenanceWindow::new(weekday, hour))
        } else {
            window
        };
        Self { enabled, hours, maintenance_window }
    }
}

/// The settings of a database.
pub async fn read(call: &Call, database: &Database) -> Result<Settings> {
    let kept = call.engine.attributes(NAME, object_of_source(database.source.id)).await?;
    let plan = repositories::find(call, database).await?.and_then(|repository| repository.plan);
    let mut settings = from_attributes(&kept);
    if let Some(plan) = plan {
        settings.enabled = true;
        settings.hours = hours_of(&call.engine.plan(&call.caller, plan).await?);
    }
    Ok(settings)
}

/// Applies a change; what it leaves as it was is not touched, so that sending it again does nothing.
pub async fn change(call: &Call, database: &Database, change: &DatabaseChange) -> Result<Settings> {
    let before = read(call, database).await?;
    let after = before.changed(change);
    if after.hours != before.hours {
        keep(call, database, HOURS, json!(after.hours)).await?;
    }
    if after.maintenance_window != before.maintenance_window {
        let window = after
            .maintenance_window
            .map(|window| json!({"weekday_utc": window.weekday_utc, "starting_hour_utc": window.starting_hour_utc}));
        keep(call, database, WINDOW, window.unwrap_or(Value::Null)).await?;
    }
    if after.enabled && (!before.enabled || after.hours != before.hours) {
        schedule(call, database, &after.hours).await?;
    }
    if before.enabled && !after.enabled {
        let repository = repositories::ensure(call, database).await?;
        call.engine.attach_plan(&call.caller, repository.id, None).await?;
    }
    Ok(after)
}

async fn keep(call: &Call, database: &Database, key: &str, value: Value) -> Result<()> {
    let attribute = Attribute::new(NAME, key, value);
    Ok(call.engine.set_attribute(&call.caller, object_of_source(database.source.id), attribute).await?)
}

/// Gives the database's plan these hours and attaches it.
async fn schedule(call: &Call, database: &Database, hours: &[u8]) -> Result<()> {
    let repository = repositories::ensure(call, database).await?;
    let plan = call.engine.put_plan(&call.caller, plan(&repository.name, hours)).await?;
    if repository.plan != Some(plan.id) {
        call.engine.attach_plan(&call.caller, repository.id, Some(plan.id)).await?;
    }
    Ok(())
}

fn plan(name: &str, hours: &[u8]) -> NewPlan {
    let schedule = Schedule { rule: Rule::HoursOfDay { hours: hours.to_vec() }, zone: Tz::UTC, start_now: false };
    NewPlan {
        owner: NAME,
        name: name.to_owned(),
        description: None,
        builtin: false,
        tasks: vec![PlanTask {
            name: TASK.to_owned(),
            kind: JobKind::Backup,
            schedule,
            full: false,
            merge_window: None,
            verify: None,
        }],
        attributes: Vec::new(),
    }
}

fn hours_of(plan: &Plan) -> Vec<u8> {
    let hours = plan.tasks.iter().filter_map(|task| match &task.schedule.rule {
        Rule::HoursOfDay { hours } => Some(hours.iter().copied()),
        Rule::Every { count: _, unit: _, at: _ }
        | Rule::Weekday { count: _, weekday: _, at: _ }
        | Rule::Cron { cron: _, bounds: _ } => None,
    });
    let mut hours: Vec<u8> = hours.flatten().collect();
    hours.sort_unstable();
    hours.dedup();
    hours
}

fn from_attributes(kept: &[Attribute]) -> Settings {
    let value = |key: &str| kept.iter().find(|attribute| attribute.key == key).map(|attribute| &attribute.value);
    let small = |value: &Value| value.as_u64().and_then(|number| u8::try_from(number).ok());
    let hours = value(HOURS).and_then(Value::as_array).map(|hours| hours.iter().filter_map(small).collect());
    let window = value(WINDOW).and_then(|window| {
        Some(MaintenanceWindow::new(small(window.get("weekday_utc")?)?, small(window.get("starting_hour_utc")?)?))
    });
    Settings { enabled: false, hours: hours.unwrap_or_default(), maintenance_window: window }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(enabled: bool, hours: &[u8]) -> Settings {
        Settings { enabled, hours: hours.to_vec(), maintenance_window: None }
    }

    fn change(enabled: Option<bool>, hours: Option<&[u8]>) -> DatabaseChange {
        let hours = hours.map(<[u8]>::to_vec);
        DatabaseChange { periodic_backups_enabled: enabled, hours, ..DatabaseChange::default() }
    }

    #[test]
    fn hours_survive_switching_off_and_count_when_switched_on() {
        for (before, sent, after) in [
            (settings(false, &[]), change(Some(true), None), settings(true, &[0])),
            (settings(false, &[]), change(Some(true), Some(&[3])), settings(true, &[3])),
            (settings(false, &[]), change(None, Some(&[3])), settings(false, &[3])),
            (settings(false, &[]), change(Some(false), None), settings(false, &[])),
            (settings(true, &[3]), change(Some(false), None), settings(false, &[3])),
            (settings(false, &[3]), change(Some(true), None), settings(true, &[3])),
            (settings(true, &[3]), change(None, Some(&[1, 13])), settings(true, &[1, 13])),
            (settings(true, &[3]), change(Some(false), Some(&[5])), settings(false, &[5])),
            (settings(true, &[3]), change(None, None), settings(true, &[3])),
        ] {
            assert_eq!(before.changed(&sent), after, "{before:?} {sent:?}");
        }
    }

    #[test]
    fn half_a_maintenance_window_keeps_the_other_half() {
        let weekday = DatabaseChange { weekday_utc: Some(2), ..DatabaseChange::default() };
        let hour = DatabaseChange { starting_hour_utc: Some(22), ..DatabaseChange::default() };
        let first = Settings::default().changed(&weekday);
        assert_eq!(first.maintenance_window, Some(MaintenanceWindow::new(2, 0)));
        assert_eq!(first.changed(&hour).maintenance_window, Some(MaintenanceWindow::new(2, 22)));
    }

    #[test]
    fn what_was_kept_is_read_again_and_what_is_damaged_is_left_out() {
        let kept = [
            Attribute::new(NAME, HOURS, json!([1, 13])),
            Attribute::new(NAME, WINDOW, json!({"weekday_utc": 2, "starting_hour_utc": 22})),
        ];
        let read = from_attributes(&kept);
        assert_eq!((read.enabled, read.hours), (false, vec![1, 13]));
        assert_eq!(read.maintenance_window, Some(MaintenanceWindow::new(2, 22)));
        let damaged = [Attribute::new(NAME, HOURS, json!("x")), Attribute::new(NAME, WINDOW, json!([]))];
        assert_eq!(from_attributes(&damaged), Settings::default());
    }

    #[test]
    fn the_plan_of_a_database_runs_at_its_hours_in_utc() {
        let NewPlan { owner, name, description: _, builtin, tasks, attributes: _ } = plan("db-x", &[1, 13]);
        assert_eq!((owner, name.as_str(), builtin, tasks.len()), (NAME, "db-x", false, 1));
        assert_eq!(tasks[0].schedule.rule, Rule::HoursOfDay { hours: vec![1, 13] });
        assert_eq!((tasks[0].schedule.zone, tasks[0].schedule.start_now), (Tz::UTC, false));
    }
}
