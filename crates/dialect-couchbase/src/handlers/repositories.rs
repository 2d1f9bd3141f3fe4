//! `/cluster/self/repository`: create, list, get, pause, resume.

use actix_web::{HttpResponse, web::Json};
use trivault_engine::{Error, ErrorCode, Noun, Repository as EngineRepository};
use trivault_http::RawBody;

use super::{
    done,
    lookup::{self, State},
    views,
};
use crate::{
    NAME,
    auth::Call,
    errors::{ApiError, Result},
    json,
    mapping::repositories::{Surroundings, check_id, repository_from_wire},
    types::{ErrorBody, ForbiddenBody, Repository, RepositoryRequest},
};

/// The repositories of a state.
#[utoipa::path(get, path = "/api/v1/cluster/self/repository/{state}", operation_id = "list_repositories", tag = "repositories", security(("basic" = [])),
    params(("state" = String, Path, description = "`active`, `archived` or `imported`")), responses(
    (status = 200, description = "The repositories of the state", body = [Repository]),
    (status = 400, description = "No such state", body = ErrorBody),
    (status = 401, description = "No or wrong credentials; no body"),
))]
pub async fn list(call: Call) -> Result<Json<Vec<Repository>>> {
    let repositories = lookup::repositories(&call, State::of(&call)).await?;
    Ok(Json(views::repositories(&call, &repositories).await?))
}

/// One repository.
#[utoipa::path(get, path = "/api/v1/cluster/self/repository/{state}/{id}", operation_id = "get_repository", tag = "repositories", security(("basic" = [])),
    params(("state" = String, Path, description = "`active`, `archived` or `imported`"), ("id" = String, Path, description = "The repository's id")),
    responses(
    (status = 200, description = "The repository", body = Repository),
    (status = 401, description = "No or wrong credentials; no body"),
    (status = 404, description = "No such repository in this state", body = ErrorBody),
))]
pub async fn get(call: Call) -> Result<Json<Repository>> {
    let repository = lookup::find_for_reading(&call).await?;
    let views = views::repositories(&call, &[repository]).await?;
    let view = views.into_iter().next().ok_or_else(|| ApiError::not_found("no repositories found"))?;
    Ok(Json(view))
}

/// Creates an active repository; its plan's tasks are scheduled at once.
#[utoipa::path(post, path = "/api/v1/cluster/self/repository/active/{id}", operation_id = "create_repository", tag = "repositories", security(("basic" = ["operator"])),
    request_body = RepositoryRequest, params(("id" = String, Path, description = "The new repository's id")), responses(
    (status = 200, description = "Created; no body"),
    (status = 400, description = "The request is not valid, or the id is taken", body = ErrorBody),
    (status = 401, description = "No or wrong credentials; no body"),
    (status = 403, description = "A role that may only read", body = ForbiddenBody),
    (status = 404, description = "No such plan", body = ErrorBody),
    (status = 500, description = "The repository could not be created", body = ErrorBody),
))]
pub async fn create(call: Call, body: RawBody) -> Result<HttpResponse> {
    let id = call.segment("id");
    check_id(&id)?;
    let request: RepositoryRequest = json::read(&body.0)?;
    let Call { engine, caller, request: _ } = &call;
    let stores = engine.stores(caller).await.map_err(not_created)?;
    let sources = engine.sources(caller).await.map_err(not_created)?;
    let plans = engine.plans(caller, NAME).await.map_err(not_created)?;
    let plan = plans.iter().find(|plan| Some(plan.name.as_str()) == request.plan.as_deref());
    let around = Surroundings { stores: &stores, sources: &sources, plan };
    let repository = repository_from_wire(&id, request, &around)?;
    engine.create_repository(caller, repository).await.map_err(not_created)?;
    Ok(done())
}

fn not_created(error: Error) -> ApiError {
    let msg = match error.code {
        ErrorCode::AlreadyExists(_) | ErrorCode::InvalidInput | ErrorCode::NotFound(Noun::Source | Noun::Store) => {
            "The request body is invalid"
        }
        ErrorCode::NotFound(Noun::Plan) => "The plan could not be found",
        _ => "Failed to create repository due to internal error",
    };
    ApiError::of_engine(error, msg)
}

/// Stops what is scheduled; what runs goes on.
#[utoipa::path(post, path = "/api/v1/cluster/self/repository/active/{id}/pause", operation_id = "pause_repository", tag = "repositories", security(("basic" = ["operator"])),
    params(("id" = String, Path, description = "The repository's id")), responses(
    (status = 200, description = "Paused, or was already; no body"),
    (status = 401, description = "No or wrong credentials; no body"),
    (status = 403, description = "A role that may only read", body = ForbiddenBody),
    (status = 404, description = "No such active repository", body = ErrorBody),
))]
pub async fn pause(call: Call) -> Result<HttpResponse> {
    let repository = active(&call).await?;
    call.engine.pause_repository(&call.caller, repository.id).await.map_err(failed)?;
    Ok(done())
}

/// Goes on with what is scheduled.
#[utoipa::path(post, path = "/api/v1/cluster/self/repository/active/{id}/resume", operation_id = "resume_repository", tag = "repositories", security(("basic" = ["operator"])),
    params(("id" = String, Path, description = "The repository's id")), responses(
    (status = 200, description = "Resumed, or was not paused; no body"),
    (status = 401, description = "No or wrong credentials; no body"),
    (status = 403, description = "A role that may only read", body = ForbiddenBody),
    (status = 404, description = "No such active repository", body = ErrorBody),
))]
pub async fn resume(call: Call) -> Result<HttpResponse> {
    let repository = active(&call).await?;
    call.engine.resume_repository(&call.caller, repository.id).await.map_err(failed)?;
    Ok(done())
}

/// As the pages of pause and resume say it.
async fn active(call: &Call) -> Result<EngineRepository> {
    let id = call.segment("id");
    lookup::find(call, State::Active, &id)
        .await?
        .ok_or_else(|| ApiError::not_found(format!("could not find repository with id: {id}")))
}

fn failed(error: Error) -> ApiError {
    ApiError::of_engine(error, "could not change the repository")
}

/// An active repository is never deleted: it is archived first.
#[utoipa::path(delete, path = "/api/v1/cluster/self/repository/active/{id}", operation_id = "delete_active_repository", tag = "repositories", security(("basic" = ["operator"])),
    params(("id" = String, Path, description = "The repository's id")), responses(
    (status = 400, description = "Always", body = ErrorBody),
    (status = 401, description = "No or wrong credentials; no body"),
    (status = 403, description = "A role that may only read", body = ForbiddenBody),
))]
pub async fn delete_active(_: Call) -> Result<HttpResponse> {
    let extras = "archive the repository first; only archived and imported repositories can be deleted";
    Err(ApiError::bad_request("cannot delete an active repository").extras(extras))
}
