//! Between the engine's words and this wire's. Total, and without waiting for anything.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use trivault_engine::{
    Backup as EngineBackup, BackupState, Job as EngineJob, JobKind, JobState, Part, PartDamage, PartId, Step,
    StepState, Store, StoreLocation, Trigger,
};

use crate::{
    errors::{Refused, Result},
    types::{
        Backup, BackupStore, Infrastructures, Job, JobResource, JobResult, ObjectStore, RelationalStore, Stage, Status,
        StatusDetails, StatusMessage, StorageConfig,
    },
};

/// Fewest and most characters of a passcode.
pub const SHORTEST_PASSCODE: usize = 8;
pub const LONGEST_PASSCODE: usize = 1024;
/// Characters of a backup's name and description.
pub const LONGEST_NAME: usize = 128;
pub const LONGEST_DESCRIPTION: usize = 4096;
/// What the documentation calls "for ever".
const FOREVER: i64 = -1;
pub const RELEASE: &str = "11.4.0";
const SITE: &str = "trivault";

pub fn millis(at: Option<DateTime<Utc>>) -> i64 {
    at.map_or(0, |at| at.timestamp_millis())
}

pub fn store(store: &Store) -> BackupStore {
    let Store { id, name, location, is_default, read_only: _, managed: _, created_at: _, updated_at: _ } = store;
    let (store_type, root_dir, bucket_name, region) = match location {
        StoreLocation::Local { path } => ("HOSTED", path.clone(), None, None),
        StoreLocation::S3 { bucket, prefix, region, endpoint: _, path_style: _, allow_http: _ } => {
            let region = region.clone().unwrap_or_else(|| "us-east-1".to_owned());
            ("S3", prefix.clone(), Some(bucket.clone()), Some(region))
        }
    };
    let storage_config = (store_type == "HOSTED").then(|| StorageConfig {
        provisioning_type: "STATIC".to_owned(),
        storage_class: String::new(),
        size: "64Gi".to_owned(),
        labels: None,
    });
    BackupStore {
        name: name.clone(),
        default: *is_default,
        store_type: store_type.to_owned(),
        root_dir,
        storage_config,
        bucket_name,
        region,
        identity: id.0.simple().to_string()[..12].to_owned(),
        auto_shutdown: false,
        version_created: RELEASE.to_owned(),
        provider_id: if store_type == "HOSTED" { "local" } else { "s3" }.to_owned(),
        service_id: name.clone(),
        support_bds_backup: false,
    }
}

/// `damage`: parts whose stored bytes are not what was captured. The words of this wire have none for that; clients take the newest
/// `completed` one, which such a backup must not be.
pub fn backup(backup: &EngineBackup, damage: &HashMap<PartId, PartDamage>, name: &str, store_name: &str) -> Backup {
    let EngineBackup {
        id: _,
        repository: _,
        store: _,
        job: _,
        state,
        kind: _,
        trigger,
        description,
        keep_until,
        protected,
        point: _,
        created_at,
        started_at,
        finished_at,
        error: _,
        parts,
    } = backup;
    let (directories, databases): (Vec<&Part>, Vec<&Part>) = parts.iter().partition(|part| is_directory(part));
    let status = backup_status(*state, parts.iter().any(|part| damage.contains_key(&part.id)));
    Backup {
        backup_name: name.to_owned(),
        backup_store: store_name.to_owned(),
        backup_type: "FULL".to_owned(),
        schedule_type: schedule_type(*trigger).to_owned(),
        status: status.to_owned(),
        description: description.clone(),
        start_time: millis(Some(started_at.unwrap_or(*created_at))),
        complete_time: millis(*finished_at),
        retention_date: keep_until.map_or(FOREVER, |until| until.timestamp_millis()),
        release: RELEASE.to_owned(),
        site_name: SITE.to_owned(),
        namespace: SITE.to_owned(),
        encrypt_key: if *protected { "****" } else { "" }.to_owned(),
        relational_store: databases.into_iter().map(|part| relational_store(part, damage)).collect(),
        object_store: directories.into_iter().map(|part| object_store(part, damage)).collect(),
        infrastructures: Infrastructures {
            status: status.to_owned(),
            start_time: millis(*started_at),
            end_time: millis(*finished_at),
        },
    }
}

/// What is damaged, for a person; empty where nothing is.
pub fn damage(backup: &EngineBackup, damage: &HashMap<PartId, PartDamage>) -> String {
    let of = |part: &Part| Some(format!("{}: {}", part.source_name, damage.get(&part.id)?.sentence));
    backup.parts.iter().filter_map(of).collect::<Vec<_>>().join("; ")
}

fn is_directory(part: &Part) -> bool {
    part.source_kind == "directory"
}

fn relational_store(part: &Part, damage: &HashMap<PartId, PartDamage>) -> RelationalStore {
    RelationalStore {
        cluster_id: part.source_name.clone(),
        status: backup_status(part.state, damage.contains_key(&part.id)).to_owned(),
        start_time: millis(part.started_at),
        end_time: millis(part.finished_at),
        system_databases: vec![part.source_name.clone()],
        geodatabases: Vec::new(),
    }
}

fn object_store(part: &Part, damage: &HashMap<PartId, PartDamage>) -> ObjectStore {
    ObjectStore {
        cluster_id: part.source_name.clone(),
        status: backup_status(part.state, damage.contains_key(&part.id)).to_owned(),
        start_time: millis(part.started_at),
        end_time: millis(part.finished_at),
        buckets: vec![part.source_name.clone()],
    }
}

fn backup_status(state: BackupState, damaged: bool) -> &'static str {
    match state {
        BackupState::Queued | BackupState::Running => "running",
        BackupState::Succeeded if !damaged => "completed",
        BackupState::Succeeded | BackupState::Failed | BackupState::Cancelled | BackupState::Lost => "failed",
    }
}

fn schedule_type(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Manual => "MANUAL",
        Trigger::Scheduled => "SCHEDULED",
    }
}

/// What a job's resource needs besides the job.
pub struct JobContext<'a> {
    pub jobid: &'a str,
    pub operation_uri: &'a str,
    /// Of the backup that it makes, restores or deletes; empty where it has none (any more).
    pub backup_name: &'a str,
    /// Of that backup: tell databases from directories in the stages.
    pub parts: &'a [Part],
}

pub fn job(job: &EngineJob, context: &JobContext<'_>) -> Job {
    let EngineJob {
        id: _,
        kind: _,
        state,
        repository: _,
        store: _,
        backup: _,
        task: _,
        principal,
        via: _,
        attempt: _,
        cancel_requested,
        progress: _,
        bytes_stored: _,
        percent: _,
        steps: _,
        warnings: _,
        failure,
        created_at,
        started_at: _,
        updated_at,
        finished_at,
        estimated_end: _,
    } = job;
    let messages = match (state, failure) {
        (_, Some(failure)) => vec![failure.sentence.clone()],
        (JobState::Cancelled, None) => vec!["The job was cancelled.".to_owned()],
        (_, None) => Vec::new(),
    };
    Job {
        jobid: context.jobid.to_owned(),
        status: job_status(*state, *cancel_requested).to_owned(),
        operation_uri: context.operation_uri.to_owned(),
        username: principal.clone(),
        starttime: created_at.timestamp_millis(),
        updatedtime: updated_at.timestamp_millis(),
        endtime: millis(*finished_at),
        messages,
        resource: JobResource { name: context.backup_name.to_owned() },
        result: state.is_terminal().then(|| JobResult {
            state: status_state(job).to_owned(),
            code: status_code(*state),
            message: message(job),
            stages: stages(job, context.parts),
        }),
    }
}

pub fn job_status(state: JobState, cancel_requested: bool) -> &'static str {
    match state {
        JobState::Queued => "SUBMITTED",
        JobState::Running if cancel_requested => "CANCELLING",
        JobState::Running => "EXECUTING",
        JobState::Succeeded => "COMPLETED",
        JobState::Failed => "FAILED",
        JobState::Cancelled | JobState::Skipped => "CANCELLED",
    }
}

/// The status of a site where nothing ever ran.
pub fn no_status() -> Status {
    Status { code: 0, state: "no_op".to_owned(), messages: Vec::new(), details: None }
}

pub fn status(job: &EngineJob, backup: Option<&EngineBackup>, backup_name: &str, store_name: &str) -> Status {
    let (operation, begun) = match job.kind {
        JobKind::Restore => ("Restore", "Started restore process."),
        _ => ("Backup", "Started backup process."),
    };
    let started = job.started_at.unwrap_or(job.created_at);
    let ended = job.finished_at.unwrap_or(job.updated_at).max(started);
    let trigger = if job.task.is_some() { Trigger::Scheduled } else { Trigger::Manual };
    Status {
        code: status_code(job.state),
        state: status_state(job).to_owned(),
        messages: vec![StatusMessage { code: 4014, message: begun.to_owned(), when: started.timestamp_millis() }],
        details: Some(StatusDetails {
            operation: operation.to_owned(),
            schedule_type: schedule_type(trigger).to_owned(),
            backup_name: backup_name.to_owned(),
            backup_store: store_name.to_owned(),
            start_time: millis(job.started_at),
            complete_time: millis(job.finished_at),
            overall_duration: overall_duration(ended - started),
            message: message(job),
            stages: stages(job, backup.map_or(&[], |backup| &backup.parts)),
        }),
    }
}

fn status_code(state: JobState) -> u8 {
    match state {
        JobState::Queued | JobState::Running => 1,
        JobState::Failed | JobState::Cancelled | JobState::Skipped => 2,
        JobState::Succeeded => 3,
    }
}

fn status_state(job: &EngineJob) -> &'static str {
    match job.state {
        JobState::Queued | JobState::Running => "in_progress",
        JobState::Failed | JobState::Cancelled | JobState::Skipped => "failed",
        JobState::Succeeded if job.warnings.is_empty() => "success",
        JobState::Succeeded => "completed_with_warnings",
    }
}

/// Never empty on warnings and failures: the vendor's command line prints it.
fn message(job: &EngineJob) -> String {
    if let Some(failure) = &job.failure {
        return failure.sentence.clone();
    }
    let warnings: Vec<&str> = job.warnings.iter().map(|warning| warning.sentence.as_str()).collect();
    match job.state {
        JobState::Cancelled => "The job was cancelled.".to_owned(),
        JobState::Failed | JobState::Skipped => "The job failed.".to_owned(),
        JobState::Queued | JobState::Running | JobState::Succeeded => warnings.join(" "),
    }
}

fn overall_duration(duration: TimeDelta) -> String {
    let millis = duration.num_milliseconds().max(0);
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    format!("{hours:02}hr:{minutes:02}min:{:02}sec:{}millisec", millis / 1000 % 60, millis % 1000)
}

/// The five stages of section 8, each gathered from the job's steps.
pub fn stages(job: &EngineJob, parts: &[Part]) -> Vec<Stage> {
    let is_of_directory = |step: &Step| {
        step.source.is_some_and(|source| parts.iter().any(|part| part.source == source && is_directory(part)))
    };
    let verb = if job.kind == JobKind::Restore { "Restore" } else { "Stage" };
    let end = if job.kind == JobKind::Restore { "restore" } else { "backup" };
    let mut groups: [(String, Vec<&Step>); 5] = [
        ("Validation".to_owned(), Vec::new()),
        (format!("{verb} Relational store"), Vec::new()),
        (format!("{verb} Object store"), Vec::new()),
        (format!("{verb} system configuration"), Vec::new()),
        (format!("Post {end} operation cleanup"), Vec::new()),
    ];
    for step in &job.steps {
        let group = match step.name.as_str() {
            "validate" | "plan" | "safety_backup" => 0,
            "clean_up" => 4,
            _ if step.source.is_none() => 3,
            _ if is_of_directory(step) => 2,
            _ => 1,
        };
        groups[group].1.push(step);
    }
    groups.into_iter().map(|(name, steps)| stage(name, &steps, job.state)).collect()
}

fn stage(name: String, steps: &[&Step], job: JobState) -> Stage {
    let any = |state: StepState| steps.iter().any(|step| step.state == state);
    let all = |state: StepState| !steps.is_empty() && steps.iter().all(|step| step.state == state);
    let state = match job {
        _ if any(StepState::Failed) => "failed",
        _ if all(StepState::Succeeded) => "completed",
        JobState::Succeeded => {
            if any(StepState::Succeeded) {
                "completed"
            } else {
                "skipped"
            }
        }
        JobState::Failed | JobState::Cancelled | JobState::Skipped => "skipped",
        JobState::Queued | JobState::Running => {
            if any(StepState::Running) || any(StepState::Succeeded) {
                "in_progress"
            } else {
                "pending"
            }
        }
    };
    let started = steps.iter().filter_map(|step| step.started_at).min();
    let updated = steps.iter().filter_map(|step| step.finished_at.or(step.started_at)).max();
    let millis = started.zip(updated).map_or(0, |(start, end)| (end - start).num_milliseconds().max(0));
    Stage {
        name,
        state: state.to_owned(),
        duration: format!("{millis} millis (~ {} minutes)", millis / 60_000),
        last_updated: self::millis(updated),
    }
}

/// # Errors
/// 400 with the rule.
pub fn backup_name(text: &str) -> Result<&str> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    let is_well_formed =
        (1..=LONGEST_NAME).contains(&text.len()) && text.chars().all(allowed) && !text.starts_with('.');
    if is_well_formed {
        return Ok(text);
    }
    Err(Refused::invalid(format!(
        "The parameter 'name' must have 1 to {LONGEST_NAME} letters, digits, '.', '_' and '-', and must not begin with '.'."
    )))
}

/// # Errors
/// 400 with the documented sentence.
pub fn passcode(text: Option<&str>) -> Result<&str> {
    let text = text.unwrap_or_default();
    let length = text.chars().count();
    if length < SHORTEST_PASSCODE {
        return Err(Refused::invalid("The passcode must be at least eight characters in length."));
    }
    if length > LONGEST_PASSCODE {
        return Err(Refused::invalid(format!("The passcode must have at most {LONGEST_PASSCODE} characters.")));
    }
    if text.contains(['\n', '\r', '\0']) {
        return Err(Refused::invalid("The passcode must not contain line ends or NUL."));
    }
    Ok(text)
}

/// The vendor's command line sends `None` for a description that was not given.
///
/// # Errors
/// 400 when it is too long.
pub fn description(text: Option<&str>) -> Result<String> {
    match text {
        None | Some("None") => Ok(String::new()),
        Some(text) if text.chars().count() > LONGEST_DESCRIPTION => Err(Refused::invalid(format!(
            "The parameter 'description' must have at most {LONGEST_DESCRIPTION} characters."
        ))),
        Some(text) => Ok(text.to_owned()),
    }
}

/// Milliseconds since 1970, or -1 for ever; a date that has passed is eligible at once.
///
/// # Errors
/// 400 for anything else.
pub fn retention_date(text: Option<&str>) -> Result<Option<DateTime<Utc>>> {
    let Some(text) = text else { return Ok(None) };
    let rule =
        "The parameter 'retentionDate' must be a date in milliseconds since 1970, or -1 to keep the backup for ever.";
    match text.trim().parse::<i64>() {
        Ok(FOREVER) => Ok(None),
        Ok(millis) if millis > 0 => {
            DateTime::from_timestamp_millis(millis).map(Some).ok_or_else(|| Refused::invalid(rule))
        }
        Ok(_) | Err(_) => Err(Refused::invalid(rule)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_rule() {
        for good in ["a", "before-upgrade", "schedule1-2021-10-26-22-00-46", "x.y_z"] {
            assert_eq!(backup_name(good), Ok(good));
        }
        for bad in ["", ".", "..", "a/b", "a b", "ä", "a\0", &"x".repeat(129)] {
            assert_eq!(backup_name(bad).unwrap_err().code, 400, "{bad}");
        }
        assert!(backup_name(&"x".repeat(128)).is_ok());
    }

    #[test]
    fn a_passcode_has_at_least_eight_characters_not_bytes() {
        assert!(passcode(Some("pässwört")).is_ok());
        assert!(passcode(Some("äöüäöüä")).is_err());
        assert!(passcode(None).unwrap_err().message.contains("at least eight characters"));
        assert!(passcode(Some("12345678\n")).is_err());
        assert!(passcode(Some(&"x".repeat(1025))).is_err());
    }

    #[test]
    fn a_retention_date_is_a_number_of_milliseconds_or_minus_one() {
        assert_eq!(retention_date(None), Ok(None));
        assert_eq!(retention_date(Some("-1")), Ok(None));
        assert_eq!(retention_date(Some("1795207144653")).unwrap().unwrap().timestamp_millis(), 1_795_207_144_653);
        for bad in ["0", "-2", "tomorrow", "1.5", "99999999999999999999", ""] {
            assert_eq!(retention_date(Some(bad)).unwrap_err().code, 400, "{bad}");
        }
    }

    #[test]
    fn durations_are_written_as_documented() {
        assert_eq!(overall_duration(TimeDelta::milliseconds(81_558)), "00hr:01min:21sec:558millisec");
    }

    #[test]
    fn a_job_state_has_its_documented_word() {
        assert_eq!(job_status(JobState::Queued, false), "SUBMITTED");
        assert_eq!(job_status(JobState::Running, false), "EXECUTING");
        assert_eq!(job_status(JobState::Running, true), "CANCELLING");
        assert_eq!(job_status(JobState::Succeeded, false), "COMPLETED");
    }

    #[test]
    fn an_omitted_description_may_arrive_as_none() {
        assert_eq!(description(Some("None")), Ok(String::new()));
        assert_eq!(description(None), Ok(String::new()));
        assert!(description(Some(&"x".repeat(4097))).is_err());
    }
}
