//! Aliases and attributes.

use std::collections::HashMap;

use super::Engine;
use crate::{db::AuditEntry, domain::*};

/// Bytes of JSON that an attribute may have.
const LONGEST_ATTRIBUTE: usize = 16 * 1024;

impl Engine {
    /// The object that a wire name means.
    pub async fn resolve(&self, namespace: &str, name: &str) -> Result<Option<ObjectRef>> {
        self.inner().db.resolve(namespace, name).await
    }

    /// The first name of an object in a namespace.
    pub async fn alias(&self, namespace: &str, object: ObjectRef) -> Result<Option<String>> {
        Ok(self.aliases(namespace, &[object]).await?.remove(&object))
    }

    /// The first name of each object in a namespace; objects without one are left out. One query, for lists.
    pub async fn aliases(&self, namespace: &str, objects: &[ObjectRef]) -> Result<HashMap<ObjectRef, String>> {
        self.inner().db.aliases(namespace, objects).await
    }

    /// All attributes of an object in a namespace.
    pub async fn attributes(&self, namespace: &str, object: ObjectRef) -> Result<Vec<Attribute>> {
        Ok(self.attributes_of(namespace, &[object]).await?.remove(&object).unwrap_or_default())
    }

    /// Attributes of many objects. One query, for lists.
    pub async fn attributes_of(
        &self,
        namespace: &str,
        objects: &[ObjectRef],
    ) -> Result<HashMap<ObjectRef, Vec<Attribute>>> {
        self.inner().db.attributes_of(namespace, objects).await
    }

    /// Sets an attribute; `Null` removes it.
    ///
    /// # Errors
    /// `InvalidInput` when it is too large.
    pub async fn set_attribute(&self, caller: &Caller, object: ObjectRef, attribute: Attribute) -> Result<()> {
        caller.require(Role::Operator)?;
        if object.kind == ObjectKind::Source {
            caller.require_source(SourceId(object.id))?;
        } else {
            caller.require_everything()?;
        }
        if attribute.value.to_string().len() > LONGEST_ATTRIBUTE {
            return Err(Error::invalid(format!("{} has more than {LONGEST_ATTRIBUTE} bytes.", attribute.key)));
        }
        let audit = AuditEntry::of(caller, self.now(), "attribute.set", Some(object));
        self.inner().db.set_attribute(object, &attribute, &audit).await
    }
}
