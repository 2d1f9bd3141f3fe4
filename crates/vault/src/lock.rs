//! restic's lock files.
#![allow(unused_variables, dead_code)]

use crate::{
    error::{Result, VaultError},
    id::Id,
};
use chrono::{DateTime, Utc};

/// Whether others may hold a lock at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// For reading and for adding.
    Shared,
    /// For removing.
    Exclusive,
}

/// What a lock file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockInfo {
    /// Name of the file.
    pub id: Id,
    /// When it was last refreshed.
    pub time: DateTime<Utc>,
    /// Whether it excludes all others.
    pub exclusive: bool,
    /// Host of its holder.
    pub hostname: String,
    /// User of its holder.
    pub username: String,
    /// Process of its holder.
    pub pid: u32,
}

/// A held lock; a thread of its own refreshes it every five minutes. Removed by [`Lock::release`], or on drop.
#[derive(Debug)]
pub struct Lock {}

impl Lock {
    /// Name of the lock file now; each refresh gives it a new one.
    pub fn id(&self) -> Id {
        Id::from_bytes([0; 32])
    }

    /// `false` when it could not be refreshed for 22 minutes: the holder must stop writing.
    pub fn is_alive(&self) -> bool {
        false
    }

    /// Removes the lock file.
    pub fn release(self) -> Result<()> {
        Err(VaultError::internal("not finished"))
    }
}
