//! How live data is captured and put back.
//!
//! A kind of source is one folder here, behind [`SourceDriver`]. A driver writes a backup into a [`CaptureSink`] and
//! reads one through a [`PartReader`]; both are traits of this crate, implemented by the engine on top of the vault.
//! This crate knows nothing of vaults, jobs, databases of ours, or HTTP.
//!
//! Everything here blocks: the engine runs it on its own threads. Nothing is ever staged on a scratch disk.

pub mod archive;
pub mod contract;
pub mod directory;
pub mod error;
pub mod live_files;
pub mod open;
pub mod postgresql;
mod sizes;
pub mod sqlite;
#[doc(hidden)]
pub mod testing;

pub use contract::*;
pub use error::{ErrorKind, SourceError};
pub use open::{KINDS, is_same_place, open, validate};
