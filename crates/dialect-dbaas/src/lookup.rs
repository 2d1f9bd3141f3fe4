//! From the names in a path to what they mean, within what the credential may see. What it may not see is missing.

use trivault_engine::{Backup, ErrorCode, Part, PartId, Scope, Source, SourceId};

use crate::{
    auth::Call,
    errors::{ApiError, Result},
    names::{self, SourceNames},
};

/// A source with its names.
pub struct Database {
    pub source: Source,
    pub names: SourceNames,
}

/// Longest name that can mean something, in bytes.
const LONGEST_NAME: usize = 128;

/// Whether a name can stand in the catalogue at all; spares the database what could not.
fn is_plausible(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// The database that `:db` names: by its addon's id, its own, its resource id, or the source's name.
pub async fn database(call: &Call, name: &str) -> Result<Database> {
    let id = source_id(call, &[names::ADDON, names::DATABASE, names::RESOURCE], name).await?;
    let id = id.filter(|id| call.sees(*id)).ok_or_else(|| ApiError::missing("database"))?;
    with_names(call, id).await
}

/// The source that `:app` names: by the application's name or id, or the source's name.
pub async fn app(call: &Call, name: &str) -> Result<Database> {
    let id = source_id(call, &[names::APP, names::APP_ID], name).await?;
    with_names(call, id.ok_or_else(|| ApiError::missing_app(call.base.as_str()))?).await
}

/// The addon of an application.
pub async fn addon(call: &Call, app_name: &str, addon_name: &str) -> Result<Database> {
    let app = app(call, app_name).await?;
    let id = source_id(call, &[names::ADDON, names::DATABASE, names::RESOURCE], addon_name).await?;
    if id == Some(app.source.id) { Ok(app) } else { Err(ApiError::missing("addon")) }
}

/// A backup and the part of it that its id names.
pub struct FoundBackup {
    pub id: String,
    pub backup: Backup,
    pub part: PartId,
}

impl FoundBackup {
    pub fn part(&self) -> Result<&Part> {
        let part = self.backup.parts.iter().find(|part| part.id == self.part);
        part.ok_or_else(|| ApiError::missing("backup"))
    }
}

/// The backup that an id names, of whichever database the credential may see.
pub async fn backup(call: &Call, id: &str) -> Result<FoundBackup> {
    if !is_plausible(id) {
        return Err(ApiError::missing("backup"));
    }
    let part = names::part_of_backup_id(&call.engine, id).await?;
    let backup = call.engine.backup_of_part(&call.caller, part).await;
    let backup = backup.map_err(|error| ApiError::hidden_as(error, "backup"))?;
    let found = FoundBackup { id: id.to_owned(), backup, part };
    if call.sees(found.part()?.source) { Ok(found) } else { Err(ApiError::missing("backup")) }
}

/// The backup of a database that an id names.
pub async fn backup_of(call: &Call, database: &Database, id: &str) -> Result<FoundBackup> {
    let found = backup(call, id).await?;
    if found.part()?.source == database.source.id { Ok(found) } else { Err(ApiError::missing("backup")) }
}

/// The source with its names.
pub async fn with_names(call: &Call, id: SourceId) -> Result<Database> {
    let source = call.engine.source(&call.caller, id).await?;
    let names = names::names_of_source(&call.engine, id).await?;
    Ok(Database { source, names })
}

async fn source_id(call: &Call, namespaces: &[&str], name: &str) -> Result<Option<SourceId>> {
    if !is_plausible(name) {
        return Ok(None);
    }
    if let Some(id) = names::source_named_in(&call.engine, namespaces, name).await? {
        return Ok(Some(id));
    }
    // A limited credential may not look for sources by name; its own is the only one that it can mean.
    if let Scope::Source(only) = call.caller.principal.scope {
        let own = call.engine.source(&call.caller, only).await?;
        return Ok((own.name == name).then_some(only));
    }
    match call.engine.source_named(&call.caller, name).await {
        Ok(source) => Ok(Some(source.id)),
        Err(error) => match error.code {
            ErrorCode::NotFound(_) | ErrorCode::InvalidInput => Ok(None),
            _ => Err(error.into()),
        },
    }
}
