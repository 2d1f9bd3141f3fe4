//! `.../merge`.

use actix_web::web::Json;
use trivault_engine::{BackupFilter, BackupId, ObjectKind, ObjectRef, Repository, StartMerge};
use trivault_http::RawBody;

use super::{
    backups::{not_sent, task_name},
    lookup,
};
use crate::{
    NAME,
    auth::Call,
    errors::{ApiError, Result},
    json,
    mapping::{merges::range_from_wire, repositories::is_cloud},
    names::{BACKUPS, unscoped},
    types::{ErrorBody, ForbiddenBody, MergeRequest, TaskName},
};

/// Folds a range of backups into its newest.
#[utoipa::path(post, path = "/api/v1/cluster/self/repository/active/{id}/merge", operation_id = "start_merge", tag = "tasks", security(("basic" = ["operator"])),
    request_body = Option<MergeRequest>, params(("id" = String, Path, description = "The repository's id")), responses(
    (status = 200, description = "The task waits or runs; a range that cannot be merged fails it", body = TaskName),
    (status = 400, description = "The request is not valid", body = ErrorBody),
    (status = 401, description = "No or wrong credentials; no body"),
    (status = 403, description = "A role that may only read", body = ForbiddenBody),
    (status = 404, description = "No such active repository", body = ErrorBody),
    (status = 500, description = "The repository lies in a cloud", body = ErrorBody),
))]
pub async fn start(call: Call, body: RawBody) -> Result<Json<TaskName>> {
    let repository = lookup::find_for_task(&call).await?;
    let request: MergeRequest = json::read_or_empty(&body.0)?;
    let at = ObjectRef::new(ObjectKind::Repository, repository.id.0);
    if is_cloud(&call.engine.attributes(NAME, at).await.map_err(not_sent)?) {
        return Err(ApiError::could_not_send_task("merging is not supported for cloud repositories"));
    }
    let backups = named(&call, &repository).await.map_err(not_sent)?;
    let merge = StartMerge {
        repository: repository.id,
        task: None,
        range: range_from_wire(&request, &backups)?,
        zone: call.engine.zone(),
        as_of: None,
        job_attributes: Vec::new(),
    };
    let job = call.engine.start_merge(&call.caller, merge).await.map_err(not_sent)?;
    task_name(&call, job.id).await
}

/// The repository's backups with their names, oldest first.
async fn named(call: &Call, repository: &Repository) -> trivault_engine::Result<Vec<(String, BackupId)>> {
    let filter = BackupFilter { repository: Some(repository.id), ..BackupFilter::default() };
    let mut backups = call.engine.backups(&call.caller, filter).await?;
    backups.sort_by_key(|backup| (backup.point, backup.id));
    let of = |id: BackupId| ObjectRef::new(ObjectKind::Backup, id.0);
    let objects: Vec<ObjectRef> = backups.iter().map(|backup| of(backup.id)).collect();
    let names = call.engine.aliases(BACKUPS, &objects).await?;
    let named = backups.iter().filter_map(|backup| Some((unscoped(names.get(&of(backup.id))?).to_owned(), backup.id)));
    Ok(named.collect())
}
