//! A database and its settings.

use actix_web::{HttpResponse, web::Path};
use trivault_engine::{BackupFilter, BackupState, Role};
use trivault_http::RawBody;

use super::{object, ok};
use crate::{
    auth::Call,
    errors::Result,
    lookup::{self, Database},
    mapping,
    settings::{self, Settings},
    types::{DatabaseAnswer, DatabaseChange, DatabaseChangeBody, Failure, Missing, Unprocessable},
};

/// A database with its settings.
#[utoipa::path(get, path = "/api/databases/{db}", tag = "databases", security(("bearer" = []), ("addon_token" = [])),
    params(("db" = String, Path, description = "Addon id, database id, resource id, or the source's name")),
    responses((status = 200, body = DatabaseAnswer), (status = 401, body = Failure), (status = 404, body = Missing)))]
pub async fn show(call: Call, db: Path<String>) -> Result<HttpResponse> {
    let database = lookup::database(&call, &db).await?;
    let settings = settings::read(&call, &database).await?;
    render(&call, &database, &settings).await
}

/// Changes periodic backups and the maintenance window; what is absent stays as it is.
#[utoipa::path(method(patch, put), path = "/api/databases/{db}", tag = "databases", security(("bearer" = ["operator"]), ("addon_token" = ["operator"])),
    params(("db" = String, Path)), request_body = DatabaseChangeBody, responses(
    (status = 200, body = DatabaseAnswer), (status = 400, body = Failure), (status = 401, body = Failure),
    (status = 404, body = Missing), (status = 422, body = Unprocessable)))]
pub async fn change(call: Call, db: Path<String>, body: RawBody) -> Result<HttpResponse> {
    let database = lookup::database(&call, &db).await?;
    call.caller.require(Role::Operator)?;
    let change = DatabaseChange::parse(&object(&body)?)?;
    let settings = settings::change(&call, &database, &change).await?;
    render(&call, &database, &settings).await
}

async fn render(call: &Call, database: &Database, settings: &Settings) -> Result<HttpResponse> {
    let version = readable_version(call, database).await?;
    let database = mapping::database(&database.source, &database.names, settings, version);
    Ok(ok(&DatabaseAnswer { database }))
}

/// As the newest good backup recorded it: the gateway asks the live database for nothing.
async fn readable_version(call: &Call, database: &Database) -> Result<String> {
    let filter = BackupFilter {
        source: Some(database.source.id),
        states: vec![BackupState::Succeeded],
        limit: Some(1),
        ..BackupFilter::default()
    };
    let newest = call.engine.backups(&call.caller, filter).await?;
    let mut parts = newest.iter().flat_map(|backup| &backup.parts);
    let own = parts.find(|part| part.source == database.source.id);
    Ok(own.map(mapping::readable_version).unwrap_or_default())
}
