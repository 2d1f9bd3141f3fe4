//! Maintenance, and why jobs wait.

use chrono::TimeDelta;

use super::Engine;
use crate::{
    db::AuditEntry,
    domain::{
        Caller, Error, Hold, JobFilter, JobId, JobState, Maintenance, MaintenanceByHand, MaintenanceWindow, Result,
        Role, Waiting,
    },
    workers,
};

/// Longest that maintenance by hand may be asked for at once.
const LONGEST: TimeDelta = TimeDelta::days(31);
/// Characters of a reason.
const LONGEST_REASON: usize = 500;
/// Windows of a configuration.
const MOST_WINDOWS: usize = 50;

/// How maintenance by hand begins.
#[derive(Clone, Debug, Default)]
pub struct StartMaintenance {
    /// `None`: until it is ended by hand.
    pub length: Option<TimeDelta>,
    pub reason: Option<String>,
    pub restores_run: bool,
}

impl Engine {
    /// What is known of maintenance, and what holds jobs back now.
    pub async fn maintenance(&self, caller: &Caller) -> Result<(Maintenance, Option<Hold>)> {
        caller.require(Role::Reader)?;
        let maintenance = self.inner().db.maintenance().await?;
        let hold = maintenance.hold(self.now());
        Ok((maintenance, hold))
    }

    /// From now on new jobs wait, on all nodes; those that run go on. Replaces what was begun by hand before.
    ///
    /// # Errors
    /// `InvalidInput` for a length or reason out of bounds; `Forbidden` below an administrator.
    pub async fn start_maintenance(&self, caller: &Caller, start: StartMaintenance) -> Result<Hold> {
        caller.require(Role::Admin)?;
        caller.require_everything()?;
        let StartMaintenance { length, reason, restores_run } = start;
        if length.is_some_and(|length| length <= TimeDelta::zero() || length > LONGEST) {
            return Err(Error::invalid(
                "Maintenance can last up to 31 days; without a length it lasts until it is ended.",
            ));
        }
        if reason.as_ref().is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
            return Err(Error::invalid(format!("The reason has more than {LONGEST_REASON} characters.")));
        }
        let now = self.now();
        let by_hand = MaintenanceByHand {
            since: now,
            until: length.map(|length| now + length),
            by: caller.principal.name.clone(),
            reason,
            restores_run,
        };
        let audit = AuditEntry::of(caller, now, "maintenance.start", None);
        let change = |maintenance: &mut Maintenance| maintenance.by_hand = Some(by_hand.clone());
        let after = self.inner().db.change_maintenance(&change, now, &audit).await?;
        after.hold(now).ok_or_else(|| Error::internal("Maintenance did not begin."))
    }

    /// What waits may begin: ends maintenance by hand, and the window of the configuration that holds now. Answers whether
    /// anything was held.
    ///
    /// # Errors
    /// `Forbidden` below an administrator.
    pub async fn stop_maintenance(&self, caller: &Caller) -> Result<bool> {
        caller.require(Role::Admin)?;
        caller.require_everything()?;
        let (inner, now) = (self.inner(), self.now());
        let held = inner.db.maintenance().await?.hold(now).is_some();
        let audit = AuditEntry::of(caller, now, "maintenance.stop", None);
        inner.db.change_maintenance(&|maintenance| maintenance.stop(now), now, &audit).await?;
        inner.work.wake.notify_waiters();
        // A command's process ends before its own task could tell them.
        inner.db.hint(inner.node).await?;
        Ok(held)
    }

    /// Takes over the configuration's windows, for all nodes: those of the server that started last count. Answers whether
    /// they changed.
    ///
    /// # Errors
    /// `InvalidInput` for too many.
    pub async fn configure_maintenance(
        &self,
        caller: &Caller,
        windows: Vec<MaintenanceWindow>,
        hold_restores: bool,
    ) -> Result<bool> {
        caller.require(Role::Admin)?;
        if windows.len() > MOST_WINDOWS {
            return Err(Error::invalid(format!("There are more than {MOST_WINDOWS} maintenance windows.")));
        }
        let (inner, now) = (self.inner(), self.now());
        let before = inner.db.maintenance().await?;
        if before.windows == windows && (before.windows_hold_restores == hold_restores || windows.is_empty()) {
            return Ok(false);
        }
        let audit = AuditEntry::of(caller, now, "maintenance.configure", None);
        let change = |maintenance: &mut Maintenance| {
            maintenance.windows.clone_from(&windows);
            maintenance.windows_hold_restores = hold_restores;
            // That one was of the windows before.
            maintenance.windows_off_until = None;
        };
        inner.db.change_maintenance(&change, now, &audit).await?;
        Ok(true)
    }

    /// How many jobs are queued.
    pub async fn queue_length(&self, caller: &Caller) -> Result<usize> {
        let filter = JobFilter { states: vec![JobState::Queued], ..JobFilter::default() };
        Ok(self.jobs(caller, filter).await?.len())
    }

    /// Why a queued job does not run yet, as this node sees it; `None` when it is not queued.
    ///
    /// # Errors
    /// `NotFound(Job)`.
    pub async fn why_waiting(&self, caller: &Caller, id: JobId) -> Result<Option<Waiting>> {
        self.job(caller, id).await?;
        let inner = self.inner();
        inner.db.why_waiting(id, inner.clock.now(), inner.node, &workers::limits(inner)).await
    }
}
