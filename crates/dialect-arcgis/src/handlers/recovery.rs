//! `/admin/system/disasterrecovery` and its status (sections 6.1 and 8).

use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;
use trivault_engine::{JobFilter, JobKind, ObjectKind, ObjectRef};
use trivault_http::RawBody;

use super::{backups, jobs::stage_rows, open, root::children};
use crate::{
    errors::Result,
    exchange::{Exchange, Reply, json_of},
    html::Page,
    mapping,
    types::{Directory, DirectoryAnswer, Status, StatusAnswer, StatusResource},
};

/// Seconds after which a page of something that runs loads itself again.
pub const RELOAD_SECONDS: u32 = 5;

/// What lies below `disasterrecovery`.
#[utoipa::path(get, path = "/{context}/admin/system/disasterrecovery", tag = "recovery", params(("context" = String, Path), ("f" = Option<String>, Query)),
    responses((status = 200, body = DirectoryAnswer, content_type = "application/json")))]
pub async fn index(request: HttpRequest, body: RawBody) -> HttpResponse {
    let exchange = open!(request, body);
    let path = exchange.admin_path("/system/disasterrecovery");
    let directory = Directory { operations: vec!["status".to_owned()], resources: vec!["stores".to_owned()] };
    let page = Page {
        title: "Disaster Recovery".to_owned(),
        resources: children(&path, &directory.resources),
        operations: children(&path, &directory.operations),
        ..Page::default()
    };
    exchange.answer(Ok(Reply::Resource { json: json_of(&directory), page }), None)
}

/// The last submitted recovery job.
#[utoipa::path(get, path = "/{context}/admin/system/disasterrecovery/status", tag = "recovery", params(("context" = String, Path), ("f" = Option<String>, Query)),
    responses((status = 200, body = StatusAnswer, content_type = "application/json")))]
pub async fn status(request: HttpRequest, body: RawBody) -> HttpResponse {
    let exchange = open!(request, body);
    let outcome = last_status(&exchange).await.map(|status| {
        let page = status_page(&status);
        Reply::Resource { json: json_of(&StatusResource { status }), page }
    });
    exchange.answer(outcome, None)
}

async fn last_status(exchange: &Exchange) -> Result<Status> {
    let caller = exchange.caller();
    let filter = JobFilter { kinds: vec![JobKind::Backup, JobKind::Restore], limit: Some(1), ..JobFilter::default() };
    let Some(job) = exchange.engine.jobs(&caller, filter).await?.into_iter().next() else {
        return Ok(mapping::no_status());
    };
    let backup = match job.backup {
        Some(id) => exchange.engine.backup(&caller, id).await.ok(),
        None => None,
    };
    let name = match job.backup {
        Some(id) => backups::name_of(&exchange.engine, ObjectRef::new(ObjectKind::Backup, id.0)).await?,
        None => None,
    };
    let store = match job.store {
        Some(id) => exchange.engine.store(&caller, id).await.ok(),
        None => None,
    };
    let store_name = store.map_or_else(String::new, |store| store.name);
    Ok(mapping::status(&job, backup.as_ref(), name.as_deref().unwrap_or_default(), &store_name))
}

fn status_page(status: &Status) -> Page {
    let mut page = Page {
        title: "Status".to_owned(),
        properties: vec![("State".to_owned(), Value::from(status.state.as_str()))],
        reload: (status.code == 1).then_some(RELOAD_SECONDS),
        ..Page::default()
    };
    if let Some(details) = &status.details {
        for (label, text) in [
            ("Operation", &details.operation),
            ("Backup", &details.backup_name),
            ("Store", &details.backup_store),
            ("Duration", &details.overall_duration),
            ("Message", &details.message),
        ] {
            page.properties.push((label.to_owned(), Value::from(text.as_str())));
        }
        page.stages = stage_rows(&details.stages);
    }
    page
}
