//! The engine's repository behind a database. It is made with the first backup or schedule and never shown on this wire.

use trivault_engine::{
    Error, ErrorCode, NewRepository, Repository, RepositoryFilter, RepositoryState, SourceSelection,
};

use crate::{NAME, auth::Call, errors::Result, lookup::Database, settings};

/// The active repository of a database, if it was made already.
pub async fn find(call: &Call, database: &Database) -> Result<Option<Repository>> {
    let filter = RepositoryFilter { owner: Some(NAME.to_owned()), store: None, name: None };
    let repositories = call.engine.repositories(&call.caller, filter).await?;
    Ok(repositories.into_iter().find(|repository| is_of(repository, database)))
}

/// The active repository of a database, made when there is none.
pub async fn ensure(call: &Call, database: &Database) -> Result<Repository> {
    if let Some(repository) = find(call, database).await? {
        return Ok(repository);
    }
    let mut refused = Error::internal("Both names of the database's repository are taken by other sources.");
    for name in names(database) {
        let wanted = NewRepository {
            owner: NAME,
            name,
            store: None,
            sources: SourceSelection::One(database.source.id),
            plan: None,
            retention: Some(settings::retention()),
            aliases: Vec::new(),
            attributes: Vec::new(),
        };
        match call.engine.ensure_repository(&call.caller, wanted).await {
            Ok(repository) if is_of(&repository, database) => return Ok(repository),
            Ok(_) => {}
            // An addon token is told this where the name is that of a former source.
            Err(error) if error.code == ErrorCode::Forbidden => refused = error,
            Err(error) => return Err(error.into()),
        }
    }
    Err(refused.into())
}

/// `db-<source>`; where a former source of that name has it, the resource id, which is this source's alone.
fn names(database: &Database) -> [String; 2] {
    [format!("db-{}", database.source.name), format!("db-{}", database.names.resource_id)]
}

fn is_of(repository: &Repository, database: &Database) -> bool {
    let active = match repository.state {
        RepositoryState::Active { paused: _ } => true,
        RepositoryState::Archived | RepositoryState::Imported => false,
    };
    active && repository.sources == SourceSelection::One(database.source.id)
}
