//! `.../backup`.

use actix_web::web::Json;
use trivault_engine::{Error, ErrorCode, JobId, ObjectKind, ObjectRef, Repository, StartBackup, Trigger};
use trivault_http::RawBody;

use super::lookup;
use crate::{
    auth::Call,
    errors::{ApiError, Result},
    json,
    mapping::repositories::bucket_issue,
    names::TASKS,
    types::{BackupRequest, ErrorBody, ForbiddenBody, TaskName},
};

/// Backs the repository's buckets up now.
#[utoipa::path(post, path = "/api/v1/cluster/self/repository/active/{id}/backup", operation_id = "start_backup", tag = "tasks", security(("basic" = ["operator"])),
    request_body = Option<BackupRequest>, params(("id" = String, Path, description = "The repository's id")), responses(
    (status = 200, description = "The task waits or runs", body = TaskName),
    (status = 400, description = "The request is not valid", body = ErrorBody),
    (status = 401, description = "No or wrong credentials; no body"),
    (status = 403, description = "A role that may only read", body = ForbiddenBody),
    (status = 404, description = "No such active repository", body = ErrorBody),
    (status = 500, description = "The bucket is gone or another one", body = ErrorBody),
))]
pub async fn start(call: Call, body: RawBody) -> Result<Json<TaskName>> {
    let repository = lookup::find_for_task(&call).await?;
    let BackupRequest { full_backup } = json::read_or_empty(&body.0)?;
    check_bucket(&call, &repository).await?;
    let request = StartBackup {
        repository: repository.id,
        trigger: Trigger::Manual,
        task: None,
        full: full_backup.unwrap_or(false),
        description: String::new(),
        keep_until: None,
        passcode: None,
        aliases: Vec::new(),
        attributes: Vec::new(),
        job_attributes: Vec::new(),
    };
    let started = call.engine.start_backup(&call.caller, request).await.map_err(not_sent)?;
    task_name(&call, started.job.id).await
}

/// The manual's text for a bucket that is gone or was made anew.
async fn check_bucket(call: &Call, repository: &Repository) -> Result<()> {
    let sources = call.engine.sources(&call.caller).await.map_err(not_sent)?;
    match bucket_issue(repository.sources, &sources) {
        // Here the identifiers stand without the back-ticks that the health text has.
        Some((bucket, issue)) => {
            let issue = issue.replace('`', "");
            Err(ApiError::could_not_send_task(format!("failed bucket check for bucket '{bucket}': {issue}")))
        }
        None => Ok(()),
    }
}

/// The name under which a job is found again.
pub async fn task_name(call: &Call, job: JobId) -> Result<Json<TaskName>> {
    let alias = call.engine.alias(TASKS, ObjectRef::new(ObjectKind::Job, job.0)).await.map_err(not_sent)?;
    match alias {
        Some(task_name) => Ok(Json(TaskName { task_name })),
        None => Err(not_sent(Error::new(ErrorCode::Internal, "The task was enqueued without a name."))),
    }
}

pub fn not_sent(error: Error) -> ApiError {
    ApiError::of_engine(error, "could not send task")
}
