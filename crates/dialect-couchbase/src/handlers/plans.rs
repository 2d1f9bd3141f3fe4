//! `/plan`.

use actix_web::{HttpResponse, web::Json};
use trivault_engine::{Error, ErrorCode, Noun, Plan as EnginePlan, RepositoryFilter, RepositoryState, Role};
use trivault_http::RawBody;

use super::done;
use crate::{
    NAME,
    auth::Call,
    errors::{ApiError, Result},
    json,
    mapping::plans::{plan_from_wire, plan_to_wire},
    types::{ErrorBody, ForbiddenBody, Plan, PlanRequest},
};

/// All plans, the shipped ones first.
#[utoipa::path(get, path = "/api/v1/plan", operation_id = "list_plans", tag = "plans", security(("basic" = [])), responses(
    (status = 200, description = "All plans", body = [Plan]),
    (status = 401, description = "No or wrong credentials; no body"),
))]
pub async fn list(call: Call) -> Result<Json<Vec<Plan>>> {
    let plans = call.engine.plans(&call.caller, NAME).await.map_err(failed)?;
    Ok(Json(plans.into_iter().map(plan_to_wire).collect()))
}

/// One plan.
#[utoipa::path(get, path = "/api/v1/plan/{name}", operation_id = "get_plan", tag = "plans", security(("basic" = [])),
    params(("name" = String, Path, description = "The plan's name")), responses(
    (status = 200, description = "The plan", body = Plan),
    (status = 401, description = "No or wrong credentials; no body"),
    (status = 404, description = "No such plan", body = ErrorBody),
))]
pub async fn get(call: Call) -> Result<Json<Plan>> {
    let plan = call.engine.plan_named(&call.caller, NAME, &call.segment("name")).await.map_err(failed)?;
    Ok(Json(plan_to_wire(plan)))
}

/// Creates a plan. Plans that exist stay as they are.
#[utoipa::path(post, path = "/api/v1/plan/{name}", operation_id = "create_plan", tag = "plans", security(("basic" = ["operator"])), request_body = PlanRequest,
    params(("name" = String, Path, description = "The plan's name")), responses(
    (status = 200, description = "Created; no body"),
    (status = 400, description = "The plan is not valid, or its name is taken", body = ErrorBody),
    (status = 401, description = "No or wrong credentials; no body"),
    (status = 403, description = "A role that may only read", body = ForbiddenBody),
))]
pub async fn create(call: Call, body: RawBody) -> Result<HttpResponse> {
    let request: PlanRequest = json::read(&body.0)?;
    let plan = plan_from_wire(&call.segment("name"), request, call.engine.zone())?;
    call.engine.create_plan(&call.caller, plan).await.map_err(not_created)?;
    Ok(done())
}

/// Gives a plan that no active repository has another content.
#[utoipa::path(put, path = "/api/v1/plan/{name}", operation_id = "update_plan", tag = "plans", security(("basic" = ["operator"])), request_body = PlanRequest,
    params(("name" = String, Path, description = "The plan's name")), responses(
    (status = 200, description = "Changed; no body"),
    (status = 400, description = "The plan is not valid, in use or a shipped one", body = ErrorBody),
    (status = 401, description = "No or wrong credentials; no body"),
    (status = 403, description = "A role that may only read", body = ForbiddenBody),
    (status = 404, description = "No such plan", body = ErrorBody),
))]
pub async fn update(call: Call, body: RawBody) -> Result<HttpResponse> {
    call.caller.require(Role::Operator).map_err(failed)?;
    let name = call.segment("name");
    let standing = call.engine.plan_named(&call.caller, NAME, &name).await.map_err(failed)?;
    let request: PlanRequest = json::read(&body.0)?;
    let plan = plan_from_wire(&name, request, call.engine.zone())?;
    match call.engine.update_plan(&call.caller, plan).await {
        Ok(_) => Ok(done()),
        Err(error) => Err(not_changed(&call, &standing, "update", error).await),
    }
}

/// Deletes a plan that no active repository has.
#[utoipa::path(delete, path = "/api/v1/plan/{name}", operation_id = "delete_plan", tag = "plans", security(("basic" = ["operator"])),
    params(("name" = String, Path, description = "The plan's name")), responses(
    (status = 200, description = "Deleted; no body"),
    (status = 400, description = "The plan is in use or a shipped one", body = ErrorBody),
    (status = 401, description = "No or wrong credentials; no body"),
    (status = 403, description = "A role that may only read", body = ForbiddenBody),
    (status = 404, description = "No such plan", body = ErrorBody),
))]
pub async fn delete(call: Call) -> Result<HttpResponse> {
    call.caller.require(Role::Operator).map_err(failed)?;
    let standing = call.engine.plan_named(&call.caller, NAME, &call.segment("name")).await.map_err(failed)?;
    match call.engine.delete_plan(&call.caller, standing.id).await {
        Ok(()) => Ok(done()),
        Err(error) => Err(not_changed(&call, &standing, "delete", error).await),
    }
}

/// A plan in use is told in the printed words, with the repositories that have it.
async fn not_changed(call: &Call, plan: &EnginePlan, what: &str, error: Error) -> ApiError {
    match error.code {
        ErrorCode::InUse(_) => {
            let filter = RepositoryFilter { owner: Some(NAME.to_owned()), ..RepositoryFilter::default() };
            let repositories = call.engine.repositories(&call.caller, filter).await.unwrap_or_default();
            let users = repositories.into_iter().filter(|repository| {
                repository.plan == Some(plan.id) && matches!(repository.state, RepositoryState::Active { paused: _ })
            });
            let users: Vec<String> = users.map(|repository| repository.name).collect();
            ApiError::bad_request(format!("cannot {what} plan as it is in use by repository: {}", users.join(", ")))
        }
        ErrorCode::Forbidden if plan.builtin => {
            ApiError::bad_request(format!("cannot {what} a default plan")).extras(error.sentence)
        }
        ErrorCode::NotFound(_) => failed(error),
        _ => ApiError::of_engine(error, "The plan was not valid"),
    }
}

fn failed(error: Error) -> ApiError {
    match error.code {
        ErrorCode::NotFound(Noun::Plan) => ApiError::not_found("requested plan not found"),
        _ => ApiError::of_engine(error, "Could not retrieve the requested plan"),
    }
}

fn not_created(error: Error) -> ApiError {
    let msg = match error.code {
        ErrorCode::AlreadyExists(_) | ErrorCode::InvalidInput => "The plan was not valid",
        _ => "Could not add the plan due to an internal error",
    };
    ApiError::of_engine(error, msg)
}
