//! Plans.

use std::collections::HashSet;

use chrono_tz::Tz;
use trivault_engine::{Attribute, JobKind, MergeWindow, NewPlan, Plan, PlanTask, Rule, Schedule, TimeOfDay, Unit};

use crate::{
    NAME,
    errors::ApiError,
    types::{self, Period, TaskType, is_identifier},
};

/// Namespace of the wire fields that the engine keeps for us.
pub const ATTRIBUTES: &str = NAME;
const SERVICES: &str = "services";

const MOST_TASKS: usize = 14;
const MOST_DESCRIPTION_CHARACTERS: usize = 140;
const FREQUENCIES: std::ops::RangeInclusive<i64> = 1..=5000;
const SERVICE_NAMES: [&str; 6] = ["data", "gsi", "views", "ft", "eventing", "cbas"];

/// Checks a plan as sent. `name` is the path's.
///
/// # Errors
/// 400 `The plan was not valid`, `extras` naming the rule.
pub fn plan_from_wire(name: &str, request: types::PlanRequest, zone: Tz) -> Result<NewPlan, ApiError> {
    read_plan(name, request, zone).map_err(|reason| ApiError::bad_request("The plan was not valid").extras(reason))
}

fn read_plan(name: &str, request: types::PlanRequest, zone: Tz) -> Result<NewPlan, String> {
    let types::PlanRequest { name: _, description, services, tasks } = request;
    check_name("plan", name)?;
    if description.as_ref().is_some_and(|text| text.chars().count() > MOST_DESCRIPTION_CHARACTERS) {
        return Err(format!("the description is longer than {MOST_DESCRIPTION_CHARACTERS} characters"));
    }
    if let Some(unknown) = services.iter().flatten().find(|service| !SERVICE_NAMES.contains(&service.as_str())) {
        return Err(format!("unknown service '{unknown}', known are {}", SERVICE_NAMES.join(", ")));
    }
    let tasks = tasks.unwrap_or_default();
    if tasks.is_empty() || tasks.len() > MOST_TASKS {
        return Err(format!("a plan has between 1 and {MOST_TASKS} tasks, this one has {}", tasks.len()));
    }
    let tasks = tasks.into_iter().map(|task| read_task(task, zone)).collect::<Result<Vec<_>, _>>()?;
    let mut names = HashSet::new();
    if let Some(twice) = tasks.iter().find(|task| !names.insert(task.name.as_str())) {
        return Err(format!("two tasks are called '{}'", twice.name));
    }
    let attributes = vec![Attribute::new(ATTRIBUTES, SERVICES, serde_json::json!(services))];
    Ok(NewPlan { owner: NAME, name: name.to_owned(), description, builtin: false, tasks, attributes })
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    if is_identifier(name) {
        return Ok(());
    }
    Err(format!("the {what} name must follow the rules ^[0-9A-Za-z][0-9A-Za-z_-]{{0,49}}$"))
}

fn read_task(request: types::PlanTaskRequest, zone: Tz) -> Result<PlanTask, String> {
    let types::PlanTaskRequest { name, task_type, schedule, full_backup, merge_options, options } = request;
    let name = name.unwrap_or_default();
    check_name("task", &name)?;
    let kind =
        read_type(task_type.as_deref()).ok_or(format!("task '{name}': task_type must be BACKUP, MERGE or PRUNE"))?;
    let schedule = schedule.ok_or(format!("task '{name}' has no schedule"))?;
    if schedule.job_type != task_type {
        return Err(format!("task '{name}': job_type must be the same as task_type"));
    }
    let full = full_backup.unwrap_or(false);
    if full && kind == JobKind::Merge {
        return Err(format!("task '{name}': full_backup can only be true for a task of type BACKUP"));
    }
    let window = merge_options.or(options).map(|options| read_window(options, &name)).transpose()?;
    Ok(PlanTask {
        schedule: read_schedule(schedule, zone).map_err(|reason| format!("task '{name}': {reason}"))?,
        name,
        kind,
        // A prune has nothing that could be full; the manual's own example says so and is taken.
        full: full && kind == JobKind::Backup,
        merge_window: if kind == JobKind::Merge { window } else { None },
        verify: None,
    })
}

fn read_type(text: Option<&str>) -> Option<JobKind> {
    match text {
        Some("BACKUP") => Some(JobKind::Backup),
        Some("MERGE") => Some(JobKind::Merge),
        Some("PRUNE") => Some(JobKind::Prune),
        _ => None,
    }
}

fn read_window(request: types::MergeOptionsRequest, task: &str) -> Result<MergeWindow, String> {
    let types::MergeOptionsRequest { offset_start, offset_end } = request;
    let days = |value: Option<i64>, name: &str| {
        u32::try_from(value.unwrap_or(0)).map_err(|_| format!("task '{task}': {name} must be zero or more days"))
    };
    Ok(MergeWindow { offset_start: days(offset_start, "offset_start")?, offset_end: days(offset_end, "offset_end")? })
}

fn read_schedule(request: types::TaskScheduleRequest, zone: Tz) -> Result<Schedule, String> {
    let types::TaskScheduleRequest { job_type: _, frequency, period, time, start_now } = request;
    let frequency = frequency.ok_or("the schedule has no frequency")?;
    let count = Some(frequency)
        .filter(|frequency| FREQUENCIES.contains(frequency))
        .and_then(|frequency| u32::try_from(frequency).ok())
        .ok_or(format!("the frequency must be between {} and {}", FREQUENCIES.start(), FREQUENCIES.end()))?;
    let period = period
        .as_deref()
        .and_then(read_period)
        .ok_or("the period must be MINUTES, HOURS, DAYS, WEEKS or a day of the week in capital letters")?;
    let at = time.map(|time| read_time(&time).ok_or("the time must be HH:MM between 00:00 and 23:59")).transpose()?;
    let every = |unit| Rule::Every { count, unit, at };
    let rule = match period {
        Period::Minutes => every(Unit::Minutes),
        Period::Hours => every(Unit::Hours),
        Period::Days => every(Unit::Days),
        Period::Weeks => every(Unit::Weeks),
        Period::Monday => Rule::Weekday { count, weekday: chrono::Weekday::Mon, at },
        Period::Tuesday => Rule::Weekday { count, weekday: chrono::Weekday::Tue, at },
        Period::Wednesday => Rule::Weekday { count, weekday: chrono::Weekday::Wed, at },
        Period::Thursday => Rule::Weekday { count, weekday: chrono::Weekday::Thu, at },
        Period::Friday => Rule::Weekday { count, weekday: chrono::Weekday::Fri, at },
        Period::Saturday => Rule::Weekday { count, weekday: chrono::Weekday::Sat, at },
        Period::Sunday => Rule::Weekday { count, weekday: chrono::Weekday::Sun, at },
    };
    Ok(Schedule { rule, zone, start_now: start_now.unwrap_or(false) })
}

fn read_period(text: &str) -> Option<Period> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).ok()
}

fn read_time(text: &str) -> Option<TimeOfDay> {
    let digits =
        |part: &str| (part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse().ok());
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute): (u8, u8) = (digits(hour)??, digits(minute)??);
    (hour < 24 && minute < 60).then_some(TimeOfDay { hour, minute })
}

/// A plan as answered.
pub fn plan_to_wire(plan: Plan) -> types::Plan {
    let Plan { id: _, owner: _, name, description, builtin, tasks, attributes, created_at: _, updated_at: _ } = plan;
    let services = attributes
        .into_iter()
        .find(|attribute| attribute.namespace == ATTRIBUTES && attribute.key == SERVICES)
        .and_then(|attribute| serde_json::from_value(attribute.value).ok())
        .flatten();
    types::Plan { name, description, services, default: builtin, tasks: tasks.into_iter().map(task_to_wire).collect() }
}

fn task_to_wire(task: PlanTask) -> types::PlanTask {
    let PlanTask { name, kind, schedule, full, merge_window, verify: _ } = task;
    // Plans hold no other kinds: `read_type` lets none in.
    let task_type = task_type(kind).unwrap_or(TaskType::Backup);
    let merge_options =
        merge_window.map(|MergeWindow { offset_start, offset_end }| types::MergeOptions { offset_start, offset_end });
    types::PlanTask {
        name,
        task_type,
        schedule: schedule_to_wire(schedule, task_type),
        merge_options,
        full_backup: full,
    }
}

/// The wire's word for a kind of job; `None` for kinds that this wire has no word for.
pub fn task_type(kind: JobKind) -> Option<TaskType> {
    match kind {
        JobKind::Backup => Some(TaskType::Backup),
        JobKind::Restore => Some(TaskType::Restore),
        JobKind::Merge => Some(TaskType::Merge),
        JobKind::Prune => Some(TaskType::Prune),
        JobKind::Forget | JobKind::Verify | JobKind::Import | JobKind::Export | JobKind::Drill => None,
    }
}

fn schedule_to_wire(schedule: Schedule, job_type: TaskType) -> types::TaskSchedule {
    let Schedule { rule, zone: _, start_now } = schedule;
    let (frequency, period, at) = match rule {
        Rule::Every { count, unit, at } => (count, unit_to_wire(unit), at),
        Rule::Weekday { count, weekday, at } => (count, weekday_to_wire(weekday), at),
        // Another dialect's rule, which no plan of ours has: the nearest that this wire can say.
        Rule::HoursOfDay { hours } => (1, Period::Days, hours.first().map(|hour| TimeOfDay { hour: *hour, minute: 0 })),
        Rule::Cron { cron: _, bounds: _ } => (1, Period::Days, None),
    };
    let time = at.map(|TimeOfDay { hour, minute }| format!("{hour:02}:{minute:02}"));
    types::TaskSchedule { job_type, frequency, period, time, start_now }
}

fn unit_to_wire(unit: Unit) -> Period {
    match unit {
        Unit::Minutes => Period::Minutes,
        Unit::Hours => Period::Hours,
        Unit::Days => Period::Days,
        Unit::Weeks => Period::Weeks,
    }
}

fn weekday_to_wire(weekday: chrono::Weekday) -> Period {
    match weekday {
        chrono::Weekday::Mon => Period::Monday,
        chrono::Weekday::Tue => Period::Tuesday,
        chrono::Weekday::Wed => Period::Wednesday,
        chrono::Weekday::Thu => Period::Thursday,
        chrono::Weekday::Fri => Period::Friday,
        chrono::Weekday::Sat => Period::Saturday,
        chrono::Weekday::Sun => Period::Sunday,
    }
}

#[cfg(test)]
#[path = "plans_tests.rs"]
mod tests;
