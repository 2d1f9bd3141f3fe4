//! `.../taskHistory`.

use actix_web::web::Json;
use trivault_http::BaseUrl;

use super::{lookup, runs};
use crate::{
    auth::Call,
    errors::{ApiError, Result},
    mapping::history::filter,
    types::{ErrorBody, TaskRun},
};

/// The repository's ended tasks, newest first.
#[utoipa::path(get, path = "/api/v1/cluster/self/repository/{state}/{id}/taskHistory", operation_id = "list_task_history", tag = "tasks", security(("basic" = [])),
    params(
        ("state" = String, Path, description = "`active`, `archived` or `imported`"),
        ("id" = String, Path, description = "The repository's id"),
        ("first" = Option<String>, Query, description = "Only tasks that started at this RFC 3339 time or later"),
        ("limit" = Option<u32>, Query, description = "At most so many; 0: all"),
        ("taskName" = Option<String>, Query, description = "Only tasks of this name"),
        ("offset" = Option<u32>, Query, description = "Skip so many"),
    ), responses(
    (status = 200, description = "Ended tasks, newest first", body = [TaskRun]),
    (status = 400, description = "A parameter cannot be read", body = ErrorBody),
    (status = 401, description = "No or wrong credentials; no body"),
    (status = 404, description = "No such repository in this state", body = ErrorBody),
))]
pub async fn list(call: Call) -> Result<Json<Vec<TaskRun>>> {
    let repository = lookup::find_for_reading(&call).await?;
    let filter = filter(repository.id, call.request.query_string())?;
    let failed = |error| ApiError::of_engine(error, "could not get task history");
    let jobs = call.engine.jobs(&call.caller, filter).await.map_err(failed)?;
    let sources = call.engine.sources(&call.caller).await.map_err(failed)?;
    let cluster = BaseUrl::of(&call.request);
    let runs = runs::render(&call, &jobs, &sources, cluster.as_str()).await.map_err(failed)?;
    Ok(Json(runs.into_iter().map(|(_, run)| run).collect()))
}
