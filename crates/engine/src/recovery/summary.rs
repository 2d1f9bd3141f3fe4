//! What a recovery has found, and what it has written.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{Recovery, RecoverySecret, configuration::Configuration};
use crate::{
    db::RecoveredRows,
    domain::{Result, Store, StoreId, StoreLocation},
    service::blocking,
};

/// A store that the configuration knows beside the one that is recovered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OtherStore {
    pub name: String,
    pub location: StoreLocation,
}

/// Before a recovery: what there is. After it: what was added.
#[derive(Clone, Debug, Serialize)]
pub struct RecoverySummary {
    pub store: StoreId,
    pub store_name: String,
    /// As a person and the stock restic name it.
    pub location: String,
    /// The installation that wrote the store.
    pub installation_before: Uuid,
    /// `server key` or `vault password`.
    pub opened_with: &'static str,
    /// `None`: backups are rebuilt from their own snapshots alone.
    pub configuration_captured_at: Option<DateTime<Utc>>,
    /// The format of a newer configuration that only a later version reads; it is left out.
    pub later_format: Option<u32>,
    pub repositories: u64,
    pub plans: u64,
    pub sources: u64,
    pub users: u64,
    pub backups: u64,
    pub parts: u64,
    /// Finished jobs with their logs.
    pub jobs: u64,
    /// Backups under a passcode in the store.
    pub protected: u64,
    /// Backups of which a snapshot is missing in the store.
    pub lost: u64,
    /// Snapshots that others wrote; they stay.
    pub foreign: Vec<String>,
    /// Snapshots and entries that cannot be read.
    pub unreadable: u64,
    /// Sources whose password must be given again.
    pub sources_without_password: Vec<String>,
    /// Users who must get a new password.
    pub users_without_password: Vec<String>,
    /// Stores of the same installation that are recovered one by one.
    pub other_stores: Vec<OtherStore>,
}

impl Recovery {
    /// What there is to rebuild.
    ///
    /// # Errors
    /// `Internal`.
    pub async fn summary(self: Arc<Self>) -> Result<RecoverySummary> {
        blocking(move || Ok(self.count())).await
    }

    fn count(&self) -> RecoverySummary {
        let mut summary = self.empty_summary();
        let nothing = Configuration::default();
        let configuration = self.survey.configuration.as_ref().map_or(&nothing, |(found, _)| found);
        let found: Vec<_> = self.survey.parts.values().collect();
        let distinct = |ids: Vec<Uuid>| ids.into_iter().collect::<BTreeSet<_>>().len() as u64;
        summary.backups = distinct(found.iter().map(|part| part.backup.0).collect());
        summary.parts = found.len() as u64;
        summary.repositories = (configuration.repositories.len() as u64)
            .max(distinct(found.iter().map(|part| part.repository.0).collect()));
        summary.sources =
            (configuration.sources.len() as u64).max(distinct(found.iter().map(|part| part.source.0).collect()));
        summary.plans = configuration.plans.len() as u64;
        summary.users = configuration.users.len() as u64;
        summary.jobs = self.history().map_or(0, |lines| lines.filter(Result::is_ok).count() as u64);
        summary
    }

    /// With what is known before anything is written.
    pub(super) fn empty_summary(&self) -> RecoverySummary {
        let survey = &self.survey;
        let stores: Vec<Store> = match &survey.configuration {
            Some((configuration, _)) => Configuration::read(&configuration.stores).0,
            None => Vec::new(),
        };
        let own = stores.iter().find(|store| store.id == self.state.store);
        let protected: BTreeSet<_> =
            survey.parts.values().filter(|part| part.protected.is_some()).map(|part| part.backup).collect();
        RecoverySummary {
            store: self.state.store,
            store_name: own.map_or_else(|| self.options.name.clone(), |store| store.name.clone()),
            location: self.root.location(),
            installation_before: self.state.installation,
            opened_with: match self.options.secret {
                RecoverySecret::ServerKey(_) => "server key",
                RecoverySecret::VaultPassword(_) => "vault password",
            },
            configuration_captured_at: survey
                .configuration
                .as_ref()
                .map(|(configuration, snapshot)| configuration.captured_at.unwrap_or(snapshot.record.time)),
            later_format: survey.later_format,
            repositories: 0,
            plans: 0,
            sources: 0,
            users: 0,
            backups: 0,
            parts: 0,
            jobs: 0,
            protected: protected.len() as u64,
            lost: 0,
            foreign: survey.foreign.clone(),
            unreadable: survey.damaged,
            sources_without_password: Vec::new(),
            users_without_password: Vec::new(),
            other_stores: stores
                .into_iter()
                .filter(|store| store.id != self.state.store && !store.read_only)
                .map(|Store { name, location, .. }| OtherStore { name, location })
                .collect(),
        }
    }
}

impl RecoverySummary {
    pub(super) fn add(&mut self, rows: RecoveredRows) {
        let RecoveredRows { backups, parts, jobs } = rows;
        self.backups += backups;
        self.parts += parts;
        self.jobs += jobs;
    }
}
