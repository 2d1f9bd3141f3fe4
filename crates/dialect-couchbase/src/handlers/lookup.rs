//! Repositories by state and id.

use trivault_engine::{ObjectKind, Repository, RepositoryFilter, RepositoryId, RepositoryState};

use crate::{
    NAME,
    auth::Call,
    errors::{ApiError, Result},
    names::FOREIGN_REPOSITORIES,
};

/// The state in a path; paused ones are among the active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Active,
    Archived,
    Imported,
}

impl State {
    pub const ALL: [Self; 3] = [Self::Active, Self::Archived, Self::Imported];

    /// Of a call; paths without a state are those of active repositories.
    pub fn of(call: &Call) -> Self {
        match call.segment("state").as_str() {
            "archived" => Self::Archived,
            "imported" => Self::Imported,
            _ => Self::Active,
        }
    }

    /// Where a repository stands. Those that other dialects made stand under `imported`.
    pub fn of_repository(repository: &Repository) -> Self {
        if repository.owner != NAME {
            return Self::Imported;
        }
        match repository.state {
            RepositoryState::Active { paused: _ } => Self::Active,
            RepositoryState::Archived => Self::Archived,
            RepositoryState::Imported => Self::Imported,
        }
    }
}

/// All repositories of a state, oldest first.
pub async fn repositories(call: &Call, state: State) -> Result<Vec<Repository>> {
    let all = call.engine.repositories(&call.caller, RepositoryFilter::default()).await.map_err(failed)?;
    Ok(all.into_iter().filter(|repository| State::of_repository(repository) == state).collect())
}

/// The repository of a state and id, if there is one.
pub async fn find(call: &Call, state: State, id: &str) -> Result<Option<Repository>> {
    let filter = RepositoryFilter { owner: Some(NAME.to_owned()), store: None, name: Some(id.to_owned()) };
    let own = call.engine.repositories(&call.caller, filter).await.map_err(failed)?;
    let own = own.into_iter().find(|repository| State::of_repository(repository) == state);
    if own.is_some() || state != State::Imported {
        return Ok(own);
    }
    let Some(object) = call.engine.resolve(FOREIGN_REPOSITORIES, id).await.map_err(failed)? else { return Ok(None) };
    if object.kind != ObjectKind::Repository {
        return Ok(None);
    }
    let repository = call.engine.repository(&call.caller, RepositoryId(object.id)).await.map_err(failed)?;
    Ok(Some(repository))
}

fn failed(error: trivault_engine::Error) -> ApiError {
    ApiError::of_engine(error, "Could not retrieve the requested repository")
}

/// As the pages of backup, merge and restore say it.
pub async fn find_for_task(call: &Call) -> Result<Repository> {
    let id = call.segment("id");
    find(call, State::of(call), &id)
        .await?
        .ok_or_else(|| ApiError::not_found(format!("repository `{id}` does not exist")))
}

/// As the page of getting a repository says it.
pub async fn find_for_reading(call: &Call) -> Result<Repository> {
    find(call, State::of(call), &call.segment("id")).await?.ok_or_else(|| ApiError::not_found("no repositories found"))
}
