use serde_json::{Value, json};
use trivault_engine::PlanId;

use super::*;
use crate::{json::read, types::ErrorBody};

const AS_PRINTED: &str = include_str!("../../fixtures/plan_as_printed.json");

fn accept(name: &str, body: &str) -> Result<types::Plan, ErrorBody> {
    let plan = read(body.as_bytes()).and_then(|request| plan_from_wire(name, request, Tz::UTC));
    match plan {
        Ok(NewPlan { owner, name, description, builtin, tasks, attributes }) => Ok(plan_to_wire(Plan {
            id: PlanId(uuid::Uuid::nil()),
            owner: owner.to_owned(),
            name,
            description,
            builtin,
            tasks,
            attributes,
            created_at: chrono::DateTime::UNIX_EPOCH,
            updated_at: chrono::DateTime::UNIX_EPOCH,
        })),
        Err(ApiError::Other(body)) => Err(body),
        Err(other) => panic!("{other:?}"),
    }
}

/// The printed plan with one of its members changed; `path` as in JSON pointers.
fn with(path: &str, value: Value) -> String {
    let mut plan: Value = serde_json::from_str(AS_PRINTED).unwrap();
    let (parent, key) = path.rsplit_once('/').unwrap();
    let parent = if parent.is_empty() { &mut plan } else { plan.pointer_mut(parent).unwrap() };
    match parent {
        Value::Object(members) => {
            members.insert(key.to_owned(), value);
        }
        other => panic!("{other}"),
    }
    plan.to_string()
}

#[test]
fn the_printed_plan_is_kept_with_its_options_shown_as_merge_options() {
    let shown = accept("BackupAndMergePlan", AS_PRINTED).unwrap();
    let expected = json!({
        "name": "BackupAndMergePlan", "description": "A plan for backing up and merging.", "services": ["data"],
        "tasks": [
            { "name": "BackupEveryTuesdayForOneYear", "task_type": "BACKUP",
              "schedule": { "job_type": "BACKUP", "frequency": 1, "period": "TUESDAY", "time": "22:00" },
              "full_backup": true },
            { "name": "testTask3", "task_type": "MERGE",
              "schedule": { "job_type": "MERGE", "frequency": 4, "period": "WEEKS", "time": "22:00" },
              "merge_options": { "offset_start": 0, "offset_end": 28 }, "full_backup": false },
        ],
    });
    assert_eq!(serde_json::to_value(shown).unwrap(), expected);
}

#[test]
fn the_printed_answers_can_be_sent_and_come_back_as_they_are() {
    let printed = [
        r#"{"name":"testPlan2","description":"A test plan.","services":["data","gsi"],"tasks":[{"name":"BackupTask","task_type":"BACKUP","schedule":{"job_type":"BACKUP","frequency":10,"period":"MINUTES"},"full_backup":false},{"name":"MergeTask","task_type":"MERGE","schedule":{"job_type":"MERGE","frequency":1,"period":"HOURS","time":"22:00"},"full_backup":false}]}"#,
        r#"{"name":"PlanBackupMergePrune","services":["data","gsi"],"tasks":[{"name":"TaskForBackup","task_type":"BACKUP","schedule":{"job_type":"BACKUP","frequency":1,"period":"HOURS","time":"14:00"},"full_backup":true},{"name":"TaskForMerge","task_type":"MERGE","schedule":{"job_type":"MERGE","frequency":1,"period":"HOURS","time":"14:30"},"merge_options":{"offset_start":0,"offset_end":3},"full_backup":false},{"name":"TaskForPrune","task_type":"PRUNE","schedule":{"job_type":"PRUNE","frequency":1,"period":"DAYS","time":"22:00"},"full_backup":false}]}"#,
    ];
    for text in printed {
        let plan: Value = serde_json::from_str(text).unwrap();
        let shown = accept(plan["name"].as_str().unwrap(), text).unwrap();
        assert_eq!(serde_json::to_string(&shown).unwrap(), text);
    }
}

#[test]
fn the_key_services_is_always_there_and_the_paths_name_wins() {
    let shown = accept("other", &with("/services", Value::Null)).unwrap();
    let shown = serde_json::to_value(shown).unwrap();
    assert_eq!((&shown["name"], &shown["services"]), (&json!("other"), &Value::Null));
    assert!(shown.as_object().unwrap().contains_key("services"));
}

#[test]
fn values_at_the_edge_of_a_rule_are_taken() {
    let task = json!({ "name": "t", "task_type": "BACKUP", "schedule": { "job_type": "BACKUP", "frequency": 1, "period": "HOURS" } });
    let tasks = |count: usize| {
        let named = (0..count).map(|index| {
            let mut task = task.clone();
            task["name"] = json!(format!("t{index}"));
            task
        });
        Value::Array(named.collect())
    };
    for (path, value) in [
        ("/description", json!("ä".repeat(140))),
        ("/description", Value::Null),
        ("/tasks", tasks(14)),
        ("/tasks/0/schedule/frequency", json!(5000)),
        ("/tasks/0/schedule/time", json!("00:00")),
        ("/tasks/0/schedule/time", json!("23:59")),
        ("/tasks/0/schedule/time", Value::Null),
        ("/tasks/1/options", json!({})),
        ("/services", json!([])),
        ("/services", json!(["data", "gsi", "views", "ft", "eventing", "cbas"])),
        ("/unknown", json!({ "is": "ignored" })),
    ] {
        assert!(accept("p", &with(path, value.clone())).is_ok(), "{path} {value}");
    }
    assert!(accept("p", &with("/tasks", tasks(15))).is_err());
    assert!(accept(&"p".repeat(50), AS_PRINTED).is_ok());
}

#[test]
fn what_breaks_a_rule_is_refused_and_the_rule_is_named() {
    for (path, value, word) in [
        ("/description", json!("x".repeat(141)), "140"),
        ("/services", json!(["data", "kv"]), "'kv'"),
        ("/tasks", json!([]), "between 1 and 14"),
        ("/tasks", Value::Null, "between 1 and 14"),
        ("/tasks", json!([{}]), "task name"),
        ("/tasks/0/name", json!(""), "task name"),
        ("/tasks/0/name", json!("with space"), "task name"),
        ("/tasks/0/name", json!("testTask3"), "two tasks"),
        ("/tasks/0/task_type", json!("backup"), "task_type"),
        ("/tasks/0/task_type", json!("RESTORE"), "task_type"),
        ("/tasks/0/task_type", Value::Null, "task_type"),
        ("/tasks/0/schedule", Value::Null, "no schedule"),
        ("/tasks/0/schedule/job_type", json!("MERGE"), "job_type"),
        ("/tasks/0/schedule/job_type", Value::Null, "job_type"),
        ("/tasks/0/schedule/frequency", json!(0), "frequency"),
        ("/tasks/0/schedule/frequency", json!(-1), "frequency"),
        ("/tasks/0/schedule/frequency", json!(5001), "frequency"),
        ("/tasks/0/schedule/frequency", Value::Null, "frequency"),
        ("/tasks/0/schedule/period", json!("hour"), "period"),
        ("/tasks/0/schedule/period", json!("tuesday"), "period"),
        ("/tasks/0/schedule/period", Value::Null, "period"),
        ("/tasks/0/schedule/time", json!("25:00"), "time"),
        ("/tasks/0/schedule/time", json!("22:00:23"), "time"),
        ("/tasks/0/schedule/time", json!("-4:00"), "time"),
        ("/tasks/0/schedule/time", json!("4:00"), "time"),
        ("/tasks/0/schedule/time", json!("+4:00"), "time"),
        ("/tasks/1/full_backup", json!(true), "full_backup"),
        ("/tasks/1/options", json!({ "offset_start": -1 }), "offset_start"),
        ("/tasks/1/merge_options", json!({ "offset_end": -1 }), "offset_end"),
    ] {
        let refused = accept("p", &with(path, value.clone())).unwrap_err();
        assert_eq!((refused.status, refused.msg.as_str()), (400, "The plan was not valid"), "{path} {value}");
        assert!(refused.extras.as_ref().unwrap().contains(word), "{path} {value}: {refused:?}");
    }
    for name in ["_x", "*x*", "with space", "a.b", "my_plan!", "", &"p".repeat(51)] {
        assert!(accept(name, AS_PRINTED).unwrap_err().extras.unwrap().contains("plan name"), "{name}");
    }
    assert_eq!(accept("p", "{}").unwrap_err().msg, "The plan was not valid");
}

#[test]
fn wrong_types_and_broken_json_are_an_invalid_body() {
    for body in [
        with("/tasks/0/schedule/frequency", json!("1")),
        with("/tasks/0/schedule/frequency", json!(1.0)),
        with("/description", json!(0)),
        with("/services", json!("data")),
        with("/services", json!([1])),
        with("/tasks", json!([1])),
        with("/tasks", json!({})),
        with("/tasks/0/full_backup", json!("Bad")),
        with("/tasks/0/name", json!(7)),
        "[]".to_owned(),
        "\"x\"".to_owned(),
        "1".to_owned(),
        String::new(),
        "{".to_owned(),
    ] {
        let refused = accept("p", &body).unwrap_err();
        assert_eq!((refused.status, refused.msg.as_str()), (400, "invalid request body"), "{body}");
    }
    // As release 8.0 of the manual prints its own example, without a comma between two tasks.
    let printed = AS_PRINTED.replace("},{\"name\": \"testTask3\"", "} {\"name\": \"testTask3\"");
    let refused = accept("p", &printed).unwrap_err();
    assert_eq!(refused.extras.as_deref(), Some("invalid character '{' after array element"));
}
