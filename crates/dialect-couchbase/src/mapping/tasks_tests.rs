use serde_json::{Value, json};
use trivault_engine::Failure;

use super::*;
use crate::mapping::tests_support::{id, job};

const NAME_OF_BACKUP: &str = "2020-09-29T13_10_58.191631+01_00";
const ALIAS: &str = "BACKUP-6230b85e-f925-401d-a632-8688929263e2";

fn show(job: &Job, restore: Option<RestoreRecord>) -> Value {
    let run = run_to_wire(
        job,
        RunParts {
            alias: Some(ALIAS),
            backup: Some(NAME_OF_BACKUP),
            about: &[],
            restore,
            source_name: &|source| (source.0 == id("travel-sample")).then(|| "travel-sample".to_owned()),
            node_id: "1208b19a4d30e0b4c6af96b6448b4969".to_owned(),
            cluster: "http://127.0.0.1:8097",
            zone: chrono_tz::Europe::London,
        },
    );
    serde_json::to_value(run.unwrap()).unwrap()
}

fn step(state: StepState) -> Step {
    Step {
        name: "capture".to_owned(),
        source: Some(SourceId(id("travel-sample"))),
        state,
        started_at: None,
        finished_at: None,
    }
}

#[test]
fn a_done_backup_has_the_printed_members_and_its_transfer_names_the_backup() {
    let mut job = job(JobKind::Backup);
    job.task = Some("fifteenMinuteBackup".to_owned());
    job.steps = vec![step(StepState::Succeeded)];
    job.progress = Progress { bytes_read: 6312, bytes_total: None, items: 31592, items_total: None };
    let shown = show(&job, None);
    let expected = json!({
        "task_name": "fifteenMinuteBackup", "status": "done",
        "start": "2020-09-29T13:10:58.100371+01:00", "end": "2020-09-29T13:10:58.52634+01:00",
        "node_runs": [{
            "node_id": "1208b19a4d30e0b4c6af96b6448b4969", "status": "done",
            "start": "2020-09-29T13:10:58.100371+01:00", "end": "2020-09-29T13:10:58.52634+01:00",
            "progress": 100,
            "stats": {
                "id": job.id.0.to_string(), "current_transfer": 1, "total_transfers": 1,
                "transfers": [{
                    "description": format!("Backing up to {NAME_OF_BACKUP}"),
                    "stats": {
                        "started_at": 1_601_381_458_100_371_000_i64, "finished_at": 1_601_381_458_526_340_000_i64,
                        "buckets": { "travel-sample": {
                            "estimated_total_items": 31592, "total_items": 31592, "total_vbuckets": 1,
                            "vbuckets_complete": 1, "bytes_received": 6312, "complete": true, "errored": false } },
                        "complete": true },
                    "progress": 100, "eta": "2020-09-29T13:10:58.52634+01:00" }],
                "progress": 100, "eta": "2020-09-29T13:10:58.52634+01:00" },
            "error_code": 0 }],
        "error_code": 0, "type": "BACKUP",
    });
    assert_eq!(shown, expected);
}

#[test]
fn a_running_task_carries_both_names_and_has_not_ended() {
    let mut job = job(JobKind::Backup);
    job.state = JobState::Running;
    job.finished_at = None;
    job.percent = 40;
    let shown = show(&job, None);
    assert_eq!((&shown["name"], &shown["task_name"]), (&json!(ALIAS), &json!(ALIAS)));
    assert_eq!((&shown["status"], &shown["end"]), (&json!("running"), &json!("0001-01-01T00:00:00Z")));
    assert_eq!(shown["node_runs"][0]["progress"], json!(40));
    assert_eq!(shown["node_runs"][0]["stats"]["transfers"][0]["stats"]["complete"], json!(false));
}

#[test]
fn a_waiting_task_runs_on_no_node_yet() {
    let mut job = job(JobKind::Backup);
    job.state = JobState::Queued;
    job.started_at = None;
    job.finished_at = None;
    job.percent = 0;
    let shown = show(&job, None);
    assert_eq!((&shown["status"], &shown["node_runs"]), (&json!("waiting"), &json!([])));
    assert_eq!(shown["start"], json!("2020-09-29T13:10:58.100371+01:00"));
}

#[test]
fn a_failed_task_says_why_and_a_skipped_one_too() {
    let mut job = job(JobKind::Backup);
    job.state = JobState::Failed;
    job.failure = Some(Failure {
        code: "store_full".to_owned(),
        sentence: "The store is full.".to_owned(),
        hint: Some("Free some space.".to_owned()),
    });
    let shown = show(&job, None);
    assert_eq!(
        (&shown["status"], &shown["error"], &shown["error_code"]),
        (&json!("failed"), &json!("The store is full."), &json!(2))
    );
    assert_eq!(shown["node_runs"][0]["out"], json!("Free some space."));
    job.state = JobState::Skipped;
    job.started_at = None;
    let shown = show(&job, None);
    assert_eq!(
        (&shown["status"], &shown["error"], &shown["error_code"]),
        (&json!("skipped"), &json!("The store is full."), &json!(0))
    );
    job.state = JobState::Cancelled;
    job.failure = None;
    let shown = show(&job, None);
    assert_eq!((&shown["status"], &shown["error"]), (&json!("failed"), &json!("The task was cancelled.")));
}

#[test]
fn a_restore_has_one_transfer_for_each_backup_in_order_and_names_its_target() {
    let record = RestoreRecord {
        target_cluster: "http://127.0.0.1:8091".to_owned(),
        backups: vec!["2020-09-29T11_08_15.666658+01_00".to_owned(), NAME_OF_BACKUP.to_owned()],
    };
    assert_eq!(RestoreRecord::find(&[record.attribute()]), Some(record.clone()));
    let shown = show(&job(JobKind::Restore), Some(record));
    assert_eq!((&shown["type"], &shown["target_cluster"]), (&json!("RESTORE"), &json!("http://127.0.0.1:8091")));
    let transfers = shown["node_runs"][0]["stats"]["transfers"].as_array().unwrap();
    let descriptions: Vec<&str> = transfers.iter().map(|transfer| transfer["description"].as_str().unwrap()).collect();
    assert_eq!(
        descriptions,
        [
            "(1/2) Restoring backup 2020-09-29T11_08_15.666658+01_00",
            &format!("(2/2) Restoring backup {NAME_OF_BACKUP}")
        ]
    );
}

#[test]
fn a_restore_that_another_dialect_began_is_shown_with_its_backup_and_this_cluster() {
    let shown = show(&job(JobKind::Restore), None);
    assert_eq!(shown["target_cluster"], json!("http://127.0.0.1:8097"));
    let description = &shown["node_runs"][0]["stats"]["transfers"][0]["description"];
    assert_eq!(*description, json!(format!("Restoring backup {NAME_OF_BACKUP}")));
}

#[test]
fn jobs_that_this_wire_has_no_word_for_are_not_shown() {
    for kind in [JobKind::Forget, JobKind::Verify, JobKind::Import, JobKind::Export, JobKind::Drill] {
        let run = run_to_wire(
            &job(kind),
            RunParts {
                alias: Some("x"),
                backup: None,
                about: &[],
                restore: None,
                source_name: &|_| None,
                node_id: String::new(),
                cluster: "",
                zone: Tz::UTC,
            },
        );
        assert_eq!(run, None, "{kind:?}");
    }
}
