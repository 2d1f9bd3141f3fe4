//! Sources.

use trivault_sources::Finding;

use super::{Engine, unfinished};
use crate::domain::*;

impl Engine {
    /// Attached and detached ones, by name.
    pub async fn sources(&self, caller: &Caller) -> Result<Vec<Source>> {
        let _ = caller;
        unfinished()
    }

    pub async fn source(&self, caller: &Caller, id: SourceId) -> Result<Source> {
        let _ = (caller, id);
        unfinished()
    }

    /// The attached source of that name.
    pub async fn source_named(&self, caller: &Caller, name: &str) -> Result<Source> {
        let _ = (caller, name);
        unfinished()
    }

    pub async fn create_source(&self, caller: &Caller, source: NewSource) -> Result<Source> {
        let _ = (caller, source);
        unfinished()
    }

    /// Looks at the live data: connection, privileges, versions.
    pub async fn probe_source(&self, caller: &Caller, id: SourceId) -> Result<Vec<Finding>> {
        let _ = (caller, id);
        unfinished()
    }

    /// Makes `managed` the set of managed sources: new ones are created, missing ones detached, returning ones attached.
    ///
    /// # Errors
    /// `AlreadyExists(Source)` where another kind or location stands under the same name (hint: `trivault source replace`).
    pub async fn reconcile_managed_sources(&self, managed: Vec<NewSource>) -> Result<()> {
        let _ = managed;
        unfinished()
    }

    /// Gives a managed source another kind or location: the old one is detached, a new one with a new id takes its name.
    pub async fn replace_source(&self, caller: &Caller, source: NewSource) -> Result<Source> {
        let _ = (caller, source);
        unfinished()
    }
}
