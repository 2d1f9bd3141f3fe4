//! Backups of a database.

use actix_web::{HttpRequest, HttpResponse, web::Path};
use trivault_engine::{BackupFilter, BackupId, Error, NewBearer, Role, Scope, StartBackup, Trigger};
use trivault_http::RawBody;

use super::{created, downloads, ignore, ok, private, query};
use crate::{
    DOWNLOAD_AUDIENCE,
    auth::Call,
    errors::{ApiError, Result},
    lookup::{self, Database, FoundBackup},
    mapping, names, repositories,
    types::{Archive, Backup, BackupAnswer, BackupList, Failure, Missing, PaymentRequired, Unprocessable},
};

/// All backups of a database, newest first. Those made under a passcode, which cannot be downloaded here, only if asked for.
#[utoipa::path(get, path = "/api/databases/{db}/backups", tag = "backups", security(("bearer" = []), ("addon_token" = [])),
    params(("db" = String, Path), ("protected" = Option<bool>, Query, description = "List protected backups too")),
    responses((status = 200, body = BackupList), (status = 401, body = Failure), (status = 404, body = Missing)))]
pub async fn list(request: HttpRequest, call: Call, db: Path<String>) -> Result<HttpResponse> {
    let database = lookup::database(&call, &db).await?;
    let with_protected = query(&request, "protected").is_some_and(|value| value == "true");
    let filter = BackupFilter {
        source: Some(database.source.id),
        protected: if with_protected { None } else { Some(false) },
        ..BackupFilter::default()
    };
    let backups = call.engine.backups(&call.caller, filter).await?;
    Ok(ok(&BackupList { database_backups: rows(&call, &database, &backups).await? }))
}

/// Every backup's part of this database, in the given order.
async fn rows(call: &Call, database: &Database, backups: &[trivault_engine::Backup]) -> Result<Vec<Backup>> {
    let own = || {
        let parts = backups.iter().flat_map(|backup| backup.parts.iter().map(move |part| (backup, part)));
        parts.filter(|(_, part)| part.source == database.source.id)
    };
    let mut ids = names::backup_ids(&call.engine, own().map(|(_, part)| part.id)).await?;
    let all: Vec<BackupId> = backups.iter().map(|backup| backup.id).collect();
    let damage = call.engine.damage_of(&all).await?;
    let row = |(backup, part): (&trivault_engine::Backup, &trivault_engine::Part)| {
        let Some(id) = ids.remove(&part.id) else {
            tracing::warn!(part.id = %part.id, "a part has no name in this dialect and is not listed");
            return None;
        };
        Some(mapping::backup(backup, part, damage.get(&part.id), id, &database.names))
    };
    Ok(own().filter_map(row).collect())
}

/// Enqueues a backup of the database. Whatever JSON is sent is ignored.
#[utoipa::path(post, path = "/api/databases/{db}/backups", tag = "backups", security(("bearer" = ["operator"]), ("addon_token" = ["operator"])),
    params(("db" = String, Path)),
    responses((status = 201, body = BackupAnswer), (status = 400, body = Failure), (status = 401, body = Failure),
    (status = 402, body = PaymentRequired), (status = 404, body = Missing), (status = 422, body = Unprocessable)))]
pub async fn create(call: Call, db: Path<String>, body: RawBody) -> Result<HttpResponse> {
    let database = lookup::database(&call, &db).await?;
    call.caller.require(Role::Operator)?;
    ignore(&body)?;
    let repository = repositories::ensure(&call, &database).await?;
    let wanted = StartBackup {
        repository: repository.id,
        trigger: Trigger::Manual,
        task: None,
        full: false,
        description: String::new(),
        keep_until: None,
        passcode: None,
        aliases: Vec::new(),
        attributes: Vec::new(),
        job_attributes: Vec::new(),
    };
    let started = call.engine.start_backup(&call.caller, wanted).await;
    let started = started.map_err(|error| ApiError::from_creation(error, call.base.as_str().to_owned()))?;
    let mut made = rows(&call, &database, std::slice::from_ref(&started.backup)).await?;
    let made = made.pop().ok_or_else(|| Error::internal("A new backup has no part of its database."))?;
    Ok(created(&BackupAnswer { database_backup: made }))
}

/// One backup of a database.
#[utoipa::path(get, path = "/api/databases/{db}/backups/{id}", tag = "backups", security(("bearer" = []), ("addon_token" = [])),
    params(("db" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = BackupAnswer), (status = 401, body = Failure), (status = 404, body = Missing)))]
pub async fn show(call: Call, path: Path<(String, String)>) -> Result<HttpResponse> {
    let database = lookup::database(&call, &path.0).await?;
    let found = lookup::backup_of(&call, &database, &path.1).await?;
    render(&call, found, &database).await
}

/// One backup, of whichever database the credential may see. Clients poll this while a backup runs.
#[utoipa::path(get, path = "/api/backups/{id}", tag = "backups", security(("bearer" = []), ("addon_token" = [])), params(("id" = String, Path)),
    responses((status = 200, body = BackupAnswer), (status = 401, body = Failure), (status = 404, body = Missing)))]
pub async fn show_flat(call: Call, id: Path<String>) -> Result<HttpResponse> {
    let found = lookup::backup(&call, &id).await?;
    let database = lookup::with_names(&call, found.part()?.source).await?;
    render(&call, found, &database).await
}

async fn render(call: &Call, found: FoundBackup, database: &Database) -> Result<HttpResponse> {
    let part = found.part()?;
    let damage = call.engine.damage_of(&[found.backup.id]).await?;
    let damage = damage.get(&part.id);
    let database_backup = mapping::backup(&found.backup, part, damage, found.id.clone(), &database.names);
    Ok(ok(&BackupAnswer { database_backup }))
}

/// A link to the backup's archive, good for one hour.
#[utoipa::path(get, path = "/api/databases/{db}/backups/{id}/archive", tag = "backups", security(("bearer" = ["operator"]), ("addon_token" = ["operator"])),
    params(("db" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = Archive), (status = 401, body = Failure), (status = 403, body = Failure),
    (status = 404, body = Missing), (status = 422, body = Unprocessable)))]
pub async fn archive(call: Call, path: Path<(String, String)>) -> Result<HttpResponse> {
    let database = lookup::database(&call, &path.0).await?;
    let found = lookup::backup_of(&call, &database, &path.1).await?;
    call.caller.require(Role::Operator)?;
    let part = found.part()?;
    let is_damaged = call.engine.damage_of(&[found.backup.id]).await?.contains_key(&part.id);
    if let Err(sentence) = mapping::downloadable(&found.backup, part, is_damaged) {
        return Err(ApiError::unprocessable("backup", sentence));
    }
    let wanted = NewBearer {
        audience: DOWNLOAD_AUDIENCE,
        scope: Scope::Download(part.id),
        lifetime: mapping::TOKEN_LIFETIME,
        claims: downloads::Claims::new(&database.names, found.backup.created_at).into_list(),
    };
    let bearer = call.engine.issue_bearer(&call.caller, wanted).await?;
    let path = format!(
        "/api/databases/{}/backups/{}/download?token={}",
        database.names.addon_id,
        found.id,
        bearer.secret.expose()
    );
    Ok(private(ok(&Archive { download_url: call.base.join(&path) })))
}
