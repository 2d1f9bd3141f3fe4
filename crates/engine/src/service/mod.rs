//! The engine's use cases, one file per noun. Every method checks the caller's role and scope, and every mutating one
//! leaves an audit record.

mod access;
mod attach_store;
mod backups;
mod delete_backup;
mod downloads;
mod enqueue;
mod exports;
mod jobs;
mod maintenance;
mod merges;
mod naming;
mod overdue_care;
mod plans;
mod prunes;
mod repositories;
mod restores;
mod retention;
mod schedules;
mod sources;
mod start_backup;
mod start_restore;
mod stores;
mod verification;

use std::sync::Arc;

use chrono::{DateTime, Utc};
pub use downloads::Download;
pub use maintenance::StartMaintenance;
use uuid::Uuid;

pub(crate) use self::{
    attach_store::{check_name as check_store_name, plain as plain_location},
    merges::start as start_merge,
    overdue_care::care_rhythm,
    prunes::start as start_prune,
    retention::{apply as apply_retention, going as retention_goes, pass as retention_pass},
    start_backup::{Start, scheduler, start},
    verification::{start as start_verify, start_of as start_verify_of},
};
use crate::{
    access::Access,
    clock::Clock,
    data_directory::{DataDirectory, ServerLock},
    db::{AuditEntry, Database, Lease},
    domain::{Caller, Error, ErrorCode, JobKind, Namer, ObjectRef, Result},
    options::EngineOptions,
    point::Point,
    reconcilers::{ScheduleWatch, Unmoved},
    secrets::ServerKey,
    storage::Storage,
    workers::Work,
};

/// Handle to the engine; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// What the use cases share. Made by `open`.
pub(crate) struct Inner {
    pub(crate) db: Database,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) namers: Vec<Arc<dyn Namer>>,
    pub(crate) access: Access,
    /// Who writes to stores, and holds locks in them.
    pub(crate) installation: uuid::Uuid,
    /// What clients know it as: a rebuilt installation keeps its predecessor's.
    pub(crate) known_as: uuid::Uuid,
    pub(crate) node: uuid::Uuid,
    pub(crate) zone: chrono_tz::Tz,
    pub(crate) options: EngineOptions,
    pub(crate) key: ServerKey,
    pub(crate) data: DataDirectory,
    pub(crate) storage: Storage,
    pub(crate) work: Work,
    pub(crate) schedule_watch: ScheduleWatch,
    pub(crate) lease_watch: Unmoved<Lease>,
    /// Other nodes, and when each last said that it lives.
    pub(crate) node_watch: Unmoved<(Uuid, DateTime<Utc>)>,
    /// Held for as long as the engine lives, when it is a server's.
    pub(crate) _server_lock: Option<ServerLock>,
}

impl Inner {
    /// Records a change that has no transaction of its own.
    pub(crate) async fn audit(&self, caller: &Caller, action: &str, object: Option<ObjectRef>) -> Result<()> {
        self.db.record_audit(&AuditEntry::of(caller, self.clock.now(), action, object)).await
    }
}

impl Inner {
    /// Tells whoever listens that the work has come here.
    pub(crate) fn pass(&self, point: &Point<'_>) {
        if let Some(observer) = &self.options.observer {
            observer(point);
        }
    }

    /// A point of the server's own work, which belongs to no run.
    pub(crate) fn point(&self, name: &str) {
        self.pass(&Point { name, kind: None, run: None });
    }

    /// A job of this kind is durable, and nobody was told yet.
    pub(crate) fn enqueued(&self, kind: JobKind) {
        self.pass(&Point { name: "enqueued", kind: Some(kind), run: None });
    }
}

/// Runs something that blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("Something ended in a defect of Trivault.").because(error))?
}

impl Engine {
    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// This installation's stable id, as clients know it: it outlives a recovery.
    #[allow(
        clippy::misnamed_getters,
        reason = "clients know the id from before a recovery, the store the one after it"
    )]
    pub fn installation(&self) -> uuid::Uuid {
        self.inner.known_as
    }

    /// This node's stable id.
    pub fn node(&self) -> uuid::Uuid {
        self.inner.node
    }

    /// The engine's clock.
    pub fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.inner.clock.now()
    }

    /// The zone in which plans without one are meant.
    pub fn zone(&self) -> chrono_tz::Tz {
        self.inner.zone
    }

    /// Whether the metadata database answers and this node's workers run.
    ///
    /// # Errors
    /// `DatabaseUnavailable`, with a sentence for `/readyz`.
    pub async fn ready(&self) -> Result<()> {
        self.inner.db.ping().await?;
        if self.inner.work.is_stopping() {
            return Err(Error::new(ErrorCode::DatabaseUnavailable, "The server is stopping."));
        }
        if !self.inner.work.is_started() {
            return Err(Error::new(ErrorCode::DatabaseUnavailable, "The workers have not started yet."));
        }
        Ok(())
    }
}
