//! `/plan`.

use actix_web::{HttpResponse, web::Json};
use trivault_engine::{Error, ErrorCode, Noun};
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
