//! Jobs as task runs.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use trivault_engine::{Attribute, FormerBackup, Job, JobKind, JobState, Progress, SourceId, Step, StepState};

use super::{
    plans::task_type,
    time::{time, time_or_zero},
};
use crate::{
    NAME,
    names::{BACKUPS, unscoped},
    types::{BucketStats, NodeRun, Stats, TaskRun, TaskStatus, TaskType, Transfer, TransferStats},
};

/// The code that the manual's failed tasks show.
const FAILED: u32 = 2;

const RESTORE: &str = "restore";

/// What a restore keeps with its job, for the history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRecord {
    pub target_cluster: String,
    /// Names of the restored backups, oldest first.
    pub backups: Vec<String>,
}

impl RestoreRecord {
    pub fn attribute(&self) -> Attribute {
        Attribute::new(NAME, RESTORE, serde_json::json!(self))
    }

    pub fn find(attributes: &[Attribute]) -> Option<Self> {
        let kept = attributes.iter().find(|it| it.namespace == NAME && it.key == RESTORE)?;
        serde_json::from_value(kept.value.clone()).ok()
    }
}

/// What a task run is made from, beside its job.
pub struct RunParts<'a> {
    /// The job's alias; scheduled jobs have none and carry the name of their task.
    pub alias: Option<&'a str>,
    /// Name of the backup that the job makes or restores.
    pub backup: Option<&'a str>,
    /// Backups that a merge or prune was about, oldest first.
    pub about: &'a [FormerBackup],
    pub restore: Option<RestoreRecord>,
    /// Names of sources, for the counters.
    pub source_name: &'a dyn Fn(SourceId) -> Option<String>,
    pub node_id: String,
    /// This cluster's URL, where a restore that another dialect began went.
    pub cluster: &'a str,
    pub zone: Tz,
}

/// A job as a task run; `None` for kinds that this wire has no word for.
pub fn run_to_wire(job: &Job, parts: RunParts<'_>) -> Option<TaskRun> {
    let RunParts { alias, backup, about, restore, source_name, node_id, cluster, zone } = parts;
    let Job {
        id,
        kind,
        state,
        repository: _,
        store: _,
        backup: _,
        task,
        principal: _,
        via: _,
        attempt: _,
        cancel_requested: _,
        progress,
        bytes_stored: _,
        percent,
        steps,
        warnings,
        failure,
        created_at,
        started_at,
        updated_at: _,
        finished_at,
        estimated_end,
    } = job;
    let task_type = task_type(*kind)?;
    let task_name = task.clone().or_else(|| alias.map(str::to_owned))?;
    let status = status(*state);
    let start = time(started_at.unwrap_or(*created_at), zone);
    let end = time_or_zero(*finished_at, zone);
    let error = failure
        .as_ref()
        .map(|failure| failure.sentence.clone())
        .or_else(|| (*state == JobState::Cancelled).then(|| "The task was cancelled.".to_owned()));
    let error_code = if status == TaskStatus::Failed { FAILED } else { 0 };
    let notes: Vec<String> = failure
        .iter()
        .filter_map(|failure| failure.hint.clone())
        .chain(warnings.iter().map(|warning| warning.sentence.clone()))
        .collect();
    let names = match &restore {
        Some(record) => record.backups.clone(),
        None if about.is_empty() => backup.map(str::to_owned).into_iter().collect(),
        None => about.iter().filter_map(|former| former.name(BACKUPS)).map(|name| unscoped(name).to_owned()).collect(),
    };
    let figures = Figures {
        kind: *kind,
        complete: *state == JobState::Succeeded,
        failed: status == TaskStatus::Failed,
        progress: *progress,
        percent: *percent,
        steps,
        source_name,
        eta: finished_at.or(*estimated_end).map(|at| time(at, zone)),
        started_ns: started_at.and_then(|at| at.timestamp_nanos_opt()),
        finished_ns: finished_at.and_then(|at| at.timestamp_nanos_opt()),
    };
    let node_runs = started_at.map(|started| NodeRun {
        node_id,
        status,
        start: time(started, zone),
        end: end.clone(),
        progress: *percent,
        stats: stats(id.0.to_string(), &names, &figures),
        error: error.clone(),
        error_code,
        out: (!notes.is_empty()).then(|| notes.join("\n")),
    });
    let target_cluster = match restore {
        Some(record) => Some(record.target_cluster),
        None => (task_type == TaskType::Restore).then(|| cluster.to_owned()),
    };
    Some(TaskRun {
        name: (!state.is_terminal()).then(|| task_name.clone()),
        task_name,
        status,
        start,
        end,
        node_runs: node_runs.into_iter().collect(),
        error,
        error_code,
        task_type,
        target_cluster,
    })
}

fn status(state: JobState) -> TaskStatus {
    match state {
        JobState::Queued => TaskStatus::Waiting,
        JobState::Running => TaskStatus::Running,
        JobState::Succeeded => TaskStatus::Done,
        JobState::Failed | JobState::Cancelled => TaskStatus::Failed,
        JobState::Skipped => TaskStatus::Skipped,
    }
}

struct Figures<'a> {
    kind: JobKind,
    complete: bool,
    failed: bool,
    progress: Progress,
    percent: u8,
    steps: &'a [Step],
    source_name: &'a dyn Fn(SourceId) -> Option<String>,
    eta: Option<String>,
    started_ns: Option<i64>,
    finished_ns: Option<i64>,
}

/// One transfer per backup, each naming it: clients learn a backup's name from the last one. None before it has a name.
fn stats(id: String, names: &[String], figures: &Figures<'_>) -> Option<Stats> {
    let last = names.len().checked_sub(1)?;
    let transfers = names.iter().enumerate().map(|(index, name)| transfer(index, last, name, figures)).collect();
    Some(Stats {
        id,
        current_transfer: names.len(),
        total_transfers: names.len(),
        transfers,
        progress: figures.percent,
        eta: figures.eta.clone(),
    })
}

fn transfer(index: usize, last: usize, name: &str, figures: &Figures<'_>) -> Transfer {
    let description = match figures.kind {
        JobKind::Backup => format!("Backing up to {name}"),
        JobKind::Restore if last > 0 => format!("({}/{}) Restoring backup {name}", index + 1, last + 1),
        JobKind::Restore => format!("Restoring backup {name}"),
        JobKind::Merge if last > 0 => format!("({}/{}) Merging backup {name}", index + 1, last + 1),
        JobKind::Merge => format!("Merging backup {name}"),
        JobKind::Prune | JobKind::Forget | JobKind::Verify | JobKind::Import | JobKind::Export | JobKind::Drill => {
            format!("Deleting backup {name}")
        }
    };
    // Every backup is whole by itself: the figures of the work stand with the newest of the range.
    let is_last = index == last;
    Transfer {
        description,
        stats: TransferStats {
            started_at: figures.started_ns,
            finished_at: figures.finished_ns,
            buckets: if is_last { buckets(figures) } else { BTreeMap::new() },
            complete: figures.complete,
        },
        progress: figures.percent,
        eta: figures.eta.clone(),
    }
}

/// Counters per bucket. The job's figures are those of its bucket where there is only one.
fn buckets(figures: &Figures<'_>) -> BTreeMap<String, BucketStats> {
    let mut buckets: BTreeMap<String, BucketStats> = BTreeMap::new();
    for step in figures.steps {
        let Some(name) = step.source.and_then(|source| (figures.source_name)(source)) else { continue };
        let bucket = buckets.entry(name).or_default();
        bucket.total_vbuckets += 1;
        match step.state {
            StepState::Succeeded => bucket.vbuckets_complete += 1,
            StepState::Failed => bucket.errored = true,
            StepState::Pending | StepState::Running | StepState::Skipped => {}
        }
    }
    let is_single = buckets.len() == 1;
    for bucket in buckets.values_mut() {
        bucket.complete = figures.complete || bucket.vbuckets_complete == bucket.total_vbuckets;
        if is_single {
            let Progress { bytes_read, bytes_total: _, items, items_total } = figures.progress;
            bucket.bytes_received = bytes_read;
            bucket.total_items = items;
            bucket.estimated_total_items = items_total.unwrap_or(items);
            bucket.errored |= figures.failed;
        }
    }
    buckets
}

#[cfg(test)]
#[path = "tasks_tests.rs"]
mod tests;
