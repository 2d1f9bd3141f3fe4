//! Plans.

use uuid::Uuid;

use super::{Engine, Inner};
use crate::{
    db::{AuditEntry, ScheduleEntry},
    domain::*,
    schedule,
};

/// Most tasks that a plan may have; each costs a look-up whenever plans are evaluated.
const MOST_TASKS: usize = 100;

impl Engine {
    /// Built-in ones first, then by name.
    pub async fn plans(&self, caller: &Caller, owner: &str) -> Result<Vec<Plan>> {
        caller.require(Role::Reader)?;
        self.inner().db.plans(owner).await
    }

    /// Of all dialects and of the command line.
    pub async fn all_plans(&self, caller: &Caller) -> Result<Vec<Plan>> {
        caller.require(Role::Reader)?;
        self.inner().db.all_plans().await
    }

    pub async fn plan(&self, caller: &Caller, id: PlanId) -> Result<Plan> {
        caller.require(Role::Reader)?;
        self.inner().db.plan(id).await?.ok_or_else(missing)
    }

    pub async fn plan_named(&self, caller: &Caller, owner: &str, name: &str) -> Result<Plan> {
        caller.require(Role::Reader)?;
        let plan = self.inner().db.plan_named(owner, name).await?;
        plan.ok_or_else(missing)
    }

    /// # Errors
    /// `AlreadyExists(Plan)`.
    pub async fn create_plan(&self, caller: &Caller, plan: NewPlan) -> Result<Plan> {
        caller.require(Role::Operator)?;
        caller.require_everything()?;
        let plan = self.inner().new_plan(plan)?;
        self.inner().db.insert_plan(&plan, &self.inner().audit_of(caller, "plan.create", &plan)).await?;
        Ok(plan)
    }

    /// Creates the plan or gives the existing one (same owner and name) this content; repositories that it is attached
    /// to are scheduled anew from now.
    ///
    /// # Errors
    /// `Forbidden` for a plan that is built in, and for a limited credential where the plan serves more than its source.
    pub async fn put_plan(&self, caller: &Caller, plan: NewPlan) -> Result<Plan> {
        caller.require(Role::Operator)?;
        let inner = self.inner();
        let plan = inner.new_plan(plan)?;
        if let Some(standing) = inner.db.plan_named(&plan.owner, &plan.name).await? {
            refuse_builtin(&standing)?;
            inner.require_plan(caller, standing.id).await?;
        }
        let schedule = inner.schedule_of(&plan);
        inner.db.put_plan(&plan, &schedule, &inner.audit_of(caller, "plan.put", &plan)).await
    }

    /// Gives a plan that no active repository has this content.
    ///
    /// # Errors
    /// `NotFound(Plan)`; `Forbidden` for a plan that is built in; `InUse(Plan)` with the names of the repositories.
    pub async fn update_plan(&self, caller: &Caller, plan: NewPlan) -> Result<Plan> {
        caller.require(Role::Operator)?;
        caller.require_everything()?;
        let inner = self.inner();
        let standing = self.plan_named(caller, plan.owner, &plan.name).await?;
        refuse_builtin(&standing)?;
        let plan = inner.new_plan(plan)?;
        let audit = inner.audit_of(caller, "plan.update", &standing);
        inner.db.replace_unused_plan(&plan, &audit).await?.ok_or_else(missing)
    }

    /// # Errors
    /// As [`Engine::update_plan`].
    pub async fn delete_plan(&self, caller: &Caller, id: PlanId) -> Result<()> {
        caller.require(Role::Operator)?;
        caller.require_everything()?;
        let inner = self.inner();
        let plan = self.plan(caller, id).await?;
        refuse_builtin(&plan)?;
        let deleted = inner.db.delete_plan(id, &inner.audit_of(caller, "plan.delete", &plan)).await?;
        if deleted { Ok(()) } else { Err(missing()) }
    }

    /// At start-up: makes the product's own plans of a dialect what they should be.
    pub async fn reconcile_builtin_plans(&self, plans: Vec<NewPlan>) -> Result<()> {
        let inner = self.inner();
        let caller = super::scheduler();
        for new in plans {
            let plan = inner.new_plan(new)?;
            match inner.db.plan_named(&plan.owner, &plan.name).await? {
                Some(standing) if is_same(&standing, &plan) => {}
                Some(_) | None => {
                    let schedule = inner.schedule_of(&plan);
                    inner.db.put_plan(&plan, &schedule, &inner.audit_of(&caller, "plan.put", &plan)).await?;
                }
            }
        }
        Ok(())
    }
}

fn missing() -> Error {
    Error::not_found(Noun::Plan, "There is no such plan.")
}

fn refuse_builtin(plan: &Plan) -> Result<()> {
    if plan.builtin {
        let sentence = format!("The plan {} is built in; it can be neither changed nor deleted.", plan.name);
        return Err(Error::new(ErrorCode::Forbidden, sentence));
    }
    Ok(())
}

/// A verification says what it looks at, and nothing else does.
fn check_verify(task: &PlanTask) -> Result<()> {
    let PlanTask { name, kind, schedule: _, full: _, merge_window: _, verify } = task;
    let reason = match (kind, verify) {
        (JobKind::Verify, None) => "does not say what it verifies".to_owned(),
        (JobKind::Verify, Some(VerifyTask { level, shares })) => match level {
            VerifyLevel::Data if (1..=MOST_SHARES).contains(shares) => return Ok(()),
            VerifyLevel::Data => format!("reads the data in {shares} shares; it takes 1 to {MOST_SHARES}"),
            VerifyLevel::Structure | VerifyLevel::Restore if *shares == 1 => return Ok(()),
            VerifyLevel::Structure | VerifyLevel::Restore => "has shares, which only the level data has".to_owned(),
        },
        (_, Some(_)) => "verifies nothing, and says what it verifies".to_owned(),
        (_, None) => return Ok(()),
    };
    Err(Error::invalid(format!("The task {name} {reason}.")))
}

/// Whether the content of two plans is the same: putting an unchanged one would move its next runs.
fn is_same(standing: &Plan, plan: &Plan) -> bool {
    let Plan { id: _, owner, name, description, builtin, tasks, attributes, created_at: _, updated_at: _ } = plan;
    standing.owner == *owner
        && standing.name == *name
        && standing.description == *description
        && standing.builtin == *builtin
        && standing.tasks == *tasks
        && standing.attributes == *attributes
}

impl Inner {
    /// Whether everything that the plan serves lies within the caller's scope.
    async fn require_plan(&self, caller: &Caller, plan: PlanId) -> Result<()> {
        let Scope::Source(own) = caller.principal.scope else { return caller.require_everything() };
        let repositories = self.db.repositories(&RepositoryFilter::default()).await?;
        let mut served = repositories.iter().filter(|repository| repository.plan == Some(plan));
        if served.all(|repository| repository.sources == SourceSelection::One(own)) {
            return Ok(());
        }
        caller.require_everything()
    }

    fn new_plan(&self, new: NewPlan) -> Result<Plan> {
        let NewPlan { owner, name, description, builtin, tasks, attributes } = new;
        if tasks.len() > MOST_TASKS {
            return Err(Error::invalid(format!("A plan has at most {MOST_TASKS} tasks.")));
        }
        for (position, task) in tasks.iter().enumerate() {
            if tasks[..position].iter().any(|other| other.name == task.name) {
                return Err(Error::invalid(format!("Two tasks of the plan are called {}.", task.name)));
            }
        }
        let now = self.clock.now();
        for task in &tasks {
            schedule::check(task, now)?;
            check_verify(task)?;
        }
        let id = PlanId(Uuid::now_v7());
        let owner = owner.to_owned();
        Ok(Plan { id, owner, name, description, builtin, tasks, attributes, created_at: now, updated_at: now })
    }

    /// When each task runs first, counted from now.
    pub(super) fn schedule_of(&self, plan: &Plan) -> Vec<ScheduleEntry> {
        let now = self.clock.now();
        let entry = |task: &PlanTask| {
            let next_run = schedule::first(&task.schedule, now)?;
            Some(ScheduleEntry { task: task.name.clone(), next_run, last_run: None })
        };
        plan.tasks.iter().filter_map(entry).collect()
    }

    fn audit_of(&self, caller: &Caller, action: &str, plan: &Plan) -> AuditEntry {
        AuditEntry::of(caller, self.clock.now(), action, Some(ObjectRef::new(ObjectKind::Plan, plan.id.0)))
    }
}
