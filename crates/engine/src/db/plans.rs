//! Plans.

use super::prelude::*;

impl Database {
    pub async fn plans(&self, owner: &str) -> Result<Vec<Plan>> {
        let _ = (owner,);
        unfinished()
    }

    pub async fn plan(&self, id: PlanId) -> Result<Option<Plan>> {
        let _ = (id,);
        unfinished()
    }

    pub async fn plan_named(&self, owner: &str, name: &str) -> Result<Option<Plan>> {
        let _ = (owner, name);
        unfinished()
    }

    pub async fn insert_plan(&self, plan: &Plan, audit: &AuditEntry) -> Result<()> {
        let _ = (plan, audit);
        unfinished()
    }

    /// Creates the plan or gives the one of the same owner and name this content; active repositories with it get `schedule`.
    pub async fn put_plan(&self, plan: &Plan, schedule: &[ScheduleEntry], audit: &AuditEntry) -> Result<Plan> {
        let _ = (plan, schedule, audit);
        unfinished()
    }
}
