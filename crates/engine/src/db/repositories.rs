//! Repositories.

use sqlx::{Postgres, QueryBuilder, Sqlite};

use super::{
    prelude::*,
    text::{askable, from_word, json},
};

impl Database {
    /// As [`Self::insert_repository_keeping`], everything.
    pub async fn insert_repository(
        &self,
        repository: &Repository,
        schedule: &[ScheduleEntry],
        labels: &Labels,
        audit: &AuditEntry,
    ) -> Result<()> {
        self.insert_repository_keeping(repository, None, schedule, labels, audit).await
    }

    /// With what it keeps. `AlreadyExists(Repository)` when the owner has one of that name and state.
    pub async fn insert_repository_keeping(
        &self,
        repository: &Repository,
        retention: Option<&Retention>,
        schedule: &[ScheduleEntry],
        labels: &Labels,
        audit: &AuditEntry,
    ) -> Result<()> {
        in_write!(self, tx => {
            if !tx.insert_repository(repository).await? {
                return Err(Error::new(
                    ErrorCode::AlreadyExists(Noun::Repository),
                    format!("There is a repository {} already.", repository.name),
                ));
            }
            if let Some(rules) = retention {
                tx.write_retention(repository.id, &json(rules)?, audit.at).await?;
            }
            tx.replace_schedule(repository.id, schedule).await?;
            tx.label(labels, repository.created_at).await?;
            tx.audit(audit).await?;
        })
    }

    /// As [`Self::ensure_repository_keeping`], everything.
    pub async fn ensure_repository(
        &self,
        repository: &Repository,
        schedule: &[ScheduleEntry],
        labels: &Labels,
        audit: &AuditEntry,
    ) -> Result<Repository> {
        self.ensure_repository_keeping(repository, None, schedule, labels, audit).await
    }

    /// As [`Self::insert_repository_keeping`], but answers the one that stands, as it is, where there is one.
    pub async fn ensure_repository_keeping(
        &self,
        repository: &Repository,
        retention: Option<&Retention>,
        schedule: &[ScheduleEntry],
        labels: &Labels,
        audit: &AuditEntry,
    ) -> Result<Repository> {
        in_write!(self, tx => {
            if tx.insert_repository(repository).await? {
                if let Some(rules) = retention {
                    tx.write_retention(repository.id, &json(rules)?, audit.at).await?;
                }
                tx.replace_schedule(repository.id, schedule).await?;
                tx.label(labels, repository.created_at).await?;
                tx.audit(audit).await?;
                repository.clone()
            } else {
                let (state, _) = state_columns(repository.state);
                match tx.repository_of(&repository.owner, state, &repository.name).await? {
                    Some(standing) => standing.into_repository()?,
                    None => return Err(Error::internal("A repository was neither written nor there.")),
                }
            }
        })
    }

    /// Oldest first.
    pub async fn repositories(&self, filter: &RepositoryFilter) -> Result<Vec<Repository>> {
        if filter.name.as_deref().is_some_and(|name| !askable(name)) {
            return Ok(Vec::new());
        }
        in_read!(self, tx => {
            tx.repositories(filter).await?.into_iter().map(RepositoryRow::into_repository).collect::<Sql<_>>()?
        })
    }

    pub async fn repository(&self, id: RepositoryId) -> Result<Option<Repository>> {
        in_read!(self, tx => { tx.repository(id).await?.map(RepositoryRow::into_repository).transpose()? })
    }

    /// Zero rows (not active) is `None`.
    pub async fn pause_repository(&self, id: RepositoryId, audit: &AuditEntry) -> Result<Option<Repository>> {
        in_write!(self, tx => {
            let Some(row) = tx.set_paused(id, true, audit.at).await? else { return Ok(None) };
            tx.audit(audit).await?;
            Some(row.into_repository()?)
        })
    }

    /// Next runs that have passed meanwhile are replaced by those of `schedule`.
    pub async fn resume_repository(
        &self,
        id: RepositoryId,
        schedule: &[ScheduleEntry],
        audit: &AuditEntry,
    ) -> Result<Option<Repository>> {
        in_write!(self, tx => {
            let Some(row) = tx.set_paused(id, false, audit.at).await? else { return Ok(None) };
            tx.pass_over_missed(id, schedule, audit.at).await?;
            tx.audit(audit).await?;
            Some(row.into_repository()?)
        })
    }

    pub async fn attach_plan(
        &self,
        id: RepositoryId,
        plan: Option<PlanId>,
        schedule: &[ScheduleEntry],
        audit: &AuditEntry,
    ) -> Result<Option<Repository>> {
        in_write!(self, tx => {
            let Some(row) = tx.set_plan(id, plan, audit.at).await? else { return Ok(None) };
            tx.replace_schedule(id, schedule).await?;
            tx.audit(audit).await?;
            Some(row.into_repository()?)
        })
    }
}

#[derive(sqlx::FromRow)]
struct RepositoryRow {
    id: Uuid,
    owner: String,
    name: String,
    state: String,
    paused: bool,
    store_id: Uuid,
    source_id: Option<Uuid>,
    plan_id: Option<Uuid>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl RepositoryRow {
    fn into_repository(self) -> Sql<Repository> {
        let Self { id, owner, name, state, paused, store_id, source_id, plan_id, created_at, updated_at } = self;
        let state = match state.as_str() {
            "active" => RepositoryState::Active { paused },
            _ => from_word(state)?,
        };
        Ok(Repository {
            id: RepositoryId(id),
            owner,
            name,
            state,
            store: StoreId(store_id),
            sources: source_id.map_or(SourceSelection::All, |id| SourceSelection::One(SourceId(id))),
            plan: plan_id.map(PlanId),
            created_at,
            updated_at,
        })
    }
}

/// `state` and `paused`.
fn state_columns(state: RepositoryState) -> (&'static str, bool) {
    match state {
        RepositoryState::Active { paused } => ("active", paused),
        RepositoryState::Archived => ("archived", false),
        RepositoryState::Imported => ("imported", false),
    }
}

#[duplicate_item(
    Tx           Db;
    [SqliteTx]   [Sqlite];
    [PostgresTx] [Postgres];
)]
impl Tx {
    /// `false` when one of that owner, state and name stands.
    pub(super) async fn insert_repository(&mut self, repository: &Repository) -> Sql<bool> {
        let Repository { id, owner, name, state, store, sources, plan, created_at, updated_at } = repository;
        let (state, paused) = state_columns(*state);
        let source = match sources {
            SourceSelection::All => None,
            SourceSelection::One(source) => Some(source.0),
        };
        let inserted = sqlx::query(
            "INSERT INTO repositories (id, owner, name, state, paused, store_id, source_id, plan_id, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (owner, state, name) DO NOTHING",
        )
        .bind(id.0)
        .bind(owner)
        .bind(name)
        .bind(state)
        .bind(paused)
        .bind(store.0)
        .bind(source)
        .bind(plan.map(|plan| plan.0))
        .bind(created_at)
        .bind(updated_at)
        .execute(&mut *self.0)
        .await?;
        Ok(inserted.rows_affected() == 1)
    }

    async fn repositories(&mut self, filter: &RepositoryFilter) -> Sql<Vec<RepositoryRow>> {
        let RepositoryFilter { owner, store, name } = filter;
        let mut query = QueryBuilder::<Db>::new("SELECT * FROM repositories WHERE TRUE");
        if let Some(owner) = owner {
            query.push(" AND owner = ").push_bind(owner.clone());
        }
        if let Some(store) = store {
            query.push(" AND store_id = ").push_bind(store.0);
        }
        if let Some(name) = name {
            query.push(" AND name = ").push_bind(name.clone());
        }
        query.push(" ORDER BY created_at, id");
        Ok(query.build_query_as().fetch_all(&mut *self.0).await?)
    }

    async fn repository(&mut self, id: RepositoryId) -> Sql<Option<RepositoryRow>> {
        Ok(sqlx::query_as("SELECT * FROM repositories WHERE id = $1").bind(id.0).fetch_optional(&mut *self.0).await?)
    }

    async fn repository_of(&mut self, owner: &str, state: &str, name: &str) -> Sql<Option<RepositoryRow>> {
        Ok(sqlx::query_as("SELECT * FROM repositories WHERE owner = $1 AND state = $2 AND name = $3")
            .bind(owner)
            .bind(state)
            .bind(name)
            .fetch_optional(&mut *self.0)
            .await?)
    }

    async fn set_paused(&mut self, id: RepositoryId, paused: bool, now: DateTime<Utc>) -> Sql<Option<RepositoryRow>> {
        Ok(sqlx::query_as(
            "UPDATE repositories SET updated_at = CASE WHEN paused = $2 THEN updated_at ELSE $3 END, paused = $2
             WHERE id = $1 AND state = 'active' RETURNING *",
        )
        .bind(id.0)
        .bind(paused)
        .bind(now)
        .fetch_optional(&mut *self.0)
        .await?)
    }

    async fn set_plan(
        &mut self,
        id: RepositoryId,
        plan: Option<PlanId>,
        now: DateTime<Utc>,
    ) -> Sql<Option<RepositoryRow>> {
        Ok(sqlx::query_as(
            "UPDATE repositories SET plan_id = $2, updated_at = $3 WHERE id = $1 AND state = 'active' RETURNING *",
        )
        .bind(id.0)
        .bind(plan.map(|plan| plan.0))
        .bind(now)
        .fetch_optional(&mut *self.0)
        .await?)
    }
}
