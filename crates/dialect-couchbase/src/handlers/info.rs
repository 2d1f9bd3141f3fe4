//! `.../info`.

use actix_web::web::Json;
use trivault_engine::{Backup, BackupFilter, BackupId, ObjectKind, ObjectRef};
use trivault_http::BaseUrl;

use super::lookup;
use crate::{
    auth::Call,
    errors::{ApiError, Result},
    mapping::{
        backups::{backup_to_wire, is_listed, stored_size},
        history::page,
    },
    names::{BACKUPS, SERIES, unscoped},
    types::{ErrorBody, Info},
};

/// What is in a repository: its backups, oldest first.
#[utoipa::path(get, path = "/api/v1/cluster/self/repository/{state}/{id}/info", operation_id = "get_repository_info", tag = "repositories", security(("basic" = [])),
    params(
        ("state" = String, Path, description = "`active`, `archived` or `imported`"),
        ("id" = String, Path, description = "The repository's id"),
        ("limit" = Option<u32>, Query, description = "At most so many backups; 0: all"),
        ("offset" = Option<u32>, Query, description = "Skip so many"),
    ), responses(
    (status = 200, description = "Its backups, oldest first", body = Info),
    (status = 400, description = "A parameter cannot be read", body = ErrorBody),
    (status = 401, description = "No or wrong credentials; no body"),
    (status = 404, description = "No such repository in this state", body = ErrorBody),
    (status = 500, description = "The repository cannot be read", body = ErrorBody),
))]
pub async fn get(call: Call) -> Result<Json<Info>> {
    let repository = lookup::find_for_reading(&call).await?;
    let (offset, limit) = page(call.request.query_string())?;
    let Call { engine, caller, request } = &call;
    let failed = |error| ApiError::of_engine(error, "Could not get repository info");
    let filter = BackupFilter { repository: Some(repository.id), ..BackupFilter::default() };
    let mut backups = engine.backups(caller, filter).await.map_err(failed)?;
    backups.retain(is_listed);
    backups.reverse();
    let objects: Vec<ObjectRef> =
        backups.iter().map(|backup| ObjectRef::new(ObjectKind::Backup, backup.id.0)).collect();
    let names = engine.aliases(BACKUPS, &objects).await.map_err(failed)?;
    let ids: Vec<BackupId> = backups.iter().map(|backup| backup.id).collect();
    let merged = engine.merged_into(&ids).await.map_err(failed)?;
    let damage = engine.damage_of(&ids).await.map_err(failed)?;
    let is_damaged = |backup: &Backup| backup.parts.iter().any(|part| damage.contains_key(&part.id));
    let named: Vec<_> = objects
        .iter()
        .zip(&backups)
        .filter_map(|(object, backup)| Some((unscoped(names.get(object)?), backup)))
        .collect();
    let series = ObjectRef::new(ObjectKind::Repository, repository.id.0);
    let source = BaseUrl::of(request);
    let cluster = engine.installation().simple().to_string();
    Ok(Json(Info {
        name: engine.alias(SERIES, series).await.map_err(failed)?.unwrap_or_default(),
        size: named.iter().map(|(_, backup)| stored_size(backup)).sum(),
        count: named.len(),
        backups: named
            .iter()
            .skip(offset)
            .take(limit.unwrap_or(usize::MAX))
            .map(|(name, backup)| {
                let merged = merged.get(&backup.id);
                backup_to_wire(name, backup, is_damaged(backup), merged, source.as_str(), &cluster)
            })
            .collect(),
    }))
}
