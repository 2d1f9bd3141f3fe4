//! A store below a prefix of an S3 bucket.

use super::Backend;
use super::object::{ObjectBackend, Objects};
use super::s3::{S3Location, S3Patience};
use super::store_root::{Probe, StoreRoot, checked_name, probe_by_writing};
use crate::error::Result;
use std::sync::Arc;

/// A store below an S3 prefix.
#[derive(Debug, Clone)]
pub struct ObjectRoot {
    objects: Objects,
}

impl ObjectRoot {
    /// The store at this place. Nothing is sent yet.
    pub fn connect(at: &S3Location) -> Result<Self> {
        Self::connect_with(at, S3Patience::default())
    }

    /// The same with other limits of time.
    pub fn connect_with(at: &S3Location, patience: S3Patience) -> Result<Self> {
        Ok(Self { objects: Objects::connect(at, patience)? })
    }
}

impl StoreRoot for ObjectRoot {
    fn location(&self) -> String {
        self.objects.location().to_owned()
    }

    /// The bucket must exist; a prefix need not be made.
    fn prepare(&self) -> Result<()> {
        Ok(())
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        self.objects.get(checked_name(name)?, None)
    }

    fn write_atomic(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.objects.put(checked_name(name)?, bytes)
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        self.objects.create(checked_name(name)?, bytes)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.objects.delete(checked_name(name)?)
    }

    fn list_dirs(&self, prefix: &str) -> Result<Vec<String>> {
        let prefix = if prefix.is_empty() { "" } else { checked_name(prefix)? };
        self.objects.list_directories(prefix)
    }

    fn remove_tree(&self, prefix: &str) -> Result<()> {
        self.objects.delete_below(checked_name(prefix)?)
    }

    fn vault(&self, prefix: &str) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(ObjectBackend::from_objects(self.objects.below(checked_name(prefix)?))))
    }

    fn probe(&self) -> Result<Probe> {
        Ok(Probe { free_bytes: None, exclusive_create: probe_by_writing(self)? })
    }
}
