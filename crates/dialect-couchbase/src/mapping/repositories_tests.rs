use serde_json::{Value, json};
use trivault_engine::{JobKind, PlanId, SourceId};

use super::*;
use crate::{
    json::read,
    mapping::tests_support::{id, repository, source, store},
};

fn plan(name: &str) -> Plan {
    Plan {
        id: PlanId(id(name)),
        owner: NAME.to_owned(),
        name: name.to_owned(),
        description: None,
        builtin: true,
        tasks: Vec::new(),
        attributes: Vec::new(),
        created_at: chrono::DateTime::UNIX_EPOCH,
        updated_at: chrono::DateTime::UNIX_EPOCH,
    }
}

fn create(body: &str) -> Result<NewRepository, (u16, String, String)> {
    let plans = [plan("_hourly_backups")];
    let mut cloud = store("cloud");
    cloud.location = trivault_engine::StoreLocation::S3 {
        bucket: "b".to_owned(),
        prefix: "p".to_owned(),
        region: None,
        endpoint: None,
        path_style: false,
        allow_http: false,
    };
    let (stores, sources) = ([store("default"), cloud], [source("travel-sample")]);
    let request = read::<RepositoryRequest>(body.as_bytes()).map_err(told)?;
    let plan = plans.iter().find(|plan| Some(plan.name.as_str()) == request.plan.as_deref());
    repository_from_wire("testRepo", request, &Surroundings { stores: &stores, sources: &sources, plan }).map_err(told)
}

fn told(error: ApiError) -> (u16, String, String) {
    match error {
        ApiError::Other(body) => (body.status, body.msg, body.extras.unwrap_or_default()),
        other => panic!("{other:?}"),
    }
}

const AS_PRINTED: &str =
    r#"{"plan":"_hourly_backups","archive":"/Users/user/Documents/archives/testRepo","bucket_name":"travel-sample"}"#;

#[test]
fn the_printed_request_makes_a_repository_of_one_bucket_in_the_default_store() {
    let made = create(AS_PRINTED).unwrap();
    assert_eq!((made.owner, made.name.as_str(), made.store), ("couchbase", "testRepo", None));
    assert_eq!(made.sources, SourceSelection::One(SourceId(id("travel-sample"))));
    assert_eq!(made.plan, Some(PlanId(id("_hourly_backups"))));
    assert_eq!(made.attributes[0].value, json!("/Users/user/Documents/archives/testRepo"));
}

#[test]
fn an_empty_bucket_name_means_all_buckets() {
    for body in [
        r#"{"plan":"_hourly_backups","archive":"/a"}"#,
        r#"{"plan":"_hourly_backups","archive":"/a","bucket_name":""}"#,
        r#"{"plan":"_hourly_backups","archive":"/a","bucket_name":null,"cloud_force_path_style":false,"km_region":"x"}"#,
    ] {
        assert_eq!(create(body).unwrap().sources, SourceSelection::All, "{body}");
    }
}

#[test]
fn a_cloud_archive_needs_a_configured_store_and_all_that_the_original_needs() {
    let whole = json!({ "plan": "_hourly_backups", "archive": "s3://b/p", "cloud_staging_dir": "/tmp/s",
        "cloud_credentials_id": "AKxxx", "cloud_credentials_key": "sfxxx", "cloud_credentials_region": "us-west-2" });
    let made = create(&whole.to_string()).unwrap();
    assert_eq!(made.store, Some(store("cloud").id));
    let kept = serde_json::to_string(&made.attributes.iter().map(|it| &it.value).collect::<Vec<_>>()).unwrap();
    assert!(kept.contains("us-west-2") && !kept.contains("sfxxx") && !kept.contains("AKxxx"), "{kept}");
    for absent in ["cloud_staging_dir", "cloud_credentials_id", "cloud_credentials_key", "cloud_credentials_region"] {
        let mut partial = whole.clone();
        partial.as_object_mut().unwrap().remove(absent);
        assert_eq!(create(&partial.to_string()).unwrap_err().0, 400, "{absent}");
    }
    for archive in ["s3://other/p", "bad://b/p", "az://b/p"] {
        let mut other = whole.clone();
        other["archive"] = json!(archive);
        assert_eq!(create(&other.to_string()).unwrap_err().0, 400, "{archive}");
    }
}

#[test]
fn what_is_missing_or_wrong_is_refused_with_the_documented_texts() {
    let invalid = (400, "The request body is invalid");
    for (body, expected, word) in [
        (r#"{"archive":"/a"}"#, invalid, "plan"),
        (r#"{"plan":"","archive":"/a"}"#, invalid, "plan"),
        (r#"{"plan":"_hourly_backups"}"#, invalid, "archive"),
        (r#"{"plan":"_hourly_backups","archive":""}"#, invalid, "archive"),
        (r#"{"plan":"_hourly_backups","archive":"relative"}"#, invalid, "absolute"),
        (r#"{"plan":"_hourly_backups","archive":"/a","bucket_name":"nope"}"#, invalid, "'nope'"),
        (r#"{"plan":"unknown","archive":"/a"}"#, (404, "The plan could not be found"), ""),
        (r#"{"plan":7,"archive":"/a"}"#, (400, "invalid request body"), "field plan of type string"),
        ("", (400, "invalid request body"), "unexpected end of JSON input"),
        ("[]", (400, "invalid request body"), "array"),
    ] {
        let (status, msg, extras) = create(body).unwrap_err();
        assert_eq!((status, msg.as_str()), expected, "{body}");
        assert!(extras.contains(word), "{body}: {extras}");
    }
    assert_eq!(told(check_id("my_repo!").unwrap_err()).1, ID_RULE);
}

fn show(repository: &Repository, sources: &[Source], running: Vec<(bool, TaskRun)>) -> Value {
    let store = store("default");
    let plan = plan("_hourly_backups");
    let attributes = [Attribute::new(NAME, ARCHIVE, json!("/Users/user/archives/x"))];
    let next_run = "2020-10-02T08:00:41Z".parse().unwrap();
    let is_active = repository.state == RepositoryState::Active { paused: false };
    let task = ScheduledTask { name: "backup_hourly".to_owned(), kind: JobKind::Backup, next_run };
    let view = repository_to_wire(RepositoryParts {
        repository,
        id: "restRepo".to_owned(),
        repo: "8b623987-9353-48f0-9773-55b124ce9146".to_owned(),
        plan: Some(&plan),
        store: Some(&store),
        attributes: if repository.owner == NAME { &attributes } else { &[] },
        scheduled: if is_active { vec![task] } else { Vec::new() },
        running,
        sources,
        overdue: &[],
        care: &[],
        damaged: 0,
        zone: chrono_tz::Europe::London,
    });
    serde_json::to_value(view).unwrap()
}

#[test]
fn an_active_repository_has_the_printed_members_and_no_others() {
    let bucket = source("travel-sample");
    let mut repository = repository("restRepo");
    repository.sources = SourceSelection::One(bucket.id);
    let expected = json!({
        "id": "restRepo", "plan_name": "_hourly_backups",
        "bucket": { "name": "travel-sample", "uuid": bucket.id.0.simple().to_string() },
        "state": "active", "archive": "/Users/user/archives/x", "repo": "8b623987-9353-48f0-9773-55b124ce9146",
        "scheduled": { "backup_hourly": { "name": "backup_hourly", "task_type": "BACKUP", "next_run": "2020-10-02T09:00:41+01:00" } },
        "version": 1, "health": { "healthy": true },
        "creation_time": "2020-09-29T13:10:58.100371+01:00", "update_time": "2020-09-29T13:10:58.100371+01:00",
    });
    assert_eq!(show(&repository, &[bucket], Vec::new()), expected);
}

#[test]
fn a_paused_repository_is_healthy_and_shows_no_schedule() {
    let mut repository = repository("restRepo");
    repository.state = RepositoryState::Active { paused: true };
    let shown = show(&repository, &[], Vec::new());
    assert_eq!((&shown["state"], &shown["health"]), (&json!("paused"), &json!({ "healthy": true })));
    for absent in ["scheduled", "running_one_off", "running_tasks", "bucket", "cloud_info"] {
        assert!(shown.get(absent).is_none(), "{absent}");
    }
}

#[test]
fn what_another_dialect_made_is_imported_with_an_empty_plan_and_its_stores_place() {
    let mut repository = repository("site-main");
    repository.owner = "another".to_owned();
    let shown = show(&repository, &[], Vec::new());
    assert_eq!((&shown["state"], &shown["plan_name"]), (&json!("imported"), &json!("")));
    assert_eq!(shown["archive"], json!("/srv/stores/default"));
    assert!(shown.get("health").is_none());
}

#[test]
fn a_bucket_that_is_gone_or_was_made_anew_is_told_in_the_printed_words() {
    let mut old = source("travel-sample");
    old.status = SourceStatus::Detached;
    let mut repository = repository("restRepo");
    repository.sources = SourceSelection::One(old.id);
    let shown = show(&repository, std::slice::from_ref(&old), Vec::new());
    assert_eq!(shown["health"]["health_issue"], json!("cannot verify bucket exists: element not found"));
    let mut new = source("travel-sample");
    new.id = SourceId(id("another"));
    let shown = show(&repository, &[old.clone(), new.clone()], Vec::new());
    let issue = format!(
        "cannot verify bucket exists: bucket UUIDs don't match `{}` != `{}`",
        old.id.0.simple(),
        new.id.0.simple()
    );
    assert_eq!(shown["health"], json!({ "healthy": false, "health_issue": issue }));
}
