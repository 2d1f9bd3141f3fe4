//! Plans.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::json::{Fields, FromJson, Mismatch};

/// A plan as answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"name":"testPlan2","description":"A test plan.","services":["data","gsi"],"tasks":[
    {"name":"BackupTask","task_type":"BACKUP","schedule":{"job_type":"BACKUP","frequency":10,"period":"MINUTES"},"full_backup":false}]}))]
pub struct Plan {
    #[schema(pattern = "^[0-9A-Za-z_][0-9A-Za-z_-]{0,49}$")]
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub description: Option<String>,
    /// `null`: all services. Never absent.
    #[schema(required)]
    pub services: Option<Vec<String>>,
    /// Present and true for the plans that are shipped.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub default: bool,
    pub tasks: Vec<PlanTask>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanTask {
    pub name: String,
    pub task_type: TaskType,
    pub schedule: TaskSchedule,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub merge_options: Option<MergeOptions>,
    pub full_backup: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum TaskType {
    Backup,
    Merge,
    Prune,
    /// Only in histories, never in plans.
    Restore,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskSchedule {
    pub job_type: TaskType,
    /// How many units of time, or how many such weekdays.
    #[schema(minimum = 1, maximum = 5000)]
    pub frequency: u32,
    pub period: Period,
    /// `HH:MM`
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub time: Option<String>,
    /// The first run is at once.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub start_now: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Period {
    Minutes,
    Hours,
    Days,
    Weeks,
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MergeOptions {
    pub offset_start: u32,
    pub offset_end: u32,
}

/// A plan as sent. Only types are checked here; the rules stand in `mapping::plans`.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
pub struct PlanRequest {
    /// The path's name counts.
    pub name: Option<String>,
    #[schema(max_length = 140)]
    pub description: Option<String>,
    /// Absent, `null` or empty: all.
    pub services: Option<Vec<String>>,
    #[schema(required, min_items = 1, max_items = 14)]
    pub tasks: Option<Vec<PlanTaskRequest>>,
}

#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
pub struct PlanTaskRequest {
    #[schema(required)]
    pub name: Option<String>,
    /// `BACKUP`, `MERGE` or `PRUNE`.
    #[schema(required)]
    pub task_type: Option<String>,
    #[schema(required)]
    pub schedule: Option<TaskScheduleRequest>,
    pub full_backup: Option<bool>,
    pub merge_options: Option<MergeOptionsRequest>,
    /// Another name of `merge_options`, as the manual's requests write it.
    pub options: Option<MergeOptionsRequest>,
}

#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
pub struct TaskScheduleRequest {
    /// Equal to `task_type`.
    #[schema(required)]
    pub job_type: Option<String>,
    #[schema(required, minimum = 1, maximum = 5000)]
    pub frequency: Option<i64>,
    #[schema(required)]
    pub period: Option<String>,
    pub time: Option<String>,
    pub start_now: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
pub struct MergeOptionsRequest {
    #[schema(minimum = 0)]
    pub offset_start: Option<i64>,
    #[schema(minimum = 0)]
    pub offset_end: Option<i64>,
}

impl FromJson for PlanRequest {
    fn from_json(value: &Value) -> Result<Self, Mismatch> {
        let fields = Fields::of(value)?;
        let tasks = match fields.objects("tasks")? {
            Some(tasks) => Some(tasks.iter().map(PlanTaskRequest::read).collect::<Result<_, _>>()?),
            None => None,
        };
        Ok(Self {
            name: fields.text("name")?,
            description: fields.text("description")?,
            services: fields.texts("services")?,
            tasks,
        })
    }
}

impl PlanTaskRequest {
    fn read(fields: &Fields<'_>) -> Result<Self, Mismatch> {
        let schedule = fields.object("schedule")?.map(|schedule| TaskScheduleRequest::read(&schedule)).transpose()?;
        let merge_options = fields.object("merge_options")?.map(|it| MergeOptionsRequest::read(&it)).transpose()?;
        let options = fields.object("options")?.map(|it| MergeOptionsRequest::read(&it)).transpose()?;
        Ok(Self {
            name: fields.text("name")?,
            task_type: fields.text("task_type")?,
            schedule,
            full_backup: fields.flag("full_backup")?,
            merge_options,
            options,
        })
    }
}

impl TaskScheduleRequest {
    fn read(fields: &Fields<'_>) -> Result<Self, Mismatch> {
        Ok(Self {
            job_type: fields.text("job_type")?,
            frequency: fields.integer("frequency")?,
            period: fields.text("period")?,
            time: fields.text("time")?,
            start_now: fields.flag("start_now")?,
        })
    }
}

impl MergeOptionsRequest {
    fn read(fields: &Fields<'_>) -> Result<Self, Mismatch> {
        Ok(Self { offset_start: fields.integer("offset_start")?, offset_end: fields.integer("offset_end")? })
    }
}
