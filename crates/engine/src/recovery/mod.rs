//! The store outlives the server: what a store keeps so that a server can be rebuilt from it alone, and rebuilding one.
//!
//! Three things lie in a store's own vault beside the backups' bytes. Each part's snapshot carries, in its tags and its manifest, what
//! the catalogue knew when it was captured. Each part under a passcode has an entry that says the same. And the gateway's
//! configuration with the history of its jobs is captured after it changes. A recovery reads the newest configuration, then the
//! history, then every snapshot that neither describes; each is enough without the others.
//!
//! The rebuilt server is a new installation under the same server key: it adopts the store, and the old server, should it come back,
//! finds the store adopted and no longer writes to it.

mod configuration;
#[cfg(test)]
mod format_tests;
mod found;
mod history;
mod opening;
mod part_record;
mod placing;
mod placing_store;
mod rebuild;
mod revive;
mod summary;

pub(crate) use self::{
    configuration::{Gathered, gather},
    history::write as write_history,
    part_record::PartRecord,
};
pub use self::{
    opening::{Recovery, RecoveryOptions, RecoverySecret},
    summary::{OtherStore, RecoverySummary},
};
use crate::domain::Error;

/// The setting that names the store of a recovery that has not come to its end; empty once it has.
pub(crate) const UNFINISHED: &str = "recovery-unfinished";
/// The setting with the id that clients know the installation as.
pub(crate) const KNOWN_AS: &str = "recovery-known-as";
/// The setting that names the installations that this one was rebuilt from.
const PREDECESSORS: &str = "recovery-predecessors";

pub(crate) fn unwritable(error: serde_json::Error) -> Error {
    Error::internal("The configuration could not be written.").because(error)
}
