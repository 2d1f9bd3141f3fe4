//! Plans.

use super::{Engine, unfinished};
use crate::domain::*;

impl Engine {
    /// Built-in ones first, then by name.
    pub async fn plans(&self, caller: &Caller, owner: &str) -> Result<Vec<Plan>> {
        let _ = (caller, owner);
        unfinished()
    }

    pub async fn plan(&self, caller: &Caller, id: PlanId) -> Result<Plan> {
        let _ = (caller, id);
        unfinished()
    }

    pub async fn plan_named(&self, caller: &Caller, owner: &str, name: &str) -> Result<Plan> {
        let _ = (caller, owner, name);
        unfinished()
    }

    /// # Errors
    /// `AlreadyExists(Plan)`.
    pub async fn create_plan(&self, caller: &Caller, plan: NewPlan) -> Result<Plan> {
        let _ = (caller, plan);
        unfinished()
    }

    /// Creates the plan or gives the existing one (same owner and name) this content; repositories that it is attached
    /// to are scheduled anew from now.
    pub async fn put_plan(&self, caller: &Caller, plan: NewPlan) -> Result<Plan> {
        let _ = (caller, plan);
        unfinished()
    }

    /// At start-up: makes the product's own plans of a dialect what they should be.
    pub async fn reconcile_builtin_plans(&self, plans: Vec<NewPlan>) -> Result<()> {
        let _ = plans;
        unfinished()
    }
}
