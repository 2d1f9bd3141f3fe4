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

use crate::domain::{Error, Result};

/// Handle to the engine; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    #[allow(dead_code)]
    inner: Arc<Inner>,
}

struct Inner {}

fn unfinished<T>() -> Result<T> {
    Err(Error::internal("unfinished"))
}

impl Engine {
    /// This installation's stable id.
    pub fn installation(&self) -> uuid::Uuid {
        uuid::Uuid::nil()
    }

    /// This node's stable id.
    pub fn node(&self) -> uuid::Uuid {
        uuid::Uuid::nil()
    }

    /// The engine's clock.
    pub fn now(&self) -> chrono::DateTime<chrono::Utc> {
        chrono::Utc::now()
    }

    /// The zone in which plans without one are meant.
    pub fn zone(&self) -> chrono_tz::Tz {
        chrono_tz::UTC
    }

    /// Whether the metadata database answers and this node's workers run.
    ///
    /// # Errors
    /// `DatabaseUnavailable`, with a sentence for `/readyz`.
    pub async fn ready(&self) -> Result<()> {
        unfinished()
    }
}
