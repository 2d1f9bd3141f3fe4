//! `/healthz` (the process answers) and `/readyz` (it can do its work). Neither needs credentials nor tells anything.

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::Shared;

const HEALTH: &str = "/healthz";
const READY: &str = "/readyz";

pub(crate) fn is_health_path(path: &str) -> bool {
    path == HEALTH || path == READY
}

pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config.route(HEALTH, web::route().to(healthy)).route(READY, web::route().to(ready));
}

async fn healthy() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

async fn ready(shared: web::Data<Shared>) -> HttpResponse {
    match (shared.ready)().await {
        Ok(()) => HttpResponse::Ok().json(json!({ "status": "ready" })),
        Err(error) => {
            HttpResponse::ServiceUnavailable().json(json!({ "status": "not ready", "error": error.to_string() }))
        }
    }
}
