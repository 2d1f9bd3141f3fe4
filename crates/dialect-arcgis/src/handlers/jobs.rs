//! Jobs (section 10).

use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;
use trivault_engine::{Attribute, Job as EngineJob, JobFilter, JobId, ObjectKind, ObjectRef};
use trivault_http::RawBody;

use super::{backups, open, recovery::RELOAD_SECONDS, stores::shortened};
use crate::{
    errors::{Refused, Result},
    exchange::{Exchange, Reply, json_of},
    html::Page,
    mapping::{self, JobContext},
    names,
    types::{Job, JobAnswer, Jobs, JobsAnswer, Stage},
};

/// Attribute of a job: the path of the operation that began it.
pub const OPERATION_URI: &str = "operationURI";
/// Jobs that the list shows.
const MOST_LISTED: u32 = 1000;

/// Ids of jobs, newest first.
#[utoipa::path(get, path = "/{context}/admin/jobs", tag = "jobs", params(("context" = String, Path), ("f" = Option<String>, Query)),
    responses((status = 200, body = JobsAnswer, content_type = "application/json")))]
pub async fn list(request: HttpRequest, body: RawBody) -> HttpResponse {
    let exchange = open!(request, body);
    let outcome = all(&exchange).await.map(|jobs| {
        let path = exchange.admin_path("/jobs");
        let page = Page {
            title: "Jobs".to_owned(),
            resources: jobs.iter().map(|id| (id.clone(), format!("{path}/{id}"))).collect(),
            ..Page::default()
        };
        Reply::Resource { json: json_of(&Jobs { jobs }), page }
    });
    exchange.answer(outcome, None)
}

async fn all(exchange: &Exchange) -> Result<Vec<String>> {
    let filter = JobFilter { limit: Some(MOST_LISTED), ..JobFilter::default() };
    let jobs = exchange.engine.jobs(&exchange.caller(), filter).await?;
    let objects: Vec<ObjectRef> = jobs.iter().map(|job| object(job.id)).collect();
    let names = exchange.engine.aliases(names::JOB, &objects).await?;
    Ok(objects.iter().filter_map(|object| names.get(object).cloned()).collect())
}

/// One job, until it is done and after.
#[utoipa::path(get, path = "/{context}/admin/jobs/{jobid}", tag = "jobs",
    params(("context" = String, Path), ("jobid" = String, Path), ("f" = Option<String>, Query)),
    responses((status = 200, body = JobAnswer, content_type = "application/json")))]
pub async fn get(request: HttpRequest, body: RawBody) -> HttpResponse {
    let exchange = open!(request, body);
    let outcome = one(&exchange).await.map(|job| Reply::Resource { json: json_of(&job), page: page(&job) });
    exchange.answer(outcome, None)
}

async fn one(exchange: &Exchange) -> Result<Job> {
    let jobid = exchange.path("jobid");
    let missing = || Refused::new(404, format!("The job '{}' was not found.", shortened(&jobid)));
    let object = exchange.engine.resolve(names::JOB, &jobid).await?.ok_or_else(missing)?;
    let job = exchange.engine.job(&exchange.caller(), JobId(object.id)).await?;
    shown(exchange, &job, &jobid).await
}

async fn shown(exchange: &Exchange, job: &EngineJob, jobid: &str) -> Result<Job> {
    let engine = &exchange.engine;
    let attributes = engine.attributes(crate::NAME, object(job.id)).await?;
    let uri = attributes.iter().find(|attribute| attribute.key == OPERATION_URI).and_then(|found| found.value.as_str());
    let uri = uri.map_or_else(|| exchange.admin_path("/system/disasterrecovery"), str::to_owned);
    let (mut parts, mut name) = (Vec::new(), None);
    if let Some(id) = job.backup {
        // A deleted backup is gone; its jobs stay.
        parts = engine.backup(&exchange.caller(), id).await.map(|backup| backup.parts).unwrap_or_default();
        name = backups::name_of(engine, ObjectRef::new(ObjectKind::Backup, id.0)).await?;
    }
    let backup_name = name.unwrap_or_default();
    Ok(mapping::job(job, &JobContext { jobid, operation_uri: &uri, backup_name: &backup_name, parts: &parts }))
}

pub fn object(id: JobId) -> ObjectRef {
    ObjectRef::new(ObjectKind::Job, id.0)
}

/// The attribute that remembers which operation began a job.
pub fn operation(exchange: &Exchange) -> Attribute {
    Attribute::new(crate::NAME, OPERATION_URI, Value::from(exchange.request.path()))
}

/// The wire's id of a job.
///
/// # Errors
/// 500 when it has none, which would be a defect.
pub async fn jobid_of(exchange: &Exchange, id: JobId) -> Result<String> {
    let name = exchange.engine.alias(names::JOB, object(id)).await?;
    name.ok_or_else(|| Refused::new(500, "The job has no id on this interface."))
}

fn page(job: &Job) -> Page {
    let running = job.result.is_none();
    let mut page = Page {
        title: format!("Job - {}", job.jobid),
        properties: vec![
            ("Status".to_owned(), Value::from(job.status.as_str())),
            ("Operation".to_owned(), Value::from(job.operation_uri.as_str())),
            ("User".to_owned(), Value::from(job.username.as_str())),
            ("Backup".to_owned(), Value::from(job.resource.name.as_str())),
            ("Started".to_owned(), Value::from(instant(job.starttime))),
            ("Ended".to_owned(), Value::from(instant(job.endtime))),
        ],
        reload: running.then_some(RELOAD_SECONDS),
        ..Page::default()
    };
    for message in &job.messages {
        page.properties.push(("Message".to_owned(), Value::from(message.as_str())));
    }
    if let Some(result) = &job.result {
        page.stages = stage_rows(&result.stages);
    }
    page
}

pub fn stage_rows(stages: &[Stage]) -> Vec<[String; 4]> {
    stages
        .iter()
        .map(|Stage { name, state, duration, last_updated }| {
            [name.clone(), state.clone(), duration.clone(), instant(*last_updated)]
        })
        .collect()
}

/// Milliseconds as a date; empty for 0.
pub fn instant(millis: i64) -> String {
    let at = chrono::DateTime::from_timestamp_millis(millis).filter(|_| millis != 0);
    at.map_or_else(String::new, |at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}
