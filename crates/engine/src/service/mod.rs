//! The engine's use cases, one file per noun. Every method checks the caller's role and scope, and every mutating one
//! leaves an audit record.

mod access;
mod backups;
mod downloads;
mod jobs;
mod naming;
mod plans;
mod repositories;
mod restores;
mod sources;
mod stores;

use std::sync::Arc;

pub use downloads::Download;

use crate::{
    access::Access,
    clock::Clock,
    db::Database,
    domain::{Error, Namer, Result},
};

/// Handle to the engine; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    #[allow(dead_code)]
    inner: Arc<Inner>,
}

/// What the use cases share. Made by `open`.
#[allow(dead_code)]
pub(crate) struct Inner {
    pub(crate) db: Database,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) namers: Vec<Arc<dyn Namer>>,
    pub(crate) access: Access,
    pub(crate) installation: uuid::Uuid,
    pub(crate) node: uuid::Uuid,
    pub(crate) zone: chrono_tz::Tz,
}

fn unfinished<T>() -> Result<T> {
    Err(Error::internal("unfinished"))
}

impl Engine {
    /// This installation's stable id.
    pub fn installation(&self) -> uuid::Uuid {
        self.inner.installation
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
        unfinished()
    }
}
