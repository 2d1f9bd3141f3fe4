//! Repositories as answered: what their answers are made from, fetched for many at once.

use std::collections::HashMap;

use trivault_engine::{
    Attribute, BackupId, JobFilter, JobState, ObjectKind, ObjectRef, OverdueCare, Plan, Repository, RepositoryId,
    RepositoryState, Source, Store, TaskStanding,
};
use trivault_http::BaseUrl;

use super::runs;
use crate::{
    NAME,
    auth::Call,
    errors::{ApiError, Result},
    mapping::{
        history::KINDS,
        repositories::{RepositoryParts, repository_to_wire},
    },
    names::{FOREIGN_REPOSITORIES, SERIES},
    types,
};

/// In the order given. Repositories without a name on this wire are left out.
pub async fn repositories(call: &Call, repositories: &[Repository]) -> Result<Vec<types::Repository>> {
    if repositories.is_empty() {
        return Ok(Vec::new());
    }
    let common = Common::fetch(call, repositories).await.map_err(failed)?;
    let mut views = Vec::with_capacity(repositories.len());
    for repository in repositories {
        views.extend(view(call, repository, &common).await?);
    }
    Ok(views)
}

/// What all repositories share.
struct Common {
    plans: Vec<Plan>,
    stores: Vec<Store>,
    sources: Vec<Source>,
    series: HashMap<ObjectRef, String>,
    foreign: HashMap<ObjectRef, String>,
    attributes: HashMap<ObjectRef, Vec<Attribute>>,
    overdue: HashMap<RepositoryId, Vec<TaskStanding>>,
    care: Vec<OverdueCare>,
    damaged: HashMap<RepositoryId, Vec<BackupId>>,
}

impl Common {
    async fn fetch(call: &Call, repositories: &[Repository]) -> trivault_engine::Result<Self> {
        let Call { engine, caller, request: _ } = call;
        let objects: Vec<ObjectRef> = repositories.iter().map(object).collect();
        let only = match repositories {
            [one] => Some(one.id),
            _ => None,
        };
        let mut overdue: HashMap<RepositoryId, Vec<TaskStanding>> = HashMap::new();
        for standing in engine.overdue(caller, only).await? {
            overdue.entry(standing.repository).or_default().push(standing);
        }
        Ok(Self {
            overdue,
            care: engine.overdue_care(caller).await?,
            damaged: engine.damaged_backups(caller).await?,
            plans: engine.plans(caller, NAME).await?,
            stores: engine.stores(caller).await?,
            sources: engine.sources(caller).await?,
            series: engine.aliases(SERIES, &objects).await?,
            foreign: engine.aliases(FOREIGN_REPOSITORIES, &objects).await?,
            attributes: engine.attributes_of(NAME, &objects).await?,
        })
    }
}

fn object(repository: &Repository) -> ObjectRef {
    ObjectRef::new(ObjectKind::Repository, repository.id.0)
}

async fn view(call: &Call, repository: &Repository, common: &Common) -> Result<Option<types::Repository>> {
    let Common { plans, stores, sources, series, foreign, attributes, overdue, care, damaged } = common;
    let object = object(repository);
    let id = if repository.owner == NAME { Some(repository.name.clone()) } else { foreign.get(&object).cloned() };
    let Some(id) = id else { return Ok(None) };
    let is_scheduled = repository.owner == NAME && repository.state == RepositoryState::Active { paused: false };
    let scheduled = if is_scheduled {
        call.engine.scheduled_tasks(&call.caller, repository.id).await.map_err(failed)?
    } else {
        Vec::new()
    };
    Ok(Some(repository_to_wire(RepositoryParts {
        repository,
        id,
        repo: series.get(&object).cloned().unwrap_or_default(),
        plan: plans.iter().find(|plan| Some(plan.id) == repository.plan),
        store: stores.iter().find(|store| store.id == repository.store),
        attributes: attributes.get(&object).map(Vec::as_slice).unwrap_or_default(),
        scheduled,
        running: running(call, repository, sources).await?,
        sources,
        overdue: overdue.get(&repository.id).map(Vec::as_slice).unwrap_or_default(),
        care,
        damaged: damaged.get(&repository.id).map_or(0, Vec::len),
        zone: call.engine.zone(),
    })))
}

/// Tasks that run or wait. One is here until it is in the history, never in neither.
async fn running(call: &Call, repository: &Repository, sources: &[Source]) -> Result<Vec<(bool, types::TaskRun)>> {
    let filter = JobFilter {
        repository: Some(repository.id),
        kinds: KINDS.to_vec(),
        states: vec![JobState::Queued, JobState::Running],
        ..JobFilter::default()
    };
    let jobs = call.engine.jobs(&call.caller, filter).await.map_err(failed)?;
    let cluster = BaseUrl::of(&call.request);
    let runs = runs::render(call, &jobs, sources, cluster.as_str()).await.map_err(failed)?;
    Ok(runs)
}

fn failed(error: trivault_engine::Error) -> ApiError {
    ApiError::of_engine(error, "Could not retrieve the requested repository")
}
