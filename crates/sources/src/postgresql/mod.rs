//! One database of a PostgreSQL server (12 and newer).
//!
//! A capture holds one exported snapshot: the table of contents comes from the first kilobytes of `pg_dump`, the rows from
//! parallel `COPY` of our own in that snapshot, cut into blocks at rows. From these parts the custom-format archive that
//! `pg_restore` reads is put together again, and a restore loads them back the same way. shared/sources.md section 2 has
//! what was measured and why.

mod capture;
mod download;
mod dump;
mod errors;
mod estimate;
mod layout;
mod probe;
mod restore;
mod session;
mod settings;
mod tools;

use std::sync::Arc;

use self::settings::Settings;
use crate::{
    CaptureManifest, CaptureSink, Estimate, Finding, Interrupted, PartReader, PartRestorePlan, PartRestoreRequest,
    RandomRead, RestoreOutcome, Result, SourceConfig, SourceDriver, Timestamp,
};

/// The kind's name in configurations and manifests.
pub const KIND: &str = "postgresql";

/// A database on a server.
#[derive(Clone, Debug)]
pub struct PostgresqlSource {
    settings: Settings,
}

impl PostgresqlSource {
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a URL or an option that cannot be understood, and for a URL with a password in it.
    pub fn new(config: &SourceConfig) -> Result<Self> {
        Ok(Self { settings: Settings::new(config)? })
    }
}

impl SourceDriver for PostgresqlSource {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn location(&self) -> String {
        self.settings.location()
    }

    fn probe(&self) -> Vec<Finding> {
        probe::probe(&self.settings)
    }

    fn estimate(&self) -> Result<Estimate> {
        estimate::estimate(&self.settings)
    }

    fn capture(&self, sink: &dyn CaptureSink) -> Result<CaptureManifest> {
        capture::capture(&self.settings, sink)
    }

    fn plan_restore(&self, part: &dyn PartReader, request: &PartRestoreRequest) -> Result<PartRestorePlan> {
        restore::plan(&self.settings, part, request)
    }

    fn restore(&self, part: &dyn PartReader, plan: &PartRestorePlan) -> Result<RestoreOutcome> {
        restore::restore(&self.settings, part, plan)
    }

    fn resume_restore(&self, plan: &PartRestorePlan) -> Result<Interrupted> {
        restore::resume(&self.settings, plan)
    }

    fn download(&self, part: Arc<dyn PartReader>, stem: &str, modified: Timestamp) -> Result<Box<dyn RandomRead>> {
        download::download(part, stem, modified)
    }
}
