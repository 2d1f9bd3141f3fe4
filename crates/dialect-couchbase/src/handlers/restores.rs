//! `.../restore`.

use actix_web::web::Json;
use trivault_engine::{
    Backup, BackupFilter, BackupId, BackupState, ErrorCode, ObjectKind, ObjectRef, Repository, Role, StartRestore,
};
use trivault_http::{RawBody, client_address, is_this_server};

use super::{
    backups::{not_sent, task_name},
    lookup,
};
use crate::{
    auth::Call,
    errors::{ApiError, Result},
    json,
    mapping::restores::{Catalogue, Credentials, credentials, restore_from_wire},
    names::{BACKUPS, unscoped},
    types::{ErrorBody, ForbiddenBody, RestoreRequest, TaskName},
};

/// Restores a range of backups into this gateway's buckets. Nothing is ever deleted.
#[utoipa::path(post, path = "/api/v1/cluster/self/repository/{state}/{id}/restore", operation_id = "start_restore", tag = "tasks", security(("basic" = ["operator"])),
    request_body = RestoreRequest, params(
        ("state" = String, Path, description = "`active`, `archived` or `imported`"),
        ("id" = String, Path, description = "The repository's id"),
    ), responses(
    (status = 200, description = "The task waits or runs", body = TaskName),
    (status = 400, description = "The request is not valid, or its backups cannot be restored this way", body = ErrorBody),
    (status = 401, description = "No or wrong credentials; no body"),
    (status = 403, description = "A role that may only read", body = ForbiddenBody),
    (status = 404, description = "No such repository in this state", body = ErrorBody),
    (status = 500, description = "The target refuses the user, or a bucket cannot be reached", body = ErrorBody),
))]
pub async fn start(call: Call, body: RawBody) -> Result<Json<TaskName>> {
    let repository = lookup::find_for_task(&call).await?;
    let request: RestoreRequest = json::read(&body.0)?;
    let credentials = credentials(&request)?;
    check_target(&call, &credentials).await?;
    let restore = plan(&call, &repository, &credentials.target, &request).await?;
    let job = call.engine.start_restore(&call.caller, restore).await.map_err(not_sent)?;
    task_name(&call, job.id).await
}

/// The target is this gateway, and knows the user.
async fn check_target(call: &Call, credentials: &Credentials) -> Result<()> {
    let Credentials { target, host, user, password } = credentials;
    if !is_this_server(&call.request, host) {
        let extras =
            format!("target {target} is not this gateway, and no other gateway is configured under this address");
        return Err(ApiError::invalid_body(extras));
    }
    let peer = client_address(&call.request);
    let refused = |reason: &str| ApiError::could_not_send_task(format!("the target {target} refused {user}: {reason}"));
    match call.engine.authenticate_password(user, password, &peer).await {
        Ok(principal) if principal.role >= Role::Operator => Ok(()),
        Ok(_) => Err(refused("the user may not restore")),
        Err(error) => match error.code {
            ErrorCode::Unauthenticated => Err(refused("wrong user name or password")),
            ErrorCode::Throttled => Err(refused("too many failed log-ins, try again later")),
            _ => Err(not_sent(error)),
        },
    }
}

async fn plan(call: &Call, repository: &Repository, target: &str, request: &RestoreRequest) -> Result<StartRestore> {
    let backups = restorable(call, repository).await.map_err(not_sent)?;
    let ids: Vec<BackupId> = backups.iter().map(|(_, backup)| backup.id).collect();
    let damaged = call.engine.damage_of(&ids).await.map_err(not_sent)?.into_keys().collect();
    let sources = call.engine.sources(&call.caller).await.map_err(not_sent)?;
    restore_from_wire(target, request, &Catalogue { backups: &backups, damaged: &damaged, sources: &sources })
}

/// Complete backups with their names, oldest first.
async fn restorable(call: &Call, repository: &Repository) -> trivault_engine::Result<Vec<(String, Backup)>> {
    let Call { engine, caller, request: _ } = call;
    let filter = BackupFilter {
        repository: Some(repository.id),
        states: vec![BackupState::Succeeded],
        ..BackupFilter::default()
    };
    let mut backups = engine.backups(caller, filter).await?;
    backups.reverse();
    let of = |backup: &Backup| ObjectRef::new(ObjectKind::Backup, backup.id.0);
    let objects: Vec<ObjectRef> = backups.iter().map(of).collect();
    let names = engine.aliases(BACKUPS, &objects).await?;
    let named = backups.into_iter().filter_map(|backup| {
        let name = unscoped(names.get(&of(&backup))?).to_owned();
        Some((name, backup))
    });
    Ok(named.collect())
}
