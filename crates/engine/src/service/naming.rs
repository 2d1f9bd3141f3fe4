//! Aliases and attributes.

use super::{Engine, unfinished};
use crate::domain::*;

impl Engine {
    /// The object that a wire name means.
    pub async fn resolve(&self, namespace: &str, name: &str) -> Result<Option<ObjectRef>> {
        let _ = (namespace, name);
        unfinished()
    }

    /// The first name of an object in a namespace.
    pub async fn alias(&self, namespace: &str, object: ObjectRef) -> Result<Option<String>> {
        let _ = (namespace, object);
        unfinished()
    }

    /// The first name of each object in a namespace; objects without one are left out. One query, for lists.
    pub async fn aliases(
        &self,
        namespace: &str,
        objects: &[ObjectRef],
    ) -> Result<std::collections::HashMap<ObjectRef, String>> {
        let _ = (namespace, objects);
        unfinished()
    }

    /// All attributes of an object in a namespace.
    pub async fn attributes(&self, namespace: &str, object: ObjectRef) -> Result<Vec<Attribute>> {
        let _ = (namespace, object);
        unfinished()
    }

    /// Attributes of many objects. One query, for lists.
    pub async fn attributes_of(
        &self,
        namespace: &str,
        objects: &[ObjectRef],
    ) -> Result<std::collections::HashMap<ObjectRef, Vec<Attribute>>> {
        let _ = (namespace, objects);
        unfinished()
    }

    /// Sets an attribute; `Null` removes it.
    pub async fn set_attribute(&self, caller: &Caller, object: ObjectRef, attribute: Attribute) -> Result<()> {
        let _ = (caller, object, attribute);
        unfinished()
    }
}
