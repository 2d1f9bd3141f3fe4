//! First chapter: the Couchbase Backup Service. A backup, and a restore by `map_data` into a new place.

use std::path::PathBuf;

use reqwest::Method;

use super::{
    Comparison, DATABASE, PASSWORD, Stage,
    client::{Body, Call, Credentials},
    compare, compared,
};
use crate::{cli::session, serve::Gateway};

const REPOSITORY: &str = "testRepo";
/// The name that the manual's restore example maps to.
const COPY: &str = "ts7";

pub async fn chapter(stage: &Stage<'_>, gateway: &Gateway) -> Result<Comparison, String> {
    stage.story.chapter("Couchbase Backup Service");
    let base = format!("{}/api/v1/cluster/self/repository/active/{REPOSITORY}", stage.url);
    let basic = &stage.administrator;
    let archive = format!("/Users/user/Documents/archives/{REPOSITORY}");
    let create = format!(r#"{{"plan":"_hourly_backups","archive":"{archive}","bucket_name":"{DATABASE}"}}"#);
    let call = |method: Method, path: &str, body: Body| Call {
        method,
        url: format!("{base}{path}"),
        credentials: basic,
        body,
    };
    stage.client.tell(stage.story, call(Method::POST, "", Body::Json(create)), 200).await?;
    let full = Body::Json(r#"{"full_backup": false}"#.to_owned());
    let started = stage.client.tell(stage.story, call(Method::POST, "/backup", full), 200).await?;
    follow(stage, &base, started.json["task_name"].as_str().unwrap_or_default()).await?;
    stage.client.tell(stage.story, call(Method::GET, "/info", Body::None), 200).await?;

    let restore = format!(
        r#"{{"target":"{}","user":"Administrator","password":"{PASSWORD}","auto_create_buckets":true,"map_data":"{DATABASE}={COPY}"}}"#,
        stage.url
    );
    let started = stage.client.tell(stage.story, call(Method::POST, "/restore", Body::Json(restore)), 200).await?;
    follow(stage, &base, started.json["task_name"].as_str().unwrap_or_default()).await?;
    let caller = session::local_caller();
    let copy = gateway.engine().source_named(&caller, COPY).await.map_err(session::sentence)?;
    let restored = PathBuf::from(copy.config.location);
    stage.story.say(&format!("\n{COPY} is a source now, at {}.", restored.display()));
    Ok(compared("couchbase", &format!("{DATABASE} as {COPY} (map_data)"), || {
        compare::databases(&stage.reference_database(), &restored).map(|rows| format!("{rows} rows"))
    }))
}

/// Waits until the repository runs nothing any more, then reads how the task ended, as the vendor's own tests do.
pub async fn follow(stage: &Stage<'_>, base: &str, task: &str) -> Result<(), String> {
    let credentials: &'static Credentials = Box::leak(Box::new(stage.administrator.clone()));
    let url = base.to_owned();
    let look = move || Call { method: Method::GET, url: url.clone(), credentials, body: Body::None };
    stage
        .poll(look, |repository| repository["running_one_off"].is_null() && repository["running_tasks"].is_null())
        .await?;
    let history = Call {
        method: Method::GET,
        url: format!("{base}/taskHistory?taskName={task}"),
        credentials: &stage.administrator,
        body: Body::None,
    };
    let history = stage.client.tell(stage.story, history, 200).await?;
    match history.json[0]["status"].as_str() {
        Some("done") => Ok(()),
        _ => Err(format!("The task {task} did not end well: {}", history.text)),
    }
}
