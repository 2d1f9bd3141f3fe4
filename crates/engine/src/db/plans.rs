//! Plans.

use std::collections::HashMap;

use super::{
    names::AttributeRow,
    prelude::*,
    text::{askable, from_json, json},
};

impl Database {
    /// Built-in ones first, then by name.
    pub async fn plans(&self, owner: &str) -> Result<Vec<Plan>> {
        in_read!(self, tx => {
            let rows = tx.plans(owner).await?;
            let objects: Vec<_> = rows.iter().map(PlanRow::object).collect();
            let attributes = tx.attributes_of_plans(&objects).await?;
            with_attributes(rows, attributes)?
        })
    }

    pub async fn plan(&self, id: PlanId) -> Result<Option<Plan>> {
        in_read!(self, tx => {
            let Some(row) = tx.plan(id).await? else { return Ok(None) };
            let attributes = tx.attributes_of_plans(&[row.object()]).await?;
            with_attributes(vec![row], attributes)?.pop()
        })
    }

    pub async fn plan_named(&self, owner: &str, name: &str) -> Result<Option<Plan>> {
        if !askable(name) {
            return Ok(None);
        }
        in_read!(self, tx => {
            let Some(row) = tx.plan_named(owner, name).await? else { return Ok(None) };
            let attributes = tx.attributes_of_plans(&[row.object()]).await?;
            with_attributes(vec![row], attributes)?.pop()
        })
    }

    pub async fn insert_plan(&self, plan: &Plan, audit: &AuditEntry) -> Result<()> {
        in_write!(self, tx => {
            if !tx.insert_plan(plan).await? {
                return Err(Error::new(
                    ErrorCode::AlreadyExists(Noun::Plan),
                    format!("There is a plan {} already.", plan.name),
                ));
            }
            tx.put_plan_attributes(plan.id, &plan.attributes).await?;
            tx.audit(audit).await?;
        })
    }

    /// Of all owners, by owner and name.
    pub async fn all_plans(&self) -> Result<Vec<Plan>> {
        in_read!(self, tx => {
            let rows = tx.all_plans().await?;
            let objects: Vec<_> = rows.iter().map(PlanRow::object).collect();
            let attributes = tx.attributes_of_plans(&objects).await?;
            with_attributes(rows, attributes)?
        })
    }

    /// `false` when there is none of that id. Repositories that are no longer active lose it.
    ///
    /// # Errors
    /// `InUse(Plan)`: a sentence with the names of active repositories that have it.
    pub async fn delete_plan(&self, id: PlanId, audit: &AuditEntry) -> Result<bool> {
        in_write!(self, tx => {
            tx.refuse_plan_in_use(id, "deleted").await?;
            tx.take_plan_from_inactive(id).await?;
            let deleted = tx.delete_plan(id).await?;
            if deleted {
                tx.forget_labels(ObjectRef::new(ObjectKind::Plan, id.0)).await?;
                tx.audit(audit).await?;
            }
            deleted
        })
    }

    /// Gives a plan that no active repository has this content; `None` when there is none of that owner and name.
    ///
    /// # Errors
    /// `InUse(Plan)`, as [`Database::delete_plan`].
    pub async fn replace_unused_plan(&self, plan: &Plan, audit: &AuditEntry) -> Result<Option<Plan>> {
        in_write!(self, tx => {
            let Some(row) = tx.plan_named(&plan.owner, &plan.name).await? else { return Ok(None) };
            tx.refuse_plan_in_use(PlanId(row.id), "changed").await?;
            let (id, created_at) = tx.update_plan(plan).await?;
            tx.forget_labels(ObjectRef::new(ObjectKind::Plan, id)).await?;
            let plan = Plan { id: PlanId(id), created_at, ..plan.clone() };
            tx.put_plan_attributes(plan.id, &plan.attributes).await?;
            tx.audit(audit).await?;
            Some(plan)
        })
    }

    /// Creates the plan or gives the one of the same owner and name this content; active repositories with it get
    /// `schedule`.
    pub async fn put_plan(&self, plan: &Plan, schedule: &[ScheduleEntry], audit: &AuditEntry) -> Result<Plan> {
        in_write!(self, tx => {
            let plan = if tx.insert_plan(plan).await? {
                plan.clone()
            } else {
                let (id, created_at) = tx.update_plan(plan).await?;
                tx.forget_labels(ObjectRef::new(ObjectKind::Plan, id)).await?;
                for repository in tx.repositories_with(PlanId(id)).await? {
                    tx.replace_schedule(RepositoryId(repository), schedule).await?;
                }
                Plan { id: PlanId(id), created_at, ..plan.clone() }
            };
            tx.put_plan_attributes(plan.id, &plan.attributes).await?;
            tx.audit(audit).await?;
            plan
        })
    }
}

#[derive(sqlx::FromRow)]
struct PlanRow {
    id: Uuid,
    owner: String,
    name: String,
    description: Option<String>,
    builtin: bool,
    tasks: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl PlanRow {
    fn object(&self) -> ObjectRef {
        ObjectRef::new(ObjectKind::Plan, self.id)
    }

    fn into_plan(self, attributes: Vec<Attribute>) -> Sql<Plan> {
        let Self { id, owner, name, description, builtin, tasks, created_at, updated_at } = self;
        let tasks = from_json(&tasks)?;
        Ok(Plan { id: PlanId(id), owner, name, description, builtin, tasks, attributes, created_at, updated_at })
    }
}

fn with_attributes(rows: Vec<PlanRow>, attributes: Vec<AttributeRow>) -> Sql<Vec<Plan>> {
    let mut of: HashMap<ObjectRef, Vec<Attribute>> = HashMap::new();
    for row in attributes {
        let (object, attribute) = row.into_attribute()?;
        of.entry(object).or_default().push(attribute);
    }
    rows.into_iter()
        .map(|row| {
            let attributes = of.remove(&row.object()).unwrap_or_default();
            row.into_plan(attributes)
        })
        .collect()
}

#[duplicate_item(Tx; [SqliteTx]; [PostgresTx])]
impl Tx {
    async fn plans(&mut self, owner: &str) -> Sql<Vec<PlanRow>> {
        Ok(sqlx::query_as("SELECT * FROM plans WHERE owner = $1 ORDER BY builtin DESC, name")
            .bind(owner)
            .fetch_all(&mut *self.0)
            .await?)
    }

    async fn all_plans(&mut self) -> Sql<Vec<PlanRow>> {
        Ok(sqlx::query_as("SELECT * FROM plans ORDER BY owner, builtin DESC, name").fetch_all(&mut *self.0).await?)
    }

    async fn refuse_plan_in_use(&mut self, id: PlanId, what: &str) -> Sql<()> {
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM repositories WHERE plan_id = $1 AND state = 'active' ORDER BY name LIMIT 10",
        )
        .bind(id.0)
        .fetch_all(&mut *self.0)
        .await?;
        if names.is_empty() {
            return Ok(());
        }
        let noun = if names.len() == 1 { "repository" } else { "repositories" };
        let sentence = format!("The plan cannot be {what}: it is in use by the {noun} {}.", names.join(", "));
        let error = Error::new(ErrorCode::InUse(Noun::Plan), sentence);
        Err(error.hint("Attach another plan to them first, or none: `trivault plan detach`.").into())
    }

    async fn take_plan_from_inactive(&mut self, id: PlanId) -> Sql<()> {
        sqlx::query("UPDATE repositories SET plan_id = NULL WHERE plan_id = $1 AND state <> 'active'")
            .bind(id.0)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    /// A repository that takes the plan at this very moment wins.
    async fn delete_plan(&mut self, id: PlanId) -> Sql<bool> {
        let deleted = sqlx::query("DELETE FROM plans WHERE id = $1").bind(id.0).execute(&mut *self.0).await;
        match deleted {
            Ok(deleted) => Ok(deleted.rows_affected() == 1),
            Err(sqlx::Error::Database(refused)) if refused.is_foreign_key_violation() => {
                Err(Error::new(ErrorCode::InUse(Noun::Plan), "The plan was given to a repository just now.").into())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn plan(&mut self, id: PlanId) -> Sql<Option<PlanRow>> {
        Ok(sqlx::query_as("SELECT * FROM plans WHERE id = $1").bind(id.0).fetch_optional(&mut *self.0).await?)
    }

    async fn plan_named(&mut self, owner: &str, name: &str) -> Sql<Option<PlanRow>> {
        Ok(sqlx::query_as("SELECT * FROM plans WHERE owner = $1 AND name = $2")
            .bind(owner)
            .bind(name)
            .fetch_optional(&mut *self.0)
            .await?)
    }

    async fn attributes_of_plans(&mut self, plans: &[ObjectRef]) -> Sql<Vec<AttributeRow>> {
        if plans.is_empty() {
            return Ok(Vec::new());
        }
        self.attributes(None, plans).await
    }

    /// `false` when one of that owner and name stands.
    pub(super) async fn insert_plan(&mut self, plan: &Plan) -> Sql<bool> {
        let Plan { id, owner, name, description, builtin, tasks, attributes: _, created_at, updated_at } = plan;
        let inserted = sqlx::query(
            "INSERT INTO plans (id, owner, name, description, builtin, tasks, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (owner, name) DO NOTHING",
        )
        .bind(id.0)
        .bind(owner)
        .bind(name)
        .bind(description)
        .bind(builtin)
        .bind(json(tasks)?)
        .bind(created_at)
        .bind(updated_at)
        .execute(&mut *self.0)
        .await?;
        Ok(inserted.rows_affected() == 1)
    }

    async fn update_plan(&mut self, plan: &Plan) -> Sql<(Uuid, DateTime<Utc>)> {
        Ok(sqlx::query_as(
            "UPDATE plans SET description = $3, builtin = $4, tasks = $5, updated_at = $6
             WHERE owner = $1 AND name = $2 RETURNING id, created_at",
        )
        .bind(&plan.owner)
        .bind(&plan.name)
        .bind(&plan.description)
        .bind(plan.builtin)
        .bind(json(&plan.tasks)?)
        .bind(plan.updated_at)
        .fetch_one(&mut *self.0)
        .await?)
    }

    pub(super) async fn put_plan_attributes(&mut self, plan: PlanId, attributes: &[Attribute]) -> Sql<()> {
        for attribute in attributes {
            self.put_attribute(ObjectRef::new(ObjectKind::Plan, plan.0), attribute).await?;
        }
        Ok(())
    }

    async fn repositories_with(&mut self, plan: PlanId) -> Sql<Vec<Uuid>> {
        Ok(sqlx::query_scalar("SELECT id FROM repositories WHERE plan_id = $1 AND state = 'active' ORDER BY id")
            .bind(plan.0)
            .fetch_all(&mut *self.0)
            .await?)
    }
}
