//! Names that a wire shows (aliases) and wire fields that the engine has no rule for (attributes).
//!
//! Each dialect registers a [`Namer`]. When an object comes into being, every namer says what it is called on its wire; the
//! names are written in the object's transaction and never change (DESIGN sections 2a and 4).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Backup, Job, Part, Repository, Source, Store, User};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    Source,
    Store,
    Repository,
    Plan,
    Backup,
    Part,
    Job,
    User,
    Token,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    pub kind: ObjectKind,
    pub id: Uuid,
}

impl ObjectRef {
    pub fn new(kind: ObjectKind, id: Uuid) -> Self {
        Self { kind, id }
    }
}

/// A name in a namespace; unique there. Namespaces are opaque to the engine (`couchbase.task`, `dbaas.part` ...).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Alias {
    pub namespace: String,
    pub name: String,
}

impl Alias {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// An opaque wire field kept with an object, written in the object's transaction. At most 16 KiB of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    pub namespace: String,
    pub key: String,
    pub value: serde_json::Value,
}

impl Attribute {
    pub fn new(namespace: impl Into<String>, key: impl Into<String>, value: serde_json::Value) -> Self {
        Self { namespace: namespace.into(), key: key.into(), value }
    }
}

/// An object that has just come into being and wants names.
#[derive(Clone, Copy, Debug)]
pub enum NewObject<'a> {
    Source(&'a Source),
    Store(&'a Store),
    Repository(&'a Repository),
    User(&'a User),
    /// At its enqueue.
    Job(&'a Job),
    /// At its enqueue; each with its source, and the backup's creation time.
    Part {
        part: &'a Part,
        source: &'a Source,
        created_at: DateTime<Utc>,
    },
    /// At its first claim, when its point in time is fixed.
    Backup {
        backup: &'a Backup,
        repository: &'a Repository,
        store: &'a Store,
        point: DateTime<Utc>,
    },
}

/// A name that a namer proposes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    pub namespace: String,
    pub name: String,
    /// Where the name is taken: try `name-2`, `name-3` ... Otherwise a taken name fails the creation.
    pub number_if_taken: bool,
}

/// Implemented by each dialect: how new objects are called on its wire. Pure; random ids come through `random`.
pub trait Namer: Send + Sync {
    fn names(&self, object: NewObject<'_>, random: &mut dyn FnMut(&mut [u8])) -> Vec<Proposal>;
}
