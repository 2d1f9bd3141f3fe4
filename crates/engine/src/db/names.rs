//! Aliases and attributes.

use super::prelude::*;

impl Database {
    pub async fn resolve(&self, namespace: &str, name: &str) -> Result<Option<ObjectRef>> {
        let _ = (namespace, name);
        unfinished()
    }

    /// The first name of each object in a namespace.
    pub async fn aliases(&self, namespace: &str, objects: &[ObjectRef]) -> Result<HashMap<ObjectRef, String>> {
        let _ = (namespace, objects);
        unfinished()
    }

    pub async fn attributes_of(
        &self,
        namespace: &str,
        objects: &[ObjectRef],
    ) -> Result<HashMap<ObjectRef, Vec<Attribute>>> {
        let _ = (namespace, objects);
        unfinished()
    }

    /// Further names and attributes of objects that stand.
    pub async fn add_labels(&self, labels: &Labels, now: DateTime<Utc>) -> Result<()> {
        let _ = (labels, now);
        unfinished()
    }

    /// `Null` removes it.
    pub async fn set_attribute(&self, object: ObjectRef, attribute: &Attribute, audit: &AuditEntry) -> Result<()> {
        let _ = (object, attribute, audit);
        unfinished()
    }
}
