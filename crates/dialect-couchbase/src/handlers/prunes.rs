//! `.../prune`.

use actix_web::web::Json;
use trivault_engine::{PruneOf, StartPrune};
use trivault_http::RawBody;

use super::{
    backups::{not_sent, task_name},
    lookup,
};
use crate::{
    auth::Call,
    errors::Result,
    json,
    types::{ErrorBody, ForbiddenBody, PruneRequest, TaskName},
};

/// Deletes the backups whose time has passed, and frees what nothing needs any more.
#[utoipa::path(post, path = "/api/v1/cluster/self/repository/active/{id}/prune", operation_id = "start_prune", tag = "tasks", security(("basic" = ["operator"])),
    request_body = Option<PruneRequest>, params(("id" = String, Path, description = "The repository's id")), responses(
    (status = 200, description = "The task waits or runs", body = TaskName),
    (status = 400, description = "The request is not valid", body = ErrorBody),
    (status = 401, description = "No or wrong credentials; no body"),
    (status = 403, description = "A role that may only read", body = ForbiddenBody),
    (status = 404, description = "No such active repository", body = ErrorBody),
))]
pub async fn start(call: Call, body: RawBody) -> Result<Json<TaskName>> {
    let repository = lookup::find_for_task(&call).await?;
    let PruneRequest { full_backup: _ } = json::read_or_empty(&body.0)?;
    let request = StartPrune { of: PruneOf::Repository(repository.id), task: None, job_attributes: Vec::new() };
    let job = call.engine.start_prune(&call.caller, request).await.map_err(not_sent)?;
    task_name(&call, job.id).await
}
