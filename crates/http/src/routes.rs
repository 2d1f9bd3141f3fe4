//! Registering a dialect's table of routes.

use std::{panic::AssertUnwindSafe, time::Duration};

use actix_web::{
    HttpRequest, Resource,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    guard,
    http::{
        Method,
        header::{ALLOW, HeaderValue},
    },
    middleware::{Next, from_fn},
    web,
};
use futures_util::FutureExt;

use crate::{Refusal, Shared, front::refuse};

/// One line of a dialect's table: method, path pattern, handler.
pub struct Route {
    pub method: Method,
    /// actix's pattern: `/api/v1/plan/{name}`.
    pub path: String,
    /// `|| web::route().to(plans::get)`: the method is taken from this table.
    pub handler: fn() -> actix_web::Route,
}

impl Route {
    pub fn new(method: Method, path: impl Into<String>, handler: fn() -> actix_web::Route) -> Self {
        Self { method, path: path.into(), handler }
    }
}

/// Registers a table. `HEAD` is answered as `GET` without a body; methods that are not in the table are refused with
/// [`Refusal::MethodNotAllowed`]; a handler has the time limit, and a panic in it is an answer instead of a dead worker.
/// Patterns are tried in the order of their first line in the table.
pub fn register(config: &mut web::ServiceConfig, table: Vec<Route>) {
    let mut paths: Vec<(String, Vec<Route>)> = Vec::new();
    for route in table {
        match paths.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, routes)) => routes.push(route),
            None => paths.push((route.path.clone(), vec![route])),
        }
    }
    for (path, routes) in paths {
        config.service(resource(&path, routes).wrap(from_fn(guarded)));
    }
}

fn resource(path: &str, routes: Vec<Route>) -> Resource {
    let mut allow: Vec<Method> = Vec::new();
    let mut resource = web::resource(path);
    for route in routes {
        let handler = (route.handler)();
        let bound = if route.method == Method::GET {
            allow.extend([Method::GET, Method::HEAD]);
            handler.guard(guard::Any(guard::Get()).or(guard::Head()))
        } else {
            allow.push(route.method.clone());
            handler.guard(guard::Method(route.method))
        };
        resource = resource.route(bound);
    }
    resource.default_service(web::to(move |request: HttpRequest| {
        let allow = allow.clone();
        async move {
            let names: Vec<&str> = allow.iter().map(Method::as_str).collect();
            let names = names.join(", ");
            let mut response = refuse(&request, &Refusal::MethodNotAllowed { allow });
            // Some dialects answer wrong methods with another status; `Allow` belongs to 405 alone.
            if response.status().as_u16() == 405
                && let Ok(value) = HeaderValue::from_str(&names)
            {
                response.headers_mut().insert(ALLOW, value);
            }
            response
        }
    }))
}

/// Gives a handler its time limit, and turns a panic into the dialect's 500.
async fn guarded(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    // From here on routing is over, so that a clone of the request may be kept.
    let kept = request.request().clone();
    let limit = Shared::of(&kept).map_or(Duration::MAX, |shared| shared.limits.handler_time);
    let handler = AssertUnwindSafe(next.call(request)).catch_unwind();
    let refusal = match tokio::time::timeout(limit, handler).await {
        Ok(Ok(answer)) => return Ok(answer?.map_into_boxed_body()),
        Ok(Err(_panic)) => {
            tracing::error!("a handler panicked; the panic's own message stands above");
            Refusal::Internal
        }
        Err(_) => {
            tracing::warn!(limit_ms = limit.as_millis(), "a handler took longer than the limit");
            Refusal::TimedOut
        }
    };
    let response = refuse(&kept, &refusal);
    Ok(ServiceResponse::new(kept, response))
}
